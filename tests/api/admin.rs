//! The admin listener: alive, ready, counted, and where a request seems to come from.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::support::{PAGE, Signet};

#[tokio::test]
async fn alive_is_alive_even_while_it_drains() {
    let signet = Signet::start();
    signet.service.draining.store(true, Ordering::Relaxed);
    let answer = signet.get("/livez").send_to_admin().await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (200, "ok\n")
    );
}

#[tokio::test]
async fn ready_means_that_every_app_signs_and_nobody_asked_it_to_stop() {
    let signet = Signet::start();
    let answer = signet.get("/readyz").send_to_admin().await;
    assert_eq!(answer.status, 200);
    let told = answer.json();
    assert_eq!(
        (&told["ready"], &told["draining"]),
        (&json!(true), &json!(false))
    );
    for app in ["acme", "bot", "guest", "intranet"] {
        assert_eq!(told["apps"][app], "ok");
    }
    signet.service.draining.store(true, Ordering::Relaxed);
    let answer = signet.get("/readyz").send_to_admin().await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["draining"], true);
    // The container's own probe goes on: it is told apart from readiness.
    assert_eq!(signet.get("/healthz").send().await.status, 200);
}

#[tokio::test]
async fn every_decision_is_counted_without_naming_a_user() {
    let signet = Signet::start();
    signet
        .shop_asks(&json!({"userId": "usr_1"}))
        .send()
        .await
        .token();
    signet
        .shop_asks(&json!({"userId": "usr_1", "plan": "x"}))
        .send()
        .await;
    signet.post("/token").send().await;
    signet
        .get("/apps/acme/token")
        .origin(PAGE)
        .session(&json!({}))
        .send()
        .await
        .token();
    signet.get("/apps/acme/token").send().await;
    signet.get("/usr_1").send().await;
    signet.get("/apps/usr_1/token").send().await;
    signet.get("/healthz").send().await;
    let answer = signet.get("/metrics").send_to_admin().await;
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = answer.text();
    for line in [
        "signet_requests_total{route=\"/token\",outcome=\"issued\"} 1",
        "signet_requests_total{route=\"/token\",outcome=\"plan_not_allowed\"} 1",
        "signet_requests_total{route=\"/token\",outcome=\"invalid_client\"} 1",
        "signet_requests_total{route=\"/apps/{app}/token\",outcome=\"issued\"} 1",
        "signet_requests_total{route=\"/apps/{app}/token\",outcome=\"login_required\"} 1",
        "signet_requests_total{route=\"other\",outcome=\"not_found\"} 2",
        "signet_requests_total{route=\"/healthz\",outcome=\"ok\"} 1",
        "signet_tokens_total{app=\"acme\",caller=\"shop\",outcome=\"issued\"} 1",
        "signet_tokens_total{app=\"acme\",caller=\"shop\",outcome=\"plan_not_allowed\"} 1",
        "signet_tokens_total{app=\"acme\",caller=\"jwt\",outcome=\"issued\"} 1",
        "signet_tokens_total{app=\"acme\",caller=\"jwt\",outcome=\"login_required\"} 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    assert!(
        samples.clone().all(|line| line.starts_with("signet_")),
        "{text}"
    );
    assert!(!text.contains("usr_1"));
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn whoami_says_what_limits_and_audit_go_by() {
    let signet = Signet::start();
    let ask = signet.get("/whoami").in_cleartext().from("10.0.0.1");
    let ask = ask.header("x-forwarded-for", "203.0.113.1, 198.51.100.1, 10.0.0.2");
    let told = ask
        .header("x-forwarded-proto", "https")
        .send_to_admin()
        .await
        .json();
    assert_eq!(
        (&told["ip"], &told["scheme"]),
        (&json!("198.51.100.1"), &json!("https"))
    );
    let ask = signet.get("/whoami").in_cleartext().from("192.0.2.9");
    let ask = ask
        .header("x-forwarded-for", "198.51.100.1")
        .header("x-forwarded-proto", "https");
    let told = ask.send_to_admin().await.json();
    assert_eq!(
        (&told["ip"], &told["scheme"]),
        (&json!("192.0.2.9"), &json!("http"))
    );
}

#[tokio::test]
async fn tokens_are_not_had_from_the_admin_listener() {
    let signet = Signet::start();
    for ask in [
        signet.shop_asks(&json!({"userId": "u"})),
        signet.get("/apps/guest/token"),
    ] {
        assert_eq!(ask.send_to_admin().await.status, 404);
    }
}

//! How often one may ask: who is counted, in which order, and what the refused are told.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, PAGE, SHOP_KEY, Signet};

/// Settings under which a limit lets `burst` through and then nobody for an hour.
macro_rules! spent_after {
    ($($limit:literal => $burst:literal),*) => {
        &[$(
            (concat!("LIMITS__", $limit, "__RATE"), "1"),
            (concat!("LIMITS__", $limit, "__PER"), "1h"),
            (concat!("LIMITS__", $limit, "__BURST"), $burst),
        )*]
    };
}

fn user(name: &str) -> Value {
    json!({"userId": name})
}

/// A 429 of this limit; its wait is told in every form alike.
#[track_caller]
fn is_limited(answer: &Answer, limit: &str, burst: u32) {
    answer.is_refused(429, "rate_limited");
    let wait = answer.seconds("retry-after");
    assert!((3590..=3600).contains(&wait), "{wait}");
    assert_eq!(
        answer.header("ratelimit").unwrap(),
        format!("\"{limit}\";r=0;t={wait}")
    );
    assert_eq!(
        answer.header("ratelimit-policy").unwrap(),
        format!("\"{limit}\";q={burst};w={}", burst * 3600)
    );
    assert!(answer.text().contains(limit));
}

#[tokio::test]
async fn an_address_has_a_limit_of_its_own() {
    let signet = Signet::with(spent_after!("PER_IP" => "2"));
    for _ in 0..2 {
        signet.shop_asks(&user("u")).send().await.token();
    }
    is_limited(&signet.shop_asks(&user("u")).send().await, "per-ip", 2);
    // Whatever is asked for, the right key or none, a path that exists or not.
    is_limited(&signet.post("/token").send().await, "per-ip", 2);
    is_limited(&signet.get("/nowhere").send().await, "per-ip", 2);
    is_limited(&signet.get("/apps/acme/token").send().await, "per-ip", 2);
    signet
        .shop_asks(&user("u"))
        .from("192.0.2.2")
        .send()
        .await
        .token();
}

#[tokio::test]
async fn the_wait_is_at_least_a_second() {
    let settings = [
        ("LIMITS__PER_IP__RATE", "1000"),
        ("LIMITS__PER_IP__PER", "1m"),
        ("LIMITS__PER_IP__BURST", "1"),
    ];
    let signet = Signet::with(&settings);
    signet
        .get("/nowhere")
        .send()
        .await
        .is_refused(404, "not_found");
    let answer = signet.get("/nowhere").send().await;
    answer.is_refused(429, "rate_limited");
    assert_eq!(answer.seconds("retry-after"), 1);
    assert_eq!(answer.header("ratelimit").unwrap(), "\"per-ip\";r=0;t=1");
}

#[tokio::test]
async fn an_ipv6_client_is_its_64() {
    let signet = Signet::with(spent_after!("PER_IP" => "1"));
    let from = |address| signet.shop_asks(&user("u")).from(address).send();
    from("2001:db8:0:1::1").await.token();
    is_limited(&from("2001:db8:0:1:ffff::2").await, "per-ip", 1);
    from("2001:db8:0:2::1").await.token();
    // An IPv4 address in IPv6's clothes is the IPv4 address.
    from("192.0.2.7").await.token();
    is_limited(&from("::ffff:192.0.2.7").await, "per-ip", 1);
}

#[tokio::test]
async fn an_exempt_address_is_left_alone_by_the_limit_per_address_only() {
    let mut settings = spent_after!("PER_IP" => "1", "FAILED_AUTH" => "1").to_vec();
    settings.push(("LIMITS__PER_IP__EXEMPT", "198.51.100.0/24,2001:db8:5::/48"));
    let signet = Signet::with(&settings);
    for from in ["198.51.100.9", "::ffff:198.51.100.9", "2001:db8:5::1"] {
        for _ in 0..3 {
            signet.shop_asks(&user("u")).from(from).send().await.token();
        }
    }
    let wrong = || {
        signet
            .post("/token")
            .bearer("wrong-key")
            .from("198.51.100.9")
            .send()
    };
    wrong().await.is_refused(401, "invalid_client");
    is_limited(&wrong().await, "failed-auth", 1);
}

#[tokio::test]
async fn the_client_is_the_right_most_address_that_is_no_trusted_proxy() {
    let signet = Signet::with(spent_after!("PER_IP" => "1"));
    let through = |peer: &str, chain: &str| {
        let ask = signet
            .shop_asks(&user("u"))
            .from(peer)
            .header("x-forwarded-proto", "https");
        ask.header("x-forwarded-for", chain).send()
    };
    through("10.0.0.1", "198.51.100.1").await.token();
    // The same client, whatever it wrote in front, through whichever proxies.
    for (peer, chain) in [
        ("10.0.0.1", "203.0.113.1, 198.51.100.1"),
        ("10.0.0.2", "203.0.113.2,198.51.100.1:4711, 10.0.0.7"),
        ("fd00::1", "unknown, 198.51.100.1"),
    ] {
        is_limited(&through(peer, chain).await, "per-ip", 1);
    }
    through("10.0.0.1", "198.51.100.2").await.token();
    // Who is no proxy is the client, whatever it says.
    through("192.0.2.1", "198.51.100.3").await.token();
    is_limited(&through("192.0.2.1", "198.51.100.4").await, "per-ip", 1);
    let ips: Vec<_> = signet
        .audit()
        .iter()
        .map(|line| line["ip"].clone())
        .collect();
    assert_eq!(ips[..3], ["198.51.100.1"; 3]);
    assert_eq!(ips[5], "192.0.2.1");
}

#[tokio::test]
async fn wrong_keys_spend_a_limit_that_then_refuses_the_right_key_too() {
    let signet = Signet::with(spent_after!("FAILED_AUTH" => "2"));
    let with = |key, from| {
        signet
            .post("/token")
            .bearer(key)
            .json(&user("u"))
            .from(from)
            .send()
    };
    for _ in 0..2 {
        with("wrong-key", "192.0.2.1")
            .await
            .is_refused(401, "invalid_client");
    }
    is_limited(&with("wrong-key", "192.0.2.1").await, "failed-auth", 2);
    is_limited(&with(SHOP_KEY, "192.0.2.1").await, "failed-auth", 2);
    with(SHOP_KEY, "192.0.2.2").await.token();
    // A browser there is nobody's backend.
    let ask = signet.get("/apps/acme/token").session(&json!({}));
    ask.send().await.token();
}

#[tokio::test]
async fn neither_right_keys_nor_none_spend_the_limit_of_wrong_ones() {
    let signet = Signet::with(spent_after!("FAILED_AUTH" => "1"));
    for _ in 0..3 {
        signet.shop_asks(&user("u")).send().await.token();
        signet
            .post("/token")
            .send()
            .await
            .is_refused(401, "invalid_client");
    }
}

#[tokio::test]
async fn a_caller_has_a_limit_wherever_it_asks_from() {
    let signet = Signet::with(spent_after!("PER_CALLER" => "2"));
    for from in ["192.0.2.1", "192.0.2.2"] {
        signet.shop_asks(&user("u")).from(from).send().await.token();
    }
    is_limited(
        &signet.shop_asks(&user("u")).from("192.0.2.3").send().await,
        "per-caller",
        2,
    );
    signet
        .desk_asks(&json!({"app": "acme", "userId": "u"}))
        .send()
        .await
        .token();
}

#[tokio::test]
async fn a_user_has_a_limit_per_app_that_backends_and_browsers_share() {
    let signet = Signet::with(spent_after!("PER_USER" => "2"));
    signet.shop_asks(&user("usr_1")).send().await.token();
    let browser = || {
        signet
            .get("/apps/acme/token")
            .session(&json!({}))
            .origin(PAGE)
    };
    browser().send().await.token();
    is_limited(
        &signet.shop_asks(&user("usr_1")).send().await,
        "per-user",
        2,
    );
    let answer = browser().send().await;
    is_limited(&answer, "per-user", 2);
    answer.is_readable_by(PAGE);
    signet.shop_asks(&user("usr_2")).send().await.token();
    signet
        .desk_asks(&json!({"app": "bot", "userId": "usr_1"}))
        .send()
        .await
        .token();
}

#[tokio::test]
async fn limits_are_met_in_their_order_each_before_the_work_behind_it() {
    // Spent together, the earlier one answers.
    let settings =
        spent_after!("PER_IP" => "3", "FAILED_AUTH" => "1", "PER_CALLER" => "2", "PER_USER" => "1");
    let signet = Signet::with(settings);
    let from = |from| signet.shop_asks(&user("u")).from(from).send();
    from("192.0.2.1").await.token();
    is_limited(&from("192.0.2.1").await, "per-user", 1);
    is_limited(&from("192.0.2.1").await, "per-caller", 2);
    is_limited(&from("192.0.2.1").await, "per-ip", 3);
    let wrong = signet
        .post("/token")
        .bearer("wrong-key")
        .from("192.0.2.2")
        .send()
        .await;
    wrong.is_refused(401, "invalid_client");
    is_limited(&from("192.0.2.2").await, "failed-auth", 1);

    // A spent caller's body isn't read, and what it asks for isn't judged.
    let (body, polled) = crate::support::watched_body();
    let ask = signet
        .post("/token")
        .bearer(SHOP_KEY)
        .json_text(body)
        .from("192.0.2.3");
    is_limited(&ask.send().await, "per-caller", 2);
    assert!(!polled.load(std::sync::atomic::Ordering::SeqCst));
}

#[tokio::test]
async fn what_is_refused_does_not_spend_the_users_limit() {
    let signet = Signet::with(spent_after!("PER_USER" => "1"));
    for _ in 0..3 {
        let asked = json!({"userId": "usr_1", "plan": "free"});
        signet
            .shop_asks(&asked)
            .send()
            .await
            .is_refused(403, "plan_not_allowed");
    }
    signet.shop_asks(&user("usr_1")).send().await.token();
}

#[tokio::test]
async fn anonymous_users_are_bounded_by_their_address_alone() {
    let signet = Signet::with(spent_after!("PER_USER" => "1", "PER_IP" => "3"));
    for _ in 0..3 {
        signet.get("/apps/guest/token").send().await.token();
    }
    is_limited(&signet.get("/apps/guest/token").send().await, "per-ip", 3);
}

#[tokio::test]
async fn probes_and_preflights_are_never_limited() {
    let signet = Signet::with(spent_after!("PER_IP" => "1"));
    let preflight = || {
        let ask = signet.ask(Method::OPTIONS, "/apps/acme/token").origin(PAGE);
        ask.header("access-control-request-method", "POST").send()
    };
    for _ in 0..3 {
        assert_eq!(signet.get("/healthz").send().await.status, 200);
        assert_eq!(preflight().await.status, 200);
    }
    // They have spent nothing either.
    signet.shop_asks(&user("u")).send().await.token();
    is_limited(&signet.shop_asks(&user("u")).send().await, "per-ip", 1);
    assert_eq!(signet.get("/healthz").send().await.status, 200);
    let answer = preflight().await;
    assert_eq!(answer.header("access-control-allow-origin").unwrap(), PAGE);
}

#[tokio::test]
async fn a_page_can_read_that_its_address_asks_too_often() {
    let signet = Signet::with(spent_after!("PER_IP" => "1"));
    signet.get("/apps/acme/token").origin(PAGE).send().await;
    let answer = signet.get("/apps/acme/token").origin(PAGE).send().await;
    is_limited(&answer, "per-ip", 1);
    answer.is_readable_by(PAGE);
}

#[tokio::test]
async fn without_its_store_a_closed_limit_lets_nobody_pass() {
    // Nothing listens there.
    let toml = format!(
        "{}\n[limits]\nstore = {{ redis = \"redis://127.0.0.1:1\", on_outage = \"closed\" }}\n",
        crate::support::EVERYTHING
    );
    let signet = Signet::configured(&toml, &[]);
    let answer = signet.shop_asks(&user("u")).send().await;
    answer.is_refused(503, "limits_unavailable");
    let answer = signet
        .get("/apps/acme/token")
        .origin(PAGE)
        .session(&json!({}))
        .send()
        .await;
    answer.is_refused(503, "limits_unavailable");
    answer.is_readable_by(PAGE);
    assert_eq!(signet.get("/healthz").send().await.status, 200);
    let metrics = signet.metrics().await;
    assert!(metrics.contains("signet_limits_store_up{} 0"), "{metrics}");
}

#[tokio::test]
async fn refusals_are_counted_by_limit() {
    let signet = Signet::with(spent_after!("PER_USER" => "1"));
    for _ in 0..3 {
        signet.shop_asks(&user("u")).send().await;
    }
    let metrics = signet.metrics().await;
    assert!(
        metrics.contains("signet_limit_refusals_total{limit=\"per-user\"} 2"),
        "{metrics}"
    );
}

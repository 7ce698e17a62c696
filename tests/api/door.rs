//! What no request gets past: hosts, HTTPS, unknown paths and methods, too much at once, our own bugs.

use axum::body::Body;
use axum::http::Method;
use serde_json::json;

use crate::support::{PAGE, SHOP_KEY, Signet, watched_body};

#[tokio::test]
async fn a_request_needs_exactly_one_valid_host() {
    let signet = Signet::start();
    for hosts in [
        &[][..],
        &["tokens.example.com", "tokens.example.com"],
        &["tokens.example.com", "evil.example.com"],
        &[""],
        &["a b"],
        &["user@tokens.example.com"],
        &["tokens.example.com/path"],
        &["tokens.example.com:port"],
        &["tokens.example.com:+80"],
        &["tokens.example.com:65536"],
        &[":8443"],
        &["\u{e9}"],
    ] {
        for path in ["/token", "/apps/acme/token", "/healthz", "/nowhere"] {
            let ask = signet.post(path).without_host();
            let ask = hosts.iter().fold(ask, |ask, host| ask.header("host", host));
            ask.send().await.is_refused(400, "invalid_request");
        }
    }
    for host in [
        "tokens.example.com",
        "tokens.example.com:8443",
        "192.0.2.1",
        "[2001:db8::1]:8443",
    ] {
        let ask = signet.get("/healthz").without_host().header("host", host);
        assert_eq!(ask.send().await.status, 200, "{host}");
    }
    // HTTP/2 says it in the request's target.
    let ask = signet
        .get("https://tokens.example.com/healthz")
        .without_host();
    assert_eq!(ask.send().await.status, 200);
}

#[tokio::test]
async fn cleartext_is_refused_before_anything_else_is_looked_at() {
    let signet = Signet::start();
    let (body, polled) = watched_body();
    let ask = signet.post("/token").bearer(SHOP_KEY).json_text(body);
    ask.in_cleartext()
        .send()
        .await
        .is_refused(403, "https_required");
    assert!(!polled.load(std::sync::atomic::Ordering::SeqCst));
    let answer = signet
        .get("/apps/acme/token")
        .session(&json!({}))
        .origin(PAGE);
    let answer = answer.in_cleartext().send().await;
    answer.is_refused(403, "https_required");
    answer.is_readable_by(PAGE);
    signet
        .get("/nowhere")
        .in_cleartext()
        .send()
        .await
        .is_refused(403, "https_required");
    assert_eq!(
        signet.get("/healthz").in_cleartext().send().await.status,
        200
    );
}

#[tokio::test]
async fn a_trusted_proxy_says_whether_it_was_https_and_nobody_else_does() {
    let signet = Signet::start();
    let ask = |peer: &str, scheme: &str| {
        let ask = signet.shop_asks(&json!({"userId": "usr_1"}));
        ask.in_cleartext()
            .from(peer)
            .header("x-forwarded-proto", scheme)
            .send()
    };
    ask("10.0.0.1", "https").await.token();
    ask("fd00::1", "https").await.token();
    ask("::ffff:10.0.0.1", "https").await.token();
    for (peer, scheme) in [
        ("10.0.0.1", "http"),
        ("10.0.0.1", "https, http"),
        ("10.0.0.1", ""),
        ("192.0.2.1", "https"),
    ] {
        ask(peer, scheme).await.is_refused(403, "https_required");
    }
    let silent = signet
        .shop_asks(&json!({"userId": "u"}))
        .in_cleartext()
        .from("10.0.0.1");
    silent.send().await.is_refused(403, "https_required");
    // Encrypted up to the proxy's door, but not up to the user's.
    let ask = signet.shop_asks(&json!({"userId": "u"})).from("10.0.0.1");
    let ask = ask.header("x-forwarded-proto", "http");
    ask.send().await.is_refused(403, "https_required");
}

#[tokio::test]
async fn cleartext_is_served_where_the_operator_says_so() {
    let signet = Signet::with(&[("SERVER__REQUIRE_HTTPS", "false")]);
    signet
        .shop_asks(&json!({"userId": "u"}))
        .in_cleartext()
        .send()
        .await
        .token();
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let signet = Signet::start();
    for path in [
        "/",
        "/tokens",
        "/token/",
        "/apps/acme",
        "/apps/nonesuch/token",
        "/apps/ACME/token",
        "/apps//token",
        "/apps/acme/token/",
        "/apps/acme/x/token",
        "/api/support/token/",
        "/metrics",
        "/readyz",
        "/livez",
        "/whoami",
    ] {
        for ask in [signet.get(path), signet.post(path)] {
            ask.send().await.is_refused(404, "not_found");
        }
    }
}

#[tokio::test]
async fn a_known_path_tells_its_methods() {
    let signet = Signet::start();
    for (path, allow, refused) in [
        (
            "/token",
            "POST",
            &[
                "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW",
            ][..],
        ),
        (
            "/apps/acme/token",
            "GET, HEAD, POST",
            &["PUT", "DELETE", "PATCH", "TRACE"],
        ),
        ("/api/support/token", "GET, HEAD, POST", &["PUT", "DELETE"]),
        ("/healthz", "GET, HEAD", &["POST", "PUT"]),
    ] {
        for method in refused {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = signet
                .ask(method.clone(), path)
                .bearer(SHOP_KEY)
                .send()
                .await;
            assert_eq!(
                answer.header("allow").as_deref(),
                Some(allow),
                "{method} {path}"
            );
            answer.is_refused(405, "method_not_allowed");
        }
    }
}

#[tokio::test]
async fn healthz_says_ok_and_nothing_else() {
    let signet = Signet::start();
    let answer = signet.get("/healthz").send().await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (200, "ok\n")
    );
    assert!(signet.audit().is_empty());
}

/// What waits for its body holds a place; the future is dropped with the service.
async fn hold_a_place(signet: &Signet) -> impl Future {
    let (body, polled) = watched_body();
    let mut held = Box::pin(
        signet
            .post("/token")
            .bearer(SHOP_KEY)
            .json_text(body)
            .send(),
    );
    while !polled.load(std::sync::atomic::Ordering::SeqCst) {
        assert!(futures_util::poll!(&mut held).is_pending());
    }
    held
}

#[tokio::test]
async fn what_is_too_much_at_once_is_shed_at_once() {
    let signet = Signet::with(&[("SERVER__MAX_IN_FLIGHT", "2")]);
    let first = hold_a_place(&signet).await;
    signet
        .shop_asks(&json!({"userId": "u"}))
        .send()
        .await
        .token();
    let second = hold_a_place(&signet).await;

    let (body, polled) = watched_body();
    let ask = signet.post("/token").bearer(SHOP_KEY).json_text(body);
    let answer = ask.send().await;
    answer.is_refused(503, "overloaded");
    assert_eq!(answer.seconds("retry-after"), 1);
    assert!(!polled.load(std::sync::atomic::Ordering::SeqCst));
    let answer = signet.get("/apps/acme/token").origin(PAGE).send().await;
    answer.is_refused(503, "overloaded");
    answer.is_readable_by(PAGE);
    // Whoever is told that it is too much isn't counted against its address, nor is a probe shed.
    assert_eq!(signet.get("/healthz").send().await.status, 200);
    assert!(
        signet
            .metrics()
            .await
            .contains("signet_requests_in_flight 2")
    );

    drop(second);
    signet
        .shop_asks(&json!({"userId": "u"}))
        .send()
        .await
        .token();
    drop(first);
    assert!(
        signet
            .metrics()
            .await
            .contains("signet_requests_in_flight 0")
    );
}

#[tokio::test]
async fn a_bug_is_told_without_a_word_about_it_and_readable_by_the_page() {
    let signet = Signet::start();
    let panics = || {
        Body::from_stream(futures_util::stream::poll_fn(
            |_| -> std::task::Poll<Option<Result<Vec<u8>, std::io::Error>>> {
                panic!("secret: kR9vQ2mX")
            },
        ))
    };
    let answer = signet
        .post("/token")
        .bearer(SHOP_KEY)
        .json_text(panics())
        .send()
        .await;
    answer.is_refused(500, "internal_error");
    assert!(!answer.text().contains("kR9v"));
    let ask = signet
        .post("/apps/acme/token")
        .session(&json!({}))
        .origin(PAGE);
    let answer = ask.json_text(panics()).send().await;
    answer.is_refused(500, "internal_error");
    answer.is_readable_by(PAGE);
    // Its place is free again.
    assert!(
        signet
            .metrics()
            .await
            .contains("signet_requests_in_flight 0")
    );
    assert_eq!(signet.audit()[0]["outcome"], "internal_error");
}

#[tokio::test]
async fn what_the_end_of_the_grace_would_cut_is_told_so_readable_by_the_page() {
    let signet = Signet::start();
    let (body, polled) = watched_body();
    let ask = signet
        .post("/apps/bot/token")
        .session(&json!({}))
        .origin(PAGE);
    let mut held = Box::pin(ask.json_text(body).send());
    while !polled.load(std::sync::atomic::Ordering::SeqCst) {
        assert!(futures_util::poll!(&mut held).is_pending());
    }
    signet.service.closing.cancel();
    let answer = held.await;
    let errors = answer.is_refused(503, "shutting_down");
    assert_eq!(errors[0]["code"], 503);
    answer.is_readable_by(PAGE);
}

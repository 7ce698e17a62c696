//! Which pages may call the browser's endpoint, and what they can read.

use axum::http::Method;
use serde_json::json;

use crate::support::{PAGE, Signet};

const PATH: &str = "/apps/acme/token";

#[tokio::test]
async fn pages_of_listed_origins_and_no_browser_at_all_are_served() {
    let signet = Signet::start();
    for headers in [
        // A native SDK.
        &[][..],
        &[("origin", PAGE)],
        &[("origin", PAGE), ("sec-fetch-site", "cross-site")],
        &[("origin", PAGE), ("sec-fetch-site", "same-site")],
        // Its own origin needs no list.
        &[("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
        &[("origin", "https://tokens.example.com")],
        &[
            ("origin", "https://tokens.example.com"),
            ("sec-fetch-site", "same-origin"),
        ],
    ] {
        let ask = signet.get(PATH).session(&json!({}));
        let ask = headers
            .iter()
            .fold(ask, |ask, (name, value)| ask.header(*name, value));
        assert_eq!(ask.send().await.status, 200, "{headers:?}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_before_the_session_is_looked_at() {
    let signet = Signet::start();
    for headers in [
        &[("origin", "https://evil.example.com")][..],
        &[
            ("origin", "https://evil.example.com"),
            ("sec-fetch-site", "same-site"),
        ],
        &[
            ("origin", "https://evil.example.com"),
            ("sec-fetch-site", "cross-site"),
        ],
        &[("origin", "null"), ("sec-fetch-site", "cross-site")],
        &[("origin", "null")],
        &[("origin", "http://app.example.com")],
        &[("origin", "https://app.example.com:8443")],
        &[("origin", "https://APP.example.com")],
        &[("origin", "https://app.example.com/")],
        &[("origin", "https://app.example.com.evil.example")],
        &[("origin", "")],
        // A link or an image elsewhere.
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "nonsense")],
        &[("origin", PAGE), ("origin", "https://evil.example.com")],
    ] {
        for method in [Method::GET, Method::POST] {
            // Without a session it would be 401 if that were looked at first.
            let ask = signet.ask(method, PATH);
            let ask = headers
                .iter()
                .fold(ask, |ask, (name, value)| ask.header(*name, value));
            let answer = ask.send().await;
            answer.is_refused(403, "origin_not_allowed");
            if headers.len() < 2 || headers[0].1 != PAGE {
                answer.is_unreadable();
            }
        }
    }
}

#[tokio::test]
async fn each_app_has_its_own_list() {
    let signet = Signet::start();
    let shop = "https://shop.example.com";
    let answer = signet
        .get(PATH)
        .session(&json!({}))
        .origin(shop)
        .send()
        .await;
    answer.token();
    answer.is_readable_by(shop);
    let answer = signet
        .get("/apps/bot/token")
        .session(&json!({}))
        .origin(shop)
        .send()
        .await;
    answer.is_refused(403, "origin_not_allowed");
    answer.is_unreadable();
    let answer = signet.get("/apps/intranet/token").origin(PAGE).send().await;
    answer.is_refused(403, "origin_not_allowed");
}

#[tokio::test]
async fn a_page_can_read_every_status() {
    let signet = Signet::with(&[("SERVER__MAX_BODY", "256B")]);
    let post = || signet.post(PATH).origin(PAGE).session(&json!({}));
    for (ask, status) in [
        (post(), 200),
        (post().json_text("{"), 400),
        (signet.post(PATH).origin(PAGE), 401),
        (post().json(&json!({"clientId": "x"})), 403),
        (
            post().header("sec-fetch-site", "cross-site").in_cleartext(),
            403,
        ),
        (post().without_host(), 400),
        (signet.ask(Method::PUT, PATH).origin(PAGE), 405),
        (post().json_text("x".repeat(257)), 413),
        (post().header("content-type", "text/plain").body("x"), 415),
        (signet.get("/api/support/token").origin(PAGE), 401),
    ] {
        let answer = ask.send().await;
        assert_eq!(answer.status, status, "{}", answer.text());
        answer.is_readable_by(PAGE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_can_read_that_its_body_took_too_long() {
    let signet = Signet::start();
    let (body, _) = crate::support::watched_body();
    let ask = signet.post(PATH).origin(PAGE).session(&json!({}));
    let answer = ask.json_text(body).send().await;
    answer.is_refused(408, "request_timeout");
    answer.is_readable_by(PAGE);
}

#[tokio::test]
async fn a_preflight_is_answered_before_anything_is_asked() {
    let signet = Signet::start();
    for path in [PATH, "/api/support/token"] {
        for (method, headers) in [
            ("POST", "content-type"),
            ("GET", "authorization"),
            ("POST", "content-type,x-request-id,traceparent,tracestate"),
        ] {
            let ask = signet.ask(Method::OPTIONS, path).origin(PAGE);
            let ask = ask
                .header("access-control-request-method", method)
                .header("access-control-request-headers", headers);
            let answer = ask
                .header("sec-fetch-site", "cross-site")
                .in_cleartext()
                .send()
                .await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.body.len(), 0);
            let told = |name: &str| answer.header(name).unwrap();
            assert_eq!(told("access-control-allow-origin"), PAGE);
            assert_eq!(told("access-control-allow-credentials"), "true");
            assert_eq!(told("access-control-allow-methods"), "GET,POST");
            assert_eq!(told("access-control-max-age"), "600");
            let allowed = told("access-control-allow-headers");
            for header in headers.split(',') {
                assert!(allowed.split(',').any(|name| name == header), "{allowed}");
            }
        }
    }
    assert!(signet.audit().is_empty());
}

#[tokio::test]
async fn a_preflight_of_another_origin_gets_no_leave() {
    let signet = Signet::start();
    for (path, origin) in [
        (PATH, "https://evil.example.com"),
        (PATH, "null"),
        ("/apps/intranet/token", PAGE),
    ] {
        let ask = signet.ask(Method::OPTIONS, path).origin(origin);
        let answer = ask
            .header("access-control-request-method", "POST")
            .send()
            .await;
        answer.is_unreadable();
    }
}

#[tokio::test]
async fn a_backends_endpoint_is_for_no_page() {
    let signet = Signet::start();
    let ask = signet.shop_asks(&json!({"userId": "u"})).origin(PAGE);
    let answer = ask.send().await;
    answer.token();
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    let ask = signet.ask(Method::OPTIONS, "/token").origin(PAGE);
    let answer = ask
        .header("access-control-request-method", "POST")
        .send()
        .await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

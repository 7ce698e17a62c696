//! A session URL that answers, refuses, and fails in every way that a session store can.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::{Answer, PAGE, Signet};

/// A session URL that gives these answers; what it was asked is received at the other end.
async fn upstream(
    answer: impl Fn() -> Response + Clone + Send + Sync + 'static,
) -> (SocketAddr, mpsc::UnboundedReceiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, asked) = mpsc::unbounded_channel();
    let router = Router::new().fallback(move |request: Request| {
        let _ = tell.send(request);
        let answer = answer();
        async move { answer }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, asked)
}

fn app(url: &str) -> Signet {
    let toml = format!(
        r#"
        [server]
        require_https = false
        [apps.acme]
        profile = "support-widget"
        client_id = "ten_acme"
        secret = {{ env = "ACME_SECRET" }}
        [apps.acme.browser]
        origins = ["https://app.example.com"]
        [apps.acme.browser.session]
        resolver = "introspect"
        url = "{url}"
        timeout = "300ms"
        identity = {{ user_id = "/user/id", email = "/user/email", roles = "/user/roles", plan = "/user/plan" }}
        "#
    );
    Signet::configured(&toml, &[])
}

async fn refresh(signet: &Signet) -> Answer {
    let ask = signet.get("/apps/acme/token").origin(PAGE);
    ask.header("cookie", "sid=7; theme=dark").send().await
}

fn json_answer(value: Value) -> impl Fn() -> Response + Clone + Send + Sync + 'static {
    move || axum::Json(value.clone()).into_response()
}

async fn answered_by(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> Answer {
    let (address, _asked) = upstream(answer).await;
    refresh(&app(&format!("http://{address}/session"))).await
}

#[tokio::test]
async fn the_session_url_says_who_the_user_is() {
    let session = json!({"user": {"id": 42, "email": "a@b.co", "roles": ["user"], "plan": null}});
    let (address, mut asked) = upstream(json_answer(session)).await;
    let signet = app(&format!("http://{address}/session?of=widget"));
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let ask = signet.post("/apps/acme/token").origin(PAGE);
    let ask = ask.header("cookie", "sid=7").header("traceparent", trace);
    let ask = ask.header("x-internal", "1").bearer("not-for-upstream");
    let claims = ask.json(&json!({"userId": "42"})).send().await.claims();
    assert_eq!(
        (
            &claims["userId"],
            &claims["userEmail"],
            &claims["userRoles"],
            claims.get("plan")
        ),
        (&json!("42"), &json!("a@b.co"), &json!(["user"]), None)
    );
    let asked = asked.recv().await.unwrap();
    assert_eq!(
        (asked.method().as_str(), asked.uri().to_string()),
        ("GET", "/session?of=widget".to_owned())
    );
    let headers = asked.headers();
    assert_eq!(headers["cookie"], "sid=7");
    assert!(
        headers["traceparent"]
            .to_str()
            .unwrap()
            .contains("4bf92f3577b34da6a3ce929d0e0e4736")
    );
    for withheld in ["authorization", "x-internal", "origin", "x-forwarded-for"] {
        assert!(!headers.contains_key(withheld), "{withheld}");
    }
}

#[tokio::test]
async fn a_session_url_that_knows_nobody_means_log_in() {
    for status in [401, 403] {
        let status = axum::http::StatusCode::from_u16(status).unwrap();
        let answer = answered_by(move || status.into_response()).await;
        answer.is_refused(401, "login_required");
        answer.is_readable_by(PAGE);
    }
    for session in [
        json!({}),
        json!({"user": null}),
        json!({"user": {"id": null}}),
        json!({"user": {"id": ""}}),
        json!([]),
        json!(null),
    ] {
        answered_by(json_answer(session))
            .await
            .is_refused(401, "login_required");
    }
}

#[tokio::test]
async fn a_request_without_what_is_forwarded_is_not_asked_about() {
    let (address, mut asked) = upstream(json_answer(json!({"user": {"id": "usr_1"}}))).await;
    let signet = app(&format!("http://{address}/session"));
    let answer = signet.get("/apps/acme/token").send().await;
    answer.is_refused(401, "login_required");
    assert!(asked.try_recv().is_err());
}

#[track_caller]
fn is_unavailable(answer: &Answer) -> u64 {
    answer.is_refused(503, "session_unavailable");
    answer.is_readable_by(PAGE);
    answer.seconds("retry-after")
}

#[tokio::test]
async fn a_session_url_that_fails_is_503_and_never_401() {
    for status in [
        201, 204, 301, 302, 303, 307, 308, 400, 404, 410, 418, 429, 500, 502, 503,
    ] {
        let status = axum::http::StatusCode::from_u16(status).unwrap();
        let answer = move || {
            let session = axum::Json(json!({"user": {"id": "usr_1"}}));
            (status, [("location", "/elsewhere")], session).into_response()
        };
        let answer = answered_by(answer).await;
        assert!(is_unavailable(&answer) >= 1, "{status}");
    }
    for answer in [
        "<html><h1>Log in</h1></html>",
        "",
        "{",
        "{\"user\":{\"id\":\"usr_1\"}} x",
    ] {
        let answer = answered_by(move || ([("content-type", "text/html")], answer).into_response());
        is_unavailable(&answer.await);
    }
    for session in [
        json!({"user": {"id": ["usr_1"]}}),
        json!({"user": {"id": true}}),
        json!({"user": {"id": 1.5}}),
        json!({"user": {"id": "x".repeat(201)}}),
        json!({"user": {"id": "a\u{202e}b"}}),
        json!({"user": {"id": "usr_1", "roles": "user"}}),
        json!({"user": {"id": "usr_1", "roles": [7]}}),
        json!({"user": {"id": "usr_1", "email": "nobody"}}),
    ] {
        is_unavailable(&answered_by(json_answer(session)).await);
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let redirect = || axum::response::Redirect::to("/login").into_response();
    let (address, mut asked) = upstream(redirect).await;
    is_unavailable(&refresh(&app(&format!("http://{address}/session"))).await);
    assert_eq!(asked.recv().await.unwrap().uri(), "/session");
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn an_upstreams_own_wait_is_passed_on() {
    let busy = || {
        (
            axum::http::StatusCode::TOO_MANY_REQUESTS,
            [("retry-after", "17")],
        )
            .into_response()
    };
    assert_eq!(is_unavailable(&answered_by(busy).await), 17);
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let huge = || {
        let start = format!(
            "{{\"user\":{{\"id\":\"usr_1\"}},\"x\":\"{}\"}}",
            "x".repeat(10 * 1024 * 1024)
        );
        ([("content-type", "application/json")], start).into_response()
    };
    is_unavailable(&answered_by(huge).await);
}

#[tokio::test]
async fn a_session_url_that_refuses_or_hangs_ends_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // It is connected to, and says nothing.
    let started = std::time::Instant::now();
    is_unavailable(&refresh(&app(&format!("http://{address}/session"))).await);
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
    drop(listener);
    is_unavailable(&refresh(&app(&format!("http://{address}/session"))).await);
}

#[tokio::test]
async fn what_upstream_says_is_never_told_to_the_page() {
    let answer = answered_by(|| {
        let page = "database password is hunter2";
        (axum::http::StatusCode::INTERNAL_SERVER_ERROR, page).into_response()
    });
    let answer = answer.await;
    is_unavailable(&answer);
    assert!(!answer.text().contains("hunter2") && !answer.text().contains("127.0.0.1"));
}

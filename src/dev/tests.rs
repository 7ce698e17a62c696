//! The stand-ins from outside: sessions, the gateway's verdicts, and what the pages may load.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::BodyExt;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::clock::Timestamp;

const NOW: i64 = 1_763_650_000;
const SECRET: &[u8] = b"a secret of thirty-two bytes, or so";

fn stand_ins() -> Arc<StandIns> {
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let origins = Origins::at(at(8443), at(8444), at(8445));
    let clock = Clock::fixed(Timestamp::from_seconds(NOW));
    StandIns::new("ten_demo", SECRET, 15, origins, clock)
}

struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn cookie(&self) -> String {
        let value = self.headers[header::SET_COOKIE].to_str().unwrap();
        value.split(';').next().unwrap().to_owned()
    }
}

async fn send(router: &Router, request: Request<Body>) -> Answer {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

async fn get(router: &Router, path: &str, cookie: &str) -> Answer {
    let request = Request::get(path).header(header::COOKIE, cookie);
    send(router, request.body(Body::empty()).unwrap()).await
}

async fn post(
    router: &Router,
    path: &str,
    body: Value,
    name: header::HeaderName,
    value: &str,
) -> Answer {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(name, value);
    send(router, request.body(Body::from(body.to_string())).unwrap()).await
}

async fn log_in(router: &Router, user: &str) -> Answer {
    post(
        router,
        "/demo/login",
        json!({ "user": user }),
        header::COOKIE,
        "",
    )
    .await
}

#[tokio::test]
async fn a_session_lives_from_log_in_to_log_out() {
    let router = router(stand_ins());
    assert_eq!(get(&router, "/demo/session", "").await.status, 401);
    let answer = log_in(&router, "ada").await;
    assert_eq!(answer.status, 204);
    let attributes = answer.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(
        attributes.ends_with("; HttpOnly; Secure; SameSite=Lax; Path=/"),
        "{attributes}"
    );
    let cookie = format!("theme=dark; {}", answer.cookie());

    let session = get(&router, "/demo/session", &cookie).await;
    assert_eq!(session.status, 200);
    assert_eq!(session.json()["user"]["id"], "usr_ada");
    assert_eq!(session.json()["user"]["roles"], json!(["user", "admin"]));

    post(&router, "/demo/logout", json!({}), header::COOKIE, &cookie).await;
    assert_eq!(get(&router, "/demo/session", &cookie).await.status, 401);
}

#[tokio::test]
async fn two_sessions_are_two_users() {
    let router = router(stand_ins());
    let (ada, grace) = (log_in(&router, "ada").await, log_in(&router, "grace").await);
    assert_ne!(ada.cookie(), grace.cookie());
    let session = get(&router, "/demo/session", &grace.cookie()).await;
    assert_eq!(session.json()["user"]["id"], "usr_grace");
}

#[tokio::test]
async fn an_unknown_user_is_told_who_there_is() {
    let answer = log_in(&router(stand_ins()), "mallory").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("ada, grace, linus"));
}

#[tokio::test]
async fn a_form_of_another_site_can_neither_log_in_nor_out_nor_break_anything() {
    let router = router(stand_ins());
    for path in ["/demo/login", "/demo/logout", "/demo/fault"] {
        let request = Request::post(path).header(header::CONTENT_TYPE, "text/plain");
        let answer = send(&router, request.body(Body::from("{}")).unwrap()).await;
        assert_eq!(answer.status, 415, "{path}");
    }
}

#[tokio::test]
async fn the_oldest_session_makes_room_for_a_new_one() {
    let router = router(stand_ins());
    let oldest = log_in(&router, "ada").await.cookie();
    let second = log_in(&router, "grace").await.cookie();
    for _ in 0..999 {
        log_in(&router, "linus").await;
    }
    assert_eq!(get(&router, "/demo/session", &oldest).await.status, 401);
    assert_eq!(get(&router, "/demo/session", &second).await.status, 200);
}

#[tokio::test]
async fn the_fault_breaks_the_session_for_everybody_until_it_is_mended() {
    let router = router(stand_ins());
    let cookie = log_in(&router, "ada").await.cookie();
    for (fault, status) in [("upstream-down", 500), ("none", 200)] {
        let set = post(
            &router,
            "/demo/fault",
            json!({ "fault": fault }),
            header::COOKIE,
            "",
        )
        .await;
        assert_eq!(set.status, 204);
        assert_eq!(get(&router, "/demo/session", &cookie).await.status, status);
    }
}

fn claims() -> Value {
    json!({ "tenantId": "ten_demo", "userId": "usr_ada", "plan": "pro", "iat": NOW - 5, "exp": NOW + 15 })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tokens under test include those that signing would never make"
)]
fn signed(algorithm: Algorithm, secret: &[u8], claims: &Value) -> String {
    jsonwebtoken::encode(
        &Header::new(algorithm),
        claims,
        &EncodingKey::from_secret(secret),
    )
    .unwrap()
}

async fn present(authorization: &str) -> Answer {
    let body = json!({ "text": "hello" });
    post(
        &router(stand_ins()),
        "/gateway/messages",
        body,
        header::AUTHORIZATION,
        authorization,
    )
    .await
}

#[tokio::test]
async fn the_gateway_answers_a_good_token_with_its_claims() {
    let token = signed(Algorithm::HS256, SECRET, &claims());
    let answer = present(&format!("Bearer {token}")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["claims"], claims());
    let reply = answer.json()["reply"].as_str().unwrap().to_owned();
    assert!(
        reply.contains("hello") && reply.contains("usr_ada") && reply.contains("pro"),
        "{reply}"
    );
}

#[tokio::test]
async fn the_gateway_refuses_every_token_that_the_platform_would() {
    let hs256 = |claims: &Value| format!("Bearer {}", signed(Algorithm::HS256, SECRET, claims));
    let unsigned = format!(
        "Bearer {}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        URL_SAFE_NO_PAD.encode(claims().to_string())
    );
    let tampered = {
        let (good, other) = (hs256(&claims()), hs256(&with("userId", json!("usr_1"))));
        let (_, signature) = good.rsplit_once('.').unwrap();
        format!("{}.{signature}", other.rsplit_once('.').unwrap().0)
    };
    for (authorization, message) in [
        (
            String::new(),
            "No Authorization was found in request.headers",
        ),
        (
            "Basic YTpi".to_owned(),
            "No Authorization was found in request.headers",
        ),
        (
            "Bearer undefined".to_owned(),
            "Authorization token is invalid: It is not a signed JWT.",
        ),
        (
            unsigned,
            "Authorization token is invalid: It is not a signed JWT.",
        ),
        (
            format!("Bearer {}", signed(Algorithm::HS512, SECRET, &claims())),
            "The token algorithm is invalid.",
        ),
        (
            format!(
                "Bearer {}",
                signed(Algorithm::HS256, b"another secret", &claims())
            ),
            "Authorization token is invalid: The token signature is invalid.",
        ),
        (
            tampered,
            "Authorization token is invalid: The token signature is invalid.",
        ),
        (
            hs256(&with("exp", json!(NOW))),
            "Authorization token expired",
        ),
        (
            hs256(&without("exp")),
            "Authorization token is invalid: The exp claim must be a whole number of seconds.",
        ),
        (
            hs256(&with("exp", json!("1763650015"))),
            "Authorization token is invalid: The exp claim must be a whole number of seconds.",
        ),
        (
            hs256(&with("iat", json!(1_763_649_995.5))),
            "Authorization token is invalid: The iat claim must be a whole number of seconds.",
        ),
        (
            hs256(&with("iat", json!(NOW + 1))),
            "Authorization token is invalid: It was issued in the future.",
        ),
        (
            hs256(&with("tenantId", json!("ten_acme"))),
            "Authorization token is invalid: It is another tenant's.",
        ),
        (
            hs256(&without("tenantId")),
            "Authorization token is invalid: It is another tenant's.",
        ),
        (
            hs256(&with("userId", json!(""))),
            "Authorization token is invalid: It names no user.",
        ),
        (
            hs256(&with("role", json!("super_admin"))),
            "Authorization token is invalid: The token must not carry `role`.",
        ),
    ] {
        let answer = present(&authorization).await;
        assert_eq!(answer.status, 401, "{message}");
        assert_eq!(answer.json()["message"], message);
        assert_eq!(answer.json()["statusCode"], 401);
        assert_eq!(answer.json()["error"], "UNAUTHORIZED");
        assert!(answer.json()["requestId"].is_string());
    }
}

#[tokio::test]
async fn the_page_learns_what_it_needs_and_no_secret() {
    let answer = get(&router(stand_ins()), "/demo/config", "").await;
    assert_eq!(
        answer.json(),
        json!({
            "tenantId": "ten_demo",
            "ttl": 15,
            "origins": {
                "main": "https://127.0.0.1:8443",
                "partner": "https://127.0.0.1:8444",
                "stranger": "https://127.0.0.1:8445",
            },
        })
    );
}

/// Every file that a served page or module names is served too, with its type, and names nothing from elsewhere.
#[tokio::test]
async fn everything_that_a_page_loads_is_served_from_its_own_origin() {
    let stand_ins = stand_ins();
    let sites = [
        (router(stand_ins.clone()), "/"),
        (side_router(&stand_ins), "/partner.html"),
    ];
    for (router, start) in sites {
        let mut found = vec![start.to_owned()];
        let mut next = 0;
        while let Some(path) = found.get(next).cloned() {
            next += 1;
            let answer = get(&router, &path, "").await;
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store", "{path}");
            assert_eq!(
                answer.headers[header::X_CONTENT_TYPE_OPTIONS],
                "nosniff",
                "{path}"
            );
            let policy = answer.headers[header::CONTENT_SECURITY_POLICY]
                .to_str()
                .unwrap();
            assert!(
                policy.starts_with("default-src 'self'; "),
                "{path}: {policy}"
            );
            let content_type = answer.headers[header::CONTENT_TYPE].to_str().unwrap();
            let expected = match path.rsplit_once('.').map(|(_, end)| end) {
                Some("css") => "text/css; charset=utf-8",
                Some("js") => "text/javascript; charset=utf-8",
                Some("svg") => "image/svg+xml",
                _ => "text/html; charset=utf-8",
            };
            assert_eq!(content_type, expected, "{path}");
            for quoted in answer.body.split(['"', '\'']) {
                let named = match quoted.strip_prefix("./") {
                    Some(sibling) => format!("/demo/{sibling}"),
                    None => quoted.split('#').next().unwrap().to_owned(),
                };
                let is_file = named.starts_with("/demo/") && named.contains('.');
                if is_file && !found.contains(&named) {
                    found.push(named);
                }
                let elsewhere = ["http://", "https://", "//"]
                    .iter()
                    .any(|scheme| quoted.starts_with(scheme));
                let allowed = quoted == "http://www.w3.org/2000/svg";
                assert!(allowed || !elsewhere, "{path} names {quoted}");
            }
        }
        let all = if start == "/" { 11 } else { 2 };
        assert_eq!(found.len(), all, "{found:?}");
    }
}

#[tokio::test]
async fn only_the_demo_page_may_frame_the_side_origins_and_nobody_the_demo_page() {
    let stand_ins = stand_ins();
    let policy = |answer: Answer| {
        answer.headers[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap()
            .to_owned()
    };
    let main = policy(get(&router(stand_ins.clone()), "/", "").await);
    assert!(
        main.contains("frame-src https://127.0.0.1:8444 https://127.0.0.1:8445;"),
        "{main}"
    );
    assert!(main.contains("frame-ancestors 'none';"), "{main}");
    let side = policy(get(&side_router(&stand_ins), "/partner.html", "").await);
    assert!(
        side.contains("frame-ancestors https://127.0.0.1:8443;"),
        "{side}"
    );
    assert!(
        side.contains("connect-src https://127.0.0.1:8443;"),
        "{side}"
    );
}

#[tokio::test]
async fn a_side_origin_has_no_session_and_no_gateway() {
    let side = side_router(&stand_ins());
    for path in ["/", "/demo/config", "/demo/session"] {
        assert_eq!(get(&side, path, "").await.status, 404, "{path}");
    }
}

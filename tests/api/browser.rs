//! The browser's endpoint: who the user is comes from the session, whatever the body says.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{BOT_SECRET, NOW, SESSION_SECRET, Signet, claims, session_jwt, streamed};

/// What Kore's Web SDK sends, with the page's own settings in it.
fn sdk_form(identity: &str, anonymous: &str) -> String {
    format!("clientId=cs-1&clientSecret=whatever&identity={identity}&aud=&isAnonymous={anonymous}")
}

#[tokio::test]
async fn a_session_becomes_a_token_by_get_and_post_on_both_paths() {
    let signet = Signet::start();
    let session = json!({
        "sub": "usr_1", "email": "a@b.co", "roles": ["user"], "plan": "pro", "role": "super_admin",
    });
    let expected = json!({
        "tenantId": "ten_acme", "userId": "usr_1", "userEmail": "a@b.co", "userRoles": ["user"],
        "plan": "pro", "iat": NOW - 5, "exp": NOW + 3595,
    });
    for path in [
        "/apps/acme/token",
        "/api/support/token",
        "/api/support/token?case=7",
    ] {
        for ask in [signet.get(path), signet.post(path)] {
            let answer = ask.session(&session).send().await;
            assert_eq!(answer.claims(), expected);
            assert_eq!(answer.json()["expiresIn"], 3595);
        }
    }
    // One that ends with a slash, as the SDK's documentation calls it.
    let answer = signet
        .post("/api/users/sts/")
        .session(&session)
        .send()
        .await;
    assert_eq!(answer.claims()["sub"], "usr_1");
}

#[tokio::test]
async fn a_page_that_wants_the_bare_token_gets_it() {
    let signet = Signet::start();
    let ask = signet.get("/apps/acme/token").session(&json!({}));
    let answer = ask.header("accept", "application/jwt").send().await;
    assert_eq!(answer.header("content-type").unwrap(), "application/jwt");
    assert_eq!(claims(&answer.text())["userId"], "usr_1");
}

#[tokio::test]
async fn every_body_of_a_real_client_is_taken() {
    let signet = Signet::with(&[("LIMITS__PER_USER__BURST", "100")]);
    let post = || signet.post("/apps/bot/token").session(&json!({}));
    for ask in [
        post(),
        post().body(""),
        post().header("content-type", "application/json"),
        post().header("content-type", "text/plain;charset=UTF-8"),
        post().json(&json!({})),
        post().json(&json!({"identity": "usr_1"})),
        post().json(&json!({
            "clientId": "cs-1", "clientSecret": "x", "identity": "usr_1",
            "aud": "https://idproxy.kore.com/authorize", "isAnonymous": false,
        })),
        post().json(&json!({"identity": null, "isAnonymous": null, "aud": ""})),
        post().json(&json!({"fName": "A", "more": {"nested": []}})),
        post().form(&sdk_form("usr_1", "false")),
        post().form(&sdk_form("usr_1", "0")),
        post().form(&sdk_form("", "")),
        post().form("aud=https%3A%2F%2Fidproxy.kore.com%2Fauthorize&botId=st-1&botId=st-2"),
    ] {
        let claims = ask.send().await.claims();
        assert_eq!(
            (&claims["sub"], &claims["isAnonymous"]),
            (&json!("usr_1"), &json!(false))
        );
    }
}

#[tokio::test]
async fn a_body_may_name_the_user_by_id_or_by_the_sessions_address() {
    let signet = Signet::start();
    for identity in ["usr_1", "a%40b.co"] {
        let ask = signet
            .post("/apps/bot/token")
            .session(&json!({"email": "a@b.co"}));
        let claims = ask.form(&sdk_form(identity, "false")).send().await.claims();
        assert_eq!(claims["sub"], "usr_1");
    }
}

#[tokio::test]
async fn a_body_that_names_somebody_else_is_refused() {
    let signet = Signet::start();
    for body in [
        sdk_form("usr_2", "false"),
        sdk_form("USR_1", "false"),
        sdk_form("usr_1%20", "false"),
        sdk_form("usr_1", "true"),
        sdk_form("", "1"),
        "userId=usr_2".to_owned(),
    ] {
        let ask = signet.post("/apps/bot/token").session(&json!({}));
        ask.form(&body)
            .send()
            .await
            .is_refused(403, "identity_mismatch");
    }
    let ask = signet.post("/apps/acme/token").session(&json!({}));
    let answer = ask.json(&json!({"userId": "usr_2"})).send().await;
    answer.is_refused(403, "identity_mismatch");
    assert!(
        !answer.text().contains("usr_1"),
        "who is logged in is not told"
    );
    let line = signet.audit().pop().unwrap();
    assert_eq!(
        (&line["outcome"], &line["user"], &line["resolver"]),
        (&json!("identity_mismatch"), &json!("usr_1"), &json!("jwt"))
    );
}

#[tokio::test]
async fn another_client_id_or_audience_is_refused() {
    let signet = Signet::start();
    for (body, code, pointer) in [
        ("clientId=cs-2", "tenant_mismatch", "/clientId"),
        ("tenantId=cs-2", "tenant_mismatch", "/clientId"),
        (
            "aud=https%3A%2F%2Fevil.example.com",
            "audience_not_allowed",
            "/aud",
        ),
        (
            "aud=https%3A%2F%2Fidproxy.kore.ai%2Fauthorize",
            "audience_not_allowed",
            "/aud",
        ),
    ] {
        let ask = signet.post("/apps/bot/token").session(&json!({}));
        let answer = ask.form(body).send().await;
        answer.is_refused(403, code);
        assert_eq!(answer.pointers(), [pointer], "{body}");
    }
    // An app whose tokens have none allows none.
    let ask = signet.post("/apps/acme/token").session(&json!({}));
    let answer = ask.form("aud=x").send().await;
    answer.is_refused(403, "audience_not_allowed");
}

#[tokio::test]
async fn members_that_come_twice_or_are_of_a_wrong_type_are_refused() {
    let signet = Signet::start();
    let post = || signet.post("/apps/bot/token").session(&json!({}));
    for (body, pointer) in [
        ("identity=usr_1&identity=usr_1", "/identity"),
        ("identity=usr_1&userId=usr_1", "/userId"),
        ("clientId=cs-1&clientId=", "/clientId"),
        ("aud=&aud=", "/aud"),
        ("isAnonymous=false&isAnonymous=true", "/isAnonymous"),
        ("clientSecret=a&clientSecret=b", "/clientSecret"),
        ("isAnonymous=yes", "/isAnonymous"),
        ("isAnonymous=FALSE", "/isAnonymous"),
        ("isAnonymous=%20", "/isAnonymous"),
    ] {
        let answer = post().form(body).send().await;
        answer.is_refused(400, "invalid_request");
        assert_eq!(answer.pointers(), [pointer], "{body}");
    }
    for (body, pointer) in [
        (
            r#"{"identity":"usr_1","\u0069dentity":"usr_1"}"#,
            "/identity",
        ),
        (r#"{"identity":["usr_1"]}"#, "/identity"),
        (r#"{"identity":7}"#, "/identity"),
        (r#"{"isAnonymous":"no"}"#, "/isAnonymous"),
        (r#"["usr_1"]"#, ""),
        ("null", ""),
    ] {
        let answer = post().json_text(body).send().await;
        answer.is_refused(400, "invalid_request");
        assert_eq!(answer.pointers(), [pointer], "{body}");
    }
    post()
        .json_text("[object Object]")
        .send()
        .await
        .is_refused(400, "invalid_request");
}

#[tokio::test]
async fn a_body_of_another_kind_is_refused_with_its_media_type() {
    let signet = Signet::start();
    for kind in [
        None,
        Some("text/plain"),
        Some("multipart/form-data; boundary=x"),
    ] {
        let mut ask = signet.post("/apps/acme/token").session(&json!({}));
        if let Some(kind) = kind {
            ask = ask.header("content-type", kind);
        }
        let answer = ask.body("identity=usr_1").send().await;
        answer.is_refused(415, "unsupported_media_type");
    }
}

#[tokio::test]
async fn a_long_body_is_refused() {
    let signet = Signet::with(&[("SERVER__MAX_BODY", "256B")]);
    let ask = signet.post("/apps/acme/token").session(&json!({}));
    let body = streamed(vec![Ok(vec![b'a'; 200]), Ok(vec![b'a'; 200])]);
    ask.json_text(body)
        .send()
        .await
        .is_refused(413, "body_too_large");
}

#[tokio::test]
async fn without_a_session_the_answer_is_401_whatever_the_body_says() {
    let signet = Signet::start();
    let expired = session_jwt(&json!({"exp": NOW - 1}));
    let forged = format!("{}x", session_jwt(&json!({})));
    for ask in [
        signet.get("/apps/acme/token"),
        signet
            .post("/apps/acme/token")
            .form("identity=usr_1&isAnonymous=true"),
        signet
            .get("/apps/acme/token")
            .header("cookie", &format!("session={expired}")),
        signet
            .get("/apps/acme/token")
            .header("cookie", &format!("session={forged}")),
        signet
            .get("/apps/acme/token")
            .bearer(&session_jwt(&json!({}))),
        signet
            .get("/apps/acme/token")
            .header("x-forwarded-user", "usr_1"),
    ] {
        let answer = ask.send().await;
        answer.is_refused(401, "login_required");
        assert!(!answer.text().contains("eyJ"));
    }
    let line = signet.audit().pop().unwrap();
    assert_eq!(
        (&line["app"], &line["resolver"]),
        (&json!("acme"), &json!("jwt"))
    );
}

#[tokio::test]
async fn a_session_that_lacks_what_tokens_must_have_is_not_the_users_fault() {
    let signet = Signet::start();
    let ask = signet
        .get("/apps/acme/token")
        .session(&json!({"email": ["a@b.co"]}));
    ask.send().await.is_refused(503, "session_unavailable");
}

#[tokio::test]
async fn beside_a_resolver_a_request_without_a_session_may_be_anonymous() {
    let signet = Signet::start();
    let post = || signet.post("/apps/bot/token");
    let mut users = std::collections::HashSet::new();
    for ask in [
        post(),
        post().form(&sdk_form("", "")),
        post().form(&sdk_form("", "false")),
        post().form(&sdk_form("", "true")),
        // Pages invent one.
        post().form(&sdk_form("3f2504e0-4f89", "true")),
        post().form(&sdk_form("3f2504e0-4f89", "1")),
        post().json(&json!({"identity": "x", "isAnonymous": true})),
        post().json(&json!({"identity": "x", "isAnonymous": 1})),
        signet.get("/apps/bot/token"),
    ] {
        let claims = ask.send().await.claims();
        assert_eq!(claims["isAnonymous"], true);
        users.insert(claims["sub"].as_str().unwrap().to_owned());
    }
    assert_eq!(users.len(), 9, "each is somebody new");
    assert!(
        users
            .iter()
            .all(|user| !user.contains("3f2504e0") && user != "x")
    );
}

#[tokio::test]
async fn who_names_somebody_without_a_true_is_anonymous_has_to_log_in() {
    let signet = Signet::start();
    for anonymous in ["false", "0", ""] {
        let ask = signet
            .post("/apps/bot/token")
            .form(&sdk_form("usr_1", anonymous));
        ask.send().await.is_refused(401, "login_required");
    }
    let ask = signet
        .post("/apps/bot/token")
        .json(&json!({"identity": "usr_1"}));
    ask.send().await.is_refused(401, "login_required");
}

#[tokio::test]
async fn the_anonymous_resolver_makes_a_new_user_each_time() {
    let signet = Signet::start();
    let first = signet.get("/apps/guest/token").send().await.claims();
    let second = signet
        .get("/apps/guest/token")
        .session(&json!({}))
        .send()
        .await
        .claims();
    assert_ne!(first["sub"], second["sub"]);
    assert_eq!(second["isAnonymous"], true);
    assert_ne!(second["sub"], "usr_1");
    let ask = signet
        .post("/apps/guest/token")
        .form("identity=usr_1&isAnonymous=true");
    assert_ne!(ask.send().await.claims()["sub"], "usr_1");
    let ask = signet.post("/apps/guest/token").form("identity=usr_1");
    ask.send().await.is_refused(403, "identity_mismatch");
}

#[tokio::test]
async fn a_trusted_proxys_headers_are_a_session_and_nobody_elses() {
    let signet = Signet::start();
    let ask = |peer: &str| {
        let ask = signet.get("/apps/intranet/token").from(peer);
        ask.header("x-forwarded-proto", "https")
            .header("x-forwarded-for", "198.51.100.1")
            .header("x-forwarded-user", "usr_1")
            .header("x-forwarded-email", "a@b.co")
            .header("x-forwarded-groups", "user, agent")
    };
    let answer = ask("10.0.0.1").send().await;
    let token = answer.token();
    let payload = token.split('.').nth(1).unwrap();
    let payload =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload);
    let claims: Value = serde_json::from_slice(&payload.unwrap()).unwrap();
    assert_eq!(
        (&claims["userId"], &claims["userRoles"]),
        (&json!("usr_1"), &json!(["user", "agent"]))
    );
    ask("192.0.2.1")
        .send()
        .await
        .is_refused(401, "login_required");
    // A second one is a client's that came through.
    let twice = ask("10.0.0.1").header("x-forwarded-user", "usr_2");
    twice.send().await.is_refused(401, "login_required");
    let nobody = signet.get("/apps/intranet/token").from("10.0.0.1");
    nobody.send().await.is_refused(401, "login_required");
}

/// What is logged on this thread until the guard goes.
fn log() -> (Logged, tracing::subscriber::DefaultGuard) {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    (logged, tracing::subscriber::set_default(subscriber))
}

#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_client_secret_is_never_used_and_warned_of_once() {
    let signet = Signet::start();
    let (logged, _guard) = log();
    for secret in [BOT_SECRET, "wrong", BOT_SECRET] {
        let form = format!("clientId=cs-1&clientSecret={secret}&identity=usr_1");
        let ask = signet.post("/apps/bot/token").session(&json!({}));
        assert_eq!(ask.form(&form).send().await.claims()["sub"], "usr_1");
        // It proves nobody.
        let ask = signet.post("/apps/bot/token").form(&form);
        ask.send().await.is_refused(401, "login_required");
    }
    let text = logged.text();
    assert_eq!(text.matches("clientSecret").count(), 1, "{text}");
    assert!(text.contains("`bot`"));
    for secret in [BOT_SECRET, SESSION_SECRET, "usr_1", "eyJ"] {
        assert!(!text.contains(secret), "{text}");
    }
}

//! The `kore` profile: its exact claims under each algorithm, and errors that its SDK can show.

use aws_lc_rs::{hmac, signature};
use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{Answer, LONG_SECRET, NOW, PAGE, Signet, header};

fn payload(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap());
    serde_json::from_slice(&payload.unwrap()).unwrap()
}

fn app(settings: &str) -> Signet {
    let toml = format!(
        r#"
        [server]
        require_https = false
        [apps.bot]
        profile = "kore"
        client_id = "cs-1"
        {settings}
        [callers.desk]
        key_sha256 = ["DESK_HASH"]
        apps = ["bot"]
        attributes = ["identityToMerge"]
        "#
    );
    Signet::configured(&toml, &[])
}

#[tokio::test]
async fn the_claims_are_exactly_the_platforms() {
    let signet = Signet::start();
    let answer = signet
        .desk_asks(&json!({"app": "bot", "userId": "usr_1"}))
        .send()
        .await;
    let members: Vec<_> = answer.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        members,
        ["jwt", "tokenType", "expiresIn", "expiresAt", "refreshAfter"]
    );
    assert_eq!(
        header(&answer.token()),
        json!({"alg": "HS256", "typ": "JWT"})
    );
    let mut claims = answer.claims();
    let id = claims.as_object_mut().unwrap().remove("jti").unwrap();
    assert_eq!(id.as_str().unwrap().len(), 22, "128 bits in base64url");
    assert_eq!(
        claims,
        json!({
            "iss": "cs-1", "sub": "usr_1", "aud": "https://idproxy.kore.com/authorize",
            "iat": NOW - 5, "exp": NOW + 3595, "isAnonymous": false,
        })
    );
    let asked =
        json!({"app": "bot", "userId": "usr_1", "attributes": {"identityToMerge": "anon-7"}});
    let merged = signet.desk_asks(&asked).send().await.claims();
    assert_eq!(merged["identityToMerge"], "anon-7");
    assert_ne!(merged["jti"], id, "an ID is used once");
    // A session's attribute where the configuration says so.
    let ask = signet
        .get("/apps/bot/token")
        .session(&json!({"before": "anon-8"}));
    assert_eq!(ask.send().await.claims()["identityToMerge"], "anon-8");
}

#[tokio::test]
async fn an_app_can_leave_the_token_id_out() {
    let signet = Signet::start();
    let claims = signet.get("/apps/guest/token").send().await.claims();
    assert_eq!(claims.get("jti"), None);
    assert_eq!(claims["iss"], "cs-guest");
}

#[tokio::test]
async fn an_app_can_have_an_audience_of_its_own() {
    let signet =
        app("audience = \"https://idproxy.kore.ai/authorize\"\nsecret = { env = \"BOT_SECRET\" }");
    let claims = signet
        .desk_asks(&json!({"userId": "u"}))
        .send()
        .await
        .claims();
    assert_eq!(claims["aud"], "https://idproxy.kore.ai/authorize");
}

#[tokio::test]
async fn every_algorithm_of_the_platform_signs() {
    let public = {
        let pem = include_str!("../keys/rsa2048.pkcs8.pem");
        let der = pem
            .lines()
            .filter(|line| !line.starts_with('-'))
            .collect::<String>();
        let der = base64::engine::general_purpose::STANDARD
            .decode(der)
            .unwrap();
        let pair = signature::RsaKeyPair::from_pkcs8(&der).unwrap();
        signature::KeyPair::public_key(&pair).as_ref().to_vec()
    };
    for (algorithm, key) in [
        ("HS256", "secret = { env = \"LONG_SECRET\" }"),
        ("HS512", "secret = { env = \"LONG_SECRET\" }"),
        ("RS256", "private_key = { env = \"RSA_KEY\" }"),
        ("RS512", "private_key = { env = \"RSA_KEY\" }"),
    ] {
        let signet = app(&format!("algorithm = \"{algorithm}\"\n{key}"));
        let token = signet
            .desk_asks(&json!({"userId": "usr_1"}))
            .send()
            .await
            .token();
        assert_eq!(header(&token), json!({"alg": algorithm, "typ": "JWT"}));
        assert_eq!(payload(&token)["sub"], "usr_1");
        let (signed, sealed) = token.rsplit_once('.').unwrap();
        let sealed = URL_SAFE_NO_PAD.decode(sealed).unwrap();
        let hmac = |hash| {
            let key = hmac::Key::new(hash, LONG_SECRET.as_bytes());
            hmac::verify(&key, signed.as_bytes(), &sealed).is_ok()
        };
        let rsa = |parameters: &'static signature::RsaParameters| {
            let key = signature::UnparsedPublicKey::new(parameters, &public);
            key.verify(signed.as_bytes(), &sealed).is_ok()
        };
        let holds = match algorithm {
            "HS256" => hmac(hmac::HMAC_SHA256),
            "HS512" => hmac(hmac::HMAC_SHA512),
            "RS256" => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            _ => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        };
        assert!(holds, "{algorithm}");
    }
}

/// The SDK reads `errors[0].msg`, and shows it.
#[track_caller]
fn is_shown(answer: &Answer, status: u16, code: &str) {
    let errors = answer.is_refused(status, code);
    let items = errors.as_array().unwrap();
    assert!(!items.is_empty(), "{code}: {errors}");
    for item in items {
        assert_ne!(item["msg"].as_str(), Some(""), "{code}: {item}");
        assert_eq!(item["msg"], item["detail"], "{code}");
        assert_eq!(item["code"], status, "{code}");
        assert!(item["pointer"].is_string(), "{code}");
    }
}

#[tokio::test]
async fn every_error_of_a_browser_can_be_shown() {
    let signet = Signet::with(&[("SERVER__MAX_BODY", "256B")]);
    let post = || {
        signet
            .post("/apps/bot/token")
            .origin(PAGE)
            .session(&json!({}))
    };
    for (ask, status, code) in [
        (post().json_text("{"), 400, "invalid_request"),
        (
            post().form("isAnonymous=x&aud=&aud="),
            400,
            "invalid_request",
        ),
        (post().without_host(), 400, "invalid_request"),
        (
            signet.post("/apps/bot/token").form("identity=a"),
            401,
            "login_required",
        ),
        (post().form("identity=x"), 403, "identity_mismatch"),
        (post().form("clientId=x"), 403, "tenant_mismatch"),
        (post().form("aud=x"), 403, "audience_not_allowed"),
        (
            signet.post("/apps/bot/token").origin("null"),
            403,
            "origin_not_allowed",
        ),
        (post().in_cleartext(), 403, "https_required"),
        (
            signet.ask(Method::DELETE, "/apps/bot/token"),
            405,
            "method_not_allowed",
        ),
        (post().form(&"x".repeat(257)), 413, "body_too_large"),
        (post().body("x"), 415, "unsupported_media_type"),
        (signet.get("/apps/bot/token/"), 404, "not_found"),
        (
            signet.get("/apps/bot/token").session(&json!({"sub": 1.5})),
            503,
            "session_unavailable",
        ),
    ] {
        is_shown(&ask.send().await, status, code);
    }
}

#[tokio::test]
async fn every_limit_and_every_overload_can_be_shown() {
    let once = [
        ("LIMITS__PER_USER__BURST", "1"),
        ("LIMITS__PER_IP__PER", "1h"),
        ("LIMITS__PER_IP__BURST", "3"),
    ];
    let signet = Signet::with(&once);
    let ask = || signet.get("/apps/bot/token").session(&json!({})).send();
    ask().await.token();
    is_shown(&ask().await, 429, "rate_limited");
    ask().await;
    is_shown(&ask().await, 429, "rate_limited");
    // On the app's own path, too.
    is_shown(
        &signet.get("/api/users/sts/").send().await,
        429,
        "rate_limited",
    );

    let signet = Signet::with(&[("SERVER__MAX_IN_FLIGHT", "1")]);
    let (body, polled) = crate::support::watched_body();
    let ask = signet
        .post("/apps/bot/token")
        .session(&json!({}))
        .json_text(body);
    let mut held = Box::pin(ask.send());
    while !polled.load(std::sync::atomic::Ordering::SeqCst) {
        assert!(futures_util::poll!(&mut held).is_pending());
    }
    is_shown(
        &signet.get("/apps/bot/token").send().await,
        503,
        "overloaded",
    );
}

#[tokio::test]
async fn every_error_of_its_backend_can_be_shown() {
    let signet = app("secret = { env = \"BOT_SECRET\" }");
    let post = || signet.desk_asks(&json!({"userId": "u"}));
    for (ask, status, code) in [
        (
            signet.desk_asks(&json!({"userId": ""})),
            400,
            "invalid_request",
        ),
        (
            signet.desk_asks(&json!({"userId": "u", "plan": "x", "email": 7})),
            400,
            "invalid_request",
        ),
        (post().body("{"), 400, "invalid_request"),
        (post().without_host(), 400, "invalid_request"),
        (signet.post("/token"), 401, "invalid_client"),
        (
            signet.desk_asks(&json!({"app": "x", "userId": "u"})),
            403,
            "app_not_allowed",
        ),
        (
            signet.desk_asks(&json!({"clientId": "x", "userId": "u"})),
            403,
            "tenant_mismatch",
        ),
        (
            signet.desk_asks(&json!({"userId": "u", "ttl": 3601})),
            403,
            "ttl_too_long",
        ),
        (signet.get("/token"), 405, "method_not_allowed"),
        (signet.get("/nowhere"), 404, "not_found"),
        (signet.get("/apps/bot/token"), 404, "not_found"),
        (
            post().header("content-length", "99999"),
            413,
            "body_too_large",
        ),
        (
            post().header("content-type", "text/plain"),
            415,
            "unsupported_media_type",
        ),
    ] {
        is_shown(&ask.send().await, status, code);
    }
}

#[tokio::test]
async fn errors_of_other_apps_have_no_members_of_the_sdks() {
    let signet = Signet::start();
    let answer = signet.get("/apps/acme/token").send().await;
    assert_eq!(answer.is_refused(401, "login_required"), json!([]));
    let answer = signet.shop_asks(&json!({})).send().await;
    let item = &answer.is_refused(400, "invalid_request")[0];
    let members: Vec<_> = item.as_object().unwrap().keys().collect();
    assert_eq!(members, ["pointer", "detail"]);
}

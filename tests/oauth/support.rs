//! A whole service on a fixed clock, a signer of users' tokens, and one verb per action.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use signet::clock::{Clock, Timestamp};
use signet::config::Environment;
use signet::secrets::{Secret, Variables};
use signet::server::Peer;
use signet::service::{self, Running, Sources};
use signet::signing::{Algorithm, Key, KeyId};
use signet::telemetry::{Audit, Format, Sink};
use std::sync::Arc;
use tower::ServiceExt;

pub(crate) const NOW: i64 = 1_763_650_000;
pub(crate) const SHOP_KEY: &str = "sgn_shop-0123456789abcdefghijklmnopqrstuv/+=";
const SESSION_SECRET: &str = "Vd8k2mQz7LpT4wY8sBnC6dFgH3jK5aEr";
pub(crate) const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The service of `oauth.toml` beside this file, with `more` after it.
pub(crate) struct Harness {
    pub(crate) service: Arc<Running>,
    pub(crate) clock: Clock,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The status and the OAuth error.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let error = self.json()["error"].as_str().unwrap_or("none").to_owned();
        (self.status.as_u16(), error)
    }

    pub(crate) fn description(&self) -> String {
        self.json()["error_description"]
            .as_str()
            .unwrap_or("none")
            .to_owned()
    }
}

pub(crate) fn harness(more: &str) -> Harness {
    try_harness(&format!("{}\n{more}", include_str!("oauth.toml")))
        .unwrap_or_else(|problems| panic!("{problems}"))
}

/// The service of `oauth.toml` with one thing said otherwise.
pub(crate) fn changed(from: &str, to: &str) -> Harness {
    let config = include_str!("oauth.toml");
    assert_eq!(config.matches(from).count(), 1, "{from}");
    try_harness(&config.replace(from, to)).unwrap_or_else(|problems| panic!("{problems}"))
}

pub(crate) fn try_harness(config: &str) -> Result<Harness, String> {
    try_harness_logging_to(std::io::sink(), config).map(|(harness, _)| harness)
}

pub(crate) fn try_harness_logging_to(
    log: impl Write + Send + 'static,
    config: &str,
) -> Result<(Harness, Sink), String> {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("signet.toml");
    let config = config.replace("KEYS/", &format!("{}/", keys.display()));
    std::fs::write(&file, config).expect("a file in a temporary folder");
    std::fs::write(folder.path().join("jwks.json"), platform_keys()).expect("a file");
    let secrets: BTreeMap<_, _> = [
        ("SHOP_KEY", SHOP_KEY),
        ("SESSION_SECRET", SESSION_SECRET),
        ("WIDGET_SECRET", "kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE"),
        ("CHAT_SECRET", "Qz7LpT4wY8sBnC6dFgH3jK5aEkR9vQ2m"),
    ]
    .map(|(name, secret)| (name.to_owned(), Secret::from(secret)))
    .into();
    let clock = Clock::fixed(Timestamp::from_seconds(NOW));
    let sources = Sources::new(
        Some(file),
        Environment::default(),
        Variables::Given(secrets),
        clock.clone(),
    );
    let loaded = sources
        .load(None)
        .map_err(|problems| problems.to_string())?;
    let sink = Sink::new(log).expect("a thread");
    let service = service::start(
        loaded.snapshot,
        clock.clone(),
        Audit::new(sink.clone(), Format::Json),
    );
    Ok((Harness { service, clock }, sink))
}

impl Harness {
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Answer {
        request
            .headers_mut()
            .entry(header::HOST)
            .or_insert(header::HeaderValue::from_static("tokens.example.com"));
        let peer = Peer {
            address: SocketAddr::from(([192, 0, 2, 7], 40_000)),
            encrypted: true,
        };
        let response = service::public(&self.service)
            .service(peer)
            .oneshot(request)
            .await
            .unwrap_or_else(|never| match never {});
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body in memory").to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8(bytes.to_vec()).expect("UTF-8"),
        }
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask(Method::GET, path, headers).await
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).expect("a request"))
            .await
    }

    /// A form to `POST /token`, with an `Authorization` where there is one.
    pub(crate) async fn form(&self, authorization: Option<&str>, pairs: &[(&str, &str)]) -> Answer {
        let body = pairs
            .iter()
            .fold(
                form_urlencoded::Serializer::new(String::new()),
                |mut form, (name, value)| {
                    form.append_pair(name, value);
                    form
                },
            )
            .finish();
        let mut request =
            Request::post("/token").header("content-type", "application/x-www-form-urlencoded");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        self.send(request.body(Body::from(body)).expect("a request"))
            .await
    }

    /// A form of the caller `shop`.
    pub(crate) async fn shop(&self, pairs: &[(&str, &str)]) -> Answer {
        self.form(Some(&basic("shop", SHOP_KEY)), pairs).await
    }
}

pub(crate) fn basic(name: &str, key: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{key}")))
}

/// A user's token as the app's issuer signs it, with `changes` merged into its claims; `null` removes one.
pub(crate) fn subject_token(changes: &Value) -> String {
    signed_with(SESSION_SECRET, changes)
}

pub(crate) fn signed_with(secret: &str, changes: &Value) -> String {
    let mut claims = json!({
        "iss": "https://login.example.com",
        "aud": "https://app.example.com",
        "sub": "usr_1",
        "email": "a@example.com",
        "roles": ["user"],
        "exp": NOW + 300,
    });
    for (name, value) in changes.as_object().expect("an object") {
        let claims = claims.as_object_mut().expect("an object");
        if value.is_null() {
            claims.remove(name);
        } else {
            claims.insert(name.clone(), value.clone());
        }
    }
    let key = Key::from_secret(KeyId::from("s"), Algorithm::HS256, &Secret::from(secret))
        .expect("a good secret");
    let header = key.encode_header(br#"{"alg":"HS256","typ":"JWT","jku":"https://example.com/k"}"#);
    key.seal(&header, claims.to_string().as_bytes())
        .expect("it signs")
        .expose()
        .to_owned()
}

/// The key of the callers' platform.
fn platform_key() -> Key {
    let pem = include_str!("../keys/p256.sec1.pem");
    Key::from_pem(None, Algorithm::ES256, &Secret::from(pem)).expect("a good key")
}

fn platform_keys() -> String {
    json!({ "keys": [platform_key().public_jwk()] }).to_string()
}

/// A service account's token as the callers' platform signs it.
pub(crate) fn workload_token(claims: &Value) -> String {
    let key = platform_key();
    let header = json!({ "alg": "ES256", "kid": key.id().as_str() });
    let header = key.encode_header(header.to_string().as_bytes());
    key.seal(&header, claims.to_string().as_bytes())
        .expect("it signs")
        .expose()
        .to_owned()
}

/// The claims of a token, not verified.
pub(crate) fn claims(token: &str) -> Value {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let claims = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64url")).expect("JSON")
}

//! The whole service in this process, and one verb per action of its clients.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::task::Poll;

use aws_lc_rs::hmac;
use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, HOST, ORIGIN, PRAGMA, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use signet::clock::{Clock, Timestamp};
use signet::config::Environment;
use signet::http;
use signet::secrets::{Secret, Variables};
use signet::server::Peer;
use signet::service::{self, Sources};
use signet::telemetry::{Audit, Format, Sink};
use tempfile::TempDir;
use tower::ServiceExt;

pub(crate) const NOW: i64 = 1_763_650_000;
pub(crate) const ACME_SECRET: &str = "kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE";
pub(crate) const BOT_SECRET: &str = "Zt4xW8qLr2NvB6mKc9JhG3fDs7PaY5uE";
pub(crate) const GUEST_SECRET: &str = "pQ7nV3kX9sLd2RwTz6HyB8mJf4GcA5uE";
pub(crate) const SESSION_SECRET: &str = "Hn5rT8wKq3VxZ7mLb2PcD9sJf6GyA4uE";
pub(crate) const SHOP_KEY: &str = "sgn_shop-old-7hT2mXz9LpQ4wY8sBnC6";
pub(crate) const SHOP_NEXT_KEY: &str = "sgn_shop-new-3kJ9vB5nM1cX7zL2qW8e";
pub(crate) const DESK_KEY: &str = "sgn_desk-5fG8hJ2kL4mN6bV9cX1zQ3wE";
pub(crate) const FORUM_KEY: &str = "sgn_forum-6yT4rE8wQ2uI9oP1aS5dF7g";
/// The page that the apps of [`EVERYTHING`] are open to.
pub(crate) const PAGE: &str = "https://app.example.com";

/// One app of each kind, and callers with wide, narrow and no rights.
pub(crate) const EVERYTHING: &str = r#"
[server]
trusted_proxies = ["10.0.0.0/8", "fd00::/8"]

[apps.acme]
profile = "support-widget"
client_id = "ten_acme"
secret = { env = "ACME_SECRET" }
[apps.acme.browser]
path = "/api/support/token"
origins = ["https://app.example.com", "https://shop.example.com"]
[apps.acme.browser.session]
resolver = "jwt"
cookie = "session"
secret = { env = "SESSION_SECRET" }
issuer = "https://login.example.com"
audience = "https://app.example.com"
algorithms = ["HS256"]
identity = { user_id = "/sub", email = "/email", roles = "/roles", plan = "/plan" }

[apps.bot]
profile = "kore"
client_id = "cs-1"
secret = { env = "BOT_SECRET" }
[apps.bot.browser]
path = "/api/users/sts/"
origins = ["https://app.example.com"]
[apps.bot.browser.session]
resolver = "jwt"
cookie = "session"
allow_anonymous = true
secret = { env = "SESSION_SECRET" }
issuer = "https://login.example.com"
audience = "https://app.example.com"
algorithms = ["HS256"]
identity = { user_id = "/sub", email = "/email", attributes = { identityToMerge = "/before" } }

[apps.guest]
profile = "kore"
client_id = "cs-guest"
token_id = false
secret = { env = "GUEST_SECRET" }
[apps.guest.browser]
origins = ["https://app.example.com"]
[apps.guest.browser.session]
resolver = "anonymous"

[apps.intranet]
profile = "support-widget"
client_id = "ten_intranet"
secret = { env = "INTRANET_SECRET" }
[apps.intranet.browser.session]
resolver = "trusted-header"

[callers.shop]
key_sha256 = ["SHOP_HASH", "SHOP_NEXT_HASH"]
apps = ["acme"]
roles = ["user", "agent"]
plans = ["pro"]
max_ttl = "30m"

[callers.desk]
key_sha256 = ["DESK_HASH"]
apps = ["acme", "bot", "guest"]
roles = ["*"]
plans = ["*"]
attributes = ["identityToMerge"]

[callers.forum]
key_sha256 = ["FORUM_HASH"]
apps = ["acme"]
"#;

/// The service with everything that it would write.
pub(crate) struct Signet {
    pub(crate) service: Arc<http::Service>,
    audit: Lines,
    sink: Sink,
    _folder: TempDir,
}

impl Signet {
    /// [`EVERYTHING`] as it stands.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// [`EVERYTHING`] under settings such as `("SERVER__MAX_BODY", "256B")`.
    pub(crate) fn with(settings: &[(&str, &str)]) -> Self {
        Self::configured(EVERYTHING, settings)
    }

    pub(crate) fn configured(toml: &str, settings: &[(&str, &str)]) -> Self {
        listen_to_everything();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("signet.toml");
        let keys = [
            ("SHOP_HASH", SHOP_KEY),
            ("SHOP_NEXT_HASH", SHOP_NEXT_KEY),
            ("DESK_HASH", DESK_KEY),
            ("FORUM_HASH", FORUM_KEY),
        ];
        let toml = keys.iter().fold(toml.to_owned(), |toml, (mark, key)| {
            toml.replace(&format!("\"{mark}\""), &format!("\"{}\"", sha256_hex(key)))
        });
        std::fs::write(&file, toml).unwrap();
        let secrets = [
            ("ACME_SECRET", ACME_SECRET),
            ("BOT_SECRET", BOT_SECRET),
            ("GUEST_SECRET", GUEST_SECRET),
            ("INTRANET_SECRET", "wB6vN2mK8xZ4cL9qT7rY3pHd5GjF1sUe"),
            ("SESSION_SECRET", SESSION_SECRET),
            ("LONG_SECRET", LONG_SECRET),
            ("RSA_KEY", include_str!("../keys/rsa2048.pkcs8.pem")),
        ];
        let variables = secrets
            .into_iter()
            .map(|(name, secret)| (name.to_owned(), Secret::from(secret)))
            .collect();
        let environment: Environment = settings
            .iter()
            .map(|(path, value)| (format!("SIGNET__{path}"), *value))
            .collect();
        let clock = Clock::fixed(Timestamp::from_seconds(NOW));
        let sources = Sources::new(
            Some(file),
            environment,
            Variables::Given(variables),
            clock.clone(),
        );
        let loaded = match sources.load(None) {
            Ok(loaded) => loaded,
            Err(problems) => panic!("{problems}"),
        };
        let audit = Lines::default();
        let sink = Sink::new(audit.clone()).unwrap();
        let trail = Audit::new(sink.clone(), Format::Json);
        Self {
            service: service::start(loaded.snapshot, clock, trail),
            audit,
            sink,
            _folder: folder,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Ask<'_> {
        self.ask(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Ask<'_> {
        self.ask(Method::POST, path)
    }

    /// A request over HTTPS from 192.0.2.1.
    pub(crate) fn ask(&self, method: Method, path: &str) -> Ask<'_> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        let host = HeaderValue::from_static("tokens.example.com");
        request.headers_mut().insert(HOST, host);
        Ask {
            signet: self,
            request,
            peer: Peer {
                address: SocketAddr::from(([192, 0, 2, 1], 4711)),
                encrypted: true,
            },
        }
    }

    /// What the shop's backend asks for.
    pub(crate) fn shop_asks(&self, body: &Value) -> Ask<'_> {
        self.post("/token").bearer(SHOP_KEY).json(body)
    }

    /// What the desk's backend asks for: any role, plan and app.
    pub(crate) fn desk_asks(&self, body: &Value) -> Ask<'_> {
        self.post("/token").bearer(DESK_KEY).json(body)
    }

    /// From now on writing the log fails, or works again.
    pub(crate) fn break_log(&self, broken: bool) {
        self.audit.1.store(broken, Ordering::SeqCst);
    }

    /// Every audit line so far.
    pub(crate) fn audit(&self) -> Vec<Value> {
        self.sink.flush();
        self.audit.read()
    }

    pub(crate) async fn metrics(&self) -> String {
        let answer = self.get("/metrics").send_to_admin().await;
        assert_eq!(answer.status, 200);
        answer.text()
    }
}

/// A request in the making.
pub(crate) struct Ask<'s> {
    signet: &'s Signet,
    request: Request<Body>,
    peer: Peer,
}

impl Ask<'_> {
    pub(crate) fn header(mut self, name: impl TryInto<HeaderName>, value: &str) -> Self {
        let Ok(name) = name.try_into() else {
            panic!("no header has this name");
        };
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        self.request.headers_mut().append(name, value);
        self
    }

    pub(crate) fn without_host(mut self) -> Self {
        self.request.headers_mut().remove(HOST);
        self
    }

    pub(crate) fn bearer(self, key: &str) -> Self {
        self.header(AUTHORIZATION, &format!("Bearer {key}"))
    }

    pub(crate) fn basic(self, name: &str, key: &str) -> Self {
        let credentials = STANDARD.encode(format!("{name}:{key}"));
        self.header(AUTHORIZATION, &format!("Basic {credentials}"))
    }

    /// From a page of this origin, with the user's session of `claims`.
    pub(crate) fn session(self, claims: &Value) -> Self {
        let cookie = format!("theme=dark; session={}", session_jwt(claims));
        self.header(COOKIE, &cookie)
    }

    pub(crate) fn origin(self, origin: &str) -> Self {
        self.header(ORIGIN, origin)
    }

    pub(crate) fn from(mut self, address: &str) -> Self {
        self.peer.address.set_ip(address.parse::<IpAddr>().unwrap());
        self
    }

    pub(crate) fn in_cleartext(mut self) -> Self {
        self.peer.encrypted = false;
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.json_text(body.to_string())
    }

    pub(crate) fn json_text(self, body: impl Into<Body>) -> Self {
        self.header(CONTENT_TYPE, "application/json").body(body)
    }

    pub(crate) fn form(self, body: &str) -> Self {
        // As jQuery writes it.
        self.header(
            CONTENT_TYPE,
            "application/x-www-form-urlencoded; charset=UTF-8",
        )
        .body(body.to_owned())
    }

    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        *self.request.body_mut() = body.into();
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let public = http::public(&self.signet.service);
        let response = public.service(self.peer).oneshot(self.request).await;
        Answer::of(response.unwrap()).await
    }

    pub(crate) async fn send_to_admin(self) -> Answer {
        let admin = http::admin(Arc::clone(&self.signet.service));
        let response = admin(self.peer).oneshot(self.request).await.unwrap();
        Answer::of(response).await
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    async fn of<B>(response: axum::http::Response<B>) -> Self
    where
        B: http_body::Body<Error: std::fmt::Debug>,
    {
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    /// A header's lines, each after the other.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let lines = self.headers.get_all(name).iter();
        let lines: Vec<_> = lines.map(|line| line.to_str().unwrap()).collect();
        (!lines.is_empty()).then(|| lines.join(", "))
    }

    pub(crate) fn seconds(&self, name: &str) -> u64 {
        let value = self.header(name).unwrap_or_else(|| panic!("no {name}"));
        value.parse().unwrap()
    }

    /// A 200 with a token in JSON; gives the token.
    pub(crate) fn token(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(
            self.header("content-type").as_deref(),
            Some("application/json")
        );
        self.is_never_kept();
        let json = self.json();
        let token = ["token", "jwt"].iter().find_map(|name| json.get(name));
        token.unwrap().as_str().unwrap().to_owned()
    }

    /// The claims of a token that one of the base configuration's apps signed.
    pub(crate) fn claims(&self) -> Value {
        claims(&self.token())
    }

    fn is_never_kept(&self) {
        assert_eq!(self.headers[CACHE_CONTROL], "no-store");
        assert_eq!(self.headers[PRAGMA], "no-cache");
        assert!(self.headers.contains_key("x-request-id"));
    }

    /// A refusal in the form that every refusal has.
    #[track_caller]
    pub(crate) fn is_refused(&self, status: u16, code: &str) -> Value {
        let text = self.text();
        assert_eq!(
            (self.status.as_u16(), self.json()["code"].as_str().unwrap()),
            (status, code),
            "{text}"
        );
        self.is_never_kept();
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json");
        let problem = self.json();
        let members: Vec<_> = problem.as_object().unwrap().keys().collect();
        assert_eq!(
            members,
            [
                "type",
                "title",
                "status",
                "detail",
                "code",
                "requestId",
                "errors"
            ]
        );
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["title"], self.status.canonical_reason().unwrap());
        assert_eq!(problem["status"], status);
        assert_ne!(problem["detail"], "");
        assert_eq!(problem["requestId"], self.header("x-request-id").unwrap());
        assert_eq!(
            self.headers.contains_key("www-authenticate"),
            code == "invalid_client"
        );
        assert_eq!(self.headers.contains_key("allow"), status == 405);
        assert_eq!(self.headers.contains_key("ratelimit"), status == 429);
        assert_eq!(self.headers.contains_key("ratelimit-policy"), status == 429);
        let retry_helps = matches!(status, 429 | 503);
        assert_eq!(self.headers.contains_key("retry-after"), retry_helps);
        problem["errors"].clone()
    }

    /// The pointers of `errors`, in order.
    pub(crate) fn pointers(&self) -> Vec<String> {
        let errors = self.json()["errors"].clone();
        let pointer = |item: &Value| {
            assert_ne!(item["detail"], "", "{item}");
            item["pointer"].as_str().unwrap().to_owned()
        };
        errors.as_array().unwrap().iter().map(pointer).collect()
    }

    /// Readable for a page of `origin`, with its retry headers.
    #[track_caller]
    pub(crate) fn is_readable_by(&self, origin: &str) {
        assert_eq!(
            self.headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(),
            origin
        );
        assert_eq!(self.headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(
            self.headers[ACCESS_CONTROL_EXPOSE_HEADERS],
            "retry-after,ratelimit,ratelimit-policy,x-request-id"
        );
        self.varies_by_origin();
    }

    #[track_caller]
    pub(crate) fn is_unreadable(&self) {
        assert!(!self.headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        self.varies_by_origin();
    }

    #[track_caller]
    fn varies_by_origin(&self) {
        let vary = self.headers[VARY].to_str().unwrap().to_ascii_lowercase();
        assert!(
            vary.split(',').any(|name| name.trim() == "origin"),
            "{vary}"
        );
    }
}

/// A secret that is long enough for HS512.
pub(crate) const LONG_SECRET: &str =
    "Jd8sK2mX7vQ4wL9pT6yB3nR5cF1hG0zEaU8iO2kM7xV4bN9qW6tY3rP5lD1jS0eC";

/// The members of a token's payload, in their order, if one of the apps signed it.
pub(crate) fn claims(token: &str) -> Value {
    let parts: Vec<_> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        panic!("a JWT has three parts");
    };
    let signed = format!("{header}.{payload}");
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let verified = [ACME_SECRET, BOT_SECRET, GUEST_SECRET]
        .iter()
        .any(|secret| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
        });
    assert!(verified, "no app of the base configuration signed this");
    part(payload)
}

/// A token's header, unverified.
pub(crate) fn header(token: &str) -> Value {
    part(token.split('.').next().unwrap())
}

fn part(text: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

/// A session JWT of the login that the apps trust; `claims` are put over an ordinary one's.
pub(crate) fn session_jwt(claims: &Value) -> String {
    let mut all = json!({
        "iss": "https://login.example.com", "aud": "https://app.example.com",
        "sub": "usr_1", "exp": NOW + 600,
    });
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&json!({"alg": "HS256"})), encode(&all));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SESSION_SECRET.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// A body that says whether it was ever looked at, and never ends.
pub(crate) fn watched_body() -> (Body, Arc<AtomicBool>) {
    let polled = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&polled);
    let pieces = futures_util::stream::poll_fn(move |_| {
        flag.store(true, Ordering::SeqCst);
        Poll::<Option<Result<Bytes, io::Error>>>::Pending
    });
    (Body::from_stream(pieces), polled)
}

/// A body of these pieces, without an announced length.
pub(crate) fn streamed(pieces: Vec<Result<Vec<u8>, io::Error>>) -> Body {
    Body::from_stream(futures_util::stream::iter(pieces))
}

fn sha256_hex(text: &str) -> String {
    signet::caller::KeyDigest::of(text.as_bytes()).to_hex()
}

/// Lines that end up in memory, unless they are told to fail.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>, Arc<AtomicBool>);

impl Lines {
    /// Each line, which must be JSON.
    pub(crate) fn read(&self) -> Vec<Value> {
        let bytes = self.0.lock().unwrap();
        let lines = std::str::from_utf8(&bytes).unwrap().lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.1.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `tracing` asks once for each place that logs whether anybody listens, and keeps the answer: were it asked on a
/// test's thread where nobody does, a test that reads the log might find nothing in it.
fn listen_to_everything() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap();
    });
}

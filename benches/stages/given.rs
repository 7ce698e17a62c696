//! What the stages are given: a request, callers, a policy, a key, a service.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Request};
use serde_json::{Map, Value, json};

use signet::caller::{Caller, Callers, Credentials, KeyDigest};
use signet::clock::{Clock, Timestamp};
use signet::config::Environment;
use signet::secrets::{Secret, Variables};
use signet::server::Peer;
use signet::service::{self, Sources};
use signet::signing::{Algorithm, Key, KeyId, Keyring, ScheduledKey};
use signet::telemetry::{Audit, Format, Sink};
use signet::token::{Allowed, App, AppSettings, Dice, Policy, Profile, ProfileSource};

pub(crate) const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::HS256,
    Algorithm::RS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
];
/// 2026-11-20T12:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_795_176_000);
pub(crate) const DICE: Dice = Dice {
    token_id: [7; 16],
    jitter: 128,
};
pub(crate) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
pub(crate) const CALLERS_KEY: &str = "sk_kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE";
pub(crate) const SECRET: &str = "kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE";
pub(crate) const BODY: &[u8] = br#"{"tenantId":"ten_acme","userId":"usr_1","userEmail":"zoe@example.com","userRoles":["user","agent"],"plan":"pro","ttl":900}"#;
pub(crate) const CLAIMS: &[u8] = br#"{"tenantId":"ten_acme","userId":"usr_1","userEmail":"zoe@example.com","userRoles":["user","agent"],"plan":"pro","iat":1795175995,"exp":1795176895}"#;

/// A service of the four plain variables, as a container's, with limits that nobody meets.
pub(crate) fn service() -> Arc<service::Running> {
    let secrets = [
        ("SIGNET_CLIENT_SECRET".to_owned(), SECRET),
        ("SIGNET_API_KEY".to_owned(), CALLERS_KEY),
    ];
    let mut settings = vec![
        ("SIGNET_CLIENT_ID".to_owned(), "ten_acme"),
        ("SIGNET__SERVER__REQUIRE_HTTPS".to_owned(), "false"),
    ];
    for limit in ["PER_IP", "PER_CALLER", "PER_USER"] {
        for (part, value) in [("RATE", "1000000"), ("BURST", "1000000"), ("PER", "1s")] {
            settings.push((format!("SIGNET__LIMITS__{limit}__{part}"), value));
        }
    }
    settings.extend(secrets.clone());
    let variables = secrets.map(|(name, secret)| (name, Secret::from(secret)));
    let clock = Clock::fixed(NOW);
    let sources = Sources::new(
        None,
        settings.into_iter().collect::<Environment>(),
        Variables::Given(BTreeMap::from(variables)),
        clock.clone(),
    );
    let loaded = match sources.load(None) {
        Ok(loaded) => loaded,
        Err(problems) => panic!("{problems}"),
    };
    service::start(loaded.snapshot, clock, audit())
}

pub(crate) fn request() -> Request<Body> {
    let mut request = Request::post("/token")
        .body(Body::from(BODY))
        .expect("a request");
    let headers = request.headers_mut();
    headers.extend(self::headers());
    headers.insert(HOST, HeaderValue::from_static("tokens.example.com"));
    headers.insert(CONTENT_LENGTH, BODY.len().into());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request
}

pub(crate) fn peer() -> Peer {
    Peer {
        address: SocketAddr::new(CLIENT, 40_000),
        encrypted: false,
    }
}

pub(crate) fn audit() -> Audit {
    let sink = Sink::new(io::sink()).expect("a thread");
    Audit::new(sink, Format::Json)
}

/// Ten callers, of which the last one asks.
pub(crate) fn callers() -> Callers {
    let caller = |index: usize| {
        let name = if index == 9 {
            "shop".into()
        } else {
            format!("other-{index}").into()
        };
        let key = if index == 9 {
            KeyDigest::of(CALLERS_KEY.as_bytes())
        } else {
            KeyDigest::of(&[0])
        };
        let policy = Policy {
            apps: Vec::new(),
            ..policy(Algorithm::HS256)
        };
        let credentials = Credentials {
            keys: vec![key],
            workload: None,
        };
        (Caller { name, policy }, credentials)
    };
    Callers::new((0..10).map(caller).collect())
}

pub(crate) fn headers() -> HeaderMap {
    let value = format!("Bearer {CALLERS_KEY}");
    HeaderMap::from_iter([(AUTHORIZATION, value.parse().expect("a header"))])
}

/// A policy of one app like a support widget's, and of lists that allow what the request asks.
pub(crate) fn policy(algorithm: Algorithm) -> Policy {
    let names =
        |names: &[&str]| Allowed::Only(names.iter().map(|name| (*name).to_owned()).collect());
    Policy {
        apps: vec![Arc::new(app(algorithm))],
        roles: names(&["admin", "user", "agent"]),
        plans: names(&["free", "pro"]),
        attributes: names(&[]),
        scopes: names(&[]),
        max_ttl_seconds: Some(1800),
    }
}

fn app(algorithm: Algorithm) -> App {
    let object =
        |value: Value| -> Map<String, Value> { serde_json::from_value(value).expect("an object") };
    let profile = ProfileSource {
        name: "support-widget".to_owned(),
        algorithms: ALGORITHMS.to_vec(),
        max_ttl_seconds: 3600,
        audience: None,
        sdk_errors: false,
        header: Map::new(),
        claims: object(json!({
            "tenantId": "${app.client_id}", "userId": "${user.id}", "userEmail": "${user.email?}",
            "userRoles": "${user.roles?}", "plan": "${user.plan?}",
            "iat": "${token.issued_at}", "exp": "${token.expires_at}",
        })),
        answer: object(json!({
            "token": "${token}", "tokenType": "Bearer", "expiresIn": "${token.expires_in}",
            "expiresAt": "${token.expires_at}", "refreshAfter": "${token.refresh_after}",
        })),
    };
    let key = ScheduledKey {
        key: key(algorithm),
        activate_at: None,
        retire_at: None,
    };
    let settings = AppSettings {
        name: "acme".into(),
        client_id: "ten_acme".to_owned(),
        profile: Arc::new(Profile::compile(profile).expect("a profile in order")),
        token_ttl_seconds: 3600,
        backdate_seconds: 5,
        audience: None,
        issuer: None,
        token_id: true,
        keyring: Keyring::new(vec![key], 3600),
    };
    App::new(settings).expect("an app in order")
}

pub(crate) fn key(algorithm: Algorithm) -> Key {
    let id = KeyId::from("2026-11");
    let pem = match algorithm {
        Algorithm::RS256 => include_str!("../../tests/keys/rsa2048.pkcs8.pem"),
        Algorithm::ES256 => include_str!("../../tests/keys/p256.sec1.pem"),
        Algorithm::EdDSA => include_str!("../../tests/keys/ed25519.pkcs8.pem"),
        _ => {
            let secret = Secret::from(SECRET);
            return Key::from_secret(id, algorithm, &secret).expect("a secret in order");
        }
    };
    Key::from_pem(Some(id), algorithm, &Secret::from(pem)).expect("a key in order")
}

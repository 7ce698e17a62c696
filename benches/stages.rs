//! What each stage of `POST /token` costs on its own: authenticate, parse, decide, seal, mint, and all of them.
//!
//! `cargo bench --bench stages`; `-- mint` measures one stage. Nothing is asserted: figures are for
//! comparing two states of the code on one machine. Without sockets and layers: `load` has those.

use std::sync::Arc;

use divan::{Bencher, black_box};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Map, Value, json};

use signet::caller::{Caller, Callers, Credentials, KeyDigest};
use signet::clock::Timestamp;
use signet::secrets::Secret;
use signet::signing::{Algorithm, Key, KeyId, Keyring, ScheduledKey};
use signet::token::{
    Allowed, App, AppSettings, Asked, Dice, Grant, Json, Minted, Policy, Profile, ProfileSource,
    mint,
};

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::HS256,
    Algorithm::RS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
];
/// 2026-11-20T12:00:00Z.
const NOW: Timestamp = Timestamp::from_seconds(1_795_176_000);
const DICE: Dice = Dice {
    token_id: [7; 16],
    jitter: 128,
};
const CALLERS_KEY: &str = "sk_kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE";
const BODY: &[u8] = br#"{"tenantId":"ten_acme","userId":"usr_1","userEmail":"zoe@example.com","userRoles":["user","agent"],"plan":"pro","ttl":900}"#;
const CLAIMS: &[u8] = br#"{"tenantId":"ten_acme","userId":"usr_1","userEmail":"zoe@example.com","userRoles":["user","agent"],"plan":"pro","iat":1795175995,"exp":1795176895}"#;

fn main() {
    divan::main();
}

#[divan::bench]
fn authenticate(bencher: Bencher) {
    let (callers, headers) = (callers(), headers());
    bencher.bench(|| callers.authenticate(black_box(&headers)).is_ok());
}

#[divan::bench]
fn parse() -> usize {
    let (asked, faults) = read(black_box(BODY));
    black_box(asked);
    faults.len()
}

#[divan::bench]
fn decide(bencher: Bencher) {
    let policy = policy(Algorithm::HS256);
    bencher
        .with_inputs(|| read(BODY).0)
        .bench_values(|asked| granted(&policy, asked));
}

#[divan::bench(args = ALGORITHMS)]
fn seal(bencher: Bencher, algorithm: Algorithm) {
    let key = key(algorithm);
    let header = key.encode_header(format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#).as_bytes());
    bencher.bench(|| key.seal(&header, black_box(CLAIMS)));
}

/// Fills the claims, seals them and fills the answer.
#[divan::bench(args = ALGORITHMS)]
fn fill_and_seal(bencher: Bencher, algorithm: Algorithm) {
    let policy = policy(algorithm);
    let grant = granted(&policy, read(BODY).0);
    bencher.bench(|| minted(&policy, black_box(&grant)));
}

#[divan::bench(args = ALGORITHMS)]
fn whole(bencher: Bencher, algorithm: Algorithm) {
    let (callers, headers, policy) = (callers(), headers(), policy(algorithm));
    bencher.bench(|| {
        let proven = callers.authenticate(black_box(&headers)).is_ok();
        let grant = granted(&policy, read(black_box(BODY)).0);
        (proven, minted(&policy, &grant))
    });
}

fn read(body: &[u8]) -> (Asked<'_>, Vec<signet::token::Fault>) {
    Asked::read(Json::parse(body).expect("the body is JSON"))
}

fn granted<'a>(policy: &Policy, asked: Asked<'a>) -> Grant<'a> {
    let app = policy
        .choose_app(&asked, &mut ())
        .expect("it is the caller's");
    policy
        .decide(app, asked, Vec::new(), String::new, &mut ())
        .expect("everything is allowed")
}

fn minted(policy: &Policy, grant: &Grant<'_>) -> Minted {
    mint(&policy.apps[0], grant, Some("shop"), DICE, NOW).expect("the key signs")
}

/// Ten callers, of which the last one asks.
fn callers() -> Callers {
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

fn headers() -> HeaderMap {
    let value = format!("Bearer {CALLERS_KEY}");
    HeaderMap::from_iter([(AUTHORIZATION, value.parse().expect("a header"))])
}

/// A policy of one app like a support widget's, and of lists that allow what the request asks.
fn policy(algorithm: Algorithm) -> Policy {
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

fn key(algorithm: Algorithm) -> Key {
    let id = KeyId::from("2026-11");
    let pem = match algorithm {
        Algorithm::RS256 => include_str!("../tests/keys/rsa2048.pkcs8.pem"),
        Algorithm::ES256 => include_str!("../tests/keys/p256.sec1.pem"),
        Algorithm::EdDSA => include_str!("../tests/keys/ed25519.pkcs8.pem"),
        _ => {
            let secret = Secret::from("kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE");
            return Key::from_secret(id, algorithm, &secret).expect("a secret in order");
        }
    };
    Key::from_pem(Some(id), algorithm, &Secret::from(pem)).expect("a key in order")
}

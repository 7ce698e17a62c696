//! Session JWTs: raw, and signed by the right key around any header and claims (`header`, a zero byte, `claims`).
#![no_main]

use std::sync::LazyLock;

use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;
use secrecy::SecretSlice;

use signet::identity::{JwtRules, JwtSession, JwtVerifier, KeySource, Pointers, Presented};
use signet_fuzz::{NOW, assert_within_bounds, key};

static SESSION: LazyLock<JwtSession> = LazyLock::new(|| {
    let rules = JwtRules {
        issuer: "https://login.example.com".to_owned(),
        audience: "shop".to_owned(),
        algorithms: vec![jsonwebtoken::Algorithm::HS256],
    };
    let secret = SecretSlice::from(b"kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE".to_vec());
    let verifier = JwtVerifier::new(rules, KeySource::Secret(secret)).expect("rules in order");
    let pointer = |text: &str| text.parse().expect("a pointer");
    let identity = Pointers {
        user_id: pointer("/sub"),
        email: Some(pointer("/email")),
        roles: Some(pointer("/realm/roles")),
        plan: Some(pointer("/plan")),
        attributes: [("room".to_owned(), pointer("/room"))].into(),
    };
    JwtSession::new(Presented::Bearer, verifier, identity)
});

fuzz_target!(|data: &[u8]| {
    let token = match data.iter().position(|byte| *byte == 0) {
        Some(zero) => {
            let (header, claims) = (&data[..zero], &data[zero + 1..]);
            let key = key();
            let header = key.encode_header(header);
            key.seal(&header, claims)
                .expect("the key signs")
                .expose()
                .to_owned()
        }
        None => match std::str::from_utf8(data) {
            Ok(text) => text.to_owned(),
            Err(_) => return,
        },
    };
    let identified = SESSION.identify(&token, NOW).now_or_never();
    let Ok(identity) = identified.expect("a secret is at hand at once") else {
        return;
    };
    assert_within_bounds(&identity);
});

//! JWK Sets as an issuer's server, or whoever sits before it, might send them.
#![no_main]

use std::sync::Arc;

use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;

use signet::identity::{JwtRules, JwtVerifier, KeySet, KeySource};
use signet_fuzz::NOW;

/// Nobody's: its signature is four zero bytes.
const TOKEN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.e30.AAAAAA";

fuzz_target!(|json: &[u8]| {
    let Ok(keys) = KeySet::from_json(json) else {
        return;
    };
    let rules = JwtRules {
        issuer: "https://login.example.com".to_owned(),
        audience: "shop".to_owned(),
        algorithms: vec![jsonwebtoken::Algorithm::RS256],
    };
    let verifier = JwtVerifier::new(rules, KeySource::Fixed(Arc::new(keys)));
    let verified = verifier
        .expect("rules in order")
        .verify(TOKEN, NOW)
        .now_or_never();
    verified
        .expect("the keys are at hand")
        .expect_err("no key made this signature");
});

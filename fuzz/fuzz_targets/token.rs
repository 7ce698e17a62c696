//! Tokens that somebody pastes into `signet token inspect`.
#![no_main]

use libfuzzer_sys::fuzz_target;

use signet::signing::UnverifiedToken;
use signet_fuzz::key;

fuzz_target!(|text: &str| {
    let parsed = UnverifiedToken::parse(text);
    if let Ok(claims) = key().verify(text) {
        assert_eq!(parsed.expect("a verified token is one").claims, claims);
    }
});

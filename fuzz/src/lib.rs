//! What the fuzz targets share: an app around any profile, and the moment at which all of them run.

use std::sync::Arc;

use serde_json::{Map, Value};

use signet::clock::Timestamp;
use signet::secrets::Secret;
use signet::signing::{Algorithm, Key, KeyId, Keyring, ScheduledKey};
use signet::token::{
    App, AppError, AppSettings, Dice, Identity, Profile, ProfileSource, check_email, check_text,
};

/// 2026-11-20T12:00:00Z.
pub const NOW: Timestamp = Timestamp::from_seconds(1_795_176_000);
/// Dice that always fall the same way.
pub const DICE: Dice = Dice {
    token_id: [7; 16],
    jitter: 128,
};

/// A key for HS256.
///
/// # Panics
/// Never: the secret is in order.
#[must_use]
pub fn key() -> Key {
    let secret = Secret::from("kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE");
    Key::from_secret(KeyId::from("k-1"), Algorithm::HS256, &secret).expect("a secret in order")
}

/// A profile of these tables, for HS256 and at most an hour.
#[must_use]
pub fn source(
    header: Map<String, Value>,
    claims: Map<String, Value>,
    answer: Map<String, Value>,
) -> ProfileSource {
    ProfileSource {
        name: "made-up".to_owned(),
        algorithms: vec![Algorithm::HS256],
        max_ttl_seconds: 3600,
        audience: None,
        sdk_errors: false,
        header,
        claims,
        answer,
    }
}

/// An app with `profile`.
///
/// # Errors
/// When the profile needs what the app lacks: it has an issuer and no audience.
pub fn app(profile: Profile, token_id: bool) -> Result<Arc<App>, AppError> {
    let key = ScheduledKey {
        key: key(),
        activate_at: None,
        retire_at: None,
    };
    App::new(AppSettings {
        name: "acme".into(),
        client_id: "ten_acme".to_owned(),
        profile: Arc::new(profile),
        token_ttl_seconds: 3600,
        backdate_seconds: 5,
        audience: None,
        issuer: Some("https://tokens.example.com".to_owned()),
        token_id,
        keyring: Keyring::new(vec![key], 3600),
    })
    .map(Arc::new)
}

/// A JSON object.
///
/// # Panics
/// When it isn't one.
#[must_use]
pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("not an object: {other}"),
    }
}

/// What a session may put into a token is what a caller may.
///
/// # Panics
/// When it is more.
pub fn assert_within_bounds(identity: &Identity) {
    let fits = |text: &str, longest| check_text(text, longest).expect("bounds hold");
    fits(&identity.user_id, 200);
    let emails = identity.email.iter();
    emails.for_each(|email| check_email(email).expect("an address"));
    let roles = identity.roles.iter().flatten();
    roles.for_each(|role| fits(role, 80));
    identity.plan.iter().for_each(|plan| fits(plan, 80));
}

//! Profiles, apps and policies for this room's tests.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::{
    Allowed, App, AppSettings, Asked, Denial, Fault, Finding, Grant, Identity, Minted, Policy,
    Profile, ProfileSource,
};
use crate::clock::Timestamp;
use crate::signing::{Algorithm, Key, KeyId, Keyring, ScheduledKey};

/// 2026-11-20T12:00:00Z.
pub(super) const NOW: Timestamp = Timestamp::from_seconds(1_795_176_000);

/// A profile that carries everything, nothing of it required but the user's ID.
pub(super) fn everything() -> ProfileSource {
    profile(json!({
        "tenantId": "${app.client_id}",
        "userId": "${user.id}",
        "userEmail": "${user.email?}",
        "userRoles": "${user.roles?}",
        "plan": "${user.plan?}",
        "isAnonymous": "${user.anonymous}",
        "room": "${user.attributes.room?}",
        "label": "room ${user.attributes.label?}",
        "iat": "${token.issued_at}",
        "exp": "${token.expires_at}",
    }))
}

/// A profile that carries the user's ID alone.
pub(super) fn bare() -> ProfileSource {
    profile(json!({ "sub": "${user.id}", "exp": "${token.expires_at}" }))
}

/// A profile with these claims, for HS256 and at most an hour.
pub(super) fn profile(claims: Value) -> ProfileSource {
    ProfileSource {
        name: "helpdesk".to_owned(),
        algorithms: vec![Algorithm::HS256],
        max_ttl_seconds: 3600,
        audience: None,
        sdk_errors: false,
        header: Map::new(),
        claims: object(claims),
        answer: object(json!({
            "token": "${token}",
            "expiresIn": "${token.expires_in}",
            "expiresAt": "${token.expires_at}",
            "refreshAfter": "${token.refresh_after}",
        })),
    }
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

/// The settings of the app `acme`: an hour, five seconds set back, one key.
pub(super) fn settings(profile: ProfileSource) -> AppSettings {
    AppSettings {
        name: "acme".into(),
        client_id: "ten_acme".to_owned(),
        profile: Arc::new(Profile::compile(profile).expect("a profile in order")),
        token_ttl_seconds: 3600,
        backdate_seconds: 5,
        audience: None,
        issuer: None,
        token_id: true,
        keyring: Keyring::new(vec![key("2026-11", None)], 3600),
    }
}

pub(super) fn app(profile: ProfileSource) -> Arc<App> {
    named_app("acme", "ten_acme", profile)
}

pub(super) fn named_app(name: &str, client_id: &str, profile: ProfileSource) -> Arc<App> {
    let settings = AppSettings {
        name: name.into(),
        client_id: client_id.to_owned(),
        ..settings(profile)
    };
    Arc::new(App::new(settings).expect("an app in order"))
}

pub(super) fn key(id: &str, activate_at: Option<Timestamp>) -> ScheduledKey {
    let secret = format!("{id}:kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE");
    let key = Key::from_secret(KeyId::from(id), Algorithm::HS256, &secret.as_str().into());
    ScheduledKey {
        key: key.expect("a secret in order"),
        activate_at,
        retire_at: None,
    }
}

/// A policy that allows everything for these apps.
pub(super) fn anything(apps: &[Arc<App>]) -> Policy {
    Policy {
        apps: apps.to_vec(),
        roles: Allowed::Any,
        plans: Allowed::Any,
        attributes: Allowed::Any,
        scopes: Allowed::Any,
        max_ttl_seconds: None,
    }
}

/// What a policy decides on a request for its first app.
pub(super) fn decide<'a>(policy: &Policy, body: &'a str) -> Result<Grant<'a>, Denial> {
    let (asked, faults) = read(body);
    policy.decide(&policy.apps[0], asked, faults, anonymous_id, &mut ())
}

/// The rules that `explain` tells of the same decision.
pub(super) fn findings(policy: &Policy, body: &str) -> Vec<String> {
    let (asked, faults) = read(body);
    let mut findings: Vec<Finding> = Vec::new();
    if let Ok(app) = policy.choose_app(&asked, &mut findings) {
        // What is decided shows in the findings.
        let _ = policy.decide(app, asked, faults, anonymous_id, &mut findings);
    }
    let told = |finding: Finding| {
        format!(
            "{} {} {}: {}",
            finding.rule, finding.verdict, finding.pointer, finding.detail
        )
    };
    findings.into_iter().map(told).collect()
}

pub(super) fn read(body: &str) -> (Asked<'_>, Vec<Fault>) {
    Asked::parse(body.as_bytes()).expect("JSON")
}

fn anonymous_id() -> String {
    "anon_1".to_owned()
}

/// A grant of five minutes to `usr_1`.
pub(super) fn grant() -> Grant<'static> {
    Grant {
        identity: Identity {
            user_id: "usr_1".into(),
            ..Identity::default()
        },
        ttl_seconds: 300,
        scope: None,
    }
}

/// A token's header, as it is written.
pub(super) fn header_of(minted: &Minted) -> String {
    part(minted, 0)
}

/// A token's claims.
pub(super) fn claims_of(minted: &Minted) -> Value {
    serde_json::from_str(&part(minted, 1)).expect("claims are JSON")
}

/// The answer that carries a token.
pub(super) fn answer_of(minted: &Minted) -> Value {
    serde_json::from_slice(&minted.answer).expect("an answer is JSON")
}

fn part(minted: &Minted, index: usize) -> String {
    let part = minted.token.expose().split('.').nth(index).expect("parts");
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    String::from_utf8(bytes).expect("UTF-8")
}

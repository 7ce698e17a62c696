//! Profiles as an operator might write them: `{ "header": {}, "claims": {}, "answer": {}, "user": {} }`, compiled, bound and minted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

use signet::token::{Grant, Identity, Profile, mint};
use signet_fuzz::{DICE, NOW, app, source};

fuzz_target!(|text: &[u8]| {
    let Ok(Value::Object(mut document)) = serde_json::from_slice(text) else {
        return;
    };
    let mut table = |name: &str| match document.remove(name) {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let (header, claims, answer, user) = (
        table("header"),
        table("claims"),
        table("answer"),
        table("user"),
    );
    let compiled = Profile::compile(source(header, claims, answer));
    let profile = match compiled {
        Ok(profile) => profile,
        Err(problems) => return assert!(!problems.is_empty()),
    };
    let needs_id = profile.needs_token_id();
    let Ok(app) = app(profile, needs_id) else {
        return;
    };
    let text = |name: &str| user.get(name).and_then(Value::as_str).map(str::to_owned);
    let roles = user.get("roles").and_then(Value::as_array).map(|roles| {
        let text = |role: &Value| role.as_str().unwrap_or_default().to_owned().into();
        roles.iter().map(text).collect()
    });
    let grant = Grant {
        identity: Identity {
            user_id: text("id").unwrap_or_default().into(),
            email: text("email").map(Into::into),
            roles,
            plan: text("plan").map(Into::into),
            anonymous: user.contains_key("anonymous"),
            attributes: user.clone().into_iter().collect(),
        },
        ttl_seconds: 900,
        scope: text("scope"),
    };
    let caller = text("caller");
    let Ok(minted) = mint(&app, &grant, caller.as_deref(), DICE, NOW) else {
        return;
    };
    let key = app.active_key(NOW).expect("a key");
    let claims = key.verify(minted.token.expose()).expect("its own token");
    assert_eq!(claims["exp"], NOW.seconds() - 5 + 900);
    let answer: Map<String, Value> =
        serde_json::from_slice(&minted.answer).expect("an answer is a JSON object");
    assert!(!answer.is_empty() || minted.answer.starts_with(b"{"));
});

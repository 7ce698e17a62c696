//! Bodies of `POST /token`, from bytes to a token: nothing panics, and a token says what the body says.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::{Map, Value, json};

use signet::token::{Allowed, App, Asked, Policy, Profile, mint};
use signet_fuzz::{DICE, NOW, app, object, source};

static APP: LazyLock<Arc<App>> = LazyLock::new(|| {
    let claims = json!({
        "sub": "${user.id}", "email": "${user.email?}", "roles": "${user.roles?}", "plan": "${user.plan?}",
        "anonymous": "${user.anonymous}", "room": "${user.attributes.room?}", "label": "room ${user.attributes.label?}",
        "iat": "${token.issued_at}", "exp": "${token.expires_at}",
    });
    let answer = json!({ "token": "${token}", "refreshAfter": "${token.refresh_after}" });
    let profile = Profile::compile(source(Map::new(), object(claims), object(answer)));
    app(profile.expect("a profile in order"), true).expect("an app in order")
});

fuzz_target!(|body: &[u8]| -> Corpus {
    let Ok((asked, faults)) = Asked::parse(body) else {
        return Corpus::Keep;
    };
    let policy = Policy {
        apps: vec![Arc::clone(&APP)],
        roles: Allowed::Any,
        plans: Allowed::Any,
        attributes: Allowed::Any,
        scopes: Allowed::Any,
        max_ttl_seconds: None,
    };
    let Ok(app) = policy.choose_app(&asked, &mut ()) else {
        return Corpus::Keep;
    };
    let mut told = Vec::new();
    let decided = policy.decide(app, asked, faults, || "anon_1".to_owned(), &mut told);
    let grant = match decided {
        Ok(grant) => grant,
        Err(denial) => {
            assert!(!denial.faults.is_empty());
            assert!(told.iter().any(|finding| finding.verdict == "refused"));
            return Corpus::Keep;
        }
    };
    let Ok(minted) = mint(app, &grant, None, DICE, NOW) else {
        return Corpus::Keep;
    };
    let key = app.active_key(NOW).expect("a key");
    let claims = key.verify(minted.token.expose()).expect("its own token");
    // serde takes the last of two equal members: were there any, the two readings would differ.
    let asked: Map<String, Value> = serde_json::from_slice(body).expect("an object");
    let given = |names: [&str; 2]| names.into_iter().find_map(|name| asked.get(name));
    for (claim, names) in [
        ("email", ["userEmail", "email"]),
        ("roles", ["userRoles", "roles"]),
        ("plan", ["plan", "plan"]),
    ] {
        assert_eq!(claims.get(claim), given(names), "{claim}");
    }
    assert_eq!(
        claims["sub"],
        given(["userId", "identity"])
            .cloned()
            .unwrap_or("anon_1".into())
    );
    let room = asked.get("attributes").and_then(|all| all.get("room"));
    assert_eq!(claims.get("room"), room);
    let exp = claims["exp"].as_i64().expect("a whole number");
    assert!(exp > NOW.seconds() && exp <= NOW.seconds() + 3600);
    Corpus::Keep
});

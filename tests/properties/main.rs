//! What holds for every profile, user and request: tokens say exactly what the profile names, and what is out of order leaves none.
//!
//! `PROPTEST_CASES=20000 cargo test --test properties` looks longer.

mod shape;
mod user;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use shape::{Facts, No, Shape, Source, claims};
use signet::clock::Timestamp;
use signet::secrets::Secret;
use signet::signing::{Algorithm, Key, KeyId, Keyring, ScheduledKey};
use signet::token::{
    Allowed, App, AppError, AppSettings, Asked, Denial, DenialCode, Dice, MAX_TOKEN_BYTES,
    MintError, Minted, Policy, Profile, ProfileSource, mint,
};
use user::{User, spelling, text, user};

/// 2026-11-20T12:00:00Z.
const NOW: Timestamp = Timestamp::from_seconds(1_795_176_000);
const BACKDATE: i64 = 5;
const LONGEST: i64 = 3600;
const DICE: Dice = Dice {
    token_id: [7; 16],
    jitter: 128,
};
const TOKEN_ID: &str = "BwcHBwcHBwcHBwcHBwcHBw";

fn config() -> ProptestConfig {
    // A case that fails becomes a test with a name; it isn't kept in a file of seeds.
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn object(value: Value) -> serde_json::Map<String, Value> {
    value.as_object().expect("an object").clone()
}

/// An app whose tokens have these claims.
fn app(claims: Value, audience: Option<String>, token_id: bool) -> Result<App, AppError> {
    let profile = ProfileSource {
        name: "made-up".to_owned(),
        algorithms: vec![Algorithm::HS256],
        max_ttl_seconds: LONGEST,
        audience: None,
        sdk_errors: false,
        header: object(json!({ "kid": "${key.id}" })),
        claims: object(claims),
        answer: object(json!({ "token": "${token}" })),
    };
    let key = ScheduledKey {
        key: Key::from_secret(
            KeyId::from("k-1"),
            Algorithm::HS256,
            &Secret::from("kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE"),
        )
        .expect("a secret in order"),
        activate_at: None,
        retire_at: None,
    };
    App::new(AppSettings {
        name: "acme".into(),
        client_id: "ten_\"acme\"".to_owned(),
        profile: Arc::new(Profile::compile(profile).expect("a profile in order")),
        token_ttl_seconds: LONGEST,
        backdate_seconds: BACKDATE,
        audience,
        issuer: Some("https://tokens.example.com".to_owned()),
        token_id,
        keyring: Keyring::new(vec![key], LONGEST),
    })
}

/// An app that carries everything that a user can have.
fn everything() -> App {
    let claims = json!({
        "sub": "${user.id}", "email": "${user.email?}", "roles": "${user.roles?}", "plan": "${user.plan?}",
        "anonymous": "${user.anonymous}", "a": "${user.attributes.a?}", "exp": "${token.expires_at}",
    });
    app(claims, None, true).expect("an app in order")
}

/// What comes of a request by a caller that may ask for anything.
fn issue(app: App, body: &[u8]) -> Result<Minted, Denial> {
    let policy = Policy {
        apps: vec![Arc::new(app)],
        roles: Allowed::Any,
        plans: Allowed::Any,
        attributes: Allowed::Any,
        scopes: Allowed::Any,
        max_ttl_seconds: None,
    };
    let (asked, faults) = Asked::parse(body).expect("JSON");
    let app = policy.choose_app(&asked, &mut ())?;
    let anonymous_id = || unreachable!("every request here names its user");
    let grant = policy.decide(app, asked, faults, anonymous_id, &mut ())?;
    mint(app, &grant, Some("shop"), DICE, NOW).map_err(|error| match error {
        MintError::Denied(denial) => denial,
        MintError::NoKey => panic!("the key signs"),
    })
}

/// The user without what these claims don't carry.
fn carried(claims: &Shape, user: &User) -> User {
    let mut carries = Vec::new();
    claims.visit(&mut |source, _, _| carries.push(source));
    let has = |source| carries.contains(&source);
    let mut user = user.clone();
    user.email.take_if(|_| !has(Source::Email));
    user.roles.take_if(|_| !has(Source::Roles));
    user.plan.take_if(|_| !has(Source::Plan));
    user.anonymous.take_if(|_| !has(Source::Anonymous));
    let attribute = |name: &str| {
        let is_it = |source: &Source| matches!(source, Source::Attribute(own) if *own == name);
        carries.iter().any(is_it)
    };
    user.attributes.retain(|name, _| attribute(name));
    user
}

/// Whether some attribute is a list or a table where the claims have it inside a text.
fn has_list_in_text(claims: &Shape, user: &User) -> bool {
    let mut found = false;
    claims.visit(&mut |source, _, in_text| {
        if let (Source::Attribute(name), true) = (source, in_text) {
            found |= user
                .attributes
                .get(name)
                .is_some_and(|value| value.is_array() || value.is_object());
        }
    });
    found
}

fn encoded_length(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_token_says_exactly_what_its_profile_names(
        claims in claims(),
        user in user(),
        keeps_all in prop::bool::weighted(0.1),
        other_names in any::<bool>(),
        mut spelling in spelling(),
        audience in proptest::option::of(text(100)),
        token_id in prop::bool::weighted(0.8),
    ) {
        let fitting = carried(&claims, &user);
        let user = if keeps_all { user } else { fitting.clone() };
        let ttl = user.ttl.unwrap_or(LONGEST);
        let issued_at = NOW.seconds() - BACKDATE;
        let facts = Facts {
            audience: audience.clone(),
            caller: Some("shop"),
            client_id: "ten_\"acme\"".to_owned(),
            issuer: Some("https://tokens.example.com".to_owned()),
            key_id: "k-1",
            issued_at,
            expires_at: issued_at + ttl,
            expires_in: ttl - BACKDATE,
            token_id: token_id.then_some(TOKEN_ID),
        };
        let (mut needs_audience, mut needs_token_id) = (false, false);
        claims.visit(&mut |source, optional, _| {
            needs_audience |= source == Source::Audience && !optional;
            needs_token_id |= source == Source::TokenId && !optional;
        });
        let app = match app(claims.source(), audience.clone(), token_id) {
            Ok(app) => app,
            Err(AppError::TokenIdNeeded) => {
                prop_assert!(needs_token_id && !token_id);
                return Ok(());
            }
            Err(AppError::Missing { .. }) => {
                prop_assert!(needs_audience && audience.is_none());
                return Ok(());
            }
        };
        prop_assert!(token_id || !needs_token_id);
        prop_assert!(audience.is_some() || !needs_audience);

        let body = spelling.object(&user.members(other_names));
        let key = app.active_key(NOW).unwrap();
        let verifier = Key::from_secret(key.id().clone(), key.algorithm(), &Secret::from("kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE")).unwrap();
        let issued = issue(app, body.as_bytes());

        let uncarried = user.members(false).len() != fitting.members(false).len() || user.attributes.len() != fitting.attributes.len();
        let expected = claims.expected(&user, &facts);
        if uncarried || has_list_in_text(&claims, &user) || matches!(expected, Err(No::Missing(_) | No::NotText(_))) {
            let denial = issued.unwrap_err();
            prop_assert_eq!(denial.code, DenialCode::InvalidRequest);
            prop_assert!(!denial.faults.is_empty());
            return Ok(());
        }
        let expected = expected.unwrap().unwrap();
        let json = expected.to_string();
        let header = r#"{"alg":"HS256","typ":"JWT","kid":"k-1"}"#;
        let length = encoded_length(header.len()) + 1 + encoded_length(json.len()) + 1 + encoded_length(32);
        if length > MAX_TOKEN_BYTES {
            prop_assert_eq!(issued.unwrap_err().code, DenialCode::TokenTooLarge);
            return Ok(());
        }
        let minted = issued.map_err(|denial| TestCaseError::fail(format!("{denial:?}: {body}")))?;
        let token = minted.token.expose();
        prop_assert_eq!(token.len(), length);
        let mut parts = token.split('.').map(|part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap_or_default()).unwrap_or_default());
        prop_assert_eq!(parts.next().unwrap(), header);
        prop_assert_eq!(parts.next().unwrap(), json);
        prop_assert_eq!(Value::from(verifier.verify(token).unwrap()), expected);
        let answer = json!({ "token": token }).to_string();
        prop_assert_eq!(&*minted.answer, answer.as_bytes());
    }

    #[test]
    fn no_bytes_upset_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Asked::parse(&bytes);
    }

    #[test]
    fn no_json_upsets_the_reader(
        text in r#"(\{|\[|\}|\]|,|:|"|"userId"|"ttl"|"attributes"|"roles"|null|true|-?[0-9]{1,20}|1e[0-9]{1,4}|\\u[0-9a-fd]{4}|[ a-z\\]){0,60}"#,
    ) {
        let _ = Asked::parse(text.as_bytes());
    }

    #[test]
    fn a_body_changed_in_one_byte_upsets_nobody(
        user in user(),
        mut spelling in spelling(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = spelling.object(&user.members(false)).into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok((asked, faults)) = Asked::parse(&body) {
            prop_assert!(asked.user_id.is_some() || !faults.is_empty());
        }
    }

    #[test]
    fn a_member_given_twice_is_refused_in_every_spelling(
        user in user(),
        mut spelling in spelling(),
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        other_names in any::<bool>(),
        twice_the_same in any::<bool>(),
    ) {
        let mut members = user.members(other_names);
        let second = if twice_the_same { members.clone() } else { user.members(!other_names) };
        let position = which.index(second.len());
        let again = second[position].clone();
        let names = [members[position].0.clone(), again.0.clone()];
        members.insert(at.index(members.len() + 1), again);
        let body = spelling.object(&members);
        let (_, faults) = Asked::parse(body.as_bytes()).unwrap();
        prop_assert_eq!(faults.len(), 1, "{}", body);
        prop_assert!(names.iter().any(|name| faults[0].pointer == format!("/{name}")), "{:?}: {}", faults, body);
        prop_assert_eq!(issue(everything(), body.as_bytes()).unwrap_err().code, DenialCode::InvalidRequest);
    }

    #[test]
    fn a_name_given_twice_inside_an_attribute_is_refused(
        mut spelling in spelling(),
        name in text(64),
        value in user::value(),
        depth in 0..3,
    ) {
        let twice = spelling.object(&[(name.clone(), value.clone()), (name, value)]);
        let mut inner = twice;
        for _ in 0..depth {
            inner = format!(r#"[{{"x":{inner}}}]"#);
        }
        let body = format!(r#"{{"userId":"u","attributes":{{"a":{inner}}}}}"#);
        let denial = issue(everything(), body.as_bytes()).unwrap_err();
        prop_assert!(denial.faults.iter().any(|fault| fault.detail == "appears twice; give it once"), "{:?}", denial);
    }

    #[test]
    fn text_with_a_character_that_deceives_is_refused_everywhere(
        good in text(50),
        bad in r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]",
        at in any::<prop::sample::Index>(),
        mut spelling in spelling(),
    ) {
        let mut at = at.index(good.len() + 1);
        while !good.is_char_boundary(at) {
            at -= 1;
        }
        refused_everywhere(&(good[..at].to_owned() + &bad + &good[at..]), &mut spelling)?;
    }

    #[test]
    fn text_with_white_space_at_an_end_is_refused_everywhere(
        good in text(50),
        space in r"\s",
        first in any::<bool>(),
        mut spelling in spelling(),
    ) {
        refused_everywhere(&if first { space + &good } else { good + &space }, &mut spelling)?;
    }
}

/// Holds that no member takes `bad`.
fn refused_everywhere(bad: &str, spelling: &mut user::Spelling) -> Result<(), TestCaseError> {
    let members = [
        ("/app", "app", json!(bad)),
        ("/tenantId", "tenantId", json!(bad)),
        ("/userId", "userId", json!(bad)),
        ("/userEmail", "userEmail", json!(bad)),
        (
            "/userEmail",
            "userEmail",
            json!(format!("{bad}@example.com")),
        ),
        ("/userRoles/1", "userRoles", json!(["user", bad])),
        ("/plan", "plan", json!(bad)),
        ("/attributes/a", "attributes", json!({ "a": bad })),
        (
            "/attributes/a/0/b",
            "attributes",
            json!({ "a": [{ "b": bad }] }),
        ),
    ];
    for (pointer, name, value) in members {
        let body = spelling.object(&[(name.to_owned(), value)]);
        let (_, faults) = Asked::parse(body.as_bytes()).expect("JSON");
        prop_assert_eq!(faults.len(), 1, "{}", body);
        prop_assert_eq!(&faults[0].pointer, pointer);
        // A fault says what is wrong and repeats nothing of it.
        prop_assert!(bad.len() < 12 || !faults[0].detail.contains(bad));
    }
    let mut name = String::new();
    spelling.string(bad, &mut name);
    let body = format!(r#"{{"attributes":{{{name}:1}}}}"#);
    let (_, faults) = Asked::parse(body.as_bytes()).expect("JSON");
    prop_assert!(
        faults
            .iter()
            .any(|fault| fault.detail.starts_with("its name ")),
        "{}",
        body
    );
    Ok(())
}

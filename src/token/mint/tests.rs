//! What comes of a grant: times, IDs, size, keys.

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::signing::{KeyId, Keyring};
use crate::token::samples::{
    NOW, answer_of, bare, claims_of, everything, grant, key, profile, settings,
};
use crate::token::{
    App, AppSettings, Denial, DenialCode, Dice, Grant, Identity, MAX_TOKEN_BYTES, MintError,
    Minted, mint, mint_with,
};

const DICE: Dice = Dice {
    token_id: [7; 16],
    jitter: 128,
};

fn app(claims: Value) -> App {
    App::new(settings(profile(claims))).unwrap()
}

fn minted(app: &App, grant: &Grant) -> Minted {
    mint(app, grant, None, DICE, NOW).unwrap()
}

fn denied(app: &App, grant: &Grant) -> Denial {
    match mint(app, grant, None, DICE, NOW).unwrap_err() {
        MintError::Denied(denial) => denial,
        MintError::NoKey => panic!("a key was there"),
    }
}

#[test]
fn exp_less_iat_is_the_lifetime_asked_for_and_iat_is_set_back() {
    for (backdate, ttl) in [(5, 300), (0, 1), (5, 6), (60, 3600)] {
        let settings = AppSettings {
            backdate_seconds: backdate,
            ..settings(everything())
        };
        let minted = minted(
            &App::new(settings).unwrap(),
            &Grant {
                ttl_seconds: ttl,
                ..grant()
            },
        );
        let now = NOW.seconds();
        let (claims, answer) = (claims_of(&minted), answer_of(&minted));
        assert_eq!(claims["iat"], now - backdate);
        assert_eq!(claims["exp"], now - backdate + ttl);
        assert_eq!(answer["expiresAt"], claims["exp"]);
        assert_eq!(answer["expiresIn"], ttl - backdate);
        assert_eq!(answer["token"], minted.token.expose());
        assert_eq!(minted.expires_at.seconds(), now - backdate + ttl);
        assert_eq!(minted.lifetime_seconds, ttl);
    }
}

#[test]
fn a_renewal_is_due_between_85_and_95_hundredths_of_the_time_left() {
    for expires_in in [1, 2, 10, 295, 3595, 31_622_400] {
        let mut moments = Vec::new();
        for jitter in 0..=255 {
            let after = super::refresh_after(expires_in, jitter);
            // A whole second less by rounding, never less than one, never after the end.
            assert!(
                after >= (expires_in * 85 / 100).max(1),
                "{expires_in} {jitter}: {after}"
            );
            assert!(
                after <= (expires_in * 95 / 100).max(1),
                "{expires_in} {jitter}: {after}"
            );
            moments.push(after);
        }
        assert!(moments.is_sorted());
        if expires_in == 3595 {
            assert_eq!((moments[0], moments[255]), (3055, 3415));
            moments.dedup();
            assert!(moments.len() > 90, "only {} moments", moments.len());
        }
    }
    assert_eq!(super::refresh_after(0, 128), 0);
    assert_eq!(super::refresh_after(-7, 128), 0);
}

#[test]
fn times_at_the_end_of_the_range_stop_there() {
    let settings = AppSettings {
        backdate_seconds: 0,
        ..settings(bare())
    };
    let grant = Grant {
        ttl_seconds: i64::MAX,
        ..grant()
    };
    let minted = minted(&App::new(settings).unwrap(), &grant);
    assert_eq!(claims_of(&minted)["exp"], i64::MAX);
}

#[test]
fn a_token_id_is_carried_and_told_only_where_the_profile_has_one_and_the_app_leaves_it_on() {
    let id = "BwcHBwcHBwcHBwcHBwcHBw";
    for (jti, on, claim) in [
        (Some("${token.id?}"), true, Some(id.to_owned())),
        (Some("${token.id}"), true, Some(id.to_owned())),
        (Some("x-${token.id?}"), true, Some(format!("x-{id}"))),
        (Some("${token.id?}"), false, None),
        (Some("x-${token.id?}"), false, None),
        (None, true, None),
        (None, false, None),
    ] {
        let mut claims = json!({ "exp": "${token.expires_at}" });
        if let Some(jti) = jti {
            claims["jti"] = jti.into();
        }
        let settings = AppSettings {
            token_id: on,
            ..settings(profile(claims))
        };
        let minted = minted(&App::new(settings).unwrap(), &grant());
        assert_eq!(
            claims_of(&minted).get("jti"),
            claim.clone().map(Value::from).as_ref()
        );
        assert_eq!(minted.token_id.as_deref(), claim.is_some().then_some(id));
    }
}

#[test]
fn a_token_of_4096_bytes_is_made_and_one_of_4097_is_not() {
    let app = App::new(settings(everything())).unwrap();
    let of_length = |length: usize| Grant {
        identity: Identity {
            attributes: [("room".to_owned(), "x".repeat(length).into())].into(),
            ..grant().identity
        },
        ..grant()
    };
    let longest = (2000..4000)
        .rev()
        .find(|length| mint(&app, &of_length(*length), None, DICE, NOW).is_ok())
        .unwrap();
    assert_eq!(
        minted(&app, &of_length(longest)).token.len(),
        MAX_TOKEN_BYTES
    );
    assert_eq!(
        denied(&app, &of_length(longest + 1)),
        Denial {
            code: DenialCode::TokenTooLarge,
            detail:
                "the token would have 4097 bytes and may have 4096; send fewer or shorter values"
                    .to_owned(),
            faults: Vec::new(),
        }
    );
}

#[test]
fn a_source_that_a_token_always_carries_is_named_by_its_member() {
    for (source, pointer, what) in [
        ("${user.email}", "/userEmail", "the user's email address"),
        ("to ${user.email}", "/userEmail", "the user's email address"),
        ("${user.roles}", "/userRoles", "the user's roles"),
        ("${user.plan}", "/plan", "the user's plan"),
        (
            "${user.attributes.a_b}",
            "/attributes/a_b",
            "this attribute",
        ),
        ("${token.scope}", "/scope", "a scope"),
        (
            "${caller.name}",
            "",
            "more than this kind of request can give",
        ),
    ] {
        let in_claims = app(json!({ "x": source, "exp": "${token.expires_at}" }));
        let nested = app(json!({ "x": [{ "y": source }], "exp": "${token.expires_at}" }));
        let as_text =
            app(json!({ "x": {"${json}": { "y": source }}, "exp": "${token.expires_at}" }));
        let mut in_answer = profile(json!({ "exp": "${token.expires_at}" }));
        in_answer.answer.insert("x".to_owned(), source.into());
        let in_answer = App::new(settings(in_answer)).unwrap();
        for app in [in_claims, nested, as_text, in_answer] {
            assert_eq!(
                denied(&app, &grant()),
                Denial::of(
                    DenialCode::InvalidRequest,
                    pointer,
                    format!("is required: the app's tokens always carry {what}")
                )
            );
        }
    }
}

#[test]
fn a_list_inside_a_text_is_refused_rather_than_left_out() {
    for source in ["x ${user.attributes.a}", "x ${user.attributes.a?}"] {
        let app = app(json!({ "x": source, "exp": "${token.expires_at}" }));
        for value in [json!([1]), json!({"b": 1})] {
            let mut grant = grant();
            grant.identity.attributes.insert("a".to_owned(), value);
            let denial = denied(&app, &grant);
            assert_eq!(denial.faults[0].pointer, "/attributes/a");
            assert!(denial.detail.starts_with("must be a string, a number"));
        }
    }
}

#[test]
fn the_callers_name_is_carried_where_a_caller_asked() {
    let app = app(json!({ "azp": "${caller.name?}", "exp": "${token.expires_at}" }));
    let by = |caller| claims_of(&mint(&app, &grant(), caller, DICE, NOW).unwrap());
    assert_eq!(by(Some("shop"))["azp"], "shop");
    assert_eq!(by(None).get("azp"), None);
}

#[test]
fn there_is_no_token_before_the_first_key_takes_over() {
    let from = NOW.plus_seconds(1);
    let settings = AppSettings {
        keyring: Keyring::new(vec![key("2026-12", Some(from))], 3600),
        ..settings(bare())
    };
    let app = App::new(settings).unwrap();
    let at = |now: Timestamp| mint(&app, &grant(), None, DICE, now);
    assert_eq!(at(NOW).unwrap_err(), MintError::NoKey);
    let minted = at(from).unwrap();
    app.keyring().keys()[minted.key]
        .key
        .verify(minted.token.expose())
        .unwrap();
}

#[test]
fn a_key_can_be_tried_out_by_its_name_before_its_time() {
    let switch = NOW.plus_seconds(100);
    let settings = AppSettings {
        keyring: Keyring::new(vec![key("old", None), key("new", Some(switch))], 3600),
        ..settings(bare())
    };
    let app = App::new(settings).unwrap();
    let with = |id: &str| mint_with(&app, &grant(), None, DICE, NOW, Some(&KeyId::from(id)));
    for id in ["old", "new"] {
        let minted = with(id).unwrap();
        let key = &app.keyring().keys()[minted.key].key;
        assert_eq!(key.id().as_str(), id);
        key.verify(minted.token.expose()).unwrap();
    }
    assert_eq!(with("none").unwrap_err(), MintError::NoKey);
}

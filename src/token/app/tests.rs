//! Binding a profile to what an app knows.

use serde_json::json;

use crate::clock::Timestamp;
use crate::signing::{KeyState, Keyring};
use crate::token::samples::{
    NOW, bare, claims_of, grant, header_of, key, object, profile, settings,
};
use crate::token::{App, AppError, AppSettings, Dice, Minted, ProfileSource, mint};

const DICE: Dice = Dice {
    token_id: [7; 16],
    jitter: 0,
};

fn minted(settings: AppSettings, now: Timestamp) -> Minted {
    mint(&App::new(settings).unwrap(), &grant(), None, DICE, now).unwrap()
}

fn with_header(header: serde_json::Value) -> ProfileSource {
    ProfileSource {
        header: object(header),
        ..bare()
    }
}

#[test]
fn a_header_is_alg_and_typ_and_what_the_profile_adds() {
    for (header, expected) in [
        (json!({}), r#"{"alg":"HS256","typ":"JWT"}"#),
        (json!({"typ": "JWT"}), r#"{"alg":"HS256","typ":"JWT"}"#),
        (
            json!({"typ": "at+jwt", "kid": "${key.id}"}),
            r#"{"alg":"HS256","typ":"at+jwt","kid":"2026-11"}"#,
        ),
        (
            json!({"kid": "${app.client_id}/${key.id}", "cty": "a\"b", "aud": "${app.audience?}"}),
            r#"{"alg":"HS256","typ":"JWT","kid":"ten_acme/2026-11","cty":"a\"b"}"#,
        ),
    ] {
        let minted = minted(settings(with_header(header)), NOW);
        assert_eq!(header_of(&minted), expected);
    }
}

#[test]
fn each_key_has_a_header_of_its_own() {
    let switch = NOW.plus_seconds(100);
    let settings = |_| AppSettings {
        keyring: Keyring::new(vec![key("new", Some(switch)), key("old", None)], 3600),
        ..settings(with_header(json!({"kid": "${key.id}"})))
    };
    for (now, kid) in [(NOW, "old"), (NOW.plus_seconds(99), "old"), (switch, "new")] {
        let minted = minted(settings(()), now);
        assert_eq!(
            header_of(&minted),
            format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{kid}"}}"#)
        );
    }
    let app = App::new(settings(())).unwrap();
    assert_eq!(app.active_key(NOW).unwrap().id().as_str(), "old");
    assert_eq!(app.keyring().state(1, NOW), KeyState::Prepared);
}

#[test]
fn the_apps_audience_goes_before_the_profiles() {
    for (own, of_profile, expected) in [
        (Some("own"), Some("profile's"), Some("own")),
        (None, Some("profile's"), Some("profile's")),
        (Some("own"), None, Some("own")),
        (None, None, None),
    ] {
        let profile = ProfileSource {
            audience: of_profile.map(str::to_owned),
            ..profile(json!({"aud": "${app.audience?}", "exp": "${token.expires_at}"}))
        };
        let settings = || AppSettings {
            audience: own.map(str::to_owned),
            ..settings(profile.clone())
        };
        assert_eq!(App::new(settings()).unwrap().audience(), expected);
        let claims = claims_of(&minted(settings(), NOW));
        assert_eq!(claims.get("aud").and_then(|aud| aud.as_str()), expected);
    }
}

#[test]
fn an_app_that_lacks_what_its_profile_says_is_refused() {
    let error = |settings| App::new(settings).unwrap_err();
    for source in ["${app.audience}", "to ${app.audience}"] {
        let claims = json!({"x": source, "exp": "${token.expires_at}"});
        assert_eq!(
            error(settings(profile(claims))).to_string(),
            "the profile needs an audience; set `audience`"
        );
    }
    assert_eq!(
        error(settings(with_header(json!({"iss": "${app.issuer}"})))).to_string(),
        "the profile needs an issuer; set `server.public_url`"
    );
    let issuer = Some("https://tokens.example.com".to_owned());
    let claims = json!({"iss": "${app.issuer}", "exp": "${token.expires_at}"});
    let settings = AppSettings {
        issuer,
        ..settings(profile(claims))
    };
    assert_eq!(
        claims_of(&minted(settings, NOW))["iss"],
        "https://tokens.example.com"
    );
}

#[test]
fn a_token_id_that_is_always_carried_can_not_be_turned_off() {
    let claims = |jti: &str| json!({"jti": jti, "exp": "${token.expires_at}"});
    let off = |jti| AppSettings {
        token_id: false,
        ..settings(profile(claims(jti)))
    };
    assert_eq!(
        App::new(off("${token.id}")).unwrap_err(),
        AppError::TokenIdNeeded
    );
    App::new(off("${token.id?}")).unwrap();
}

#[test]
fn the_profiles_cap_bounds_the_lifetime() {
    for (own, expected) in [(60, 60), (3600, 3600), (7200, 3600)] {
        let settings = AppSettings {
            token_ttl_seconds: own,
            ..settings(bare())
        };
        assert_eq!(App::new(settings).unwrap().token_ttl_seconds(), expected);
    }
}

#[test]
fn an_app_prints_nothing_but_its_name() {
    let app = App::new(settings(bare())).unwrap();
    assert_eq!(format!("{app:?}"), r#"App { name: "acme", .. }"#);
}

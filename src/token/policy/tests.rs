//! What a caller may ask for, rule by rule.

use serde_json::{Value, json};

use super::*;
use crate::token::AppSettings;
use crate::token::samples::{
    anything, app, bare, decide, everything, findings, named_app, profile, read, settings,
};

fn only(names: &[&str]) -> Allowed {
    Allowed::Only(names.iter().map(|name| (*name).to_owned()).collect())
}

/// The denial of a request, one line per fault.
fn denial(policy: &Policy, body: &str) -> (DenialCode, Vec<String>) {
    let denial = decide(policy, body).unwrap_err();
    let line = |fault: &Fault| format!("{}: {}", fault.pointer, fault.detail);
    (denial.code, denial.faults.iter().map(line).collect())
}

fn invalid(policy: &Policy, body: &str) -> Vec<String> {
    let (code, faults) = denial(policy, body);
    assert_eq!(code, DenialCode::InvalidRequest);
    faults
}

fn with_ttls(of_app: i64, backdate: i64, of_caller: Option<i64>) -> Policy {
    let settings = AppSettings {
        token_ttl_seconds: of_app,
        backdate_seconds: backdate,
        ..settings(everything())
    };
    Policy {
        max_ttl_seconds: of_caller,
        ..anything(&[Arc::new(App::new(settings).unwrap())])
    }
}

#[test]
fn an_app_is_chosen_by_its_name_its_client_id_or_by_being_the_only_one() {
    let acme = named_app("acme", "ten_acme", bare());
    let beta = named_app("beta", "ten_beta", bare());
    let twin = named_app("twin", "ten_beta", bare());
    let one = &[acme.clone()][..];
    let two = &[acme.clone(), beta.clone()][..];
    let three = &[acme, beta, twin][..];
    let mismatch = (DenialCode::TenantMismatch, "/tenantId");
    for (apps, body, expected) in [
        (one, r#"{}"#, Ok("acme")),
        (one, r#"{"app":"acme"}"#, Ok("acme")),
        (one, r#"{"tenantId":"ten_acme"}"#, Ok("acme")),
        (two, r#"{"app":"beta"}"#, Ok("beta")),
        (two, r#"{"tenantId":"ten_beta"}"#, Ok("beta")),
        (two, r#"{"app":"beta","tenantId":"ten_beta"}"#, Ok("beta")),
        (three, r#"{"app":"twin","tenantId":"ten_beta"}"#, Ok("twin")),
        // One's own, but not this app's.
        (
            two,
            r#"{"app":"beta","tenantId":"ten_acme"}"#,
            Err(mismatch),
        ),
        // Another caller's, or nobody's.
        (one, r#"{"tenantId":"ten_beta"}"#, Err(mismatch)),
        (two, r#"{"tenantId":"TEN_ACME"}"#, Err(mismatch)),
        (&[], r#"{"tenantId":"ten_acme"}"#, Err(mismatch)),
        (
            one,
            r#"{"clientId":"ten_beta"}"#,
            Err((DenialCode::TenantMismatch, "/clientId")),
        ),
        (
            one,
            r#"{"app":"beta"}"#,
            Err((DenialCode::AppNotAllowed, "/app")),
        ),
        (
            one,
            r#"{"app":"Acme"}"#,
            Err((DenialCode::AppNotAllowed, "/app")),
        ),
        (&[], r#"{}"#, Err((DenialCode::AppNotAllowed, "/app"))),
        (two, r#"{}"#, Err((DenialCode::InvalidRequest, "/app"))),
        (
            three,
            r#"{"tenantId":"ten_beta"}"#,
            Err((DenialCode::InvalidRequest, "/app")),
        ),
    ] {
        let (asked, _) = read(body);
        let policy = anything(apps);
        let chosen = policy.choose_app(&asked, &mut ());
        let chosen = chosen.map(|app| app.name().as_str());
        match (chosen, expected) {
            (Ok(name), Ok(expected)) => assert_eq!(name, expected, "{body}"),
            (Err(denial), Err((code, pointer))) => {
                assert_eq!(denial.code, code, "{body}");
                assert_eq!(denial.faults.len(), 1, "{body}");
                assert_eq!(denial.faults[0].pointer, pointer, "{body}");
            }
            (chosen, _) => panic!("{body}: {chosen:?}"),
        }
    }
}

#[test]
fn an_app_that_is_not_the_callers_is_like_one_that_does_not_exist() {
    let policy = anything(&[app(bare())]);
    let refusal = |body| {
        let (asked, _) = read(body);
        policy.choose_app(&asked, &mut ()).unwrap_err().detail
    };
    assert_eq!(
        refusal(r#"{"app":"beta"}"#),
        "there is no such app, or this caller may not use it"
    );
    assert_eq!(
        refusal(r#"{"tenantId":"ten_beta"}"#),
        "this is not the client ID of an app that this caller may use"
    );
}

#[test]
fn an_empty_list_denies_a_star_allows_and_names_are_exact() {
    let body = |role: &str, plan: &str, attribute: &str| {
        format!(
            r#"{{"userId":"u","userRoles":["{role}"],"plan":"{plan}","attributes":{{"{attribute}":1}}}}"#
        )
    };
    let policy = |allowed: &Allowed| Policy {
        roles: allowed.clone(),
        plans: allowed.clone(),
        attributes: allowed.clone(),
        ..anything(&[app(everything())])
    };
    decide(&policy(&Allowed::Any), &body("a", "b", "room")).unwrap();
    decide(&policy(&only(&["x", "room"])), &body("room", "x", "room")).unwrap();
    for denying in [only(&[]), only(&["Room", "roo", "rooms", "*", ""])] {
        let (code, faults) = denial(&policy(&denying), &body("room", "room", "room"));
        assert_eq!(code, DenialCode::RoleNotAllowed);
        assert_eq!(
            faults,
            [
                "/userRoles/0: this caller may not give this role",
                "/plan: this caller may not give this plan",
                "/attributes/room: this caller may not set this attribute",
            ]
        );
    }
}

#[test]
fn a_request_that_asks_for_nothing_passes_a_policy_that_allows_nothing() {
    let policy = Policy {
        roles: only(&[]),
        plans: only(&[]),
        attributes: only(&[]),
        ..anything(&[app(everything())])
    };
    decide(&policy, r#"{"userId":"u"}"#).unwrap();
    // An empty list names no role that could be refused.
    decide(&policy, r#"{"userId":"u","userRoles":[],"attributes":{}}"#).unwrap();
}

#[test]
fn everything_that_the_policy_refuses_is_told_at_once_under_the_first_code() {
    let policy = Policy {
        roles: only(&["user"]),
        plans: only(&["pro"]),
        attributes: only(&["label"]),
        max_ttl_seconds: Some(600),
        ..anything(&[app(everything())])
    };
    let (code, faults) = denial(
        &policy,
        r#"{"identity":"u","roles":["admin","user","root"],"plan":"max","attributes":{"label":"l","room":"r"},"ttl":601}"#,
    );
    assert_eq!(code, DenialCode::RoleNotAllowed);
    assert_eq!(
        faults,
        [
            "/roles/0: this caller may not give this role",
            "/roles/2: this caller may not give this role",
            "/plan: this caller may not give this plan",
            "/attributes/room: this caller may not set this attribute",
            "/ttl: must be at most the 600 seconds that this caller may have",
        ]
    );
    for (body, expected) in [
        (
            r#"{"userId":"u","plan":"max","ttl":9999}"#,
            DenialCode::PlanNotAllowed,
        ),
        (
            r#"{"userId":"u","attributes":{"room":1},"ttl":9999}"#,
            DenialCode::AttributeNotAllowed,
        ),
        (r#"{"userId":"u","ttl":9999}"#, DenialCode::TtlTooLong),
    ] {
        assert_eq!(denial(&policy, body).0, expected);
    }
}

#[test]
fn a_lifetime_goes_from_above_the_backdate_to_the_least_maximum_and_is_never_lowered() {
    for (of_app, of_caller, least) in [
        (3600, None, 3600),
        (1800, None, 1800),
        (3600, Some(600), 600),
        (600, Some(1800), 600),
        // The profile's cap is an hour.
        (7200, Some(7200), 3600),
        (7200, None, 3600),
    ] {
        let policy = with_ttls(of_app, 5, of_caller);
        let ask = |ttl: i64| format!(r#"{{"userId":"u","ttl":{ttl}}}"#);
        for ttl in [1, 4, 5] {
            assert_eq!(
                invalid(&policy, &ask(ttl)),
                ["/ttl: must be more than the 5 seconds that `iat` is set back"]
            );
        }
        for ttl in [6, least - 1, least] {
            assert_eq!(decide(&policy, &ask(ttl)).unwrap().ttl_seconds, ttl);
        }
        for ttl in [least + 1, i64::MAX] {
            let (code, faults) = denial(&policy, &ask(ttl));
            assert_eq!(code, DenialCode::TtlTooLong);
            assert_eq!(
                faults,
                [format!(
                    "/ttl: must be at most the {least} seconds that this caller may have"
                )]
            );
        }
        let left_out = decide(&policy, r#"{"userId":"u"}"#).unwrap();
        assert_eq!(left_out.ttl_seconds, least);
    }
}

#[test]
fn without_a_backdate_a_second_is_enough() {
    let policy = with_ttls(3600, 0, None);
    let grant = decide(&policy, r#"{"userId":"u","ttl":1}"#).unwrap();
    assert_eq!(grant.ttl_seconds, 1);
}

#[test]
fn a_lifetime_that_ends_before_it_begins_is_refused_when_left_out_as_well() {
    for longest in [3, 5] {
        assert_eq!(
            invalid(&with_ttls(3600, 5, Some(longest)), r#"{"userId":"u"}"#),
            [format!(
                "/ttl: can't be left out or given: the longest that this caller may have, {longest} seconds, is not more than the 5 seconds that `iat` is set back"
            )]
        );
    }
    decide(&with_ttls(3600, 5, Some(6)), r#"{"userId":"u"}"#).unwrap();
}

#[test]
fn a_user_has_an_id_unless_anonymous() {
    let policy = anything(&[app(everything())]);
    for (body, user_id, anonymous) in [
        (r#"{"userId":"u"}"#, "u", false),
        (r#"{"identity":"u","isAnonymous":false}"#, "u", false),
        (r#"{"userId":"u","isAnonymous":true}"#, "u", true),
        (r#"{"isAnonymous":true}"#, "anon_1", true),
    ] {
        let identity = decide(&policy, body).unwrap().identity;
        assert_eq!(
            (&*identity.user_id, identity.anonymous),
            (user_id, anonymous)
        );
    }
    for body in ["{}", r#"{"isAnonymous":false}"#] {
        assert_eq!(
            invalid(&policy, body),
            ["/userId: is required; give the user's ID at your site"]
        );
    }
}

#[test]
fn a_member_at_fault_is_not_missing_as_well() {
    let policy = anything(&[app(profile(json!({
        "sub": "${user.id}", "email": "${user.email}", "roles": "${user.roles}", "plan": "${user.plan}",
        "room": "${user.attributes.room}", "exp": "${token.expires_at}",
    })))]);
    for body in [
        r#"{"userId":"","email":"x","roles":[""],"plan":7,"attributes":{"room":null}}"#,
        r#"{"identity":"","userEmail":"x","userRoles":"r","plan":7,"attributes":[]}"#,
    ] {
        assert_eq!(invalid(&policy, body).len(), 5, "{body}");
    }
}

#[test]
fn of_what_is_no_object_nothing_is_said_to_be_missing() {
    let policy = anything(&[app(bare())]);
    assert_eq!(
        invalid(&policy, "[]"),
        [": must be a JSON object, not an array"]
    );
}

#[test]
fn members_that_the_tokens_do_not_carry_are_refused() {
    let policy = anything(&[app(bare())]);
    let (code, faults) = denial(
        &policy,
        r#"{"userId":"u","email":"a@b.co","roles":[],"plan":"p","isAnonymous":false,"attributes":{"a/b":1,"room":2}}"#,
    );
    assert_eq!(code, DenialCode::InvalidRequest);
    let expected = [
        "/email",
        "/roles",
        "/plan",
        "/isAnonymous",
        "/attributes/a~1b",
        "/attributes/room",
    ]
    .map(|at| {
        format!("{at}: the tokens of the profile `helpdesk` do not carry this; leave it out")
    });
    assert_eq!(faults, expected);
    decide(&policy, r#"{"userId":"u","attributes":{}}"#).unwrap();
}

#[test]
fn members_that_the_tokens_always_carry_are_all_asked_for() {
    let always = profile(json!({
        "sub": "${user.id}",
        "ctx": [{ "email": "mailto:${user.email}" }, "${user.roles}"],
        "text": { "${json}": { "plan": "${user.plan}" } },
        "again": "${user.plan}",
        "room": "${user.attributes.room}",
        "exp": "${token.expires_at}",
    }));
    let policy = anything(&[app(always)]);
    assert_eq!(
        invalid(&policy, r#"{"attributes":{}}"#),
        [
            "/userId: is required; give the user's ID at your site",
            "/userEmail: is required: the app's tokens always carry the user's email address",
            "/userRoles: is required: the app's tokens always carry the user's roles",
            "/plan: is required: the app's tokens always carry the user's plan",
            "/attributes/room: is required: the app's tokens always carry this attribute",
        ]
    );
    decide(
        &policy,
        r#"{"userId":"u","email":"a@b.co","roles":[],"plan":"p","attributes":{"room":false}}"#,
    )
    .unwrap();
}

#[test]
fn an_attribute_inside_a_text_is_no_list_and_no_table() {
    let policy = anything(&[app(everything())]);
    let with = |value: &str| format!(r#"{{"userId":"u","attributes":{{"label":{value}}}}}"#);
    for value in ["[]", "{}", r#"["a"]"#] {
        assert_eq!(
            invalid(&policy, &with(value)),
            [
                "/attributes/label: must be a string, a number, true or false: the app's tokens carry it inside a text"
            ]
        );
    }
    for value in ["1", "true", r#""a""#] {
        decide(&policy, &with(value)).unwrap();
    }
}

#[test]
fn a_request_out_of_order_is_told_all_of_that_and_nothing_of_the_policy() {
    let policy = Policy {
        roles: only(&[]),
        ..anything(&[app(profile(json!({
            "sub": "${user.id}", "roles": "${user.roles?}", "exp": "${token.expires_at}",
        })))])
    };
    assert_eq!(
        invalid(
            &policy,
            r#"{"userRoles":["admin"],"plan":"p","ttl":5,"nope":1}"#
        ),
        [
            "/nope: there is no such member; leave it out",
            "/plan: the tokens of the profile `helpdesk` do not carry this; leave it out",
            "/userId: is required; give the user's ID at your site",
            "/ttl: must be more than the 5 seconds that `iat` is set back",
        ]
    );
}

#[test]
fn what_is_asked_reaches_the_grant_as_it_is_and_what_is_left_out_stays_out() {
    let policy = anything(&[app(everything())]);
    let grant = decide(
        &policy,
        r#"{"userId":"${user.email}","userEmail":"a@b.co","userRoles":["b","a","b"],"plan":"p\"\\","attributes":{"room":{"z":1,"a":[true,1.50]}}}"#,
    )
    .unwrap();
    let room: Value = json!({"z": 1, "a": [true, 1.5]});
    assert_eq!(
        grant.identity,
        Identity {
            user_id: "${user.email}".into(),
            email: Some("a@b.co".into()),
            roles: Some(vec!["b".into(), "a".into(), "b".into()]),
            plan: Some("p\"\\".into()),
            anonymous: false,
            attributes: [("room".to_owned(), room.clone())].into(),
        }
    );
    assert_eq!(
        grant.identity.attributes["room"].to_string(),
        r#"{"z":1,"a":[true,1.5]}"#
    );
    let minimal = decide(&policy, r#"{"userId":"u"}"#).unwrap().identity;
    assert_eq!(
        minimal,
        Identity {
            user_id: "u".into(),
            ..Identity::default()
        }
    );
    let empty = decide(&policy, r#"{"userId":"u","userRoles":[]}"#).unwrap();
    assert_eq!(empty.identity.roles, Some(Vec::new()));
}

#[test]
fn every_rule_tells_its_witness_what_it_found() {
    let policy = Policy {
        roles: only(&["user"]),
        ..anything(&[app(everything())])
    };
    assert_eq!(
        findings(
            &policy,
            r#"{"isAnonymous":true,"userRoles":["user"],"plan":"p"}"#
        ),
        [
            "apps filled : the app is `acme`",
            "roles allowed /userRoles/0: the caller's policy allows it",
            "plans allowed /plan: the caller's policy allows it",
            "ttl filled /ttl: 3600 seconds, the longest that this caller may have",
            "user.id filled /userId: a fresh random ID for an anonymous user",
        ]
    );
    assert_eq!(
        findings(
            &policy,
            r#"{"app":"acme","userId":"u","roles":["user","admin"],"attributes":{"room":1},"ttl":3601}"#
        ),
        [
            "apps allowed /app: the app is `acme`",
            "roles allowed /roles/0: the caller's policy allows it",
            "roles refused /roles/1: this caller may not give this role",
            "attributes allowed /attributes/room: the caller's policy allows it",
            "ttl refused /ttl: must be at most the 3600 seconds that this caller may have",
        ]
    );
    assert_eq!(
        findings(&policy, r#"{"plan":7}"#),
        [
            "apps filled : the app is `acme`",
            "request refused /plan: must be a string, not a number",
            "request refused /userId: is required; give the user's ID at your site",
        ]
    );
    assert_eq!(
        findings(&policy, r#"{"tenantId":"ten_acme","userId":"u","ttl":6}"#)[0],
        "apps allowed /tenantId: the app is `acme`"
    );
    assert_eq!(
        findings(&policy, r#"{"app":"beta"}"#),
        ["apps refused /app: there is no such app, or this caller may not use it"]
    );
}

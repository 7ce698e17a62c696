//! Token exchange as OAuth clients speak it, and every way in which it is refused.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use super::support::{
    ACCESS_TOKEN, GRANT, JWT, NOW, SHOP_KEY, basic, changed, claims, harness, signed_with,
    subject_token, try_harness_logging_to,
};

/// A form in order for the app `acme`, with `changes`: a value of `None` removes the parameter.
fn form<'a>(subject: &'a str, changes: &[(&'a str, Option<&'a str>)]) -> Vec<(&'a str, &'a str)> {
    let mut pairs = vec![
        ("grant_type", GRANT),
        ("subject_token", subject),
        ("subject_token_type", JWT),
        ("audience", "acme"),
    ];
    for (name, value) in changes {
        pairs.retain(|(known, _)| known != name);
        pairs.extend(value.map(|value| (*name, value)));
    }
    pairs
}

fn subject() -> String {
    subject_token(&json!({}))
}

#[tokio::test]
async fn a_users_token_is_traded_for_one_of_the_app() {
    let answer = harness("").shop(&form(&subject(), &[])).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    let mut answer = answer.json();
    let token = answer["access_token"].take();
    assert_eq!(
        answer,
        json!({ "access_token": null, "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 3595 })
    );
    let mut claims = claims(token.as_str().unwrap());
    assert_eq!(claims["jti"].take().as_str().map(str::len), Some(22));
    assert_eq!(
        claims,
        json!({
            "iss": "https://tokens.example.com", "sub": "usr_1", "aud": "https://api.example.com", "client_id": "cs-acme",
            "iat": NOW - 5, "exp": NOW + 3595, "jti": null, "roles": ["user"], "email": "a@example.com",
        })
    );
}

#[tokio::test]
async fn a_client_may_authenticate_in_every_way_of_the_standard_but_one_at_a_time() {
    let signet = harness("");
    let subject = subject();
    let pairs = form(&subject, &[]);
    let encoded: String = form_urlencoded::byte_serialize(SHOP_KEY.as_bytes()).collect();
    for authorization in [
        basic("shop", SHOP_KEY),
        basic("%73hop", &encoded),
        format!("Bearer {SHOP_KEY}"),
    ] {
        let answer = signet.form(Some(&authorization), &pairs).await;
        assert_eq!(answer.status, 200, "{authorization}: {}", answer.body);
    }
    let in_form = form(
        &subject,
        &[
            ("client_id", Some("shop")),
            ("client_secret", Some(SHOP_KEY)),
        ],
    );
    assert_eq!(signet.form(None, &in_form).await.status, 200);
    let both = signet.shop(&in_form).await;
    assert_eq!(both.refusal(), (400, "invalid_request".to_owned()));
    let named = form(&subject, &[("client_id", Some("shop"))]);
    assert_eq!(signet.shop(&named).await.status, 200);
    let other = form(&subject, &[("client_id", Some("forum"))]);
    assert_eq!(
        signet.shop(&other).await.refusal(),
        (400, "invalid_request".to_owned())
    );
}

#[tokio::test]
async fn whoever_is_no_caller_is_refused_and_counted() {
    let signet = harness("");
    let subject = subject();
    let without = signet.form(None, &form(&subject, &[])).await;
    assert_eq!(without.refusal(), (401, "invalid_client".to_owned()));
    assert_eq!(
        without.headers.get_all("www-authenticate").iter().count(),
        2
    );
    let wrong = [
        ("client_id", Some("shop")),
        ("client_secret", Some("sgn_wrong-0123456789abcdefghijklmn")),
    ];
    for turn in 0..10 {
        let answer = if turn % 2 == 0 {
            signet.form(None, &form(&subject, &wrong)).await
        } else {
            let wrong = basic("shop", "sgn_wrong-0123456789abcdefghijklmn");
            signet.form(Some(&wrong), &form(&subject, &[])).await
        };
        assert_eq!(answer.refusal(), (401, "invalid_client".to_owned()));
    }
    let limited = signet.form(None, &form(&subject, &wrong)).await;
    assert_eq!(
        limited.refusal(),
        (429, "temporarily_unavailable".to_owned())
    );
    assert!(limited.header("retry-after").is_some());
    assert!(limited.header("ratelimit").is_some());
    let right_too = signet.shop(&form(&subject, &[])).await;
    assert_eq!(right_too.refusal().0, 429);
}

#[tokio::test]
async fn every_parameter_repeated_is_refused_and_unknown_ones_are_ignored() {
    let signet = harness("");
    let subject = subject();
    for name in [
        "actor_token",
        "actor_token_type",
        "audience",
        "client_id",
        "client_secret",
        "grant_type",
        "requested_token_type",
        "resource",
        "scope",
        "subject_token",
        "subject_token_type",
    ] {
        let mut pairs = form(&subject, &[]);
        pairs.retain(|(known, _)| *known != name);
        pairs.extend([(name, ""), (name, "x")]);
        let answer = signet.shop(&pairs).await;
        assert_eq!(
            answer.refusal(),
            (400, "invalid_request".to_owned()),
            "{name}"
        );
        assert_eq!(
            answer.description(),
            format!("{name}: appears twice; give it once")
        );
    }
    let unknown = form(&subject, &[("foo", Some("1")), ("state", Some("\"\\"))]);
    assert_eq!(signet.shop(&unknown).await.status, 200);
}

#[tokio::test]
async fn a_required_parameter_that_is_missing_or_empty_is_named() {
    let signet = harness("");
    let subject = subject();
    for name in ["grant_type", "subject_token", "subject_token_type"] {
        for value in [None, Some("")] {
            let answer = signet.shop(&form(&subject, &[(name, value)])).await;
            assert_eq!(
                answer.refusal(),
                (400, "invalid_request".to_owned()),
                "{name}"
            );
            assert!(
                answer
                    .description()
                    .starts_with(&format!("{name}: is missing"))
            );
        }
    }
    let empty = [
        ("requested_token_type", Some("")),
        ("scope", Some("")),
        ("resource", Some("")),
        ("actor_token", Some("")),
    ];
    assert_eq!(signet.shop(&form(&subject, &empty)).await.status, 200);
}

#[tokio::test]
async fn another_grant_and_other_token_types_are_refused() {
    let signet = harness("");
    let subject = subject();
    for grant in ["client_credentials", "authorization_code", "URN:x"] {
        let answer = signet
            .shop(&form(&subject, &[("grant_type", Some(grant))]))
            .await;
        assert_eq!(answer.refusal(), (400, "unsupported_grant_type".to_owned()));
    }
    for (name, value) in [
        (
            "subject_token_type",
            "urn:ietf:params:oauth:token-type:saml2",
        ),
        (
            "requested_token_type",
            "urn:ietf:params:oauth:token-type:refresh_token",
        ),
        ("actor_token", "x"),
        ("actor_token_type", JWT),
    ] {
        let answer = signet.shop(&form(&subject, &[(name, Some(value))])).await;
        assert_eq!(
            answer.refusal(),
            (400, "invalid_request".to_owned()),
            "{name}"
        );
        assert!(answer.description().starts_with(name));
    }
    for issued in [ACCESS_TOKEN, JWT] {
        let asked = form(&subject, &[("requested_token_type", Some(issued))]);
        assert_eq!(
            signet.shop(&asked).await.json()["issued_token_type"],
            issued
        );
    }
    for taken in ["access_token", "id_token", "jwt"] {
        let taken = format!("urn:ietf:params:oauth:token-type:{taken}");
        let asked = form(&subject, &[("subject_token_type", Some(&taken))]);
        assert_eq!(signet.shop(&asked).await.status, 200);
    }
}

#[tokio::test]
async fn the_audience_is_one_of_the_callers_apps_by_name_or_client_id() {
    let signet = harness("");
    let subject = subject();
    for (audience, resource) in [
        (Some("acme"), None),
        (Some("cs-acme"), None),
        (None, Some("https://api.example.com")),
        (Some("acme"), Some("https://api.example.com")),
    ] {
        let changes = [("audience", audience), ("resource", resource)];
        let answer = signet.shop(&form(&subject, &changes)).await;
        assert_eq!(
            answer.status, 200,
            "{audience:?} {resource:?}: {}",
            answer.body
        );
    }
    for (audience, resource) in [
        (Some("other"), None),
        (Some("cs-other"), None),
        (Some("nobody"), None),
        (Some("ACME"), None),
        (Some("https://api.example.com"), None),
        (None, Some("https://other.example.com")),
        (Some("chat"), Some("https://api.example.com")),
        // It takes no subject tokens.
        (Some("plain"), None),
    ] {
        let changes = [("audience", audience), ("resource", resource)];
        let answer = signet.shop(&form(&subject, &changes)).await;
        assert_eq!(
            answer.refusal(),
            (400, "invalid_target".to_owned()),
            "{audience:?} {resource:?}"
        );
    }
    let open = signet.shop(&form(&subject, &[("audience", None)])).await;
    assert_eq!(open.refusal(), (400, "invalid_request".to_owned()));
}

#[tokio::test]
async fn a_subject_token_that_does_not_hold_is_an_invalid_request() {
    let signet = harness("");
    let mut tokens: Vec<String> = [
        json!({ "exp": NOW }),
        json!({ "exp": null }),
        json!({ "iss": "https://evil.example.com" }),
        json!({ "aud": "https://tokens.example.com" }),
        json!({ "nbf": NOW + 60 }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
    ]
    .iter()
    .map(subject_token)
    .collect();
    tokens.push(signed_with("Xd8k2mQz7LpT4wY8sBnC6dFgH3jK5aEr", &json!({})));
    tokens.push("eyJhbGciOiJub25lIn0.e30.".to_owned());
    tokens.push("not a token".to_owned());
    tokens.push("x".repeat(9000));
    for token in tokens {
        let answer = signet.shop(&form(&token, &[])).await;
        assert_eq!(
            answer.refusal(),
            (400, "invalid_request".to_owned()),
            "{token}"
        );
        assert!(
            answer
                .description()
                .starts_with("the subject token does not hold: ")
        );
    }
}

#[tokio::test]
async fn the_callers_policy_judges_what_the_subject_token_says() {
    let signet = harness("");
    let admin = subject_token(&json!({ "roles": ["user", "admin"] }));
    let answer = signet.shop(&form(&admin, &[])).await;
    assert_eq!(answer.refusal(), (400, "unauthorized_client".to_owned()));
    assert_eq!(
        answer.description(),
        "roles/1: this caller may not give this role"
    );
    let chat = [("audience", Some("chat"))];
    let plan = subject_token(&json!({ "plan": "gold" }));
    let room = subject_token(&json!({ "room": "r1" }));
    for token in [plan.clone(), room] {
        let answer = signet.shop(&form(&token, &chat)).await;
        assert_eq!(answer.refusal(), (400, "unauthorized_client".to_owned()));
    }
    // What the app's tokens don't carry is nobody's business.
    for (token, changes) in [(plan, &[][..]), (admin, &chat)] {
        let answer = signet.shop(&form(&token, changes)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

#[tokio::test]
async fn a_scope_is_given_where_the_profile_carries_it_and_the_caller_may() {
    let signet = harness("");
    let subject = subject();
    let asked = |scope| {
        form(
            &subject,
            &[("audience", Some("chat")), ("scope", Some(scope))],
        )
    };
    let answer = signet.shop(&asked("read chat")).await.json();
    assert_eq!(answer["scope"], "read chat");
    let claims = claims(answer["access_token"].as_str().unwrap());
    assert_eq!(claims["scope"], "read chat");
    assert_eq!(claims["act"], json!({ "sub": "shop" }));
    let without = signet
        .shop(&form(&subject, &[("audience", Some("chat"))]))
        .await;
    assert_eq!(without.json()["scope"], Value::Null);
    for scope in ["admin", "read admin", "read  chat", " read", "re\"ad"] {
        assert_eq!(
            signet.shop(&asked(scope)).await.refusal(),
            (400, "invalid_scope".to_owned()),
            "{scope}"
        );
    }
    let uncarried = signet
        .shop(&form(&subject, &[("scope", Some("read"))]))
        .await;
    assert_eq!(uncarried.refusal(), (400, "invalid_scope".to_owned()));
}

#[tokio::test]
async fn a_scope_is_names_with_single_spaces_even_for_a_caller_that_may_have_any() {
    let signet = changed("scopes = [\"chat\", \"read\"]", "scopes = [\"*\"]");
    let longest = "x".repeat(1000);
    for (scope, status) in [
        ("read:all ~[x]", 200),
        (&*longest, 200),
        (&*format!("{longest}x"), 400),
        ("read  chat", 400),
        (" read", 400),
        ("read ", 400),
        ("re\"ad", 400),
        ("re\\ad", 400),
        ("re\tad", 400),
        ("réad", 400),
    ] {
        let asked = [("audience", Some("chat")), ("scope", Some(scope))];
        let answer = signet.shop(&form(&subject(), &asked)).await;
        assert_eq!(answer.status, status, "{scope}: {}", answer.body);
    }
}

#[tokio::test]
async fn the_limit_per_user_counts_exchanges_for_the_subject_tokens_user() {
    let signet = changed(
        "rate = 1000, per = \"1s\", burst = 1000",
        "rate = 1, per = \"1h\", burst = 2",
    );
    for expected in [200, 200, 429] {
        assert_eq!(signet.shop(&form(&subject(), &[])).await.status, expected);
    }
    let other = subject_token(&json!({ "sub": "usr_2" }));
    assert_eq!(signet.shop(&form(&other, &[])).await.status, 200);
}

#[tokio::test]
async fn the_limit_per_caller_counts_exchanges_however_the_caller_proves_itself() {
    let in_form = [
        ("client_id", Some("shop")),
        ("client_secret", Some(SHOP_KEY)),
    ];
    for by_form in [false, true] {
        let signet = changed(
            "[limits]",
            "[limits]\nper_caller = { rate = 1, per = \"1h\", burst = 2 }",
        );
        for expected in [200, 200, 429] {
            let answer = if by_form {
                signet.form(None, &form(&subject(), &in_form)).await
            } else {
                signet.shop(&form(&subject(), &[])).await
            };
            assert_eq!(answer.status, expected, "{by_form}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn what_goes_wrong_outside_the_grant_keeps_its_status_in_oauths_form() {
    let signet = harness("");
    let post = |content_type: &str, body: String| {
        Request::post("/token")
            .header("content-type", content_type)
            .header("authorization", basic("shop", SHOP_KEY))
            .body(Body::from(body))
            .unwrap()
    };
    let kind = "application/x-www-form-urlencoded";
    let large = signet.send(post(kind, "x=".repeat(20_000))).await;
    assert_eq!(large.refusal(), (413, "invalid_request".to_owned()));
    let get = signet
        .ask(Method::GET, "/token", &[("content-type", kind)])
        .await;
    assert_eq!(get.refusal(), (405, "invalid_request".to_owned()));
    assert_eq!(get.header("allow"), Some("POST"));
    let json = signet.send(post("application/json", "{}".to_owned())).await;
    assert_eq!(json.json()["code"], "invalid_request");
    assert_eq!(
        json.header("content-type"),
        Some("application/problem+json")
    );
    let other = signet
        .send(post("multipart/form-data", String::new()))
        .await;
    assert_eq!(other.json()["code"], "unsupported_media_type");
}

#[tokio::test]
async fn an_exchange_whose_audit_line_cannot_be_written_is_told_to_come_back() {
    let config = include_str!("oauth.toml");
    let config = format!("{config}\n[audit]\nrequired = true\n");
    let full = std::fs::File::options().write(true).open("/dev/full");
    let (signet, log) = try_harness_logging_to(full.unwrap(), &config).unwrap();
    // Only a write tells that there is no room.
    log.write_lines(b"{}\n");
    log.flush();
    let answer = signet.shop(&form(&subject(), &[])).await;
    assert_eq!(
        answer.refusal(),
        (503, "temporarily_unavailable".to_owned())
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(!answer.body.contains("access_token"), "{}", answer.body);
}

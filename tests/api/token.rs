//! `POST /token`: what a backend may ask for, and how it is told what was wrong.

use serde_json::{Value, json};

use crate::support::{
    ACME_SECRET, DESK_KEY, NOW, SHOP_KEY, Signet, claims, header, streamed, watched_body,
};

#[tokio::test]
async fn a_token_carries_what_was_asked_for_and_nothing_else() {
    let signet = Signet::start();
    let asked = json!({
        "app": "acme", "tenantId": "ten_acme", "userId": "usr_1", "userEmail": "a@b.co",
        "userRoles": ["user", "agent"], "plan": "pro", "ttl": 60,
    });
    let answer = signet.shop_asks(&asked).send().await;
    let expected = json!({
        "tenantId": "ten_acme", "userId": "usr_1", "userEmail": "a@b.co",
        "userRoles": ["user", "agent"], "plan": "pro", "iat": NOW - 5, "exp": NOW + 55,
    });
    assert_eq!(answer.claims(), expected);
    assert_eq!(
        header(&answer.token()),
        json!({"alg": "HS256", "typ": "JWT"})
    );
}

#[tokio::test]
async fn the_answer_says_how_long_the_token_lives_and_when_to_renew_it() {
    let signet = Signet::start();
    let answer = signet
        .desk_asks(&json!({"app": "acme", "userId": "usr_1"}))
        .send()
        .await;
    let json = answer.json();
    let members: Vec<_> = json.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        [
            "token",
            "tokenType",
            "expiresIn",
            "expiresAt",
            "refreshAfter"
        ]
    );
    assert_eq!(json["tokenType"], "Bearer");
    assert_eq!(
        (&json["expiresIn"], &json["expiresAt"]),
        (&json!(3595), &json!(NOW + 3595))
    );
    let renew = json["refreshAfter"].as_i64().unwrap();
    assert!(
        (3595 * 85 / 100..=3595 * 95 / 100).contains(&renew),
        "{renew}"
    );
    assert_eq!(answer.claims()["exp"], json["expiresAt"]);
}

#[tokio::test]
async fn widgets_opened_together_do_not_renew_together() {
    let signet = Signet::start();
    let mut moments = std::collections::HashSet::new();
    for user in 0..20 {
        let asked = json!({"app": "acme", "userId": format!("usr_{user}")});
        let answer = signet.desk_asks(&asked).send().await;
        moments.insert(answer.json()["refreshAfter"].as_i64().unwrap());
    }
    assert!(moments.len() > 5, "{moments:?}");
}

#[tokio::test]
async fn both_names_of_a_member_say_the_same() {
    let signet = Signet::start();
    let first = json!({
        "tenantId": "ten_acme", "userId": "usr_1", "userEmail": "a@b.co", "userRoles": ["user"],
    });
    let second = json!({
        "clientId": "ten_acme", "identity": "usr_1", "email": "a@b.co", "roles": ["user"],
    });
    let first = signet.shop_asks(&first).send().await.claims();
    assert_eq!(first, signet.shop_asks(&second).send().await.claims());
    assert_eq!(first["userId"], "usr_1");
}

#[tokio::test]
async fn an_empty_list_stays_one_and_what_is_left_out_is_left_out() {
    let signet = Signet::start();
    let asked = json!({"userId": "usr_1", "userRoles": []});
    let claims = signet.shop_asks(&asked).send().await.claims();
    assert_eq!(claims["userRoles"], json!([]));
    for absent in ["userEmail", "plan"] {
        assert_eq!(claims.get(absent), None);
    }
    let asked = json!({"userId": "usr_1"});
    let claims = signet.shop_asks(&asked).send().await.claims();
    assert_eq!(claims.get("userRoles"), None);
}

#[tokio::test]
async fn values_reach_the_token_byte_for_byte() {
    let signet = Signet::start();
    for user in [
        "Zoë O'Neil",
        "e\u{301}",
        "日本語 👍",
        "${user.email}",
        "\"\\/</script>",
        "a%20b+c",
        &"x".repeat(200),
        &"é".repeat(100),
    ] {
        let answer = signet.shop_asks(&json!({"userId": user})).send().await;
        assert_eq!(answer.claims()["userId"], user);
    }
}

#[tokio::test]
async fn a_lifetime_is_what_was_asked_for_or_an_error() {
    let signet = Signet::start();
    for ttl in [6, 7, 1799, 1800] {
        let asked = json!({"userId": "usr_1", "ttl": ttl});
        let claims = signet.shop_asks(&asked).send().await.claims();
        assert_eq!(
            claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
            ttl
        );
    }
    for ttl in [
        json!(5),
        json!(0),
        json!(-1),
        json!(1.5),
        json!("60"),
        json!(60.0),
        json!(1e300),
    ] {
        let asked = json!({"userId": "usr_1", "ttl": ttl});
        let answer = signet.shop_asks(&asked).send().await;
        answer.is_refused(400, "invalid_request");
        assert_eq!(answer.pointers(), ["/ttl"], "{ttl}");
    }
    for ttl in [json!(1801), json!(i64::MAX)] {
        let asked = json!({"userId": "usr_1", "ttl": ttl});
        let answer = signet.shop_asks(&asked).send().await;
        answer.is_refused(403, "ttl_too_long");
        assert_eq!(answer.pointers(), ["/ttl"]);
    }
}

#[tokio::test]
async fn a_lifetime_left_out_is_the_least_of_the_callers_the_apps_and_the_profiles() {
    for (app, expected) in [("1h", 1800), ("10m", 600)] {
        let signet = Signet::with(&[("APPS__ACME__TOKEN_TTL", app)]);
        let claims = signet
            .shop_asks(&json!({"userId": "usr_1"}))
            .send()
            .await
            .claims();
        assert_eq!(
            claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
            expected
        );
        let asked = json!({"userId": "usr_1", "ttl": expected + 1});
        let answer = signet.shop_asks(&asked).send().await;
        answer.is_refused(403, "ttl_too_long");
    }
}

#[tokio::test]
async fn every_fault_is_told_at_once_with_its_pointer() {
    let signet = Signet::start();
    let asked = r#"{
        "userId": "", "userEmail": "nobody", "userRoles": ["user", 7, "", " x"], "plan": null,
        "isAnonymous": true, "attributes": {"room": "a"}, "ttl": 3, "usrId": "x", "a/b~c": 1,
        "identity": "usr_1", "plan": "pro"
    }"#;
    let answer = signet
        .post("/token")
        .bearer(SHOP_KEY)
        .json_text(asked)
        .send()
        .await;
    answer.is_refused(400, "invalid_request");
    let mut pointers = answer.pointers();
    pointers.sort();
    let mut expected = [
        "/userId",
        "/userEmail",
        "/userRoles/1",
        "/userRoles/2",
        "/userRoles/3",
        "/plan",
        "/isAnonymous",
        "/attributes/room",
        "/ttl",
        "/usrId",
        "/a~1b~0c",
    ];
    expected.sort_unstable();
    assert_eq!(pointers, expected);
    let text = answer.text();
    assert!(
        text.contains("userId"),
        "the nearest known name is told: {text}"
    );
}

#[tokio::test]
async fn a_member_is_given_once_however_it_is_spelt() {
    let signet = Signet::start();
    for (body, pointer) in [
        (r#"{"userId":"a","userId":"a"}"#, "/userId"),
        (r#"{"userId":"a","\u0075serId":"b"}"#, "/userId"),
        (r#"{"userId":"a","identity":"a"}"#, "/identity"),
        (r#"{"identity":"a","userId":"a"}"#, "/userId"),
        (
            r#"{"userId":"a","userEmail":"a@b.co","email":"a@b.co"}"#,
            "/email",
        ),
        (r#"{"userId":"a","userRoles":[],"roles":[]}"#, "/roles"),
        (
            r#"{"userId":"a","tenantId":"ten_acme","clientId":"ten_acme"}"#,
            "/clientId",
        ),
        (r#"{"userId":"a","ttl":60,"ttl":60}"#, "/ttl"),
        (r#"{"userId":"a","app":"acme","\u0061pp":"acme"}"#, "/app"),
    ] {
        let answer = signet
            .post("/token")
            .bearer(SHOP_KEY)
            .json_text(body)
            .send()
            .await;
        answer.is_refused(400, "invalid_request");
        assert_eq!(answer.pointers(), [pointer], "{body}");
    }
    // In an object within as well.
    let body = r#"{"app":"bot","userId":"a","attributes":{"identityToMerge":"x","identityToMerg\u0065":"y"}}"#;
    let answer = signet
        .post("/token")
        .bearer(DESK_KEY)
        .json_text(body)
        .send()
        .await;
    answer.is_refused(400, "invalid_request");
    assert_eq!(answer.pointers(), ["/attributes/identityToMerge"]);
}

#[tokio::test]
async fn a_body_is_an_object_and_nothing_else() {
    let signet = Signet::start();
    for body in [
        r#"["acme","usr_1"]"#,
        r#"[{"userId":"usr_1"}]"#,
        "null",
        "\"usr_1\"",
        "7",
        "true",
    ] {
        let answer = signet
            .post("/token")
            .bearer(SHOP_KEY)
            .json_text(body)
            .send()
            .await;
        answer.is_refused(400, "invalid_request");
        assert_eq!(answer.pointers(), [""], "{body}");
    }
}

#[tokio::test]
async fn what_is_not_json_is_told_where_it_stops_being_it() {
    let signet = Signet::start();
    for body in [
        &b""[..],
        b"{",
        b"userId=usr_1",
        b"{\"userId\":\"usr_1\"} x",
        b"{\"userId\":\"usr_1\",}",
        b"{'userId':'usr_1'}",
        b"{\"userId\":\"\\ud800\"}",
        b"{\"userId\":\"\\ud800\\u0041\"}",
        b"{\"userId\":\"\xff\"}",
        b"{\"userId\":\"\xed\xa0\x80\"}",
        b"{\"userId\":\"a\nb\"}",
        b"\xef\xbb\xbf{\"userId\":\"usr_1\"}",
        b"{\"ttl\":NaN}",
        b"{\"userId\":\"usr_1\",\"ttl\":1e999}",
    ] {
        let answer = signet
            .post("/token")
            .bearer(SHOP_KEY)
            .json_text(body.to_vec())
            .send()
            .await;
        answer.is_refused(400, "invalid_request");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.contains("line 1, column") || detail.contains("line 2"),
            "{detail}"
        );
    }
    let deep = format!("{}{}", "[".repeat(8000), "]".repeat(8000));
    let answer = signet
        .post("/token")
        .bearer(SHOP_KEY)
        .json_text(deep)
        .send()
        .await;
    answer.is_refused(400, "invalid_request");
}

#[tokio::test]
async fn null_is_never_a_value() {
    let signet = Signet::start();
    for member in [
        "app",
        "tenantId",
        "clientId",
        "userId",
        "identity",
        "userEmail",
        "email",
        "userRoles",
        "roles",
        "plan",
        "isAnonymous",
        "attributes",
        "ttl",
    ] {
        let mut asked = json!({"userId": "usr_1"});
        if member == "identity" {
            asked = json!({});
        }
        asked[member] = Value::Null;
        let answer = signet.shop_asks(&asked).send().await;
        answer.is_refused(400, "invalid_request");
        assert_eq!(answer.pointers(), [format!("/{member}")]);
        assert!(
            answer.text().contains("leave the member out"),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_wrong_type_is_never_made_to_fit() {
    let signet = Signet::start();
    for (member, value) in [
        ("app", json!(["acme"])),
        ("tenantId", json!(7)),
        ("userId", json!(7)),
        ("userId", json!({"$ne": ""})),
        ("userEmail", json!(true)),
        ("userRoles", json!("user")),
        ("userRoles", json!({"0": "user"})),
        ("plan", json!(["pro"])),
        ("ttl", json!(true)),
    ] {
        let mut asked = json!({"userId": "usr_1"});
        asked[member] = value;
        let answer = signet.shop_asks(&asked).send().await;
        answer.is_refused(400, "invalid_request");
        assert_eq!(answer.pointers(), [format!("/{member}")]);
    }
    for value in [json!("true"), json!(1), json!("")] {
        let asked = json!({"app": "bot", "userId": "usr_1", "isAnonymous": value});
        let answer = signet.desk_asks(&asked).send().await;
        answer.is_refused(400, "invalid_request");
        assert_eq!(answer.pointers(), ["/isAnonymous"]);
    }
}

#[tokio::test]
async fn text_that_is_too_long_or_shows_as_nothing_is_refused() {
    let signet = Signet::start();
    let email = |last: usize| {
        let label = |letter: &str| letter.repeat(63);
        format!(
            "a@{}.{}.{}.{}",
            label("b"),
            label("c"),
            label("d"),
            "e".repeat(last)
        )
    };
    assert_eq!(email(60).len(), 254);
    let asked = json!({"userId": "usr_1", "userEmail": email(60)});
    assert_eq!(signet.shop_asks(&asked).send().await.status, 200);
    for (member, value) in [
        ("userId", json!("x".repeat(201))),
        ("userId", json!(format!("{}é", "x".repeat(199)))),
        ("userId", json!("a\u{0}b")),
        ("userId", json!("a\u{200b}b")),
        ("userId", json!("a\u{202e}b")),
        ("userId", json!("a\u{2066}b")),
        ("userId", json!("a\u{feff}b")),
        ("userId", json!("a\u{ad}b")),
        ("userId", json!("a\u{2028}b")),
        ("userId", json!("a\u{2029}b")),
        ("userId", json!("a\u{7f}b")),
        ("userId", json!("a\u{85}b")),
        ("userId", json!(" a")),
        ("userId", json!("a\u{a0}")),
        ("userId", json!("a\u{3000}")),
        ("userId", json!(" ")),
        ("userEmail", json!(email(61))),
        ("userEmail", json!("@b.co")),
        ("userEmail", json!("a@")),
        ("userEmail", json!("a@b@c.co")),
        ("userEmail", json!("a b@c.co")),
        ("userEmail", json!("A <a@b.co>")),
        ("plan", json!("p".repeat(81))),
        ("plan", json!("")),
    ] {
        let mut asked = json!({"userId": "usr_1"});
        asked[member] = value;
        let answer = signet.shop_asks(&asked).send().await;
        answer.is_refused(400, "invalid_request");
        assert_eq!(answer.pointers(), [format!("/{member}")], "{asked}");
    }
    for (roles, pointer) in [
        (json!(vec!["user"; 31]), "/userRoles"),
        (json!(["r".repeat(81)]), "/userRoles/0"),
        (json!(["user", "a\u{200d}b"]), "/userRoles/1"),
        (json!([["user"]]), "/userRoles/0"),
        (json!([null]), "/userRoles/0"),
    ] {
        let answer = signet
            .shop_asks(&json!({"userId": "usr_1", "userRoles": roles}))
            .send()
            .await;
        answer.is_refused(400, "invalid_request");
        assert_eq!(answer.pointers(), [pointer]);
    }
}

#[tokio::test]
async fn thirty_roles_of_eighty_bytes_are_taken() {
    let signet = Signet::start();
    let roles: Vec<_> = (0..30).map(|n| format!("{n:0>80}")).collect();
    let asked = json!({"app": "acme", "userId": "usr_1", "userRoles": roles});
    assert_eq!(
        signet.desk_asks(&asked).send().await.claims()["userRoles"],
        json!(roles)
    );
}

#[tokio::test]
async fn a_token_of_more_than_4_kib_is_refused() {
    let signet = Signet::start();
    let roles: Vec<_> = (0..30).map(|n| format!("{n}{}", "\"".repeat(78))).collect();
    let asked = json!({"app": "acme", "userId": "usr_1", "userRoles": roles});
    let answer = signet.desk_asks(&asked).send().await;
    answer.is_refused(400, "token_too_large");
}

#[tokio::test]
async fn a_user_is_needed_unless_anonymous() {
    let signet = Signet::start();
    for asked in [json!({}), json!({"app": "acme"})] {
        let answer = signet.shop_asks(&asked).send().await;
        answer.is_refused(400, "invalid_request");
        assert_eq!(answer.pointers(), ["/userId"]);
    }
    let asked = json!({"app": "bot", "isAnonymous": false});
    let answer = signet.desk_asks(&asked).send().await;
    answer.is_refused(400, "invalid_request");
    assert_eq!(answer.pointers(), ["/userId"]);

    let asked = json!({"app": "bot", "isAnonymous": true});
    let first = signet.desk_asks(&asked).send().await.claims();
    let second = signet.desk_asks(&asked).send().await.claims();
    assert_eq!(first["isAnonymous"], true);
    assert_ne!(first["sub"], second["sub"]);
    assert!(first["sub"].as_str().unwrap().len() >= 22);
    let asked = json!({"app": "bot", "isAnonymous": true, "userId": "anon-7"});
    assert_eq!(
        signet.desk_asks(&asked).send().await.claims()["sub"],
        "anon-7"
    );
}

#[tokio::test]
async fn what_the_profile_does_not_carry_is_an_error() {
    let signet = Signet::start();
    for (asked, pointer) in [
        (
            json!({"app": "acme", "userId": "u", "isAnonymous": false}),
            "/isAnonymous",
        ),
        (
            json!({"app": "acme", "userId": "u", "attributes": {"identityToMerge": "x"}}),
            "/attributes/identityToMerge",
        ),
        (
            json!({"app": "bot", "userId": "u", "userRoles": []}),
            "/userRoles",
        ),
        (
            json!({"app": "bot", "userId": "u", "email": "a@b.co"}),
            "/email",
        ),
        (json!({"app": "bot", "userId": "u", "plan": "pro"}), "/plan"),
        (
            json!({"app": "bot", "userId": "u", "attributes": {"room": 1}}),
            "/attributes/room",
        ),
    ] {
        let answer = signet.desk_asks(&asked).send().await;
        answer.is_refused(400, "invalid_request");
        assert_eq!(answer.pointers(), [pointer]);
    }
}

#[tokio::test]
async fn the_app_is_the_callers_only_one_or_named_or_told_by_its_client_id() {
    let signet = Signet::start();
    let signet = &signet;
    let tenant = |asked: Value| async move {
        let claims = signet.desk_asks(&asked).send().await.claims();
        claims
            .get("tenantId")
            .or(claims.get("iss"))
            .unwrap()
            .clone()
    };
    assert_eq!(tenant(json!({"app": "bot", "userId": "u"})).await, "cs-1");
    assert_eq!(
        tenant(json!({"clientId": "cs-guest", "userId": "u"})).await,
        "cs-guest"
    );
    assert_eq!(
        tenant(json!({"tenantId": "ten_acme", "userId": "u"})).await,
        "ten_acme"
    );
    let only = signet
        .shop_asks(&json!({"userId": "u"}))
        .send()
        .await
        .claims();
    assert_eq!(only["tenantId"], "ten_acme");

    let undecided = signet.desk_asks(&json!({"userId": "u"})).send().await;
    undecided.is_refused(400, "invalid_request");
    assert_eq!(undecided.pointers(), ["/app"]);
}

#[tokio::test]
async fn an_app_or_client_id_that_is_not_the_callers_is_refused_alike() {
    let signet = Signet::start();
    let mut details = Vec::new();
    // One that exists and one that doesn't: which of them exists is not told.
    for app in ["bot", "nonesuch"] {
        let answer = signet
            .shop_asks(&json!({"app": app, "userId": "u"}))
            .send()
            .await;
        answer.is_refused(403, "app_not_allowed");
        assert_eq!(answer.pointers(), ["/app"]);
        details.push(answer.json()["detail"].clone());
    }
    assert_eq!(details[0], details[1]);
    for asked in [
        json!({"tenantId": "ten_other", "userId": "u"}),
        json!({"tenantId": "cs-1", "userId": "u"}),
        json!({"app": "acme", "tenantId": "cs-1", "userId": "u"}),
        json!({"tenantId": "TEN_ACME", "userId": "u"}),
    ] {
        let answer = signet.shop_asks(&asked).send().await;
        answer.is_refused(403, "tenant_mismatch");
        assert_eq!(answer.pointers(), ["/tenantId"]);
    }
}

#[tokio::test]
async fn roles_plans_and_attributes_need_the_callers_policy() {
    let signet = Signet::start();
    for (member, value, code, pointer) in [
        (
            "userRoles",
            json!(["user", "admin"]),
            "role_not_allowed",
            "/userRoles/1",
        ),
        ("roles", json!(["User"]), "role_not_allowed", "/roles/0"),
        (
            "userRoles",
            json!(["*"]),
            "role_not_allowed",
            "/userRoles/0",
        ),
        ("plan", json!("enterprise"), "plan_not_allowed", "/plan"),
    ] {
        let mut asked = json!({"userId": "u"});
        asked[member] = value;
        let answer = signet.shop_asks(&asked).send().await;
        answer.is_refused(403, code);
        assert_eq!(answer.pointers(), [pointer]);
    }
    let asked =
        json!({"userId": "u", "userRoles": ["root", "user", "admin"], "plan": "free", "ttl": 3600});
    let answer = signet.shop_asks(&asked).send().await;
    answer.is_refused(403, "role_not_allowed");
    assert_eq!(
        answer.pointers(),
        ["/userRoles/0", "/userRoles/2", "/plan", "/ttl"]
    );
}

#[tokio::test]
async fn a_list_left_out_denies() {
    let signet = Signet::with(&[("CALLERS__FORUM__APPS", "acme,bot")]);
    let asks = |body: Value| {
        let key = crate::support::FORUM_KEY;
        signet.post("/token").bearer(key).json(&body).send()
    };
    assert_eq!(
        asks(json!({"app": "acme", "userId": "u"})).await.status,
        200
    );
    assert_eq!(
        asks(json!({"app": "acme", "userId": "u", "userRoles": []}))
            .await
            .status,
        200
    );
    asks(json!({"app": "acme", "userId": "u", "userRoles": ["user"]}))
        .await
        .is_refused(403, "role_not_allowed");
    asks(json!({"app": "acme", "userId": "u", "plan": "pro"}))
        .await
        .is_refused(403, "plan_not_allowed");
    let answer =
        asks(json!({"app": "bot", "userId": "u", "attributes": {"identityToMerge": "x"}})).await;
    answer.is_refused(403, "attribute_not_allowed");
    assert_eq!(answer.pointers(), ["/attributes/identityToMerge"]);
}

#[tokio::test]
async fn a_client_that_wants_the_bare_token_gets_it() {
    let signet = Signet::start();
    let asked = json!({"userId": "usr_1"});
    for accept in ["application/jwt", "text/plain"] {
        let answer = signet
            .shop_asks(&asked)
            .header("accept", accept)
            .send()
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type").unwrap(), accept);
        assert_eq!(answer.header("cache-control").unwrap(), "no-store");
        assert_eq!(claims(&answer.text())["userId"], "usr_1");
    }
    for accept in [
        "*/*",
        "application/json",
        "application/json, text/plain, */*",
        "image/png",
    ] {
        signet
            .shop_asks(&asked)
            .header("accept", accept)
            .send()
            .await
            .token();
    }
    // An error is a problem document all the same.
    let answer = signet
        .shop_asks(&json!({}))
        .header("accept", "text/plain")
        .send()
        .await;
    answer.is_refused(400, "invalid_request");
}

#[tokio::test]
async fn a_media_type_other_than_json_is_refused() {
    let signet = Signet::start();
    let body = r#"{"userId":"usr_1"}"#;
    for kind in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
    ] {
        let ask = signet
            .post("/token")
            .bearer(SHOP_KEY)
            .header("content-type", kind);
        assert_eq!(ask.body(body).send().await.status, 200, "{kind}");
    }
    for kind in [
        "text/plain",
        "application/json; charset=latin1",
        "application/xml",
        "multipart/form-data; boundary=x",
    ] {
        let ask = signet
            .post("/token")
            .bearer(SHOP_KEY)
            .header("content-type", kind);
        ask.body(body)
            .send()
            .await
            .is_refused(415, "unsupported_media_type");
    }
    let bare = signet
        .post("/token")
        .bearer(SHOP_KEY)
        .body(body)
        .send()
        .await;
    bare.is_refused(415, "unsupported_media_type");
    let twice = signet
        .shop_asks(&json!({"userId": "u"}))
        .header("content-type", "text/plain");
    twice.send().await.is_refused(415, "unsupported_media_type");
}

#[tokio::test]
async fn a_long_body_is_refused_announced_or_not() {
    let signet = Signet::with(&[("SERVER__MAX_BODY", "256B")]);
    let (body, polled) = watched_body();
    let announced = signet.post("/token").bearer(SHOP_KEY).json_text(body);
    let answer = announced.header("content-length", "257").send().await;
    answer.is_refused(413, "body_too_large");
    assert!(
        !polled.load(std::sync::atomic::Ordering::SeqCst),
        "nobody has to send it"
    );

    let piece = || Ok(vec![b' '; 100]);
    let body = streamed(vec![piece(), piece(), piece()]);
    let answer = signet
        .post("/token")
        .bearer(SHOP_KEY)
        .json_text(body)
        .send()
        .await;
    answer.is_refused(413, "body_too_large");

    let most = format!("{:256}", r#"{"userId":"usr_1"}"#);
    let answer = signet
        .post("/token")
        .bearer(SHOP_KEY)
        .json_text(most)
        .send()
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_request() {
    let signet = Signet::start();
    let broken = Err(std::io::Error::other("gone"));
    let body = streamed(vec![Ok(br#"{"userId":"usr_1""#.to_vec()), broken]);
    let answer = signet
        .post("/token")
        .bearer(SHOP_KEY)
        .json_text(body)
        .send()
        .await;
    answer.is_refused(400, "invalid_request");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_ends_by_a_time_out() {
    let signet = Signet::start();
    let (body, _) = watched_body();
    let started = tokio::time::Instant::now();
    let answer = signet
        .post("/token")
        .bearer(SHOP_KEY)
        .json_text(body)
        .send()
        .await;
    answer.is_refused(408, "request_timeout");
    assert_eq!(started.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn a_request_keeps_its_id_if_that_is_harmless() {
    let signet = Signet::start();
    let asked = json!({"userId": "usr_1"});
    let answer = signet
        .shop_asks(&asked)
        .header("x-request-id", "req-1:a.b_C")
        .send()
        .await;
    assert_eq!(answer.header("x-request-id").unwrap(), "req-1:a.b_C");
    let long = "x".repeat(129);
    for id in ["", "a b", "a\"b", "é", "{}", long.as_str()] {
        let answer = signet
            .shop_asks(&asked)
            .header("x-request-id", id)
            .send()
            .await;
        let given = answer.header("x-request-id").unwrap();
        assert_eq!(given.len(), 36, "{id} → {given}");
    }
    let first = signet.shop_asks(&asked).send().await.header("x-request-id");
    let second = signet.shop_asks(&asked).send().await.header("x-request-id");
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_user_s_own_profile_makes_its_own_tokens_and_answers() {
    let toml = r#"
        [server]
        require_https = false
        [apps.help]
        profile = "helpdesk"
        client_id = "hd_1"
        backdate = "0s"
        secret = { env = "ACME_SECRET" }
        [callers.shop]
        key_sha256 = ["SHOP_HASH"]
        apps = ["help"]
        roles = ["*"]
        attributes = ["room"]
        [profiles.helpdesk]
        algorithms = ["HS256"]
        max_ttl = "15m"
        [profiles.helpdesk.header]
        kid = "${key.id}"
        [profiles.helpdesk.claims]
        iss = "${app.client_id}"
        sub = "${user.id}"
        email = "${user.email}"
        grants = { rooms = ["${user.attributes.room?}"], level = 3 }
        jti = "${app.client_id}-${token.id}"
        iat = "${token.issued_at}"
        exp = "${token.expires_at}"
        [profiles.helpdesk.answer]
        accessToken = "${token}"
        validFor = "${token.expires_in}"
    "#;
    let signet = Signet::configured(toml, &[]);
    let asked = json!({"userId": "usr_1", "email": "a@b.co", "attributes": {"room": {"id": 7}}});
    let json = signet.shop_asks(&asked).send().await.json();
    let members: Vec<_> = json.as_object().unwrap().keys().collect();
    assert_eq!(members, ["accessToken", "validFor"]);
    assert_eq!(json["validFor"], 900);
    let token = json["accessToken"].as_str().unwrap();
    let mut claims = claims(token);
    let id = claims.as_object_mut().unwrap().remove("jti").unwrap();
    let random = id.as_str().unwrap().strip_prefix("hd_1-").unwrap();
    assert_eq!(random.len(), 22, "128 bits in base64url");
    assert_eq!(
        claims,
        json!({
            "iss": "hd_1", "sub": "usr_1", "email": "a@b.co",
            "grants": {"rooms": [{"id": 7}], "level": 3}, "iat": NOW, "exp": NOW + 900,
        })
    );
    assert_eq!(header(token)["kid"], "help");

    // A claim without its source names the member that would bring it.
    let answer = signet.shop_asks(&json!({"userId": "usr_1"})).send().await;
    answer.is_refused(400, "invalid_request");
    assert_eq!(answer.pointers(), ["/userEmail"]);
}

#[tokio::test]
async fn an_issue_and_a_refusal_each_leave_one_audit_line_without_the_token() {
    let signet = Signet::start();
    let asked = json!({"userId": "usr_1", "ttl": 60});
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = signet
        .shop_asks(&asked)
        .header("traceparent", trace)
        .send()
        .await;
    let refused = signet
        .shop_asks(&json!({"userId": "usr_2", "plan": "x"}))
        .send()
        .await;
    let [issue, refusal] = &signet.audit()[..] else {
        panic!("two lines: {:?}", signet.audit());
    };
    for (name, value) in [
        ("timestamp", json!("2025-11-20T14:46:40Z")),
        ("outcome", json!("issued")),
        ("request_id", json!(answer.header("x-request-id").unwrap())),
        ("trace_id", json!("4bf92f3577b34da6a3ce929d0e0e4736")),
        ("app", json!("acme")),
        ("caller", json!("shop")),
        ("user", json!("usr_1")),
        ("lifetime_seconds", json!(60)),
        ("key_id", json!("acme")),
        ("ip", json!("192.0.2.1")),
    ] {
        assert_eq!(issue[name], value, "{name}");
    }
    for (name, value) in [
        ("outcome", json!("plan_not_allowed")),
        ("request_id", json!(refused.header("x-request-id").unwrap())),
        ("app", json!("acme")),
        ("caller", json!("shop")),
        ("user", json!("usr_2")),
        ("lifetime_seconds", Value::Null),
    ] {
        assert_eq!(refusal[name], value, "{name}");
    }
    let written = format!("{issue}{refusal}");
    for secret in [ACME_SECRET, SHOP_KEY, &answer.token()] {
        assert!(!written.contains(secret));
    }
    // A token with an ID is found by it.
    let claims = signet
        .desk_asks(&json!({"app": "bot", "userId": "u"}))
        .send()
        .await
        .claims();
    assert_eq!(signet.audit()[2]["token_id"], claims["jti"]);
}

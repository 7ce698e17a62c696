//! What each command prints, and how it ends.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use signet::caller::KeyDigest;

use crate::running::{ACME_SECRET, Folder, SHOP_KEY, run, text};

fn claims(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap());
    serde_json::from_slice(&payload.unwrap()).unwrap()
}

fn sign(claims: &Value, secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

#[test]
fn check_says_what_there_is() {
    let ran = Folder::small().run(&["check"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (
            0,
            "ok: 1 app, 1 caller, 0 browser endpoints; every key signs and verifies\n",
            ""
        )
    );
}

#[test]
fn check_prints_all_that_is_wrong_with_file_path_and_remedy() {
    let folder = Folder::with(
        r#"
        [server]
        require_https = false
        liste = "127.0.0.1:0"
        [apps.acme]
        profile = "suport-widget"
        client_id = "ten_acme"
        secret = { env = "NOWHERE" }
        [callers.shop]
        key = { env = "SHOP_KEY" }
        apps = ["acm"]
        "#,
    );
    let ran = folder.run(&["check"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    let file = folder.path("signet.toml");
    let lines: Vec<_> = ran.stderr.lines().collect();
    for (path, remedy) in [
        ("server.liste", "did you mean \"listen\"?"),
        ("apps.acme.profile", "did you mean \"support-widget\"?"),
        ("callers.shop.apps", "did you mean \"acme\"?"),
    ] {
        let start = format!("{}: {path}", file.display());
        let line = lines.iter().find(|line| line.starts_with(&start));
        assert!(
            line.is_some_and(|line| line.contains(remedy)),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn check_reads_every_secret() {
    let folder = Folder::with(
        r#"
        [server]
        require_https = false
        [apps.one]
        profile = "support-widget"
        client_id = "ten_1"
        secret = { file = "short" }
        [apps.two]
        profile = "support-widget"
        client_id = "ten_2"
        secret = { file = "nowhere" }
        [apps.three]
        profile = "support-widget"
        client_id = "ten_3"
        secret = { env = "ACME_SECRET" }
        [apps.four]
        profile = "support-widget"
        client_id = "ten_4"
        secret = { env = "ACME_SECRET" }
        [callers.shop]
        key = { env = "SHORT_KEY" }
        apps = ["one", "two", "three", "four"]
        "#,
    );
    folder.write("short", "a secret\n");
    let variables = [("ACME_SECRET", ACME_SECRET), ("SHORT_KEY", "sgn_short")];
    let ran = folder.run_with(&["check"], &variables, "");
    assert_eq!(ran.code, 1);
    let file = folder.path("signet.toml");
    let mut found: Vec<_> = ran.stderr.lines().collect();
    found.sort_unstable();
    let mut expected = [
        "apps.one.secret: the secret has 8 bytes and HS256 needs 32; `signet secret new` prints one that fits HS256",
        "apps.two.secret: the file that it names does not exist; set it, or correct the name",
        "apps.three.secret: is the same secret as apps.four.secret; every key needs its own",
        "callers.shop: its key has 9 bytes and needs 32; `signet key new` prints a good one",
    ]
    .map(|problem| format!("{}: {problem}", file.display()));
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_file_that_is_not_there_is_refused() {
    for command in ["check", "healthcheck"] {
        let ran = run(&[command, "--config", "nowhere.toml"], &[], "");
        assert_eq!(ran.code, 1);
        assert_eq!(
            ran.stderr,
            "nowhere.toml: there is no such file; create it, or correct the name\n"
        );
    }
}

#[test]
fn the_command_line_goes_before_the_variable() {
    let folder = Folder::small();
    let file = folder.path("signet.toml");
    let ran = folder.run_with(
        &["check", "--config", text(&file)],
        &[("SIGNET_CONFIG", "nowhere.toml")],
        "",
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn the_smallest_deployment_is_four_variables_or_their_files() {
    let https = ("SIGNET__SERVER__REQUIRE_HTTPS", "false");
    let plain = [
        ("SIGNET_CLIENT_ID", "cs-1"),
        ("SIGNET_CLIENT_SECRET", ACME_SECRET),
        ("SIGNET_API_KEY", SHOP_KEY),
        ("SIGNET_PROFILE", "kore"),
        https,
    ];
    let issue = ["token", "issue", "--app", "default"];
    let ran = run(&issue, &plain, "");
    assert_eq!(claims(&ran.stdout)["iss"], "cs-1", "{}", ran.stderr);

    let folder = Folder::with("");
    for (name, value) in [
        ("id", "cs-1\n"),
        ("secret", ACME_SECRET),
        ("key", SHOP_KEY),
        ("profile", "kore\n"),
    ] {
        folder.write(name, value);
    }
    let [id, secret, key, profile] =
        ["id", "secret", "key", "profile"].map(|name| folder.path(name));
    let files = [
        ("SIGNET_CLIENT_ID_FILE", text(&id)),
        ("SIGNET_CLIENT_SECRET_FILE", text(&secret)),
        ("SIGNET_API_KEY_FILE", text(&key)),
        ("SIGNET_PROFILE_FILE", text(&profile)),
        https,
    ];
    let ran = run(&issue, &files, "");
    assert_eq!(claims(&ran.stdout)["iss"], "cs-1", "{}", ran.stderr);

    // Without a profile it is the support widget's.
    let ran = run(&issue, &[plain[0], plain[1], plain[2], https], "");
    assert_eq!(claims(&ran.stdout)["tenantId"], "cs-1", "{}", ran.stderr);
    // And HTTPS has to come from somewhere.
    let ran = run(&["check"], &plain[..4], "");
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("SIGNET__SERVER__TRUSTED_PROXIES"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_new_key_is_shown_once_with_its_hash() {
    let ran = run(&["key", "new", "shop"], &[], "");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let key = ran
        .stdout
        .lines()
        .find(|line| line.starts_with("sgn_"))
        .unwrap();
    assert_eq!(key.len(), "sgn_".len() + 43, "256 bits in base64url");
    let hash = KeyDigest::of(key.as_bytes()).to_hex();
    assert_eq!(
        ran.stdout,
        format!(
            "# the key of `shop`: give it to that backend alone; it is not shown again\n{key}\n\n\
             # for the configuration; beside a live key, add the hash to its list\n\
             [callers.shop]\nkey_sha256 = [\"{hash}\"]\n"
        )
    );
    assert_ne!(ran.stdout, run(&["key", "new", "shop"], &[], "").stdout);
    for name in ["", "a b", "a\"]", &"x".repeat(65)] {
        let ran = run(&["key", "new", name], &[], "");
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{name}");
        assert_eq!(
            ran.stderr,
            "error: a caller's name has 1 to 64 letters, digits, `.`, `_` and `-`\n"
        );
    }
}

#[test]
fn a_new_secret_is_256_random_bits() {
    let ran = run(&["secret", "new"], &[], "");
    assert_eq!(ran.code, 0);
    let secret = ran.stdout.trim_end();
    assert_eq!(URL_SAFE_NO_PAD.decode(secret).unwrap().len(), 32);
    assert_ne!(ran.stdout, run(&["secret", "new"], &[], "").stdout);
}

#[test]
fn token_issue_prints_the_token_alone() {
    let folder = Folder::small();
    let ran = folder.run(&[
        "token",
        "issue",
        "--app",
        "acme",
        "--user-id",
        "usr_7",
        "--email",
        "a@b.co",
        "--role",
        "user",
        "--role",
        "anything",
        "--plan",
        "pro",
        "--ttl",
        "60",
    ]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let token = ran.stdout.strip_suffix('\n').unwrap();
    let mut claims = claims(token);
    let time = |claims: &mut Value, name| {
        claims
            .as_object_mut()
            .unwrap()
            .remove(name)
            .unwrap()
            .as_i64()
            .unwrap()
    };
    assert_eq!(time(&mut claims, "exp") - time(&mut claims, "iat"), 60);
    assert_eq!(
        claims,
        json!({
            "tenantId": "ten_acme", "userId": "usr_7", "userEmail": "a@b.co",
            "userRoles": ["user", "anything"], "plan": "pro",
        })
    );
    let inspected = folder.run(&["token", "inspect", token]);
    assert_eq!(inspected.code, 0);
}

#[test]
fn token_issue_refuses_what_the_service_would() {
    let folder = Folder::small();
    for (arguments, code, message) in [
        (
            &["--app", "nonesuch"][..],
            2,
            "error: there is no app `nonesuch`; there are acme\n",
        ),
        (
            &["--app", "acme", "--key", "next"],
            2,
            "error: app `acme` has no key `next`; it has acme\n",
        ),
        (
            &["--app", "acme", "--attribute", "room"],
            2,
            "error: write an attribute as NAME=VALUE\n",
        ),
        (
            &["--app", "acme", "--plan", ""],
            1,
            "/plan: must not be empty; leave the member out instead\n",
        ),
        (
            &["--app", "acme", "--ttl", "3601"],
            1,
            "/ttl: must be at most the 3600 seconds that this caller may have\n",
        ),
        (
            &["--app", "acme", "--ttl", "5"],
            1,
            "/ttl: must be more than the 5 seconds that `iat` is set back\n",
        ),
        (
            &["--app", "acme", "--attribute", "room=1", "--email", "x"],
            1,
            "/userEmail: must be an email address\n/attributes/room: the tokens of the profile `support-widget` do not carry this; leave it out\n",
        ),
    ] {
        let ran = folder.run(&[&["token", "issue"], arguments].concat());
        assert_eq!(
            (ran.code, ran.stderr.as_str(), ran.stdout.as_str()),
            (code, message, "")
        );
    }
}

#[test]
fn token_inspect_says_what_is_wrong_with_a_token() {
    let folder = Folder::small();
    // Far ahead of any test's day.
    let (past, future) = (1_000_000_000, 4_000_000_000_i64);
    for (token, problem) in [
        (
            sign(
                &json!({"tenantId": "ten_acme", "iat": past, "exp": past + 60}),
                ACME_SECRET,
            ),
            "it expired ",
        ),
        (
            sign(
                &json!({"tenantId": "ten_other", "iat": past, "exp": future}),
                ACME_SECRET,
            ),
            "`tenantId` is not the client ID of app `acme`",
        ),
        (
            sign(&json!({"tenantId": "ten_acme", "iat": past}), ACME_SECRET),
            "there is no `exp`: it would be valid for ever",
        ),
        (
            sign(&json!({"iat": past, "exp": "4000000000"}), ACME_SECRET),
            "`exp` is not a whole number of seconds",
        ),
        (
            sign(&json!({"iat": future - 1, "exp": future}), ACME_SECRET),
            "seconds ahead of this clock",
        ),
        (
            sign(
                &json!({"iat": past, "exp": future}),
                "another secret of thirty-two bytes or so",
            ),
            "no configured key made this signature",
        ),
    ] {
        let ran = folder.run_with(&["token", "inspect", "-"], &[], &format!("{token}\n"));
        assert_eq!(ran.code, 1, "{problem}");
        let json = ran.json();
        assert_eq!(json["valid"], false);
        let problems = json["problems"].to_string();
        assert!(problems.contains(problem), "{problems}");
    }
    let good = sign(
        &json!({"tenantId": "ten_acme", "iat": past, "exp": future}),
        ACME_SECRET,
    );
    let ran = folder.run(&["token", "inspect", &good]);
    let json = ran.json();
    assert_eq!(
        (ran.code, &json["valid"], &json["app"]),
        (0, &json!(true), &json!("acme"))
    );
    let ran = folder.run(&["token", "inspect", "not-a-token"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (
            1,
            "this is not a JWT: it wants three base64url parts with dots between them\n"
        )
    );
}

#[test]
fn token_explain_names_the_rules_and_signs_nothing() {
    let folder = Folder::small();
    let explain =
        |request: &str| folder.run_with(&["token", "explain", "--caller", "shop"], &[], request);
    let ran = explain(r#"{"userId":"usr_1","userRoles":["user"]}"#);
    let json = ran.json();
    assert_eq!(
        (ran.code, &json["decision"], &json["app"]),
        (0, &json!("allowed"), &json!("acme"))
    );
    assert!(!ran.stdout.contains("eyJ"));

    let ran = explain(r#"{"userId":"usr_1","userRoles":["user","admin"]}"#);
    let json = ran.json();
    assert_eq!((ran.code, &json["decision"]), (1, &json!("refused")));
    assert_eq!(json["errors"][0]["pointer"], "/userRoles/1");
    let verdict = |rule: &str, verdict: &str| {
        let rules = json["rules"].as_array().unwrap();
        rules
            .iter()
            .any(|it| it["rule"] == rule && it["verdict"] == verdict)
    };
    assert!(verdict("roles", "allowed") && verdict("roles", "refused"));
    assert!(verdict("apps", "filled") && verdict("ttl", "filled"));

    let ran = explain("{");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(
        ran.stderr
            .starts_with("the body is not valid JSON at line 1"),
        "{}",
        ran.stderr
    );
    let ran = folder.run(&["token", "explain", "--caller", "nobody"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (2, "error: there is no caller `nobody`; there are shop\n")
    );
}

#[test]
fn the_schema_is_json_schema() {
    let ran = run(&["schema"], &[], "");
    let schema = ran.json();
    assert_eq!(ran.code, 0);
    assert_eq!(schema["title"], "signet");
    for table in [
        "server", "admin", "apps", "callers", "limits", "profiles", "log",
    ] {
        assert!(schema["properties"][table].is_object(), "{table}");
    }
}

#[test]
fn help_is_everywhere_and_wrong_usage_is_2() {
    for command in [
        &[][..],
        &["serve"],
        &["dev"],
        &["check"],
        &["healthcheck"],
        &["key"],
        &["key", "new"],
        &["secret"],
        &["secret", "new"],
        &["token"],
        &["token", "issue"],
        &["token", "inspect"],
        &["token", "explain"],
        &["schema"],
    ] {
        let ran = run(&[command, &["--help"]].concat(), &[], "");
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{command:?}");
        assert!(ran.stdout.contains("Usage: signet"), "{}", ran.stdout);
    }
    let ran = run(&["--version"], &[], "");
    assert_eq!(
        ran.stdout,
        format!("signet {}\n", env!("CARGO_PKG_VERSION"))
    );
    for wrong in [
        &[][..],
        &["frobnicate"],
        &["serve", "--prot", "80"],
        &["key", "new"],
        &["token", "issue"],
    ] {
        let ran = run(wrong, &[], "");
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{wrong:?}");
        assert!(ran.stderr.contains("Usage: signet"), "{}", ran.stderr);
    }
}

#[test]
fn a_healthcheck_of_nothing_fails() {
    // A port that was free a moment ago and that nobody was told of.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let admin = format!("127.0.0.1:{port}");
    let ran = Folder::small().run_with(&["healthcheck"], &[("SIGNET__ADMIN__LISTEN", &admin)], "");
    assert_eq!(ran.code, 1);
    let start = format!("nothing answers at {admin}: ");
    assert!(ran.stderr.starts_with(&start), "{}", ran.stderr);
}

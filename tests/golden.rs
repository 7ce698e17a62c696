//! The exact tokens of the built-in profiles and the recipes: a change of shape shows in review as a diff of `tests/golden/*.json`.
//!
//! `UPDATE_GOLDEN=1 cargo test --test golden` writes the files anew. All three apps sign without dice
//! (HS256, EdDSA), so that even the compact tokens stay the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use signet::clock::{Clock, Timestamp};
use signet::config::Environment;
use signet::http::Snapshot;
use signet::secrets::{Secret, Variables};
use signet::service::Sources;
use signet::signing::UnverifiedToken;
use signet::token::{Asked, Dice, mint};

/// 2026-11-20T12:00:00Z.
const NOW: Timestamp = Timestamp::from_seconds(1_795_176_000);
const DICE: Dice = Dice {
    token_id: *b"0123456789abcdef",
    jitter: 128,
};

#[test]
fn support_widget_tokens_are_the_golden_ones() {
    compare(
        "support-widget",
        &[
            (
                "full",
                json!({
                    "tenantId": "ten_acme", "userId": "usr_1", "userEmail": "zoe@example.com",
                    "userRoles": ["user", "agent"], "plan": "pro", "ttl": 900,
                }),
            ),
            ("minimal", json!({ "userId": "usr_1" })),
            (
                "no roles at all",
                json!({ "userId": "usr_1", "userRoles": [] }),
            ),
            (
                "hostile",
                json!({
                    "userId": "${user.email}\",\"role\":\"admin\"}", "userEmail": "zoë+${plan}@exämple.com",
                    "userRoles": ["${user.id}", "\\u0022", "a,b", "👩🏽👍", "日本語"],
                    "plan": "'\\\"</script>{{plan}}%00$(id)",
                }),
            ),
        ],
    );
}

#[test]
fn kore_tokens_are_the_golden_ones() {
    compare(
        "kore",
        &[
            (
                "full",
                json!({
                    "clientId": "cs-1e2f3a4b", "identity": "usr_1", "isAnonymous": false,
                    "attributes": { "identityToMerge": "anon_1" }, "ttl": 900,
                }),
            ),
            ("minimal", json!({ "identity": "usr_1" })),
            ("anonymous", json!({ "isAnonymous": true })),
            (
                "hostile",
                json!({
                    "identity": "${token.id}\",\"isAnonymous\":true,\"x\":\"",
                    "attributes": { "identityToMerge": { "${user.id}": ["${json}", "\\", "😀", 1.5, false] } },
                }),
            ),
        ],
    );
}

#[test]
fn oauth_tokens_are_the_golden_ones() {
    compare(
        "oauth",
        &[
            (
                "full",
                json!({
                    "clientId": "acme-api", "userId": "usr_1", "email": "zoe@example.com",
                    "roles": ["reader", "writer"], "ttl": 900,
                }),
            ),
            ("minimal", json!({ "userId": "usr_1" })),
            (
                "hostile",
                json!({
                    "userId": "https://tokens.example.com\\\"${app.issuer}", "email": "\u{1d51e}@b.co",
                    "roles": ["${user.roles?}", "[\"admin\"]", "Ångström"],
                }),
            ),
        ],
    );
}

#[test]
fn every_built_in_profile_has_golden_tokens() {
    let profiles = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/profiles");
    for profile in fs::read_dir(profiles).unwrap() {
        let golden = folder()
            .join(profile.unwrap().file_name())
            .with_extension("json");
        assert!(golden.exists(), "{} is missing", golden.display());
    }
}

#[test]
fn the_tokens_of_every_recipe_are_the_golden_ones() {
    let full = |more: Value| {
        let mut request = json!({ "userId": "usr_1" });
        for (name, value) in more.as_object().unwrap() {
            request[name] = value.clone();
        }
        request
    };
    let email = json!({ "userEmail": "zoe@example.com" });
    let named = json!({ "attributes": { "name": "Zoë" } });
    let cases = [
        ("ably", json!({}), json!({})),
        ("centrifugo", json!({}), named.clone()),
        ("intercom", email.clone(), json!({ "plan": "pro" })),
        (
            "livekit",
            json!({ "attributes": { "room": "standup" } }),
            json!({ "attributes": { "room": "standup", "name": "Zoë", "metadata": "{}" }, "ttl": 600 }),
        ),
        ("stream-chat", json!({}), json!({ "ttl": 600 })),
        (
            "support-widget-session",
            json!({}),
            json!({
                "tenantId": "ten_acme", "userEmail": "zoe@example.com", "userRoles": ["user"], "plan": "pro",
                "attributes": { "integrationId": "int_1" },
            }),
        ),
        ("twilio", json!({}), json!({ "ttl": 600 })),
        ("zendesk", email, named),
    ];
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/recipes");
    assert_eq!(fs::read_dir(&recipes).unwrap().count(), cases.len());
    for (recipe, minimal, more) in cases {
        let text = fs::read_to_string(recipes.join(format!("{recipe}.toml"))).unwrap();
        let (snapshot, app) = recipe_snapshot(&text);
        let requests = [("minimal", full(minimal)), ("full", full(more))];
        compare_with(&snapshot, &app, &format!("recipes/{recipe}"), &requests);
    }
}

/// The service's state with a recipe and the app that its comment shows.
fn recipe_snapshot(recipe: &str) -> (Snapshot, String) {
    let example: Vec<&str> = recipe
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .skip_while(|line| !line.starts_with("[apps."))
        .collect();
    let app = example[0]
        .trim_start_matches("[apps.")
        .trim_end_matches(']');
    let variable = recipe
        .split("env = \"")
        .nth(1)
        .expect("a recipe as recipes are");
    let variable = variable
        .split('"')
        .next()
        .expect("a recipe as recipes are")
        .to_owned();
    let config = format!(
        "{}\n{recipe}\n[server]\nrequire_https = false\n[callers.shop]\nkey_sha256 = [\"{}\"]\n\
         apps = [\"{app}\"]\nroles = [\"*\"]\nplans = [\"*\"]\nattributes = [\"*\"]\n",
        example.join("\n"),
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    );
    let folder = tempfile::tempdir().expect("a recipe as recipes are");
    let file = folder.path().join("signet.toml");
    fs::write(&file, config).expect("a recipe as recipes are");
    let secret = Secret::from("golden-recipe:kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE");
    (load(file, [(variable, secret)].into()), app.to_owned())
}

/// Holds what the app named like its profile makes of every request against its file.
fn compare(profile: &str, requests: &[(&str, Value)]) {
    compare_with(&snapshot(), profile, profile, requests);
}

fn compare_with(snapshot: &Snapshot, app: &str, file: &str, requests: &[(&str, Value)]) {
    let made: BTreeMap<&str, Value> = requests
        .iter()
        .map(|(name, request)| (*name, made(snapshot, app, request)))
        .collect();
    let made = format!("{:#}\n", json!(made));
    let file = folder().join(format!("{file}.json"));
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch for whoever runs the tests"
    )]
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, made).expect("the file can be written");
    } else {
        let golden = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            made == golden,
            "{} differs; if that is meant, run again with UPDATE_GOLDEN=1 and read the diff.\n{made}",
            file.display()
        );
    }
}

fn made(snapshot: &Snapshot, app: &str, request: &Value) -> Value {
    let policy = &snapshot
        .callers
        .find("shop")
        .expect("the caller is there")
        .policy;
    let mut named = request.clone();
    named["app"] = app.into();
    let body = named.to_string();
    let (asked, faults) = Asked::parse(body.as_bytes()).expect("JSON");
    let app = policy
        .choose_app(&asked, &mut ())
        .expect("it is the caller's");
    let grant = policy
        .decide(app, asked, faults, || "anon_1".to_owned(), &mut ())
        .expect("everything is allowed");
    let minted = mint(app, &grant, Some("shop"), DICE, NOW).expect("the key signs");

    let token = minted.token.expose();
    let parts = UnverifiedToken::parse(token).expect("a token");
    let key = app.active_key(NOW).expect("a key");
    assert_eq!(key.verify(token).as_ref(), Ok(&parts.claims));
    let answer: Value = serde_json::from_slice(&minted.answer).expect("an answer is JSON");
    json!({
        "request": request,
        "header": parts.header,
        "claims": parts.claims,
        "answer": answer,
    })
}

/// The service's state as `tests/golden/signet.toml` and the built-in profiles say.
fn snapshot() -> Snapshot {
    let secrets = [
        (
            "WIDGET_SECRET",
            "golden-widget:kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE",
        ),
        ("BOT_SECRET", "golden-bot:Zx4cV8bN2mQ6wE9rT1yU5iO3pA7sD0fG"),
    ];
    let variables = secrets.map(|(name, text)| (name.to_owned(), Secret::from(text)));
    load(folder().join("signet.toml"), variables.into())
}

fn load(file: PathBuf, variables: BTreeMap<String, Secret>) -> Snapshot {
    let sources = Sources::new(
        Some(file),
        Environment::default(),
        Variables::Given(variables),
        Clock::fixed(NOW),
    );
    match sources.load(None) {
        Ok(loaded) => loaded.snapshot,
        Err(problems) => panic!("{problems}"),
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

//! No secret, key or token is ever in the output: all of it is swept for all of them.

use std::path::Path;
use std::process::Command;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::json;

use crate::running::{Folder, Serving, body, run};

const ACME_SECRET: &str = "kR9vQ2mXz7+pT4wY8s/nC6dF~H3jK5aE";
const BOT_SECRET: &str = "Zt4xW8qLr2NvB6mKc9JhG3fDs7PaY5uE";
/// Written in base64; the bytes are secret as well.
const ENCODED_SECRET: &str = "cFE3blYza1g5c0xkMlJ3VHo2SHlCOG1KZjRHY0E1dUU=";
const SESSION_SECRET: &str = "Hn5rT8wKq3VxZ7mLb2PcD9sJf6GyA4uE";
const SHOP_KEY: &str = "sgn_shop-7hT2mXz9LpQ4wY8sBnC6vK3j";
const DESK_KEY: &str = "sgn_desk-5fG8hJ2kL4mN6bV9cX1zQ3wE";
const WRONG_KEY: &str = "sgn_wrong-3kJ9vB5nM1cX7zL2qW8eR4t";
const REDIS_PASSWORD: &str = "Jd8sK2mX7vQ4wL9pT6yB3nR5";
const COOKIE: &str = "sid-wB6vN2mK8xZ4cL9qT7rY3pHd5Gj";
const RSA_KEY: &str = include_str!("../keys/rsa2048.pkcs8.pem");

const CONFIGURATION: &str = r#"
[server]
listen = "127.0.0.1:0"
require_https = false
max_body = "1KiB"
trusted_proxies = ["127.0.0.1"]
[admin]
listen = "127.0.0.1:0"
[limits]
failed_auth = { rate = 1, per = "1h", burst = 4 }
per_user = { rate = 1, per = "1h", burst = 3 }
store = { redis = { env = "REDIS_URL" }, on_outage = "local" }

[apps.acme]
profile = "support-widget"
client_id = "ten_acme"
secret = { env = "ACME_SECRET" }
[apps.acme.browser]
origins = ["https://app.example.com"]
[apps.acme.browser.session]
resolver = "introspect"
url = "http://127.0.0.1:1/session"
identity = { user_id = "/id" }

[apps.bot]
profile = "kore"
client_id = "cs-1"
secret = { file = "bot.secret" }
[apps.bot.browser]
origins = ["https://app.example.com"]
[apps.bot.browser.session]
resolver = "jwt"
cookie = "session"
secret = { env = "SESSION_SECRET" }
issuer = "https://login.example.com"
audience = "https://app.example.com"
algorithms = ["HS256"]

[apps.encoded]
profile = "support-widget"
client_id = "ten_encoded"
secret = { env = "ENCODED_SECRET", encoding = "base64" }

[apps.rsa]
profile = "kore"
client_id = "cs-rsa"
algorithm = "RS256"
private_key = { env = "RSA_KEY" }

[callers.shop]
key = { env = "SHOP_KEY" }
apps = ["acme", "bot", "encoded", "rsa"]
roles = ["user"]
[callers.desk]
key_sha256 = ["DESK_HASH"]
apps = ["acme"]
"#;

/// What must not be found, in every form in which it could be.
struct Sweep(Vec<(String, Vec<String>)>);

impl Sweep {
    fn of(secrets: &[(&str, &[u8])]) -> Self {
        let forms = |(name, secret): &(&str, &[u8])| ((*name).to_owned(), forms(secret));
        Self(secrets.iter().map(forms).collect())
    }

    fn and(mut self, name: &str, secret: &str) -> Self {
        self.0.push((name.to_owned(), forms(secret.as_bytes())));
        self
    }

    /// The names of the secrets that the text gives away.
    fn found_in(&self, text: &str) -> Vec<&str> {
        let given_away = self
            .0
            .iter()
            .filter(|(_, forms)| forms.iter().any(|form| text.contains(form.as_str())));
        given_away.map(|(name, _)| name.as_str()).collect()
    }

    #[track_caller]
    fn finds_nothing_in(&self, what: &str, text: &str) {
        assert_eq!(self.found_in(text), [""; 0], "in {what}:\n{text}");
    }
}

fn forms(secret: &[u8]) -> Vec<String> {
    let mut forms = vec![hex(secret), hex(secret).to_uppercase()];
    for engine in [STANDARD, URL_SAFE] {
        // In a longer text a secret begins at any of three places of base64's groups; the characters
        // at its ends then hold bits of its neighbours, and padding may or may not follow.
        for before in 0..3 {
            let encoded = engine.encode([&vec![0; before], secret].concat());
            let whole = encoded.trim_end_matches('=');
            let cut = (before * 8).div_ceil(6);
            forms.push(whole[cut..whole.len() - 1].to_owned());
        }
    }
    let bytes = secret.iter().map(u8::to_string).collect::<Vec<_>>();
    forms.push(bytes.join(", "));
    forms.push(bytes.join(","));
    if let Ok(text) = std::str::from_utf8(secret) {
        forms.push(text.to_owned());
        forms.push(form_urlencoded::byte_serialize(secret).collect());
        let percent = |byte: &u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(*byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        };
        forms.push(secret.iter().map(percent).collect());
        let json = serde_json::to_string(text).unwrap();
        forms.push(json.trim_matches('"').to_owned());
    }
    forms
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The longest lines of a PEM text: each alone gives the key away.
fn pem_lines(pem: &str) -> impl Iterator<Item = &str> {
    pem.lines().filter(|line| line.len() == 64)
}

fn everything() -> Sweep {
    let sweep = Sweep::of(&[
        ("acme's secret", ACME_SECRET.as_bytes()),
        ("bot's secret", BOT_SECRET.as_bytes()),
        ("the encoded secret", ENCODED_SECRET.as_bytes()),
        (
            "the decoded secret",
            &STANDARD.decode(ENCODED_SECRET).unwrap(),
        ),
        ("the session secret", SESSION_SECRET.as_bytes()),
        ("shop's key", SHOP_KEY.as_bytes()),
        ("desk's key", DESK_KEY.as_bytes()),
        ("a wrong key", WRONG_KEY.as_bytes()),
        ("the store's password", REDIS_PASSWORD.as_bytes()),
        ("a cookie", COOKIE.as_bytes()),
    ]);
    pem_lines(RSA_KEY).fold(sweep, |sweep, line| sweep.and("the private key", line))
}

/// A token's text, and its signature alone.
fn with_token(sweep: Sweep, name: &str, token: &str) -> Sweep {
    let signature = token.rsplit('.').next().unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut sweep = sweep.and(name, token).and(name, signature);
    sweep.0.push((name.to_owned(), forms(&bytes)));
    sweep
}

fn session(expires: i64) -> String {
    let claims = json!({
        "iss": "https://login.example.com", "aud": "https://app.example.com", "sub": "usr_9",
        "exp": expires,
    });
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SESSION_SECRET.as_bytes());
    format!(
        "{signed}.{}",
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()))
    )
}

const VARIABLES: &[(&str, &str)] = &[
    ("ACME_SECRET", ACME_SECRET),
    ("ENCODED_SECRET", ENCODED_SECRET),
    ("SESSION_SECRET", SESSION_SECRET),
    ("SHOP_KEY", SHOP_KEY),
    ("RSA_KEY", RSA_KEY),
    // Nothing listens there.
    ("REDIS_URL", "redis://:Jd8sK2mX7vQ4wL9pT6yB3nR5@127.0.0.1:1"),
    ("SIGNET__LOG__LEVEL", "trace"),
];

fn folder() -> Folder {
    let desk = signet::caller::KeyDigest::of(DESK_KEY.as_bytes()).to_hex();
    let folder = Folder::with(&CONFIGURATION.replace("DESK_HASH", &desk));
    folder.write("bot.secret", BOT_SECRET);
    folder
}

/// Asks in every way that succeeds; gives the answers with their tokens.
fn succeed(serving: &Serving) -> Vec<(String, String)> {
    let post = |authorization: &str, body: &str| {
        let head = format!(
            "POST /token HTTP/1.1\r\nAuthorization: {authorization}\r\nContent-Type: application/json"
        );
        serving.ask(&head, body)
    };
    let bearer = format!("Bearer {SHOP_KEY}");
    let basic = format!("Basic {}", STANDARD.encode(format!("shop:{SHOP_KEY}")));
    let cookie = format!("Cookie: session={}", session(4_000_000_000));
    let mut answers = vec![
        post(
            &bearer,
            r#"{"app":"acme","userId":"usr_1","userRoles":["user"]}"#,
        ),
        post(&basic, r#"{"app":"bot","userId":"usr_2"}"#),
        post(&bearer, r#"{"app":"encoded","userId":"usr_3"}"#),
        post(&bearer, r#"{"app":"rsa","userId":"usr_4"}"#),
        post(&format!("Bearer {DESK_KEY}"), r#"{"userId":"usr_5"}"#),
        serving.ask(&format!("GET /apps/bot/token HTTP/1.1\r\n{cookie}"), ""),
    ];
    let secret = format!("clientId=cs-1&clientSecret={BOT_SECRET}&identity=usr_9");
    let form = "Content-Type: application/x-www-form-urlencoded";
    let head = format!("POST /apps/bot/token HTTP/1.1\r\n{cookie}\r\n{form}");
    answers.push(serving.ask(&head, &secret));
    answers
        .into_iter()
        .map(|answer| {
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            let json = body(&answer);
            let token = json
                .get("token")
                .or(json.get("jwt"))
                .unwrap()
                .as_str()
                .unwrap();
            (token.to_owned(), answer)
        })
        .collect()
}

/// Asks in every way that is refused; gives the answers.
fn be_refused(serving: &Serving) -> Vec<String> {
    let post = |path: &str, headers: &str, body: &str| {
        serving.ask(&format!("POST {path} HTTP/1.1\r\n{headers}"), body)
    };
    let json = "Content-Type: application/json";
    let key = format!("Authorization: Bearer {SHOP_KEY}");
    let keyed = format!("{key}\r\n{json}");
    let old = format!("Cookie: session={}", session(1_000_000_000));
    let forged = format!("Cookie: session={}A", session(4_000_000_000));
    let live = format!("Cookie: session={}", session(4_000_000_000));
    let cookie = format!("Cookie: sid={COOKIE}");
    let basic = STANDARD.encode(format!("shop:{WRONG_KEY}"));
    let mut answers = vec![
        // Secrets where they don't belong; not as user IDs, which the audit trail is there to keep.
        post(
            "/token",
            &keyed,
            &format!(r#"{{"userId":"u","clientSecret":"{ACME_SECRET}","key":["{SHOP_KEY}"]}}"#),
        ),
        post(
            "/token",
            &keyed,
            &format!(r#"{{"app":"{ACME_SECRET}","userId":"u"}}"#),
        ),
        post(
            "/token",
            &keyed,
            &format!(r#"{{"tenantId":"{BOT_SECRET}","userId":"u"}}"#),
        ),
        post(
            "/token",
            &keyed,
            &format!(r#"{{"app":"acme","userId":"u","plan":"{ACME_SECRET}"}}"#),
        ),
        post(
            "/token",
            &keyed,
            &format!(r#"{{"app":"acme","userId":"u","userRoles":["{SHOP_KEY}"]}}"#),
        ),
        post("/token", &keyed, &format!("{ACME_SECRET}{{")),
        post("/token", &key, &format!("client_secret={SHOP_KEY}")),
        post("/token", &format!("{key}\r\nContent-Type: {SHOP_KEY}"), "x"),
        post(&format!("/token/{SHOP_KEY}"), json, ""),
        post(&format!("/apps/{SHOP_KEY}/token?key={SHOP_KEY}"), json, ""),
        post(
            "/apps/bot/token",
            &format!("{live}\r\n{json}"),
            &format!(r#"{{"identity":"{BOT_SECRET}"}}"#),
        ),
        post(
            "/apps/bot/token",
            &format!("{live}\r\n{json}"),
            &format!(r#"{{"clientId":"{BOT_SECRET}"}}"#),
        ),
        post(
            "/apps/bot/token",
            &format!("Origin: https://{SHOP_KEY}\r\n{live}"),
            "",
        ),
        post("/apps/bot/token", &old, ""),
        post("/apps/bot/token", &forged, ""),
        post(
            "/apps/bot/token",
            &format!("Authorization: Bearer {}", session(4_000_000_000)),
            "",
        ),
        post("/apps/acme/token", &cookie, ""),
        post("/token", &keyed, &"x".repeat(2000)),
        serving.ask(&format!("PUT /token HTTP/1.1\r\n{key}"), ""),
        serving.ask(
            &format!("GET /token HTTP/1.1\r\n{key}\r\nX-Request-Id: {SHOP_KEY} x"),
            "",
        ),
        serving.ask(
            &format!("POST /token HTTP/1.1\r\nHost: second.example.com\r\n{keyed}"),
            "",
        ),
    ];
    // The limits last: a user's, then the wrong keys'.
    for _ in 0..4 {
        answers.push(post(
            "/token",
            &keyed,
            r#"{"app":"acme","userId":"usr_often"}"#,
        ));
    }
    let spent = answers.pop().unwrap();
    answers.truncate(answers.len() - 3);
    answers.push(spent);
    for wrong in [
        format!("Bearer {WRONG_KEY}"),
        format!("Basic {basic}"),
        format!("Digest {WRONG_KEY}"),
        WRONG_KEY.to_owned(),
        format!("Bearer {WRONG_KEY}"),
        format!("Bearer {SHOP_KEY}"),
    ] {
        answers.push(post(
            "/token",
            &format!("Authorization: {wrong}\r\n{json}"),
            "{}",
        ));
    }
    for answer in &answers {
        assert!(
            answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5"),
            "{answer}"
        );
    }
    answers
}

#[test]
fn a_run_at_trace_gives_nothing_away() {
    let folder = folder();
    let mut serving = folder.serve_with(VARIABLES);
    let issued = succeed(&serving);
    let refused = be_refused(&serving);
    let told = ["/metrics", "/readyz", "/livez", "/whoami"].map(|path| serving.ask_admin(path));

    // Reloads, a good and a bad one.
    folder.write("bot.secret", "Rn6yT3wKq8VxZ2mLb7PcD4sJf9GyA5uE");
    serving.signal("HUP");
    serving.wait_for("reloaded the configuration");
    let weak = "change-me-change-me-3kJ9vB5nM1cX7z";
    folder.write("bot.secret", weak);
    serving.signal("HUP");
    serving.wait_for("not reloaded");
    serving.signal("TERM");
    let (code, stderr) = serving.wait();
    assert_eq!(code, Some(0));
    let log = serving.log.join("\n");
    assert!(
        log.contains("\"level\":\"WARN\"") && log.contains("clientSecret"),
        "{log}"
    );

    let mut sweep = everything()
        .and("the next secret", "Rn6yT3wKq8VxZ2mLb7PcD4sJf9GyA5uE")
        .and("the weak secret", weak);
    for expires in [1_000_000_000, 4_000_000_000] {
        sweep = with_token(sweep, "a session", &session(expires));
    }
    for (token, _) in &issued {
        sweep = with_token(sweep, "an issued token", token);
    }
    sweep.finds_nothing_in("the log", &log);
    sweep.finds_nothing_in("standard error", &stderr);
    for answer in told {
        sweep.finds_nothing_in("an admin answer", &answer);
    }
    for (token, answer) in &issued {
        // The one place where it may stand.
        assert_eq!(answer.matches(token.as_str()).count(), 1);
        sweep.finds_nothing_in("an answer", &answer.replace(token.as_str(), ""));
    }
    for answer in refused {
        sweep.finds_nothing_in("a refusal", &answer);
    }
}

#[test]
fn commands_on_broken_secrets_give_nothing_away() {
    let sweep = everything();
    let good = folder();
    let base = std::fs::read_to_string(good.path("signet.toml")).unwrap();
    let path = |name: &str| good.path(name).to_str().unwrap().to_owned();
    let pasted = [
        // The secret itself where its name belongs, and everywhere else that a tired hand may put it.
        (r#"{ env = "ACME_SECRET" }"#, format!("\"{ACME_SECRET}\"")),
        (
            r#"{ env = "ACME_SECRET" }"#,
            format!("{{ env = \"{ACME_SECRET}\" }}"),
        ),
        (
            r#"{ env = "ACME_SECRET" }"#,
            format!("{{ file = \"{ACME_SECRET}\" }}"),
        ),
        (
            r#"{ env = "ACME_SECRET" }"#,
            format!("{{ \"{ACME_SECRET}\" = true }}"),
        ),
        (
            r#"{ env = "ACME_SECRET" }"#,
            format!("{{ env = \"ACME_SECRET\", encoding = \"{ACME_SECRET}\" }}"),
        ),
        (
            r#"{ env = "ACME_SECRET" }"#,
            format!("{{ env = [\"{ACME_SECRET}\"] }}"),
        ),
        (
            r#"{ env = "ACME_SECRET" }"#,
            r#"{ env = "ENCODED_SECRET", encoding = "hex" }"#.to_owned(),
        ),
        (
            r#"{ env = "ACME_SECRET" }"#,
            r#"{ file = "bot.secret" }"#.to_owned(),
        ),
        (
            r#"{ env = "ACME_SECRET" }"#,
            r#"{ env = "SHOP_KEY" }"#.to_owned(),
        ),
        (
            r#"{ env = "ACME_SECRET" }"#,
            r#"{ env = "RSA_KEY" }"#.to_owned(),
        ),
        (
            r#"{ env = "RSA_KEY" }"#,
            r#"{ env = "ACME_SECRET" }"#.to_owned(),
        ),
        (
            r#"key = { env = "SHOP_KEY" }"#,
            format!("key = \"{SHOP_KEY}\""),
        ),
        (
            r#"key = { env = "SHOP_KEY" }"#,
            format!("key_sha256 = [\"{SHOP_KEY}\"]"),
        ),
        (
            r#"{ env = "REDIS_URL" }"#,
            format!("\"redis://:{REDIS_PASSWORD}@127.0.0.1:1\""),
        ),
        (
            r#"{ env = "REDIS_URL" }"#,
            r#"{ env = "ACME_SECRET" }"#.to_owned(),
        ),
        (
            r#"{ env = "SESSION_SECRET" }"#,
            format!("\"{SESSION_SECRET}\""),
        ),
    ];
    for (place, mistake) in pasted {
        assert!(base.contains(place), "{place}");
        good.write("signet.toml", &base.replace(place, &mistake));
        for command in ["check", "serve"] {
            let ran = good.run_with(&[command], VARIABLES, "");
            assert_eq!(ran.code, 1, "{mistake} is taken");
            sweep.finds_nothing_in(&mistake, &format!("{}\n{}", ran.stdout, ran.stderr));
        }
    }
    good.write("signet.toml", &base);
    let broken = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n",
        RSA_KEY.lines().nth(1).unwrap()
    );
    for (name, value) in [
        ("ACME_SECRET", &ACME_SECRET[..20]),
        ("RSA_KEY", &broken),
        ("SHOP_KEY", &SHOP_KEY[..20]),
        ("SHOP_KEY", DESK_KEY),
        ("SIGNET__APPS__ACME__SECRET", ACME_SECRET),
        ("SIGNET__APPS__ACME__PROFILE", ACME_SECRET),
        ("SIGNET_CLIENT_SECRET", ACME_SECRET),
    ] {
        let variables = [VARIABLES, &[(name, value)]].concat();
        let ran = good.run_with(&["check"], &variables, "");
        assert_eq!(ran.code, 1, "{name} is taken");
        let sweep = everything().and("a part of it", value);
        // A profile's name is no secret, and is told where it is unknown.
        if name != "SIGNET__APPS__ACME__PROFILE" {
            sweep.finds_nothing_in(name, &format!("{}\n{}", ran.stdout, ran.stderr));
        }
    }
    let ran = good.run_with(
        &["token", "explain", "--caller", "shop"],
        VARIABLES,
        r#"{"app":"acme","userId":"u"}"#,
    );
    assert_eq!(ran.code, 0);
    sweep.finds_nothing_in("explain", &ran.stdout);
    let ran = run(
        &["check"],
        &[("SIGNET_CLIENT_SECRET_FILE", &path("bot.secret"))],
        "",
    );
    assert_eq!(ran.code, 1);
    sweep.finds_nothing_in("the smallest deployment", &ran.stderr);
}

/// Run by the test below, in a process of its own: the panic hook is the whole process's.
#[test]
#[ignore = "ends in a panic, as the test below wants it"]
fn a_process_that_panics_over_a_secret() {
    let sink = signet::telemetry::Sink::new(std::io::stdout()).unwrap();
    signet::telemetry::start(
        &sink,
        signet::telemetry::Format::Json,
        tracing::level_filters::LevelFilter::TRACE,
        None,
    )
    .unwrap();
    panic!("the secret is {ACME_SECRET}");
}

#[test]
fn a_panic_is_logged_by_its_place_alone() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "secrets::a_process_that_panics_over_a_secret",
        ])
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(
        said.contains(&format!(
            "a panic at {}",
            Path::new("tests/cli/secrets.rs").display()
        )),
        "{said}"
    );
    everything().finds_nothing_in("a panic", &said);
}

#[test]
fn the_sweep_finds_what_is_there() {
    let sweep = everything();
    let secret = ACME_SECRET.as_bytes();
    let name = "acme's secret";
    for leak in [
        ACME_SECRET.to_owned(),
        STANDARD.encode(secret),
        URL_SAFE.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        // As HTTP Basic would carry it, behind names of every length.
        STANDARD.encode(format!("a:{ACME_SECRET}")),
        STANDARD.encode(format!("ab:{ACME_SECRET}")),
        URL_SAFE_NO_PAD.encode(format!("abc:{ACME_SECRET}, and more")),
        hex(secret),
        hex(secret).to_uppercase(),
        format!("{secret:?}"),
        form_urlencoded::byte_serialize(secret).collect(),
        "kR9vQ2mXz7%2BpT4wY8s%2FnC6dF~H3jK5aE".to_owned(),
    ] {
        let line = json!({"message": leak}).to_string();
        assert_eq!(sweep.found_in(&line), [name], "{leak}");
    }
    assert_eq!(sweep.found_in(r#"{"message":"nothing here"}"#), [""; 0]);
    let token = session(4_000_000_000);
    let sweep = with_token(Sweep::of(&[]), "a token", &token);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    assert!(!sweep.found_in(signature).is_empty());
    assert!(sweep.found_in(signed).is_empty());
}

//! No message repeats a secret, wherever it was pasted.

use std::fs;

use super::{folder, load_environment, load_text};

/// What people paste: alike enough to base64, hex, a key in PEM and a passphrase. Each holds `MARK`.
const PASTED: [&str; 5] = [
    "MARKkR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE",
    "MARK/R9vQ2+Xz7LpT4wY8sBnC6dFgH3jK5aE==",
    "-----BEGIN PRIVATE KEY-----\\nMARKkR9vQ2mXz7LpT4wY8sBnC6dF\\n-----END PRIVATE KEY-----\\n",
    "MARK correct horse battery staple",
    "https://user:MARKkR9vQ2mXz7LpT4wY8sBnC6dF@example.com/",
];

/// Two of them, so that every kind comes by in turn.
fn two(index: usize) -> [&'static str; 2] {
    [PASTED[0], PASTED[1 + index % 4]]
}

fn everything() -> String {
    fs::read_to_string(folder("tests/config/good/everything.toml"))
        .expect("it is in the repository")
}

/// Where each quoted string of a TOML text stands, without its quotes.
fn strings(text: &str) -> Vec<std::ops::Range<usize>> {
    let quotes: Vec<_> = text.match_indices('"').map(|(place, _)| place).collect();
    quotes.chunks(2).map(|pair| pair[0] + 1..pair[1]).collect()
}

fn refuse_to_repeat(text: &str, message: &str) {
    assert!(
        !message.contains("MARK"),
        "{message}\nrepeats what was pasted into\n{text}"
    );
}

#[test]
fn a_secret_pasted_in_the_place_of_any_text_is_not_repeated() {
    let text = everything();
    let places = strings(&text);
    assert!(places.len() > 100);
    let mut refused = 0;
    for (index, place) in places.into_iter().enumerate() {
        for pasted in two(index) {
            let mut text = text.clone();
            text.replace_range(place.clone(), pasted);
            if let Err(message) = load_text(&text, &[]) {
                refuse_to_repeat(&text, &message);
                refused += 1;
            }
        }
    }
    assert!(refused > 120, "{refused}");
}

#[test]
fn a_secret_pasted_without_quotes_or_half_quoted_is_not_repeated() {
    let text = everything();
    for (index, place) in strings(&text).into_iter().enumerate() {
        let [first, second] = two(index);
        for (pasted, quotes) in [(first, 1), (second, 0)] {
            let mut text = text.clone();
            let start = place.start - quotes;
            text.replace_range(start..place.end + 1, pasted);
            let message = load_text(&text, &[]).unwrap_err();
            refuse_to_repeat(&text, &message);
        }
    }
}

#[test]
fn a_secret_pasted_in_the_place_of_a_table_number_or_list_is_not_repeated() {
    let text = everything();
    for (index, line) in text.lines().enumerate() {
        let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.contains('"')) else {
            continue;
        };
        for pasted in two(index) {
            let changed: Vec<_> = text
                .lines()
                .enumerate()
                .map(|(at, line)| {
                    if at == index {
                        format!("{key} = \"{pasted}\"")
                    } else {
                        line.to_owned()
                    }
                })
                .collect();
            let text = changed.join("\n");
            if let Err(message) = load_text(&text, &[]) {
                refuse_to_repeat(&text, &message);
            }
        }
    }
}

#[test]
fn a_secret_in_a_variable_is_not_repeated() {
    for path in [
        "SERVER",
        "SERVER__LISTEN",
        "SERVER__MAX_IN_FLIGHT",
        "SERVER__REQUIRE_HTTPS",
        "SERVER__TLS",
        "SERVER__TRUSTED_PROXIES",
        "APPS",
        "APPS__ACME",
        "APPS__ACME__SECRET",
        "APPS__ACME__SECRET__ENV",
        "APPS__ACME__SECRET__VALUE",
        "APPS__ACME__ALGORITHM",
        "APPS__ACME__PROFILE",
        "APPS__DEFAULT__SECRET",
        "CALLERS__SHOP__KEY",
        "CALLERS__SHOP__KEY_SHA256",
        "CALLERS__SHOP__APPS",
        "LIMITS__STORE",
        "LIMITS__STORE__REDIS",
        "UNKNOWN",
    ] {
        for pasted in PASTED {
            let name = format!("SIGNET__{path}");
            let message = load_environment(&[(&name, pasted)]).unwrap_err();
            refuse_to_repeat(&name, &message);
        }
    }
    for name in [
        "SIGNET_CLIENT_SECRET",
        "SIGNET_CLIENT_SECRET_FILE",
        "SIGNET_API_KEY",
        "SIGNET_API_KEY_FILE",
        "SIGNET_PROFILE",
        "SIGNET_PROFILE_FILE",
        "SIGNET_CLIENT_ID_FILE",
    ] {
        for pasted in PASTED {
            let message = load_environment(&[(name, pasted)]).unwrap_err();
            refuse_to_repeat(name, &message);
        }
    }
}

#[test]
fn a_variable_that_holds_a_secret_tells_how_to_name_it() {
    let message = load_environment(&[
        ("SIGNET_CLIENT_ID", "ten"),
        ("SIGNET_API_KEY", "x"),
        ("SIGNET__APPS__DEFAULT__SECRET", PASTED[0]),
        ("SIGNET__SERVER__REQUIRE_HTTPS", "false"),
    ])
    .unwrap_err();
    assert_eq!(
        message,
        "SIGNET__APPS__DEFAULT__SECRET: apps.default.secret: names a secret and never holds one: set SIGNET__APPS__DEFAULT__SECRET__ENV to a variable's name, or SIGNET__APPS__DEFAULT__SECRET__FILE to a path"
    );
}

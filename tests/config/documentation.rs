//! `config/default.toml` is the documentation: it names every setting, and all that it shows is known.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use signet::config;

use super::{folder, load, load_text};

/// Every key that the schema names, wherever it stands.
fn keys(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get("properties") {
                found.extend(properties.keys().cloned());
            }
            members.values().for_each(|member| keys(member, found));
        }
        _ => {}
    }
}

/// A line of the documentation as TOML: an example loses its `# `, prose becomes nothing.
fn example(line: &str) -> &str {
    let Some(shown) = line.strip_prefix("# ") else {
        return line;
    };
    let is_key = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let is_setting = shown
        .split_once(" = ")
        .is_some_and(|(name, _)| is_key(name));
    if shown.starts_with('[') || is_setting {
        shown
    } else {
        ""
    }
}

fn documentation() -> String {
    fs::read_to_string(folder("config/default.toml")).expect("it is in the repository")
}

#[test]
fn the_defaults_alone_lack_only_an_app_and_https() {
    let found = load(&folder("config/default.toml")).unwrap_err();
    let paths: Vec<_> = found
        .lines()
        .map(|line| line.split(": ").nth(1).unwrap())
        .collect();
    assert_eq!(paths, ["server.require_https", "apps"]);
}

#[test]
fn every_setting_is_documented() {
    let mut known = BTreeSet::new();
    keys(&config::schema(), &mut known);
    assert!(known.len() > 60);
    let text = documentation();
    let missing: Vec<_> = known
        .iter()
        .filter(|key| {
            !text.contains(&format!("{key} ="))
                && !text.contains(&format!("{key}]"))
                && !text.contains(&format!("[{key}."))
        })
        .collect();
    assert_eq!(missing, Vec::<&String>::new());
}

#[test]
fn every_documented_setting_is_known() {
    let text: Vec<_> = documentation()
        .lines()
        .map(|line| example(line).to_owned())
        .collect();
    let found = load_text(&text.join("\n"), &[]).unwrap_err();
    // The examples show alternatives side by side, and a placeholder where a SHA-256 belongs; that
    // is all there is to refuse.
    let excluded = [
        "this one has a list of keys",
        "and this one is \"introspect\"",
        "doesn't use such an attribute",
        "callers.shop.key_sha256[0]: must be a SHA-256",
        "callers.shop.oidc: has both jwks_url and jwks_file",
        "secrets.vault: needs exactly one way to log in",
    ];
    let others: Vec<_> = found
        .lines()
        .filter(|line| !excluded.iter().any(|reason| line.contains(reason)))
        .collect();
    assert_eq!(others, Vec::<&str>::new());
    assert_eq!(found.lines().count(), 15);
}

#[test]
fn the_schema_speaks_of_secrets_and_of_what_is_needed() {
    let schema = config::schema();
    let app = &schema["$defs"]["App"];
    assert_eq!(app["required"], serde_json::json!(["profile", "client_id"]));
    assert_eq!(app["additionalProperties"], false);
    assert_eq!(
        schema["$defs"]["Secret"]["properties"]["env"]["type"],
        "string"
    );
    let text = schema.to_string();
    assert!(!text.contains("\"null\""), "TOML has no null");
}

//! What differs between two configurations, said by the paths that operators write.
//!
//! Of a table that names a secret only that it is another is said: people paste the secret itself
//! where its name belongs. What stands behind a URL's `?` isn't shown either.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::checked::Config;
use super::walk::child;

/// The longest text that is shown of a value, in characters.
const SHOWN: usize = 120;

/// One setting that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The setting, such as `apps.acme.token_ttl`; an item of a list of tables by its `id` where it has one.
    pub path: String,
    /// In what it differs, such as `"1h" → "30m"`.
    pub what: String,
}

/// Every setting that differs, defaults and variables included, in the order of their paths. `same_secret` says
/// whether the secret at a path of `old` is that at a path of `new`; `None` where one of them can't be read.
#[must_use]
pub fn changes(
    old: &Config,
    new: &Config,
    same_secret: impl Fn(&str, &str) -> Option<bool>,
) -> Vec<Change> {
    let mut comparison = Comparison {
        secrets: [&old.written.secrets, &new.written.secrets],
        same_secret: &same_secret,
        found: Vec::new(),
    };
    let top = Place::default();
    comparison.compare(&top, Some(&old.written.json), Some(&new.written.json));
    comparison.found
}

/// The merged layers, as far as they were in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Written {
    pub(super) json: Value,
    /// The paths of the tables that name a secret.
    pub(super) secrets: BTreeSet<String>,
}

struct Comparison<'a> {
    /// Of the old one and of the new one.
    secrets: [&'a BTreeSet<String>; 2],
    same_secret: &'a dyn Fn(&str, &str) -> Option<bool>,
    found: Vec<Change>,
}

/// One place by the names of the old one, of the new one, and of the operator.
#[derive(Clone, Default)]
struct Place {
    old: String,
    new: String,
    shown: String,
}

impl Place {
    fn key(&self, key: &str) -> Self {
        Self {
            old: child(&self.old, key),
            new: child(&self.new, key),
            shown: child(&self.shown, key),
        }
    }
}

impl Comparison<'_> {
    fn compare(&mut self, place: &Place, old: Option<&Value>, new: Option<&Value>) {
        let what = match (old, new) {
            (Some(old), Some(new)) if self.is_secret(place) => match self.secret(place, old == new)
            {
                Some(what) => what,
                None => return,
            },
            (Some(Value::Object(old)), Some(Value::Object(new))) => {
                let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
                for key in keys {
                    self.compare(&place.key(key), old.get(key), new.get(key));
                }
                return;
            }
            (Some(Value::Array(old)), Some(Value::Array(new)))
                if old.iter().chain(new).all(Value::is_object) =>
            {
                return self.tables(place, old, new);
            }
            (old, new) if old == new => return,
            (Some(Value::Array(old)), Some(Value::Array(new))) => items(old, new),
            (Some(old), Some(new)) => format!("{} → {}", show(old), show(new)),
            (Some(_), None) => "removed".to_owned(),
            (None, Some(Value::Object(_) | Value::Array(_))) => "added".to_owned(),
            (None, Some(new)) => format!("added: {}", show(new)),
            (None, None) => return,
        };
        self.found.push(Change {
            path: place.shown.clone(),
            what,
        });
    }

    fn is_secret(&self, place: &Place) -> bool {
        self.secrets[0].contains(&place.old) && self.secrets[1].contains(&place.new)
    }

    fn secret(&self, place: &Place, same_name: bool) -> Option<String> {
        let same = (self.same_secret)(&place.old, &place.new);
        let what = match (same_name, same) {
            (true, Some(true) | None) => return None,
            (true, Some(false)) => "the secret itself has changed",
            (false, Some(true)) => "is named otherwise; the secret is the same",
            (false, Some(false)) => "is named otherwise; the secret is another",
            (false, None) => "is named otherwise",
        };
        Some(what.to_owned())
    }

    /// Lists of tables by the tables' `id`, or else by their places.
    fn tables(&mut self, place: &Place, old: &[Value], new: &[Value]) {
        let (old, new) = (by_name(old), by_name(new));
        let all: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for name in all {
            let (was, is) = (old.get(name), new.get(name));
            let index = |item: Option<&(usize, &Value)>| item.map_or(0, |(index, _)| *index);
            let place = Place {
                old: format!("{}[{}]", place.old, index(was)),
                new: format!("{}[{}]", place.new, index(is)),
                shown: child(&place.shown, name),
            };
            self.compare(
                &place,
                was.map(|(_, item)| *item),
                is.map(|(_, item)| *item),
            );
        }
    }
}

fn by_name(items: &[Value]) -> BTreeMap<String, (usize, &Value)> {
    let named = items.iter().enumerate().map(|(index, item)| {
        let id = item.get("id").and_then(Value::as_str);
        let name = id.map_or_else(|| index.to_string(), str::to_owned);
        (name, (index, item))
    });
    named.collect()
}

/// What a list has lost and gained.
fn items(old: &[Value], new: &[Value]) -> String {
    let lost = old.iter().filter(|item| !new.contains(item));
    let gained = new.iter().filter(|item| !old.contains(item));
    let lost = lost.map(|item| format!("-{}", show(item)));
    let changed: Vec<_> = lost
        .chain(gained.map(|item| format!("+{}", show(item))))
        .collect();
    if changed.is_empty() {
        "another order".to_owned()
    } else {
        changed.join(" ")
    }
}

fn show(value: &Value) -> String {
    let text = match value {
        Value::String(text) if text.contains("://") => {
            let plain = text.split_once('?').map(|(plain, _)| format!("{plain}?…"));
            Value::from(plain.unwrap_or_else(|| text.clone())).to_string()
        }
        other => other.to_string(),
    };
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What differs, where the texts at these paths are tables that name secrets.
    fn found(old: &Value, new: &Value, secrets: &[&str], same: Option<bool>) -> Vec<String> {
        let secrets: BTreeSet<_> = secrets.iter().map(|&path| path.to_owned()).collect();
        let mut comparison = Comparison {
            secrets: [&secrets, &secrets],
            same_secret: &|_, _| same,
            found: Vec::new(),
        };
        comparison.compare(&Place::default(), Some(old), Some(new));
        let found = comparison.found.into_iter();
        found
            .map(|it| format!("{}: {}", it.path, it.what))
            .collect()
    }

    #[test]
    fn what_differs_is_said_by_its_path() {
        let old = json!({
            "server": {"max_body": "16KiB", "trusted_proxies": ["10.0.0.0/8", "fd00::/8"]},
            "apps": {"acme": {"token_ttl": "1h"}, "bot": {"profile": "kore"}},
            "callers": {"shop": {"apps": ["acme", "bot"]}},
        });
        let new = json!({
            "server": {"max_body": "8KiB", "trusted_proxies": ["10.1.0.0/16", "fd00::/8"]},
            "apps": {"acme": {"token_ttl": "1h", "audience": "x"}, "a.b": {"profile": "kore"}},
            "callers": {"shop": {"apps": ["bot", "acme"]}},
        });
        assert_eq!(
            found(&old, &new, &[], None),
            [
                "apps.\"a.b\": added",
                "apps.acme.audience: added: \"x\"",
                "apps.bot: removed",
                "callers.shop.apps: another order",
                "server.max_body: \"16KiB\" → \"8KiB\"",
                "server.trusted_proxies: -\"10.0.0.0/8\" +\"10.1.0.0/16\"",
            ]
        );
        assert_eq!(found(&old, &old, &[], None), [""; 0]);
    }

    #[test]
    fn keys_are_told_apart_by_their_ids_and_not_by_their_places() {
        let key = |id: &str, file: &str| json!({"id": id, "secret": {"file": file}});
        let old = json!({"keys": [key("a", "a"), key("b", "b")]});
        let new = json!({"keys": [key("b", "c"), key("d", "d")]});
        assert_eq!(
            found(&old, &new, &["keys[0].secret", "keys[1].secret"], None),
            [
                "keys.a: removed",
                "keys.b.secret: is named otherwise",
                "keys.d: added",
            ]
        );
    }

    #[test]
    fn nothing_is_shown_that_could_be_a_secret() {
        let old =
            json!({"secret": {"env": "hunter2"}, "url": "https://a.example.com/?token=hunter2"});
        let new =
            json!({"secret": {"env": "hunter3"}, "url": "https://b.example.com/?token=hunter3"});
        for (same, expected) in [
            (None, "secret: is named otherwise"),
            (
                Some(true),
                "secret: is named otherwise; the secret is the same",
            ),
            (
                Some(false),
                "secret: is named otherwise; the secret is another",
            ),
        ] {
            let found = found(&old, &new, &["secret"], same);
            assert_eq!(
                found,
                [
                    expected,
                    "url: \"https://a.example.com/?…\" → \"https://b.example.com/?…\""
                ]
            );
        }
        let same_name = |same| found(&old, &old, &["secret"], same);
        assert_eq!(same_name(Some(true)), [""; 0]);
        assert_eq!(
            same_name(Some(false)),
            ["secret: the secret itself has changed"]
        );
    }
}

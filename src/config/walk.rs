//! A walk over the merged layers along the schema: unknown keys, wrong types and what is missing, all at once.
//!
//! It also turns what came from a variable, always text, into what the schema wants there. What came
//! from a file is never turned into anything: `3.9` is not `4`, and `"5"` is not `5`.
//! No message repeats a value.

use std::collections::{BTreeMap, BTreeSet};

use ::config::{Value, ValueKind};
use serde_json::{Map, Value as Json};

use super::changes::Written;
use super::checked::Origins;
use super::environment::variable;
use super::problem::Problem;
use super::shape::Shape;
use super::text::{list, nearest};

const WHAT_NAMES_A_SECRET: &str =
    r#"names a secret and never holds one: write { env = "NAME" } or { file = "/path" }"#;

/// What the walk needs to know and what it finds.
pub(super) struct Walk<'a> {
    schema: &'a Json,
    /// Names that stand as origins of what is compiled in.
    built_in: BTreeSet<&'a str>,
    problems: &'a mut Vec<Problem>,
    origins: Origins,
    /// The paths of the tables that name a secret.
    secrets: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    /// A walk along `schema`. What none of the layers wrote is said to be of `fallback`, and so is
    /// what comes from `built_in`.
    pub(super) fn new(
        schema: &'a Json,
        built_in: impl IntoIterator<Item = &'a str>,
        fallback: &str,
        problems: &'a mut Vec<Problem>,
    ) -> Self {
        Self {
            schema,
            built_in: built_in.into_iter().collect(),
            problems,
            secrets: BTreeSet::new(),
            origins: Origins {
                by_path: BTreeMap::new(),
                fallback: fallback.to_owned(),
            },
        }
    }

    /// Walks `merged` and gives what is left of it as JSON, without what was wrong.
    pub(super) fn run(mut self, merged: &Value) -> (Written, Origins) {
        let json = self.value(self.schema, merged, "");
        let written = Written {
            json: json.unwrap_or_default(),
            secrets: self.secrets,
        };
        (written, self.origins)
    }

    fn value(&mut self, schema: &'a Json, value: &Value, path: &str) -> Option<Json> {
        let shape = Shape::read(self.schema, schema);
        let origin = self.origin(value, path);
        self.origins.by_path.insert(path.to_owned(), origin.clone());
        if shape.secret {
            self.secrets.insert(path.to_owned());
        }
        match &value.kind {
            ValueKind::Table(entries) if shape.table.is_some() => {
                Some(self.table(&shape, entries, path))
            }
            ValueKind::Array(items) if shape.items.is_some() => {
                self.list(shape.items?, items.iter(), path)
            }
            ValueKind::String(text) => self.text(&shape, text, &origin, path),
            ValueKind::Boolean(value) if shape.boolean => Some((*value).into()),
            ValueKind::I64(number) if shape.integer.is_some() => {
                self.integer(&shape, *number, path)
            }
            _ if shape.anything => self.free(value, path),
            kind => {
                self.wrong_type(&shape, kind_name(kind), path);
                None
            }
        }
    }

    fn table(
        &mut self,
        shape: &Shape<'a>,
        entries: &::config::Map<String, Value>,
        path: &str,
    ) -> Json {
        let schema = shape.table.expect("the caller saw that there is one");
        let properties = schema.get("properties").and_then(Json::as_object);
        let others = schema
            .get("additionalProperties")
            .filter(|others| **others != false);
        let mut table = Map::new();
        for (key, value) in entries {
            let place = child(path, key);
            match (properties.and_then(|known| known.get(key)), others) {
                (Some(known), _) => {
                    table.extend(self.value(known, value, &place).map(|v| (key.clone(), v)));
                }
                (None, Some(schema)) => {
                    let found = self.value(schema, value, &place);
                    // A name stays known even when what it names is wrong.
                    let found = found.or_else(|| {
                        let is_table = Shape::read(self.schema, schema).table.is_some();
                        is_table.then(|| Json::Object(Map::new()))
                    });
                    table.extend(found.map(|value| (key.clone(), value)));
                }
                (None, None) => {
                    let known: Vec<_> = properties
                        .into_iter()
                        .flat_map(Map::keys)
                        .map(String::as_str)
                        .collect();
                    self.unknown_key(shape, key, &known, value, path);
                }
            }
        }
        for key in schema
            .get("required")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
        {
            let place = child(path, key);
            if !entries.contains_key(key) && !self.problems.iter().any(|known| known.path == place)
            {
                let meaning = properties
                    .and_then(|known| known.get(key)?.get("description")?.as_str())
                    .map(phrase)
                    .unwrap_or_default();
                self.report(&place, format!("is missing; it is needed: {meaning}"));
            }
        }
        Json::Object(table)
    }

    /// All items, or nothing when one of them is wrong: the places of the others stay true.
    fn list<'v>(
        &mut self,
        schema: &'a Json,
        items: impl Iterator<Item = &'v Value>,
        path: &str,
    ) -> Option<Json> {
        let found: Vec<_> = items
            .enumerate()
            .map(|(index, item)| self.value(schema, item, &format!("{path}[{index}]")))
            .collect();
        found
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .map(Json::from)
    }

    fn text(&mut self, shape: &Shape<'a>, text: &str, origin: &str, path: &str) -> Option<Json> {
        if shape.text || shape.anything || shape.words.contains(&text) {
            return Some(text.into());
        }
        if !shape.words.is_empty() {
            let hint = nearest(text, shape.words.iter().copied())
                .map(|word| format!("; did you mean \"{word}\"?"))
                .unwrap_or_default();
            self.report(path, format!("must be {}{hint}", shape.expected()));
            return None;
        }
        // Only a variable's text stands for something else.
        if !self.is_variable(origin) {
            self.wrong_type(shape, "a string", path);
            return None;
        }
        if shape.boolean {
            match text.to_ascii_lowercase().as_str() {
                "true" => Some(true.into()),
                "false" => Some(false.into()),
                _ => {
                    self.report(path, "must be true or false");
                    None
                }
            }
        } else if shape.integer.is_some() {
            match text.parse() {
                Ok(number) => self.integer(shape, number, path),
                Err(_) => {
                    self.report(path, format!("must be {}", shape.expected()));
                    None
                }
            }
        } else if let Some(schema) = shape.items {
            let items: Vec<_> = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Value::new(Some(&origin.to_owned()), item))
                .collect();
            self.list(schema, items.iter(), path)
        } else {
            self.wrong_type(shape, "text", path);
            None
        }
    }

    fn integer(&mut self, shape: &Shape<'a>, number: i64, path: &str) -> Option<Json> {
        let (least, most) = shape.integer?;
        if (least..=most).contains(&number) {
            return Some(number.into());
        }
        self.report(path, format!("must be {}", shape.expected()));
        None
    }

    /// A tree that no schema describes: a profile's templates.
    fn free(&mut self, value: &Value, path: &str) -> Option<Json> {
        match &value.kind {
            ValueKind::String(text) => Some(text.as_str().into()),
            ValueKind::Boolean(value) => Some((*value).into()),
            ValueKind::I64(number) => Some((*number).into()),
            ValueKind::Float(number) => {
                let number = serde_json::Number::from_f64(*number);
                if number.is_none() {
                    self.report(path, "must be a finite number");
                }
                number.map(Json::Number)
            }
            ValueKind::Array(items) => Some(Json::Array(
                items
                    .iter()
                    .enumerate()
                    .filter_map(|(index, item)| self.free(item, &format!("{path}[{index}]")))
                    .collect(),
            )),
            ValueKind::Table(entries) => Some(Json::Object(
                entries
                    .iter()
                    .filter_map(|(key, value)| {
                        Some((key.clone(), self.free(value, &child(path, key))?))
                    })
                    .collect(),
            )),
            _ => None,
        }
    }

    fn unknown_key(
        &mut self,
        shape: &Shape<'_>,
        key: &str,
        known: &[&str],
        value: &Value,
        path: &str,
    ) {
        let place = child(path, key);
        let origin = self.origin(value, path);
        let neighbour = nearest(key, known.iter().copied());
        let neighbour = neighbour.map(|neighbour| {
            if self.is_variable(&origin) {
                let whole = origin.to_uppercase();
                let rest = whole.strip_prefix(&variable(&place)).unwrap_or_default();
                format!("{}{rest}", variable(&child(path, neighbour)))
            } else {
                format!("\"{neighbour}\"")
            }
        });
        let message = match neighbour {
            Some(neighbour) => format!("unknown key; did you mean {neighbour}?"),
            None => format!("unknown key; the keys here are {}", list(known, "and")),
        };
        // What stands in the place of a secret's name may be the secret.
        let place = if shape.secret { path.to_owned() } else { place };
        self.problems.push(Problem::new(origin, place, message));
    }

    fn wrong_type(&mut self, shape: &Shape<'_>, found: &str, path: &str) {
        let message = if shape.secret && self.is_variable(self.origins.of(path)) {
            let name = variable(path);
            format!(
                "names a secret and never holds one: set {name}__ENV to a variable's name, or {name}__FILE to a path"
            )
        } else if shape.secret {
            WHAT_NAMES_A_SECRET.to_owned()
        } else if shape.table.is_some() && self.is_variable(self.origins.of(path)) {
            format!(
                "is a table; set its keys one by one, as {}__…",
                variable(path)
            )
        } else {
            format!("must be {}, not {found}", shape.expected())
        };
        self.report(path, message);
    }

    fn report(&mut self, path: &str, message: impl Into<String>) {
        let origin = self.origins.of(path).to_owned();
        self.problems.push(Problem::new(origin, path, message));
    }

    /// Where a value was written; for a table, where its first value was.
    fn origin(&self, value: &Value, path: &str) -> String {
        fn written(value: &Value) -> Option<&str> {
            match &value.kind {
                ValueKind::Table(entries) => entries.values().find_map(written),
                _ => None,
            }
            .or_else(|| value.origin())
        }
        match written(value) {
            Some(origin) if !self.built_in.contains(origin) => origin.to_owned(),
            Some(_) => self.origins.fallback.clone(),
            None => self.origins.of(path).to_owned(),
        }
    }

    /// What the file didn't write and what isn't compiled in came from a variable.
    fn is_variable(&self, origin: &str) -> bool {
        origin != self.origins.fallback
    }
}

/// A doc comment's sentence as a message goes on with it.
fn phrase(sentence: &str) -> String {
    let mut letters = sentence.trim_end_matches('.').chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

const fn kind_name(kind: &ValueKind) -> &'static str {
    match kind {
        ValueKind::Array(_) => "a list",
        ValueKind::Boolean(_) => "a boolean",
        ValueKind::Float(_) => "a number with a fraction",
        ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
            "a whole number"
        }
        ValueKind::Nil => "nothing",
        ValueKind::String(_) => "a string",
        ValueKind::Table(_) => "a table",
    }
}

/// The path of `key` in the table at `path`.
pub(super) fn child(path: &str, key: &str) -> String {
    if path.is_empty() {
        key_name(key)
    } else {
        format!("{path}.{}", key_name(key))
    }
}

/// A key as TOML writes it, cut to what is readable.
pub(super) fn key_name(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let short: String = key.chars().take(64).collect();
    let dots = if short.len() < key.len() { "…" } else { "" };
    if !short.is_empty() && short.chars().all(is_bare) {
        format!("{short}{dots}")
    } else {
        format!("\"{}{dots}\"", short.escape_debug())
    }
}

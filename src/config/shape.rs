//! What a schema takes at one place, read for the walk: the part of JSON Schema that the raw types use.

use serde_json::{Map, Value as Json};

use super::raw::NAMES_A_SECRET;
use super::text::list;

/// What is taken at one place; several kinds where the schema has branches.
#[derive(Default)]
pub(super) struct Shape<'a> {
    pub(super) anything: bool,
    pub(super) boolean: bool,
    /// The least and the greatest whole number.
    pub(super) integer: Option<(i64, i64)>,
    /// The schema of a list's items.
    pub(super) items: Option<&'a Json>,
    /// The table names a secret.
    pub(super) secret: bool,
    /// The schema of a table.
    pub(super) table: Option<&'a Map<String, Json>>,
    pub(super) text: bool,
    /// The only texts that are taken; with `text` every other is too.
    pub(super) words: Vec<&'a str>,
}

impl<'a> Shape<'a> {
    /// Reads `schema`, a part of `root`.
    pub(super) fn read(root: &'a Json, schema: &'a Json) -> Self {
        let mut shape = Self::default();
        shape.add(root, schema);
        shape
    }

    fn add(&mut self, root: &'a Json, schema: &'a Json) {
        let Json::Object(members) = schema else {
            self.anything = true;
            return;
        };
        self.secret |= members.contains_key(NAMES_A_SECRET);
        if let Some(Json::String(reference)) = members.get("$ref") {
            let target = root.pointer(reference.trim_start_matches('#'));
            self.add(root, target.expect("schemars defines what it refers to"));
            return;
        }
        if let Some(Json::String(word)) = members.get("const") {
            self.words.push(word);
            return;
        }
        match members.get("type").and_then(Json::as_str) {
            Some("array") => self.items = members.get("items"),
            Some("boolean") => self.boolean = true,
            Some("integer") => {
                let bound = |name| members.get(name).and_then(Json::as_i64);
                self.integer = Some((
                    bound("minimum").unwrap_or(i64::MIN),
                    bound("maximum").unwrap_or(i64::MAX),
                ));
            }
            Some("object") => self.table = Some(members),
            Some("string") => match members.get("enum") {
                Some(Json::Array(words)) => {
                    self.words.extend(words.iter().filter_map(Json::as_str));
                }
                _ => self.text = true,
            },
            _ => {
                for branch in ["anyOf", "oneOf"]
                    .into_iter()
                    .filter_map(|name| members.get(name)?.as_array())
                    .flatten()
                {
                    self.add(root, branch);
                }
            }
        }
    }

    /// What a message says is taken here.
    pub(super) fn expected(&self) -> String {
        let mut kinds: Vec<String> = Vec::new();
        if !self.words.is_empty() {
            kinds.push(list(&self.words, "or"));
        }
        if self.text {
            kinds.push("a string".into());
        }
        if self.boolean {
            kinds.push("true or false".into());
        }
        if let Some((least, most)) = self.integer {
            kinds.push(format!("a whole number from {least} to {most}"));
        }
        if self.items.is_some() {
            kinds.push("a list".into());
        }
        if self.table.is_some() {
            kinds.push("a table".into());
        }
        kinds.join(" or ")
    }
}

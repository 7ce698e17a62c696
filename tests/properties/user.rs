//! Arbitrary users, and the requests that ask for their tokens in any spelling that JSON allows.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value};

/// The attributes that profiles here may carry.
pub(crate) const ATTRIBUTES: [&str; 3] = ["a", "room-1", "Z_z"];

/// Whom a request is about, `None` where it says nothing.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) email: Option<String>,
    pub(crate) roles: Option<Vec<String>>,
    pub(crate) plan: Option<String>,
    pub(crate) anonymous: Option<bool>,
    pub(crate) attributes: Map<String, Value>,
    pub(crate) ttl: Option<i64>,
}

/// Text that may stand in a token: any characters but Cc, Cf, Zl and Zp, no white space at its ends,
/// 1 to `max_bytes` bytes; often something that a careless writer would unfold or escape wrongly.
pub(crate) fn text(max_bytes: usize) -> impl Strategy<Value = String> {
    let any = r"[^\s\p{Cc}\p{Cf}\p{Zl}\p{Zp}]([^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]{0,40}[^\s\p{Cc}\p{Cf}\p{Zl}\p{Zp}])?";
    let tricky = prop::sample::select(vec![
        "${user.id}",
        "${user.email?}",
        "${json}",
        "$",
        "${",
        "}",
        "\"",
        "\\",
        "\\u0061",
        "\\\"",
        "\",\"role\":\"admin",
        "null",
        "true",
        "0",
        "-1",
        "[]",
        "{}",
        "a b",
        "日本語",
        "👍🏽",
        "é",
        "e\u{301}",
        "\u{e000}",
        "\u{10ffff}",
    ]);
    prop_oneof![any.boxed(), tricky.prop_map(str::to_owned)]
        .prop_map(move |text| fitting(text, max_bytes))
}

/// As much of `text` as has at most `max_bytes` bytes and no white space at its end.
fn fitting(mut text: String, max_bytes: usize) -> String {
    while text.len() > max_bytes {
        text.pop();
    }
    text.truncate(text.trim_end().len());
    text
}

/// A value of an attribute: everything but `null` and numbers that JSON's readers round.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-9e15..9e15_f64).prop_map(Value::from),
        prop::num::f64::SUBNORMAL.prop_map(Value::from),
        text(100).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(text(64), inner, 0..4)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

pub(crate) fn user() -> impl Strategy<Value = User> {
    let email = prop::sample::select(vec![
        "a@b.co",
        "zoë+${user.id}@exämple.com",
        "'{}'@localhost",
        "日本@日本.jp",
    ]);
    let attributes = btree_map(prop::sample::select(ATTRIBUTES.to_vec()), value(), 0..=3);
    (
        text(200),
        option::of(email.prop_map(str::to_owned)),
        option::of(vec(text(80), 0..6)),
        option::of(text(80)),
        option::of(any::<bool>()),
        attributes,
        option::of(6..=3600_i64),
    )
        .prop_map(
            |(id, email, roles, plan, anonymous, attributes, ttl)| User {
                id,
                email,
                roles,
                plan,
                anonymous,
                attributes: attributes
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
                ttl,
            },
        )
}

impl User {
    /// The request's members, under either set of names.
    pub(crate) fn members(&self, other_names: bool) -> Vec<(String, Value)> {
        let name = |first: &str, second: &str| if other_names { second } else { first }.to_owned();
        let mut members = vec![(name("userId", "identity"), self.id.clone().into())];
        let mut put =
            |name: String, value: Option<Value>| members.extend(value.map(|value| (name, value)));
        put(
            name("userEmail", "email"),
            self.email.clone().map(Value::from),
        );
        put(
            name("userRoles", "roles"),
            self.roles.clone().map(Value::from),
        );
        put("plan".to_owned(), self.plan.clone().map(Value::from));
        put("isAnonymous".to_owned(), self.anonymous.map(Value::from));
        put("ttl".to_owned(), self.ttl.map(Value::from));
        put(
            "attributes".to_owned(),
            (!self.attributes.is_empty()).then(|| self.attributes.clone().into()),
        );
        members
    }
}

/// How JSON is spelt: endless bits that say which characters are escaped and where space stands.
#[derive(Clone, Debug)]
pub(crate) struct Spelling {
    bits: Vec<u8>,
    at: usize,
}

pub(crate) fn spelling() -> impl Strategy<Value = Spelling> {
    vec(any::<u8>(), 1..32).prop_map(|bits| Spelling { bits, at: 0 })
}

impl Spelling {
    fn next(&mut self) -> u8 {
        self.at += 1;
        self.bits[self.at % self.bits.len()].wrapping_add((self.at / self.bits.len()) as u8)
    }

    /// An object with these members, duplicates and all.
    pub(crate) fn object(&mut self, members: &[(String, Value)]) -> String {
        let mut text = String::from("{");
        for (index, (name, value)) in members.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            self.space(&mut text);
            self.string(name, &mut text);
            text.push(':');
            self.space(&mut text);
            self.value(value, &mut text);
        }
        self.space(&mut text);
        text.push('}');
        text
    }

    fn value(&mut self, value: &Value, text: &mut String) {
        match value {
            Value::String(string) => self.string(string, text),
            Value::Array(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    self.space(text);
                    self.value(item, text);
                }
                text.push(']');
            }
            Value::Object(members) => {
                let members: Vec<_> = members
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect();
                text.push_str(&self.object(&members));
            }
            other => text.push_str(&other.to_string()),
        }
    }

    /// A string in which any character may be written as `\uXXXX`.
    pub(crate) fn string(&mut self, string: &str, text: &mut String) {
        text.push('"');
        for c in string.chars() {
            let must = c < ' ' || matches!(c, '"' | '\\');
            if must || self.next().is_multiple_of(4) {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let escaped = if self.next().is_multiple_of(2) {
                        format!("\\u{unit:04x}")
                    } else {
                        format!("\\u{unit:04X}")
                    };
                    text.push_str(&escaped);
                }
            } else {
                text.push(c);
            }
        }
        text.push('"');
    }

    fn space(&mut self, text: &mut String) {
        text.push_str(["", " ", "\n", "\t", "\r\n", "", "", ""][usize::from(self.next() % 8)]);
    }
}

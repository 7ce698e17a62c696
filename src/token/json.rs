//! JSON as it was written: members in order, duplicates kept, so that a reader can refuse them.
//!
//! serde's maps let the last of two equal members win and its derived structs take an array for an
//! object; neither may happen to a request that decides what a token says.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A JSON value that still has everything its text had, names already unescaped.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// `[…]`
    Array(Vec<Self>),
    /// `true` or `false`
    Bool(bool),
    /// `null`
    Null,
    /// A number.
    Number(Number),
    /// `{…}` with its members in order, duplicates included.
    Object(Vec<(Cow<'a, str>, Self)>),
    /// A string, borrowed from the text where nothing in it was escaped.
    String(Cow<'a, str>),
}

impl<'a> Json<'a> {
    /// Reads one JSON text (RFC 8259) in UTF-8, at most 128 levels deep.
    ///
    /// # Errors
    /// Where the text stops being JSON, as line and column from 1.
    pub fn parse(text: &'a [u8]) -> Result<Self, NotJson> {
        parse(text, PhantomData)
    }

    /// What kind of value this is, in JSON's words.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Array(_) => "an array",
            Self::Bool(_) => "a boolean",
            Self::Null => "null",
            Self::Number(_) => "a number",
            Self::Object(_) => "an object",
            Self::String(_) => "a string",
        }
    }

    /// The value in serde's form. The caller has made sure that no object in it has duplicates.
    #[must_use]
    pub fn into_value(self) -> Value {
        match self {
            Self::Array(items) => Value::Array(items.into_iter().map(Self::into_value).collect()),
            Self::Bool(value) => Value::Bool(value),
            Self::Null => Value::Null,
            Self::Number(number) => Value::Number(number),
            Self::Object(members) => Value::Object(
                members
                    .into_iter()
                    .map(|(name, value)| (name.into_owned(), value.into_value()))
                    .collect::<Map<_, _>>(),
            ),
            Self::String(text) => Value::String(text.into_owned()),
        }
    }
}

/// Reads one JSON text into whatever `made` makes of it.
pub(super) fn parse<'a, S: DeserializeSeed<'a>>(
    text: &'a [u8],
    made: S,
) -> Result<S::Value, NotJson> {
    let parsed = match std::str::from_utf8(text) {
        Ok(text) => to_its_end(serde_json::Deserializer::from_str(text), made),
        // It says where the text stops being UTF-8.
        Err(_) => to_its_end(serde_json::Deserializer::from_slice(text), made),
    };
    parsed.map_err(|error| NotJson {
        line: error.line(),
        column: error.column(),
    })
}

fn to_its_end<'a, R, S>(
    mut text: serde_json::Deserializer<R>,
    made: S,
) -> serde_json::Result<S::Value>
where
    R: serde_json::de::Read<'a>,
    S: DeserializeSeed<'a>,
{
    let value = made.deserialize(&mut text)?;
    text.end()?;
    Ok(value)
}

/// A text that isn't JSON, and where it stops being it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not valid JSON at line {line}, column {column}")]
pub struct NotJson {
    /// From 1.
    pub line: usize,
    /// In bytes, from 1.
    pub column: usize,
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Number::from_f64(value)
            .map(Json::Number)
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Json::String(Cow::Owned(value.to_owned())))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Json::String(Cow::Borrowed(value)))
    }

    fn visit_string<E>(self, value: String) -> Result<Self::Value, E> {
        Ok(Json::String(Cow::Owned(value)))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut object = Vec::new();
        while let Some(Name(name)) = members.next_key()? {
            object.push((name, members.next_value()?));
        }
        Ok(Json::Object(object))
    }
}

/// A member's name; serde's own `Cow` always copies.
pub(super) struct Name<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_kept_however_they_are_spelt() {
        let Json::Object(members) = Json::parse(br#"{"userId":"a","user\u0049d":"b"}"#).unwrap()
        else {
            panic!("an object")
        };
        assert_eq!(
            members.iter().map(|(name, _)| &**name).collect::<Vec<_>>(),
            ["userId", "userId"]
        );
    }

    #[test]
    fn what_is_not_json_is_told_by_its_place() {
        assert_eq!(
            Json::parse(b"{\n  nope").unwrap_err(),
            NotJson { line: 2, column: 3 }
        );
        for text in [
            &b""[..],
            b"{} {}",
            b"\"\\ud800\"",
            b"\"\xff\"",
            b"\"a\nb\"",
            b"\xef\xbb\xbf{}",
            b"[1,]",
            b"NaN",
            b"01",
        ] {
            Json::parse(text).unwrap_err();
        }
        Json::parse("[".repeat(100_000).as_bytes()).unwrap_err();
    }
}

//! A profile's piece ready to be filled for one app: what never changes is written out, and the rest is filled in one pass.

use std::borrow::Cow;

use serde_json::Value;

use super::identity::Identity;
use super::quoted::append_quoted;
use super::source::Source;

/// Everything that placeholders may ask for when a token is made.
pub(super) struct Values<'a> {
    pub(super) caller: Option<&'a str>,
    pub(super) expires_at: i64,
    pub(super) expires_in: i64,
    pub(super) identity: &'a Identity<'a>,
    pub(super) issued_at: i64,
    pub(super) key_id: &'a str,
    pub(super) refresh_after: i64,
    pub(super) scope: Option<&'a str>,
    pub(super) token: &'a [u8],
    pub(super) token_id: Option<&'a str>,
}

/// A placeholder that can't be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfilled {
    /// Its source is absent, and no `?` lets it be.
    Missing(Source),
    /// Its source is a list or a table, and it stands inside a text. A `?` changes nothing: whoever
    /// gave the value believes that the token says it.
    NotText(Source),
}

/// A piece of JSON to be filled in.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// What stands between brackets, each with a comma before it.
    Enclosed([u8; 2], Vec<Member>),
    /// JSON that is always the same.
    Fixed(Box<[u8]>),
    /// The JSON text of what is inside, as a JSON string.
    JsonText(Box<Self>),
    /// One placeholder, which keeps its source's type.
    Placeholder(Source, Optional),
    /// Text around placeholders.
    Text(Vec<Part>),
}

/// A value with what stands before it: a comma, its name where it has one, and other members that are always the same.
#[derive(Clone, Debug)]
pub(super) struct Member {
    before: Box<[u8]>,
    value: Plan,
}

#[derive(Clone, Debug)]
pub(super) enum Part {
    Fixed(String),
    Placeholder(Source, Optional),
}

/// Whether a `?` lets the value be absent.
pub(super) type Optional = bool;

impl Plan {
    /// An object of members, each with its name encoded up to the colon.
    pub(super) fn object(members: Vec<(Box<[u8]>, Self)>) -> Self {
        Self::enclosed(*b"{}", members)
    }

    /// An array.
    pub(super) fn list(items: Vec<Self>) -> Self {
        let unnamed = items.into_iter().map(|item| (Box::default(), item));
        Self::enclosed(*b"[]", unnamed.collect())
    }

    fn enclosed(brackets: [u8; 2], given: Vec<(Box<[u8]>, Self)>) -> Self {
        let mut members = Vec::with_capacity(given.len());
        // What is always there goes before the next one that is, as one piece.
        let mut before = Vec::new();
        for (name, value) in given {
            if value.may_be_absent() && !before.is_empty() {
                members.push(Member {
                    before: std::mem::take(&mut before).into(),
                    value: Self::Fixed(Box::default()),
                });
            }
            before.push(b',');
            before.extend_from_slice(&name);
            if let Self::Fixed(json) = value {
                before.extend_from_slice(&json);
            } else {
                members.push(Member {
                    before: std::mem::take(&mut before).into(),
                    value,
                });
            }
        }
        if !before.is_empty() {
            members.push(Member {
                before: before.into(),
                value: Self::Fixed(Box::default()),
            });
        }
        Self::Enclosed(brackets, members)
    }

    fn may_be_absent(&self) -> bool {
        match self {
            Self::Enclosed(..) | Self::Fixed(_) => false,
            Self::JsonText(inner) => inner.may_be_absent(),
            Self::Placeholder(_, optional) => *optional,
            Self::Text(parts) => (parts.iter())
                .any(|part| matches!(part, Part::Placeholder(_, optional) if *optional)),
        }
    }

    /// Appends the piece as JSON. Gives `false`, with nothing appended, when it is absent and may be.
    ///
    /// # Errors
    /// What can't be filled; boxed, as the way in which nothing is missing should be a short one.
    pub(super) fn write(
        &self,
        values: &Values<'_>,
        out: &mut Vec<u8>,
    ) -> Result<bool, Box<Unfilled>> {
        match self {
            Self::Enclosed([open, close], members) => {
                let start = out.len();
                for member in members {
                    let before = out.len();
                    out.extend_from_slice(&member.before);
                    let written = match &member.value {
                        Self::Placeholder(source, optional) => fill(source, *optional, values, out),
                        value => value.write(values, out),
                    };
                    if !written? {
                        out.truncate(before);
                    }
                }
                // In place of the first comma.
                match out.get_mut(start) {
                    Some(comma) => *comma = *open,
                    None => out.push(*open),
                }
                out.push(*close);
            }
            Self::Fixed(json) => out.extend_from_slice(json),
            Self::JsonText(inner) => {
                let mut text = Vec::new();
                if !inner.write(values, &mut text)? {
                    return Ok(false);
                }
                append_quoted(
                    out,
                    std::str::from_utf8(&text).expect("what is written is UTF-8"),
                );
            }
            Self::Placeholder(source, optional) => return fill(source, *optional, values, out),
            Self::Text(parts) => {
                let mut text = String::new();
                // To the end even so: what stands behind without a `?` is required all the same.
                let mut absent = false;
                for part in parts {
                    match part {
                        Part::Fixed(fixed) => text.push_str(fixed),
                        Part::Placeholder(source, optional) => match source.find(values) {
                            Some(found) if found.append(&mut text) => {}
                            Some(_) => return Err(Box::new(Unfilled::NotText(source.clone()))),
                            None if *optional => absent = true,
                            None => return Err(missing(source)),
                        },
                    }
                }
                if absent {
                    return Ok(false);
                }
                append_quoted(out, &text);
            }
        }
        Ok(true)
    }
}

fn fill(
    source: &Source,
    optional: Optional,
    values: &Values<'_>,
    out: &mut Vec<u8>,
) -> Result<bool, Box<Unfilled>> {
    let written = source.write(values, out);
    if written || optional {
        Ok(written)
    } else {
        Err(missing(source))
    }
}

#[cold]
fn missing(source: &Source) -> Box<Unfilled> {
    Box::new(Unfilled::Missing(source.clone()))
}

fn write_list(texts: &[Cow<'_, str>], out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        append_quoted(out, text);
    }
    out.push(b']');
}

fn write_number(number: i64, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &number).expect("a number is always JSON, and a Vec takes it");
}

/// A source's value, before it is written as JSON or as text.
enum Found<'a> {
    Bool(bool),
    Json(&'a Value),
    List(&'a [Cow<'a, str>]),
    Number(i64),
    Text(&'a str),
    /// Base64url and dots: nothing in it can want an escape.
    Token(&'a [u8]),
}

impl Source {
    // Always: what is found is written at once, and needn't become a value of its own in between.
    #[inline(always)]
    fn find<'a>(&self, values: &Values<'a>) -> Option<Found<'a>> {
        let identity = values.identity;
        match self {
            // Filled in when the app was built.
            Self::AppAudience | Self::AppClientId | Self::AppIssuer => None,
            Self::CallerName => values.caller.map(Found::Text),
            Self::KeyId => Some(Found::Text(values.key_id)),
            Self::Token => Some(Found::Token(values.token)),
            Self::TokenExpiresAt => Some(Found::Number(values.expires_at)),
            Self::TokenExpiresIn => Some(Found::Number(values.expires_in)),
            Self::TokenId => values.token_id.map(Found::Text),
            Self::TokenIssuedAt => Some(Found::Number(values.issued_at)),
            Self::TokenRefreshAfter => Some(Found::Number(values.refresh_after)),
            Self::TokenScope => values.scope.map(Found::Text),
            Self::UserAnonymous => Some(Found::Bool(identity.anonymous)),
            Self::UserAttribute(name) => identity.attributes.get(name).map(Found::Json),
            Self::UserEmail => identity.email.as_deref().map(Found::Text),
            Self::UserId => Some(Found::Text(&identity.user_id)),
            Self::UserPlan => identity.plan.as_deref().map(Found::Text),
            Self::UserRoles => identity.roles.as_deref().map(Found::List),
        }
    }

    fn write(&self, values: &Values<'_>, out: &mut Vec<u8>) -> bool {
        match self.find(values) {
            None => return false,
            Some(Found::Bool(value)) => {
                out.extend_from_slice(if value { b"true" } else { b"false" })
            }
            Some(Found::Json(value)) => serde_json::to_writer(out, value)
                .expect("a value is always JSON, and a Vec takes it"),
            Some(Found::List(items)) => write_list(items, out),
            Some(Found::Number(number)) => write_number(number, out),
            Some(Found::Text(text)) => append_quoted(out, text),
            Some(Found::Token(token)) => {
                out.push(b'"');
                out.extend_from_slice(token);
                out.push(b'"');
            }
        }
        true
    }
}

impl Found<'_> {
    /// Appends the value to a text. Gives `false`, with nothing appended, when it is none.
    fn append(&self, text: &mut String) -> bool {
        match self {
            Self::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Self::Json(Value::String(value)) => text.push_str(value),
            Self::List(_) | Self::Json(Value::Array(_) | Value::Object(_) | Value::Null) => {
                return false;
            }
            Self::Json(value) => text.push_str(&value.to_string()),
            Self::Number(number) => text.push_str(&number.to_string()),
            Self::Text(value) => text.push_str(value),
            Self::Token(token) => text.extend(token.iter().copied().map(char::from)),
        }
        true
    }
}

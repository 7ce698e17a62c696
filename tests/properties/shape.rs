//! Arbitrary profiles, and what their tokens must say: a second, plain reading of the same rules.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::user::{ATTRIBUTES, User};

/// A claim of a made-up profile.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    JsonText(Box<Shape>),
    List(Vec<Shape>),
    Literal(Value),
    One(Source, bool),
    Table(Vec<(String, Shape)>),
    /// Text, each piece with the placeholder behind it, and text at the end.
    Text(Vec<(String, Source, bool)>, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Anonymous,
    Attribute(&'static str),
    Audience,
    Caller,
    ClientId,
    Email,
    ExpiresAt,
    ExpiresIn,
    Issuer,
    IssuedAt,
    KeyId,
    Plan,
    Roles,
    Scope,
    TokenId,
    UserId,
}

/// What a token is made of beside the user.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) audience: Option<String>,
    pub(crate) caller: Option<&'static str>,
    pub(crate) client_id: String,
    pub(crate) issuer: Option<String>,
    pub(crate) key_id: &'static str,
    pub(crate) issued_at: i64,
    pub(crate) expires_at: i64,
    pub(crate) expires_in: i64,
    pub(crate) token_id: Option<&'static str>,
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum No {
    Missing(Source),
    NotText(Source),
}

impl Source {
    fn name(self) -> String {
        match self {
            Self::Anonymous => "user.anonymous",
            Self::Attribute(name) => return format!("user.attributes.{name}"),
            Self::Audience => "app.audience",
            Self::Caller => "caller.name",
            Self::ClientId => "app.client_id",
            Self::Email => "user.email",
            Self::ExpiresAt => "token.expires_at",
            Self::ExpiresIn => "token.expires_in",
            Self::Issuer => "app.issuer",
            Self::IssuedAt => "token.issued_at",
            Self::KeyId => "key.id",
            Self::Plan => "user.plan",
            Self::Roles => "user.roles",
            Self::Scope => "token.scope",
            Self::TokenId => "token.id",
            Self::UserId => "user.id",
        }
        .to_owned()
    }

    fn value(self, user: &User, facts: &Facts) -> Option<Value> {
        Some(match self {
            Self::Anonymous => user.anonymous.unwrap_or_default().into(),
            Self::Attribute(name) => user.attributes.get(name)?.clone(),
            Self::Audience => facts.audience.clone()?.into(),
            Self::Caller => facts.caller?.into(),
            Self::ClientId => facts.client_id.clone().into(),
            Self::Email => user.email.clone()?.into(),
            Self::ExpiresAt => facts.expires_at.into(),
            Self::ExpiresIn => facts.expires_in.into(),
            Self::Issuer => facts.issuer.clone()?.into(),
            Self::IssuedAt => facts.issued_at.into(),
            Self::KeyId => facts.key_id.into(),
            Self::Plan => user.plan.clone()?.into(),
            Self::Roles => user.roles.clone()?.into(),
            Self::Scope => return None,
            Self::TokenId => facts.token_id?.into(),
            Self::UserId => user.id.clone().into(),
        })
    }
}

impl Shape {
    /// The profile's text for it.
    pub(crate) fn source(&self) -> Value {
        let placeholder = |source: &Source, optional: bool| {
            let mark = if optional { "?" } else { "" };
            format!("${{{}{mark}}}", source.name())
        };
        match self {
            Self::JsonText(inner) => json!({ "${json}": inner.source() }),
            Self::List(items) => items.iter().map(Self::source).collect(),
            Self::Literal(value) => value.clone(),
            Self::One(source, optional) => placeholder(source, *optional).into(),
            Self::Table(members) => members
                .iter()
                .map(|(name, shape)| (name.clone(), shape.source()))
                .collect::<Map<_, _>>()
                .into(),
            Self::Text(pieces, end) => {
                let pieces: String = pieces
                    .iter()
                    .map(|(text, source, optional)| text.clone() + &placeholder(source, *optional))
                    .collect();
                (pieces + end).into()
            }
        }
    }

    /// What a token says here; `None` where the claim is left out.
    pub(crate) fn expected(&self, user: &User, facts: &Facts) -> Result<Option<Value>, No> {
        let find = |source: &Source, optional: bool| match source.value(user, facts) {
            None if !optional => Err(No::Missing(*source)),
            found => Ok(found),
        };
        Ok(Some(match self {
            Self::JsonText(inner) => match inner.expected(user, facts)? {
                Some(value) => value.to_string().into(),
                None => return Ok(None),
            },
            Self::List(items) => {
                let items: Result<Vec<_>, _> = items
                    .iter()
                    .filter_map(|item| item.expected(user, facts).transpose())
                    .collect();
                items?.into()
            }
            Self::Literal(value) => value.clone(),
            Self::One(source, optional) => return find(source, *optional),
            Self::Table(members) => {
                let mut table = Map::new();
                for (name, shape) in members {
                    if let Some(value) = shape.expected(user, facts)? {
                        table.insert(name.clone(), value);
                    }
                }
                table.into()
            }
            Self::Text(pieces, end) => {
                let mut absent = false;
                let mut text = String::new();
                for (before, source, optional) in pieces {
                    text.push_str(before);
                    match find(source, *optional)? {
                        None => absent = true,
                        Some(Value::String(value)) => text.push_str(&value),
                        Some(Value::Array(_) | Value::Object(_)) => {
                            return Err(No::NotText(*source));
                        }
                        Some(value) => text.push_str(&value.to_string()),
                    }
                }
                if absent {
                    return Ok(None);
                }
                (text + end).into()
            }
        }))
    }

    /// Every source in use, with whether it may be absent and whether it stands inside a text.
    pub(crate) fn visit(&self, see: &mut impl FnMut(Source, bool, bool)) {
        match self {
            Self::JsonText(inner) => inner.visit(see),
            Self::List(items) => items.iter().for_each(|item| item.visit(see)),
            Self::Literal(_) => {}
            Self::One(source, optional) => see(*source, *optional, false),
            Self::Table(members) => members.iter().for_each(|(_, shape)| shape.visit(see)),
            Self::Text(pieces, _) => pieces
                .iter()
                .for_each(|(_, source, optional)| see(*source, *optional, true)),
        }
    }
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        4 => prop::sample::select(vec![Source::UserId, Source::Email, Source::Roles, Source::Plan, Source::Anonymous]),
        3 => prop::sample::select(ATTRIBUTES.to_vec()).prop_map(Source::Attribute),
        3 => prop::sample::select(vec![
            Source::Audience, Source::Caller, Source::ClientId, Source::ExpiresAt, Source::ExpiresIn,
            Source::Issuer, Source::IssuedAt, Source::KeyId, Source::Scope, Source::TokenId,
        ]),
    ]
}

/// Mostly optional, so that many profiles fit many users.
fn optional() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.85)
}

/// Text of a profile: anything without the beginning of a placeholder.
fn words() -> impl Strategy<Value = String> {
    r#"[a-z${}?"\\ é👍:/.-]{0,12}"#.prop_map(|text| text.replace("${", "$-{"))
}

fn piece() -> impl Strategy<Value = (String, Source, bool)> {
    let no_list = source().prop_filter("a list can't stand in a text", |source| {
        *source != Source::Roles
    });
    (words(), no_list, optional())
}

/// A claim.
pub(crate) fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        2 => words().prop_map(|text| Shape::Literal(text.into())),
        1 => any::<i64>().prop_map(|number| Shape::Literal(number.into())),
        1 => any::<bool>().prop_map(|value| Shape::Literal(value.into())),
        6 => (source(), optional()).prop_map(|(source, optional)| Shape::One(source, optional)),
        3 => (vec(piece(), 1..3), words()).prop_map(|(mut pieces, end)| {
            // Alone it would be no text.
            pieces[0].0.insert(0, 'x');
            Shape::Text(pieces, end)
        }),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            2 => vec(inner.clone(), 0..4).prop_map(Shape::List),
            3 => table(inner.clone()),
            1 => inner.prop_map(|shape| Shape::JsonText(Box::new(shape))),
        ]
    })
}

fn table(inner: impl Strategy<Value = Shape>) -> impl Strategy<Value = Shape> {
    prop::collection::btree_map(words(), inner, 0..4)
        .prop_map(|members| Shape::Table(members.into_iter().collect()))
}

/// A profile's claims: up to six, and `iat` and `exp` as they have to be.
pub(crate) fn claims() -> impl Strategy<Value = Shape> {
    prop::collection::btree_map("[a-zA-Z_:/.é]{1,8}", shape(), 0..6).prop_map(|mut members| {
        members.remove("nbf");
        members.insert("iat".to_owned(), Shape::One(Source::IssuedAt, false));
        members.insert("exp".to_owned(), Shape::One(Source::ExpiresAt, false));
        Shape::Table(members.into_iter().collect())
    })
}

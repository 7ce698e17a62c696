//! Templates: a table with placeholders, compiled into nodes that are filled in one pass.
//!
//! A placeholder is found when the profile is compiled and never again: a value that itself reads
//! `${user.id}` is copied like any other text. A member whose value is the table `{ "${json}" = {…} }`
//! becomes a string that holds that table as JSON text, for platforms that want one.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::identity::Identity;
use super::profile::ProfileProblem;
use super::quoted::append_quoted;

/// Where a placeholder's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// `app.audience`
    AppAudience,
    /// `app.client_id`
    AppClientId,
    /// `app.issuer`
    AppIssuer,
    /// `caller.name`: the backend that asked; absent where a browser did.
    CallerName,
    /// `key.id`
    KeyId,
    /// `token`: the sealed token, in an answer only.
    Token,
    /// `token.expires_at`
    TokenExpiresAt,
    /// `token.expires_in`
    TokenExpiresIn,
    /// `token.id`
    TokenId,
    /// `token.issued_at`
    TokenIssuedAt,
    /// `token.refresh_after`
    TokenRefreshAfter,
    /// `token.scope`: what an OAuth client asked for and was given.
    TokenScope,
    /// `user.anonymous`
    UserAnonymous,
    /// `user.attributes.NAME`
    UserAttribute(String),
    /// `user.email`
    UserEmail,
    /// `user.id`
    UserId,
    /// `user.plan`
    UserPlan,
    /// `user.roles`
    UserRoles,
}

const SOURCES: &[(&str, Source)] = &[
    ("app.audience", Source::AppAudience),
    ("app.client_id", Source::AppClientId),
    ("app.issuer", Source::AppIssuer),
    ("caller.name", Source::CallerName),
    ("key.id", Source::KeyId),
    ("token", Source::Token),
    ("token.expires_at", Source::TokenExpiresAt),
    ("token.expires_in", Source::TokenExpiresIn),
    ("token.id", Source::TokenId),
    ("token.issued_at", Source::TokenIssuedAt),
    ("token.refresh_after", Source::TokenRefreshAfter),
    ("token.scope", Source::TokenScope),
    ("user.anonymous", Source::UserAnonymous),
    ("user.email", Source::UserEmail),
    ("user.id", Source::UserId),
    ("user.plan", Source::UserPlan),
    ("user.roles", Source::UserRoles),
];

const ATTRIBUTE: &str = "user.attributes.";
/// The one key of a table that becomes its JSON text.
const JSON_TEXT: &str = "${json}";

impl Source {
    fn parse(name: &str) -> Result<Self, String> {
        if let Some(attribute) = name.strip_prefix(ATTRIBUTE) {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            return if (1..=64).contains(&attribute.len()) && attribute.chars().all(fits) {
                Ok(Self::UserAttribute(attribute.to_owned()))
            } else {
                Err("an attribute's name has 1 to 64 letters, digits, `_` and `-`".to_owned())
            };
        }
        if let Some((_, source)) = SOURCES.iter().find(|(known, _)| *known == name) {
            return Ok(source.clone());
        }
        let nearest = SOURCES
            .iter()
            .map(|(known, _)| (strsim::jaro_winkler(known, name), *known))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(likeness, _)| *likeness > 0.7);
        Err(match nearest {
            Some((_, known)) => format!("there is no source `{name}`; did you mean `{known}`?"),
            None => format!(
                "there is no source `{name}`; the sources are app.*, key.id, user.* and token.*"
            ),
        })
    }
}

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

/// What an app knows before any request, to be filled in once.
pub(super) struct Facts<'a> {
    pub(super) audience: Option<&'a str>,
    pub(super) client_id: &'a str,
    pub(super) issuer: Option<&'a str>,
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

/// A compiled piece of a profile.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// JSON that is always the same.
    Fixed(Box<[u8]>),
    /// The JSON text of what is inside, as a JSON string.
    JsonText(Box<Self>),
    /// Values in square brackets.
    List(Vec<Self>),
    /// Members, each with its name encoded up to the colon.
    Object(Vec<(Box<[u8]>, Self)>),
    /// One placeholder, which keeps its source's type.
    Placeholder(Source, Optional),
    /// Text around placeholders.
    Text(Vec<Part>),
}

#[derive(Clone, Debug)]
pub(super) enum Part {
    Fixed(String),
    Placeholder(Source, Optional),
}

/// Whether a `?` lets the value be absent.
pub(super) type Optional = bool;

/// How a placeholder stands in a profile.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    /// With text around it, so that a list or a table can't stand for it.
    pub(super) in_text: bool,
    pub(super) optional: Optional,
}

pub(super) fn compile(value: &Value, path: &str, problems: &mut Vec<ProfileProblem>) -> Node {
    match value {
        Value::String(text) => compile_text(text, path, problems),
        Value::Array(items) => {
            let item = |(index, item)| compile(item, &format!("{path}.{index}"), problems);
            Node::List(items.iter().enumerate().map(item).collect())
        }
        Value::Object(members) => match (members.len(), members.get(JSON_TEXT)) {
            (1, Some(inner)) => Node::JsonText(Box::new(compile(inner, path, problems))),
            _ => compile_table(members, path, problems),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            Node::Fixed(value.to_string().into_bytes().into())
        }
    }
}

pub(super) fn check_name(name: &str, path: &str, problems: &mut Vec<ProfileProblem>) {
    if name.contains("${") {
        problems.push(ProfileProblem {
            path: path.to_owned(),
            message: "a name can't hold a placeholder".to_owned(),
        });
    }
}

/// Compiles a table that stays one, whatever is in it.
pub(super) fn compile_table(
    members: &Map<String, Value>,
    path: &str,
    problems: &mut Vec<ProfileProblem>,
) -> Node {
    let mut nodes = Vec::with_capacity(members.len());
    for (name, value) in members {
        let path = format!("{path}.{name}");
        check_name(name, &path, problems);
        let mut prefix = serde_json::to_vec(name).expect("a string is always JSON");
        prefix.push(b':');
        nodes.push((prefix.into_boxed_slice(), compile(value, &path, problems)));
    }
    Node::Object(nodes)
}

fn compile_text(text: &str, path: &str, problems: &mut Vec<ProfileProblem>) -> Node {
    let mut problem = |message: String| {
        problems.push(ProfileProblem {
            path: path.to_owned(),
            message,
        })
    };
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, behind)) = after.split_once('}') else {
            problem("a placeholder begins with `${` and has no `}`".to_owned());
            return Node::Text(Vec::new());
        };
        if !before.is_empty() {
            parts.push(Part::Fixed(before.to_owned()));
        }
        let (name, optional) = name
            .strip_suffix('?')
            .map_or((name, false), |name| (name, true));
        match Source::parse(name) {
            Ok(source) => parts.push(Part::Placeholder(source, optional)),
            Err(message) => problem(message),
        }
        rest = behind;
    }
    if parts.is_empty() {
        return Node::Fixed(
            serde_json::to_vec(text)
                .expect("a string is always JSON")
                .into(),
        );
    }
    if !rest.is_empty() {
        parts.push(Part::Fixed(rest.to_owned()));
    }
    if let [Part::Placeholder(source, optional)] = &parts[..] {
        return Node::Placeholder(source.clone(), *optional);
    }
    if parts
        .iter()
        .any(|part| matches!(part, Part::Placeholder(Source::UserRoles, _)))
    {
        problem(
            "user.roles is a list and can't stand inside a text; let it stand alone".to_owned(),
        );
    }
    Node::Text(parts)
}

impl Node {
    /// Shows every source in use, and how it stands.
    pub(super) fn visit(&self, see: &mut impl FnMut(&Source, Standing)) {
        match self {
            Self::Fixed(_) => {}
            Self::JsonText(inner) => inner.visit(see),
            Self::List(items) => items.iter().for_each(|item| item.visit(see)),
            Self::Object(members) => members.iter().for_each(|(_, node)| node.visit(see)),
            Self::Placeholder(source, optional) => see(
                source,
                Standing {
                    in_text: false,
                    optional: *optional,
                },
            ),
            Self::Text(parts) => parts.iter().for_each(|part| {
                if let Part::Placeholder(source, optional) = part {
                    see(
                        source,
                        Standing {
                            in_text: true,
                            optional: *optional,
                        },
                    );
                }
            }),
        }
    }

    /// The same with what the app knows filled in; a member that is absent for good is gone.
    /// `None` when this node itself is.
    pub(super) fn bind(&self, facts: &Facts<'_>) -> Result<Option<Self>, Unfilled> {
        Ok(Some(match self {
            Self::Fixed(_) => self.clone(),
            Self::JsonText(inner) => match inner.bind(facts)? {
                Some(inner) => Self::JsonText(Box::new(inner)),
                None => return Ok(None),
            },
            Self::List(items) => {
                let items: Result<Vec<_>, _> = items
                    .iter()
                    .filter_map(|item| item.bind(facts).transpose())
                    .collect();
                Self::List(items?)
            }
            Self::Object(members) => {
                let mut bound = Vec::with_capacity(members.len());
                for (name, node) in members {
                    if let Some(node) = node.bind(facts)? {
                        bound.push((name.clone(), node));
                    }
                }
                Self::Object(bound)
            }
            Self::Placeholder(source, optional) => match facts.find(source) {
                None => self.clone(),
                Some(Some(text)) => Self::Fixed(
                    serde_json::to_vec(text)
                        .expect("a string is always JSON")
                        .into(),
                ),
                Some(None) if *optional => return Ok(None),
                Some(None) => return Err(Unfilled::Missing(source.clone())),
            },
            Self::Text(parts) => {
                let mut bound: Vec<Part> = Vec::with_capacity(parts.len());
                let mut absent = false;
                for part in parts {
                    let text = match part {
                        Part::Fixed(text) => text.clone(),
                        Part::Placeholder(source, optional) => match facts.find(source) {
                            None => {
                                bound.push(part.clone());
                                continue;
                            }
                            Some(Some(text)) => text.to_owned(),
                            Some(None) if *optional => {
                                absent = true;
                                continue;
                            }
                            Some(None) => return Err(Unfilled::Missing(source.clone())),
                        },
                    };
                    match bound.last_mut() {
                        Some(Part::Fixed(last)) => last.push_str(&text),
                        _ => bound.push(Part::Fixed(text)),
                    }
                }
                if absent {
                    return Ok(None);
                }
                match &bound[..] {
                    [Part::Fixed(text)] => Self::Fixed(
                        serde_json::to_vec(text)
                            .expect("a string is always JSON")
                            .into(),
                    ),
                    _ => Self::Text(bound),
                }
            }
        }))
    }

    /// Appends the node as JSON. Gives `false`, with nothing appended, when it is absent and may be.
    pub(super) fn write(&self, values: &Values<'_>, out: &mut Vec<u8>) -> Result<bool, Unfilled> {
        match self {
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
            Self::List(items) => write_between(
                b"[",
                b"]",
                items.iter().map(|item| (&b""[..], item)),
                values,
                out,
            )?,
            Self::Object(members) => write_between(
                b"{",
                b"}",
                members.iter().map(|(name, node)| (&**name, node)),
                values,
                out,
            )?,
            Self::Placeholder(source, optional) => {
                let written = source.write(values, out);
                return if written || *optional {
                    Ok(written)
                } else {
                    Err(Unfilled::Missing(source.clone()))
                };
            }
            Self::Text(parts) => {
                let mut text = String::new();
                // To the end even so: what stands behind without a `?` is required all the same.
                let mut absent = false;
                for part in parts {
                    match part {
                        Part::Fixed(fixed) => text.push_str(fixed),
                        Part::Placeholder(source, optional) => match source.find(values) {
                            Some(found) if found.append(&mut text) => {}
                            Some(_) => return Err(Unfilled::NotText(source.clone())),
                            None if *optional => absent = true,
                            None => return Err(Unfilled::Missing(source.clone())),
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

fn write_between<'n>(
    open: &[u8],
    close: &[u8],
    members: impl Iterator<Item = (&'n [u8], &'n Node)>,
    values: &Values<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Unfilled> {
    out.extend_from_slice(open);
    let mut first = true;
    for (name, node) in members {
        let before = out.len();
        if !first {
            out.push(b',');
        }
        out.extend_from_slice(name);
        if node.write(values, out)? {
            first = false;
        } else {
            out.truncate(before);
        }
    }
    out.extend_from_slice(close);
    Ok(())
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

impl Facts<'_> {
    /// `None`: not an app's fact. `Some(None)`: one that this app lacks.
    fn find(&self, source: &Source) -> Option<Option<&str>> {
        match source {
            Source::AppAudience => Some(self.audience),
            Source::AppClientId => Some(Some(self.client_id)),
            Source::AppIssuer => Some(self.issuer),
            _ => None,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filled(template: &Value, identity: &Identity) -> Result<Value, Unfilled> {
        let mut problems = Vec::new();
        let node = compile(template, "claims", &mut problems);
        assert_eq!(problems, []);
        let facts = Facts {
            audience: None,
            client_id: "ten_\"acme\"",
            issuer: Some("https://tokens.example.com"),
        };
        let node = node.bind(&facts)?.expect("an object is never absent");
        let values = Values {
            caller: None,
            expires_at: 1300,
            expires_in: 295,
            identity,
            issued_at: 1000,
            key_id: "2026-11",
            refresh_after: 260,
            scope: None,
            token: b"a.b.c",
            token_id: Some("id"),
        };
        let mut out = Vec::new();
        assert!(node.write(&values, &mut out)?);
        Ok(serde_json::from_slice(&out).expect("what is written is JSON"))
    }

    fn identity() -> Identity<'static> {
        Identity {
            user_id: "${user.email}".into(),
            roles: Some(vec!["a\"b".into()]),
            attributes: [
                ("n".to_owned(), json!(7)),
                ("o".to_owned(), json!({"k": [1]})),
            ]
            .into(),
            ..Identity::default()
        }
    }

    #[test]
    fn a_lone_placeholder_keeps_its_type() {
        let template = json!({"roles": "${user.roles}", "anon": "${user.anonymous}", "iat": "${token.issued_at}", "n": "${user.attributes.n}", "o": "${user.attributes.o}"});
        assert_eq!(
            filled(&template, &identity()).unwrap(),
            json!({"roles": ["a\"b"], "anon": false, "iat": 1000, "n": 7, "o": {"k": [1]}})
        );
    }

    #[test]
    fn a_value_that_reads_like_a_placeholder_is_copied() {
        assert_eq!(
            filled(
                &json!({"sub": "${user.id}", "x": "u:${user.id}"}),
                &identity()
            )
            .unwrap(),
            json!({"sub": "${user.email}", "x": "u:${user.email}"})
        );
    }

    #[test]
    fn an_absent_optional_value_leaves_its_member_out_wherever_it_stands() {
        let template = json!({"a": "${user.email?}", "b": {"c": "${user.plan?}"}, "d": "x-${user.plan?}", "e": ["${user.plan?}", 1], "f": "${app.audience?}"});
        assert_eq!(
            filled(&template, &identity()).unwrap(),
            json!({"b": {}, "e": [1]})
        );
    }

    #[test]
    fn an_absent_required_value_is_named() {
        assert_eq!(
            filled(&json!({"a": "${user.email}"}), &identity()).unwrap_err(),
            Unfilled::Missing(Source::UserEmail)
        );
        assert_eq!(
            filled(&json!({"a": "x${app.audience}"}), &identity()).unwrap_err(),
            Unfilled::Missing(Source::AppAudience)
        );
        // Behind an absent one that may be, too.
        assert_eq!(
            filled(&json!({"a": "${user.plan?}:${user.email}"}), &identity()).unwrap_err(),
            Unfilled::Missing(Source::UserEmail)
        );
        assert_eq!(
            filled(
                &json!({"a": "${app.audience?}:${app.audience}"}),
                &identity()
            )
            .unwrap_err(),
            Unfilled::Missing(Source::AppAudience)
        );
        assert_eq!(
            filled(&json!({"a": "x${user.attributes.o}"}), &identity()).unwrap_err(),
            Unfilled::NotText(Source::UserAttribute("o".into()))
        );
    }

    #[test]
    fn literals_of_every_type_and_nesting_stay_as_they_are() {
        let template = json!({"scope": "chat", "n": 1, "f": 1.5, "t": true, "list": ["a", {"deep": false}], "text": "${app.client_id}-${token.id}"});
        let mut expected = template.clone();
        expected["text"] = json!("ten_\"acme\"-id");
        assert_eq!(filled(&template, &identity()).unwrap(), expected);
    }

    #[test]
    fn a_table_becomes_json_text_with_its_values_escaped() {
        let template =
            json!({"capability": {"${json}": {"room": "${user.roles}", "id": "${user.id}"}}});
        assert_eq!(
            filled(&template, &identity()).unwrap(),
            json!({"capability": r#"{"room":["a\"b"],"id":"${user.email}"}"#})
        );
    }

    #[test]
    fn a_wrong_placeholder_is_named_with_its_neighbour() {
        let mut problems = Vec::new();
        compile(
            &json!({"a": "${user.mail}", "b": "${zzz}", "c": "${user.id", "d": "r:${user.roles}", "${user.id}": 1, "e": "${user.attributes.a b}"}),
            "claims",
            &mut problems,
        );
        let messages: Vec<_> = problems
            .iter()
            .map(|problem| format!("{}: {}", problem.path, problem.message))
            .collect();
        assert_eq!(
            messages,
            [
                "claims.a: there is no source `user.mail`; did you mean `user.email`?",
                "claims.b: there is no source `zzz`; the sources are app.*, key.id, user.* and token.*",
                "claims.c: a placeholder begins with `${` and has no `}`",
                "claims.d: user.roles is a list and can't stand inside a text; let it stand alone",
                "claims.${user.id}: a name can't hold a placeholder",
                "claims.e: an attribute's name has 1 to 64 letters, digits, `_` and `-`",
            ]
        );
    }
}

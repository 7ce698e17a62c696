//! Templates: a table with placeholders, compiled into nodes that are filled in one pass.
//!
//! A placeholder is found when the profile is compiled and never again: a value that itself reads
//! `${user.id}` is copied like any other text. A member whose value is the table `{ "${json}" = {…} }`
//! becomes a string that holds that table as JSON text, for platforms that want one.

use serde_json::{Map, Value};

use super::plan::{Optional, Part, Plan, Unfilled};
use super::profile::ProfileProblem;
use super::source::Source;

/// The one key of a table that becomes its JSON text.
const JSON_TEXT: &str = "${json}";

/// What an app knows before any request, to be filled in once.
pub(super) struct Facts<'a> {
    pub(super) audience: Option<&'a str>,
    pub(super) client_id: &'a str,
    pub(super) issuer: Option<&'a str>,
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
        return Node::Fixed(quoted(text));
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

    /// The plan for an app: what it knows is filled in, and a member that is absent for good is gone.
    /// `None` when this node itself is.
    pub(super) fn bind(&self, facts: &Facts<'_>) -> Result<Option<Plan>, Unfilled> {
        Ok(Some(match self {
            Self::Fixed(json) => Plan::Fixed(json.clone()),
            Self::JsonText(inner) => match inner.bind(facts)? {
                Some(inner) => Plan::JsonText(Box::new(inner)),
                None => return Ok(None),
            },
            Self::List(items) => {
                let items = items.iter().map(|item| item.bind(facts));
                let items = items
                    .filter_map(Result::transpose)
                    .collect::<Result<_, _>>()?;
                Plan::list(items)
            }
            Self::Object(members) => {
                let mut bound = Vec::with_capacity(members.len());
                for (name, node) in members {
                    if let Some(plan) = node.bind(facts)? {
                        bound.push((name.clone(), plan));
                    }
                }
                Plan::object(bound)
            }
            Self::Placeholder(source, optional) => match facts.find(source) {
                None => Plan::Placeholder(source.clone(), *optional),
                Some(Some(text)) => Plan::Fixed(quoted(text)),
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
                    [Part::Fixed(text)] => Plan::Fixed(quoted(text)),
                    _ => Plan::Text(bound),
                }
            }
        }))
    }
}

fn quoted(text: &str) -> Box<[u8]> {
    serde_json::to_vec(text)
        .expect("a string is always JSON")
        .into()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::identity::Identity;
    use super::super::plan::Values;
    use super::*;

    fn filled(template: &Value, identity: &Identity) -> Result<Value, Unfilled> {
        let mut problems = Vec::new();
        let node = compile(template, "claims", &mut problems);
        assert_eq!(problems, []);
        let facts = Facts {
            audience: None,
            client_id: "ten_\"acme\"",
            issuer: Some("https://tokens.example.com"),
        };
        let plan = node.bind(&facts)?.expect("an object is never absent");
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
        assert!(
            plan.write(&values, &mut out)
                .map_err(|unfilled| *unfilled)?
        );
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
    fn commas_stand_between_members_whatever_of_them_is_absent() {
        let absent = json!({"x": "${user.plan?}", "y": "${user.email?}"});
        let cases = [
            (json!({}), json!({})),
            (absent, json!({})),
            (json!({"x": "${user.plan?}", "b": 1}), json!({"b": 1})),
            (json!({"b": 1, "x": "${user.plan?}"}), json!({"b": 1})),
            (
                json!({"b": 1, "x": "${user.plan?}", "c": {}, "d": [], "n": "${user.attributes.n}"}),
                json!({"b": 1, "c": {}, "d": [], "n": 7}),
            ),
            (
                json!({"l": ["${user.plan?}", "${user.attributes.n}", 1, "${user.plan?}", ["${user.plan?}"]]}),
                json!({"l": [7, 1, []]}),
            ),
        ];
        for (template, expected) in cases {
            assert_eq!(filled(&template, &identity()).unwrap(), expected);
        }
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

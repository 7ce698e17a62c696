//! What a value from a session may look like before a token is made of it.

use std::borrow::Cow;

use serde_json::Value;

use crate::token::{Identity, TextFault, check_email, check_text};

// As `POST /token` bounds the same members (CONTRACT section 4).
const MAX_USER_ID_BYTES: usize = 200;
const MAX_ROLES: usize = 30;
const MAX_NAME_BYTES: usize = 80;

/// A member of a session's identity that no token may carry. Names the member and the rule, never
/// the value: that is somebody's personal data.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{member}` {rule}")]
pub struct BadMember {
    /// `user_id`, `email`, `roles`, `plan`, or the name of an attribute.
    pub member: String,
    /// What it must be, as the rest of a sentence.
    pub rule: String,
}

impl BadMember {
    pub(super) fn new(member: &str, rule: impl ToString) -> Self {
        Self {
            member: member.to_owned(),
            rule: rule.to_string(),
        }
    }
}

/// Checks every value of `identity` by the rules that `POST /token` has for the same members, so
/// that a session can't put into a token what a caller couldn't.
///
/// # Errors
/// The first member that breaks a rule.
pub fn check_session_identity(identity: &Identity) -> Result<(), BadMember> {
    let check = |member, max_bytes| {
        move |text: &Cow<'_, str>| {
            check_text(text, max_bytes).map_err(|fault| BadMember::new(member, fault))
        }
    };
    check("user_id", MAX_USER_ID_BYTES)(&identity.user_id)?;
    if let Some(email) = &identity.email {
        check_email(email).map_err(|fault| BadMember::new("email", fault))?;
    }
    if let Some(roles) = &identity.roles {
        if roles.len() > MAX_ROLES {
            let rule = format!("must have at most {MAX_ROLES} items");
            return Err(BadMember::new("roles", rule));
        }
        roles.iter().try_for_each(check("roles", MAX_NAME_BYTES))?;
    }
    identity
        .plan
        .iter()
        .try_for_each(check("plan", MAX_NAME_BYTES))?;
    let mut attributes = identity.attributes.iter();
    attributes.try_for_each(|(name, value)| {
        check_texts(value).map_err(|fault| BadMember::new(name, fault))
    })
}

/// What an attribute may be is its profile's business, and how long, the token's; but no text in it
/// may deceive whoever reads it.
fn check_texts(value: &Value) -> Result<(), TextFault> {
    let check = |text: &str| match check_text(text, usize::MAX) {
        Err(TextFault::Empty) => Ok(()),
        checked => checked,
    };
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(text) => check(text),
        Value::Array(items) => items.iter().try_for_each(check_texts),
        Value::Object(members) => members
            .iter()
            .try_for_each(|(name, value)| check(name).and_then(|()| check_texts(value))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(user_id: &str) -> Identity<'_> {
        Identity {
            user_id: user_id.into(),
            ..Identity::default()
        }
    }

    fn refused(identity: &Identity) -> String {
        check_session_identity(identity).unwrap_err().to_string()
    }

    #[test]
    fn values_at_their_longest_pass_and_one_byte_more_is_refused() {
        let longest = Identity {
            user_id: "u".repeat(200).into(),
            email: Some("a@example.com".into()),
            roles: Some(vec!["r".repeat(80).into(); 30]),
            plan: Some("p".repeat(80).into()),
            ..Identity::default()
        };
        assert_eq!(check_session_identity(&longest), Ok(()));

        let long = "u".repeat(201);
        let too_long = user(&long);
        assert_eq!(refused(&too_long), "`user_id` must have at most 200 bytes");
        let roles = Some(vec!["r".into(); 31]);
        let too_many = Identity {
            roles,
            ..longest.clone()
        };
        assert_eq!(refused(&too_many), "`roles` must have at most 30 items");
        let roles = Some(vec!["r".repeat(81).into()]);
        let too_long = Identity {
            roles,
            ..longest.clone()
        };
        assert_eq!(refused(&too_long), "`roles` must have at most 80 bytes");
        let plan = Some("p".repeat(81).into());
        let too_long = Identity { plan, ..longest };
        assert_eq!(refused(&too_long), "`plan` must have at most 80 bytes");
    }

    #[test]
    fn deceiving_text_is_refused_wherever_it_stands() {
        let deceiving = "a\u{202e}b";
        let text = || Some(deceiving.into());
        let attribute = |value| [("room".to_owned(), value)].into();
        for (member, identity) in [
            ("user_id", user(deceiving)),
            (
                "email",
                Identity {
                    email: text(),
                    ..user("u")
                },
            ),
            (
                "roles",
                Identity {
                    roles: Some(vec![deceiving.into()]),
                    ..user("u")
                },
            ),
            (
                "plan",
                Identity {
                    plan: text(),
                    ..user("u")
                },
            ),
            (
                "room",
                Identity {
                    attributes: attribute(json!(deceiving)),
                    ..user("u")
                },
            ),
            (
                "room",
                Identity {
                    attributes: attribute(json!([[{ "a": deceiving }]])),
                    ..user("u")
                },
            ),
            (
                "room",
                Identity {
                    attributes: attribute(json!({ deceiving: 1 })),
                    ..user("u")
                },
            ),
        ] {
            let expected = format!("`{member}` must not contain control");
            assert!(refused(&identity).starts_with(&expected), "{identity:?}");
        }
    }

    #[test]
    fn attributes_may_be_any_json_of_harmless_text() {
        let value = json!({ "name": "", "tags": ["a", null, 1.5, true] });
        let attributes = [("room".to_owned(), value)].into();
        assert_eq!(
            check_session_identity(&Identity {
                attributes,
                ..user("u")
            }),
            Ok(())
        );
    }

    #[test]
    fn an_email_must_be_an_address() {
        let email = Some("nobody".into());
        assert_eq!(
            refused(&Identity { email, ..user("u") }),
            "`email` must be an email address"
        );
    }
}

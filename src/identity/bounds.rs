//! What a value from a session may look like before a token is made of it.

use serde_json::Value;
use unicode_general_category::{GeneralCategory, get_general_category};

use crate::token::Identity;

const MAX_USER_ID_BYTES: usize = 200;
/// RFC 5321 section 4.5.3.1.3: a path of 256 bytes less its two angle brackets.
const MAX_EMAIL_BYTES: usize = 254;
const MAX_ROLES: usize = 30;
const MAX_NAME_BYTES: usize = 80;

/// A member of a session's identity that no token may carry. Names the member and the rule, never
/// the value: that is somebody's personal data.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{member}` {rule}")]
pub struct BadMember {
    /// `user_id`, `email`, `roles`, `plan`, or the name of an attribute.
    pub member: String,
    /// What is wrong with it, as the rest of a sentence.
    pub rule: &'static str,
}

impl BadMember {
    pub(super) fn new(member: &str, rule: &'static str) -> Self {
        Self {
            member: member.to_owned(),
            rule,
        }
    }
}

/// Checks every value of `identity` against the bounds that `POST /token` sets for the same
/// members, so that a session can't put into a token what a caller couldn't.
///
/// # Errors
/// The first member that is out of bounds.
pub fn check_session_identity(identity: &Identity) -> Result<(), BadMember> {
    check("user_id", &identity.user_id, MAX_USER_ID_BYTES)?;
    if let Some(email) = &identity.email {
        check("email", email, MAX_EMAIL_BYTES)?;
        if !is_address(email) {
            return Err(BadMember::new("email", "is not an email address"));
        }
    }
    if let Some(roles) = &identity.roles {
        if roles.len() > MAX_ROLES {
            return Err(BadMember::new("roles", "has more than 30 items"));
        }
        roles
            .iter()
            .try_for_each(|role| check("roles", role, MAX_NAME_BYTES))?;
    }
    if let Some(plan) = &identity.plan {
        check("plan", plan, MAX_NAME_BYTES)?;
    }
    identity
        .attributes
        .iter()
        .try_for_each(|(name, value)| check_texts(name, value))
}

fn check(member: &str, text: &str, max_bytes: usize) -> Result<(), BadMember> {
    let rule = if text.is_empty() {
        "is empty"
    } else if text.len() > max_bytes {
        "is too long"
    } else if let Some(rule) = broken_text_rule(text) {
        rule
    } else {
        return Ok(());
    };
    Err(BadMember::new(member, rule))
}

/// Attributes have no bounds of their own: what a token can hold bounds them.
fn check_texts(member: &str, value: &Value) -> Result<(), BadMember> {
    let text = |text: &str| match broken_text_rule(text) {
        Some(rule) => Err(BadMember::new(member, rule)),
        None => Ok(()),
    };
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(value) => text(value),
        Value::Array(items) => items.iter().try_for_each(|item| check_texts(member, item)),
        Value::Object(members) => members
            .iter()
            .try_for_each(|(name, value)| text(name).and_then(|()| check_texts(member, value))),
    }
}

fn broken_text_rule(text: &str) -> Option<&'static str> {
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        Some("has white space at its ends")
    } else if text.chars().any(is_invisible) {
        Some("holds control, format or bidirectional characters")
    } else {
        None
    }
}

fn is_invisible(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    matches!(
        get_general_category(c),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    )
}

fn is_address(email: &str) -> bool {
    let parts = email.rsplit_once('@');
    parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        && !email.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(user_id: &str) -> Identity {
        Identity {
            user_id: user_id.to_owned(),
            ..Identity::default()
        }
    }

    fn refused(identity: &Identity) -> String {
        check_session_identity(identity).unwrap_err().to_string()
    }

    #[test]
    fn values_at_their_longest_pass_and_one_byte_more_is_refused() {
        let longest = Identity {
            user_id: "u".repeat(200),
            email: Some(format!("{}@example.com", "e".repeat(242))),
            roles: Some(vec!["r".repeat(80); 30]),
            plan: Some("p".repeat(80)),
            ..Identity::default()
        };
        assert_eq!(check_session_identity(&longest), Ok(()));

        assert_eq!(refused(&user(&"u".repeat(201))), "`user_id` is too long");
        let email = Some(format!("{}@example.com", "e".repeat(243)));
        assert_eq!(
            refused(&Identity {
                email,
                ..longest.clone()
            }),
            "`email` is too long"
        );
        let roles = Some(vec!["r".to_owned(); 31]);
        assert_eq!(
            refused(&Identity {
                roles,
                ..longest.clone()
            }),
            "`roles` has more than 30 items"
        );
        let roles = Some(vec!["r".repeat(81)]);
        assert_eq!(
            refused(&Identity {
                roles,
                ..longest.clone()
            }),
            "`roles` is too long"
        );
        let plan = Some("p".repeat(81));
        assert_eq!(refused(&Identity { plan, ..longest }), "`plan` is too long");
    }

    #[test]
    fn lengths_are_counted_in_bytes() {
        assert_eq!(refused(&user(&"é".repeat(101))), "`user_id` is too long");
    }

    #[test]
    fn characters_that_cannot_be_seen_are_refused_wherever_they_stand() {
        for hidden in [
            "a\u{0}b",
            "a\u{7f}b",
            "a\u{85}b",
            "a\u{200b}b",
            "a\u{202e}b",
            "a\u{2028}b",
            "a\u{2029}b",
            "a\u{feff}b",
        ] {
            assert_eq!(
                refused(&user(hidden)),
                "`user_id` holds control, format or bidirectional characters",
                "{hidden:?}"
            );
        }
        let attributes = [("room".to_owned(), json!({ "names": ["a\u{202e}b"] }))].into();
        assert!(
            refused(&Identity {
                attributes,
                ..user("usr_1")
            })
            .starts_with("`room` holds")
        );
    }

    #[test]
    fn white_space_at_the_ends_is_refused_and_inside_it_is_kept() {
        assert_eq!(check_session_identity(&user("Zoë 7 ✓")), Ok(()));
        for padded in [" a", "a ", "\u{a0}a"] {
            assert_eq!(
                refused(&user(padded)),
                "`user_id` has white space at its ends"
            );
        }
    }

    #[test]
    fn an_email_without_both_sides_is_refused() {
        for email in ["a", "@b", "a@", "a b@c"] {
            let email = Some(email.to_owned());
            assert_eq!(
                refused(&Identity {
                    email,
                    ..user("usr_1")
                }),
                "`email` is not an email address"
            );
        }
    }
}

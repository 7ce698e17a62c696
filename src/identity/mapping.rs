//! From a JSON document to an identity, by JSON Pointers (RFC 6901).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::Value;

use super::bounds::{BadMember, check_session_identity};
use crate::token::Identity;

/// A JSON Pointer (RFC 6901) whose syntax was checked, such as `/user/id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(String);

/// A text that is no JSON Pointer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a JSON Pointer: begin it with `/`, and write `~` as `~0` and `/` in a name as `~1`"
)]
pub struct BadPointer(String);

impl FromStr for Pointer {
    type Err = BadPointer;

    fn from_str(text: &str) -> Result<Self, BadPointer> {
        let escapes_are_known = text
            .split('~')
            .skip(1)
            .all(|rest| rest.starts_with('0') || rest.starts_with('1'));
        // The empty pointer is legal and names the whole document, which is never one value of ours.
        if text.starts_with('/') && escapes_are_known {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadPointer(text.to_owned()))
        }
    }
}

/// Where in a document each part of an identity stands. A part without a pointer is not known.
#[derive(Clone, Debug)]
pub struct Pointers {
    /// A string, or a whole number, which is written in decimal.
    pub user_id: Pointer,
    /// A string.
    pub email: Option<Pointer>,
    /// An array of strings.
    pub roles: Option<Pointer>,
    /// A string.
    pub plan: Option<Pointer>,
    /// Any JSON value, by the attribute's name.
    pub attributes: BTreeMap<String, Pointer>,
}

/// Why a document gave no identity.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unmapped {
    /// Whoever wrote the document broke a rule.
    BadMember(BadMember),
    /// The user ID is absent, `null` or empty: nobody is logged in.
    NoUser,
}

impl From<BadMember> for Unmapped {
    fn from(bad: BadMember) -> Self {
        Self::BadMember(bad)
    }
}

impl Pointers {
    /// The identity that `document` describes, within the bounds of [`check_session_identity`].
    /// `null` is the same as absent everywhere, and so is `""` for the parts that may be absent.
    pub(super) fn identity(&self, document: &Value) -> Result<Identity<'static>, Unmapped> {
        let find = |pointer: &Pointer| {
            document
                .pointer(&pointer.0)
                .filter(|value| !value.is_null())
        };
        let find_text = |member, pointer: &Option<Pointer>| {
            pointer
                .as_ref()
                .and_then(find)
                .map(|value| text(member, value))
                .transpose()
        };

        let user_id = match find(&self.user_id) {
            None => return Err(Unmapped::NoUser),
            // Database keys are numbers in many sessions.
            Some(Value::Number(id)) if !id.is_f64() => id.to_string().into(),
            Some(value) => text("user_id", value)?,
        };
        if user_id.is_empty() {
            return Err(Unmapped::NoUser);
        }
        let roles = self.roles.as_ref().and_then(find).map(texts).transpose()?;
        let attributes = self.attributes.iter();
        let identity = Identity {
            user_id,
            email: find_text("email", &self.email)?.filter(|email| !email.is_empty()),
            roles,
            plan: find_text("plan", &self.plan)?.filter(|plan| !plan.is_empty()),
            anonymous: false,
            attributes: attributes
                .filter_map(|(name, pointer)| Some((name.clone(), find(pointer)?.clone())))
                .collect(),
        };
        check_session_identity(&identity)?;
        Ok(identity)
    }
}

fn text(member: &'static str, value: &Value) -> Result<Cow<'static, str>, BadMember> {
    match value {
        Value::String(text) => Ok(text.clone().into()),
        _ => Err(BadMember::new(member, "must be a string")),
    }
}

fn texts(value: &Value) -> Result<Vec<Cow<'static, str>>, BadMember> {
    let Value::Array(items) = value else {
        return Err(BadMember::new("roles", "must be an array of strings"));
    };
    items.iter().map(|item| text("roles", item)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointer(text: &str) -> Pointer {
        text.parse().unwrap()
    }

    fn pointers() -> Pointers {
        Pointers {
            user_id: pointer("/user/id"),
            email: Some(pointer("/user/email")),
            roles: Some(pointer("/user/roles")),
            plan: Some(pointer("/a~1b/m~0n")),
            attributes: [("room".to_owned(), pointer("/room"))].into(),
        }
    }

    fn bad(document: &Value) -> String {
        match pointers().identity(document) {
            Err(Unmapped::BadMember(bad)) => bad.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_part_is_found_where_its_pointer_says() {
        let document = json!({
            "user": { "id": "usr_1", "email": "a@example.com", "roles": ["user", "agent"] },
            "a/b": { "m~n": "pro" },
            "room": 7,
        });
        let identity = pointers().identity(&document).unwrap();
        assert_eq!(identity.user_id, "usr_1");
        assert_eq!(identity.email.as_deref(), Some("a@example.com"));
        assert_eq!(identity.roles, Some(vec!["user".into(), "agent".into()]));
        assert_eq!(identity.plan.as_deref(), Some("pro"));
        assert!(!identity.anonymous);
        assert_eq!(identity.attributes["room"], 7);
    }

    #[test]
    fn a_user_id_that_is_absent_null_or_empty_means_that_nobody_is_logged_in() {
        for document in [
            json!({}),
            json!([]),
            json!({ "user": null }),
            json!({ "user": { "id": null } }),
            json!({ "user": { "id": "" } }),
        ] {
            assert_eq!(
                pointers().identity(&document),
                Err(Unmapped::NoUser),
                "{document}"
            );
        }
    }

    #[test]
    fn what_is_absent_null_or_empty_beside_the_user_id_is_not_known() {
        let document =
            json!({ "user": { "id": "usr_1", "email": "", "roles": null }, "room": null });
        let identity = pointers().identity(&document).unwrap();
        assert_eq!(
            identity,
            Identity {
                user_id: "usr_1".into(),
                ..Identity::default()
            }
        );
        let document = json!({ "user": { "id": "usr_1", "roles": [] } });
        assert_eq!(pointers().identity(&document).unwrap().roles, Some(vec![]));
    }

    #[test]
    fn a_whole_number_as_user_id_is_written_in_decimal() {
        for (id, written) in [
            (json!(0), "0"),
            (json!(-4), "-4"),
            (json!(u64::MAX), "18446744073709551615"),
        ] {
            let identity = pointers()
                .identity(&json!({ "user": { "id": id } }))
                .unwrap();
            assert_eq!(identity.user_id, written);
        }
    }

    #[test]
    fn wrong_types_are_named_without_their_values() {
        for id in [json!(1.5), json!(true), json!({}), json!(["usr_1"])] {
            assert_eq!(
                bad(&json!({ "user": { "id": id } })),
                "`user_id` must be a string"
            );
        }
        assert_eq!(
            bad(&json!({ "user": { "id": "u", "email": 1 } })),
            "`email` must be a string"
        );
        assert_eq!(
            bad(&json!({ "user": { "id": "u", "roles": "admin" } })),
            "`roles` must be an array of strings"
        );
        assert_eq!(
            bad(&json!({ "user": { "id": "u", "roles": [1] } })),
            "`roles` must be a string"
        );
        assert_eq!(
            bad(&json!({ "user": { "id": "u" }, "a/b": { "m~n": [] } })),
            "`plan` must be a string"
        );
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        assert_eq!(
            bad(&json!({ "user": { "id": "u\u{202e}" } })),
            "`user_id` must not contain control, format or bidirectional characters (Unicode Cc, Cf, Zl, Zp)"
        );
        assert_eq!(
            bad(&json!({ "user": { "id": "u", "roles": [""] } })),
            "`roles` must not be empty; leave the member out instead"
        );
    }

    #[test]
    fn a_text_that_is_no_pointer_is_refused() {
        for text in ["", "user/id", "/a~", "/a~2b"] {
            assert!(text.parse::<Pointer>().is_err(), "{text:?}");
        }
    }
}

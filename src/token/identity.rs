//! Whom a token is about: the one shape in which every resolver and every caller describes a user.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

/// A user as a token may describe them. Values are kept byte for byte; `None` is "not known", which
/// is not the same as an empty list. Its texts may stand in the request that it was read from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity<'a> {
    /// The user's ID at the customer, 1 to 200 bytes; a fresh random one for an anonymous user.
    pub user_id: Cow<'a, str>,
    /// An email address, at most 254 bytes.
    pub email: Option<Cow<'a, str>>,
    /// Roles in the order given, at most 30 of 1 to 80 bytes.
    pub roles: Option<Vec<Cow<'a, str>>>,
    /// The user's plan, 1 to 80 bytes.
    pub plan: Option<Cow<'a, str>>,
    /// Whether the user is unknown to the customer.
    pub anonymous: bool,
    /// Further values by name, for a profile's `user.attributes.NAME`.
    pub attributes: BTreeMap<String, Value>,
}

impl Identity<'_> {
    /// The same on its own, without the request.
    #[must_use]
    pub fn into_owned(self) -> Identity<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Identity {
            user_id: owned(self.user_id),
            email: self.email.map(owned),
            roles: (self.roles).map(|roles| roles.into_iter().map(owned).collect()),
            plan: self.plan.map(owned),
            anonymous: self.anonymous,
            attributes: self.attributes,
        }
    }
}

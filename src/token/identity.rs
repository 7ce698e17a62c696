//! Whom a token is about: the one shape in which every resolver and every caller describes a user.

use std::collections::BTreeMap;

use serde_json::Value;

/// A user as a token may describe them. Values are kept byte for byte; `None` is "not known", which
/// is not the same as an empty list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// The user's ID at the customer, 1 to 200 bytes; a fresh random one for an anonymous user.
    pub user_id: String,
    /// An email address, at most 254 bytes.
    pub email: Option<String>,
    /// Roles in the order given, at most 30 of 1 to 80 bytes.
    pub roles: Option<Vec<String>>,
    /// The user's plan, 1 to 80 bytes.
    pub plan: Option<String>,
    /// Whether the user is unknown to the customer.
    pub anonymous: bool,
    /// Further values by name, for a profile's `user.attributes.NAME`.
    pub attributes: BTreeMap<String, Value>,
}

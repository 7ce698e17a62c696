//! A user whom nobody knows: a fresh random ID, never the one that a browser proposes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::random;
use crate::token::Identity;

/// An anonymous identity with a user ID of 128 random bits.
#[must_use]
pub fn anonymous() -> Identity<'static> {
    Identity {
        user_id: format!("anon_{}", URL_SAFE_NO_PAD.encode(random::id::<16>())).into(),
        anonymous: true,
        ..Identity::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::check_session_identity;

    #[test]
    fn every_anonymous_user_is_another_one_and_within_the_bounds() {
        let (one, other) = (anonymous(), anonymous());
        assert!(one.anonymous);
        assert_ne!(one.user_id, other.user_id);
        assert_eq!(one.user_id.len(), "anon_".len() + 22);
        assert_eq!(check_session_identity(&one), Ok(()));
    }
}

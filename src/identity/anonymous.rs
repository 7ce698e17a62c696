//! A user whom nobody knows: a fresh random ID, never the one that a browser proposes.

use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Unresolved;
use crate::token::Identity;

/// An anonymous identity with a user ID of 128 random bits.
///
/// # Errors
/// [`Unresolved::Unavailable`] when the system gives no random numbers.
pub fn anonymous() -> Result<Identity, Unresolved> {
    let mut bits = [0; 16];
    rand::fill(&mut bits).map_err(|_| {
        Unresolved::unavailable("the system gives no random numbers", Duration::from_secs(1))
    })?;
    Ok(Identity {
        user_id: format!("anon_{}", URL_SAFE_NO_PAD.encode(bits)),
        anonymous: true,
        ..Identity::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::check_session_identity;

    #[test]
    fn every_anonymous_user_is_another_one_and_within_the_bounds() {
        let (one, other) = (anonymous().unwrap(), anonymous().unwrap());
        assert!(one.anonymous);
        assert_ne!(one.user_id, other.user_id);
        assert_eq!(one.user_id.len(), "anon_".len() + 22);
        assert_eq!(check_session_identity(&one), Ok(()));
    }
}

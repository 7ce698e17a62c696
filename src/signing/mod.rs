//! The keys of the platforms, their schedule, and the one place that seals a JWT.
//!
//! A [`Key`] keeps its signing state ready (`aws-lc-rs`), because parsing it for each token costs more
//! than signing; what it seals is checked at start and at readiness through `jsonwebtoken`, a second
//! reading of the same standards (RFC 7515, 7518, 8037).

mod algorithm;
mod key;
mod keyring;
mod seal;

pub use algorithm::Algorithm;
pub use key::{Key, KeyError, KeyId};
pub use keyring::{KeyState, Keyring, ScheduledKey};
pub use seal::{EncodedHeader, Jwt, SealError, UnverifiedToken, VerifyError};

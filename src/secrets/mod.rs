//! Where secret bytes come from: an environment variable, a file, a command or Vault, named in the configuration.
//!
//! A [`SecretRef`] is only a name and may be kept and compared; a [`Secret`] is the bytes, cannot be
//! printed and is wiped when dropped. No error here repeats a name or a path: people paste the
//! secret itself where its name belongs, so errors say what is wrong and the configuration says where.

mod command;
mod fetcher;
mod source;
mod vault;
mod weak;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretSlice};
use zeroize::Zeroizing;

use crate::random;

pub use command::SecretCommand;
pub use fetcher::{Fetched, Fetcher, Origin};
pub use source::{Encoding, SecretError, SecretName, SecretRef, Variables};
pub use vault::{VaultError, VaultLogin, VaultSecret, VaultServer};
pub use weak::Weakness;

/// Secret bytes: unprintable, wiped when dropped, compared in constant time.
#[derive(Clone)]
pub struct Secret(SecretSlice<u8>);

impl Secret {
    /// Takes the bytes over. What the caller copied them from is the caller's to wipe.
    #[must_use]
    pub fn new(mut bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(SecretSlice::from(std::mem::take(&mut *bytes)))
    }

    /// The bytes themselves; keep the borrow as short as possible.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.expose().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    /// Whether both hold the same bytes, in a time that depends on their lengths alone.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.expose().ct_eq(other.expose()).into()
    }

    /// Why this secret could be guessed, if it could: a published sample, a placeholder, a repetition.
    #[must_use]
    pub fn weakness(&self) -> Option<Weakness> {
        weak::weakness(self.expose())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(Zeroizing::new(text.as_bytes().to_vec()))
    }
}

/// A new signing secret: 256 random bits in base64url, which as text are enough for HS256.
#[must_use]
pub fn new_secret() -> Zeroizing<String> {
    let bytes = Zeroizing::new(random::bytes::<32>());
    Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_itself() {
        let secret = Secret::from("correct horse battery staple");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn secrets_are_the_same_only_with_the_same_bytes() {
        assert!(Secret::from("a").same_as(&Secret::from("a")));
        assert!(!Secret::from("a").same_as(&Secret::from("b")));
        assert!(!Secret::from("a").same_as(&Secret::from("ab")));
    }
}

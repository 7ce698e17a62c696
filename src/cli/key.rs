//! `signet key new`: a caller's key, shown once, and its hash for the configuration.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::{Trouble, print};
use crate::caller::KeyDigest;
use crate::random;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Print a new key for CALLER once, and its hash for the configuration
    New {
        /// The caller's name in the configuration
        caller: String,
    },
}

pub(super) fn run(command: &Command) -> Result<(), Trouble> {
    let Command::New { caller } = command;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !(1..=64).contains(&caller.len()) || !caller.chars().all(fits) {
        return Err(Trouble::Usage(
            "a caller's name has 1 to 64 letters, digits, `.`, `_` and `-`".to_owned(),
        ));
    }
    let key = new_key();
    let hash = KeyDigest::of(key.as_bytes()).to_hex();
    print(&format!(
        "# the key of `{caller}`: give it to that backend alone; it is not shown again\n{}\n\n# for the configuration; beside a live key, add the hash to its list\n[callers.{caller}]\nkey_sha256 = [\"{hash}\"]",
        *key
    ))
}

/// A new caller's key: 256 random bits after a prefix by which secret scanners can know it.
pub(super) fn new_key() -> Zeroizing<String> {
    let bytes = Zeroizing::new(random::bytes::<32>());
    Zeroizing::new(format!("sgn_{}", URL_SAFE_NO_PAD.encode(*bytes)))
}

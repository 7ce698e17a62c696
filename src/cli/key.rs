//! `signet key new`: a caller's key, shown once, and its hash for the configuration.

use super::{Trouble, print};
use crate::caller::{KeyDigest, new_key};

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

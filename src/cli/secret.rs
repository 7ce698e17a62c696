//! `signet secret new`: a signing secret that nobody can guess.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::{Trouble, print};
use crate::random;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Print 256 random bits in base64url
    New,
}

pub(super) fn run(command: &Command) -> Result<(), Trouble> {
    let Command::New = command;
    print(&new_secret())
}

/// 256 random bits in base64url, which as text are enough for HS256.
pub(super) fn new_secret() -> Zeroizing<String> {
    let bytes = Zeroizing::new(random::bytes::<32>());
    Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes))
}

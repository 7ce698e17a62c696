//! `signet secret new`: a signing secret that nobody can guess.

use super::{Trouble, print};
use crate::secrets::new_secret;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Print 256 random bits in base64url
    New,
}

pub(super) fn run(command: &Command) -> Result<(), Trouble> {
    let Command::New = command;
    print(&new_secret())
}

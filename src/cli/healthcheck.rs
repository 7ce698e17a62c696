//! `signet healthcheck`: asks the admin listener of a running signet whether it is ready.

use std::time::Duration;

use super::{Configuration, Trouble, running};

const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn run(configuration: Configuration) -> Result<(), Trouble> {
    let answer = running::ask(&configuration.sources(), "/readyz", PATIENCE)?;
    if answer.status == "200" {
        return Ok(());
    }
    Err(Trouble::Refused(format!(
        "signet at {} is not ready (status {})",
        answer.address, answer.status
    )))
}

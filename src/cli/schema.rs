//! `signet schema`: the JSON Schema of the configuration.

use super::{Trouble, print};
use crate::config;

pub(super) fn run() -> Result<(), Trouble> {
    print(&format!("{:#}", config::schema()))
}

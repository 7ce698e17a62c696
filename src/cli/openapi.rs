//! `signet openapi`: the public port as an OpenAPI document.

use super::{Trouble, print};
use crate::service;

pub(super) fn run() -> Result<(), Trouble> {
    print(&format!("{:#}", service::openapi()))
}

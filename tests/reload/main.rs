//! Changes while the service runs: planned rotation, reloads, damaged files and certificates, without a failed request.
#![expect(clippy::unwrap_used, reason = "in a test, what fails should stop it")]

mod commands;
mod faults;
mod load;
mod preview;
mod schedule;
mod support;
mod vault;
mod watching;

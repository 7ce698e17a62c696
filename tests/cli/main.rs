//! The built binary: its commands, its life as a service, and what must never be in its output.
#![expect(clippy::unwrap_used, reason = "in a test, what fails should stop it")]

mod commands;
mod running;
mod secrets;
mod serve;

//! The built binary: its commands, its life as a service, and what must never be in its output.
#![expect(clippy::unwrap_used, reason = "in a test, what fails should stop it")]

mod commands;
mod ends;
mod floods;
mod log;
mod running;
mod secrets;
mod serve;
mod smuggling;

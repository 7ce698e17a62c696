//! The service from outside: the real router and layers, a fixed clock, one file per subject.
#![expect(clippy::unwrap_used, reason = "in a test, what fails should stop it")]

mod admin;
mod audit;
mod browser;
mod callers;
mod door;
mod kore;
mod limits;
mod origins;
mod sessions;
mod support;
mod token;

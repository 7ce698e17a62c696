//! Signet issues short-lived, signed tokens to embedded widgets: the map of the rooms.
#![forbid(unsafe_code)]

pub mod caller;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dev;
pub mod http;
pub mod identity;
pub mod limits;
pub mod random;
pub mod secrets;
pub mod server;
pub mod service;
pub mod signing;
pub mod telemetry;
pub mod token;
pub mod upstream;

//! Signet issues short-lived, signed tokens to embedded widgets: the map of the rooms.
#![forbid(unsafe_code)]

pub mod caller;
pub mod clock;
pub mod dev;
pub mod http;
pub mod identity;
pub mod limits;
pub mod random;
pub mod secrets;
pub mod server;
pub mod signing;
pub mod telemetry;
pub mod token;

//! Signet issues short-lived, signed tokens to embedded widgets: the map of the rooms.
#![forbid(unsafe_code)]

pub mod clock;
pub mod random;
pub mod secrets;
pub mod signing;
pub mod limits;
pub mod server;
pub mod identity;
pub mod token;

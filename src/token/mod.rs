//! What a token says and who may have it: pure rules, without I/O, clock, randomness or logging.

mod identity;

pub use identity::Identity;

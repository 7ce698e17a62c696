//! What a token says and who may have it: pure rules, without I/O, clock, randomness or logging.

mod app;
mod at;
mod eight;
mod fit;
mod identity;
mod json;
mod mint;
mod plan;
mod policy;
mod profile;
mod quoted;
mod request;
#[cfg(test)]
mod samples;
mod source;
mod template;
mod text;

pub use app::{App, AppError, AppName, AppSettings};
pub use identity::Identity;
pub use json::{Json, NotJson};
pub use mint::{Dice, MAX_TOKEN_BYTES, MintError, Minted, mint, mint_with};
pub use policy::{Allowed, Denial, DenialCode, Finding, Grant, Policy, Witness};
pub use profile::{Profile, ProfileProblem, ProfileSource};
pub use quoted::append_quoted;
pub use request::{Asked, Fault, Given};
pub use text::{TextFault, check_email, check_text};

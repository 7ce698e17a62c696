//! Minting: a grant, an app, a time and some dice become a sealed token and its answer.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::app::App;
use super::plan::{Unfilled, Values};
use super::policy::{Denial, DenialCode, Grant};
use super::request::Fault;
use crate::clock::Timestamp;
use crate::signing::{Jwt, KeyId};

/// The longest token, in bytes: many servers take no more than 8 KiB of headers in all.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// The dice of one token, rolled by whoever mints it.
#[derive(Clone, Copy, Debug)]
pub struct Dice {
    /// 128 random bits: the token's ID.
    pub token_id: [u8; 16],
    /// Spreads the moments at which tokens issued together are renewed.
    pub jitter: u8,
}

/// A token and all that may be said of it.
#[derive(Debug)]
pub struct Minted {
    /// The token.
    pub token: Jwt,
    /// The JSON answer that carries it.
    pub answer: Vec<u8>,
    /// `exp`.
    pub expires_at: Timestamp,
    /// The seconds from the moment of minting to `exp`.
    pub expires_in_seconds: i64,
    /// `exp - iat`, in seconds.
    pub lifetime_seconds: i64,
    /// Which of the app's keys signed it: its place in the keyring.
    pub key: usize,
    /// Its ID, where the app's tokens have one.
    pub token_id: Option<String>,
}

/// Why no token came of a grant.
#[derive(Debug, PartialEq, Eq)]
pub enum MintError {
    /// The grant doesn't fit the profile.
    Denied(Denial),
    /// A key that doesn't sign, or none that is active: the operator's to mend.
    NoKey,
}

/// Mints a token with the key that is active at `now`.
///
/// # Errors
/// When the profile needs a value that the grant lacks, the token would be longer than 4 KiB, or no key signs.
pub fn mint(
    app: &App,
    grant: &Grant<'_>,
    caller: Option<&str>,
    dice: Dice,
    now: Timestamp,
) -> Result<Minted, MintError> {
    mint_with(app, grant, caller, dice, now, None)
}

/// Mints a token with the key named `key`, active or not, for trying it out; else as [`mint`].
///
/// # Errors
/// As [`mint`]; a key that isn't there is [`MintError::NoKey`].
pub fn mint_with(
    app: &App,
    grant: &Grant<'_>,
    caller: Option<&str>,
    dice: Dice,
    now: Timestamp,
    key: Option<&KeyId>,
) -> Result<Minted, MintError> {
    let position = match key {
        Some(id) => app.keyring().position(id),
        None => app.keyring().active(now),
    }
    .ok_or(MintError::NoKey)?;
    let (key, header) = app.signing(position);
    let issued_at = now.plus_seconds(-app.backdate_seconds());
    let expires_at = issued_at.plus_seconds(grant.ttl_seconds);
    let expires_in = expires_at.seconds_since(now);
    let token_id = app
        .token_id()
        .then(|| URL_SAFE_NO_PAD.encode(dice.token_id));
    let mut values = Values {
        caller,
        expires_at: expires_at.seconds(),
        expires_in,
        identity: &grant.identity,
        issued_at: issued_at.seconds(),
        key_id: key.id().as_str(),
        refresh_after: refresh_after(expires_in, dice.jitter),
        scope: grant.scope.as_deref(),
        token: b"",
        token_id: token_id.as_deref(),
    };
    // One after the other in the same room, which the claims have left when the answer comes.
    let mut written = Vec::with_capacity(640);
    let unfilled = |unfilled: Box<Unfilled>| denied(*unfilled);
    app.claims()
        .write(&values, &mut written)
        .map_err(unfilled)?;
    let token = key.seal(header, &written).map_err(|_| MintError::NoKey)?;
    if token.len() > MAX_TOKEN_BYTES {
        let detail = format!(
            "the token would have {} bytes and may have {MAX_TOKEN_BYTES}; send fewer or shorter values",
            token.len()
        );
        return Err(MintError::Denied(Denial {
            code: DenialCode::TokenTooLarge,
            faults: Vec::new(),
            detail,
        }));
    }
    values.token = token.expose_bytes();
    written.clear();
    app.answer()
        .write(&values, &mut written)
        .map_err(unfilled)?;
    Ok(Minted {
        answer: written,
        expires_at,
        expires_in_seconds: expires_in,
        lifetime_seconds: grant.ttl_seconds,
        key: position,
        token_id,
        token,
    })
}

/// About nine tenths of the time left: 85 to 95 %, so that widgets opened together don't renew together.
fn refresh_after(expires_in: i64, jitter: u8) -> i64 {
    let permille = 850 + i64::from(jitter) * 100 / 255;
    (expires_in.saturating_mul(permille) / 1000)
        .max(1)
        .min(expires_in.max(0))
}

fn denied(unfilled: Unfilled) -> MintError {
    let fault = Fault::from(unfilled);
    MintError::Denied(Denial::of(
        DenialCode::InvalidRequest,
        fault.pointer,
        fault.detail,
    ))
}

#[cfg(test)]
mod tests;

//! Reading `Authorization`: bearer keys and HTTP Basic, and nothing that is neither.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

use super::Unproven;
use crate::secrets::Secret;

/// The longest `Authorization` that is looked at, in bytes: a platform's token may have 8 KiB.
const MAX_BYTES: usize = 8 * 1024 + 16;

/// Credentials as the request brought them, not yet believed.
pub(super) struct Presented<'a> {
    /// The caller's name, which Basic brings and Bearer doesn't.
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) key: PresentedKey<'a>,
}

/// A key where it stands, or what had to be decoded to read it.
pub(super) enum PresentedKey<'a> {
    Decoded(Secret),
    InPlace(&'a [u8]),
}

impl PresentedKey<'_> {
    pub(super) fn expose(&self) -> &[u8] {
        match self {
            Self::Decoded(key) => key.expose(),
            Self::InPlace(key) => key,
        }
    }
}

impl<'a> Presented<'a> {
    pub(super) fn from_headers(headers: &'a HeaderMap) -> Result<Self, Unproven> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or(Unproven::Missing)?;
        // Two credentials are an ambiguity that a proxy and we might settle differently.
        if values.next().is_some() || value.len() > MAX_BYTES {
            return Err(Unproven::Wrong);
        }
        let (scheme, credentials) = halves(value.as_bytes()).ok_or(Unproven::Wrong)?;
        if scheme.eq_ignore_ascii_case(b"bearer") {
            Ok(Self {
                name: None,
                key: PresentedKey::InPlace(credentials),
            })
        } else if scheme.eq_ignore_ascii_case(b"basic") {
            basic(credentials)
        } else {
            Err(Unproven::Wrong)
        }
    }
}

impl Presented<'_> {
    /// Basic credentials whose halves are form-urlencoded, as RFC 6749 section 2.3.1 wants them of OAuth
    /// clients; `None` where that makes no difference.
    pub(super) fn form_decoded(&self) -> Option<Presented<'static>> {
        let name = self.name.as_deref()?;
        let encoded = |bytes: &[u8]| bytes.iter().any(|byte| matches!(byte, b'%' | b'+'));
        if !encoded(name.as_bytes()) && !encoded(self.key.expose()) {
            return None;
        }
        let decoded = |bytes: &[u8]| {
            let text = form_urlencoded::parse(bytes).next();
            text.map_or_else(String::new, |(text, _)| text.into_owned())
        };
        let key = Zeroizing::new(decoded(self.key.expose()));
        Some(Presented {
            name: Some(decoded(name.as_bytes()).into()),
            key: PresentedKey::Decoded(Secret::from(key.as_str())),
        })
    }
}

/// A scheme and one word of visible ASCII, with spaces between and perhaps behind. Byte by byte, as searchers that are
/// made for long texts cost more than so short a one has to give.
fn halves(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, mut credentials) = value.split_at(space);
    while let [b' ', rest @ ..] | [rest @ .., b' '] = credentials {
        credentials = rest;
    }
    // To the end whatever comes, so that many bytes are looked at with one instruction.
    let fits = |all: bool, byte: &u8| all & (byte.is_ascii_graphic() | (*byte == b'\t'));
    let fit = credentials.iter().fold(!credentials.is_empty(), fits);
    fit.then_some((scheme, credentials))
}

fn basic(credentials: &[u8]) -> Result<Presented<'static>, Unproven> {
    let mut decoded = Zeroizing::new(STANDARD.decode(credentials).map_err(|_| Unproven::Wrong)?);
    let colon = decoded
        .iter()
        .position(|byte| *byte == b':')
        .ok_or(Unproven::Wrong)?;
    let key = Zeroizing::new(decoded.split_off(colon + 1));
    decoded.pop();
    let name = std::str::from_utf8(&decoded)
        .map_err(|_| Unproven::Wrong)?
        .to_owned();
    if key.is_empty() {
        Err(Unproven::Wrong)
    } else {
        Ok(Presented {
            name: Some(name.into()),
            key: PresentedKey::Decoded(Secret::new(key)),
        })
    }
}

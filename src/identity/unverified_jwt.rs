//! A JWT taken apart and not yet believed: its header, and the key that signed it.

use std::borrow::Cow;
use std::str::FromStr;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::jwt_verifier::JwtRejected;
use super::key_set::KeySet;

/// More than any session or workload token is long, and less than a request's headers may be.
pub(super) const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The compact form (RFC 7515 section 7.1) of a JWT.
pub(super) struct UnverifiedJwt<'a> {
    pub(super) algorithm: Algorithm,
    key_id: Option<String>,
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
}

/// As much of a header as is looked at. A member that comes twice is an error.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    kid: Option<String>,
    #[serde(default, deserialize_with = "presence")]
    crit: bool,
}

fn presence<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl<'a> UnverifiedJwt<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, JwtRejected> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(JwtRejected::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(JwtRejected::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(JwtRejected::Malformed)?;
        if payload.contains('.') {
            return Err(JwtRejected::Malformed);
        }
        let header = decode(header)?;
        // serde would take an array for the struct.
        if !header.trim_ascii_start().starts_with(b"{") {
            return Err(JwtRejected::Malformed);
        }
        let header: Header<'_> =
            serde_json::from_slice(&header).map_err(|_| JwtRejected::Malformed)?;
        if header.crit {
            return Err(JwtRejected::CriticalExtension);
        }
        let algorithm =
            Algorithm::from_str(&header.alg).map_err(|_| JwtRejected::AlgorithmNotAllowed)?;
        Ok(Self {
            algorithm,
            key_id: header.kid,
            message,
            payload,
            signature,
        })
    }

    pub(super) fn key_in<'k>(&self, set: &'k KeySet) -> Result<&'k DecodingKey, JwtRejected> {
        set.find(self.key_id.as_deref(), self.algorithm)
    }

    pub(super) fn check_signature(&self, key: &DecodingKey) -> Result<(), JwtRejected> {
        let message = self.message.as_bytes();
        match jsonwebtoken::crypto::verify(self.signature, message, key, self.algorithm) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(JwtRejected::BadSignature),
        }
    }

    pub(super) fn check_tag(&self, key: &hmac::Key) -> Result<(), JwtRejected> {
        let tag = URL_SAFE_NO_PAD.decode(self.signature);
        let tag = tag.map_err(|_| JwtRejected::BadSignature)?;
        hmac::verify(key, self.message.as_bytes(), &tag).map_err(|_| JwtRejected::BadSignature)
    }

    pub(super) fn into_claims(self) -> Result<Map<String, Value>, JwtRejected> {
        serde_json::from_slice(&decode(self.payload)?).map_err(|_| JwtRejected::Malformed)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, JwtRejected> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| JwtRejected::Malformed)
}

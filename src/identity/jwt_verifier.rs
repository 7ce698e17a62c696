//! Whether a JWT from elsewhere holds: its signature under pinned algorithms, then its claims.
//!
//! Only signatures are left to libraries. The claims are checked here, by type as well as by
//! value and against a time that is handed in. No key or address that a token itself carries
//! (`jwk`, `jku`, `x5c`, `x5u`) is ever looked at.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use secrecy::{ExposeSecret, SecretSlice};
use serde_json::{Map, Value};

use super::jwks_cache::JwksCache;
use super::key_set::KeySet;
use super::unverified_jwt::{MAX_TOKEN_BYTES, UnverifiedJwt};
use crate::clock::Timestamp;

/// How far an issuer's clock may run ahead of ours before its fresh tokens are refused. An expired
/// token gets no such grace.
const NOT_BEFORE_LEEWAY_SECONDS: f64 = 5.0;

/// Where the keys to verify with come from.
pub enum KeySource {
    /// A JWK Set that doesn't change.
    Fixed(Arc<KeySet>),
    /// A secret shared with the issuer, for `HS256`, `HS384` and `HS512` alone.
    Secret(SecretSlice<u8>),
    /// A JWK Set by URL.
    Url(JwksCache),
}

/// What a JWT must say of itself to be accepted.
#[derive(Clone, Debug)]
pub struct JwtRules {
    /// The value of `iss`.
    pub issuer: String,
    /// The value of `aud`, or one of its values.
    pub audience: String,
    /// The algorithms that it may be signed with; each must fit the kind of key.
    pub algorithms: Vec<Algorithm>,
}

/// Rules that can't be kept, or would keep nobody out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadVerifier {
    /// One of `issuer`, `audience` and `algorithms` is empty.
    #[error("`{0}` is empty: say what to accept")]
    Empty(&'static str),
    /// A public key with a HMAC algorithm, or a secret with another.
    #[error("{algorithm:?} can't be verified with {keys}: list only algorithms that can")]
    Misfit {
        /// The algorithm that doesn't fit.
        algorithm: Algorithm,
        /// What kind of keys there are.
        keys: &'static str,
    },
    /// The secret is a PEM text, which for a public key is no secret at all.
    #[error(
        "the secret is a PEM text: give public keys as a JWK Set, by `jwks_url` or `jwks_file`"
    )]
    PemAsSecret,
    /// RFC 7518 section 3.2.
    #[error("the secret has fewer than the {needed} bytes that {algorithm:?} needs")]
    ShortSecret {
        /// The algorithm whose hash is longer.
        algorithm: Algorithm,
        /// How many bytes that hash has.
        needed: usize,
    },
}

/// Why a JWT is not accepted. Holds nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtRejected {
    /// `alg` is not listed, is `none`, or isn't known.
    #[error("the token's `alg` is not among the algorithms to accept")]
    AlgorithmNotAllowed,
    /// There is no `kid`, and more than one key fits.
    #[error("the token names no key (`kid`), and more than one fits")]
    AmbiguousKey,
    /// A claim that is missing or not of its type (RFC 7519 section 4.1).
    #[error("the token's claim `{0}` is missing or has the wrong type")]
    BadClaim(&'static str),
    /// The signature isn't the key's.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// `crit` names extensions; there are none that we know (RFC 7515 section 4.1.11).
    #[error("the token demands an extension (`crit`)")]
    CriticalExtension,
    /// `exp` is now or past.
    #[error("the token has expired")]
    Expired,
    /// The keys can't be had at the moment: nothing is known about the token.
    #[error("the keys to verify the token with can't be had")]
    KeysUnavailable {
        /// When to ask again.
        retry_after: Duration,
    },
    /// Not three parts of base64url with a JSON object in the first and the second.
    #[error("the token is not a signed JWT")]
    Malformed,
    /// `nbf` is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Longer than 8 KiB.
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// No key has the token's `kid` and fits its `alg`.
    #[error("the token is signed with a key that its issuer doesn't publish")]
    UnknownKey,
    /// `aud` doesn't name us.
    #[error("the token is for another audience")]
    WrongAudience,
    /// `iss` is another.
    #[error("the token is from another issuer")]
    WrongIssuer,
}

/// Verifies JWTs of one issuer for one audience.
pub struct JwtVerifier {
    rules: JwtRules,
    keys: Keys,
}

enum Keys {
    Fixed(Arc<KeySet>),
    Secret(Vec<(Algorithm, hmac::Key)>),
    Url(JwksCache),
}

impl JwtVerifier {
    /// The cache of the keys that it verifies with, where they are fetched by URL.
    #[must_use]
    pub const fn key_cache(&self) -> Option<&JwksCache> {
        match &self.keys {
            Keys::Url(cache) => Some(cache),
            Keys::Fixed(_) | Keys::Secret(_) => None,
        }
    }

    /// A verifier that keeps `rules` with the keys from `source`.
    ///
    /// # Errors
    /// [`BadVerifier`] when the rules are incomplete or don't fit the keys.
    pub fn new(rules: JwtRules, source: KeySource) -> Result<Self, BadVerifier> {
        if rules.issuer.is_empty() {
            return Err(BadVerifier::Empty("issuer"));
        }
        if rules.audience.is_empty() {
            return Err(BadVerifier::Empty("audience"));
        }
        if rules.algorithms.is_empty() {
            return Err(BadVerifier::Empty("algorithms"));
        }
        let shared = matches!(source, KeySource::Secret(_));
        let kind = if shared {
            "a shared secret"
        } else {
            "public keys"
        };
        let is_misfit = |a: &&Algorithm| (a.family() == AlgorithmFamily::Hmac) != shared;
        if let Some(algorithm) = rules.algorithms.iter().find(is_misfit) {
            return Err(BadVerifier::Misfit {
                algorithm: *algorithm,
                keys: kind,
            });
        }
        let keys = match source {
            KeySource::Fixed(set) => Keys::Fixed(set),
            KeySource::Secret(secret) => {
                Keys::Secret(hmac_keys(secret.expose_secret(), &rules.algorithms)?)
            }
            KeySource::Url(cache) => Keys::Url(cache),
        };
        Ok(Self { rules, keys })
    }

    /// The claims of `token`, when it holds at `now`.
    ///
    /// # Errors
    /// [`JwtRejected`]; only [`JwtRejected::KeysUnavailable`] leaves open whether it holds.
    pub async fn verify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Map<String, Value>, JwtRejected> {
        let unverified = UnverifiedJwt::parse(token)?;
        if !self.rules.algorithms.contains(&unverified.algorithm) {
            return Err(JwtRejected::AlgorithmNotAllowed);
        }
        match &self.keys {
            Keys::Secret(keys) => {
                let mut fitting = keys.iter().filter(|(a, _)| *a == unverified.algorithm);
                let (_, key) = fitting.next().ok_or(JwtRejected::UnknownKey)?;
                unverified.check_tag(key)?;
            }
            Keys::Fixed(set) => unverified.check_signature(unverified.key_in(set)?)?,
            Keys::Url(cache) => {
                let known = cache.current().await?;
                match unverified.key_in(&known) {
                    Err(JwtRejected::UnknownKey) => {
                        let renewed = cache.renewed().await?;
                        unverified.check_signature(unverified.key_in(&renewed)?)?;
                    }
                    key => unverified.check_signature(key?)?,
                }
            }
        }
        let claims = unverified.into_claims()?;
        self.rules.check(&claims, now)?;
        Ok(claims)
    }
}

/// One key per algorithm, made ready: to do it for each token costs as much as the hashing itself.
fn hmac_keys(
    secret: &[u8],
    algorithms: &[Algorithm],
) -> Result<Vec<(Algorithm, hmac::Key)>, BadVerifier> {
    // Whoever knows a public key could sign with it, were its text taken for a secret.
    if secret.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Err(BadVerifier::PemAsSecret);
    }
    let key = |algorithm: &Algorithm| {
        let hash = match algorithm {
            Algorithm::HS512 => hmac::HMAC_SHA512,
            Algorithm::HS384 => hmac::HMAC_SHA384,
            _ => hmac::HMAC_SHA256,
        };
        let needed = hash.digest_algorithm().output_len();
        if secret.len() < needed {
            return Err(BadVerifier::ShortSecret {
                algorithm: *algorithm,
                needed,
            });
        }
        Ok((*algorithm, hmac::Key::new(hash, secret)))
    };
    algorithms.iter().map(key).collect()
}

impl JwtRules {
    /// RFC 7519 section 4.1. `exp` is required, which the RFC leaves open.
    fn check(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<(), JwtRejected> {
        // Exact for every second within the next hundred million years.
        #[expect(
            clippy::cast_precision_loss,
            reason = "a date may have a fraction, so both are floats"
        )]
        let now = now.seconds() as f64;
        let expires_at = date(claims, "exp")?.ok_or(JwtRejected::BadClaim("exp"))?;
        let not_before = date(claims, "nbf")?;
        date(claims, "iat")?;
        if expires_at <= now {
            return Err(JwtRejected::Expired);
        }
        if not_before.is_some_and(|not_before| not_before > now + NOT_BEFORE_LEEWAY_SECONDS) {
            return Err(JwtRejected::NotYetValid);
        }
        match claims.get("iss") {
            Some(Value::String(issuer)) if *issuer == self.issuer => {}
            Some(Value::String(_)) => return Err(JwtRejected::WrongIssuer),
            _ => return Err(JwtRejected::BadClaim("iss")),
        }
        let is_for_us = match claims.get("aud") {
            Some(Value::String(audience)) => *audience == self.audience,
            Some(Value::Array(audiences)) if audiences.iter().all(Value::is_string) => {
                audiences.iter().any(|audience| *audience == self.audience)
            }
            _ => return Err(JwtRejected::BadClaim("aud")),
        };
        if is_for_us {
            Ok(())
        } else {
            Err(JwtRejected::WrongAudience)
        }
    }
}

/// A `NumericDate` (RFC 7519 section 2), which may have a fraction.
fn date(claims: &Map<String, Value>, name: &'static str) -> Result<Option<f64>, JwtRejected> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(date)) => date.as_f64().map(Some).ok_or(JwtRejected::BadClaim(name)),
        Some(_) => Err(JwtRejected::BadClaim(name)),
    }
}

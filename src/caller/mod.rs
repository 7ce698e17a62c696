//! Who is asking: proof that a request comes from one of our callers.

mod credentials;
mod workload;

use std::fmt;
use std::ops::BitAnd;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::identity::{JwksCache, JwtRejected};
use crate::random;
use crate::secrets::Secret;
use crate::token::Policy;

pub use workload::Workload;

use credentials::{Presented, PresentedKey};

/// The fewest bytes of a caller's key.
pub const MIN_KEY_BYTES: usize = 32;

/// A caller's key as it is kept: the SHA-256 of its bytes. The keys are random, so a slow hash would
/// protect nothing that this doesn't.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of a key's bytes.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// A digest that was computed elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest as 64 lower-case hexadecimal digits, the form of the configuration.
    #[must_use]
    pub fn to_hex(self) -> String {
        use fmt::Write;
        self.0
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                write!(hex, "{byte:02x}").expect("a String takes it");
                hex
            })
    }
}

/// A new key for a caller: 256 random bits in base64url, after a prefix by which secret scanners can know it.
#[must_use]
pub fn new_key() -> Zeroizing<String> {
    let bytes = Zeroizing::new(random::bytes::<32>());
    Zeroizing::new(format!("sgn_{}", URL_SAFE_NO_PAD.encode(*bytes)))
}

/// A backend that may ask for tokens.
#[derive(Debug)]
pub struct Caller {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// What it may ask for.
    pub policy: Policy,
}

/// What proves a caller: any of these.
#[derive(Debug, Default)]
pub struct Credentials {
    /// Its live keys.
    pub keys: Vec<KeyDigest>,
    /// The token that its platform gives it.
    pub workload: Option<Workload>,
}

/// Why a request has no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// No credentials at all.
    Missing,
    /// Nobody can say at the moment: the keys of an issuer can't be had.
    Unavailable {
        /// When to ask again.
        retry_after: Duration,
    },
    /// No caller's key, but a JWT, and there are callers whom one proves: ask
    /// [`Callers::authenticate_workload`], which may have to ask another service.
    Workload,
    /// Credentials of nobody, or none that can be read.
    Wrong,
}

/// Every caller with its keys.
#[derive(Debug, Default)]
pub struct Callers {
    callers: Vec<Arc<Caller>>,
    keys: Vec<(KeyDigest, u32)>,
    workloads: Vec<(Workload, u32)>,
}

impl Callers {
    /// The callers with what proves each.
    #[must_use]
    pub fn new(callers: Vec<(Caller, Credentials)>) -> Self {
        let mut all = Self::default();
        for (index, (caller, credentials)) in (0..).zip(callers) {
            all.callers.push(Arc::new(caller));
            let keys = credentials.keys.into_iter();
            all.keys.extend(keys.map(|key| (key, index)));
            all.workloads
                .extend(credentials.workload.map(|workload| (workload, index)));
        }
        all
    }

    /// The caches of issuers' keys, for a reload to go on with.
    pub fn key_caches(&self) -> impl Iterator<Item = &JwksCache> {
        let workloads = self.workloads.iter();
        workloads.filter_map(|(workload, _)| workload.key_cache())
    }

    /// The caller of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Caller>> {
        self.callers.iter().find(|caller| &*caller.name == name)
    }

    /// All of them, in the configuration's order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Caller>> {
        self.callers.iter()
    }

    /// Proves a request's caller from its `Authorization`: RFC 6750 section 2.1 or RFC 7617.
    ///
    /// # Errors
    /// When there are no credentials, or they are nobody's. The time taken doesn't say which key or
    /// name came close.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<&Arc<Caller>, Unproven> {
        let presented = Presented::from_headers(headers)?;
        match (self.prove(&presented), presented.form_decoded()) {
            (Err(Unproven::Wrong), Some(decoded)) => self.prove(&decoded),
            (Err(Unproven::Wrong), None) if self.may_be_workload(&presented) => {
                Err(Unproven::Workload)
            }
            (proven, _) => proven,
        }
    }

    fn may_be_workload(&self, presented: &Presented<'_>) -> bool {
        let dots = || presented.key.expose().iter().filter(|byte| **byte == b'.');
        !self.workloads.is_empty() && presented.name.is_none() && dots().count() == 2
    }

    /// Proves a caller by the JWT in its `Authorization`, for requests that [`Self::authenticate`] leaves at
    /// [`Unproven::Workload`]; its times are held against `now`.
    ///
    /// # Errors
    /// When the token is nobody's or several callers', or nobody can say at the moment.
    pub async fn authenticate_workload(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<&Arc<Caller>, Unproven> {
        let presented = Presented::from_headers(headers)?;
        let token = std::str::from_utf8(presented.key.expose()).map_err(|_| Unproven::Wrong)?;
        let mut found = Vec::new();
        let mut unavailable = None;
        for (workload, caller) in &self.workloads {
            match workload.is_proved_by(token, now).await {
                Ok(true) => found.push(*caller),
                Ok(false) => {}
                Err(JwtRejected::KeysUnavailable { retry_after }) => {
                    unavailable = Some(Unproven::Unavailable { retry_after });
                }
                Err(_) => {}
            }
        }
        match found[..] {
            [caller] => Ok(&self.callers[caller as usize]),
            [] => Err(unavailable.unwrap_or(Unproven::Wrong)),
            // Whose policy would it be?
            _ => {
                tracing::warn!(
                    "a workload's token proves several callers; give their `oidc.claims` what tells them apart"
                );
                Err(Unproven::Wrong)
            }
        }
    }

    /// Proves a caller by a name and key that a form brought (RFC 6749 section 2.3.1).
    ///
    /// # Errors
    /// When they are nobody's.
    pub fn authenticate_form(&self, name: &str, key: &Secret) -> Result<&Arc<Caller>, Unproven> {
        self.prove(&Presented {
            name: Some(name.into()),
            key: PresentedKey::InPlace(key.expose()),
        })
    }

    fn prove(&self, presented: &Presented<'_>) -> Result<&Arc<Caller>, Unproven> {
        let digest = KeyDigest::of(presented.key.expose());
        // Looks at every key, so that the time taken says nothing about which one matched.
        let mut found = u32::MAX;
        for (key, caller) in &self.keys {
            found.conditional_assign(caller, key.ct_eq(&digest));
        }
        let caller = self.callers.get(found as usize).ok_or(Unproven::Wrong)?;
        match &presented.name {
            Some(name) if **name != *caller.name => Err(Unproven::Wrong),
            _ => Ok(caller),
        }
    }
}

/// Eight bytes at a time: every key of the configuration is compared for every request.
impl ConstantTimeEq for KeyDigest {
    fn ct_eq(&self, other: &Self) -> Choice {
        let (Self(own), Self(others)) = (self, other);
        let (own, _) = own.as_chunks();
        let (others, _) = others.as_chunks();
        own.iter()
            .zip(others)
            .map(|(own, other)| u64::from_ne_bytes(*own).ct_eq(&u64::from_ne_bytes(*other)))
            .fold(Choice::from(1), Choice::bitand)
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use http::HeaderValue;
    use http::header::AUTHORIZATION;

    use super::*;
    use crate::token::Allowed;

    fn callers() -> Callers {
        let caller = |name: &str| Caller {
            name: name.into(),
            policy: Policy {
                apps: Vec::new(),
                roles: Allowed::Any,
                plans: Allowed::Any,
                attributes: Allowed::Any,
                scopes: Allowed::Any,
                max_ttl_seconds: None,
            },
        };
        let keys = |keys: &[&[u8]]| Credentials {
            keys: keys.iter().copied().map(KeyDigest::of).collect(),
            workload: None,
        };
        Callers::new(vec![
            (caller("shop"), keys(&[b"key-old", b"key-new"])),
            (caller("forum"), keys(&[b"key-forum"])),
        ])
    }

    fn with(values: &[&str]) -> Result<String, Unproven> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        callers()
            .authenticate(&headers)
            .map(|caller| caller.name.to_string())
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn both_live_keys_prove_their_caller_by_bearer_and_by_basic() {
        for key in ["key-old", "key-new"] {
            assert_eq!(with(&[&format!("Bearer {key}")]).unwrap(), "shop");
            assert_eq!(with(&[&format!("bearer  {key}")]).unwrap(), "shop");
            assert_eq!(with(&[&basic(&format!("shop:{key}"))]).unwrap(), "shop");
        }
        assert_eq!(with(&["Bearer key-forum"]).unwrap(), "forum");
    }

    #[test]
    fn basic_credentials_may_be_encoded_as_oauth_clients_do() {
        for credentials in ["shop:key%2Dnew", "sh%6Fp:key-new", "shop:key-new"] {
            assert_eq!(
                with(&[&basic(credentials)]).unwrap(),
                "shop",
                "{credentials}"
            );
        }
        assert_eq!(with(&[&basic("shop:key%2Dno")]), Err(Unproven::Wrong));
        assert_eq!(with(&["Bearer key%2Dnew"]), Err(Unproven::Wrong));
    }

    #[test]
    fn a_key_under_another_callers_name_is_wrong() {
        assert_eq!(with(&[&basic("forum:key-new")]), Err(Unproven::Wrong));
        assert_eq!(with(&[&basic("nobody:key-new")]), Err(Unproven::Wrong));
    }

    #[test]
    fn whatever_is_not_one_readable_credential_is_wrong() {
        for value in [
            "Bearer",
            "Bearer ",
            "Bearer key",
            "Bearer a b",
            "Basic !",
            "Digest key-new",
            "key-new",
            &basic("shop"),
            &basic("shop:"),
        ] {
            assert_eq!(with(&[value]), Err(Unproven::Wrong), "{value}");
        }
        assert_eq!(
            with(&["Bearer key-new", "Bearer key-new"]),
            Err(Unproven::Wrong)
        );
        assert_eq!(
            with(&[&format!("Bearer {}", "k".repeat(2000))]),
            Err(Unproven::Wrong)
        );
    }

    #[test]
    fn no_credentials_are_missing_rather_than_wrong() {
        assert_eq!(with(&[]), Err(Unproven::Missing));
    }

    #[test]
    fn a_digest_is_written_as_the_configuration_wants_it_and_does_not_print_itself() {
        let digest = KeyDigest::of(b"abc");
        assert_eq!(
            digest.to_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(format!("{digest:?}"), "KeyDigest(…)");
    }
}

//! A caller that its platform vouches for: a JWT of a configured issuer with claims that name it.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::identity::{JwksCache, JwtRejected, JwtVerifier};

/// What proves a workload, such as a Kubernetes service account.
pub struct Workload {
    verifier: JwtVerifier,
    claims: BTreeMap<String, String>,
}

impl Workload {
    /// Whoever shows a token that `verifier` accepts and that has each of `claims` with exactly that text.
    #[must_use]
    pub const fn new(verifier: JwtVerifier, claims: BTreeMap<String, String>) -> Self {
        Self { verifier, claims }
    }

    /// The cache of the keys that it verifies with, where they are fetched by URL.
    #[must_use]
    pub const fn key_cache(&self) -> Option<&JwksCache> {
        self.verifier.key_cache()
    }

    /// Whether `token` proves it at `now`.
    pub(super) async fn is_proved_by(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<bool, JwtRejected> {
        match self.verifier.verify(token, now).await {
            Ok(claims) => Ok(self.is_named_in(&claims)),
            Err(unknown @ JwtRejected::KeysUnavailable { .. }) => Err(unknown),
            Err(rejected) => {
                tracing::debug!(%rejected, "not this workload: {rejected}");
                Ok(false)
            }
        }
    }

    fn is_named_in(&self, claims: &Map<String, Value>) -> bool {
        self.claims.iter().all(|(name, text)| {
            claims
                .get(name)
                .and_then(Value::as_str)
                .is_some_and(|given| given == text)
        })
    }
}

impl fmt::Debug for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workload")
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

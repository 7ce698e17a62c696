//! What verifies JWTs from elsewhere: rules, and keys that are fetched once for all who need them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretSlice;

use super::Sources;
use crate::config::JwtKeys;
use crate::http::Snapshot;
use crate::identity::{JwksCache, JwtRules, JwtVerifier, KeySet, KeySource, Resolver};
use crate::secrets::{Encoding, SecretName, SecretRef};
use crate::signing::Algorithm;
use crate::upstream::UpstreamUrl;

/// A setting below the table in question, and what is wrong with it.
pub(super) type Wrong = (&'static str, String);

pub(super) fn wrong<E: ToString>(setting: &'static str) -> impl FnOnce(E) -> Wrong {
    move |error| (setting, error.to_string())
}

/// Makes verifiers that share a cache per URL, the previous snapshot's where it has one: a reload must
/// not need the provider.
pub(super) struct Verifiers<'a> {
    sources: &'a Sources,
    caches: Vec<JwksCache>,
}

/// What a JWT must be.
pub(super) struct Wanted<'a> {
    pub(super) keys: &'a JwtKeys,
    pub(super) issuer: &'a str,
    pub(super) audience: &'a str,
    pub(super) algorithms: &'a [Algorithm],
    pub(super) timeout: Duration,
}

impl<'a> Verifiers<'a> {
    pub(super) fn new(sources: &'a Sources, previous: Option<&Snapshot>) -> Self {
        let mut caches: Vec<JwksCache> = Vec::new();
        if let Some(previous) = previous {
            let browsers = previous.browsers.values();
            let sessions = browsers.filter_map(|browser| match &browser.resolver {
                Resolver::Jwt(session) => session.key_cache(),
                Resolver::Anonymous | Resolver::Introspect(_) | Resolver::TrustedHeader(_) => None,
            });
            caches.extend(sessions.chain(previous.callers.key_caches()).cloned());
        }
        Self { sources, caches }
    }

    pub(super) fn make(&mut self, wanted: &Wanted<'_>) -> Result<JwtVerifier, Wrong> {
        let source = match wanted.keys {
            JwtKeys::File(path) => KeySource::Fixed(Arc::new(key_set(path, self.sources)?)),
            JwtKeys::Secret(reference) => {
                let secret = self.sources.secret(reference).map_err(wrong(".secret"))?;
                if let Some(weakness) = secret.weakness() {
                    return Err((".secret", weakness.to_string()));
                }
                KeySource::Secret(SecretSlice::from(secret.expose().to_vec()))
            }
            JwtKeys::Url(url) => KeySource::Url(self.cache(url, wanted.timeout)?),
        };
        let rules = JwtRules {
            issuer: wanted.issuer.to_owned(),
            audience: wanted.audience.to_owned(),
            algorithms: wanted
                .algorithms
                .iter()
                .copied()
                .map(Algorithm::verifying)
                .collect(),
        };
        JwtVerifier::new(rules, source).map_err(wrong(""))
    }

    fn cache(&mut self, url: &str, timeout: Duration) -> Result<JwksCache, Wrong> {
        let url: UpstreamUrl = url.parse().map_err(wrong(".jwks_url"))?;
        if let Some(known) = self.caches.iter().find(|cache| *cache.url() == url) {
            return Ok(known.clone());
        }
        let client = self.sources.upstream().map_err(wrong(".jwks_url"))?;
        let cache = JwksCache::new(url, timeout, client);
        self.caches.push(cache.clone());
        Ok(cache)
    }
}

fn key_set(path: &Path, sources: &Sources) -> Result<KeySet, Wrong> {
    let file = SecretRef {
        name: SecretName::File(path.to_owned()),
        encoding: Encoding::Utf8,
    };
    let json = sources.secret(&file).map_err(wrong(".jwks_file"))?;
    KeySet::from_json(json.expose()).map_err(wrong(".jwks_file"))
}

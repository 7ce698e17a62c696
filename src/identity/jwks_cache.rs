//! An identity provider's public keys, fetched by URL and kept through its outages.
//!
//! A set is fresh for as long as the answer's `Cache-Control` says, within bounds. Shortly before
//! that ends it is renewed in the background; while the provider is away the last good set serves
//! on. However many requests want a fetch, at most one is under way, and none begins sooner than
//! [`MIN_INTERVAL`] after the one before: tokens with invented key IDs cost the provider nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderMap, HeaderValue};
use tokio::sync::watch;
use tokio::time::Instant;

use super::jwt_verifier::JwtRejected;
use super::key_set::KeySet;
use crate::upstream::{UpstreamClient, UpstreamUrl};

const MIN_INTERVAL: Duration = Duration::from_secs(6);
const DEFAULT_LIFETIME: Duration = Duration::from_secs(10 * 60);
const SHORTEST_LIFETIME: Duration = Duration::from_secs(60);
const LONGEST_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How long a set may outlive its last good fetch. After a day without contact a key may well have
/// been withdrawn for cause.
const LONGEST_OUTAGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The keys behind one URL. Clones share what was fetched, so one that is kept over a reload of the
/// configuration spares the new state a fetch, and an outage at that moment.
#[derive(Clone)]
pub struct JwksCache(Arc<Shared>);

struct Shared {
    url: UpstreamUrl,
    timeout: Duration,
    client: UpstreamClient,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_good: Option<Fetched>,
    last_fetch_failed: bool,
    last_fetch_began: Option<Instant>,
    /// Closed when the fetch ends, in whatever way.
    under_way: Option<watch::Receiver<()>>,
}

struct Fetched {
    keys: Arc<KeySet>,
    at: Instant,
    lifetime: Duration,
}

impl JwksCache {
    /// A cache that is empty until its first use; each fetch takes at most `timeout`.
    #[must_use]
    pub fn new(url: UpstreamUrl, timeout: Duration, client: UpstreamClient) -> Self {
        Self(Arc::new(Shared {
            url,
            timeout,
            client,
            state: Mutex::default(),
        }))
    }

    /// Where the keys come from.
    #[must_use]
    pub fn url(&self) -> &UpstreamUrl {
        &self.0.url
    }

    /// The keys as far as they are known. Waits for a fetch only when there is no set, or the set
    /// has expired and the provider is not known to be away.
    pub(super) async fn current(&self) -> Result<Arc<KeySet>, JwtRejected> {
        match self.known() {
            Some((keys, Age::Fresh)) => Ok(keys),
            Some((keys, Age::NearlyExpired)) => {
                self.begin_fetch();
                Ok(keys)
            }
            Some((keys, Age::Expired)) if self.state().last_fetch_failed => {
                self.begin_fetch();
                Ok(keys)
            }
            Some((_, Age::Expired)) | None => {
                self.fetch_and_wait().await;
                self.known()
                    .map(|(keys, _)| keys)
                    .ok_or_else(|| self.unavailable())
            }
        }
    }

    /// The keys after asking the provider once more, unless that was done a moment ago: for a token
    /// whose key [`Self::current`] lacks.
    ///
    /// Fails while the provider is away, since then nobody can tell whether the key exists.
    pub(super) async fn renewed(&self) -> Result<Arc<KeySet>, JwtRejected> {
        self.fetch_and_wait().await;
        match self.known() {
            Some((keys, _)) if !self.state().last_fetch_failed => Ok(keys),
            _ => Err(self.unavailable()),
        }
    }

    fn known(&self) -> Option<(Arc<KeySet>, Age)> {
        let state = self.state();
        let fetched = state.last_good.as_ref()?;
        let age = fetched.at.elapsed();
        let age = if age < fetched.lifetime * 4 / 5 {
            Age::Fresh
        } else if age < fetched.lifetime {
            Age::NearlyExpired
        } else if age < LONGEST_OUTAGE {
            Age::Expired
        } else {
            return None;
        };
        Some((Arc::clone(&fetched.keys), age))
    }

    async fn fetch_and_wait(&self) {
        if let Some(mut under_way) = self.begin_fetch() {
            while under_way.changed().await.is_ok() {}
        }
    }

    /// Begins a fetch, or joins the one under way; `None` when it is too soon for another.
    fn begin_fetch(&self) -> Option<watch::Receiver<()>> {
        let mut state = self.state();
        if let Some(under_way) = &state.under_way
            && under_way.has_changed().is_ok()
        {
            return Some(under_way.clone());
        }
        if state
            .last_fetch_began
            .is_some_and(|began| began.elapsed() < MIN_INTERVAL)
        {
            return None;
        }
        let (ends, under_way) = watch::channel(());
        state.last_fetch_began = Some(Instant::now());
        state.under_way = Some(under_way.clone());
        drop(state);

        // A task of its own: the request that needs the keys first may be given up at any moment,
        // and others wait for the same fetch.
        let cache = self.clone();
        tokio::spawn(async move {
            let fetched = cache.fetch().await;
            cache.store(fetched);
            drop(ends);
        });
        Some(under_way)
    }

    async fn fetch(&self) -> Result<Fetched, String> {
        let mut headers = HeaderMap::new();
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("application/jwk-set+json, application/json"),
        );
        let answer = self
            .0
            .client
            .ask(&self.0.url, headers, self.0.timeout)
            .await;
        let answer = answer.map_err(|unanswered| unanswered.to_string())?;
        if answer.status != 200 {
            return Err(format!("answered {}", answer.status));
        }
        let keys = KeySet::from_json(&answer.body)
            .map_err(|bad| format!("answered with a key set that can't be used: {bad}"))?;
        let lifetime = lifetime(&answer.headers);
        Ok(Fetched {
            keys: Arc::new(keys),
            at: Instant::now(),
            lifetime,
        })
    }

    fn store(&self, fetched: Result<Fetched, String>) {
        let mut state = self.state();
        state.last_fetch_failed = fetched.is_err();
        match fetched {
            Ok(fetched) => state.last_good = Some(fetched),
            Err(reason) => {
                let kept = state.last_good.is_some();
                drop(state);
                let fate = if kept {
                    "the last good set serves on"
                } else {
                    "there is no earlier one"
                };
                tracing::warn!(reason, "the URL of a JWK Set {reason}; {fate}");
            }
        }
    }

    fn unavailable(&self) -> JwtRejected {
        let since = self.state().last_fetch_began.map(|began| began.elapsed());
        let pause = MIN_INTERVAL.saturating_sub(since.unwrap_or_default());
        // Rounded up: a second too early is a request in vain.
        JwtRejected::KeysUnavailable {
            retry_after: Duration::from_secs(pause.as_secs() + 1),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of the state is one assignment, so a panic can't leave it half done.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Age {
    Expired,
    Fresh,
    NearlyExpired,
}

/// RFC 9111 section 5.2.2.1, within bounds: keys that are never asked for again can't be withdrawn,
/// and keys that may not be kept would be fetched for every request.
fn lifetime(headers: &HeaderMap) -> Duration {
    let values = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let max_age = values
        .flat_map(|value| value.split(','))
        .find_map(|directive| {
            let (name, seconds) = directive.split_once('=')?;
            let seconds = seconds.trim().trim_matches('"').parse().ok()?;
            name.trim()
                .eq_ignore_ascii_case("max-age")
                .then_some(Duration::from_secs(seconds))
        });
    max_age.map_or(DEFAULT_LIFETIME, |age| {
        age.clamp(SHORTEST_LIFETIME, LONGEST_LIFETIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sets_lifetime_is_its_max_age_within_bounds() {
        for (value, seconds) in [
            ("", 600),
            ("no-store", 600),
            ("max-age=0", 60),
            ("public, Max-Age=900, must-revalidate", 900),
            ("s-maxage=5, max-age=\"120\"", 120),
            ("max-age=86400", 3600),
            ("max-age=soon", 600),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(value));
            assert_eq!(lifetime(&headers), Duration::from_secs(seconds), "{value}");
        }
        assert_eq!(lifetime(&HeaderMap::new()), DEFAULT_LIFETIME);
    }
}

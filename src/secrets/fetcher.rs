//! Secrets that have to be fetched: asked for again in time, and kept while their source fails.
//!
//! The last good one goes on when its source fails, so that a secret manager's outage is none of
//! signet's; once it is older than `max_stale`, [`Fetcher::stale`] counts it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};

use super::vault::{Vaults, Visit};
use super::{Secret, SecretCommand, SecretError, Variables, VaultSecret, command};

/// How many are fetched at once.
const AT_ONCE: usize = 8;
/// The longest pause after a failure: an outage shall not be noticed as over only a `refresh` later.
pub(super) const RETRY: Duration = Duration::from_secs(30);

/// A secret that has to be fetched, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fetched {
    /// Where it is fetched from.
    pub from: Origin,
    /// How long it is taken for fresh.
    pub refresh: Duration,
    /// How old it may be before [`Fetcher::stale`] counts it.
    pub max_stale: Duration,
}

/// Where a secret is fetched from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// What a command prints, which loses one trailing newline.
    Command(SecretCommand),
    /// A field of an entry in Vault or OpenBao.
    Vault(VaultSecret),
}

/// Fetches secrets and keeps the last good one of each.
#[derive(Default)]
pub struct Fetcher {
    kept: Mutex<HashMap<Fetched, Kept>>,
    vaults: Vaults,
}

struct Kept {
    /// The last good secret and when it was fetched.
    secret: Option<(Secret, Instant)>,
    tried: Instant,
    /// How the last try failed, if it did.
    failure: Option<SecretError>,
}

impl Fetcher {
    /// Fetches those of `names` that are due, and all with `at_once`. Blocks for as long as the slowest
    /// takes: for each eight of them ten seconds at most, or fifteen if Vault wants a login.
    pub fn fetch(&self, names: &[Fetched], at_once: bool, variables: &Variables) {
        let due: Vec<_> = {
            let kept = self.lock();
            let is_due = |name: &&Fetched| {
                at_once
                    || (kept.get(*name))
                        .is_none_or(|kept| kept.secret.is_none() || kept.is_due(name))
            };
            names.iter().filter(is_due).cloned().collect()
        };
        self.run(&due, variables);
    }

    /// Fetches what is due, renews what Vault has lent, and says whether some secret is another now. Blocks
    /// like [`Fetcher::fetch`].
    pub fn refresh(&self, variables: &Variables) -> bool {
        let due: Vec<_> = self
            .lock()
            .iter()
            .filter(|(name, kept)| kept.is_due(name))
            .map(|(name, _)| name.clone())
            .collect();
        self.run(&due, variables)
    }

    /// Forgets every secret that isn't one of these.
    pub fn keep_only(&self, names: &[Fetched]) {
        self.lock().retain(|name, _| names.contains(name));
        self.vaults.keep_only(|server| {
            let is_asked =
                |name: &Fetched| matches!(&name.from, Origin::Vault(it) if *it.server == *server);
            names.iter().any(is_asked)
        });
    }

    /// Whether there is a secret that nobody has ever been able to fetch.
    #[must_use]
    pub fn missing(&self) -> bool {
        self.lock().values().any(|kept| kept.secret.is_none())
    }

    /// Whether there is nothing to fetch, and so nothing to renew.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.lock().is_empty()
    }

    /// How many secrets are older than they may be, because their source keeps failing.
    #[must_use]
    pub fn stale(&self) -> usize {
        let kept = self.lock();
        let is_stale = |(name, kept): &(&Fetched, &Kept)| {
            let fetched = kept.secret.as_ref().map(|(_, at)| at.elapsed());
            fetched.is_some_and(|age| age > name.max_stale)
        };
        kept.iter().filter(is_stale).count()
    }

    /// The last good secret.
    pub(super) fn last_good(&self, name: &Fetched) -> Result<Secret, SecretError> {
        let kept = self.lock();
        let kept = kept.get(name).ok_or(SecretError::NotFetched)?;
        match (&kept.secret, &kept.failure) {
            (Some((secret, _)), _) => Ok(secret.clone()),
            (None, Some(failure)) => Err(failure.clone()),
            (None, None) => Err(SecretError::NotFetched),
        }
    }

    /// Fetches all of them and says whether one is another than before.
    fn run(&self, names: &[Fetched], variables: &Variables) -> bool {
        if names.is_empty() && !self.vaults.want_renewal() {
            return false;
        }
        // A thread of its own, since this may be called from within a runtime and outside of one.
        let secrets = std::thread::scope(|scope| {
            scope
                .spawn(|| fetch_all(names, &self.vaults, variables))
                .join()
                .unwrap_or_default()
        });
        let mut changed = false;
        let mut kept = self.lock();
        for (name, secret) in names.iter().zip(secrets) {
            let now = Instant::now();
            let entry = kept.entry(name.clone()).or_insert(Kept {
                secret: None,
                tried: now,
                failure: None,
            });
            entry.tried = now;
            match secret {
                Ok(secret) => {
                    let is_same =
                        (entry.secret.as_ref()).is_some_and(|(old, _)| old.same_as(&secret));
                    changed |= !is_same;
                    entry.secret = Some((secret, now));
                    entry.failure = None;
                }
                Err(failure) => {
                    if entry.secret.is_some() {
                        tracing::warn!(
                            "a secret is not refreshed, the last good one goes on: {failure}"
                        );
                    }
                    entry.failure = Some(failure);
                }
            }
        }
        changed
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Fetched, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn is_due(&self, name: &Fetched) -> bool {
        let pause = match self.failure {
            Some(_) => name.refresh.min(RETRY),
            None => name.refresh,
        };
        self.tried.elapsed() >= pause
    }
}

/// The secrets in the order of their names.
fn fetch_all(
    names: &[Fetched],
    vaults: &Vaults,
    variables: &Variables,
) -> Vec<Result<Secret, SecretError>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return vec![Err(SecretError::NotFetched); names.len()];
    };
    let visit = Visit::new(vaults, variables);
    let fetch = async |name: &Fetched| match &name.from {
        Origin::Command(command) => command::run(command, variables).await,
        Origin::Vault(secret) => Ok(visit.read(secret).await?),
    };
    runtime.block_on(async {
        visit.renew().await;
        let secrets = stream::iter(names).map(fetch).buffered(AT_ONCE);
        secrets.collect().await
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::secrets::{Encoding, SecretName, SecretRef};

    fn shell(script: &str, refresh: Duration, max_stale: Duration) -> Fetched {
        Fetched {
            from: Origin::Command(SecretCommand {
                line: ["sh", "-c", script].map(str::to_owned).to_vec(),
                variables: Vec::new(),
                folder: PathBuf::new(),
            }),
            refresh,
            max_stale,
        }
    }

    #[test]
    fn the_last_good_secret_goes_on_and_becomes_stale() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "first").unwrap();
        let script = format!("cat {}", file.display());
        let name = shell(&script, Duration::ZERO, Duration::ZERO);
        let (fetcher, variables) = (Fetcher::default(), Variables::default());
        let secret = || fetcher.last_good(&name).unwrap().expose().to_vec();
        assert!(fetcher.is_idle());
        fetcher.fetch(std::slice::from_ref(&name), false, &variables);
        assert!(!fetcher.is_idle());
        assert_eq!(secret(), b"first");
        assert!(!fetcher.refresh(&variables), "nothing has changed");

        std::fs::remove_file(&file).unwrap();
        assert!(!fetcher.refresh(&variables), "a failure changes nothing");
        assert_eq!(secret(), b"first");
        assert_eq!(fetcher.stale(), 1);

        std::fs::write(&file, "second").unwrap();
        assert!(fetcher.refresh(&variables));
        assert_eq!(secret(), b"second");
    }

    #[test]
    fn a_fresh_secret_is_not_asked_for_again_unless_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let script = format!("echo x >> {0}; cat {0}", runs.display());
        let hour = Duration::from_secs(3600);
        let name = shell(&script, hour, hour);
        let (fetcher, variables) = (Fetcher::default(), Variables::default());
        let list = std::slice::from_ref(&name);
        fetcher.fetch(list, false, &variables);
        fetcher.fetch(list, false, &variables);
        fetcher.refresh(&variables);
        assert_eq!(std::fs::read_to_string(&runs).unwrap(), "x\n");
        fetcher.fetch(list, true, &variables);
        assert_eq!(std::fs::read_to_string(&runs).unwrap(), "x\nx\n");
    }

    #[test]
    fn what_is_fetched_has_an_encoding_like_any_secret() {
        let hour = Duration::from_secs(3600);
        let name = shell("echo 613e3f62", hour, hour);
        let (fetcher, variables) = (Fetcher::default(), Variables::default());
        fetcher.fetch(std::slice::from_ref(&name), false, &variables);
        let reference = SecretRef {
            name: SecretName::Fetched(Box::new(name)),
            encoding: Encoding::Hex,
        };
        let secret = reference.read(&variables, &fetcher).unwrap();
        assert_eq!(secret.expose(), b"a>?b");
    }
}

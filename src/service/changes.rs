//! What a reload would change: settings, and whether a secret is another, without a word of it.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;

use super::{Loaded, Sources};
use crate::config::{self, Config, Problems};
use crate::random;

/// Tells secrets apart in one process: under its key a print says nothing to anybody else.
#[derive(Clone)]
pub(super) struct Printer(hmac::Key);

impl Printer {
    pub(super) fn new() -> Self {
        let key = random::bytes::<32>();
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    /// The prints of all secrets that `config` names, as `sources` have them.
    pub(super) fn print(&self, config: &Config, sources: &Sources) -> SecretPrints {
        let print = |(path, reference): &(String, _)| {
            let secret = sources.secret(reference).ok()?;
            let print = hmac::sign(&self.0, secret.expose());
            Some((path.clone(), print.as_ref().to_vec()))
        };
        SecretPrints(config.secrets().iter().filter_map(print).collect())
    }
}

/// The print of each secret that could be read, by its place.
#[derive(Clone)]
pub struct SecretPrints(BTreeMap<String, Vec<u8>>);

/// A state as far as it can be compared.
pub(super) struct Described {
    pub(super) config: Config,
    pub(super) secrets: SecretPrints,
    pub(super) tls: bool,
}

impl From<Loaded> for Described {
    fn from(loaded: Loaded) -> Self {
        Self {
            config: loaded.config,
            secrets: loaded.secrets,
            tls: loaded.tls.is_some(),
        }
    }
}

impl Sources {
    /// What would change if `self` took the place of `old`, one line each. `old` need not be fit to be served.
    ///
    /// # Errors
    /// Everything that is wrong with `self`, or what keeps `old` from being read.
    pub fn changes_since(&self, old: &Self) -> Result<Vec<String>, Problems> {
        let new = self.load(None)?;
        let (config, problems) =
            config::examine(old.file.as_deref(), &old.environment, old.clock.now());
        let Some(config) = config else {
            return Err(problems.into());
        };
        old.fetcher.fetch(config.fetched(), false, &old.variables);
        let old = Described {
            secrets: self.printer.print(&config, old),
            tls: config.server.tls.is_some(),
            config,
        };
        Ok(changes(&old, &new.into()))
    }
}

/// Every line that an operator should read before the reload.
pub(super) fn changes(old: &Described, new: &Described) -> Vec<String> {
    let same_secret = |was: &str, is: &str| {
        let (was, is) = old.secrets.0.get(was).zip(new.secrets.0.get(is))?;
        Some(was == is)
    };
    let restarts = needs_restart(&old.config, &new.config, old.tls != new.tls);
    config::changes(&old.config, &new.config, same_secret)
        .into_iter()
        .map(|change| {
            let path = &change.path;
            let is_part = |setting: &&str| {
                path.strip_prefix(*setting)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let restart = if restarts.iter().any(is_part) {
                " (needs a restart)"
            } else {
                ""
            };
            format!("{path}: {}{restart}", change.what)
        })
        .collect()
}

/// The settings that differ and that a reload leaves as they are.
pub(super) fn needs_restart(old: &Config, new: &Config, tls_differs: bool) -> Vec<&'static str> {
    [
        ("server.listen", old.server.listen != new.server.listen),
        ("admin.listen", old.admin.listen != new.admin.listen),
        (
            "server.max_connections",
            old.server.max_connections != new.server.max_connections,
        ),
        (
            "server.shutdown_grace",
            old.server.shutdown_grace != new.server.shutdown_grace,
        ),
        ("server.tls", tls_differs),
        ("log", old.log != new.log),
    ]
    .into_iter()
    .filter_map(|(setting, differs)| differs.then_some(setting))
    .collect()
}

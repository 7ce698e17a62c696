//! Every reason to refuse a configuration that its shape doesn't tell, all found in one pass.

mod apps;
mod browser;
mod callers;
mod keys;
mod limits;
mod oidc;
mod profiles;
mod secrets;
mod server;
mod session;
mod vault;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::changes::Written;
use super::checked::{Audit, Config, Log, Origins};
use super::problem::Problem;
use super::raw;
use super::text::{self, Reading};
use super::walk::child;
use crate::clock::Timestamp;
use crate::secrets::{Fetched, SecretRef, VaultServer};

/// What a check needs to know, and what it has found so far.
pub(super) struct Check<'a> {
    pub(super) origins: &'a Origins,
    /// Where relative paths start.
    pub(super) base: &'a Path,
    /// Whether there is a configuration file; without one, remedies name variables.
    pub(super) has_file: bool,
    pub(super) now: Timestamp,
    pub(super) problems: Vec<Problem>,
    pub(super) files: BTreeSet<PathBuf>,
    pub(super) fetched: Vec<Fetched>,
    pub(super) secrets: Vec<(String, SecretRef)>,
    pub(super) written: Written,
    /// The server that `vault` secrets are kept by.
    pub(super) vault: Option<Arc<VaultServer>>,
}

impl Check<'_> {
    /// Checks everything. There may be a configuration beside its problems: whoever needs no more of it
    /// than the parts that are in order, to find what else is wrong, may look at it.
    pub(super) fn run(mut self, raw: &raw::Configuration) -> (Option<Config>, Vec<Problem>) {
        self.vault = (raw.secrets.vault.as_ref())
            .and_then(|vault| self.vault(vault))
            .map(Arc::new);
        let server = self.server(&raw.server, &raw.admin);
        let profiles = self.profiles(&raw.profiles);
        let apps = self.apps(&raw.apps, &raw.server, &profiles);
        let callers = self.callers(&raw.callers, &raw.apps, &profiles);
        let limits = self.limits(&raw.limits);
        let log = (raw.log.level.zip(raw.log.format)).map(|(level, format)| Log { level, format });
        let audit = raw.audit.required.map(|required| Audit { required });
        self.somebody_can_get_a_token(raw);
        let origins = self.origins;
        let checked = (|| {
            let (server, admin) = server?;
            Some(Config {
                server,
                admin,
                apps: apps?,
                callers: callers?,
                limits: limits?,
                profiles: profiles.checked?,
                log: log?,
                audit: audit?,
                origins: origins.clone(),
                files: self.files,
                fetched: self.fetched,
                secrets: self.secrets,
                written: self.written,
            })
        })();
        if checked.is_none() && self.problems.is_empty() {
            self.problems.push(Problem::new(
                &origins.fallback,
                "",
                "a default is missing: this is a fault of signet itself",
            ));
        }
        (checked, self.problems)
    }

    fn somebody_can_get_a_token(&mut self, raw: &raw::Configuration) {
        if raw.apps.is_empty() && !self.spoiled("apps") {
            self.report(
                "apps",
                "there is no app: add [apps.NAME] to a configuration file, or set SIGNET_CLIENT_ID, SIGNET_CLIENT_SECRET and SIGNET_API_KEY",
            );
        }
        let nobody = raw.callers.is_empty() && raw.apps.values().all(|app| app.browser.is_none());
        if nobody && !raw.apps.is_empty() && !self.reported("callers") && !self.lost_a_browser(raw)
        {
            let remedy = if self.has_file {
                "add [callers.NAME], or [apps.NAME.browser] to an app"
            } else {
                "set SIGNET_API_KEY, or SIGNET_API_KEY_FILE"
            };
            self.report("callers", format!("nobody could get a token: {remedy}"));
        }
    }

    /// Whether some app's `browser` was of a wrong type, or the app itself.
    fn lost_a_browser(&self, raw: &raw::Configuration) -> bool {
        raw.apps.keys().any(|name| {
            let app = child("apps", name);
            self.reported(&child(&app, "browser")) || self.reported(&app)
        })
    }

    fn report(&mut self, path: &str, message: impl Into<String>) {
        let origin = self.origins.of(path);
        self.problems.push(Problem::new(origin, path, message));
    }

    /// Whether something at `path` or below it has been reported, so that what follows from it isn't.
    fn spoiled(&self, path: &str) -> bool {
        self.problems.iter().any(|problem| {
            (problem.path.strip_prefix(path))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    /// Whether something has been reported of exactly this place.
    fn reported(&self, path: &str) -> bool {
        self.problems.iter().any(|problem| problem.path == path)
    }

    /// A setting as a remedy names it.
    fn setting(&self, path: &str) -> String {
        if self.has_file {
            path.to_owned()
        } else {
            super::environment::variable(path)
        }
    }

    /// Reads a text, if it is there.
    fn read<T>(
        &mut self,
        path: &str,
        text: Option<&String>,
        read: impl FnOnce(&str) -> Reading<T>,
    ) -> Option<T> {
        match read(text?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.report(path, message);
                None
            }
        }
    }

    /// Reads a text that may be absent: `None` only when it is there and wrong.
    fn optional<T>(
        &mut self,
        path: &str,
        text: Option<&String>,
        read: impl FnOnce(&str) -> Reading<T>,
    ) -> Option<Option<T>> {
        match text {
            Some(_) => self.read(path, text, read).map(Some),
            None => Some(None),
        }
    }

    /// Reads a text that must be there.
    fn required<T>(
        &mut self,
        path: &str,
        text: Option<&String>,
        meaning: &str,
        read: impl FnOnce(&str) -> Reading<T>,
    ) -> Option<T> {
        if text.is_none() && !self.spoiled(path) {
            self.report(path, format!("is missing; it is needed: {meaning}"));
        }
        self.read(path, text, read)
    }

    /// Reads every text of a list; nothing when one of them is wrong.
    fn each<T>(
        &mut self,
        path: &str,
        texts: Option<&Vec<String>>,
        read: impl Fn(&str) -> Reading<T>,
    ) -> Option<Vec<T>> {
        let found: Vec<_> = texts?
            .iter()
            .enumerate()
            .map(|(index, text)| self.read(&format!("{path}[{index}]"), Some(text), &read))
            .collect();
        found.into_iter().collect()
    }

    fn within(
        &mut self,
        path: &str,
        duration: Option<Duration>,
        least: Duration,
        most: Duration,
    ) -> Option<Duration> {
        let duration = duration?;
        if (least..=most).contains(&duration) {
            return Some(duration);
        }
        self.report(
            path,
            format!(
                "must be from {} to {}",
                humantime::format_duration(least),
                humantime::format_duration(most)
            ),
        );
        None
    }

    /// A file's path, from the configuration's folder on.
    fn file(&mut self, path: &str, text: Option<&String>) -> Option<PathBuf> {
        let name = self.read(path, text, |text| text::plain(text, 4096))?;
        let file = self.base.join(name);
        self.files.insert(file.clone());
        Some(file)
    }
}

//! The environment as configuration: `SIGNET__…` for every setting, and the few plain variables that make the smallest deployment.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use ::config::{Value, ValueKind};

use super::file::read_text;
use super::problem::Problem;

/// What every setting's variable begins with, and what stands between the parts of its path.
const PREFIX: &str = "SIGNET__";
const SEPARATOR: &str = "__";

const API_KEY: &str = "SIGNET_API_KEY";
const CLIENT_ID: &str = "SIGNET_CLIENT_ID";
const CLIENT_SECRET: &str = "SIGNET_CLIENT_SECRET";
const PROFILE: &str = "SIGNET_PROFILE";

// OpenTelemetry's own variables, each of which may name a collector of traces.
const COLLECTOR: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACE_COLLECTOR: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// `true` turns all of OpenTelemetry off.
const TRACES_DISABLED: &str = "OTEL_SDK_DISABLED";

const DEFAULT_PROFILE: &str = "support-widget";

/// The longest value that is read from a `…_FILE` here, in bytes; it is an ID or a profile's name.
const MAX_VALUE_BYTES: u64 = 4096;

/// The variables that configure signet. Of a variable that holds a secret only its presence is kept:
/// the configuration names secrets and never holds them.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// The process's own.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place where settings are read from the environment"
    )]
    pub fn from_process() -> Self {
        std::env::vars_os().collect()
    }

    /// The path in `SIGNET_CONFIG`, if it is set and not empty.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        self.plain("SIGNET_CONFIG").map(PathBuf::from)
    }

    /// Whether OpenTelemetry's variables ask for traces.
    #[must_use]
    pub fn wants_traces(&self) -> bool {
        let disabled = self
            .plain(TRACES_DISABLED)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        !disabled
            && [COLLECTOR, TRACE_COLLECTOR]
                .iter()
                .any(|name| self.plain(name).is_some())
    }

    /// A plain variable; an empty one counts as unset.
    fn plain(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(name)
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    /// Exactly these variables, for tests and for `signet dev`.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let variables = variables
            .into_iter()
            .filter_map(|(name, value)| {
                let name = name.into().into_string().ok()?;
                let value = value.into();
                let value = match name.as_str() {
                    // A collector's URL may hold a password, too; the exporter reads it for itself.
                    CLIENT_SECRET | API_KEY | COLLECTOR | TRACE_COLLECTOR if !value.is_empty() => {
                        "set".into()
                    }
                    _ => value,
                };
                let ours = name.starts_with("SIGNET_")
                    || [TRACES_DISABLED, COLLECTOR, TRACE_COLLECTOR].contains(&&*name);
                ours.then_some((name, value))
            })
            .collect();
        Self { variables }
    }
}

/// A setting that the environment makes.
pub(super) struct Setting {
    /// Its path, such as `server.listen`.
    pub(super) path: String,
    /// Its value, whose origin is the variable's name.
    pub(super) value: Value,
}

/// What the environment says, read into settings.
#[derive(Default)]
pub(super) struct Settings {
    /// The later wins.
    pub(super) settings: Vec<Setting>,
    /// What is wrong with the variables themselves.
    pub(super) problems: Vec<Problem>,
    /// The files that were read for them.
    pub(super) files: BTreeSet<PathBuf>,
    /// The tables that the plain variables make and that nobody else may, with the variable to unset.
    pub(super) made: Vec<(&'static str, &'static str)>,
}

impl Settings {
    /// Reads them. Relative paths start at `base`.
    pub(super) fn read(environment: &Environment, base: &Path) -> Self {
        let mut settings = Self::default();
        settings.plain(environment, base);
        settings.by_path(environment);
        settings
    }

    fn by_path(&mut self, environment: &Environment) {
        let mut found: Vec<(String, String, String)> = Vec::new();
        for (variable, value) in &environment.variables {
            let Some(rest) = variable.strip_prefix(PREFIX) else {
                continue;
            };
            let path = rest.to_lowercase().replace(SEPARATOR, ".");
            match value.to_str() {
                _ if !path.split('.').all(is_bare) => self.report(
                    variable,
                    "",
                    "is not the name of a setting; write SIGNET__ and the setting's path with __ between its parts, such as SIGNET__SERVER__LISTEN",
                ),
                None => self.report(variable, &path, "is not UTF-8; correct its value"),
                Some(value) => found.push((path, variable.clone(), value.to_owned())),
            }
        }
        // The deepest first: a table that is set as a whole then shows as the wrong type that it is,
        // instead of vanishing below its own keys.
        found.sort_by_key(|(path, ..)| std::cmp::Reverse(path.matches('.').count()));
        for (path, variable, value) in found {
            match self.settings.iter().find(|setting| setting.path == path) {
                Some(plain) if !is_policy(&path) => {
                    let plain = plain.value.origin().unwrap_or(CLIENT_ID);
                    let message = format!("{plain} sets it too; unset one of the two");
                    self.report(&variable, &path, message);
                }
                _ => self.set(&path, &variable, value),
            }
        }
    }

    fn plain(&mut self, environment: &Environment, base: &Path) {
        let id = self.value(environment, CLIENT_ID, base);
        let profile = self.value(environment, PROFILE, base);
        let secret = self.secret(environment, CLIENT_SECRET, base);
        let key = self.secret(environment, API_KEY, base);
        let texts = [&id, &profile]
            .into_iter()
            .flatten()
            .map(|(variable, _)| variable);
        let secrets = [&secret, &key]
            .into_iter()
            .flatten()
            .map(|(variable, _)| variable);
        let Some(beside) = texts.chain(secrets).next().cloned() else {
            return;
        };
        self.made.push(("apps.default", CLIENT_ID));
        let (profile_variable, profile) =
            profile.unwrap_or_else(|| (beside.clone(), DEFAULT_PROFILE.into()));
        self.set("apps.default.profile", &profile_variable, profile);
        match id {
            Some((variable, id)) => self.set("apps.default.client_id", &variable, id),
            None => self.report(
                &beside,
                "apps.default.client_id",
                "SIGNET_CLIENT_ID is missing beside it; set it to what the platform calls this app",
            ),
        }
        match secret {
            Some((variable, (kind, name))) => {
                self.set(&format!("apps.default.secret.{kind}"), &variable, name);
            }
            None if environment
                .variables
                .keys()
                .any(|name| name.starts_with("SIGNET__APPS__DEFAULT__")) => {}
            None => self.report(
                &beside,
                "apps.default.secret",
                "SIGNET_CLIENT_SECRET is missing beside it; set it, or SIGNET_CLIENT_SECRET_FILE, to the secret that the platform gave",
            ),
        }
        if let Some((variable, (kind, name))) = key {
            self.made.push(("callers.default", API_KEY));
            self.set(&format!("callers.default.key.{kind}"), &variable, name);
            let any = |item: &str| vec![Value::new(Some(&variable), item)];
            self.set("callers.default.apps", &variable, any("default"));
            for policy in ["roles", "plans", "attributes", "scopes"] {
                self.set(&format!("callers.default.{policy}"), &variable, any("*"));
            }
        }
    }

    /// A plain variable or its `…_FILE` twin: which of the two, and its value.
    fn twin(&mut self, environment: &Environment, name: &str) -> Option<(String, OsString, bool)> {
        let twin = format!("{name}_FILE");
        match (environment.plain(name), environment.plain(&twin)) {
            (None, None) => None,
            (Some(value), None) => Some((name.to_owned(), value.to_owned(), false)),
            (None, Some(path)) => Some((twin, path.to_owned(), true)),
            (Some(value), Some(_)) => {
                let message = format!("{twin} is set too; unset one of the two");
                self.report(name, "", message);
                Some((name.to_owned(), value.to_owned(), false))
            }
        }
    }

    fn value(
        &mut self,
        environment: &Environment,
        name: &str,
        base: &Path,
    ) -> Option<(String, String)> {
        let (variable, value, in_file) = self.twin(environment, name)?;
        let text = if in_file {
            let path = base.join(value);
            self.files.insert(path.clone());
            read_text(&path, MAX_VALUE_BYTES).map(without_newline)
        } else {
            value
                .into_string()
                .map_err(|_| "is not UTF-8; correct its value".to_owned())
        };
        match text {
            Ok(text) => Some((variable, text)),
            Err(message) => {
                self.report(&variable, "", message);
                // So that what is missing is not reported a second time.
                Some((variable, String::from("unreadable")))
            }
        }
    }

    /// Which variable names a secret, and the secret's name: the variable itself or a path.
    fn secret(
        &mut self,
        environment: &Environment,
        name: &str,
        base: &Path,
    ) -> Option<(String, (&'static str, String))> {
        let (variable, value, in_file) = self.twin(environment, name)?;
        if !in_file {
            return Some((variable.clone(), ("env", variable)));
        }
        match base.join(value).into_os_string().into_string() {
            Ok(path) => Some((variable, ("file", path))),
            Err(_) => {
                self.report(&variable, "", "is not UTF-8; name another path");
                None
            }
        }
    }

    fn set(&mut self, path: &str, variable: &str, value: impl Into<ValueKind>) {
        self.settings.push(Setting {
            path: path.to_owned(),
            value: Value::new(Some(&variable.to_owned()), value),
        });
    }

    fn report(&mut self, variable: &str, path: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(variable, path, message));
    }
}

/// A key that needs no quotes, and that no library takes for an index.
fn is_bare(key: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    !key.is_empty() && key.chars().all(fits)
}

/// What the plain variables only assume and a `SIGNET__…` variable may narrow.
fn is_policy(path: &str) -> bool {
    let callers = "callers.default.";
    path.strip_prefix(callers)
        .is_some_and(|key| matches!(key, "apps" | "attributes" | "plans" | "roles" | "scopes"))
}

fn without_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

/// The variable that sets `path`.
pub(super) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', SEPARATOR).to_uppercase())
}

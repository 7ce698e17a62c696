//! The assembly line: a configuration in, all that requests need out; it binds no port.
//!
//! Start, `signet check` and a reload are the same walk: text → checked configuration → secrets →
//! keys that tested themselves → apps → callers → limits → one snapshot.

mod apps;
mod browsers;
mod callers;
mod changes;
mod clock_jumps;
mod fingerprints;
mod reload;
mod verifiers;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{self, Config, Environment, Problem, Problems, RedisUrl};
use crate::http::{AddressGuard, InFlight, Service, TOKEN_ROUTES};
use crate::limits::{Limits, OnOutage, Quota, Settings, SharedSettings, Store};
use crate::random;
use crate::secrets::{Encoding, Fetcher, Secret, SecretError, SecretName, SecretRef, Variables};
use crate::server::{Gauges, TlsIdentity};
use crate::telemetry::{Audit, Metrics};
use crate::upstream::{BadRoots, UpstreamClient};

pub use crate::http::{Service as Running, Snapshot, admin, openapi, public};
pub use changes::SecretPrints;
pub use clock_jumps::watch_clock;
pub use fingerprints::Fingerprints;
pub use reload::Reloader;

use changes::Printer;
use verifiers::Verifiers;

/// In bytes: below it a pepper could be found by trying.
const SHORTEST_PEPPER: usize = 32;
/// The pauses between tries of a start whose secrets can't be fetched: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Everything that a state of the service is made from, the same at every reload.
pub struct Sources {
    /// The configuration file, if there is one.
    pub file: Option<PathBuf>,
    /// The environment's settings.
    pub environment: Environment,
    /// Where secrets named by variable are.
    pub variables: Variables,
    /// The time.
    pub clock: Clock,
    upstream: Arc<OnceLock<UpstreamClient>>,
    fetcher: Arc<Fetcher>,
    printer: Printer,
}

/// One state of the service, checked and ready to serve.
pub struct Loaded {
    /// The configuration that it was made from.
    pub config: Config,
    /// All that requests need.
    pub snapshot: Snapshot,
    /// The certificate with its key, where signet speaks TLS itself.
    pub tls: Option<TlsIdentity>,
    /// The files that it was made from, as they were just before.
    pub seen: Fingerprints,
    /// What tells whether a secret is another next time.
    pub secrets: SecretPrints,
}

impl Sources {
    /// The sources of a process that is starting.
    #[must_use]
    pub fn new(
        file: Option<PathBuf>,
        environment: Environment,
        variables: Variables,
        clock: Clock,
    ) -> Self {
        let file = file.or_else(|| environment.file());
        Self {
            file,
            environment,
            variables,
            clock,
            upstream: Arc::default(),
            fetcher: Arc::default(),
            printer: Printer::new(),
        }
    }

    /// The same sources, of which nothing has been fetched yet.
    fn afresh(&self) -> Self {
        Self {
            file: self.file.clone(),
            environment: self.environment.clone(),
            variables: self.variables.clone(),
            clock: self.clock.clone(),
            upstream: Arc::clone(&self.upstream),
            fetcher: Arc::default(),
            printer: self.printer.clone(),
        }
    }

    /// Reads, checks and tests everything. What of `previous` is the same goes on: limit counters, key caches.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(&self, previous: Option<&Snapshot>) -> Result<Loaded, Problems> {
        self.load_with(previous, false)
    }

    /// The first load of a service: a secret that can't be fetched is tried anew for as long as `patience`, since
    /// the store that keeps it may be starting as well.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load_patiently(&self, patience: Duration) -> Result<Loaded, Problems> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let loaded = self.load(None);
            let left = patience.saturating_sub(began.elapsed());
            if loaded.is_ok() || left.is_zero() || !self.fetcher.missing() {
                return loaded;
            }
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A reload; `at_once` fetches secrets that are still fresh, too.
    fn load_again(&self, previous: &Snapshot, at_once: bool) -> Result<Loaded, Problems> {
        self.load_with(Some(previous), at_once)
    }

    /// Fetches the secrets that are due; whether one is another now.
    fn refresh(&self) -> bool {
        self.fetcher.refresh(&self.variables)
    }

    /// The client that asks other servers, made when the first of them is named: the system's root certificates
    /// are hundreds of files, and who asks nobody should neither wait for them nor hold them.
    fn upstream(&self) -> Result<UpstreamClient, BadRoots> {
        if let Some(client) = self.upstream.get() {
            return Ok(client.clone());
        }
        random::seed_cryptography_aside();
        let client = UpstreamClient::new(None)?;
        Ok(self.upstream.get_or_init(|| client).clone())
    }

    fn secret(&self, reference: &SecretRef) -> Result<Secret, SecretError> {
        reference.read(&self.variables, &self.fetcher)
    }

    fn load_with(&self, previous: Option<&Snapshot>, at_once: bool) -> Result<Loaded, Problems> {
        let examine = || config::examine(self.file.as_deref(), &self.environment, self.clock.now());
        let mut examined = examine();
        let mut seen = Fingerprints::default();
        if let Some(config) = &examined.0
            && !config.watched_files().is_empty()
        {
            // Looked at before anything is read for good: what changes in between is seen as a change.
            seen = Fingerprints::of(config.watched_files());
            examined = examine();
        }
        let (config, mut problems) = examined;
        let Some(config) = config else {
            return Err(problems.into());
        };
        self.fetcher
            .fetch(config.fetched(), at_once, &self.variables);
        let tls = load_tls(&config, self, &mut problems);
        let signing = apps::load(&config, self, &mut problems);
        let mut verifiers = Verifiers::new(self, previous);
        let browsers = browsers::load(&config, self, &signing.apps, &mut verifiers, &mut problems);
        let callers = callers::load(&config, self, &signing, &mut verifiers, &mut problems);
        let limits = load_limits(&config, self, previous, &mut problems);
        let (Some(limits), true) = (limits, problems.is_empty()) else {
            return Err(problems.into());
        };
        self.fetcher.keep_only(config.fetched());
        let server = &config.server;
        let snapshot = Snapshot {
            address_guard: AddressGuard::new(
                &limits,
                previous.map(|previous| (&previous.address_guard, &*previous.limits)),
            ),
            browser_paths: browser_paths(&config),
            apps: signing.apps,
            browsers,
            callers,
            limits,
            fetcher: Arc::clone(&self.fetcher),
            public_url: server.public_url.clone(),
            require_https: server.require_https,
            trusted_proxies: server.trusted_proxies.clone(),
            request_timeout: server.request_timeout,
            max_body: server.max_body,
            audit_required: config.audit.required,
            max_in_flight: server.max_in_flight,
        };
        Ok(Loaded {
            secrets: self.printer.print(&config, self),
            config,
            snapshot,
            tls,
            seen,
        })
    }
}

/// Puts a loaded state to work: what lives as long as the process is made here.
#[must_use]
pub fn start(snapshot: Snapshot, clock: Clock, audit: Audit) -> Arc<Service> {
    Arc::new(Service {
        snapshot: ArcSwap::from_pointee(snapshot),
        refused_reload: ArcSwapOption::empty(),
        previews: OnceLock::new(),
        clock,
        audit,
        metrics: Metrics::new(TOKEN_ROUTES),
        gauges: Arc::new(Gauges::default()),
        draining: AtomicBool::new(false),
        closing: CancellationToken::new(),
        in_flight: InFlight::default(),
    })
}

/// Notes a problem at a configuration path, with the file or variable that it was written in.
fn note(problems: &mut Vec<Problem>, config: &Config, path: &str, message: impl ToString) {
    problems.push(Problem::new(
        config.origin_of(path),
        path,
        message.to_string(),
    ));
}

fn load_tls(
    config: &Config,
    sources: &Sources,
    problems: &mut Vec<Problem>,
) -> Option<TlsIdentity> {
    let files = config.server.tls.as_ref()?;
    let mut read = |path: &PathBuf, setting: &str| {
        let file = SecretRef {
            name: SecretName::File(path.clone()),
            encoding: Encoding::Utf8,
        };
        sources
            .secret(&file)
            .map_err(|error| note(problems, config, setting, error))
            .ok()
    };
    let chain = read(&files.certificate, "server.tls.certificate");
    let key = read(&files.private_key, "server.tls.private_key");
    TlsIdentity::from_pem(chain?.expose(), key?.expose())
        .map_err(|error| note(problems, config, "server.tls", error))
        .ok()
}

fn load_limits(
    config: &Config,
    sources: &Sources,
    previous: Option<&Snapshot>,
    problems: &mut Vec<Problem>,
) -> Option<Arc<Limits>> {
    let limits = &config.limits;
    let mut quota = |rate: config::Rate, name: &str| {
        let quota = Quota::new(rate.rate, rate.per, rate.burst);
        quota
            .map_err(|error| note(problems, config, &format!("limits.{name}"), error))
            .ok()
    };
    let per_ip = quota(limits.per_ip, "per_ip");
    let per_caller = quota(limits.per_caller, "per_caller");
    let per_user = quota(limits.per_user, "per_user");
    let failed_auth = quota(limits.failed_auth, "failed_auth");
    let store = load_store(&limits.store, sources)
        .map_err(|(path, message)| note(problems, config, path, message))
        .ok();
    let settings = Settings {
        per_ip: per_ip?,
        exempt: limits.per_ip_exempt.clone(),
        per_caller: per_caller?,
        per_user: per_user?,
        failed_auth: failed_auth?,
        store: store?,
    };
    let made = match previous {
        Some(previous) => previous.limits.with_settings(settings),
        None => Limits::new(settings),
    };
    made.map_err(|error| note(problems, config, "limits.store", error))
        .ok()
        .map(Arc::new)
}

/// The settings of the shared store; if they can't be read, where it fails and why.
fn load_store(store: &config::Store, sources: &Sources) -> Result<Store, (&'static str, String)> {
    let config::Store::Redis {
        url,
        on_outage,
        enforce,
        pepper,
    } = store
    else {
        return Ok(Store::Memory);
    };
    let read =
        |name: &SecretName, path| text_secret(name, sources).map_err(|message| (path, message));
    let url = match url {
        RedisUrl::Plain(url) => url.clone().into(),
        RedisUrl::Secret(name) => read(name, "limits.store.redis")?,
    };
    let path = "limits.store.pepper";
    let pepper = match pepper {
        Some(name) => Some(read(name, path)?),
        None => None,
    };
    if let Some(pepper) = &pepper
        && pepper.expose_secret().len() < SHORTEST_PEPPER
    {
        return Err((
            path,
            format!(
                "is shorter than {SHORTEST_PEPPER} bytes and could be guessed; make one with `signet secret new`"
            ),
        ));
    }
    // It may be asked through TLS.
    random::seed_cryptography_aside();
    Ok(Store::Shared(SharedSettings {
        url,
        on_outage: match on_outage {
            config::OnOutage::Closed => OnOutage::Closed,
            config::OnOutage::Local => OnOutage::Local,
            config::OnOutage::Open => OnOutage::Open,
        },
        enforce: *enforce,
        prefix: "signet".to_owned(),
        pepper,
    }))
}

fn text_secret(name: &SecretName, sources: &Sources) -> Result<SecretString, String> {
    let reference = SecretRef {
        name: name.clone(),
        encoding: Encoding::Utf8,
    };
    let secret = sources.secret(&reference).map_err(|it| it.to_string())?;
    String::from_utf8(secret.expose().to_vec())
        .map(SecretString::from)
        .map_err(|_| "is not text".to_owned())
}

fn browser_paths(config: &Config) -> HashMap<String, String> {
    let path = |app: &config::App| Some((app.browser.as_ref()?.path.clone()?, app.name.clone()));
    config.apps.iter().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use zeroize::Zeroizing;

    use super::*;
    use crate::secrets::Secret;

    /// What is wrong with a configuration whose limits are hashed under this pepper.
    fn faults_of(pepper: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("signet.toml");
        let text = r#"
            [server]
            require_https = false
            [apps.acme]
            profile = "support-widget"
            client_id = "ten_acme"
            secret = { env = "SECRET" }
            [callers.shop]
            key = { env = "KEY" }
            apps = ["acme"]
            [limits]
            store = { redis = "redis://redis.example.com", pepper = { env = "PEPPER" } }
        "#;
        std::fs::write(&file, text).unwrap();
        let secret = |bytes: &[u8]| Secret::new(Zeroizing::new(bytes.to_vec()));
        let variables = BTreeMap::from([
            (
                "SECRET".to_owned(),
                secret(b"kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE"),
            ),
            (
                "KEY".to_owned(),
                secret(b"pQ7nV3kX9sLd2RwTz6HyB8mJf4GcA5uE"),
            ),
            ("PEPPER".to_owned(), secret(pepper)),
        ]);
        let sources = Sources::new(
            Some(file),
            Environment::default(),
            Variables::Given(variables),
            Clock::System,
        );
        let loaded = sources.load(None);
        loaded.err().map(|it| it.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_pepper_that_could_be_guessed_is_refused_without_showing_it() {
        assert_eq!(faults_of(b"Hn5rT8wKq3VxZ7mLb2PcD9sJf6GyA4uE"), "");
        let short = faults_of(b"Hn5rT8wKq3VxZ7mLb2PcD9sJf6GyA4u");
        assert!(
            short.contains("limits.store.pepper: is shorter than 32 bytes"),
            "{short}"
        );
        assert!(!short.contains("Hn5r"), "{short}");
        let binary = faults_of(&[0xff; 32]);
        assert!(
            binary.contains("limits.store.pepper: is not text"),
            "{binary}"
        );
    }

    /// Whether a client for other servers was made for an app with this section.
    fn asks_others(section: &str) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("signet.toml");
        let text = format!(
            r#"
            [server]
            require_https = false
            [apps.acme]
            profile = "support-widget"
            client_id = "ten_acme"
            secret = {{ env = "SECRET" }}
            {section}
            "#
        );
        std::fs::write(&file, text).unwrap();
        let secret = Secret::new(Zeroizing::new(b"kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE".to_vec()));
        let sources = Sources::new(
            Some(file),
            Environment::default(),
            Variables::Given(BTreeMap::from([("SECRET".to_owned(), secret)])),
            Clock::System,
        );
        if let Err(problems) = sources.load(None) {
            panic!("{problems}");
        }
        sources.upstream.get().is_some()
    }

    #[test]
    fn certificates_are_only_read_where_another_server_is_asked() {
        assert!(!asks_others(
            r#"
            [callers.shop]
            key_sha256 = ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]
            apps = ["acme"]
            "#
        ));
        assert!(asks_others(
            r#"
            [apps.acme.browser]
            origins = ["https://app.example.com"]
            [apps.acme.browser.session]
            resolver = "introspect"
            url = "https://app.example.com/session"
            identity = { user_id = "/user/id" }
            "#
        ));
    }
}

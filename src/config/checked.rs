//! A configuration that has been checked: plain data that can't be wrong, with names of secrets, never secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::changes::Written;
use crate::clock::Timestamp;
use crate::secrets::{Fetched, SecretName, SecretRef};
use crate::signing::Algorithm;

/// Everything that an operator configured, checked as far as it can be without the secrets' bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The public listener.
    pub server: Server,
    /// The operator's listener.
    pub admin: Admin,
    /// Every app, by name.
    pub apps: Vec<App>,
    /// Every caller, by name.
    pub callers: Vec<Caller>,
    /// How often one may ask.
    pub limits: Limits,
    /// The built-in profiles and the operator's own; a name stands here once.
    pub profiles: Vec<Profile>,
    /// What the logs look like.
    pub log: Log,
    /// The audit trail.
    pub audit: Audit,
    pub(super) origins: Origins,
    pub(super) files: BTreeSet<PathBuf>,
    pub(super) fetched: Vec<Fetched>,
    pub(super) secrets: Vec<(String, SecretRef)>,
    pub(super) written: Written,
}

impl Config {
    /// Where the setting at `path` (such as `apps.acme.secret`) was written, a file's name or a
    /// variable's, for a [`super::Problem`]. For a table it is where its first setting was written;
    /// for a setting that is absent, where its table was.
    #[must_use]
    pub fn origin_of(&self, path: &str) -> &str {
        self.origins.of(path)
    }

    /// Every file that this configuration was read from or names: a change in one of them is a
    /// reason to load it again.
    #[must_use]
    pub fn watched_files(&self) -> &BTreeSet<PathBuf> {
        &self.files
    }

    /// Every secret that has to be fetched.
    #[must_use]
    pub fn fetched(&self) -> &[Fetched] {
        &self.fetched
    }

    /// Every secret that is named, with the place where it is.
    #[must_use]
    pub fn secrets(&self) -> &[(String, SecretRef)] {
        &self.secrets
    }

    /// The profile with this name.
    #[must_use]
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.iter().find(|profile| profile.name == name)
    }
}

/// Where each setting was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Origins {
    pub(super) by_path: BTreeMap<String, String>,
    /// What to name when nothing was written at all.
    pub(super) fallback: String,
}

impl Origins {
    pub(super) fn of(&self, path: &str) -> &str {
        let mut path = path;
        loop {
            if let Some(origin) = self.by_path.get(path) {
                return origin;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return &self.fallback,
            }
        }
    }
}

/// The public listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Where to listen: HTTPS with [`Server::tls`], else cleartext.
    pub listen: SocketAddr,
    /// The service's own URL, `https` and without a trailing slash: the issuer of OAuth tokens.
    pub public_url: Option<String>,
    /// Whether a request in cleartext is refused.
    pub require_https: bool,
    /// Whose `X-Forwarded-*` headers are believed; never a whole address family.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a request may take in all; at most 15 seconds.
    pub request_timeout: Duration,
    /// How long requests in flight have to finish when the process is told to stop.
    pub shutdown_grace: Duration,
    /// The longest request body, in bytes.
    pub max_body: usize,
    /// How many connections may be open at once.
    pub max_connections: usize,
    /// How many requests may be worked on at once.
    pub max_in_flight: usize,
    /// The certificate, where signet itself speaks TLS.
    pub tls: Option<TlsFiles>,
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the leaf first.
    pub certificate: PathBuf,
    /// The leaf's private key.
    pub private_key: PathBuf,
}

/// The operator's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where to listen.
    pub listen: SocketAddr,
}

/// One registration with a platform.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// Its name: 1 to 64 letters, digits, dots, underscores and hyphens.
    pub name: String,
    /// The name of a profile in [`Config::profiles`].
    pub profile: String,
    /// What the platform calls it, 1 to 200 bytes.
    pub client_id: String,
    /// One of the profile's algorithms; its keys' kind fits.
    pub algorithm: Algorithm,
    /// The default and longest lifetime of a token, at most the profile's.
    pub token_ttl: Duration,
    /// How far in the past `iat` stands; shorter than `token_ttl`.
    pub backdate: Duration,
    /// The app's own audience, else the profile's. Present where the profile needs one.
    pub audience: Option<String>,
    /// Whether its tokens have an ID where the profile leaves the choice.
    pub token_id: bool,
    /// The name of its only key, where the operator gave one.
    pub key_id: Option<String>,
    /// At least one; no two take over at the same moment, and one has taken over already.
    pub keys: Vec<Key>,
    /// What opens it to browsers.
    pub browser: Option<Browser>,
}

/// A key that signs an app's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name, unique within the app.
    pub id: Option<String>,
    /// What it is.
    pub material: KeyMaterial,
    /// From when on it signs; `None` is "always has".
    pub activate_at: Option<Timestamp>,
    /// Until when its tokens may be met; later than the longest lifetime after its successor took over.
    pub retire_at: Option<Timestamp>,
    /// Where it stands in the configuration, such as `apps.acme.keys[0].secret`, for messages.
    pub path: String,
}

/// What a key is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyMaterial {
    /// A private key in PEM.
    PrivateKey(SecretRef),
    /// A secret shared with the platform.
    Secret(SecretRef),
}

/// What a browser may do with an app.
#[derive(Clone, Debug, PartialEq)]
pub struct Browser {
    /// A path beside `/apps/{app}/token`: absolute, normalised, no other app's and none of signet's own.
    pub path: Option<String>,
    /// The origins that may ask, spelt as browsers send them.
    pub origins: Vec<String>,
    /// Who the user is.
    pub session: Session,
}

/// How a browser's user is found.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Whether a request without a session gets an anonymous token.
    pub allow_anonymous: bool,
    /// What tells who the user is.
    pub resolver: Resolver,
}

/// What tells who a browser's user is.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolver {
    /// Nothing: every user is a fresh anonymous one.
    Anonymous,
    /// The app's own session URL is asked.
    Introspect {
        /// What to ask: `https`, or `http` on loopback; without credentials.
        url: String,
        /// The request's headers that are passed on, in lower case.
        forward_headers: Vec<String>,
        /// How long the answer may take.
        timeout: Duration,
        /// Where in the answer the user's details stand.
        identity: Pointers,
    },
    /// A session JWT is verified.
    Jwt {
        /// The cookie that holds it; `None` is the bearer header.
        cookie: Option<String>,
        /// What verifies it.
        keys: JwtKeys,
        /// The `iss` that it must have.
        issuer: String,
        /// The `aud` that it must have.
        audience: String,
        /// The algorithms that it may have, all of the keys' kind.
        algorithms: Vec<Algorithm>,
        /// Where in its claims the user's details stand.
        identity: Pointers,
        /// How long fetching the keys may take.
        timeout: Duration,
    },
    /// A trusted proxy says so in headers, whose names are in lower case.
    TrustedHeader {
        /// The header with the user's ID.
        user_id: String,
        /// The header with the email address.
        email: Option<String>,
        /// The header with the roles, by commas.
        roles: Option<String>,
    },
}

/// What verifies a session JWT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtKeys {
    /// A JSON Web Key Set in a file.
    File(PathBuf),
    /// A shared secret.
    Secret(SecretRef),
    /// A JSON Web Key Set behind a URL: `https`, or `http` on loopback.
    Url(String),
}

/// JSON Pointers (RFC 6901) to a user's details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointers {
    /// To the user's ID.
    pub user_id: String,
    /// To the email address.
    pub email: Option<String>,
    /// To the roles.
    pub roles: Option<String>,
    /// To the plan.
    pub plan: Option<String>,
    /// To further values, by the name that the profile uses.
    pub attributes: Vec<(String, String)>,
}

/// A web backend that may ask for tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its name: 1 to 64 letters, digits, dots, underscores and hyphens.
    pub name: String,
    /// At most two, and at least one where there is no [`Caller::oidc`].
    pub keys: Vec<CallerKey>,
    /// The token of its platform that proves it.
    pub oidc: Option<Oidc>,
    /// The apps that it may use, all of them known.
    pub apps: Vec<String>,
    /// The roles that it may give.
    pub roles: Allowed,
    /// The plans that it may name.
    pub plans: Allowed,
    /// The attributes that it may set.
    pub attributes: Allowed,
    /// The scopes that it may ask for in a token exchange.
    pub scopes: Allowed,
    /// The longest lifetime that it may ask for; `None` is the app's.
    pub max_ttl: Option<Duration>,
}

/// What a token of a caller's platform must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oidc {
    /// What verifies it; never a secret.
    pub keys: JwtKeys,
    /// The `iss` that it must have.
    pub issuer: String,
    /// The `aud` that it must have.
    pub audience: String,
    /// The algorithms that it may have, none of them HS*.
    pub algorithms: Vec<Algorithm>,
    /// The claims that it must have with exactly these texts; at least one.
    pub claims: BTreeMap<String, String>,
}

/// How a caller's key is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerKey {
    /// By where the key itself is.
    Secret(SecretName),
    /// By the SHA-256 of its bytes.
    Sha256([u8; 32]),
}

/// What a policy allows of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Everything.
    Any,
    /// Exactly these; nothing when empty.
    Only(Vec<String>),
}

/// How often one may ask.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Per client address.
    pub per_ip: Rate,
    /// Networks that `per_ip` doesn't count.
    pub per_ip_exempt: Vec<IpNet>,
    /// Per caller.
    pub per_caller: Rate,
    /// Per user.
    pub per_user: Rate,
    /// Failed authentications per client address.
    pub failed_auth: Rate,
    /// Where it is counted.
    pub store: Store,
}

/// `rate` requests in `per`, and up to `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; at least one.
    pub rate: u32,
    /// In which time; more than nothing.
    pub per: Duration,
    /// How many at once after a pause; at least one.
    pub burst: u32,
}

/// Where limits are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// In this process.
    Memory,
    /// In Redis or Valkey, shared by replicas.
    Redis {
        /// Where it is.
        url: RedisUrl,
        /// What happens while it is away.
        on_outage: OnOutage,
        /// Whether limits refuse; otherwise they only count.
        enforce: bool,
        /// Where the secret is under which addresses and users' IDs are hashed.
        pepper: Option<SecretName>,
    },
}

/// Where a Redis server's URL stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisUrl {
    /// In the configuration: `redis` or `rediss`, without a password.
    Plain(String),
    /// Beside the secrets, since it holds a password.
    Secret(SecretName),
}

/// What happens while the shared store is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnOutage {
    /// Requests are refused.
    Closed,
    /// Each process counts by itself.
    Local,
    /// Requests are not counted.
    Open,
}

/// The shape of an app's tokens, its templates as they were written.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// What apps call it.
    pub name: String,
    /// What its platform verifies; the first is its apps' default.
    pub algorithms: Vec<Algorithm>,
    /// The longest lifetime of a token.
    pub max_ttl: Duration,
    /// The default of its apps' audience.
    pub audience: Option<String>,
    /// Whether its clients want an `errors` item with `msg` and `code` in every error.
    pub sdk_errors: bool,
    /// The JOSE header's members, in the order written.
    pub header: Map<String, Value>,
    /// The claims, in the order written.
    pub claims: Map<String, Value>,
    /// The answer's members, in the order written.
    pub answer: Map<String, Value>,
}

/// What the logs look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// From which level on a line is written.
    pub level: LogLevel,
    /// The form of a line.
    pub format: LogFormat,
}

/// The audit trail, which stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Whether a request is refused when its token's line can't be written.
    pub required: bool,
}

/// From which level on a line is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What needs an operator.
    Error,
    /// What might.
    Warn,
    /// What happened, each token issued and refused included.
    Info,
    /// Why.
    Debug,
    /// Everything.
    Trace,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON everywhere else.
    Auto,
    /// One JSON object.
    Json,
    /// For people.
    Text,
}

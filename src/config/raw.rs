//! The configuration as an operator writes it: the TOML's own shape, from which its JSON Schema is made.
//!
//! Every key is an `Option`, the ones that must be there too: the walk over the schema has reported
//! what is missing or of a wrong type before these types are filled, and leaves it out, so that all
//! that is left can still be checked and every problem is reported at once.
//! The doc comments are what `signet schema` says; their first sentence ends the message about a
//! missing key.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::checked::{LogFormat, LogLevel, OnOutage};
use crate::signing::Algorithm;

/// Marks a table that names a secret: nothing that is written there is ever repeated in a message.
pub(super) const NAMES_A_SECRET: &str = "x-names-a-secret";

/// The configuration of signet.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "signet")]
pub(super) struct Configuration {
    /// The public listener.
    #[serde(default)]
    pub(super) server: Server,
    /// The operator's listener.
    #[serde(default)]
    pub(super) admin: Admin,
    /// The registrations with platforms, by the names you give them.
    #[serde(default)]
    pub(super) apps: BTreeMap<String, App>,
    /// The web backends that may ask for tokens, by the names you give them.
    #[serde(default)]
    pub(super) callers: BTreeMap<String, Caller>,
    /// How often one may ask.
    #[serde(default)]
    pub(super) limits: Limits,
    /// What keeps secrets for signet.
    #[serde(default)]
    pub(super) secrets: Secrets,
    /// Token shapes beside the built-in `support-widget`, `kore` and `oauth`.
    #[serde(default)]
    pub(super) profiles: BTreeMap<String, Profile>,
    /// What the logs look like.
    #[serde(default)]
    pub(super) log: Log,
    /// The audit trail, which stands in the log.
    #[serde(default)]
    pub(super) audit: Audit,
}

/// The public listener.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    /// The address and port to listen on: HTTPS with `[server.tls]`, else HTTP.
    pub(super) listen: Option<String>,
    /// The service's own `https` URL: the issuer of OAuth tokens and metadata.
    pub(super) public_url: Option<String>,
    /// Whether cleartext is refused, unless a trusted proxy says that it was HTTPS.
    pub(super) require_https: Option<bool>,
    /// The proxies whose `X-Forwarded-*` headers are believed, as CIDRs; a /0 is refused.
    pub(super) trusted_proxies: Option<Vec<String>>,
    /// How long a request may take in all, at most 15s.
    pub(super) request_timeout: Option<String>,
    /// How long requests in flight may take to finish after SIGTERM.
    pub(super) shutdown_grace: Option<String>,
    /// The longest request body, such as "16KiB".
    pub(super) max_body: Option<String>,
    /// How many connections may be open at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) max_connections: Option<u32>,
    /// How many requests may be worked on at once; beyond it the answer is 503.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) max_in_flight: Option<u32>,
    /// The certificate, where signet itself speaks TLS.
    pub(super) tls: Option<Tls>,
}

/// The certificate, where signet itself speaks TLS.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    /// The file with the PEM chain, the leaf first.
    #[schemars(required)]
    pub(super) certificate: Option<String>,
    /// The file with the certificate's private key, PEM.
    #[schemars(required)]
    pub(super) private_key: Option<String>,
}

/// The operator's listener: health, metrics.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    /// The address and port to listen on; never the public one.
    pub(super) listen: Option<String>,
}

/// One registration with a platform.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct App {
    /// The shape of its tokens: "support-widget", "kore", "oauth" or one of `[profiles]`.
    #[schemars(required)]
    pub(super) profile: Option<String>,
    /// What the platform calls it: a client ID or tenant ID.
    #[schemars(required)]
    pub(super) client_id: Option<String>,
    /// One of the profile's algorithms; the first of them is the default.
    pub(super) algorithm: Option<Algorithm>,
    /// The default and longest lifetime of a token, at most and by default the profile's `max_ttl`.
    pub(super) token_ttl: Option<String>,
    /// How far in the past `iat` stands, since verifiers have no leeway; "5s" by default.
    pub(super) backdate: Option<String>,
    /// The audience, where the profile uses it; the profile's own by default.
    pub(super) audience: Option<String>,
    /// Whether tokens have an ID where the profile leaves the choice; true by default.
    pub(super) token_id: Option<bool>,
    /// The key's name; by default the app's, for a private key the RFC 7638 thumbprint.
    pub(super) key_id: Option<String>,
    /// The secret shared with the platform, for HS256, HS384 and HS512.
    pub(super) secret: Option<Secret>,
    /// The private key in PEM, for RS*, ES* and EdDSA.
    pub(super) private_key: Option<Secret>,
    /// Several keys in place of one, to rotate on a date.
    pub(super) keys: Option<Vec<Key>>,
    /// What opens the app to browsers.
    pub(super) browser: Option<Browser>,
}

/// One of several keys.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    /// Its name; a private key's may be left out and is then its RFC 7638 thumbprint.
    pub(super) id: Option<String>,
    /// The secret shared with the platform, for HS256, HS384 and HS512.
    pub(super) secret: Option<Secret>,
    /// The private key in PEM, for RS*, ES* and EdDSA.
    pub(super) private_key: Option<Secret>,
    /// From when on it signs (RFC 3339); one key has none and signs from the start.
    pub(super) activate_at: Option<String>,
    /// Until when its tokens may be met (RFC 3339), once another key has taken over.
    pub(super) retire_at: Option<String>,
}

/// Where a secret is: never the secret itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "x-names-a-secret" = true,
    "oneOf" = [{ "required": ["env"] }, { "required": ["file"] }, { "required": ["command"] }, { "required": ["vault"] }]
))]
pub(super) struct Secret {
    /// The environment variable that holds it.
    pub(super) env: Option<String>,
    /// The file that holds it; one trailing newline is dropped.
    pub(super) file: Option<String>,
    /// The program that prints it, and its arguments, run without a shell; one trailing newline is dropped.
    pub(super) command: Option<Vec<String>>,
    /// command: the environment variables that it gets beside PATH.
    pub(super) variables: Option<Vec<String>>,
    /// The field of an entry in `[secrets.vault]`, such as "kv/data/acme#secret".
    pub(super) vault: Option<String>,
    /// vault: the entry's version; the latest by default.
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub(super) version: Option<u32>,
    /// command, vault: how often it is fetched again; "5m" by default.
    pub(super) refresh: Option<String>,
    /// command, vault: how long the last one may be used while its source fails before signet isn't ready; "24h" by default.
    pub(super) max_stale: Option<String>,
    /// How it is written there; "utf8" by default: its bytes as they stand.
    pub(super) encoding: Option<Encoding>,
}

/// What keeps secrets for signet.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Secrets {
    /// The Vault or OpenBao whose secrets are named by `vault`.
    pub(super) vault: Option<Vault>,
}

/// A Vault or OpenBao, and one of three ways to get a token of it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Vault {
    /// Its address, `https` (`http` on loopback only).
    #[schemars(required)]
    pub(super) address: Option<String>,
    /// The namespace of the login and of every secret.
    pub(super) namespace: Option<String>,
    /// A file of PEM certificates that are trusted beside the system's.
    pub(super) ca: Option<String>,
    /// A token that somebody else makes and replaces, such as an agent.
    pub(super) token: Option<Secret>,
    /// The login of a role with its secret ID.
    pub(super) approle: Option<AppRole>,
    /// The login of a Kubernetes service account.
    pub(super) kubernetes: Option<Kubernetes>,
}

/// The login of a role with its secret ID.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AppRole {
    /// Where it is mounted; "approle" by default.
    pub(super) mount: Option<String>,
    /// The role's ID.
    #[schemars(required)]
    pub(super) role_id: Option<Secret>,
    /// The role's secret ID.
    #[schemars(required)]
    pub(super) secret_id: Option<Secret>,
}

/// The login of a Kubernetes service account.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Kubernetes {
    /// Where it is mounted; "kubernetes" by default.
    pub(super) mount: Option<String>,
    /// The role's name in Vault.
    #[schemars(required)]
    pub(super) role: Option<String>,
    /// The service account's token; by default the file where Kubernetes puts it.
    pub(super) jwt: Option<Secret>,
}

/// How a secret is written.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    Base64,
    Base64Url,
    Hex,
    Utf8,
}

/// What opens an app to browsers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Browser {
    /// A path of your own beside `/apps/{app}/token`.
    pub(super) path: Option<String>,
    /// The origins that may ask, such as `https://app.example.com`; signet's own need not be listed.
    pub(super) origins: Option<Vec<String>>,
    /// What tells who the user is.
    #[schemars(required)]
    pub(super) session: Option<Session>,
}

/// What tells who a browser's user is. Which keys belong to it depends on the resolver.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    /// How it is told: "introspect", "jwt", "trusted-header" or "anonymous".
    #[schemars(required)]
    pub(super) resolver: Option<Resolver>,
    /// Whether a request without a session gets an anonymous token; false by default.
    pub(super) allow_anonymous: Option<bool>,
    /// introspect: the app's own session URL.
    pub(super) url: Option<String>,
    /// introspect: the headers that are passed on, exactly; ["cookie"] by default.
    pub(super) forward_headers: Option<Vec<String>>,
    /// introspect, jwt: how long the answer may take, at most and by default the least of 2s and `server.request_timeout`.
    pub(super) timeout: Option<String>,
    /// introspect, jwt: where the user's details stand.
    pub(super) identity: Option<Pointers>,
    /// jwt: the cookie that holds the token; without it the bearer header does.
    pub(super) cookie: Option<String>,
    /// jwt: where the verifying keys are, as a JWK set.
    pub(super) jwks_url: Option<String>,
    /// jwt: the file with the verifying keys, as a JWK set.
    pub(super) jwks_file: Option<String>,
    /// jwt: the secret that verifies.
    pub(super) secret: Option<Secret>,
    /// jwt: the `iss` that the token must have.
    pub(super) issuer: Option<String>,
    /// jwt: the `aud` that the token must have.
    pub(super) audience: Option<String>,
    /// jwt: the algorithms that the token may have.
    pub(super) algorithms: Option<Vec<Algorithm>>,
    /// trusted-header: the headers that the proxy sets.
    pub(super) headers: Option<Headers>,
}

/// How a browser's user is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Resolver {
    Anonymous,
    Introspect,
    Jwt,
    TrustedHeader,
}

/// JSON Pointers (RFC 6901) to the user's details, such as "/user/id".
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pointers {
    /// To the user's ID; for jwt "/sub" by default.
    pub(super) user_id: Option<String>,
    /// To the email address.
    pub(super) email: Option<String>,
    /// To the roles.
    pub(super) roles: Option<String>,
    /// To the plan.
    pub(super) plan: Option<String>,
    /// To further values, by the names that the profile uses.
    pub(super) attributes: Option<BTreeMap<String, String>>,
}

/// The headers in which a trusted proxy says who the user is. With none named these are
/// x-forwarded-user, x-forwarded-email and x-forwarded-groups.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Headers {
    /// The header with the user's ID.
    pub(super) user_id: Option<String>,
    /// The header with the email address.
    pub(super) email: Option<String>,
    /// The header with the roles, by commas.
    pub(super) roles: Option<String>,
}

/// A web backend that may ask for tokens.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Caller {
    /// The SHA-256 of its key, 64 hex digits, as `signet key new` prints it; two while it is being changed.
    pub(super) key_sha256: Option<Vec<String>>,
    /// Where its key itself is, in place of a SHA-256.
    pub(super) key: Option<Secret>,
    /// A token of its platform that proves it, in place of a key or beside it.
    pub(super) oidc: Option<Oidc>,
    /// The apps that it may use.
    pub(super) apps: Option<Vec<String>>,
    /// The roles that it may give; ["*"] is any, none denies.
    pub(super) roles: Option<Vec<String>>,
    /// The plans that it may name; ["*"] is any, none denies.
    pub(super) plans: Option<Vec<String>>,
    /// The attributes that it may set; ["*"] is any, none denies.
    pub(super) attributes: Option<Vec<String>>,
    /// The scopes that it may ask for in a token exchange; ["*"] is any, none denies.
    pub(super) scopes: Option<Vec<String>>,
    /// The longest lifetime that it may ask for; by default the app's.
    pub(super) max_ttl: Option<String>,
}

/// What a token of a caller's platform must be, such as a Kubernetes service account's.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Oidc {
    /// The `iss` that the token must have.
    #[schemars(required)]
    pub(super) issuer: Option<String>,
    /// The `aud` that the token must have: one that stands for signet alone.
    #[schemars(required)]
    pub(super) audience: Option<String>,
    /// Where the verifying keys are, as a JWK set.
    pub(super) jwks_url: Option<String>,
    /// The file with the verifying keys, as a JWK set.
    pub(super) jwks_file: Option<String>,
    /// The algorithms that the token may have.
    #[schemars(required)]
    pub(super) algorithms: Option<Vec<Algorithm>>,
    /// The claims that it must have, with exactly these texts.
    #[schemars(required)]
    pub(super) claims: Option<BTreeMap<String, String>>,
}

/// How often one may ask.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Per client address; for IPv6 per /64.
    #[serde(default)]
    pub(super) per_ip: PerIp,
    /// Per caller.
    #[serde(default)]
    pub(super) per_caller: Rate,
    /// Per user.
    #[serde(default)]
    pub(super) per_user: Rate,
    /// Failed authentications per client address.
    #[serde(default)]
    pub(super) failed_auth: Rate,
    /// Where it is counted: "memory", or a table that names a Redis or Valkey server.
    pub(super) store: Option<Store>,
}

/// `rate` requests in `per`, and up to `burst` at once.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rate {
    /// How many.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) rate: Option<u32>,
    /// In which time, such as "1m".
    pub(super) per: Option<String>,
    /// How many at once after a pause.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) burst: Option<u32>,
}

/// `rate` requests in `per` and up to `burst` at once, but for exempt addresses.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PerIp {
    /// How many.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) rate: Option<u32>,
    /// In which time, such as "1m".
    pub(super) per: Option<String>,
    /// How many at once after a pause.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) burst: Option<u32>,
    /// Networks that are not counted, as CIDRs: your own busy backends; a /0 is refused.
    pub(super) exempt: Option<Vec<String>>,
}

/// Where limits are counted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Store {
    InProcess(Memory),
    Shared(Box<Redis>),
}

/// In this process.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Memory {
    Memory,
}

/// In Redis or Valkey, shared by replicas.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Redis {
    /// The server, such as "redis://host:6379" or "rediss://host:6379"; { env = "NAME" } or { file = "…" } when its URL has a password.
    #[schemars(required)]
    pub(super) redis: Option<RedisUrl>,
    /// What happens while it is away: each process counts by itself ("local", the default), nothing is counted ("open"), or requests are refused ("closed").
    pub(super) on_outage: Option<OnOutage>,
    /// Whether limits refuse; with false they only count what they would have refused. True by default.
    pub(super) enforce: Option<bool>,
    /// Where a secret of at least 32 bytes is, the same for all replicas: with it, who can list the server's keys can't check a guess at an address or a user's ID.
    pub(super) pepper: Option<Secret>,
}

/// A Redis server's URL, or where it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum RedisUrl {
    Plain(String),
    Secret(Secret),
}

/// The shape of an app's tokens.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    /// The algorithms that the platform verifies; the first is its apps' default.
    #[schemars(required)]
    pub(super) algorithms: Option<Vec<Algorithm>>,
    /// The longest lifetime of a token.
    #[schemars(required)]
    pub(super) max_ttl: Option<String>,
    /// The default of its apps' audience.
    pub(super) audience: Option<String>,
    /// Whether clients want an `errors` item with `msg` and `code` in every error; false by default.
    pub(super) sdk_errors: Option<bool>,
    /// The token's header beside `alg`; `typ = "JWT"` by default.
    pub(super) header: Option<Map<String, Value>>,
    /// The token's claims: literals, tables, and strings with placeholders.
    #[schemars(required)]
    pub(super) claims: Option<Map<String, Value>>,
    /// The members of the JSON answer.
    #[schemars(required)]
    pub(super) answer: Option<Map<String, Value>>,
}

/// What the logs look like.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    /// From which level on a line is written.
    pub(super) level: Option<LogLevel>,
    /// "json", "text", or "auto": text on a terminal, JSON everywhere else.
    pub(super) format: Option<LogFormat>,
}

/// The audit trail, which stands in the log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Audit {
    /// Whether a request is refused when its token's line can't be written.
    pub(super) required: Option<bool>,
}

//! What an operator may set, and why it may be refused.

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};

use super::quota::{LimitName, Quota};

/// What an operator may set.
pub struct Settings {
    /// Requests per address.
    pub per_ip: Quota,
    /// Networks whose addresses the per-IP limit leaves alone.
    pub exempt: Vec<IpNet>,
    /// Requests per caller.
    pub per_caller: Quota,
    /// Tokens per user of an app.
    pub per_user: Quota,
    /// Wrong keys per address.
    pub failed_auth: Quota,
    /// Where the counters are kept.
    pub store: Store,
}

/// Where the counters are kept.
pub enum Store {
    /// In this process.
    Memory,
    /// In Redis or Valkey, for all replicas together.
    Shared(SharedSettings),
}

impl Settings {
    pub(super) fn quota(&self, limit: LimitName) -> Quota {
        match limit {
            LimitName::PerIp => self.per_ip,
            LimitName::FailedAuth => self.failed_auth,
            LimitName::PerCaller => self.per_caller,
            LimitName::PerUser => self.per_user,
        }
    }
}

/// Where the shared counters are, and what happens without them.
#[derive(Clone)]
pub struct SharedSettings {
    /// `redis://`, `rediss://` (TLS, by the system's root certificates or those that
    /// `SSL_CERT_FILE` names), or the same with `valkey`; it may hold a user name and a password.
    pub url: SecretString,
    /// What happens to requests while the store is away.
    pub on_outage: OnOutage,
    /// `false` refuses nobody, and only counts who would have been.
    pub enforce: bool,
    /// What every key in the store begins with, before a colon.
    pub prefix: String,
    /// A secret, the same for all replicas, under which addresses and user IDs are hashed. Without
    /// it nobody can read them from the store, but who can list its keys can check a guess, and
    /// for an IPv4 address guess them all.
    pub pepper: Option<SecretString>,
}

impl SharedSettings {
    /// Whether both mean the same counters, whatever else they differ in.
    pub(super) fn same_counters(&self, other: &Self) -> bool {
        let pepper = |it: &Self| it.pepper.as_ref().map(|it| it.expose_secret().to_owned());
        self.url.expose_secret() == other.url.expose_secret()
            && self.prefix == other.prefix
            && pepper(self) == pepper(other)
    }
}

/// What happens to requests while the shared store is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOutage {
    /// They are refused.
    Closed,
    /// Each replica counts for itself, in memory.
    Local,
    /// They pass uncounted.
    Open,
}

/// Settings that cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// A part of a quota is zero.
    #[error("`{0}` must be at least 1; a limit that lets nobody pass would be an outage")]
    Zero(&'static str),
    /// More than one request per nanosecond.
    #[error("a `rate` above one per nanosecond cannot be kept; lower it or lengthen `per`")]
    TooFast,
    /// A spent limit would not be whole again within a year.
    #[error("`burst` takes more than a year to come back; raise `rate` or lower `burst`")]
    TooSlow,
    /// The store's URL cannot be read; it may hold a password and isn't shown.
    #[error("not a URL of a Redis or Valkey server; write one like redis://host:6379")]
    Url,
    /// The store's URL asks for TLS without checking who answers.
    #[error(
        "`#insecure` would send the password to whoever answers; name the root in SSL_CERT_FILE"
    )]
    Insecure,
}

//! What is wrong with the shared store, and how much of it the log is told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};
use tokio::time::Instant;

const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(10);

/// It answers, and makes no sense.
pub(super) const NOT_REDIS: &str = "it answers, but not as Redis or Valkey would";

/// What is wrong with the store, in words of our own: what it sends may be anything, may quote what
/// it was sent, and never reaches the log.
pub(super) struct Fault {
    what: &'static str,
    /// Whether the connection is gone, rather than the server unwell.
    pub(super) line_broke: bool,
}

impl Fault {
    pub(super) const LINE_BROKE: Self = Self {
        what: "the connection to it fails",
        line_broke: true,
    };

    pub(super) const fn new(what: &'static str) -> Self {
        Self {
            what,
            line_broke: false,
        }
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        let what = match error.kind() {
            ErrorKind::AuthenticationFailed => "it does not accept the user name and password",
            ErrorKind::InvalidClientConfig => "TLS cannot be set up; check the root certificates",
            ErrorKind::Io if error.is_connection_refusal() => "it refuses connections",
            ErrorKind::Io => "the connection to it fails",
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => NOT_REDIS,
            ErrorKind::Server(ServerErrorKind::BusyLoading) => "it is loading its data",
            ErrorKind::Server(ServerErrorKind::NoPerm) => {
                "its ACL forbids the script; allow +evalsha +script|load +time +get +set"
            }
            ErrorKind::Server(ServerErrorKind::ReadOnly) => "it is a read-only replica",
            _ => "it reports an error",
        };
        Self {
            what,
            line_broke: error.is_connection_dropped(),
        }
    }
}

/// The log's share of an outage: one line per ten seconds, and one for the end of what was logged.
pub(super) struct Complaints {
    since: Instant,
    next_milliseconds: AtomicU64,
    open: AtomicBool,
}

impl Complaints {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            next_milliseconds: AtomicU64::new(0),
            open: AtomicBool::new(false),
        }
    }

    pub(super) fn complain(&self, fault: &Fault) {
        let now = self.since.elapsed().as_millis() as u64;
        let later = now + BETWEEN_COMPLAINTS.as_millis() as u64;
        let is_due =
            self.next_milliseconds
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                    (next <= now).then_some(later)
                });
        if is_due.is_ok() {
            self.open.store(true, Ordering::Relaxed);
            let fault = fault.what;
            tracing::warn!(
                fault,
                "the shared limits are away: {fault}; until they are back, on_outage decides"
            );
        }
    }

    pub(super) fn withdraw(&self) {
        if self.open.swap(false, Ordering::Relaxed) {
            tracing::info!("the shared limits are back");
        }
    }
}

//! All that a request needs, in one immutable piece: a reload swaps the piece.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::layers::AddressGuard;
use crate::caller::Callers;
use crate::clock::{Clock, Timestamp};
use crate::identity::Resolver;
use crate::limits::Limits;
use crate::secrets::Fetcher;
use crate::server::Gauges;
use crate::telemetry::{Audit, Metrics};
use crate::token::App;

/// One state of the service.
pub struct Snapshot {
    /// Every app by its name.
    pub apps: HashMap<String, Arc<App>>,
    /// What browsers may do, by the app's name.
    pub browsers: HashMap<String, Arc<Browser>>,
    /// The apps' own paths, such as `/api/support/token`, to the app's name.
    pub browser_paths: HashMap<String, String>,
    /// The backends that may ask.
    pub callers: Callers,
    /// How often one may ask.
    pub limits: Arc<Limits>,
    /// The limit per address, as a layer.
    pub address_guard: AddressGuard,
    /// What fetches its secrets.
    pub fetcher: Arc<Fetcher>,
    /// The service's own URL, the issuer in OAuth metadata.
    pub public_url: Option<String>,
    /// Whether cleartext is refused.
    pub require_https: bool,
    /// Whose `X-Forwarded-*` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a body may take.
    pub request_timeout: Duration,
    /// How long a body may be, in bytes.
    pub max_body: usize,
    /// Whether a token leaves only when its line in the audit trail was taken.
    pub audit_required: bool,
    /// How many requests may be in flight.
    pub max_in_flight: usize,
}

impl Snapshot {
    /// Whether clients of some app show `errors[0].msg`.
    pub(super) fn has_sdk_errors(&self) -> bool {
        self.apps.values().any(|app| app.profile().sdk_errors())
    }
}

/// An app's endpoint for browsers.
pub struct Browser {
    /// The app.
    pub app: Arc<App>,
    /// The origins whose pages may call, exactly as browsers write them.
    pub origins: Vec<String>,
    /// How a session becomes an identity.
    pub resolver: Resolver,
    /// The resolver's name, shared with metrics.
    pub resolver_name: Arc<str>,
    /// Whether a request without a session gets an anonymous token.
    pub allow_anonymous: bool,
    /// Whether a page's `clientSecret` was warned of already.
    pub warned_of_secret: AtomicBool,
}

/// A reload that was refused: the last good state goes on.
pub struct RefusedReload {
    /// When.
    pub at: Timestamp,
    /// What was wrong, each with its place; no secret is ever repeated.
    pub problems: Vec<String>,
}

/// What a reload would change, a line for each; or everything for which it would be refused.
pub type Preview = Result<Vec<String>, Vec<String>>;

/// How many requests are being answered. All cores write it with every request, so it has a line of their caches to itself:
/// what is only read would otherwise leave them each time as well.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct InFlight(pub AtomicUsize);

/// What lives as long as the process, and the snapshot of the moment.
pub struct Service {
    /// The state that the next request sees.
    pub snapshot: ArcSwap<Snapshot>,
    /// The last reload, if it was refused.
    pub refused_reload: ArcSwapOption<RefusedReload>,
    /// Who can say what a reload would change, if there is somebody.
    pub previews: OnceLock<mpsc::Sender<oneshot::Sender<Preview>>>,
    /// The time.
    pub clock: Clock,
    /// The audit trail.
    pub audit: Audit,
    /// The counters.
    pub metrics: Metrics,
    /// The public port's gauges.
    pub gauges: Arc<Gauges>,
    /// Whether the service is going down.
    pub draining: AtomicBool,
    /// Ends what is still in flight with an answer, shortly before its connection would be cut.
    pub closing: CancellationToken,
    /// Requests being answered.
    pub in_flight: InFlight,
}

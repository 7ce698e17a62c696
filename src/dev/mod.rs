//! `signet dev`: the demo page, and the stand-ins for what a real deployment has around signet.
//!
//! A session that an app would keep, a gateway that a platform would run, and a page that shows both at work with
//! signet's own browser endpoint between them. Nothing outside `cli/dev` uses this room, and `signet serve` has none of it.

mod gateway;
mod page;
mod run;
mod session;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue};
use axum::routing::{get, post};
use axum::{Json, Router};
use jsonwebtoken::DecodingKey;
use serde::Serialize;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::clock::Clock;

pub use run::run;

/// The demo's longest request is one message; in bytes.
const MAX_BODY: usize = 16 * 1024;

/// The three HTTPS origins that `signet dev` listens on, as a browser writes them.
#[derive(Clone, Debug, Serialize)]
pub struct Origins {
    /// Where the demo page, the stand-ins and signet itself are.
    pub main: String,
    /// A second origin that the app lists, for requests with credentials from elsewhere.
    pub partner: String,
    /// A third that it doesn't list.
    pub stranger: String,
}

impl Origins {
    /// The origins of these three listeners. They must share one IP address: cookies belong to a host, not to a port.
    #[must_use]
    pub fn at(main: SocketAddr, partner: SocketAddr, stranger: SocketAddr) -> Self {
        Self {
            main: format!("https://{main}"),
            partner: format!("https://{partner}"),
            stranger: format!("https://{stranger}"),
        }
    }
}

/// What the stand-ins share: their sessions, and what the platform would know of its customer.
pub struct StandIns {
    sessions: session::Sessions,
    gateway: gateway::Gateway,
    origins: Origins,
    token_seconds: u64,
}

impl StandIns {
    /// Stand-ins for the customer `tenant_id` whose signing secret is `secret` (the raw bytes that signet signs with).
    /// `token_seconds` is how long a fresh token is good for, as the page tells its reader.
    #[must_use]
    pub fn new(
        tenant_id: &str,
        secret: &[u8],
        token_seconds: u64,
        origins: Origins,
        clock: Clock,
    ) -> Arc<Self> {
        Arc::new(Self {
            sessions: session::Sessions::default(),
            gateway: gateway::Gateway::new(tenant_id, DecodingKey::from_secret(secret), clock),
            origins,
            token_seconds,
        })
    }
}

/// The routes of the main origin, to be merged with signet's own: the page at `/`, everything under `/demo/`, and
/// `/gateway/messages`.
pub fn router(stand_ins: Arc<StandIns>) -> Router {
    let config = Config {
        tenant_id: stand_ins.gateway.tenant_id().to_owned(),
        ttl: stand_ins.token_seconds,
        origins: stand_ins.origins.clone(),
    };
    let routes = page::main_files(&stand_ins.origins)
        .route(
            "/demo/config",
            get(move || async move { Json(config.clone()) }),
        )
        .route("/demo/login", post(session::log_in))
        .route("/demo/logout", post(session::log_out))
        .route("/demo/session", get(session::show))
        .route("/demo/fault", post(session::set_fault))
        .route("/gateway/messages", post(gateway::messages));
    finished(routes).with_state(stand_ins)
}

/// The routes of the two side origins: one page that asks the main origin for a token when the demo page says so.
pub fn side_router(stand_ins: &StandIns) -> Router {
    finished(page::side_files(&stand_ins.origins))
}

/// What the page needs to know of this process.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    tenant_id: String,
    /// Seconds from a token's issue to its expiry.
    ttl: u64,
    origins: Origins,
}

/// `route_layer`, not `layer`: signet's own routes and fallbacks stay as they are when the routers are merged.
fn finished<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes
        .route_layer(DefaultBodyLimit::max(MAX_BODY))
        .route_layer(fixed(CACHE_CONTROL, "no-store"))
        .route_layer(fixed(X_CONTENT_TYPE_OPTIONS, "nosniff"))
}

fn fixed(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value))
}

#[cfg(test)]
mod tests;

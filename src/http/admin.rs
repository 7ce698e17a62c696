//! The admin listener: for operators and their tools, never on the public port.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::{Html, IntoResponse, Json};
use axum::routing::get;
use axum::{Extension, Router};
use serde_json::json;
use tokio::sync::oneshot;

use super::client_ip::Client;
use super::openapi::openapi;
use super::openapi_page;
use super::snapshot::Service;
use crate::clock::Timestamp;
use crate::server::Peer;
use crate::telemetry::{KeyReading, METRICS_MEDIA_TYPE, Readings};
use crate::token::App;

/// Every route of the admin listener, for each peer.
pub fn admin(service: Arc<Service>) -> impl Fn(Peer) -> Router + Clone {
    let router = Router::new()
        .route(
            "/docs",
            get(|| async { Html(openapi_page::render(&openapi())) }),
        )
        .route("/changes", get(changes))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(|| async { Json(openapi()) }))
        .route("/readyz", get(ready))
        .route("/whoami", get(whoami))
        .with_state(service);
    move |peer| router.clone().layer(Extension(peer))
}

/// How many problems of a refused reload are shown: more would hide the first.
const SHOWN_PROBLEMS: usize = 20;

/// Ready when every app signs and verifies a probe with the key that is active now, and nobody has
/// asked the service to stop, and no secret is older than its `max_stale`. A reload that was refused is told, but the last good state is ready.
async fn ready(State(service): State<Arc<Service>>) -> Response<Body> {
    let draining = service.draining.load(Ordering::Relaxed);
    let snapshot = service.snapshot.load_full();
    let stale = snapshot.fetcher.stale();
    let now = service.clock.now();
    // An RSA key takes a millisecond to sign.
    let probes = tokio::task::spawn_blocking(move || {
        let probe = |app: &App| match app.active_key(now) {
            None => "no key is active".to_owned(),
            Some(key) => key
                .self_test()
                .map_or_else(|error| error.to_string(), |()| "ok".to_owned()),
        };
        snapshot
            .apps
            .iter()
            .map(|(name, app)| (name.clone(), probe(app)))
            .collect::<BTreeMap<_, _>>()
    });
    let Ok(apps) = probes.await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let ready = !draining && stale == 0 && apps.values().all(|state| state == "ok");
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut body = json!({ "ready": ready, "draining": draining, "apps": apps });
    if let Some(refused) = service.refused_reload.load_full() {
        let problems = &refused.problems;
        body["refusedReload"] = json!({
            "at": refused.at.rfc3339(),
            "problems": &problems[..problems.len().min(SHOWN_PROBLEMS)],
        });
    }
    if stale > 0 {
        body["staleSecrets"] = stale.into();
    }
    (status, Json(body)).into_response()
}

/// What a reload would change now, as far as it may be told: settings and the names of what else is another. It
/// reads everything anew, so there is one such question at a time.
async fn changes(State(service): State<Arc<Service>>) -> Response<Body> {
    let nobody = || StatusCode::SERVICE_UNAVAILABLE.into_response();
    let Some(previews) = service.previews.get() else {
        return nobody();
    };
    let (sender, answer) = oneshot::channel();
    if previews.try_send(sender).is_err() {
        return nobody();
    }
    match answer.await {
        Ok(Ok(changes)) => Json(json!({ "changes": changes })).into_response(),
        Ok(Err(problems)) => Json(json!({ "problems": problems })).into_response(),
        Err(_) => nobody(),
    }
}

async fn metrics(State(service): State<Arc<Service>>) -> Response<Body> {
    let snapshot = service.snapshot.load();
    let statistics = snapshot.limits.statistics();
    let now = service.clock.now();
    let readings = Readings {
        connections: service.gauges.open(),
        handshakes_failed: service.gauges.handshake_failures(),
        log_lines_dropped: service.audit.dropped(),
        in_flight: service.in_flight.0.load(Ordering::Relaxed) as u64,
        limits: statistics
            .limits
            .iter()
            .map(|it| {
                (
                    it.limit.as_str(),
                    it.refused,
                    it.would_have_refused,
                    it.keys as u64,
                )
            })
            .collect(),
        store: statistics
            .store
            .map(|store| (store.up, store.outages, store.decided_without)),
        stale_secrets: snapshot.fetcher.stale() as u64,
        keys: snapshot
            .apps
            .values()
            .flat_map(|app| read_keys(app, now))
            .collect(),
        switches: snapshot
            .apps
            .values()
            .filter_map(|app| {
                let switch = app.keyring().next_switch(now)?;
                Some((Arc::clone(app.name().shared()), switch.seconds_since(now)))
            })
            .collect(),
    };
    (
        [(CONTENT_TYPE, METRICS_MEDIA_TYPE)],
        service.metrics.render(&readings),
    )
        .into_response()
}

fn read_keys(app: &App, now: Timestamp) -> impl Iterator<Item = KeyReading> {
    let keyring = app.keyring();
    let keys = keyring.keys().iter().enumerate();
    keys.map(move |(position, scheduled)| KeyReading {
        app: Arc::clone(app.name().shared()),
        key: Arc::clone(scheduled.key.id().shared()),
        state: keyring.state(position, now),
        age_seconds: keyring.age_seconds(position, now),
    })
}

/// The address and scheme that signet computes for this very request: send it through the proxies to
/// see whether `server.trusted_proxies` is right.
async fn whoami(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Response<Body> {
    let client = Client::of(&peer, &headers, &service.snapshot.load().trusted_proxies);
    let scheme = if client.encrypted { "https" } else { "http" };
    Json(json!({
        "ip": client.address,
        "scheme": scheme,
        "peer": peer.address.ip(),
        "throughTrustedProxy": client.through_proxy,
    }))
    .into_response()
}

//! The public keys (RFC 7517), published before a key signs and until its last token has expired.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Response};
use serde_json::{Value, json};

use super::Body;
use super::envelope::Context;
use super::error::Failure;
use super::public_document;
use super::route::app_of_keys;
use super::snapshot::Service;
use crate::clock::Timestamp;
use crate::signing::KeyState;
use crate::token::App;

/// `/.well-known/jwks.json`: every app's.
pub(super) async fn of_all(
    service: &Service,
    context: &Context,
    head: &Parts,
) -> Result<Response<Body>, Failure> {
    public_document::admit(context).await?;
    let mut apps: Vec<&App> = context.snapshot.apps.values().map(|app| &**app).collect();
    apps.sort_by_key(|app| app.name());
    Ok(answer(&head.headers, &apps, service.clock.now()))
}

/// `/apps/{app}/jwks.json`: one app's.
pub(super) async fn of_app(
    service: &Service,
    context: &Context,
    head: &Parts,
) -> Result<Response<Body>, Failure> {
    public_document::admit(context).await?;
    let app = app_of_keys(head.uri.path())
        .and_then(|name| context.snapshot.apps.get(name))
        .ok_or(Failure::NotFound)?;
    Ok(answer(&head.headers, &[app], service.clock.now()))
}

fn answer(headers: &HeaderMap, apps: &[&App], now: Timestamp) -> Response<Body> {
    let keys: Vec<Value> = apps.iter().flat_map(|app| published(app, now)).collect();
    let body = json!({ "keys": keys }).to_string().into_bytes();
    public_document::answer(headers, "application/jwk-set+json", body)
}

/// A key whose tokens are all dead is gone, so that it can't be used any more should it leak later.
fn published(app: &App, now: Timestamp) -> impl Iterator<Item = Value> {
    let ring = app.keyring();
    ring.keys()
        .iter()
        .enumerate()
        .filter(move |(position, _)| ring.state(*position, now) != KeyState::Retired)
        .filter_map(|(_, scheduled)| scheduled.key.public_jwk())
        .map(|jwk| serde_json::to_value(jwk).expect("a JWK is always JSON"))
}

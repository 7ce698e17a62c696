//! Routes, status codes and JSON: nothing else knows them.

mod admin;
mod body;
mod client_ip;
mod cors;
mod csrf;
mod envelope;
mod error;
mod exchange;
mod jwks;
mod layers;
mod metadata;
mod openapi;
mod openapi_page;
mod openapi_schemas;
mod public_document;
mod rescue;
mod route;
mod session_token;
mod snapshot;
mod token;
mod who_asks;

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use axum::http::{Method, Response};
use axum::response::IntoResponse;
use http_body::Body as _;

pub use admin::admin;
pub use layers::AddressGuard;
pub use openapi::openapi;
pub use route::TOKEN_ROUTES;
pub use snapshot::{Browser, Preview, RefusedReload, Service, Snapshot};

use body::Arriving;
use envelope::Context;
use error::Failure;
use route::Route;

use crate::server::Peer;

/// The public port for each peer: every route, with every layer around them.
pub fn public(service: &Arc<Service>) -> impl Fn(Peer) -> layers::Public + Clone + use<> {
    let front = layers::Front::new(service);
    move |peer| layers::Public::new(&front, peer)
}

/// Every route of the public port.
async fn route(
    service: &Service,
    context: &Context,
    head: &Parts,
    body: impl Arriving,
) -> Response<Body> {
    let route = context.route;
    if !route.methods().contains(&head.method) {
        return match route.methods() {
            [] => Failure::NotFound,
            allowed => Failure::MethodNotAllowed(allowed),
        }
        .into_response();
    }
    let mut response = match route {
        Route::Token => token::issue(service, context, head, body).await,
        // Boxed, as a backend's request would carry the room for these.
        Route::AppToken => Box::pin(session_token::issue(service, context, head, body)).await,
        Route::AppKeys => Box::pin(jwks::of_app(service, context, head)).await,
        Route::Keys => Box::pin(jwks::of_all(service, context, head)).await,
        Route::Metadata => Box::pin(metadata::show(context, head)).await,
        Route::Health => Ok("ok\n".into_response()),
        Route::Other => Err(Failure::NotFound),
    }
    .unwrap_or_else(IntoResponse::into_response);
    if head.method == Method::HEAD {
        without_body(&mut response);
    }
    response
}

/// RFC 9110 section 9.3.2: what `GET` says of the body, and none.
fn without_body(response: &mut Response<Body>) {
    if let Some(length) = response.body().size_hint().exact() {
        let headers = response.headers_mut();
        headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    *response.body_mut() = Body::empty();
}

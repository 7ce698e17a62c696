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
mod known_headers;
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

use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response};
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::Full;

pub use admin::admin;
pub use layers::{AddressGuard, Public};
pub use openapi::openapi;
pub use route::TOKEN_ROUTES;
pub use snapshot::{Browser, InFlight, Preview, RefusedReload, Service, Snapshot};

use body::Arriving;
use envelope::{Context, Trail};
use error::Failure;
use route::Route;

/// The body of every answer of the public port: there from the start, as a whole.
pub type Body = Full<Bytes>;

/// The public port: every route, with every layer around them.
#[must_use]
pub fn public(service: &Arc<Service>) -> Public {
    Public::new(service)
}

/// Every route of the public port.
async fn route<'a>(
    service: &Service,
    context: &'a Context,
    head: &Parts,
    body: &mut impl Arriving,
    trail: &mut Trail<'a>,
) -> Result<Response<Body>, Failure> {
    let route = context.route;
    if !route.methods().contains(&head.method) {
        return Err(match route.methods() {
            [] => Failure::NotFound,
            allowed => Failure::MethodNotAllowed(allowed),
        });
    }
    let mut answered = match route {
        Route::Token => token::issue(service, context, head, body, trail).await,
        // Boxed, as a backend's request would carry the room for these.
        Route::AppToken => {
            Box::pin(session_token::issue(service, context, head, body, trail)).await
        }
        Route::AppKeys => Box::pin(jwks::of_app(service, context, head)).await,
        Route::Keys => Box::pin(jwks::of_all(service, context, head)).await,
        Route::Metadata => Box::pin(metadata::show(context, head)).await,
        Route::Health => Ok(health()),
        Route::Other => Err(Failure::NotFound),
    };
    if let Ok(response) = &mut answered
        && head.method == Method::HEAD
    {
        without_body(response);
    }
    answered
}

fn health() -> Response<Body> {
    let mut response = Response::new(Body::from("ok\n"));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// RFC 9110 section 9.3.2: what `GET` says of the body, and none.
fn without_body(response: &mut Response<Body>) {
    if let Some(length) = response.body().size_hint().exact() {
        let headers = response.headers_mut();
        headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    *response.body_mut() = Body::default();
}

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
mod public_document;
mod rescue;
mod route;
mod session_token;
mod snapshot;
mod token;
mod who_asks;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::routing::{get, post};
use hyper::body::Incoming;
use tower::ServiceExt;

pub use admin::admin;
pub use layers::AddressGuard;
pub use openapi::openapi;
pub use snapshot::{Browser, RefusedReload, Service, Snapshot};

use error::Failure;

/// Every route of the public port, with every layer around them.
pub fn public(
    service: &Arc<Service>,
) -> impl tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    let routes = Router::new()
        .route(
            "/token",
            post(token::issue).fallback(|| async { Failure::MethodNotAllowed("POST") }),
        )
        // Apps' own paths arrive here too: the envelope has put this one in their place.
        .route(
            "/apps/{app}/token",
            get(session_token::issue)
                .post(session_token::issue)
                .fallback(|| async { Failure::MethodNotAllowed("GET, HEAD, POST") }),
        )
        .route(
            "/apps/{app}/jwks.json",
            get(jwks::of_app).fallback(|| async { Failure::MethodNotAllowed("GET, HEAD") }),
        )
        .route(
            "/.well-known/jwks.json",
            get(jwks::of_all).fallback(|| async { Failure::MethodNotAllowed("GET, HEAD") }),
        )
        .route(
            "/.well-known/oauth-authorization-server",
            get(metadata::show).fallback(|| async { Failure::MethodNotAllowed("GET, HEAD") }),
        )
        .route(
            "/healthz",
            get(|| async { "ok\n" }).fallback(|| async { Failure::MethodNotAllowed("GET, HEAD") }),
        )
        .fallback(|| async { Failure::NotFound })
        .with_state(Arc::clone(service));
    layers::around(service, routes)
}

/// A service over any body as one over the bodies that sockets bring.
pub fn for_sockets<S>(
    service: S,
) -> impl tower::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    service.map_request(|request: Request<Incoming>| request.map(Body::new))
}

//! Cross-origin answers: the Fetch standard's CORS protocol, for the browser's endpoint and public documents.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, request};
use tower_http::cors::{AllowOrigin, Any, CorsLayer, Vary};

use super::route::Route;
use super::snapshot::Browser;

/// The CORS protocol as an app's browser endpoint speaks it, and as documents do that anybody may read.
pub(super) struct BrowserCors {
    browser: CorsLayer,
    public: CorsLayer,
}

impl BrowserCors {
    pub(super) fn new() -> Self {
        let listed = AllowOrigin::predicate(|origin: &HeaderValue, request: &request::Parts| {
            let browser = request.extensions.get::<Arc<Browser>>();
            browser.is_some_and(|browser| {
                browser
                    .origins
                    .iter()
                    .any(|listed| listed.as_bytes() == origin.as_bytes())
            })
        });
        let browser = CorsLayer::new()
            .allow_origin(listed)
            .allow_credentials(true)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([
                AUTHORIZATION,
                CONTENT_TYPE,
                HeaderName::from_static("x-request-id"),
                HeaderName::from_static("traceparent"),
                HeaderName::from_static("tracestate"),
            ])
            .expose_headers([
                RETRY_AFTER,
                HeaderName::from_static("ratelimit"),
                HeaderName::from_static("ratelimit-policy"),
                HeaderName::from_static("x-request-id"),
            ])
            // What browsers keep at most (Chromium: two hours), short enough for a new origin to arrive soon.
            .max_age(Duration::from_secs(600));
        // Any page may read them, and with no credentials there is nothing that it could misuse.
        let public = CorsLayer::new()
            .allow_origin(Any)
            .allow_methods([Method::GET])
            .allow_headers(Any)
            .expose_headers([ETAG, RETRY_AFTER, HeaderName::from_static("x-request-id")])
            .max_age(Duration::from_secs(600))
            // The answer is the same for every origin, so that one copy serves all.
            .vary(Vary::list([]));
        Self { browser, public }
    }

    /// The protocol for a route; none where no page has any business.
    pub(super) fn of(&self, route: Route) -> Option<&CorsLayer> {
        match route {
            Route::AppToken => Some(&self.browser),
            route if route.is_public_document() => Some(&self.public),
            _ => None,
        }
    }
}

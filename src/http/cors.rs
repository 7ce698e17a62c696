//! Cross-origin answers: the Fetch standard's CORS protocol, for the browser's endpoint and public documents.

use std::convert::Infallible;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, request};
use futures_util::future::Either;
use std::sync::Arc;
use tower::{Layer, Service as TowerService};
use tower_http::cors::{AllowOrigin, Any, Cors, CorsLayer, Vary};

use super::envelope::Context;
use super::route::Route;

/// Puts the CORS protocol around requests that are for an app's browser endpoint or for what anybody
/// may read, and nothing around others.
#[derive(Clone)]
pub(super) struct BrowserCorsLayer {
    browser: CorsLayer,
    public: CorsLayer,
}

impl BrowserCorsLayer {
    pub(super) fn new() -> Self {
        let listed = AllowOrigin::predicate(|origin: &HeaderValue, request: &request::Parts| {
            let context = request.extensions.get::<Arc<Context>>();
            let browser = context.and_then(|context| context.browser.as_ref());
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
}

impl<S: Clone> Layer<S> for BrowserCorsLayer {
    type Service = BrowserCors<S>;

    fn layer(&self, inner: S) -> BrowserCors<S> {
        BrowserCors {
            browser: self.browser.layer(inner.clone()),
            public: self.public.layer(inner.clone()),
            plain: inner,
        }
    }
}

#[derive(Clone)]
pub(super) struct BrowserCors<S> {
    browser: Cors<S>,
    public: Cors<S>,
    plain: S,
}

impl<S> TowerService<Request<Body>> for BrowserCors<S>
where
    S: TowerService<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<<Cors<S> as TowerService<Request<Body>>>::Future, S::Future>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        std::task::ready!(self.browser.poll_ready(task))?;
        std::task::ready!(self.public.poll_ready(task))?;
        self.plain.poll_ready(task)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let context = request.extensions().get::<Arc<Context>>();
        let route = context.map(|context| context.route);
        match route {
            Some(Route::AppToken) => Either::Left(self.browser.call(request)),
            Some(route) if route.is_public_document() => Either::Left(self.public.call(request)),
            _ => Either::Right(self.plain.call(request)),
        }
    }
}

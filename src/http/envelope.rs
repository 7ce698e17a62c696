//! What surrounds every request: its context on the way in; its ID, its error document, its metrics
//! and its audit line on the way out.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use arc_swap::Guard;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, PRAGMA, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response, Uri};
use tracing::Span;

use super::Body;
use super::body::MediaType;
use super::client_ip::Client;
use super::error::{ErrorForm, Failure};
use super::known_headers::{KnownHeaders, REQUEST_ID, RequestId, TraceId};
use super::public_document::Cacheable;
use super::route::{Route, app_of_token};
use super::snapshot::{Browser, Service, Snapshot};
use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::server::Peer;
use crate::telemetry::{self, Entry, Outcome};
use crate::token::{App, Minted};

/// What is known of a request from the start.
pub(super) struct Context {
    /// The state that it sees from start to end.
    pub(super) snapshot: Guard<Arc<Snapshot>>,
    /// Where it comes from.
    pub(super) client: Client,
    /// What its headers say.
    pub(super) headers: KnownHeaders,
    /// The app's browser endpoint, where it is for one.
    pub(super) browser: Option<Arc<Browser>>,
    /// Which route it is for.
    pub(super) route: Route,
    started: Instant,
    /// The request's span in traces, where they are on.
    pub(super) span: Option<Box<Span>>,
}

/// What was found out of a request on the way.
#[derive(Default)]
pub(super) struct Trail<'a> {
    /// The app that it is about.
    pub(super) app: Option<&'a Arc<App>>,
    /// The backend that asked.
    pub(super) caller: Option<&'a Arc<Caller>>,
    /// The user's ID.
    pub(super) user: Option<String>,
    /// What the token says of itself, where there is one.
    pub(super) issued: Option<Issued>,
}

/// What the audit trail keeps of a token.
pub(super) struct Issued {
    at: Timestamp,
    lifetime_seconds: i64,
    /// Which of the app's keys signed.
    key: usize,
    token_id: Option<String>,
}

impl From<&Minted> for Issued {
    fn from(minted: &Minted) -> Self {
        Self {
            at: minted.expires_at.plus_seconds(-minted.expires_in_seconds),
            lifetime_seconds: minted.lifetime_seconds,
            key: minted.key,
            token_id: minted.token_id.clone(),
        }
    }
}

impl Context {
    /// Of a request as it comes in. One for an app's own path is one for `/apps/{app}/token` from here on.
    pub(super) fn new(service: &Service, peer: &Peer, head: &mut Parts) -> Self {
        let snapshot = service.snapshot.load();
        let client = Client::of(peer, &head.headers, &snapshot.trusted_proxies);
        if let Some(path) = snapshot
            .browser_paths
            .get(head.uri.path())
            .and_then(|app| own_path(app, &head.uri))
        {
            head.uri = path;
        }
        let path = head.uri.path();
        let browser = app_of_token(path)
            .and_then(|app| snapshot.browsers.get(app))
            .map(Arc::clone);
        let route = Route::of(path, browser.is_some());
        let mut headers = KnownHeaders::of(head);
        let mut span = None;
        if route != Route::Health {
            let begun = telemetry::request_span(&head.method, route.name(), &head.headers);
            span = (!begun.is_disabled()).then(|| Box::new(begun));
        }
        // Where traces are on, a request without a context begins one.
        if let Some(own) = span.as_deref().and_then(telemetry::traceparent) {
            headers.trace_id = TraceId::of(&own).or(headers.trace_id);
        }
        Self {
            snapshot,
            client,
            headers,
            browser,
            route,
            started: Instant::now(),
            span,
        }
    }

    /// Whether it is an OAuth client's, whose errors have RFC 6749's form.
    pub(super) fn is_oauth(&self) -> bool {
        self.route == Route::Token && self.headers.body == MediaType::Form
    }

    /// Puts the envelope around the answer, counts it and writes it down. In place of a `failure` the client gets its
    /// document, with the headers that the response has already.
    pub(super) fn close(
        &self,
        service: &Service,
        trail: &Trail<'_>,
        mut response: Response<Body>,
        mut failure: Option<Failure>,
    ) -> Response<Body> {
        if !self.write_down(service, trail, failure.as_ref()) {
            // The token stays here. This line tries the log anew, so that it is found when it works again.
            failure = Some(Failure::AuditUnavailable);
            self.write_down(service, trail, failure.as_ref());
        }
        if let Some(failure) = &failure {
            self.tell(failure, trail, &mut response);
        }
        let status = response.status().as_u16();
        self.count(service, status, trail, failure.as_ref());
        let cacheable = response.extensions_mut().remove::<Cacheable>();
        let headers = response.headers_mut();
        if let Some(Cacheable(how)) = cacheable {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(how));
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        } else if headers.contains_key(X_CONTENT_TYPE_OPTIONS) {
            // An answer with a token has all of them from the start.
            return response;
        } else {
            surround(headers);
        }
        headers.insert(REQUEST_ID, self.headers.request_id.to_header());
        response
    }

    /// Makes a failure's document of the response.
    fn tell(&self, failure: &Failure, trail: &Trail<'_>, response: &mut Response<Body>) {
        // A request that is for no app that is known may be for one of those all the same, and
        // nobody else minds.
        let sdk_errors = self.app(trail).map_or_else(
            || self.snapshot.has_sdk_errors(),
            |app| app.profile().sdk_errors(),
        );
        let form = if self.is_oauth() {
            ErrorForm::OAuth
        } else if sdk_errors {
            ErrorForm::Sdk
        } else {
            ErrorForm::Problem
        };
        let document = failure.render(self.headers.request_id.as_str(), form);
        let (head, body) = document.into_parts();
        *response.status_mut() = head.status;
        // What stands there already are CORS headers, and the length of the empty body.
        response.headers_mut().remove(CONTENT_LENGTH);
        response.headers_mut().extend(head.headers);
        *response.body_mut() = body;
    }

    /// Counts the answer.
    fn count(&self, service: &Service, status: u16, trail: &Trail<'_>, failure: Option<&Failure>) {
        let outcome = match (failure, &trail.issued) {
            (Some(failure), _) => failure.code(),
            (None, Some(_)) => Outcome::Issued.name(),
            (None, None) => "ok",
        };
        service
            .metrics
            .count_request(self.route.name(), outcome, self.started.elapsed());
        let app = self.app(trail);
        let caller = trail.caller.map(|caller| &caller.name);
        if let Some(span) = &self.span {
            telemetry::end_request(
                span,
                status,
                app.map(|app| app.name().as_str()),
                caller.map(|name| &**name),
                outcome,
            );
        }
        if self.is_about_a_token(trail, failure)
            && let (Some(app), Some(who)) = (app, caller.or(self.resolver()))
        {
            service
                .metrics
                .count_decision(app.name().shared(), who, outcome);
        }
    }

    /// Writes down what was decided. False for a token that must not leave, because it must be written down
    /// and can't be.
    fn write_down(&self, service: &Service, trail: &Trail<'_>, failure: Option<&Failure>) -> bool {
        if !self.is_about_a_token(trail, failure) {
            return true;
        }
        let app = self.app(trail);
        let issued = match failure {
            Some(_) => None,
            None => trail.issued.as_ref(),
        };
        let key = issued
            .zip(app)
            .and_then(|(issued, app)| app.keyring().keys().get(issued.key));
        let entry = Entry {
            request_id: self.headers.request_id.as_str(),
            trace_id: self.headers.trace_id.as_ref().map(TraceId::as_str),
            app: app.map(|app| app.name().as_str()),
            caller: trail.caller.map(|caller| &*caller.name),
            resolver: self.resolver().map(|name| &**name),
            user: trail.user.as_deref(),
            lifetime_seconds: issued.map(|issued| issued.lifetime_seconds),
            key_id: key.map(|scheduled| scheduled.key.id().as_str()),
            token_id: issued.and_then(|issued| issued.token_id.as_deref()),
            ip: self.client.address,
            outcome: failure.map_or(Outcome::Issued, |failure| Outcome::Refused(failure.code())),
        };
        let now = issued.map_or_else(|| service.clock.now(), |issued| issued.at);
        if failure.is_none() && self.snapshot.audit_required {
            return service.audit.write_surely(&entry, now);
        }
        service.audit.write(&entry, now);
        true
    }

    /// What isn't is neither audited nor counted as a decision: a probe, a wrong path, a preflight.
    fn is_about_a_token(&self, trail: &Trail<'_>, failure: Option<&Failure>) -> bool {
        self.route.issues_tokens() && (trail.issued.is_some() || failure.is_some())
    }

    fn app<'a>(&'a self, trail: &Trail<'a>) -> Option<&'a Arc<App>> {
        let browser = self.browser.as_ref();
        trail.app.or(browser.map(|browser| &browser.app))
    }

    /// The session resolver, where a browser asks.
    fn resolver(&self) -> Option<&Arc<str>> {
        let browser = self.browser.as_ref();
        browser.map(|browser| &browser.resolver_name)
    }
}

/// The headers of an answer that carries a token to whoever asked by this ID: a copy of all costs less than adding one
/// after the other.
pub(super) fn headers_around_token(request_id: &RequestId) -> HeaderMap {
    static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
        // The ID is the first, and found without a search.
        let mut headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(""))]);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        surround(&mut headers);
        headers
    });
    let mut headers = HEADERS.clone();
    if let Some(id) = headers.values_mut().next() {
        *id = request_id.to_header();
    }
    headers
}

/// What every answer says that nobody may keep.
fn surround(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// `/apps/{app}/token` in place of the app's own path, so that one route serves both.
fn own_path(app: &str, uri: &Uri) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    let query = uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    parts.path_and_query = Some(format!("/apps/{app}/token{query}").parse().ok()?);
    Uri::from_parts(parts).ok()
}

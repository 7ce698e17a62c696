//! What surrounds every request: its context on the way in; its ID, its error document, its metrics
//! and its audit line on the way out.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::Guard;
use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, PRAGMA, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, Uri};
use tracing::Span;
use uuid::Uuid;

use super::body::MediaType;
use super::client_ip::Client;
use super::error::{ErrorForm, Failure};
use super::public_document::Cacheable;
use super::route::{Route, app_of_token};
use super::snapshot::{Browser, Service, Snapshot};
use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::random;
use crate::server::Peer;
use crate::telemetry::{self, Entry, Outcome};
use crate::token::{App, Minted};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What is known of a request from the start.
pub(super) struct Context {
    /// The state that it sees from start to end.
    pub(super) snapshot: Guard<Arc<Snapshot>>,
    /// Where it comes from.
    pub(super) client: Client,
    /// The app's browser endpoint, where it is for one.
    pub(super) browser: Option<Arc<Browser>>,
    /// Which route it is for.
    pub(super) route: Route,
    /// What its body is, as far as the headers say.
    pub(super) body: MediaType,
    /// What is found out on the way, where it is about a token.
    trail: Mutex<Option<Trail>>,
}

impl Context {
    /// Whether it is an OAuth client's, whose errors have RFC 6749's form.
    pub(super) fn is_oauth(&self) -> bool {
        self.route == Route::Token && self.body == MediaType::Form
    }

    /// Leaves for the envelope what was found out.
    pub(super) fn leave(&self, trail: Trail) {
        *self.trail.lock().unwrap_or_else(PoisonError::into_inner) = Some(trail);
    }
}

/// What was found out of a request on the way.
#[derive(Default)]
pub(super) struct Trail {
    /// The app that it is about.
    pub(super) app: Option<Arc<App>>,
    /// The backend that asked.
    pub(super) caller: Option<Arc<Caller>>,
    /// The session resolver, where a browser asked.
    pub(super) resolver: Option<Arc<str>>,
    /// The user's ID.
    pub(super) user: Option<String>,
    /// What the token says of itself, where there is one.
    pub(super) issued: Option<Issued>,
}

/// What the audit trail keeps of a token.
pub(super) struct Issued {
    at: Timestamp,
    lifetime_seconds: i64,
    key_id: crate::signing::KeyId,
    token_id: Option<String>,
}

impl From<&Minted> for Issued {
    fn from(minted: &Minted) -> Self {
        Self {
            at: minted.expires_at.plus_seconds(-minted.expires_in_seconds),
            lifetime_seconds: minted.lifetime_seconds,
            key_id: minted.key_id.clone(),
            token_id: minted.token_id.clone(),
        }
    }
}

/// A request between its head and its answer.
pub(super) struct Opened {
    started: Instant,
    request_id: HeaderValue,
    trace_id: Option<HeaderValue>,
    context: Context,
    span: Span,
}

impl Opened {
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
        let context = Context {
            snapshot,
            client,
            browser,
            route,
            body: MediaType::of(&head.headers),
            trail: Mutex::default(),
        };
        let span = match route {
            Route::Health => Span::none(),
            _ => telemetry::request_span(&head.method, route.name(), &head.headers),
        };
        Self {
            started: Instant::now(),
            request_id: request_id(&head.headers),
            // Where traces are on, a request without a context begins one.
            trace_id: trace_id(telemetry::traceparent(&span).as_ref())
                .or_else(|| trace_id(head.headers.get(TRACEPARENT))),
            context,
            span,
        }
    }

    /// What is known of the request.
    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// The request's span in traces.
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Puts the envelope around the answer, counts it and writes it down.
    pub(super) fn close(self, service: &Service, mut response: Response<Body>) -> Response<Body> {
        let trail = (self.context.trail.lock())
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let id = self
            .request_id
            .to_str()
            .expect("a request ID is visible ASCII");
        let mut failure = response.extensions_mut().remove::<Failure>();
        if !self.write_down(service, id, trail.as_ref(), failure.as_ref()) {
            // The token stays here. This line tries the log anew, so that it is found when it works again.
            failure = Some(Failure::AuditUnavailable);
            self.write_down(service, id, trail.as_ref(), failure.as_ref());
        }
        if let Some(failure) = &failure {
            let app = self.app(trail.as_ref());
            // A request that is for no app that is known may be for one of those all the same, and
            // nobody else minds.
            let sdk_errors = app.map_or_else(
                || self.context.snapshot.has_sdk_errors(),
                |app| app.profile().sdk_errors(),
            );
            let form = if self.context.is_oauth() {
                ErrorForm::OAuth
            } else if sdk_errors {
                ErrorForm::Sdk
            } else {
                ErrorForm::Problem
            };
            let document = failure.render(id, form);
            let (head, body) = document.into_parts();
            *response.status_mut() = head.status;
            // What stands there already are CORS headers, and the length of the empty body.
            response.headers_mut().remove(CONTENT_LENGTH);
            response.headers_mut().extend(head.headers);
            *response.body_mut() = body;
        }
        let status = response.status().as_u16();
        self.count(service, status, trail.as_ref(), failure.as_ref());
        let cacheable = response.extensions_mut().remove::<Cacheable>();
        let headers = response.headers_mut();
        if let Some(Cacheable(how)) = cacheable {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(how));
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        } else if !headers.contains_key(X_CONTENT_TYPE_OPTIONS) {
            // An answer with a token has them from the start.
            surround(headers);
        }
        headers.insert(REQUEST_ID, self.request_id);
        response
    }

    /// Counts the answer.
    fn count(
        &self,
        service: &Service,
        status: u16,
        trail: Option<&Trail>,
        failure: Option<&Failure>,
    ) {
        let outcome = match (failure, trail) {
            (Some(failure), _) => failure.code(),
            (None, Some(_)) => Outcome::Issued.name(),
            (None, None) => "ok",
        };
        service
            .metrics
            .count_request(self.context.route.name(), outcome, self.started.elapsed());
        let app = self.app(trail);
        let caller = caller(trail);
        telemetry::end_request(
            &self.span,
            status,
            app.map(|app| app.name().as_str()),
            caller.map(|name| &**name),
            outcome,
        );
        if self.is_about_a_token(trail, failure)
            && let (Some(app), Some(who)) = (app, caller.or(self.resolver(trail)))
        {
            service
                .metrics
                .count_decision(app.name().shared(), who, outcome);
        }
    }

    /// Writes down what was decided. False for a token that must not leave, because it must be written down
    /// and can't be.
    fn write_down(
        &self,
        service: &Service,
        id: &str,
        trail: Option<&Trail>,
        failure: Option<&Failure>,
    ) -> bool {
        if !self.is_about_a_token(trail, failure) {
            return true;
        }
        let app = self.app(trail);
        let issued = match failure {
            Some(_) => None,
            None => trail.and_then(|trail| trail.issued.as_ref()),
        };
        let entry = Entry {
            request_id: id,
            trace_id: self.trace_id.as_ref().and_then(|id| id.to_str().ok()),
            app: app.map(|app| app.name().as_str()),
            caller: caller(trail).map(|name| &**name),
            resolver: self.resolver(trail).map(|name| &**name),
            user: trail.and_then(|trail| trail.user.as_deref()),
            lifetime_seconds: issued.map(|issued| issued.lifetime_seconds),
            key_id: issued.map(|issued| issued.key_id.as_str()),
            token_id: issued.and_then(|issued| issued.token_id.as_deref()),
            ip: self.context.client.address,
            outcome: failure.map_or(Outcome::Issued, |failure| Outcome::Refused(failure.code())),
        };
        let now = issued.map_or_else(|| service.clock.now(), |issued| issued.at);
        if failure.is_none() && self.context.snapshot.audit_required {
            return service.audit.write_surely(&entry, now);
        }
        service.audit.write(&entry, now);
        true
    }

    /// What isn't is neither audited nor counted as a decision: a probe, a wrong path, a preflight.
    fn is_about_a_token(&self, trail: Option<&Trail>, failure: Option<&Failure>) -> bool {
        self.context.route.issues_tokens() && (trail.is_some() || failure.is_some())
    }

    fn app<'a>(&'a self, trail: Option<&'a Trail>) -> Option<&'a Arc<App>> {
        trail.and_then(|trail| trail.app.as_ref()).or(self
            .context
            .browser
            .as_ref()
            .map(|browser| &browser.app))
    }

    fn resolver<'a>(&'a self, trail: Option<&'a Trail>) -> Option<&'a Arc<str>> {
        let browser = self.context.browser.as_ref();
        trail
            .and_then(|trail| trail.resolver.as_ref())
            .or(browser.map(|browser| &browser.resolver_name))
    }
}

fn caller(trail: Option<&Trail>) -> Option<&Arc<str>> {
    trail
        .and_then(|trail| trail.caller.as_ref())
        .map(|caller| &caller.name)
}

/// The headers of an answer that carries a token, its request ID still empty: a copy of all costs less than adding one
/// after the other.
pub(super) fn headers_around_token() -> HeaderMap {
    static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        surround(&mut headers);
        headers.insert(REQUEST_ID, HeaderValue::from_static(""));
        headers
    });
    HEADERS.clone()
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

/// The client's own ID where it is one, a fresh one else: what it sent may end up in many logs.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let fits = |id: &&HeaderValue| {
        let visible =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        (1..=128).contains(&id.len()) && id.as_bytes().iter().all(visible)
    };
    headers
        .get(REQUEST_ID)
        .filter(fits)
        .cloned()
        .unwrap_or_else(|| {
            let mut text = [0; 36];
            Uuid::from_bytes(random::id())
                .hyphenated()
                .encode_lower(&mut text);
            HeaderValue::from_bytes(&text).expect("a UUID is visible ASCII")
        })
}

/// The trace ID of W3C's `traceparent`: 32 lower-case hexadecimal digits, not all zero.
fn trace_id(traceparent: Option<&HeaderValue>) -> Option<HeaderValue> {
    let mut parts = traceparent?.to_str().ok()?.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let hex = |text: &str| {
        text.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let fits = version.len() == 2
        && hex(version)
        && version != "ff"
        && trace.len() == 32
        && hex(trace)
        && trace.bytes().any(|byte| byte != b'0');
    if fits {
        HeaderValue::from_str(trace).ok()
    } else {
        None
    }
}

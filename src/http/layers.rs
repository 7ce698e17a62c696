//! Every step around the routes on one page, the outermost first, each with the reason for its place.

use std::convert::Infallible;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as Task, Poll};

use axum::body::Body;
use axum::http::header::{HOST, TRANSFER_ENCODING};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Request, Response};
use axum::response::IntoResponse;
use futures_util::FutureExt;
use futures_util::future::ready;
use governor::middleware::NoOpMiddleware;
use tower::{Layer, Service as TowerService, ServiceExt, service_fn};
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};
use tower_http::cors::CorsLayer;
use tracing::Instrument;

use super::body::Arriving;
use super::cors::BrowserCors;
use super::envelope::{Context, Opened};
use super::error::Failure;
use super::rescue::rescue;
use super::route::Route;
use super::snapshot::Service;
use crate::limits::{AddressKey, AddressTable, LimitName, Limits};
use crate::server::Peer;

/// The public port as a `tower` service for one peer. A clone costs a counter: `hyper` makes one for every request. The
/// counter is the connection's own, so that cores don't take it from each other.
#[derive(Clone)]
pub struct Public(Arc<Connected>);

/// The public port, and who has connected to it.
struct Connected {
    front: Arc<Front>,
    peer: Peer,
}

pub(super) struct Front {
    service: Arc<Service>,
    cors: BrowserCors,
}

impl Public {
    pub(super) fn new(front: &Arc<Front>, peer: Peer) -> Self {
        Self(Arc::new(Connected {
            front: Arc::clone(front),
            peer,
        }))
    }
}

impl<B: Arriving> TowerService<Request<B>> for Public {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Self(connected) = self;
        Box::pin(answer(Arc::clone(connected), request))
    }
}

/// Outermost: whatever happens inside gets its document, is counted and written down here.
///
/// The request is taken apart at once: every future that it went through whole would keep room for all of it.
fn answer(
    connected: Arc<Connected>,
    request: Request<impl Arriving>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send {
    let (mut head, body) = request.into_parts();
    let opened = Opened::new(&connected.front.service, &connected.peer, &mut head);
    async move {
        let front = &connected.front;
        let (context, span) = (opened.context(), opened.span().clone());
        let response = match front.cors.of(context.route) {
            None => front.rescue(context, &head, body).instrument(span).await,
            Some(cors) => {
                // Boxed, so that a backend's request doesn't carry the room for it.
                let request = Request::from_parts(head, body);
                let answering = Box::pin(front.share(cors, context, request));
                answering.instrument(span).await
            }
        };
        Ok(opened.close(&front.service, response))
    }
}

impl Front {
    pub(super) fn new(service: &Arc<Service>) -> Arc<Self> {
        Arc::new(Self {
            service: Arc::clone(service),
            cors: BrowserCors::new(),
        })
    }

    /// CORS, outside every refusal: a widget must be able to read a 401, 429 or 503, and a preflight is
    /// answered before anybody is counted or asked who they are.
    async fn share(
        &self,
        cors: &CorsLayer,
        context: &Context,
        mut request: Request<impl Arriving>,
    ) -> Response<Body> {
        // For the protocol, which asks whose origins are listed.
        if let Some(browser) = &context.browser {
            request.extensions_mut().insert(Arc::clone(browser));
        }
        let inner = service_fn(|request: Request<_>| async {
            let (head, body) = request.into_parts();
            Ok::<_, Infallible>(self.rescue(context, &head, body).await)
        });
        let Ok(response) = cors.layer(inner).oneshot(request).await;
        response
    }

    /// The last resort, inside CORS so that even these answers can be read: a handler that panics, and a
    /// service that stops before a request ends.
    fn rescue<'a>(
        &'a self,
        context: &'a Context,
        head: &'a Parts,
        body: impl Arriving,
    ) -> impl Future<Output = Response<Body>> + Send + 'a {
        rescue(&self.service.closing, async move {
            let _place = match self.admit(context, head, &body) {
                ControlFlow::Continue(place) => place,
                ControlFlow::Break(refusal) => return refusal,
            };
            super::route(&self.service, context, head, body).await
        })
    }

    /// What can be said before any work: no to what no honest client sends, to cleartext that must not
    /// come in, to more than can be done at once, and to an address that asks too often.
    /// What it lets through has a place, but for probes.
    fn admit(
        &self,
        context: &Context,
        head: &Parts,
        body: &impl Arriving,
    ) -> ControlFlow<Response<Body>, Option<Place<'_>>> {
        let (service, snapshot) = (&self.service, &context.snapshot);
        let refuse = |failure: Failure| ControlFlow::Break(failure.into_response());
        if !has_one_host(head) {
            return refuse(Failure::HostNeeded);
        }
        if !has_plain_body(head, body) {
            return refuse(Failure::CodingUnknown);
        }
        // A probe is neither told to use HTTPS nor turned away.
        if context.route == Route::Health {
            return ControlFlow::Continue(None);
        }
        if snapshot.require_https && !context.client.encrypted {
            return refuse(Failure::HttpsRequired);
        }
        // Outside the limits: when too much is going on, nothing more is started, not even counting.
        let place = Place::take(&service.in_flight);
        if place.before >= snapshot.max_in_flight {
            return refuse(Failure::Overloaded);
        }
        // Innermost, so that a request that was shed isn't counted against its address. Counters that
        // replicas share are asked by the routes, together with the other limits.
        let limits = &snapshot.limits;
        if !limits.is_shared()
            && !limits.is_exempt(context.client.address)
            && let Some(refusal) = snapshot.address_guard.refusal(context.client.address)
        {
            return ControlFlow::Break(refusal);
        }
        ControlFlow::Continue(Some(place))
    }
}

/// A body whose end nobody sees elsewhere: `hyper` takes whatever ends with `chunked` for chunked, a proxy before us
/// might not, and no coding is known here besides (RFC 9112 section 6.1).
fn has_plain_body(head: &Parts, body: &impl Arriving) -> bool {
    // What has a length is in no coding: `hyper` has refused it, or taken the length away.
    if body.size_hint().exact().is_some() {
        return true;
    }
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let (first, second) = (codings.next(), codings.next());
    second.is_none()
        && first.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// Exactly one valid `Host` (RFC 9112 section 3.2), or HTTP/2's `:authority`. Where both stand the target's is the one
/// that counts (section 3.2.2).
fn has_one_host(head: &Parts) -> bool {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next(), head.uri.authority()) {
        (_, Some(_), _) | (None, None, None) => false,
        (Some(host), None, _) => is_plain_host(host.as_bytes()) || is_host_in_full(host),
        (None, None, Some(authority)) => is_host(authority),
    }
}

/// What nearly every `Host` is, seen at a glance: a name or an IPv4 address, and perhaps a short port.
fn is_plain_host(host: &[u8]) -> bool {
    let mut parts = host.splitn(2, |byte| *byte == b':');
    let name = parts.next().unwrap_or_default();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    !name.is_empty()
        && name.iter().all(plain)
        && parts
            .next()
            .is_none_or(|port| (1..=4).contains(&port.len()) && port.iter().all(u8::is_ascii_digit))
}

fn is_host_in_full(host: &HeaderValue) -> bool {
    let authority = host
        .to_str()
        .ok()
        .and_then(|host| host.parse::<Authority>().ok());
    authority.is_some_and(|authority| is_host(&authority))
}

/// A name or address, and a port or none (RFC 9110 section 7.2); an authority may say more.
fn is_host(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    let port_fits = port.is_some_and(|port| match port.strip_prefix(':') {
        Some(digits) => {
            digits.bytes().all(|digit| digit.is_ascii_digit())
                && (digits.is_empty() || digits.parse::<u16>().is_ok())
        }
        None => port.is_empty(),
    });
    !authority.host().is_empty() && port_fits
}

/// One request in flight, until it is dropped.
struct Place<'a> {
    in_flight: &'a AtomicUsize,
    before: usize,
}

impl<'a> Place<'a> {
    fn take(in_flight: &'a AtomicUsize) -> Self {
        let before = in_flight.fetch_add(1, Ordering::Relaxed);
        Self { in_flight, before }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The limit per address, in `tower_governor`; part of the snapshot, since its quota is fixed for life.
pub struct AddressGuard {
    config: Arc<GovernorConfig<ClientAddress, NoOpMiddleware>>,
    layer: GovernorLayer<ClientAddress, NoOpMiddleware, Body>,
    addresses: Arc<AddressTable>,
}

impl AddressGuard {
    /// A guard with the quota of `limits`, sharing the counters of `previous` where its quota is the same.
    #[must_use]
    pub fn new(limits: &Arc<Limits>, previous: Option<(&Self, &Limits)>) -> Self {
        let config = match previous {
            Some((guard, before)) if Arc::ptr_eq(before.addresses(), limits.addresses()) => {
                Arc::clone(&guard.config)
            }
            _ => Arc::new(configure(limits)),
        };
        let counting = Arc::clone(limits);
        let layer = GovernorLayer::new(Arc::clone(&config)).error_handler(move |error| {
            let failure = match error {
                GovernorError::TooManyRequests { wait_time, .. } => {
                    Failure::RateLimited(counting.refused_by_layer(wait_time))
                }
                GovernorError::UnableToExtractKey | GovernorError::Other { .. } => {
                    Failure::Internal
                }
            };
            failure.into_response()
        });
        Self {
            config,
            layer,
            addresses: Arc::clone(limits.addresses()),
        }
    }

    /// The answer to an address that asks too often. What the layer stands around is only whether it lets
    /// a request through, so that the request itself needn't be moved through it.
    fn refusal(&self, client: IpAddr) -> Option<Response<Body>> {
        let mut passed = false;
        let inner = service_fn(|_| {
            passed = true;
            ready(Ok::<_, Infallible>(Response::new(Body::empty())))
        });
        let mut governor = self.layer.layer(inner);
        governor.key_extractor = ClientAddress(Some(self.addresses.key(client)));
        let answered = governor.call(Request::new(())).now_or_never();
        let Ok(response) = answered.expect("a limit waits for nothing");
        (!passed).then_some(response)
    }
}

fn configure(limits: &Limits) -> GovernorConfig<ClientAddress, NoOpMiddleware> {
    let quota = limits.quota(LimitName::PerIp);
    let config = GovernorConfigBuilder::default()
        .period(quota.period())
        .burst_size(quota.burst().get())
        .key_extractor(ClientAddress(None))
        .finish()
        .expect("a quota has no zero in it");
    limits.addresses().bind(config.limiter());
    config
}

/// The key of `tower_governor`'s table: the address of whom [`AddressGuard::refusal`] says that it asks. It is found
/// out once for a request, so the extractor is told rather than asking the request's extensions, which would cost more
/// than counting does.
#[derive(Clone)]
struct ClientAddress(Option<AddressKey>);

impl KeyExtractor for ClientAddress {
    type Key = AddressKey;

    fn extract<T>(&self, _: &Request<T>) -> Result<AddressKey, GovernorError> {
        let Self(told) = self;
        told.ok_or(GovernorError::UnableToExtractKey)
    }
}

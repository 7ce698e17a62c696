//! Every middleware on one page, the outermost first, each with the reason for its place.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as Task, Poll};

use axum::Router;
use axum::body::Body;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{Request, Response};
use axum::response::IntoResponse;
use futures_util::future::{Either, Ready, ready};
use governor::middleware::NoOpMiddleware;
use tower::{Layer, Service as TowerService, ServiceBuilder};
use tower_governor::GovernorError;
use tower_governor::governor::{Governor, GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;

use super::cors::BrowserCorsLayer;
use super::envelope::{Context, EnvelopeLayer};
use super::error::Failure;
use super::rescue::RescueLayer;
use super::snapshot::Service;
use crate::limits::{AddressKey, LimitName, Limits};

/// Puts every layer around the routes.
pub(super) fn around(
    service: &Arc<Service>,
    routes: Router,
) -> impl TowerService<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    ServiceBuilder::new()
        // Outermost: whatever happens inside gets its document, is counted and written down here.
        .layer(EnvelopeLayer(Arc::clone(service)))
        // Outside every refusal: a widget must be able to read a 401, 429 or 503, and a preflight is
        // answered before anybody is counted or asked who they are.
        .layer(BrowserCorsLayer::new())
        // Inside CORS, so that even these answers can be read: a panic's, and those of the last second.
        .layer(RescueLayer(service.closing.clone()))
        // Before any work: what no honest client sends, and what must not come in cleartext.
        .layer(DoorLayer)
        // Outside the limits: when too much is going on, nothing more is started, not even counting.
        .layer(InFlightLayer(Arc::clone(service)))
        // Innermost, so that a request that was shed isn't counted against its address.
        .layer(AddressLayer)
        .service(routes)
}

fn context<B>(request: &Request<B>) -> &Arc<Context> {
    request
        .extensions()
        .get()
        .expect("the envelope gives every request its context")
}

fn is_health<B>(request: &Request<B>) -> bool {
    request.uri().path() == "/healthz"
}

/// An answer at once, or the inner service's.
type Answer<F> = Either<Ready<Result<Response<Body>, Infallible>>, F>;

fn refuse<F>(failure: Failure) -> Answer<F> {
    Either::Left(ready(Ok(failure.into_response())))
}

/// Refuses what must not come in at all.
#[derive(Clone, Copy)]
struct DoorLayer;

#[derive(Clone)]
struct Door<S>(S);

impl<S> Layer<S> for DoorLayer {
    type Service = Door<S>;

    fn layer(&self, inner: S) -> Door<S> {
        Door(inner)
    }
}

impl<S> TowerService<Request<Body>> for Door<S>
where
    S: TowerService<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(task)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !has_one_host(&request) {
            return refuse(Failure::HostNeeded);
        }
        let context = context(&request);
        if context.snapshot.require_https && !context.client.encrypted && !is_health(&request) {
            return refuse(Failure::HttpsRequired);
        }
        Either::Right(self.0.call(request))
    }
}

/// Exactly one valid `Host` (RFC 9112 section 3.2), or HTTP/2's `:authority`; where both stand they agree.
fn has_one_host(request: &Request<Body>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    let host = host.map(|host| {
        host.to_str()
            .ok()
            .and_then(|host| host.parse::<Authority>().ok())
    });
    match (host, request.uri().authority()) {
        (_, _) if second.is_some() => false,
        (Some(None), _) | (None, None) => false,
        (Some(Some(host)), _) => is_host(&host),
        (None, Some(authority)) => is_host(authority),
    }
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

/// Sheds what is above `server.max_in_flight`.
#[derive(Clone)]
struct InFlightLayer(Arc<Service>);

#[derive(Clone)]
struct InFlight<S> {
    inner: S,
    service: Arc<Service>,
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> InFlight<S> {
        InFlight {
            inner,
            service: Arc::clone(&self.0),
        }
    }
}

impl<S> TowerService<Request<Body>> for InFlight<S>
where
    S: TowerService<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer<Held<S::Future>>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let most = context(&request).snapshot.max_in_flight;
        let place = Place::take(&self.service);
        if place.before >= most && !is_health(&request) {
            return refuse(Failure::Overloaded);
        }
        Either::Right(Held {
            future: self.inner.call(request),
            _place: place,
        })
    }
}

pin_project_lite::pin_project! {
    /// An answer in the making, with its place among those in flight.
    struct Held<F> {
        #[pin]
        future: F,
        _place: Place,
    }
}

impl<F: Future> Future for Held<F> {
    type Output = F::Output;

    fn poll(self: std::pin::Pin<&mut Self>, task: &mut Task<'_>) -> Poll<F::Output> {
        self.project().future.poll(task)
    }
}

/// One request in flight, until it is dropped.
struct Place {
    service: Arc<Service>,
    before: usize,
}

impl Place {
    fn take(service: &Arc<Service>) -> Self {
        let before = service.in_flight.fetch_add(1, Ordering::Relaxed);
        Self {
            service: Arc::clone(service),
            before,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.service.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The limit per address, in `tower_governor`; part of the snapshot, since its quota is fixed for life.
#[derive(Clone)]
pub struct AddressGuard(Arc<GovernorConfig<ClientAddress, NoOpMiddleware>>);

impl AddressGuard {
    /// A guard with the quota of `limits`, sharing the counters of `previous` where its quota is the same.
    #[must_use]
    pub fn new(limits: &Limits, previous: Option<(&Self, &Limits)>) -> Self {
        if let Some((guard, before)) = previous
            && Arc::ptr_eq(before.addresses(), limits.addresses())
        {
            return guard.clone();
        }
        let quota = limits.quota(LimitName::PerIp);
        let config = GovernorConfigBuilder::default()
            .period(quota.period())
            .burst_size(quota.burst().get())
            .key_extractor(ClientAddress)
            .finish()
            .expect("a quota has no zero in it");
        limits.addresses().bind(config.limiter());
        Self(Arc::new(config))
    }
}

/// The key of `tower_governor`'s table: the client's address as the context has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientAddress;

impl KeyExtractor for ClientAddress {
    type Key = AddressKey;

    fn extract<T>(&self, request: &Request<T>) -> Result<AddressKey, GovernorError> {
        let context = context(request);
        Ok(context
            .snapshot
            .limits
            .addresses()
            .key(context.client.address))
    }
}

#[derive(Clone, Copy)]
struct AddressLayer;

#[derive(Clone)]
struct PerAddress<S>(S);

impl<S> Layer<S> for AddressLayer {
    type Service = PerAddress<S>;

    fn layer(&self, inner: S) -> PerAddress<S> {
        PerAddress(inner)
    }
}

impl<S> TowerService<Request<Body>> for PerAddress<S>
where
    S: TowerService<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, tower_governor::ResponseFuture<S::Future, Body>>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(task)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let context = context(&request);
        let address: IpAddr = context.client.address;
        let limits = &context.snapshot.limits;
        // Counters that replicas share are asked by the routes, together with the other limits.
        if is_health(&request) || limits.is_shared() || limits.is_exempt(address) {
            return Either::Left(self.0.call(request));
        }
        let AddressGuard(config) = &context.snapshot.address_guard;
        let limits = Arc::clone(&context.snapshot.limits);
        let guard =
            tower_governor::GovernorLayer::new(Arc::clone(config)).error_handler(move |error| {
                match error {
                    GovernorError::TooManyRequests { wait_time, .. } => {
                        Failure::RateLimited(limits.refused_by_layer(wait_time)).into_response()
                    }
                    GovernorError::UnableToExtractKey | GovernorError::Other { .. } => {
                        Failure::Internal.into_response()
                    }
                }
            });
        let mut guarded: Governor<_, _, _, _> = guard.layer(self.0.clone());
        Either::Right(guarded.call(request))
    }
}

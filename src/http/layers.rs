//! Every step around the routes on one page, the outermost first, each with the reason for its place.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::header::TRANSFER_ENCODING;
use axum::http::request::Parts;
use axum::http::{Request, Response};
use futures_util::FutureExt;
use futures_util::future::ready;
use governor::middleware::NoOpMiddleware;
use tower::{Layer, ServiceExt, service_fn};
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};
use tower_http::cors::CorsLayer;
use tracing::{Instrument, Span};

use super::Body;
use super::body::Arriving;
use super::cors::BrowserCors;
use super::envelope::{Context, Trail};
use super::error::Failure;
use super::rescue::rescue;
use super::route::Route;
use super::snapshot::Service;
use crate::limits::{AddressKey, AddressTable, LimitName, Limits};
use crate::server::Peer;

/// The public port.
#[derive(Clone)]
pub struct Public(Arc<Front>);

struct Front {
    service: Arc<Service>,
    cors: BrowserCors,
}

impl Public {
    pub(super) fn new(service: &Arc<Service>) -> Self {
        Self(Arc::new(Front {
            service: Arc::clone(service),
            cors: BrowserCors::new(),
        }))
    }

    /// The port as a `tower` service for one peer, with bodies as they come in there. A clone costs a counter: `hyper`
    /// makes one for every request. The counter is the connection's own, so that cores don't take it from each other.
    pub fn service<B: Arriving>(
        &self,
        peer: Peer,
    ) -> impl tower::Service<
        Request<B>,
        Response = Response<Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + use<B> {
        let connected = Arc::new((Arc::clone(&self.0), peer));
        // Boxed, as it is handed on through several rooms of `hyper`, each time by copying all of it.
        service_fn(move |request| Box::pin(answer(Arc::clone(&connected), request)))
    }
}

/// Outermost: whatever happens inside gets its document, is counted and written down here.
///
/// The request is taken apart at once: every future that it went through whole would keep room for all of it.
fn answer(
    connected: Arc<(Arc<Front>, Peer)>,
    request: Request<impl Arriving>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send {
    let (mut head, mut body) = request.into_parts();
    let (front, peer) = &*connected;
    let context = Context::new(&front.service, peer, &mut head);
    async move {
        let (front, _) = &*connected;
        let mut trail = Trail::default();
        let (response, failure) = match front.cors.of(context.route) {
            None => {
                let answering = front.rescue(&context, &head, &mut body, &mut trail);
                let answered = match &context.span {
                    None => answering.await,
                    Some(span) => Box::pin(answering.instrument((**span).clone())).await,
                };
                match answered {
                    Ok(response) => (response, None),
                    Err(failure) => (Response::new(Body::default()), Some(failure)),
                }
            }
            Some(cors) => {
                // Boxed, so that a backend's request doesn't carry the room for it.
                let request = Request::from_parts(head, body);
                let span = context.span.as_deref().cloned();
                let sharing = front.share(cors, &context, request, &mut trail);
                let sharing = sharing.instrument(span.unwrap_or_else(Span::none));
                Failure::alight(Box::pin(sharing).await)
            }
        };
        Ok(context.close(&front.service, &trail, response, failure))
    }
}

impl Front {
    /// CORS, outside every refusal: a widget must be able to read a 401, 429 or 503, and a preflight is
    /// answered before anybody is counted or asked who they are.
    async fn share<'a>(
        &self,
        cors: &CorsLayer,
        context: &'a Context,
        mut request: Request<impl Arriving>,
        trail: &mut Trail<'a>,
    ) -> Response<Body> {
        // For the protocol, which asks whose origins are listed.
        if let Some(browser) = &context.browser {
            request.extensions_mut().insert(Arc::clone(browser));
        }
        // It calls once, and may not know that.
        let trail = Mutex::new(Some(trail));
        let inner = service_fn(|request: Request<_>| {
            let trail = trail.lock().unwrap_or_else(PoisonError::into_inner).take();
            async {
                let (head, mut body) = request.into_parts();
                let trail = trail.expect("a request is answered once");
                let answered = self.rescue(context, &head, &mut body, trail).await;
                Ok::<_, Infallible>(answered.unwrap_or_else(Failure::ride))
            }
        });
        let Ok(response) = cors.layer(inner).oneshot(request).await;
        response
    }

    /// The last resort, inside CORS so that even these answers can be read: a handler that panics, and a
    /// service that stops before a request ends.
    fn rescue<'f, 'a>(
        &'f self,
        context: &'a Context,
        head: &'f Parts,
        body: &'f mut impl Arriving,
        trail: &'f mut Trail<'a>,
    ) -> impl Future<Output = Result<Response<Body>, Failure>> + Send + 'f
    where
        'a: 'f,
    {
        rescue(&self.service.closing, async move {
            let _place = self.admit(context, head, body)?;
            super::route(&self.service, context, head, body, trail).await
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
    ) -> Result<Option<Place<'_>>, Failure> {
        let (service, snapshot) = (&self.service, &context.snapshot);
        if !context.headers.has_one_host {
            return Err(Failure::HostNeeded);
        }
        if !has_plain_body(head, body) {
            return Err(Failure::CodingUnknown);
        }
        // A probe is neither told to use HTTPS nor turned away.
        if context.route == Route::Health {
            return Ok(None);
        }
        if snapshot.require_https && !context.client.encrypted {
            return Err(Failure::HttpsRequired);
        }
        // Outside the limits: when too much is going on, nothing more is started, not even counting.
        let place = Place::take(&service.in_flight.0);
        if place.before >= snapshot.max_in_flight {
            return Err(Failure::Overloaded);
        }
        // Innermost, so that a request that was shed isn't counted against its address. Counters that
        // replicas share are asked by the routes, together with the other limits.
        let limits = &snapshot.limits;
        if !limits.is_shared() && !limits.is_exempt(context.client.address) {
            snapshot.address_guard.admit(context.client.address)?;
        }
        Ok(Some(place))
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
    layer: GovernorLayer<ClientAddress, NoOpMiddleware, axum::body::Body>,
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
            failure.ride()
        });
        Self {
            config,
            layer,
            addresses: Arc::clone(limits.addresses()),
        }
    }

    /// Whether an address may ask now. What the layer stands around is only whether it lets a request through, so that
    /// the request itself needn't be moved through it.
    fn admit(&self, client: IpAddr) -> Result<(), Failure> {
        let mut passed = false;
        let inner = service_fn(|_| {
            passed = true;
            ready(Ok::<_, Infallible>(Response::default()))
        });
        let mut governor = self.layer.layer(inner);
        governor.key_extractor = ClientAddress(Some(self.addresses.key(client)));
        let answered = tower::Service::call(&mut governor, Request::new(())).now_or_never();
        let Ok(response) = answered.expect("a limit waits for nothing");
        if passed {
            return Ok(());
        }
        let (_, failure) = Failure::alight(response);
        Err(failure.expect("whoever isn't let through is told why"))
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

/// The key of `tower_governor`'s table: the address of whom [`AddressGuard::admit`] asks whether it may. It is found
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

#[cfg(test)]
mod tests {
    use axum::body::Body as Anything;

    use super::*;

    /// The allocator has a cheap way for boxes of at most so many bytes, and `hyper`'s body is larger than this one.
    const CHEAP_BOX: usize = 1032 - 24;

    #[test]
    fn what_a_request_carries_fits_into_a_box_that_costs_little() {
        fn size<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
            size_of::<F>()
        }
        let carried = size(|connected, request: Request<Anything>| answer(connected, request));
        assert!(carried <= CHEAP_BOX, "{carried} bytes");
    }
}

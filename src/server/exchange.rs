//! One request and its answer: the service's own, with the watch told.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use futures_util::future::Either;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::ServiceExt as _;
use tower::util::Oneshot;

use super::watch::{Turn, Watch};

/// A `tower` service as `hyper` calls it, on one connection.
pub(super) struct Exchanges<S, W> {
    service: S,
    watch: Arc<W>,
}

impl<S: Clone, W> Clone for Exchanges<S, W> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            watch: self.watch.clone(),
        }
    }
}

impl<S, W> Exchanges<S, W> {
    pub(super) fn new(service: S, watch: Arc<W>) -> Self {
        Self { service, watch }
    }
}

impl<S, B, W> hyper::service::Service<Request<Incoming>> for Exchanges<S, W>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body,
    W: Watch,
{
    type Response = Response<Answer<B, W::Turn>>;
    type Error = Infallible;
    type Future = Exchange<S, W::Turn>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut service = self.service.clone();
        // Nearly every service is ready at once, and then there is nothing to keep the request for.
        let call = match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Either::Left(service.call(request)),
            // Boxed, as every other request would carry the room for it.
            Poll::Pending => Either::Right(Box::pin(service.oneshot(request))),
        };
        Exchange {
            call,
            turn: Some(self.watch.begin()),
        }
    }
}

pin_project! {
    /// The answer in the making.
    pub(super) struct Exchange<S, T>
    where
        S: tower::Service<Request<Incoming>>,
    {
        #[pin]
        call: Either<S::Future, Pin<Box<Oneshot<S, Request<Incoming>>>>>,
        turn: Option<T>,
    }
}

impl<S, B, T> Future for Exchange<S, T>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    T: Turn,
{
    type Output = Result<Response<Answer<B, T>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut response) = ready!(this.call.poll(cx));
        let turn = this.turn.take();
        if turn.as_ref().is_some_and(Turn::is_last) {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response.map(|body| Answer { body, _turn: turn })))
    }
}

pin_project! {
    /// An answer's body, which ends the request's turn when it is dropped.
    pub(super) struct Answer<B, T> {
        #[pin]
        body: B,
        _turn: Option<T>,
    }
}

impl<B: Body, T> Body for Answer<B, T> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

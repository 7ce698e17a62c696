//! The last resort of a request: an answer although its handler panicked, or the service stops before it ends.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context as Task, Poll};

use axum::body::Body;
use axum::http::{Request, Response};
use axum::response::IntoResponse;
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tower::{Layer, Service as TowerService};

use super::error::Failure;

/// The layer that answers for handlers that can't.
#[derive(Clone)]
pub(super) struct RescueLayer(pub(super) CancellationToken);

impl<S> Layer<S> for RescueLayer {
    type Service = Rescue<S>;

    fn layer(&self, inner: S) -> Rescue<S> {
        Rescue {
            inner,
            closing: self.0.clone(),
        }
    }
}

/// See [`RescueLayer`].
#[derive(Clone)]
pub(super) struct Rescue<S> {
    inner: S,
    closing: CancellationToken,
}

impl<S> TowerService<Request<Body>> for Rescue<S>
where
    S: TowerService<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let closing = self.closing.clone();
        let replacement = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, replacement);
        Box::pin(async move {
            // Called in here, so that a panic while the call is made is caught as well. One handler's
            // panic must not take the connection, and with HTTP/2 its neighbours, along.
            let answering = AssertUnwindSafe(async { inner.call(request).await }).catch_unwind();
            tokio::select! {
                biased;
                answered = answering => answered.unwrap_or_else(|_| Ok(Failure::Internal.into_response())),
                () = closing.cancelled() => Ok(Failure::ShuttingDown.into_response()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use tower::{ServiceExt, service_fn};

    use super::*;

    async fn rescued<F>(
        closing: &CancellationToken,
        answer: impl Fn() -> F + Clone + Send + 'static,
    ) -> StatusCode
    where
        F: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
    {
        let service = RescueLayer(closing.clone()).layer(service_fn(move |_| answer()));
        service
            .oneshot(Request::new(Body::empty()))
            .await
            .unwrap()
            .status()
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error_of_one_request() {
        let closing = CancellationToken::new();
        let status = rescued(&closing, || async { panic!("a handler's fault") }).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        let status = rescued(&closing, || async { Ok(Response::new(Body::empty())) }).await;
        assert_eq!(status, StatusCode::OK);
    }

    #[tokio::test]
    async fn what_is_unfinished_when_the_service_closes_is_told_so() {
        let closing = CancellationToken::new();
        let waiting = tokio::spawn({
            let closing = closing.clone();
            async move { rescued(&closing, std::future::pending).await }
        });
        closing.cancel();
        assert_eq!(waiting.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
        let status = rescued(&closing, || async { Ok(Response::new(Body::empty())) }).await;
        assert_eq!(
            status,
            StatusCode::OK,
            "what can be answered at once still is"
        );
    }
}

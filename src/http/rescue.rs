//! The last resort of a request: an answer although its handler panicked, or the service stops before it ends.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::Response;
use axum::response::IntoResponse;
use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::error::Failure;

/// What `answering` gives, or an answer in its place when it panics or `closing` comes first. One handler's
/// panic must not take the connection, and with HTTP/2 its neighbours, along.
pub(super) fn rescue<F: Future<Output = Response<Body>>>(
    closing: &CancellationToken,
    answering: F,
) -> Rescued<'_, F> {
    Rescued {
        answering: AssertUnwindSafe(answering).catch_unwind(),
        closing: closing.cancelled(),
    }
}

pin_project_lite::pin_project! {
    /// See [`rescue`]. Not an `async fn`: that would keep room for the whole request twice.
    pub(super) struct Rescued<'a, F> {
        #[pin]
        answering: CatchUnwind<AssertUnwindSafe<F>>,
        #[pin]
        closing: WaitForCancellationFuture<'a>,
    }
}

impl<F: Future<Output = Response<Body>>> Future for Rescued<'_, F> {
    type Output = Response<Body>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Response<Body>> {
        let this = self.project();
        // What can be answered at once still is, whatever else is going on.
        if let Poll::Ready(answered) = this.answering.poll(task) {
            let answer = answered.unwrap_or_else(|_| Failure::Internal.into_response());
            return Poll::Ready(answer);
        }
        ready!(this.closing.poll(task));
        Poll::Ready(Failure::ShuttingDown.into_response())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    async fn rescued(
        closing: &CancellationToken,
        answering: impl Future<Output = Response<Body>>,
    ) -> StatusCode {
        rescue(closing, answering).await.status()
    }

    async fn fine() -> Response<Body> {
        Response::new(Body::empty())
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error_of_one_request() {
        let closing = CancellationToken::new();
        let status = rescued(&closing, async { panic!("a handler's fault") }).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        let status = rescued(&closing, fine()).await;
        assert_eq!(status, StatusCode::OK);
    }

    #[tokio::test]
    async fn what_is_unfinished_when_the_service_closes_is_told_so() {
        let closing = CancellationToken::new();
        let waiting = tokio::spawn({
            let closing = closing.clone();
            async move { rescued(&closing, std::future::pending()).await }
        });
        closing.cancel();
        assert_eq!(waiting.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
        let status = rescued(&closing, fine()).await;
        assert_eq!(
            status,
            StatusCode::OK,
            "what can be answered at once still is"
        );
    }
}

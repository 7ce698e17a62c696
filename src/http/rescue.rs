//! The last resort of a request: an answer although its handler panicked, or the service stops before it ends.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::Response;
use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::Body;
use super::error::Failure;

/// An answer, or why there is none.
type Answered = Result<Response<Body>, Failure>;

/// What `answering` gives, or an answer in its place when it panics or `closing` comes first. One handler's
/// panic must not take the connection, and with HTTP/2 its neighbours, along.
pub(super) fn rescue<F: Future<Output = Answered>>(
    closing: &CancellationToken,
    answering: F,
) -> Rescued<'_, F> {
    Rescued {
        answering: AssertUnwindSafe(answering).catch_unwind(),
        closing,
        waiting: None,
    }
}

pin_project_lite::pin_project! {
    /// See [`rescue`]. Not an `async fn`: that would keep room for the whole request twice.
    pub(super) struct Rescued<'a, F> {
        #[pin]
        answering: CatchUnwind<AssertUnwindSafe<F>>,
        closing: &'a CancellationToken,
        // Boxed, and only made for who has to wait.
        waiting: Option<Pin<Box<WaitForCancellationFuture<'a>>>>,
    }
}

impl<F: Future<Output = Answered>> Future for Rescued<'_, F> {
    type Output = Answered;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Answered> {
        let this = self.project();
        // What can be answered at once still is, whatever else is going on.
        if let Poll::Ready(answered) = this.answering.poll(task) {
            return Poll::Ready(answered.unwrap_or(Err(Failure::Internal)));
        }
        let closing = &**this.closing;
        let waiting = this
            .waiting
            .get_or_insert_with(|| Box::pin(closing.cancelled()));
        ready!(waiting.as_mut().poll(task));
        Poll::Ready(Err(Failure::ShuttingDown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fine() -> Answered {
        Ok(Response::new(Body::default()))
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error_of_one_request() {
        let closing = CancellationToken::new();
        let answered = rescue(&closing, async { panic!("a handler's fault") }).await;
        assert_eq!(answered.err(), Some(Failure::Internal));
        assert!(rescue(&closing, fine()).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_unfinished_when_the_service_closes_is_told_so() {
        let closing = CancellationToken::new();
        let waiting = tokio::spawn({
            let closing = closing.clone();
            async move { rescue(&closing, std::future::pending()).await }
        });
        closing.cancel();
        let answered = waiting.await.unwrap();
        assert_eq!(answered.err(), Some(Failure::ShuttingDown));
        let answered = rescue(&closing, fine()).await;
        assert!(answered.is_ok(), "what can be answered at once still is");
    }
}

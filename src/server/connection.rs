//! One connection, from its handshake to its last byte.

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::TlsSlot;
use super::alertness::Alertness;
use super::exchange::Exchanges;
use super::house::House;
use super::many::Many;
use super::one_by_one::OneByOne;
use super::timekeeper::{Due, Timekeeper};
use super::watch::{Bounded, Handshake};
use super::wire::{Transport, Wire};

/// Serves one accepted connection to its end. HTTP/2 is spoken only where ALPN chose it.
pub(super) async fn attend<S, B>(
    stream: TcpStream,
    tls: Option<Arc<TlsSlot>>,
    service: S,
    house: Arc<House>,
    place: OwnedSemaphorePermit,
) where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Both end with the connection, be it in a panic.
    let _place = place;
    let _open = house.gauges.enter();
    // An answer is one write; waiting for more to send would only delay it.
    if stream.set_nodelay(true).is_err() {
        return; // it has gone already
    }
    let mut timekeeper = Timekeeper::new(house.clone());
    let Some(tls) = tls else {
        return speak_http1(stream, service, house, timekeeper).await;
    };
    let Some(stream) = shake_hands(stream, &tls, &house, &mut timekeeper).await else {
        return;
    };
    timekeeper.reconsider();
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        speak_http2(stream, service, house, timekeeper).await;
    } else {
        speak_http1(stream, service, house, timekeeper).await;
    }
}

async fn shake_hands(
    stream: TcpStream,
    tls: &TlsSlot,
    house: &House,
    timekeeper: &mut Timekeeper,
) -> Option<Box<TlsStream<TcpStream>>> {
    // Boxed, as its room would be kept for the life of the connection.
    let handshake = Box::pin(TlsAcceptor::from(tls.current()).accept(stream));
    let outcome = until_due(handshake, &Handshake::begin(), timekeeper).await;
    match outcome {
        Ok(Ok(stream)) => return Some(Box::new(stream)),
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed: {error}"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
    house.gauges.count_handshake_failure();
    None
}

async fn until_due<F: Future>(
    future: F,
    watched: &impl Bounded,
    timekeeper: &mut Timekeeper,
) -> Result<F::Output, Due> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        timekeeper.poll(cx, watched, false).map(Err)
    })
    .await
}

async fn speak_http1<T, S, B>(
    transport: T,
    service: S,
    house: Arc<House>,
    mut timekeeper: Timekeeper,
) where
    T: Transport,
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let watch = Arc::new(OneByOne::new(house.clone()));
    let exchanges = Exchanges::new(service, watch.clone());
    let mut wire = Wire::new(transport, watch.clone());
    let mut alertness = Alertness::new();

    // hyper's connection holds some 16 KiB of buffers. It is made when there is something to read
    // and taken apart when the client rests, so that an idle connection costs its socket and little
    // more. Nothing is lost: between two requests there is no state but the bytes read ahead.
    let due = loop {
        let readable = poll_fn(|cx| wire.poll_readable(cx));
        if let Err(due) = until_due(readable, &*watch, &mut timekeeper).await {
            break due;
        }
        timekeeper.reconsider();
        let io = TokioIo::new(wire);
        let mut http = Box::new(house.http1.serve_connection(io, exchanges.clone()));
        let outcome = poll_fn(
            |cx| match alertness.poll(cx, |cx| Pin::new(&mut *http).poll(cx)) {
                Poll::Ready(end) => Poll::Ready(Ok(end)),
                Poll::Pending => timekeeper.poll(cx, &*watch, true).map(Err),
            },
        )
        .await;
        match outcome {
            Ok(end) => {
                log_end(end);
                return farewell(http.into_parts().io.into_inner(), &house).await;
            }
            Err(Due::Nap) => {}
            Err(due) => {
                wire = http.into_parts().io.into_inner();
                break due;
            }
        }

        // hyper itself knows whether it is between two requests: if so, this ends at once.
        Pin::new(&mut *http).graceful_shutdown();
        let mut leaving = Box::pin(http.without_shutdown());
        let mut at_once = true;
        let outcome = poll_fn(|cx| match leaving.as_mut().poll(cx) {
            Poll::Ready(end) => Poll::Ready(Ok(end)),
            Poll::Pending => {
                at_once = false;
                timekeeper.poll(cx, &*watch, false).map(Err)
            }
        })
        .await;
        drop(leaving);
        match outcome {
            Ok(Ok(parts)) => {
                wire = parts.io.into_inner();
                if !at_once {
                    return farewell(wire, &house).await;
                }
                wire.give_back(&parts.read_buf);
                timekeeper.reconsider();
            }
            Ok(Err(error)) => return log_end(Err(error)),
            Err(due) => return count_end(due, &watch, &house),
        }
    };
    count_end(due, &watch, &house);
    if due == Due::TimeUp && !watch.is_working() {
        farewell(wire, &house).await;
    }
}

async fn speak_http2<T, S, B>(
    transport: T,
    service: S,
    house: Arc<House>,
    mut timekeeper: Timekeeper,
) where
    T: Transport,
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let watch = Arc::new(Many::new());
    let io = TokioIo::new(Wire::new(transport, watch.clone()));
    let exchanges = Exchanges::new(service, watch.clone());
    let mut http = Box::pin(house.http2.serve_connection(io, exchanges));
    loop {
        match until_due(http.as_mut(), &*watch, &mut timekeeper).await {
            Ok(end) => return log_end(end),
            // First GOAWAY, so that the client takes its next requests elsewhere.
            Err(Due::TimeUp) if watch.say_goodbye() => {
                http.as_mut().graceful_shutdown();
                timekeeper.reconsider();
            }
            Err(due) if watch.is_busy() => {
                return match due {
                    Due::Cut => house.count_cut(),
                    Due::Nap | Due::TimeUp => house.gauges.count_request_timeout(),
                };
            }
            Err(_) => return,
        }
    }
}

/// Closes in good order, for as long as the client plays along and no longer than the linger.
async fn farewell<T: Transport>(wire: Wire<T, OneByOne>, house: &House) {
    // Running into the time-out is the ordinary end of a client that keeps its half open.
    let _ = tokio::time::timeout(house.linger(), wire.close()).await;
}

fn log_end(end: hyper::Result<()>) {
    if let Err(error) = end {
        tracing::debug!(%error, "a connection ended early: {error}");
    }
}

fn count_end(due: Due, watch: &OneByOne, house: &House) {
    if due == Due::Cut {
        if watch.is_busy() {
            house.count_cut();
        }
    } else if watch.is_working() {
        house.gauges.count_request_timeout();
    } else if watch.is_busy() {
        house.gauges.count_header_timeout();
    }
}

//! The door: takes connections in, never more than there is room for, and closes in good order.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::attend;
use super::house::House;
use super::{Drained, Gauges, Peer, Settings, TlsSlot};

/// How often those who are idle are asked to make room while somebody waits for it.
const PRESSURE_STEP: Duration = Duration::from_millis(250);

/// How long to wait when `accept` fails for want of descriptors or memory: trying again at once
/// would fail again, at the price of a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const LOG_PAUSE: Duration = Duration::from_secs(10);

/// How long connections may take to notice that they are cut.
const CUT_PATIENCE: Duration = Duration::from_secs(1);

/// Serves every connection that `listener` gives by a service that `make` makes for its peer, with
/// TLS when there is a slot for it, until `shutdown`; then finishes what is in flight, within the
/// grace, and returns.
///
/// HTTP/2 is spoken where TLS's ALPN chose it (RFC 7301), HTTP/1.1 otherwise. `gauges` are kept up
/// to date all the while.
pub async fn serve<M, S, B>(
    listener: TcpListener,
    tls: Option<Arc<TlsSlot>>,
    make: M,
    settings: Settings,
    gauges: Arc<Gauges>,
    shutdown: CancellationToken,
) -> Drained
where
    M: Fn(Peer) -> S,
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    serve_at(listener, tls, make, settings, gauges, shutdown).await
}

/// A listener, or what a test puts in its place to fail as the kernel may.
trait Listener {
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;

    fn into_std(self) -> io::Result<std::net::TcpListener>;
}

impl Listener for TcpListener {
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send {
        self.accept()
    }

    fn into_std(self) -> io::Result<std::net::TcpListener> {
        self.into_std()
    }
}

async fn serve_at<L, M, S, B>(
    listener: L,
    tls: Option<Arc<TlsSlot>>,
    make: M,
    settings: Settings,
    gauges: Arc<Gauges>,
    shutdown: CancellationToken,
) -> Drained
where
    L: Listener,
    M: Fn(Peer) -> S,
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // More than the semaphore can count is no limit at all.
    let places = settings
        .max_connections
        .clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let grace = settings.shutdown_grace;
    let door = Door {
        listener,
        places: Arc::new(Semaphore::new(places)),
        house: Arc::new(House::new(settings, gauges)),
    };
    let house = &door.house;
    let admit = |(stream, address, place): Guest| {
        let peer = Peer {
            address,
            encrypted: tls.is_some(),
        };
        let connection = attend(stream, tls.clone(), make(peer), house.clone(), place);
        // Nobody waits for it: the places tell when all have gone.
        drop(tokio::spawn(connection));
    };

    let mut last_logged = None;
    loop {
        let next = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            next = door.next() => next,
        };
        match next {
            Ok(guest) => admit(guest),
            Err(error) => {
                door.house.gauges.count_accept_error();
                door.house.press();
                log_sometimes(&error, &mut last_logged);
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }

    door.house.drain();
    // Closing the listener resets what the kernel has completed and we haven't taken; so take it.
    // Asked directly, as the runtime may not know yet of those that came just now.
    let listener = door.listener.into_std();
    while let Ok(listener) = &listener
        && let Ok(place) = door.places.clone().try_acquire_owned()
        && let Ok((stream, address)) = listener.accept()
    {
        let stream = stream.set_nonblocking(true).map(|()| stream);
        if let Ok(stream) = stream.and_then(TcpStream::from_std) {
            admit((stream, address, place));
        }
    }
    drop(listener);

    let all = u32::try_from(places).unwrap_or(u32::MAX);
    if timeout(grace, door.places.acquire_many(all)).await.is_err() {
        door.house.cut();
        // Those that don't end are in a computation of their own; waiting would not help.
        let _ = timeout(CUT_PATIENCE, door.places.acquire_many(all)).await;
    }
    let cut = door.house.cut_so_far();
    Drained {
        finished: cut == 0,
        cut,
    }
}

/// A connection with its place.
type Guest = (TcpStream, SocketAddr, OwnedSemaphorePermit);

struct Door<L> {
    listener: L,
    places: Arc<Semaphore>,
    house: Arc<House>,
}

impl<L: Listener> Door<L> {
    /// The next connection. Its place is taken first: what can't be served stays in the kernel's
    /// queue, where it costs neither a descriptor nor memory of ours.
    async fn next(&self) -> io::Result<Guest> {
        let place = self.place().await;
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    self.house.relax();
                    return Ok((stream, address, place));
                }
                Err(error) if is_the_peers(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn place(&self) -> OwnedSemaphorePermit {
        loop {
            let place = self.places.clone().acquire_owned();
            match timeout(PRESSURE_STEP, place).await {
                Ok(place) => return place.expect("the semaphore is never closed"),
                Err(_) => self.house.press(),
            }
        }
    }
}

/// Failures of the connection that would have come, rather than of ours to take it (`accept(2)`).
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

fn log_sometimes(error: &io::Error, last_logged: &mut Option<Instant>) {
    let now = Instant::now();
    if last_logged.is_none_or(|last| now >= last + LOG_PAUSE) {
        *last_logged = Some(now);
        tracing::error!(
            %error,
            "no connection can be accepted: {error}; idle ones are being closed to make room"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use http_body_util::Full;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    // As Linux numbers them.
    const EINTR: i32 = 4;
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ECONNABORTED: i32 = 103;
    const ENOBUFS: i32 = 105;

    /// Fails with each of these, one after the other, then works.
    struct Failing(TcpListener, Mutex<VecDeque<i32>>);

    impl Listener for Failing {
        async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
            let failure = self.1.lock().unwrap().pop_front();
            match failure {
                Some(number) => Err(io::Error::from_raw_os_error(number)),
                None => self.0.accept().await,
            }
        }

        fn into_std(self) -> io::Result<std::net::TcpListener> {
            self.0.into_std()
        }
    }

    /// How long it takes until a request is served behind a door that fails so, and how many errors were counted.
    async fn served_after(failures: &[i32]) -> (Duration, u64) {
        let listener = crate::server::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let gauges = Arc::<Gauges>::default();
        let shutdown = CancellationToken::new();
        let service = tower::service_fn(async |_| {
            Ok::<_, Infallible>(Response::new(Full::new(bytes::Bytes::from_static(
                b"hello",
            ))))
        });
        let started = Instant::now();
        let serving = tokio::spawn(serve_at(
            Failing(listener, Mutex::new(failures.iter().copied().collect())),
            None,
            move |_| service,
            Settings::default(),
            gauges.clone(),
            shutdown.clone(),
        ));
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        let took = started.elapsed();
        assert!(answer.ends_with("hello"), "{answer}");
        shutdown.cancel();
        assert!(serving.await.unwrap().finished);
        (took, gauges.accept_errors())
    }

    #[tokio::test]
    async fn when_the_kernel_has_no_memory_or_descriptors_the_door_pauses_each_time_and_goes_on() {
        for number in [EMFILE, ENFILE, ENOBUFS, ENOMEM] {
            let (took, errors) = served_after(&[number; 3]).await;
            // Tried thrice in all that time: no busy loop.
            assert_eq!(errors, 3, "{number}");
            assert!(took >= 3 * ACCEPT_PAUSE, "{number}: {took:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_went_away_before_it_was_taken_costs_no_pause() {
        let (_, errors) = served_after(&[ECONNABORTED, EINTR, ECONNABORTED]).await;
        assert_eq!(errors, 0);
    }
}

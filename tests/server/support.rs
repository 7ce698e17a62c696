//! A small service behind the real server, and the verbs of its clients.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use signet::server::{Drained, Gauges, Peer, Settings, TlsIdentity, TlsSlot, bind, serve};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const SHORT: Duration = Duration::from_millis(200);
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Nothing ends by itself within a test, unless the test shortens it.
pub(crate) fn patient() -> Settings {
    Settings {
        max_connections: 100,
        handshake_timeout: LONG,
        header_timeout: LONG,
        request_deadline: LONG,
        idle_timeout: LONG,
        max_age: LONG,
        shutdown_grace: LONG,
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) gauges: Arc<Gauges>,
    /// A permit for each request to `/held` that has begun.
    pub(crate) begun: Arc<Semaphore>,
    /// A permit lets one of them go on.
    pub(crate) release: Arc<Semaphore>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) done: JoinHandle<Drained>,
}

impl Server {
    pub(crate) fn plain(settings: Settings) -> Self {
        Self::start(settings, None)
    }

    pub(crate) fn tls(settings: Settings, identity: TlsIdentity) -> (Self, Arc<TlsSlot>) {
        let slot = Arc::new(TlsSlot::new(identity));
        (Self::start(settings, Some(slot.clone())), slot)
    }

    pub(crate) fn start(settings: Settings, tls: Option<Arc<TlsSlot>>) -> Self {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (gauges, shutdown) = (Arc::<Gauges>::default(), CancellationToken::new());
        let begun = Arc::new(Semaphore::new(0));
        let release = Arc::new(Semaphore::new(0));
        let make = {
            let (begun, release) = (begun.clone(), release.clone());
            move |peer| {
                let (begun, release) = (begun.clone(), release.clone());
                tower::service_fn(move |request| {
                    answer(peer, request, begun.clone(), release.clone())
                })
            }
        };
        let done = tokio::spawn(serve(
            listener,
            tls,
            make,
            settings,
            gauges.clone(),
            shutdown.clone(),
        ));
        Self {
            address,
            gauges,
            begun,
            release,
            shutdown,
            done,
        }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(crate) async fn until_held(&self, requests: u32) {
        soon(self.begun.acquire_many(requests))
            .await
            .unwrap()
            .forget();
    }

    pub(crate) async fn drained(self) -> Drained {
        soon(self.done).await.unwrap()
    }
}

async fn answer(
    peer: Peer,
    request: Request<Incoming>,
    begun: Arc<Semaphore>,
    release: Arc<Semaphore>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = match request.uri().path() {
        "/big" => Bytes::from(vec![b'x'; 64 << 20]),
        "/body" => match request.into_body().collect().await {
            Ok(body) => format!("{} bytes", body.to_bytes().len()).into(),
            Err(_) => Bytes::from_static(b"broken"),
        },
        "/held" => {
            begun.add_permits(1);
            release.acquire().await.unwrap().forget();
            Bytes::from_static(b"held")
        }
        "/panic" => panic!("as the test wants it"),
        "/peer" => format!("{} {}", peer.address, peer.encrypted).into(),
        "/refuse" => {
            let mut refusal = Response::new(Full::default());
            *refusal.status_mut() = StatusCode::UNAUTHORIZED;
            return Ok(refusal);
        }
        _ => Bytes::from_static(b"hello"),
    };
    Ok(Response::new(Full::new(body)))
}

/// What ought to happen promptly; a test that waits for ever says nothing.
pub(crate) async fn soon<F: Future>(event: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), event)
        .await
        .expect("this should have happened long ago")
}

pub(crate) async fn send(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    // Whether it arrived shows in the answer.
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.flush().await;
}

pub(crate) async fn ask(stream: &mut (impl AsyncWrite + Unpin), path: &str) {
    send(
        stream,
        &format!("GET {path} HTTP/1.1\r\nhost: example.com\r\n\r\n"),
    )
    .await;
}

/// One answer with a `Content-Length`: its head in lower case, and its body.
pub(crate) async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> (String, String) {
    soon(async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("an answer's head"));
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    })
    .await
}

/// All that still comes until the server closes, however it does.
pub(crate) async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = soon(stream.read_to_end(&mut rest)).await;
    rest
}

//! The sockets from outside: slow clients, TLS, caps, floods and the drain.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use signet::server::{
    Drained, Gauges, Peer, Settings, TlsError, TlsIdentity, TlsSlot, bind, serve,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(60);

/// Nothing ends by itself within a test, unless the test shortens it.
fn patient() -> Settings {
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

struct Server {
    address: SocketAddr,
    gauges: Arc<Gauges>,
    /// A permit for each request to `/held` that has begun.
    begun: Arc<Semaphore>,
    /// A permit lets one of them go on.
    release: Arc<Semaphore>,
    shutdown: CancellationToken,
    done: JoinHandle<Drained>,
}

impl Server {
    fn plain(settings: Settings) -> Self {
        Self::start(settings, None)
    }

    fn tls(settings: Settings, identity: TlsIdentity) -> (Self, Arc<TlsSlot>) {
        let slot = Arc::new(TlsSlot::new(identity));
        (Self::start(settings, Some(slot.clone())), slot)
    }

    fn start(settings: Settings, tls: Option<Arc<TlsSlot>>) -> Self {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (gauges, shutdown) = (Arc::<Gauges>::default(), CancellationToken::new());
        let begun = Arc::new(Semaphore::new(0));
        let release = Arc::new(Semaphore::new(0));
        let service = {
            let (begun, release) = (begun.clone(), release.clone());
            tower::service_fn(move |request| answer(request, begun.clone(), release.clone()))
        };
        let done = tokio::spawn(serve(
            listener,
            tls,
            service,
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

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn until_held(&self, requests: u32) {
        soon(self.begun.acquire_many(requests))
            .await
            .unwrap()
            .forget();
    }

    async fn drained(self) -> Drained {
        soon(self.done).await.unwrap()
    }
}

async fn answer(
    request: Request<Incoming>,
    begun: Arc<Semaphore>,
    release: Arc<Semaphore>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let peer = *request.extensions().get::<Peer>().unwrap();
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
async fn soon<F: Future>(event: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), event)
        .await
        .expect("this should have happened long ago")
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

async fn ask(stream: &mut (impl AsyncWrite + Unpin), path: &str) {
    send(
        stream,
        &format!("GET {path} HTTP/1.1\r\nhost: example.com\r\n\r\n"),
    )
    .await;
}

/// One answer with a `Content-Length`: its head in lower case, and its body.
async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> (String, String) {
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
async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = soon(stream.read_to_end(&mut rest)).await;
    rest
}

// --- one request after another ---

#[tokio::test]
async fn a_connection_serves_requests_one_after_another_and_says_who_asks() {
    let server = Server::plain(patient());
    let mut client = server.connect().await;
    for _ in 0..3 {
        ask(&mut client, "/").await;
        let (head, body) = hear(&mut client).await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(!head.contains("connection: close"), "{head}");
        assert_eq!(body, "hello");
    }
    ask(&mut client, "/peer").await;
    let expected = format!("{} false", client.local_addr().unwrap());
    assert_eq!(hear(&mut client).await.1, expected);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_half_a_third_one_survives_a_nap() {
    let server = Server::plain(patient());
    let mut client = server.connect().await;
    let one = "GET / HTTP/1.1\r\nhost: example.com\r\n\r\n";
    let two = "GET /body HTTP/1.1\r\nhost: example.com\r\n\r\n";
    let (half, rest) = one.split_at(20);
    send(&mut client, &format!("{one}{two}{half}")).await;
    assert_eq!(hear(&mut client).await.1, "hello");
    assert_eq!(hear(&mut client).await.1, "0 bytes");
    // The nap can't be seen from outside: it must just make no difference.
    tokio::time::sleep(Duration::from_millis(700)).await;
    send(&mut client, rest).await;
    assert_eq!(hear(&mut client).await.1, "hello");
    tokio::time::sleep(Duration::from_millis(700)).await;
    ask(&mut client, "/").await;
    assert_eq!(hear(&mut client).await.1, "hello");
}

#[tokio::test]
async fn a_refusal_before_the_body_sends_no_100_continue_and_reaches_a_client_that_goes_on_sending()
{
    let server = Server::plain(patient());
    let mut client = server.connect().await;
    let head = "POST /refuse HTTP/1.1\r\nhost: example.com\r\ncontent-length: 100000\r\n";
    send(&mut client, &format!("{head}expect: 100-continue\r\n\r\n")).await;
    let (head_of_answer, _) = hear(&mut client).await;
    assert!(
        head_of_answer.starts_with("http/1.1 401"),
        "{head_of_answer}"
    );

    let mut client = server.connect().await;
    send(&mut client, &format!("{head}\r\n")).await;
    let _ = client.write_all(&vec![b'x'; 100_000]).await;
    let (head_of_answer, _) = hear(&mut client).await;
    assert!(
        head_of_answer.starts_with("http/1.1 401"),
        "{head_of_answer}"
    );
}

#[tokio::test]
async fn a_body_that_is_wanted_gets_its_100_continue() {
    let server = Server::plain(patient());
    let mut client = server.connect().await;
    let head = "POST /body HTTP/1.1\r\nhost: example.com\r\ncontent-length: 5\r\n";
    send(&mut client, &format!("{head}expect: 100-continue\r\n\r\n")).await;
    assert!(hear(&mut client).await.0.starts_with("http/1.1 100"));
    send(&mut client, "12345").await;
    assert_eq!(hear(&mut client).await.1, "5 bytes");
}

#[tokio::test]
async fn a_panic_ends_its_connection_and_no_other() {
    let server = Server::plain(patient());
    let (mut bystander, mut client) = (server.connect().await, server.connect().await);
    ask(&mut client, "/panic").await;
    assert_eq!(until_closed(&mut client).await, b"");
    ask(&mut bystander, "/").await;
    assert_eq!(hear(&mut bystander).await.1, "hello");
    assert_eq!(server.gauges.open(), 1);
}

#[tokio::test]
async fn a_head_of_more_than_32_kib_is_refused() {
    let server = Server::plain(patient());
    let mut client = server.connect().await;
    let field = format!("x: {}\r\n", "y".repeat(40 * 1024));
    let request = format!("GET / HTTP/1.1\r\nhost: example.com\r\n{field}\r\n");
    let _ = client.write_all(request.as_bytes()).await;
    let (head, _) = hear(&mut client).await;
    assert!(head.starts_with("http/1.1 431"), "{head}");
}

// --- slow clients ---

#[tokio::test]
async fn a_head_that_trickles_in_ends_at_its_time_out() {
    let server = Server::plain(Settings {
        header_timeout: SHORT,
        ..patient()
    });
    let mut client = server.connect().await;
    let start = Instant::now();
    send(&mut client, "GET / HTTP/1.1\r\n").await;
    let (mut reader, mut writer) = client.split();
    let trickle = async {
        loop {
            tokio::time::sleep(SHORT / 8).await;
            if writer.write_all(b"x: y\r\n").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        rest = until_closed(&mut reader) => assert_eq!(rest, b""),
        () = trickle => {}
    }
    assert!(start.elapsed() >= SHORT);
    assert_eq!(server.gauges.header_timeouts(), 1);
}

#[tokio::test]
async fn a_connection_that_never_asks_ends_at_the_header_time_out() {
    let server = Server::plain(Settings {
        header_timeout: SHORT,
        ..patient()
    });
    assert_eq!(until_closed(&mut server.connect().await).await, b"");
}

#[tokio::test]
async fn between_requests_the_idle_time_out_holds_and_not_the_shorter_one_for_heads() {
    let server = Server::plain(Settings {
        header_timeout: SHORT,
        idle_timeout: 5 * SHORT,
        ..patient()
    });
    let mut client = server.connect().await;
    ask(&mut client, "/").await;
    hear(&mut client).await;
    let start = Instant::now();
    assert_eq!(until_closed(&mut client).await, b"");
    assert!(start.elapsed() >= 4 * SHORT, "{:?}", start.elapsed());

    // But the second request's head has no longer than the first one's, be it after a nap.
    let mut client = server.connect().await;
    ask(&mut client, "/").await;
    hear(&mut client).await;
    tokio::time::sleep(2 * SHORT).await;
    let start = Instant::now();
    send(&mut client, "GET / HT").await;
    assert_eq!(until_closed(&mut client).await, b"");
    assert!(start.elapsed() < 4 * SHORT, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_body_that_trickles_in_ends_at_the_requests_deadline() {
    let server = Server::plain(Settings {
        request_deadline: SHORT,
        ..patient()
    });
    let mut client = server.connect().await;
    send(
        &mut client,
        "POST /body HTTP/1.1\r\nhost: example.com\r\ncontent-length: 100\r\n\r\nx",
    )
    .await;
    assert_eq!(until_closed(&mut client).await, b"");
    assert_eq!(server.gauges.request_timeouts(), 1);
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends_at_the_requests_deadline() {
    let server = Server::plain(Settings {
        request_deadline: SHORT,
        ..patient()
    });
    let mut client = server.connect().await;
    ask(&mut client, "/big").await;
    soon(async {
        while server.gauges.request_timeouts() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(until_closed(&mut client).await.len() < 64 << 20);
}

#[tokio::test]
async fn a_client_that_reads_gets_all_of_a_big_answer() {
    let server = Server::plain(patient());
    let mut client = server.connect().await;
    ask(&mut client, "/big").await;
    assert_eq!(hear(&mut client).await.1.len(), 64 << 20);
}

#[tokio::test]
async fn a_connection_past_its_age_says_close_with_its_next_answer() {
    let server = Server::plain(Settings {
        max_age: Duration::ZERO,
        ..patient()
    });
    let mut client = server.connect().await;
    ask(&mut client, "/").await;
    assert!(hear(&mut client).await.0.contains("connection: close"));
    assert_eq!(until_closed(&mut client).await, b"");
}

// --- room ---

#[tokio::test]
async fn beyond_the_cap_a_connection_waits_for_a_place() {
    let server = Server::plain(Settings {
        max_connections: 1,
        ..patient()
    });
    let mut first = server.connect().await;
    ask(&mut first, "/held").await;
    server.until_held(1).await;
    let mut second = server.connect().await;
    ask(&mut second, "/").await;
    let waited = tokio::time::timeout(2 * SHORT, second.read_u8()).await;
    assert!(waited.is_err(), "the second was served beside the first");
    assert_eq!(server.gauges.open(), 1);
    server.release.add_permits(1);
    assert_eq!(hear(&mut first).await.1, "held");
    drop(first);
    assert_eq!(hear(&mut second).await.1, "hello");
    assert_eq!(server.gauges.accepted(), 2);
}

#[tokio::test]
async fn idle_connections_make_room_for_one_that_waits() {
    let server = Server::plain(Settings {
        max_connections: 2,
        ..patient()
    });
    let mut idle = server.connect().await;
    ask(&mut idle, "/").await;
    hear(&mut idle).await;
    let silent = server.connect().await;
    let mut newcomer = server.connect().await;
    ask(&mut newcomer, "/").await;
    assert_eq!(hear(&mut newcomer).await.1, "hello");
    drop(silent);
}

/// Run by the test below in a process with few descriptors.
#[tokio::test]
#[ignore = "wants a process of its own, with few file descriptors"]
async fn with_few_descriptors_the_door_waits_and_recovers() {
    let server = Server::plain(patient());
    let mut clients = Vec::new();
    while let Ok(client) = TcpStream::connect(server.address).await {
        clients.push(client);
    }
    let start = Instant::now();
    soon(async {
        while server.gauges.accept_errors() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // The idle are closed to make room: in the end even the last one comes in and is served.
    let last = clients.last_mut().unwrap();
    ask(last, "/").await;
    assert_eq!(hear(last).await.1, "hello");
    let tries = u128::from(server.gauges.accept_errors());
    let most = 5 + start.elapsed().as_millis() / 50;
    assert!(tries <= most, "{tries} tries are a busy loop");
}

#[tokio::test]
async fn when_descriptors_run_out_idle_connections_are_reaped_and_service_returns() {
    let this = std::env::current_exe().unwrap();
    let output = tokio::process::Command::new("sh")
        .args(["-c", r#"ulimit -n 48; exec "$0" --ignored --exact "$1""#])
        .arg(this)
        .arg("with_few_descriptors_the_door_waits_and_recovers")
        .output();
    let output = soon(output).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

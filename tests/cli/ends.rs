//! How the real process ends while hundreds ask each second: asked to, nothing is cut; killed, its successor serves at once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::running::{Folder, PATIENCE, SHOP_KEY, Serving, UNLIMITED, eventually, free_address};

const A_SECOND: Duration = Duration::from_secs(1);
/// The load under which a process ends.
const PER_SECOND: u32 = 500;
const ASKED: &str = r#"{"userId":"usr_1"}"#;

/// What clients share.
#[derive(Clone, Default)]
struct Load {
    answered: Arc<AtomicU32>,
    ending: Arc<AtomicBool>,
}

impl Load {
    fn count(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// Waits for a second in which so many were answered, so that the end comes in the midst of it.
    fn stands(&self) {
        let (mut since, mut before) = (Instant::now(), self.answered.load(Ordering::Relaxed));
        eventually("500 answers within a second", || {
            let now = self.answered.load(Ordering::Relaxed);
            if now - before >= PER_SECOND {
                return true;
            }
            if since.elapsed() >= A_SECOND {
                (since, before) = (Instant::now(), now);
            }
            false
        });
    }

    fn end(&self, serving: &Serving) {
        self.ending.store(true, Ordering::SeqCst);
        serving.signal("TERM");
    }
}

/// Where a connection was cut.
#[derive(Debug)]
enum Cut {
    BeforeTheAnswer,
    Within,
}

/// One exchange on a connection: the answer's status, and whether it is the connection's last.
fn exchange(stream: &mut BufReader<TcpStream>) -> Result<(String, bool), Cut> {
    let request = format!(
        "POST /token HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {SHOP_KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{ASKED}",
        ASKED.len()
    );
    let sent = stream.get_mut().write_all(request.as_bytes());
    sent.map_err(|_| Cut::BeforeTheAnswer)?;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        match stream.read_line(&mut head) {
            Ok(0) | Err(_) if head.is_empty() => return Err(Cut::BeforeTheAnswer),
            Ok(0) | Err(_) => return Err(Cut::Within),
            Ok(_) => {}
        }
    }
    let head = head.to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).map_err(|_| Cut::Within)?;
    let status = head.split(' ').nth(1).unwrap().to_owned();
    Ok((status, head.contains("connection: close")))
}

/// Asks over kept-alive connections, and over another one whenever it is told to, until nobody listens any more.
fn ask_until_nobody_listens(address: SocketAddr, load: &Load) {
    while let Ok(stream) = TcpStream::connect(address) {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = BufReader::new(stream);
        let mut fresh = true;
        loop {
            match exchange(&mut stream) {
                Ok((status, last)) => {
                    assert_eq!(status, "200");
                    load.count();
                    fresh = false;
                    if last {
                        break;
                    }
                }
                // What the kernel had taken and nobody accepted was never a connection.
                Err(Cut::BeforeTheAnswer) if fresh && load.is_ending() => break,
                Err(cut) => panic!("a request was cut: {cut:?}"),
            }
        }
    }
    assert!(load.is_ending(), "nobody listens");
}

#[test]
fn a_stop_at_500_requests_a_second_over_http_1_cuts_none_and_exits_with_0() {
    let mut serving = Folder::small().serve_with(&UNLIMITED);
    let load = Load::default();
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (address, load) = (serving.address, load.clone());
            std::thread::spawn(move || ask_until_nobody_listens(address, &load))
        })
        .collect();
    load.stands();
    load.end(&serving);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(serving.wait(), (Some(0), String::new()));
    let end = serving.log.last().unwrap();
    assert!(end.contains("everything in flight was finished"), "{end}");
}

/// Asks over one HTTP/2 connection, several requests at a time, until it is told to go elsewhere.
async fn ask_over(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    load: &Load,
) {
    let (client, connection) = h2::client::handshake(stream).await.expect("a handshake");
    let connection = tokio::spawn(connection);
    let asking = (0..8).map(|_| {
        let (client, load) = (client.clone(), load.clone());
        tokio::spawn(async move {
            while let Some(status) = ask_stream(client.clone()).await {
                assert_eq!(status, 200);
                load.count();
            }
            assert!(load.is_ending(), "sent away");
        })
    });
    for asking in asking.collect::<Vec<_>>() {
        asking.await.unwrap();
    }
    drop(client);
    // Its end is the goodbye that the streams have seen.
    let _ = connection.await.unwrap();
}

/// The status of one request's answer; `None`: it was handed back unprocessed (RFC 9113 section 6.8).
async fn ask_stream(client: h2::client::SendRequest<Bytes>) -> Option<u16> {
    let handed_back = |error: h2::Error| {
        let goodbye = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        assert!(goodbye, "a request was cut: {error:?}");
    };
    let mut client = client.ready().await.map_err(handed_back).ok()?;
    let request = http::Request::post("https://localhost/token")
        .header("authorization", format!("Bearer {SHOP_KEY}"))
        .header("content-type", "application/json")
        .body(())
        .unwrap();
    let (response, mut body) = client
        .send_request(request, false)
        .map_err(handed_back)
        .ok()?;
    body.send_data(Bytes::from_static(ASKED.as_bytes()), true)
        .map_err(handed_back)
        .ok()?;
    let response = response.await.map_err(handed_back).ok()?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data.expect("a whole body");
        length += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    assert_ne!(length, 0);
    Some(status)
}

async fn ask_over_http_2(address: SocketAddr, client: Arc<ClientConfig>, load: Load) {
    let client = TlsConnector::from(client);
    while let Ok(stream) = tokio::net::TcpStream::connect(address).await {
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        match client.connect(name, stream).await {
            Ok(stream) => ask_over(stream, &load).await,
            // What the kernel had taken and nobody accepted was never a connection.
            Err(error) => assert!(load.is_ending(), "{error}"),
        }
    }
    assert!(load.is_ending(), "nobody listens");
}

#[test]
fn a_stop_at_500_requests_a_second_over_http_2_cuts_none_and_exits_with_0() {
    let (folder, client) = Folder::small_over_tls();
    let mut serving = folder.serve_with(&UNLIMITED);
    let load = Load::default();
    let clients = {
        let (address, load) = (serving.address, load.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let clients = (0..4)
                    .map(|_| tokio::spawn(ask_over_http_2(address, client.clone(), load.clone())));
                for client in clients.collect::<Vec<_>>() {
                    client.await.unwrap();
                }
            });
        })
    };
    load.stands();
    load.end(&serving);
    clients.join().unwrap();
    assert_eq!(serving.wait(), (Some(0), String::new()));
    let end = serving.log.last().unwrap();
    assert!(end.contains("everything in flight was finished"), "{end}");
}

#[test]
fn killed_under_load_signet_is_started_again_on_its_port_and_serves_at_once() {
    let folder = Folder::small();
    let (address, admin) = (free_address(), free_address().to_string());
    let public = address.to_string();
    let mut same = UNLIMITED.to_vec();
    same.extend([
        ("SIGNET__SERVER__LISTEN", &*public),
        ("SIGNET__ADMIN__LISTEN", &*admin),
    ]);
    let mut serving = folder.serve_with(&same);
    let load = Load::default();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let load = load.clone();
            std::thread::spawn(move || ask_whoever_listens(address, &load))
        })
        .collect();
    for _ in 0..3 {
        load.stands();
        serving.kill();
        // Its connections still wait for their end in the kernel; a start that could not have the port would say so.
        serving = folder.serve_with(&same);
        assert_eq!(serving.address, address);
        assert!(serving.issue(SHOP_KEY).starts_with("HTTP/1.1 200 "));
    }
    load.stands();
    load.ending.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().unwrap();
    }
}

/// Asks until told to stop, over another connection whenever one breaks. Whatever answers, answers with a token.
fn ask_whoever_listens(address: SocketAddr, load: &Load) {
    while !load.is_ending() {
        let Ok(stream) = TcpStream::connect(address) else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = BufReader::new(stream);
        while !load.is_ending() {
            match exchange(&mut stream) {
                Ok((status, _)) => assert_eq!(status, "200"),
                Err(_) => break,
            }
            load.count();
        }
    }
}

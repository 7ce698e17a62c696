//! Rotations and certificate swaps while clients keep asking: no request fails, and each switch happens once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use signet::clock::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Signet, Site, secret, signed_by, token_request};

const SWAPS: usize = 10;
const CLIENTS: u32 = 6;
/// Six clients at this pace ask 300 times a second.
const PACE: Duration = Duration::from_millis(20);
/// How many requests go over one connection, so that there are new handshakes all the time.
const PER_CONNECTION: u32 = 25;

struct Certificate {
    chain: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Certificate {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self {
            chain: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            der: made.cert.der().clone(),
        }
    }

    fn install(&self, site: &Site) {
        site.write("tls.key", &self.key);
        site.write("tls.crt", &self.chain);
    }
}

/// Trusts all of the certificates. It resumes no session, which would show no certificate.
fn client(certificates: &[Certificate]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.der.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

async fn connect(client: &TlsConnector, address: SocketAddr) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    client.connect(name, stream).await.expect("a handshake")
}

fn shown(stream: &TlsStream<TcpStream>) -> &CertificateDer<'static> {
    &stream.get_ref().1.peer_certificates().unwrap()[0]
}

fn tls_site(certificate: &Certificate) -> Site {
    let mut site = Site::new();
    site.server = "tls = { certificate = \"tls.crt\", private_key = \"tls.key\" }".to_owned();
    certificate.install(&site);
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_handshake_shows_the_new_certificate_and_a_pair_that_does_not_fit_keeps_the_old() {
    let certificates: Vec<_> = (0..3).map(|_| Certificate::new()).collect();
    let client = client(&certificates);
    let site = tls_site(&certificates[0]);
    let signet = site.start();
    let now_shown = async || shown(&connect(&client, signet.public).await).clone();
    assert_eq!(now_shown().await, certificates[0].der);

    certificates[1].install(&site);
    signet.reload("reloaded the configuration");
    assert_eq!(now_shown().await, certificates[1].der);

    site.write("tls.key", &certificates[2].key);
    let refusal = signet.reload("not reloaded, the last good state goes on");
    assert!(
        refusal.contains("doesn't belong to the first certificate"),
        "{refusal}"
    );
    assert_eq!(now_shown().await, certificates[1].der);

    site.write("tls.crt", &certificates[2].chain);
    signet.reload("reloaded the configuration");
    assert_eq!(now_shown().await, certificates[2].der);
}

/// Asks over and over until told to stop, and gives which key signed each token, in order.
async fn ask_on(
    number: u32,
    client: TlsConnector,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
) -> Vec<usize> {
    let mut signers = Vec::new();
    let mut pace = tokio::time::interval(PACE);
    let mut stream = connect(&client, address).await;
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        let count = u32::try_from(signers.len()).unwrap();
        if count % PER_CONNECTION == PER_CONNECTION - 1 {
            let _ = stream.shutdown().await;
            stream = connect(&client, address).await;
        }
        let request = token_request(&format!("usr_{number}_{count}"), true);
        let (status, body) = exchange(&mut stream, &request).await;
        assert_eq!(status, "200", "{body}");
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        let token = answer["token"].as_str().unwrap();
        let signer = (0..=SWAPS).find(|number| signed_by(token, &secret(*number)));
        signers.push(signer.expect("some key of the schedule signed it"));
        asked.fetch_add(1, Ordering::Relaxed);
    }
    signers
}

async fn exchange(stream: &mut TlsStream<TcpStream>, request: &str) -> (String, String) {
    let answering = async {
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a request");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.expect("a length").parse().unwrap()];
        stream.read_exact(&mut body).await.expect("a body");
        (head[9..12].to_owned(), String::from_utf8(body).unwrap())
    };
    let patience = Duration::from_secs(10);
    tokio::time::timeout(patience, answering)
        .await
        .expect("an answer in time")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the program under test follows the machine's clock"
)]
fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// The keys up to `last`: key `n` takes over at `start + 2n` seconds.
fn keys(start: i64, last: usize) -> String {
    let key = |number: usize| {
        let from = start + 2 * i64::try_from(number).unwrap();
        let from = Timestamp::from_seconds(if number == 0 { 0 } else { from }).rfc3339();
        format!(
            "[[apps.acme.keys]]\nid = \"key-{number}\"\nsecret = {{ file = \"secret-{number}\" }}\nactivate_at = \"{from}\"\n"
        )
    };
    (0..=last).map(key).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_rotations_and_ten_certificates_under_load_fail_no_request() {
    let certificates: Vec<_> = (0..=SWAPS).map(|_| Certificate::new()).collect();
    let client = client(&certificates);
    let mut site = tls_site(&certificates[0]);
    let plenty = "{ rate = 100000, per = \"1s\", burst = 100000 }";
    site.further = format!("[limits]\nper_ip = {plenty}\nper_caller = {plenty}");
    for number in 0..=SWAPS {
        site.write(&format!("secret-{number}"), &secret(number));
    }
    site.write("signet.toml", &site.configuration(&keys(0, 0)));
    let signet = site.start_in(site.folder.path());

    let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (client, stop, asked) = (client.clone(), Arc::clone(&stop), Arc::clone(&asked));
            tokio::spawn(ask_on(number, client, signet.public, stop, asked))
        })
        .collect();
    let began = Instant::now();
    let start = unix_now() + 1;
    for (number, certificate) in certificates.iter().enumerate().skip(1) {
        // Each key is announced before its time, together with the next certificate.
        site.write("signet.toml", &site.configuration(&keys(start, number)));
        certificate.install(&site);
        signet.reload("reloaded the configuration");
        let stream = connect(&client, signet.public).await;
        assert_eq!(*shown(&stream), certificate.der, "swap {number}");
        wait_until_active(&signet, number).await;
    }
    let at_least = asked.load(Ordering::Relaxed) + CLIENTS * 4;
    while asked.load(Ordering::Relaxed) < at_least {
        tokio::time::sleep(PACE).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for client in clients {
        let signers = client.await.expect("no request failed");
        assert!(signers.is_sorted(), "a switch went back: {signers:?}");
        all.extend(signers);
    }
    all.sort_unstable();
    let requests = all.len();
    all.dedup();
    assert_eq!(
        all,
        (0..=SWAPS).collect::<Vec<_>>(),
        "every key had its time"
    );
    let rate = requests as f64 / began.elapsed().as_secs_f64();
    assert!(
        rate > 100.0,
        "only {rate:.0} requests a second: this machine proves nothing"
    );
}

/// Until the metrics say that key `number` signs.
async fn wait_until_active(signet: &Signet, number: usize) {
    let name = format!("signet_key_state{{app=\"acme\",key=\"key-{number}\",state=\"active\"}}");
    let deadline = Instant::now() + Duration::from_secs(20);
    while signet.metric(&name).as_deref() != Some("1") {
        assert!(Instant::now() < deadline, "key {number} never took over");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

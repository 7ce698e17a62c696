//! A real `redis-server` to mistreat, and a relay in front of it that delays and garbles.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::{Client, Connection};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// A port of this machine that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// `redis-server`, or what `REDIS_SERVER` names: a `valkey-server` must do as well.
#[expect(clippy::disallowed_methods, reason = "the test's own switch")]
fn program() -> OsString {
    std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into())
}

/// A server that keeps nothing on disk, and ends with its value.
pub(crate) struct Server {
    pub(crate) port: u16,
    child: Child,
    _dir: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_on(free_port())
    }

    pub(crate) fn start_on(port: u16) -> Self {
        Self::start_with(port, &["--port", &port.to_string()])
    }

    /// Starts a server that is reached at `port`, and waits until it says that it is ready.
    pub(crate) fn start_with(port: u16, options: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let mut child = Command::new(program())
            .args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"])
            .args(options)
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("these tests want a redis-server: install Debian's package `redis-server`");
        let output = BufReader::new(child.stdout.take().unwrap());
        let ready = output
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains("Ready to accept connections"));
        assert!(ready, "redis-server ended before it was ready");
        Self {
            port,
            child,
            _dir: dir,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection of the test's own, to look behind the scenes.
    pub(crate) fn connection(&self) -> Connection {
        Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended before; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a [`Relay`] does with the server's answers.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    Through,
    Slow(Duration),
    Garbled(&'static [u8]),
}

/// A door in front of a server.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    mode: watch::Sender<Mode>,
}

impl Relay {
    pub(crate) async fn before(server: &Server) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, seen) = watch::channel(Mode::Through);
        let port = server.port;
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.unwrap().into_split();
                let through = watch::channel(Mode::Through).1;
                tokio::spawn(carry(from_client, to_server, through));
                tokio::spawn(carry(from_server, to_client, seen.clone()));
            }
        });
        Self { address, mode }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mode: watch::Receiver<Mode>) {
    let (on_the_way, mut arriving) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((due, bytes)) = arriving.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let (delay, bytes) = match *mode.borrow() {
            Mode::Through => (Duration::ZERO, &buffer[..length]),
            Mode::Slow(delay) => (delay, &buffer[..length]),
            Mode::Garbled(rubbish) => (Duration::ZERO, rubbish),
        };
        let sent = on_the_way.send((Instant::now() + delay, bytes.to_vec()));
        if sent.is_err() {
            return;
        }
    }
}

/// A root certificate and one for `localhost` signed by it, with its key, as PEM files in `dir`.
pub(crate) fn certificates(dir: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let issuer = Issuer::new(root, root_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf_pem = leaf.signed_by(&key, &issuer).unwrap().pem();
    std::fs::write(dir.join("root.crt"), root_pem).unwrap();
    std::fs::write(dir.join("server.crt"), leaf_pem).unwrap();
    std::fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
}

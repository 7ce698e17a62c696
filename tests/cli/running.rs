//! The binary as a child, with exactly the environment that a test gives it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const ACME_SECRET: &str = "kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE";
pub(crate) const SHOP_KEY: &str = "sgn_shop-7hT2mXz9LpQ4wY8sBnC6vK3j";
/// So many that no limit is met.
pub(crate) const UNLIMITED: [(&str, &str); 7] = [
    ("SIGNET__LIMITS__PER_IP__RATE", "1000000"),
    ("SIGNET__LIMITS__PER_IP__BURST", "1000000"),
    ("SIGNET__LIMITS__PER_CALLER__RATE", "1000000"),
    ("SIGNET__LIMITS__PER_CALLER__BURST", "1000000"),
    ("SIGNET__LIMITS__PER_USER__RATE", "1000000"),
    ("SIGNET__LIMITS__PER_USER__BURST", "1000000"),
    ("SIGNET__LIMITS__FAILED_AUTH__BURST", "1000000"),
];
/// Longer than anything takes, shorter than anybody waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One app and one caller, on ports that are free.
pub(crate) const SMALL: &str = r#"
[server]
listen = "127.0.0.1:0"
require_https = false
[admin]
listen = "127.0.0.1:0"
[apps.acme]
profile = "support-widget"
client_id = "ten_acme"
secret = { file = "acme.secret" }
[callers.shop]
key = { env = "SHOP_KEY" }
apps = ["acme"]
roles = ["user"]
"#;

/// A folder with `signet.toml` and the files that it names.
pub(crate) struct Folder(TempDir);

impl Folder {
    /// [`SMALL`] with its secret.
    pub(crate) fn small() -> Self {
        let folder = Self::with(SMALL);
        folder.write("acme.secret", ACME_SECRET);
        folder
    }

    /// [`SMALL`] over HTTPS, and a client's configuration that trusts it and speaks HTTP/2.
    pub(crate) fn small_over_tls() -> (Self, Arc<ClientConfig>) {
        let folder = Self::small();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        folder.write("tls.crt", &made.cert.pem());
        folder.write("tls.key", &made.signing_key.serialize_pem());
        let files = "[server.tls]\ncertificate = \"tls.crt\"\nprivate_key = \"tls.key\"\n";
        folder.write("signet.toml", &format!("{SMALL}{files}"));
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec()];
        (folder, Arc::new(client))
    }

    pub(crate) fn with(configuration: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("signet.toml", configuration);
        folder
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        // Renamed into place, so that no reader sees half of it.
        let fresh = self.path(&format!("{name}.new"));
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, self.path(name)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a command on this configuration.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[], "")
    }

    pub(crate) fn run_with(
        &self,
        arguments: &[&str],
        variables: &[(&str, &str)],
        input: &str,
    ) -> Ran {
        let file = self.path("signet.toml");
        let mut all = vec![
            ("SIGNET_CONFIG", file.to_str().unwrap()),
            ("SHOP_KEY", SHOP_KEY),
        ];
        all.extend(variables);
        run(arguments, &all, input)
    }

    pub(crate) fn serve(&self) -> Serving {
        self.serve_with(&[])
    }

    pub(crate) fn serve_with(&self, variables: &[(&str, &str)]) -> Serving {
        let file = self.path("signet.toml");
        let mut all = vec![
            ("SIGNET_CONFIG", file.to_str().unwrap()),
            ("SHOP_KEY", SHOP_KEY),
        ];
        all.extend(variables);
        Serving::start(&all)
    }

    /// Serves with a log that goes elsewhere, where nobody can read the addresses.
    pub(crate) fn serve_logging_to(
        &self,
        log: impl Into<Stdio>,
        variables: &[(&str, &str)],
    ) -> Serving {
        let addresses = [free_address(), free_address()];
        let [address, admin] = addresses.map(|it| it.to_string());
        let mut command = signet(&["serve"], variables);
        let child = command
            .env("SIGNET_CONFIG", self.path("signet.toml"))
            .env("SHOP_KEY", SHOP_KEY)
            .env("SIGNET__SERVER__LISTEN", &address)
            .env("SIGNET__ADMIN__LISTEN", &admin)
            .stdout(log)
            .spawn()
            .unwrap();
        let (_, lines) = channel();
        let mut serving = Serving {
            child,
            address: addresses[0],
            admin: addresses[1],
            lines,
            log: Vec::new(),
            stderr: None,
        };
        eventually("signet serves", || {
            assert!(serving.child.try_wait().unwrap().is_none(), "it ended");
            TcpStream::connect(&address).is_ok()
        });
        serving
    }
}

/// How a command ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{}", self.stdout))
    }
}

fn signet(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signet"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Ran {
    let mut child = signet(arguments, variables).spawn().unwrap();
    // One that reads no input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `signet serve`, up and serving. It ends with its owner.
pub(crate) struct Serving {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    lines: Receiver<String>,
    /// Every line that was read so far.
    pub(crate) log: Vec<String>,
    stderr: Option<JoinHandle<String>>,
}

impl Serving {
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        let mut child = signet(&["serve"], variables).spawn().unwrap();
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .all(|line| send.send(line).is_ok())
        });
        let mut stderr = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut serving = Self {
            child,
            address: nowhere,
            admin: nowhere,
            lines,
            log: Vec::new(),
            stderr: Some(stderr),
        };
        let line = serving.wait_for("serving tokens on");
        let address = |name: &str| line[name].as_str().unwrap().parse().unwrap();
        (serving.address, serving.admin) = (address("address"), address("admin"));
        serving
    }

    /// Waits for the next line with this text; every line on the way is JSON.
    pub(crate) fn wait_for(&mut self, text: &str) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {text:?} in {:#?}", self.log);
            };
            let value: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            assert!(value.is_object(), "{line}");
            let found = line.contains(text);
            self.log.push(line);
            if found {
                return value;
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end; gives the exit code and what was said on standard error.
    pub(crate) fn wait(&mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        while let Ok(line) = self.lines.recv() {
            self.log.push(line);
        }
        let stderr = self.stderr.take().map(|text| text.join().unwrap());
        (status.code(), stderr.unwrap_or_default())
    }

    /// Ends it as the kernel does when it wants memory back.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The memory that it has in use, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
        1024 * kibibytes.parse::<u64>().unwrap()
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::to(self.address)
    }

    /// One exchange with the public port.
    pub(crate) fn ask(&self, head: &str, body: &str) -> String {
        exchange(self.address, head, body)
    }

    /// One exchange with the admin port.
    pub(crate) fn ask_admin(&self, path: &str) -> String {
        exchange(self.admin, &format!("GET {path} HTTP/1.1"), "")
    }

    /// The status and body of a backend's request with this key.
    pub(crate) fn issue(&self, key: &str) -> String {
        let head = format!(
            "POST /token HTTP/1.1\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json"
        );
        self.ask(&head, r#"{"userId":"usr_1"}"#)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One exchange over a connection of its own; gives all that came back.
pub(crate) fn exchange(address: SocketAddr, head: &str, body: &str) -> String {
    let mut connection = Connection::to(address);
    let length = body.len();
    connection.send(&format!(
        "{head}\r\nHost: {address}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ));
    connection.rest()
}

/// A raw connection.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Sends what the other side may refuse before it has read it.
    pub(crate) fn try_send(&mut self, text: &str) {
        let _ = self.0.get_mut().write_all(text.as_bytes());
    }

    pub(crate) fn shut(&self, how: Shutdown) {
        self.0.get_ref().shutdown(how).unwrap();
    }

    /// Everything until the other side closes, however it does.
    pub(crate) fn until_closed(&mut self) -> String {
        let mut bytes = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut bytes) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
        String::from_utf8(bytes).unwrap()
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The next answer's status and body.
    pub(crate) fn answer(&mut self) -> (String, String) {
        let head = self.line();
        let status = head.split(' ').nth(1).map(str::to_owned);
        let mut length = 0;
        loop {
            let line = self.line().to_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        (status.unwrap_or_else(|| panic!("{head:?} {body}")), body)
    }

    /// Everything up to the end.
    pub(crate) fn rest(mut self) -> String {
        let mut text = String::new();
        self.0.read_to_string(&mut text).unwrap();
        text
    }
}

/// An address where nobody listens, and that no client is given as its own: one that tries to connect there before
/// somebody listens would be connected with itself.
pub(crate) fn free_address() -> SocketAddr {
    // Below what Linux gives to clients, and not where another process begins.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + 100 * u16::try_from(std::process::id() % 100).unwrap();
    std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed) % 2000)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .unwrap()
}

/// Waits for something that can only be looked at.
pub(crate) fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The body of an answer.
pub(crate) fn body(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
}

/// The path as text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

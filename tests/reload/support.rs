//! The real program on ports of its own, and the verbs of its operator and its clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const SHOP_KEY: &str = "sgn_shop-7hT2mXz9LpQ4wY8sBnC6vK3r";
const PATIENCE: Duration = Duration::from_secs(30);

/// The secret of the app's key number `number`.
pub(crate) fn secret(number: usize) -> String {
    format!("kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE-{number}")
}

/// Whether `secret` signed `token` (HS256).
pub(crate) fn signed_by(token: &str, secret: &str) -> bool {
    let (signed, signature) = token.rsplit_once('.').expect("a token has a signature");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("in base64url");
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
}

/// The lines of the log so far, and a bell for new ones.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

/// A running signet with the folder of its configuration.
pub(crate) struct Signet {
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    child: Child,
    log: Arc<Log>,
}

/// A folder with a configuration that can be served, and its ports.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// `[server]` settings and further tables beside the app.
    pub(crate) server: String,
    pub(crate) further: String,
}

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self {
            folder: tempfile::tempdir().unwrap(),
            public: free_address(),
            admin: free_address(),
            server: "require_https = false".to_owned(),
            further: String::new(),
        };
        site.write("secret-0", &secret(0));
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file as careful programs do: aside, then in its place in one step.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let aside = self.path(&format!("{name}.new"));
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(aside, self.path(name)).unwrap();
    }

    /// The configuration with one key.
    pub(crate) fn simple(&self) -> String {
        self.configuration("secret = { file = \"secret-0\" }")
    }

    /// The configuration whose app has these keys.
    pub(crate) fn configuration(&self, keys: &str) -> String {
        let Self {
            public,
            admin,
            server,
            further,
            ..
        } = self;
        let hash: String = digest(&SHA256, SHOP_KEY.as_bytes())
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!(
            r#"
[server]
listen = "{public}"
{server}
[admin]
listen = "{admin}"
[callers.shop]
key_sha256 = ["{hash}"]
apps = ["acme"]
{further}
[apps.acme]
profile = "support-widget"
client_id = "ten_acme"
{keys}
"#
        )
    }

    /// Starts signet with the configuration `signet.toml` below `folder`.
    pub(crate) fn start_in(&self, folder: &Path) -> Signet {
        let mut child = Command::new(env!("CARGO_BIN_EXE_signet"))
            .args(["serve", "--config"])
            .arg(folder.join("signet.toml"))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::<Log>::default();
        let out = BufReader::new(child.stdout.take().unwrap());
        let writer = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                writer.lines.lock().unwrap().push(line);
                writer.grown.notify_all();
            }
        });
        let signet = Signet {
            public: self.public,
            admin: self.admin,
            child,
            log,
        };
        signet.wait_for(0, "serving tokens");
        signet
    }

    /// Writes the simple configuration and starts signet with it.
    pub(crate) fn start(&self) -> Signet {
        self.write("signet.toml", &self.simple());
        self.start_in(self.folder.path())
    }
}

impl Signet {
    /// How long the log is now.
    pub(crate) fn mark(&self) -> usize {
        self.log.lines.lock().unwrap().len()
    }

    /// The first line after `mark` that contains `text`.
    pub(crate) fn wait_for(&self, mark: usize, text: &str) -> String {
        let found = |lines: &[String]| {
            let new = lines.iter().skip(mark);
            new.into_iter().find(|line| line.contains(text)).cloned()
        };
        let lines = self.log.lines.lock().unwrap();
        let (lines, _) = self
            .log
            .grown
            .wait_timeout_while(lines, PATIENCE, |lines| found(lines).is_none())
            .unwrap();
        found(&lines).unwrap_or_else(|| panic!("no {text:?} in the log:\n{}", lines.join("\n")))
    }

    pub(crate) fn log(&self) -> String {
        self.log.lines.lock().unwrap().join("\n")
    }

    pub(crate) fn hang_up(&self) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args(["-HUP", &pid]).status();
        assert!(killed.unwrap().success());
    }

    /// SIGHUP, and then the line that says how it went.
    pub(crate) fn reload(&self, outcome: &str) -> String {
        let mark = self.mark();
        self.hang_up();
        self.wait_for(mark, outcome)
    }

    pub(crate) fn admin(&self, path: &str) -> (u16, String) {
        ask(
            self.admin,
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        )
    }

    pub(crate) fn readiness(&self) -> (u16, Value) {
        let (status, body) = self.admin("/readyz");
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Waits until readiness is `status`, and gives what it tells then.
    pub(crate) fn until_ready_is(&self, status: u16) -> Value {
        for _ in 0..300 {
            let (now, told) = self.readiness();
            if now == status {
                return told;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("readiness never became {status}:\n{}", self.log());
    }

    pub(crate) fn metric(&self, name: &str) -> Option<String> {
        let (_, text) = self.admin("/metrics");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.map(str::to_owned)
    }

    /// One request for a token over a connection of its own.
    pub(crate) fn ask_for(&self, user: &str) -> (u16, Value) {
        let (status, body) = ask(self.public, &token_request(user, false));
        (status, serde_json::from_str(&body).unwrap())
    }

    pub(crate) fn token(&self, user: &str) -> String {
        let (status, answer) = self.ask_for(user);
        assert_eq!(status, 200, "{answer}");
        answer["token"].as_str().unwrap().to_owned()
    }
}

impl Drop for Signet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `POST /token` for `user`, as bytes on the wire.
pub(crate) fn token_request(user: &str, keep_alive: bool) -> String {
    let body = format!(r#"{{"userId":"{user}"}}"#);
    let connection = if keep_alive { "keep-alive" } else { "close" };
    format!(
        "POST /token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SHOP_KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n{body}",
        body.len()
    )
}

fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

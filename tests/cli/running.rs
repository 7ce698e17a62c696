//! The binary as a child, with exactly the environment that a test gives it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const ACME_SECRET: &str = "kR9vQ2mXz7LpT4wY8sBnC6dFgH3jK5aE";
pub(crate) const SHOP_KEY: &str = "sgn_shop-7hT2mXz9LpQ4wY8sBnC6vK3j";
/// Longer than anything takes, shorter than anybody waits.
const PATIENCE: Duration = Duration::from_secs(60);

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
        let stderr = self.stderr.take().unwrap().join().unwrap();
        (status.code(), stderr)
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
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Everything up to the end.
    pub(crate) fn rest(mut self) -> String {
        let mut text = String::new();
        self.0.read_to_string(&mut text).unwrap();
        text
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

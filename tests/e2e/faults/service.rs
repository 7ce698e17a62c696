//! The real program on a core of its own where there are two, and a session URL that takes its time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZero;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CALLERS_KEY: &str = "faults-only-5Jd8sUa1Gf7Ce2Vo9Xi4";
const PLATFORM_SECRET: &str = "faults-only-8Hk2vQx7Zr4Tn9Lw3Yp6";
/// Users who ask in turn.
const USERS: usize = 5000;

/// A running signet; it ends with its owner.
pub(crate) struct Signet {
    child: Child,
    pub(crate) address: SocketAddr,
    /// How many descriptors it has when nobody is connected.
    pub(crate) at_rest: usize,
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) kibibytes: u64,
    pub(crate) descriptors: usize,
}

impl Signet {
    /// Starts it without limits, but for these settings, such as `("SERVER__MAX_IN_FLIGHT", "64")`.
    pub(crate) fn start(settings: &[(&str, String)]) -> Self {
        let program = std::env::var("SIGNET_BIN").expect("SIGNET_BIN names the program");
        let on_a_core = |program: &str| {
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", "0", program]);
            command
        };
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let can_pin = cores > 1 && on_a_core("true").status().is_ok_and(|it| it.success());
        let mut command = if can_pin {
            on_a_core(&program)
        } else {
            Command::new(program)
        };
        command
            .arg("serve")
            .env("SIGNET_CLIENT_ID", "ten_acme")
            .env("SIGNET_CLIENT_SECRET", PLATFORM_SECRET)
            .env("SIGNET_API_KEY", CALLERS_KEY)
            .env("SIGNET__SERVER__LISTEN", "127.0.0.1:0")
            .env("SIGNET__SERVER__REQUIRE_HTTPS", "false")
            .env("SIGNET__ADMIN__LISTEN", "127.0.0.1:0");
        for limit in ["PER_IP", "PER_CALLER", "PER_USER"] {
            for (part, value) in [("RATE", "1000000"), ("BURST", "1000000"), ("PER", "1s")] {
                command.env(format!("SIGNET__LIMITS__{limit}__{part}"), value);
            }
        }
        for (name, value) in settings {
            command.env(format!("SIGNET__{name}"), value);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        // As a collector would, and much like one that does nothing else.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let address = line.split_once(r#""address":""#);
        let (_, rest) = address.unwrap_or_else(|| panic!("{line}"));
        let address = rest.split('"').next().unwrap().parse().unwrap();
        let mut signet = Self {
            child,
            address,
            at_rest: 0,
        };
        signet.at_rest = signet.holds().descriptors;
        signet
    }

    /// What backends ask for, for one user after another.
    pub(crate) fn tokens(&self) -> Vec<Vec<u8>> {
        let one = |user| {
            let body = format!(
                r#"{{"userId":"usr_{user:06}","userEmail":"ada@example.com","userRoles":["user"],"plan":"pro"}}"#
            );
            let length = body.len();
            format!(
                "POST /token HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {CALLERS_KEY}\r\n\
                 Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
                self.address
            )
            .into_bytes()
        };
        (0..USERS).map(one).collect()
    }

    /// What a browser asks for.
    pub(crate) fn refreshes(&self) -> Vec<Vec<u8>> {
        let request = format!(
            "GET /apps/default/token HTTP/1.1\r\nHost: {}\r\nCookie: session=usr_1\r\n\r\n",
            self.address
        );
        vec![request.into_bytes()]
    }

    pub(crate) fn holds(&self) -> Held {
        let process = format!("/proc/{}", self.child.id());
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
        Held {
            kibibytes: kibibytes.parse().unwrap(),
            descriptors: std::fs::read_dir(format!("{process}/fd")).unwrap().count(),
        }
    }

    /// What it holds once it has no more than so many descriptors, or after ten seconds.
    pub(crate) fn holds_again(&self, descriptors: usize) -> Held {
        let started = Instant::now();
        loop {
            let held = self.holds();
            if held.descriptors <= descriptors || started.elapsed() > Duration::from_secs(10) {
                return held;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// How long it takes until a request over a connection of its own is answered with 200.
    pub(crate) fn until_it_serves(&self, request: &[u8]) -> Duration {
        let started = Instant::now();
        loop {
            let mut stream = TcpStream::connect(self.address).unwrap();
            stream.write_all(request).unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            if status.ends_with(b"200") {
                return started.elapsed();
            }
            assert!(started.elapsed() < Duration::from_secs(60));
        }
    }
}

impl Drop for Signet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A session URL that takes so long for each answer, for the rest of the process.
pub(crate) fn sessions(takes: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            // It ends with its connection.
            std::thread::spawn(move || answer(stream, takes));
        }
    });
    address
}

fn answer(stream: TcpStream, takes: Duration) -> std::io::Result<()> {
    const SESSION: &str = r#"{"user_id":"usr_1"}"#;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 {
        if line == "\r\n" {
            std::thread::sleep(takes);
            let length = SESSION.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{SESSION}"
            );
            stream.get_mut().write_all(answer.as_bytes())?;
        }
        line.clear();
    }
    Ok(())
}

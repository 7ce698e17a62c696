//! The servers as processes of their own: started on one core, asked for their CPU time and memory.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::client::Load;
use crate::sessions;

const SIGNET: &str = env!("CARGO_BIN_EXE_signet");
const SERVERS_CORE: &str = "0";
const CLIENTS_CORE: &str = "1";
/// Of 32 bytes each, as signet demands; they protect nothing.
const PLATFORM_SECRET: &str = "bench-only-8Hk2vQx7Zr4Tn9Lw3Yp6Mb";
const CALLERS_KEY: &str = "bench-only-5Jd8sUa1Gf7Ce2Vo9Xi4Nq";
/// Users who ask in turn, so that limits per user are looked up and not merely remembered.
const USERS: usize = 512;
/// More than any client can ask for: every limit is counted and none is met.
const PLENTY: &str = "1000000";

/// A server that is stopped when it goes out of scope.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    requests: Vec<Vec<u8>>,
}

impl Server {
    /// The program over plain HTTP, and the time from its start to its first token.
    pub(crate) fn signet() -> Result<(Self, Duration)> {
        let address = free_address()?;
        let mut command = signet_command(address)?;
        command.env("SIGNET__SERVER__REQUIRE_HTTPS", "false");
        sessions::accept_session_jwts(&mut command);
        let (mut server, started) = Self::spawn(command, address)?;
        let elapsed = server.await_first_answer(started)?;
        Ok((server, elapsed))
    }

    /// The program, asking `upstream` for its sessions.
    pub(crate) fn introspecting(upstream: &Self) -> Result<Self> {
        let address = free_address()?;
        let mut command = signet_command(address)?;
        command.env("SIGNET__SERVER__REQUIRE_HTTPS", "false");
        sessions::ask_upstream(&mut command, upstream.address);
        let (mut server, started) = Self::spawn(command, address)?;
        server.await_first_answer(started)?;
        Ok(server)
    }

    /// The requests of browsers, one per user.
    pub(crate) fn refreshes(&self) -> Result<Vec<Vec<u8>>> {
        (0..USERS)
            .map(|user| sessions::refresh(self.address, user))
            .collect()
    }

    /// This program again, as the server that answers a constant.
    pub(crate) fn bare() -> Result<Self> {
        let address = free_address()?;
        let this = std::env::current_exe()?;
        let mut command = on_servers_core(this.to_str().context("a path that isn't text")?);
        command.arg("bare").arg(address.to_string());
        let (mut server, started) = Self::spawn(command, address)?;
        server.await_first_answer(started)?;
        Ok(server)
    }

    /// Starts a server that will listen at `address`, and gives the moment of it.
    pub(crate) fn spawn(mut command: Command, address: SocketAddr) -> Result<(Self, Instant)> {
        let started = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        let requests = (0..USERS).map(|user| request(address, user)).collect();
        let server = Self {
            child,
            address,
            requests,
        };
        Ok((server, started))
    }

    fn await_first_answer(&mut self, started: Instant) -> Result<Duration> {
        while started.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.child.try_wait()? {
                bail!("a server didn't start ({status}); run it by hand to see why");
            }
            // Refused until it listens; asking again at once costs only this core.
            if let Ok(mut load) = Load::new(self.address, 1, &self.requests[..1]) {
                while load.run_until(Instant::now() + Duration::from_micros(100))? == 0 {}
                return Ok(started.elapsed());
            }
        }
        bail!("a server didn't answer within 20 seconds of its start")
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests to send it, one per user.
    pub(crate) fn requests(&self) -> &[Vec<u8>] {
        &self.requests
    }

    /// The time its threads have spent on a core so far, by the scheduler's own count.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // One that ended in between has nothing to say.
            if let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) {
                let first = text.split(' ').next().unwrap_or_default();
                nanoseconds += first
                    .parse::<u64>()
                    .context("schedstat in an unknown form")?;
            }
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// The memory that it has in use.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kibibytes: u64 = status
            .lines()
            .find_map(|line| {
                line.strip_prefix("VmRSS:")?
                    .trim()
                    .strip_suffix(" kB")?
                    .parse()
                    .ok()
            })
            .context("no VmRSS in the process's status")?;
        Ok(kibibytes * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing is lost when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program as a container runs it, with everything on and its log going nowhere; how HTTPS gets there is
/// still to be said.
pub(crate) fn signet_command(address: SocketAddr) -> Result<Command> {
    let mut command = on_servers_core(SIGNET);
    command
        .arg("serve")
        .env("SIGNET_CLIENT_ID", "ten_acme")
        .env("SIGNET_CLIENT_SECRET", PLATFORM_SECRET)
        .env("SIGNET_API_KEY", CALLERS_KEY)
        .env("SIGNET__SERVER__LISTEN", address.to_string())
        .env("SIGNET__ADMIN__LISTEN", free_address()?.to_string());
    for limit in ["PER_IP", "PER_CALLER", "PER_USER"] {
        for (part, value) in [("RATE", PLENTY), ("BURST", PLENTY), ("PER", "1s")] {
            command.env(format!("SIGNET__LIMITS__{limit}__{part}"), value);
        }
    }
    Ok(command)
}

/// The size of the program's file.
pub(crate) fn program_bytes() -> Result<u64> {
    Ok(fs::metadata(SIGNET)?.len())
}

/// Gives the client a core of its own where there are two, and says how it went.
pub(crate) fn pin_client() -> String {
    let pinned = can_pin()
        && Command::new("taskset")
            .args([
                "--cpu-list",
                "--pid",
                CLIENTS_CORE,
                &std::process::id().to_string(),
            ])
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
    if pinned {
        format!("servers on core {SERVERS_CORE}, client on core {CLIENTS_CORE}")
    } else {
        "NOT PINNED: no second core or no `taskset`; the figures will scatter".to_owned()
    }
}

fn on_servers_core(program: &str) -> Command {
    if !can_pin() {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", SERVERS_CORE, program]);
    command
}

/// Whether both cores exist and `taskset` may use them.
fn can_pin() -> bool {
    let cores = format!("{SERVERS_CORE},{CLIENTS_CORE}");
    Command::new("taskset")
        .args(["--cpu-list", &cores, "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
        && fs::exists(format!("/sys/devices/system/cpu/cpu{CLIENTS_CORE}")).unwrap_or(false)
}

/// What a backend sends for one of its users.
pub(crate) fn request(address: SocketAddr, user: usize) -> Vec<u8> {
    let body = format!(
        r#"{{"userId":"usr_{user:06}","userEmail":"ada@example.com","userRoles":["user","agent"],"plan":"pro"}}"#
    );
    format!(
        "POST /token HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {CALLERS_KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// An address of this machine where nobody listens at this moment.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

//! The servers as processes of their own: started, asked for their CPU time and memory, stopped.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::client::Load;
use crate::door::Door;
use crate::requests::{USERS, request};

/// A server that is stopped when it goes out of scope.
pub(crate) struct Server {
    child: Child,
    door: Door,
    requests: Vec<Vec<u8>>,
}

impl Server {
    /// Starts a server that will be found at `door`; gives it, and the time from its start to its first token.
    pub(crate) fn start(mut command: Command, door: Door) -> Result<(Self, Duration)> {
        let requests = (0..USERS).map(|user| request(door.address, user)).collect();
        let started = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        let mut server = Self {
            child,
            door,
            requests,
        };
        server.await_first_answer(started)?;
        Ok((server, started.elapsed()))
    }

    fn await_first_answer(&mut self, started: Instant) -> Result<()> {
        while started.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.child.try_wait()? {
                bail!("a server didn't start ({status}); run it by hand to see why");
            }
            // Refused until it listens; asking again at once costs only this core.
            if let Ok(mut load) = Load::new(&self.door, 1, &self.requests[..1]) {
                return load.run_once();
            }
        }
        bail!("a server didn't answer within 20 seconds of its start")
    }

    /// Where it listens.
    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    /// The requests to send it, one per user.
    pub(crate) fn requests(&self) -> &[Vec<u8>] {
        &self.requests
    }

    /// The time its threads have spent on a core so far, by the scheduler's own count.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for process in self.processes()? {
            for thread in fs::read_dir(format!("/proc/{process}/task"))? {
                // One that ended in between has nothing to say.
                if let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) {
                    let first = text.split(' ').next().unwrap_or_default();
                    nanoseconds += first
                        .parse::<u64>()
                        .context("schedstat in an unknown form")?;
                }
            }
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// The memory that its processes have in use; what they share is counted for each.
    pub(crate) fn resident_bytes(&self) -> Result<f64> {
        let mut kibibytes = 0.0;
        for process in self.processes()? {
            let status = fs::read_to_string(format!("/proc/{process}/status"))?;
            kibibytes += status
                .lines()
                .find_map(|line| {
                    let text = line.strip_prefix("VmRSS:")?.trim();
                    text.strip_suffix(" kB")?.parse::<f64>().ok()
                })
                .context("no VmRSS in the process's status")?;
        }
        Ok(kibibytes * 1024.0)
    }

    /// Itself, and its workers where it has some.
    fn processes(&self) -> Result<Vec<u32>> {
        let own = self.child.id();
        let mut found = vec![own];
        for entry in fs::read_dir("/proc")? {
            let Some(id) = entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // After the name, which is in parentheses and may hold anything, come the state and the parent.
            let parent = stat
                .rsplit(')')
                .next()
                .and_then(|rest| rest.split(' ').nth(2));
            if parent.is_some_and(|parent| parent.parse() == Ok(own)) {
                found.push(id);
            }
        }
        Ok(found)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let workers = self.processes().unwrap_or_default();
        // Nothing is lost when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for worker in workers.into_iter().filter(|id| *id != self.child.id()) {
            let _ = Command::new("kill")
                .args(["-KILL", &worker.to_string()])
                .status();
        }
    }
}

/// An address of this machine where nobody listens at this moment.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

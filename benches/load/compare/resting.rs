//! A server before its work: how soon it gives its first token, and what it needs while nobody asks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::contestants::Contestant;
use crate::client::Load;
use crate::cores::Cores;
use crate::measure::{CONNECTIONS, median, milliseconds};
use crate::process::Server;
use crate::tls::Certificate;

const STARTS: usize = 3;
/// Enough for a compiler at run time to have seen what matters.
const WARM_UP: Duration = Duration::from_secs(1);
/// Idle connections, opened a hundred at a time as no backlog holds them all.
const HUNDREDS: usize = 10;

/// A server that has been started and looked at.
pub(super) struct Resting {
    pub(super) contestant: Contestant,
    pub(super) server: Server,
    /// From the start of the process to its first token.
    pub(super) start_milliseconds: f64,
    /// After the first token.
    pub(super) idle_bytes: f64,
    /// What one more connection takes that is open and idle after one token.
    pub(super) bytes_per_connection: f64,
}

impl Resting {
    /// Starts the contestant some times, and leaves the last one running.
    pub(super) fn new(contestant: Contestant, certificate: Option<&Certificate>) -> Result<Self> {
        eprintln!("starting {}", contestant.title);
        let (mut starts, mut idle, mut grown) = (Vec::new(), Vec::new(), Vec::new());
        let mut last = None;
        for _ in 0..STARTS {
            // Stops the one before.
            drop(last.take());
            let (server, elapsed) = contestant.start(Cores::One, certificate)?;
            starts.push(milliseconds(elapsed));
            idle.push(server.resident_bytes()?);
            grown.push(growth(&server)? / (HUNDREDS * 100) as f64);
            last = Some(server);
        }
        Ok(Self {
            contestant,
            server: last.context("no start")?,
            start_milliseconds: median(starts),
            idle_bytes: median(idle),
            bytes_per_connection: median(grown),
        })
    }
}

/// How many bytes a warm server grows by as idle connections come.
fn growth(server: &Server) -> Result<f64> {
    Load::new(server.door(), CONNECTIONS, server.requests())?
        .run_until(Instant::now() + WARM_UP)?;
    let before = server.resident_bytes()?;
    let mut idle = Vec::new();
    for _ in 0..HUNDREDS {
        let mut hundred = Load::new(server.door(), 100, server.requests())?;
        hundred.run_once()?;
        idle.push(hundred);
    }
    Ok((server.resident_bytes()? - before).max(0.0))
}

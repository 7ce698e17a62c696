//! A load client that never sleeps: it asks all its sockets in turn, so that no answer costs the server a wake-up.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::door::{Door, Stream};

/// HTTP/1.1 connections with one request under way on each.
pub(crate) struct Load<'a> {
    door: &'a Door,
    connections: Vec<Connection>,
    requests: &'a [Vec<u8>],
    /// Of connections that were made for one request: with a whole handshake, and with a resumed one.
    handshakes: [u64; 2],
}

struct Connection {
    stream: Stream,
    /// Which request is under way, and how much of it has been written.
    request: usize,
    written: usize,
    received: Vec<u8>,
}

impl<'a> Load<'a> {
    /// Opens `count` connections; each goes round `requests`, starting at another one.
    pub(crate) fn new(door: &'a Door, count: usize, requests: &'a [Vec<u8>]) -> Result<Self> {
        let open = |at: usize| {
            Ok(Connection {
                stream: door.connect()?,
                request: at * requests.len() / count,
                written: 0,
                received: Vec::with_capacity(8192),
            })
        };
        let connections = (0..count).map(open).collect::<Result<_>>()?;
        Ok(Self {
            door,
            connections,
            requests,
            handshakes: [0; 2],
        })
    }

    /// Asks over kept-alive connections until `end`, and gives the number of answers that came.
    ///
    /// # Errors
    /// When an answer isn't 200, or a connection breaks: a refusal is cheaper than a token and would be a lie.
    pub(crate) fn run_until(&mut self, end: Instant) -> Result<u64> {
        let mut answers = 0;
        while Instant::now() < end {
            for connection in &mut self.connections {
                answers += u64::from(connection.turn(self.requests)?);
            }
        }
        Ok(answers)
    }

    /// As [`Self::run_until`], with a new connection for each request.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn run_afresh_until(&mut self, end: Instant) -> Result<u64> {
        let mut answers = 0;
        while Instant::now() < end {
            for connection in &mut self.connections {
                if connection.turn(self.requests)? {
                    answers += 1;
                    self.handshakes[usize::from(connection.stream.is_resumed())] += 1;
                    std::mem::replace(&mut connection.stream, self.door.connect()?).close();
                }
            }
        }
        Ok(answers)
    }

    /// How many handshakes of [`Self::run_afresh_until`] were resumed, or weren't.
    pub(crate) fn handshakes(&self, resumed: bool) -> u64 {
        self.handshakes[usize::from(resumed)]
    }

    /// Asks once on each connection, one after the other.
    pub(crate) fn run_once(&mut self) -> Result<()> {
        for connection in &mut self.connections {
            while !connection.turn(self.requests)? {}
        }
        Ok(())
    }

    /// Asks `per_second` times a second, whether answers come or not, and gives the time from the moment when each
    /// request was due to its answer, sorted. One that finds no free connection waits for it, and its time runs.
    ///
    /// # Errors
    /// As [`Self::run_until`].
    pub(crate) fn run_at(&mut self, per_second: f64, lasting: Duration) -> Result<Vec<Duration>> {
        let total = (per_second * lasting.as_secs_f64()) as u32;
        let gap = Duration::from_secs_f64(per_second.recip());
        let begin = Instant::now();
        let (mut sent, mut times) = (0, Vec::with_capacity(total as usize));
        let mut free: VecDeque<usize> = (0..self.connections.len()).collect();
        let mut busy: Vec<(usize, Instant)> = Vec::new();
        while times.len() < total as usize {
            while sent < total && begin + gap * sent <= Instant::now() {
                let Some(at) = free.pop_front() else { break };
                busy.push((at, begin + gap * sent));
                sent += 1;
            }
            let mut place = 0;
            while let Some(&(at, due)) = busy.get(place) {
                if self.connections[at].turn(self.requests)? {
                    times.push(due.elapsed());
                    free.push_back(at);
                    busy.swap_remove(place);
                } else {
                    place += 1;
                }
            }
        }
        times.sort_unstable();
        Ok(times)
    }
}

impl Connection {
    /// Does what can be done without waiting, and says whether that completed an answer.
    fn turn(&mut self, requests: &[Vec<u8>]) -> Result<bool> {
        let rest = &requests[self.request][self.written..];
        if !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("writing a request"),
            }
        }
        let mut chunk = [0; 8192];
        match self.stream.read(&mut chunk) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(read) => self.received.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).context("reading an answer"),
        }
        if !is_complete(&self.received)? {
            return Ok(false);
        }
        self.received.clear();
        self.written = 0;
        self.request = (self.request + 1) % requests.len();
        Ok(true)
    }
}

/// Whether `received` is a whole answer, by its `Content-Length`.
fn is_complete(received: &[u8]) -> Result<bool> {
    let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(false);
    };
    let head = std::str::from_utf8(&received[..end]).context("an answer's head isn't text")?;
    ensure!(
        head.starts_with("HTTP/1.1 200"),
        "an answer wasn't 200: {}",
        String::from_utf8_lossy(received)
    );
    let length: usize = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .context("an answer without Content-Length")?;
    Ok(received.len() >= end + 4 + length)
}

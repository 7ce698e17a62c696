//! A load client that never sleeps: it asks all its sockets in turn, so that no answer costs the server a wake-up.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

/// Kept-alive HTTP/1.1 connections with one request under way on each.
pub(crate) struct Load<'a> {
    connections: Vec<Connection>,
    requests: &'a [Vec<u8>],
}

struct Connection {
    stream: TcpStream,
    /// Which request is under way, and how much of it has been written.
    request: usize,
    written: usize,
    received: Vec<u8>,
}

impl<'a> Load<'a> {
    /// Opens `count` connections; each goes round `requests`, starting at another one.
    pub(crate) fn new(address: SocketAddr, count: usize, requests: &'a [Vec<u8>]) -> Result<Self> {
        let open = |at: usize| {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(Connection {
                stream,
                request: at * requests.len() / count,
                written: 0,
                received: Vec::with_capacity(8192),
            })
        };
        let connections = (0..count).map(open).collect::<Result<_>>()?;
        Ok(Self {
            connections,
            requests,
        })
    }

    /// Asks until `end`, and gives the number of answers that came.
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

    /// Waits for one answer, on the first connection.
    pub(crate) fn run_once(&mut self) -> Result<()> {
        while !self.connections[0].turn(self.requests)? {}
        Ok(())
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

//! A load client that never sleeps: many connections, each asked in turn, all answers timed and none of them an error.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// An answer's status, and from its request's first byte to its last one.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) took: Duration,
}

/// Kept-alive connections.
pub(crate) struct Client<'a> {
    address: SocketAddr,
    connections: Vec<Connection>,
    requests: &'a [Vec<u8>],
    asked: usize,
    /// After so many requests a connection makes place for another one.
    per_connection: usize,
}

struct Connection {
    stream: TcpStream,
    /// Which request is under way, how much of it has been written, and since when.
    under_way: Option<(usize, usize, Instant)>,
    received: Vec<u8>,
    asked: usize,
    /// It was told that the last answer was the last one.
    is_over: bool,
}

impl<'a> Client<'a> {
    /// Opens `count` connections, which go round `requests` together.
    pub(crate) fn new(address: SocketAddr, count: usize, requests: &'a [Vec<u8>]) -> Self {
        Self {
            address,
            connections: (0..count).map(|_| Connection::open(address)).collect(),
            requests,
            asked: 0,
            per_connection: usize::MAX,
        }
    }

    pub(crate) fn renewing_after(mut self, requests: usize) -> Self {
        self.per_connection = requests;
        self
    }

    /// Asks for so long, `per_second` times where there is somebody free to, and at once without it; then waits for
    /// what is under way. Gives every answer.
    pub(crate) fn ask_for(&mut self, duration: Duration, per_second: Option<f64>) -> Vec<Answer> {
        let (started, mut begun) = (Instant::now(), 0.0);
        let mut answers = Vec::new();
        loop {
            let elapsed = started.elapsed();
            let due = match per_second {
                _ if elapsed >= duration => 0.0,
                Some(rate) => elapsed.as_secs_f64() * rate,
                None => f64::INFINITY,
            };
            begun += self.turn(due - begun, &mut answers) as f64;
            if elapsed >= duration && self.is_at_rest() {
                return answers;
            }
        }
    }

    /// Asks so often, as fast as answers come. Gives every answer.
    pub(crate) fn ask_times(&mut self, times: usize) -> Vec<Answer> {
        let mut answers = Vec::new();
        let mut left = times;
        while left > 0 || !self.is_at_rest() {
            left -= self.turn(left as f64, &mut answers);
        }
        answers
    }

    fn is_at_rest(&self) -> bool {
        self.connections.iter().all(|it| it.under_way.is_none())
    }

    /// Does what can be done without waiting; begins at most `due` requests, and says how many.
    fn turn(&mut self, due: f64, answers: &mut Vec<Answer>) -> usize {
        let mut begun = 0;
        for connection in &mut self.connections {
            if connection.under_way.is_none() && (begun as f64) + 1.0 <= due {
                if connection.is_over || connection.asked >= self.per_connection {
                    *connection = Connection::open(self.address);
                }
                connection.asked += 1;
                connection.under_way = Some((self.asked % self.requests.len(), 0, Instant::now()));
                self.asked += 1;
                begun += 1;
            }
            answers.extend(connection.go_on(self.requests));
        }
        begun
    }
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("signet listens");
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self {
            stream,
            under_way: None,
            received: Vec::with_capacity(4096),
            asked: 0,
            is_over: false,
        }
    }

    fn go_on(&mut self, requests: &[Vec<u8>]) -> Option<Answer> {
        let (request, written, since) = self.under_way.as_mut()?;
        let rest = &requests[*request][*written..];
        if !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(length) => *written += length,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
        }
        let since = *since;
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => panic!("signet cut a request"),
            Ok(length) => self.received.extend_from_slice(&chunk[..length]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                return None;
            }
        }
        let (status, last) = whole(&self.received)?;
        let took = since.elapsed();
        self.received.clear();
        self.under_way = None;
        self.is_over = last;
        Some(Answer { status, took })
    }
}

/// The status of what was received, if it is a whole answer, and whether it is the connection's last. It must be one
/// that an honest client may get.
fn whole(received: &[u8]) -> Option<(u16, bool)> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&received[..end]).unwrap();
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(it, value)| it.eq_ignore_ascii_case(name).then_some(value))
    };
    let length: usize = header("content-length").unwrap().parse().unwrap();
    if received.len() < end + 4 + length {
        return None;
    }
    let status = head[9..12].parse().unwrap();
    match status {
        200 => {}
        429 | 503 => assert!(header("retry-after").is_some(), "{head}"),
        _ => panic!("{}", String::from_utf8_lossy(received)),
    }
    Some((status, header("connection") == Some("close")))
}

/// The durations of the answers with one of these statuses, in order.
pub(crate) fn times(answers: &[Answer], statuses: &[u16]) -> Vec<Duration> {
    let fitting = answers.iter().filter(|it| statuses.contains(&it.status));
    let mut times: Vec<_> = fitting.map(|it| it.took).collect();
    times.sort();
    times
}

/// How many there are, and their median and 99th percentile in words.
pub(crate) fn summary(times: &[Duration]) -> String {
    let Some(last) = times.len().checked_sub(1) else {
        return "none".to_owned();
    };
    format!(
        "{}, p50 {:.2?}, p99 {:.2?}",
        times.len(),
        times[last / 2],
        times[last * 99 / 100]
    )
}

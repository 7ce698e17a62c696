//! The sockets: accepting connections, TLS, time-outs, caps and a drain that cuts nothing short.
//!
//! It carries any `tower` service and knows nothing of what that service answers. The time-outs are
//! its own rather than hyper's, because hyper counts the time between two requests as reading a
//! head, arms a timer for every request, and does nothing at all about a reader that stops. There are
//! no `PING`s of ours: the idle time-out and the requests' deadline end a client that has vanished.

mod alertness;
mod connection;
mod door;
mod exchange;
mod gauges;
mod house;
mod many;
mod one_by_one;
mod timekeeper;
mod tls;
mod watch;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};

pub use self::door::serve;
pub use self::gauges::Gauges;
pub use self::tls::{TlsError, TlsIdentity, TlsSlot};

/// How many connections the kernel keeps ready while the door is busy.
const BACKLOG: u32 = 4096;

/// Who sits at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address that the connection came from: a client's, or the nearest proxy's.
    pub address: SocketAddr,
    /// Whether the connection is TLS that ends here.
    pub encrypted: bool,
}

/// How much a connection may take, and for how long.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections held at once; the next ones wait in the kernel's queue.
    pub max_connections: usize,
    /// From the accepted connection to the finished TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request to the end of its head, and from a new connection to its
    /// first request.
    pub header_timeout: Duration,
    /// From a request's first byte to the last byte of its answer, however slowly the client sends
    /// its body or reads the answer.
    pub request_deadline: Duration,
    /// How long a connection may stay between two requests.
    pub idle_timeout: Duration,
    /// After this a connection takes leave at its next request: an HTTP/2 client that answers
    /// `PING` would stay for ever otherwise, on one instance and with an old certificate.
    pub max_age: Duration,
    /// How long requests in flight may go on after the shutdown has begun.
    pub shutdown_grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            request_deadline: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(60),
            max_age: Duration::from_secs(3600),
            shutdown_grace: Duration::from_secs(20),
        }
    }
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Whether all that was in flight was answered within the grace.
    pub finished: bool,
    /// Connections that were cut with a request in flight.
    pub cut: usize,
}

/// A listener on `address`, which may still be held by the closing connections of a predecessor.
///
/// # Errors
///
/// When the address is taken, not this machine's, or not allowed.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

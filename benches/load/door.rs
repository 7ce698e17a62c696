//! Where a client connects to, and what comes of it: a connection that never blocks, plain or over TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use anyhow::Result;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};

/// An address, and how to speak there.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Door {
    /// Where HTTP is spoken in the clear.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// Opens a connection; a TLS handshake is made by its first writes and reads.
    pub(crate) fn connect(&self) -> Result<Stream> {
        let socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(match &self.tls {
            None => Stream::Plain(socket),
            Some(config) => {
                let session = ClientConnection::new(Arc::clone(config), "localhost".try_into()?)?;
                Stream::Tls(Box::new(StreamOwned::new(session, socket)))
            }
        })
    }
}

/// A connection whose reads and writes say `WouldBlock` rather than wait.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// Whether its TLS handshake went on from an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.conn.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Takes leave, as TLS wants it.
    pub(crate) fn close(mut self) {
        if let Self::Tls(stream) = &mut self {
            stream.conn.send_close_notify();
            // What doesn't fit into the socket at once is not worth waiting for.
            let _ = stream.conn.write_tls(&mut stream.sock);
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

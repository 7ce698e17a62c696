//! A connection's bytes, in the clear or through TLS, reported to its watch as they pass.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::watch::Watch;

/// What is read and thrown away of what a client still sends after its last answer.
const MAX_LINGER_BYTES: usize = 256 * 1024;

/// A socket, bare or with TLS on top.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Ready when a read might give something, without a buffer to read into.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// The socket below.
    fn into_tcp(self) -> TcpStream;
}

impl Transport for TcpStream {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        poll_peek(self, cx)
    }

    fn into_tcp(self) -> TcpStream {
        self
    }
}

// Boxed, as it is over a kilobyte and a connection's state would hold it in several places.
impl Transport for Box<TlsStream<TcpStream>> {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (tcp, session) = self.get_mut();
        // The first request may have come in one packet with the end of the handshake.
        match session.process_new_packets() {
            Ok(state) if state.plaintext_bytes_to_read() == 0 => poll_peek(tcp, cx),
            _ => Poll::Ready(()),
        }
    }

    fn into_tcp(self) -> TcpStream {
        self.into_inner().0
    }
}

// The kernel is asked, as the runtime takes a new socket for readable until it was seen not to be.
fn poll_peek(tcp: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
    tcp.poll_peek(cx, &mut ReadBuf::new(&mut [0])).map(drop)
}

/// A transport whose traffic is reported to a watch.
pub(super) struct Wire<T, W> {
    transport: T,
    watch: Arc<W>,
    /// Bytes that a protocol read and handed back.
    returned: Bytes,
    ended: bool,
}

impl<T: Transport, W: Watch> Wire<T, W> {
    pub(super) fn new(transport: T, watch: Arc<W>) -> Self {
        Self {
            transport,
            watch,
            returned: Bytes::new(),
            ended: false,
        }
    }

    /// Puts bytes back that were read too early.
    pub(super) fn give_back(&mut self, bytes: &[u8]) {
        // Copied, as even an empty slice would keep the buffer that it was read into.
        self.returned = Bytes::copy_from_slice(bytes);
    }

    /// Ready when there may be something to read, or the peer has gone.
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.returned.is_empty() {
            self.transport.poll_readable(cx)
        } else {
            Poll::Ready(())
        }
    }

    /// Closes the connection so that the last answer arrives: were the socket just dropped while
    /// the client still sends, the kernel would reset the connection, and the client might lose
    /// what it has not read yet. The caller bounds the time.
    pub(super) async fn close(mut self) {
        if self.transport.shutdown().await.is_err() || self.ended {
            return;
        }
        let tcp = self.transport.into_tcp();
        let mut left = MAX_LINGER_BYTES;
        while left > 0 && tcp.readable().await.is_ok() {
            match discard(&tcp) {
                Ok(0) => return,
                Ok(length) => left = left.saturating_sub(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

// Not async: the buffer would be part of every connection's state.
fn discard(tcp: &TcpStream) -> io::Result<usize> {
    tcp.try_read(&mut [0; 8192])
}

impl<T: Transport, W: Watch> AsyncRead for Wire<T, W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.returned.is_empty() {
            let length = self.returned.len().min(buf.remaining());
            buf.put_slice(&self.returned[..length]);
            self.returned.advance(length);
            self.watch.heard();
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.transport).poll_read(cx, buf));
        if read.is_ok() && buf.filled().len() > before {
            self.watch.heard();
        } else {
            self.ended = true;
        }
        Poll::Ready(read)
    }
}

impl<T: Transport, W: Watch> AsyncWrite for Wire<T, W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write(cx, buf);
        if written.is_pending() {
            self.watch.blocked();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.transport).poll_flush(cx);
        match flushed {
            Poll::Ready(_) => self.watch.flushed(),
            Poll::Pending => self.watch.blocked(),
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write_vectored(cx, bufs);
        if written.is_pending() {
            self.watch.blocked();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }
}

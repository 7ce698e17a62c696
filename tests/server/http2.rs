//! HTTP/2 frame by frame: its time-outs, its goodbye, and the floods it is known for.

use std::time::Duration;

use signet::server::Settings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::*;
use crate::tls::Certificate;

// Frame types and flags of RFC 9113 section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const ENHANCE_YOUR_CALM: u32 = 11;

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: payload.into(),
        }
    }

    /// A GET's head with the static table's indices and plain literals (RFC 7541).
    fn get(stream: u32, path: &str, flags: u8) -> Self {
        let mut head = vec![0x82, 0x87, 0x01, 9];
        head.extend(b"localhost");
        head.extend([0x04, u8::try_from(path.len()).unwrap()]);
        head.extend(path.as_bytes());
        Self::new(HEADERS, flags | END_HEADERS, stream, head)
    }

    fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// A GOAWAY's last stream and reason.
    fn goodbye(&self) -> (u32, u32) {
        assert_eq!(self.kind, GOAWAY);
        let number = |at: usize| u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap());
        (number(0), number(4))
    }
}

struct Client {
    reader: ReadHalf<TlsStream<TcpStream>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
}

impl Client {
    async fn connect(server: &Server, certificate: &Certificate, settings: &[(u16, u32)]) -> Self {
        let stream = certificate.connect(server, &["h2"]).await.unwrap();
        let (reader, writer) = tokio::io::split(stream);
        let mut client = Self { reader, writer };
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        send(&mut client.writer, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        client.send(&[Frame::new(SETTINGS, 0, 0, settings)]).await;
        client
    }

    async fn send(&mut self, frames: &[Frame]) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        // Whether it arrived shows in the answer.
        let _ = self.writer.write_all(&bytes).await;
        let _ = self.writer.flush().await;
    }

    /// The next frame, if there is one; answers what wants an acknowledgement.
    async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        soon(self.reader.read_exact(&mut head)).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        soon(self.reader.read_exact(&mut payload)).await.ok()?;
        let frame = Frame::new(kind, flags, u32::from_be_bytes(stream), payload);
        if matches!(kind, SETTINGS | PING) && flags & ACK == 0 {
            let echo = match kind {
                PING => frame.payload.clone(),
                _ => Vec::new(),
            };
            self.send(&[Frame::new(kind, ACK, 0, echo)]).await;
        }
        Some(frame)
    }

    async fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection goes on");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Reads to the end of the connection; gives the last goodbye.
    async fn until_closed(&mut self) -> Option<(u32, u32)> {
        let mut goodbye = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                goodbye = Some(frame.goodbye());
            }
        }
        goodbye
    }

    async fn is_answered(&mut self, stream: u32, body: &str) {
        let head = self.until(HEADERS).await;
        assert_eq!((head.stream, head.payload[0]), (stream, 0x88), "no 200");
        assert_eq!(self.until(DATA).await.payload, body.as_bytes());
    }
}

async fn start(settings: Settings) -> (Server, Certificate) {
    let certificate = Certificate::new();
    let (server, _) = Server::tls(settings, certificate.identity());
    (server, certificate)
}

#[tokio::test]
async fn requests_on_one_connection_do_not_wait_for_each_other() {
    let (server, certificate) = start(patient()).await;
    let mut client = Client::connect(&server, &certificate, &[]).await;
    client
        .send(&[
            Frame::get(1, "/held", END_STREAM),
            Frame::get(3, "/", END_STREAM),
        ])
        .await;
    client.is_answered(3, "hello").await;
    server.release.add_permits(1);
    client.is_answered(1, "held").await;
}

#[tokio::test]
async fn a_panic_ends_its_stream_and_no_other() {
    let (server, certificate) = start(patient()).await;
    let mut client = Client::connect(&server, &certificate, &[]).await;
    client.send(&[Frame::get(1, "/panic", END_STREAM)]).await;
    assert_eq!(client.until(RST_STREAM).await.stream, 1);
    client.send(&[Frame::get(3, "/", END_STREAM)]).await;
    client.is_answered(3, "hello").await;
}

#[tokio::test]
async fn the_drain_says_goaway_and_answers_what_is_in_flight() {
    let (server, certificate) = start(patient()).await;
    let mut client = Client::connect(&server, &certificate, &[]).await;
    client.send(&[Frame::get(1, "/held", END_STREAM)]).await;
    server.until_held(1).await;
    server.shutdown.cancel();
    // First a warning that promises all streams, then the last one that was begun.
    assert_eq!(client.until(GOAWAY).await.goodbye(), (0x7fff_ffff, 0));
    assert_eq!(client.until(GOAWAY).await.goodbye(), (1, 0));
    server.release.add_permits(1);
    client.is_answered(1, "held").await;
    assert_eq!(client.until_closed().await, None);
    assert!(server.drained().await.finished);
}

#[tokio::test]
async fn the_drain_cuts_what_exceeds_the_grace() {
    let (server, certificate) = start(Settings {
        shutdown_grace: SHORT,
        ..patient()
    })
    .await;
    let mut client = Client::connect(&server, &certificate, &[]).await;
    client.send(&[Frame::get(1, "/held", END_STREAM)]).await;
    server.until_held(1).await;
    server.shutdown.cancel();
    client.until_closed().await;
    let drained = server.drained().await;
    assert_eq!((drained.finished, drained.cut), (false, 1));
}

#[tokio::test]
async fn an_idle_connection_ends_though_it_answers_pings() {
    let (server, certificate) = start(Settings {
        idle_timeout: SHORT,
        ..patient()
    })
    .await;
    let mut client = Client::connect(&server, &certificate, &[]).await;
    client.send(&[Frame::get(1, "/", END_STREAM)]).await;
    client.is_answered(1, "hello").await;
    assert_eq!(client.until_closed().await, Some((1, 0)));
}

#[tokio::test]
async fn a_connection_that_never_asks_ends_at_the_header_time_out() {
    let (server, certificate) = start(Settings {
        header_timeout: SHORT,
        ..patient()
    })
    .await;
    let mut client = Client::connect(&server, &certificate, &[]).await;
    assert_eq!(client.until_closed().await, Some((0, 0)));
    let mut mute = certificate.connect(&server, &["h2"]).await.unwrap();
    until_closed(&mut mute).await;
}

#[tokio::test]
async fn a_connection_past_its_age_takes_leave_after_its_last_answer() {
    let (server, certificate) = start(Settings {
        max_age: SHORT,
        ..patient()
    })
    .await;
    let mut client = Client::connect(&server, &certificate, &[]).await;
    client.send(&[Frame::get(1, "/held", END_STREAM)]).await;
    assert_eq!(client.until(GOAWAY).await.goodbye(), (0x7fff_ffff, 0));
    server.release.add_permits(1);
    client.is_answered(1, "held").await;
    assert_eq!(client.until_closed().await, Some((1, 0)));
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_at_the_requests_deadline_others_are_answered_first() {
    let (server, certificate) = start(Settings {
        request_deadline: 2 * SHORT,
        ..patient()
    })
    .await;
    let mut client = Client::connect(&server, &certificate, &[]).await;
    client.send(&[Frame::get(1, "/body", 0)]).await;
    tokio::time::sleep(SHORT).await;
    client.send(&[Frame::get(3, "/held", END_STREAM)]).await;
    // The first is overdue; the second is not, and has its own time.
    client.until(GOAWAY).await;
    server.release.add_permits(1);
    client.is_answered(3, "held").await;
    client.until_closed().await;
    assert_eq!(server.gauges.request_timeouts(), 1);
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends_at_the_requests_deadline() {
    let settings = Settings {
        request_deadline: SHORT,
        ..patient()
    };
    let (server, certificate) = start(settings).await;
    // Once for want of a window, and once with windows as wide as the socket is full.
    for window in [0, 0x7fff_ffff] {
        let mut client = Client::connect(&server, &certificate, &[(4, window)]).await;
        let widen = Frame::new(WINDOW_UPDATE, 0, 0, 0x7000_0000_u32.to_be_bytes());
        client
            .send(&[widen, Frame::get(1, "/big", END_STREAM)])
            .await;
        soon(async {
            while server.gauges.open() > 0 || server.gauges.accepted() == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
    assert_eq!(server.gauges.accepted(), 2);
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let (server, certificate) = start(patient()).await;
    let mut client = Client::connect(&server, &certificate, &[]).await;
    let flood: Vec<Frame> = (0..5000)
        .flat_map(|number| {
            let stream = 2 * number + 1;
            let reset = Frame::new(RST_STREAM, 0, stream, 8_u32.to_be_bytes());
            [Frame::get(stream, "/held", END_STREAM), reset]
        })
        .collect();
    client.send(&flood).await;
    let (_, reason) = client.until_closed().await.unwrap();
    assert_eq!(reason, ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn a_head_without_end_ends_the_connection() {
    let (server, certificate) = start(patient()).await;
    let mut client = Client::connect(&server, &certificate, &[]).await;
    let mut head = Frame::get(1, "/", END_STREAM);
    head.flags &= !END_HEADERS;
    let mut flood = vec![head];
    // A literal field, never indexed: `x: yyyy...`
    let mut field = vec![0x00, 1, b'x', 100];
    field.extend([b'y'; 100]);
    flood.extend((0..5000).map(|_| Frame::new(CONTINUATION, 0, 1, field.clone())));
    client.send(&flood).await;
    let (_, reason) = client.until_closed().await.unwrap();
    assert_eq!(reason, ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn empty_data_frames_end_the_connection() {
    let (server, certificate) = start(patient()).await;
    let mut client = Client::connect(&server, &certificate, &[]).await;
    let mut flood = vec![Frame::get(1, "/held", 0)];
    flood.extend((0..5000).map(|_| Frame::new(DATA, 0, 1, [])));
    client.send(&flood).await;
    let (_, reason) = client.until_closed().await.unwrap();
    assert_eq!(reason, ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused_and_the_allowed_ones_answered() {
    let (server, certificate) = start(patient()).await;
    let mut client = Client::connect(&server, &certificate, &[]).await;
    let streams: Vec<Frame> = (0..101)
        .map(|number| Frame::get(2 * number + 1, "/held", END_STREAM))
        .collect();
    client.send(&streams).await;
    assert_eq!(client.until(RST_STREAM).await.stream, 201);
    server.until_held(100).await;
    server.release.add_permits(100);
    for _ in 0..100 {
        client.until(HEADERS).await;
    }
}

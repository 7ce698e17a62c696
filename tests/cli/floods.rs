//! The floods that HTTP/2 is known for, by the hundred: the process's memory stays where it was.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::running::{Folder, PATIENCE, SHOP_KEY, Serving, UNLIMITED};

// Frame types and flags of RFC 9113 section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Frames of one flood.
const FRAMES: u32 = 5000;
const WARM_UP: usize = 20;
const CONNECTIONS: usize = 100;
/// Each flood sends at least 45 KB: all of them kept would be far more.
const MOST_GROWTH: u64 = 12 << 20;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The head of a request for a token that a caller may make: the static table's indices and plain literals (RFC 7541).
fn head() -> Vec<u8> {
    // POST and https.
    let mut head = vec![0x83, 0x87];
    let mut literal = |index: &[u8], value: &str| {
        head.extend(index);
        head.push(u8::try_from(value.len()).unwrap());
        head.extend(value.as_bytes());
    };
    // Without indexing: the path, the authority, the key, the type.
    literal(&[0x04], "/token");
    literal(&[0x01], "localhost");
    literal(&[0x0f, 23 - 15], &format!("Bearer {SHOP_KEY}"));
    literal(&[0x0f, 31 - 15], "application/json");
    head
}

fn rapid_reset() -> Vec<u8> {
    let one = |number| {
        let stream = 2 * number + 1;
        let cancelled = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        [frame(HEADERS, END_HEADERS, stream, &head()), cancelled].concat()
    };
    (0..FRAMES).flat_map(one).collect()
}

fn continuations() -> Vec<u8> {
    // A literal field, never indexed: `x: yyyy...`
    let field = [&[0x00, 1, b'x', 100], &[b'y'; 100][..]].concat();
    let more = (0..FRAMES).flat_map(|_| frame(CONTINUATION, 0, 1, &field));
    [frame(HEADERS, END_STREAM, 1, &head()), more.collect()].concat()
}

fn empty_data() -> Vec<u8> {
    let more = (0..FRAMES).flat_map(|_| frame(DATA, 0, 1, &[]));
    [frame(HEADERS, END_HEADERS, 1, &head()), more.collect()].concat()
}

/// Sends a flood over a connection of its own, and waits until the server has had enough.
fn flood(serving: &Serving, client: &Arc<ClientConfig>, frames: &[u8]) {
    let stream = TcpStream::connect(serving.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(client.clone(), name).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    let opening = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &frame(SETTINGS, 0, 0, &[])[..],
    ]
    .concat();
    stream.write_all(&opening).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
    // It may have had enough before all is sent.
    let sent = stream.write_all(frames).and_then(|()| stream.flush());
    let mut rest = Vec::new();
    let heard = stream.read_to_end(&mut rest);
    for outcome in [sent, heard.map(drop)] {
        let waited = outcome.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!waited, "the connection goes on");
    }
}

#[test]
fn rapid_resets_endless_heads_and_empty_data_leave_the_memory_as_it_was() {
    let (folder, client) = Folder::small_over_tls();
    let serving = folder.serve_with(&UNLIMITED);
    let floods = [rapid_reset(), continuations(), empty_data()];
    let round = |times| {
        for frames in &floods {
            for _ in 0..times {
                flood(&serving, &client, frames);
            }
        }
    };
    round(WARM_UP);
    let before = serving.resident();
    round(CONNECTIONS);
    let after = serving.resident();
    assert!(
        after < before + MOST_GROWTH,
        "{} KiB before, {} KiB after",
        before / 1024,
        after / 1024
    );
    assert!(serving.ask_admin("/livez").starts_with("HTTP/1.1 200 "));
}

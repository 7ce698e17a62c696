//! Requests that two servers might read differently, over a raw socket: what hides in one is never answered.
//!
//! Each form has a request for `/healthz` where one of its readings ends.

use std::net::Shutdown;

use crate::running::{Connection, Folder, SHOP_KEY, UNLIMITED};

const BODY: &str = r#"{"userId":"usr_1"}"#;
const CHUNKED: &str = "12\r\n{\"userId\":\"usr_1\"}\r\n0\r\n\r\n";
const HIDDEN: &str = "GET /healthz HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// A request for a token by this line, with these further header lines, each with its end, and what follows the head.
fn request(line: &str, headers: &str, rest: &str) -> String {
    format!(
        "{line}\r\nHost: a.example\r\nAuthorization: Bearer {SHOP_KEY}\r\nContent-Type: application/json\r\n\
         {headers}\r\n{rest}{HIDDEN}"
    )
}

fn token(headers: &str, rest: &str) -> String {
    request("POST /token HTTP/1.1", headers, rest)
}

/// The statuses of all answers until the server closes, and the last one's text.
fn answers(mut connection: Connection, request: &str) -> (Vec<String>, String) {
    // It may be refused before it was all sent.
    connection.try_send(request);
    let text = connection.until_closed();
    let statuses = text.split("HTTP/1.1 ").skip(1);
    let statuses = statuses.map(|it| it[..3].to_owned()).collect();
    (statuses, text)
}

#[test]
fn what_cannot_be_read_in_one_way_only_is_refused_and_the_connection_closed() {
    let serving = Folder::small().serve_with(&UNLIMITED);
    let both = (HIDDEN.len() + BODY.len()).to_string();
    let length = |value: &str| token(&format!("Content-Length: {value}\r\n"), BODY);
    let two = |one: &str, other: &str| {
        token(
            &format!("Content-Length: {one}\r\nContent-Length: {other}\r\n"),
            BODY,
        )
    };
    let coding = |line: &str| token(&format!("{line}\r\n"), CHUNKED);
    let chunk = |chunks: &str| token("Transfer-Encoding: chunked\r\n", chunks);
    let old = |headers: &str| request("POST /token HTTP/1.0", headers, CHUNKED);
    let forms = [
        ("two lengths", two("18", &both)),
        ("two lengths, the longer one first", two(&both, "18")),
        ("a list of lengths", length(&format!("18, {both}"))),
        ("a length with a plus", length("+18")),
        ("a length with a minus", length("-18")),
        ("a hexadecimal length", length("0x12")),
        ("a length with a fraction", length("18.0")),
        ("a length in two words", length("1 8")),
        ("a length of nothing", length("")),
        ("a length over 64 bits", length("18446744073709551634")),
        (
            "a space before a length's colon",
            token("Content-Length : 18\r\n", BODY),
        ),
        (
            "a space before a coding's colon",
            coding("Transfer-Encoding : chunked"),
        ),
        (
            "a tab before a coding's colon",
            coding("Transfer-Encoding\t: chunked"),
        ),
        ("an unknown coding", coding("Transfer-Encoding: xchunked")),
        (
            "an unknown coding and a length",
            token(
                "Transfer-Encoding: xchunked\r\nContent-Length: 18\r\n",
                BODY,
            ),
        ),
        (
            "chunked before another coding",
            coding("Transfer-Encoding: chunked, identity"),
        ),
        (
            "chunked after another coding",
            coding("Transfer-Encoding: gzip, chunked"),
        ),
        (
            "chunked after no coding",
            coding("Transfer-Encoding: identity, chunked"),
        ),
        (
            "chunked, and another line",
            coding("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ),
        (
            "chunked twice",
            coding("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ),
        (
            "chunked after a vertical tab",
            coding("Transfer-Encoding: \u{b}chunked"),
        ),
        (
            "chunked in quotes",
            coding("Transfer-Encoding: \"chunked\""),
        ),
        (
            "identity",
            token(
                "Transfer-Encoding: identity\r\nContent-Length: 18\r\n",
                BODY,
            ),
        ),
        ("a folded coding", coding("Transfer-Encoding:\r\n chunked")),
        (
            "a folded header",
            token("X-A: b\r\n\tc\r\nContent-Length: 18\r\n", BODY),
        ),
        (
            "a header behind a space",
            coding(" Transfer-Encoding: chunked"),
        ),
        (
            "a bare CR",
            token(
                "X-A: b\rTransfer-Encoding: chunked\r\nContent-Length: 18\r\n",
                BODY,
            ),
        ),
        (
            "NUL in a value",
            token("X-A: b\0c\r\nContent-Length: 18\r\n", BODY),
        ),
        (
            "NUL in a name",
            token("X\0A: b\r\nContent-Length: 18\r\n", BODY),
        ),
        (
            "a chunk's size over 64 bits",
            chunk("10000000000000012\r\n{}\r\n0\r\n\r\n"),
        ),
        (
            "a chunk's size of no digits",
            chunk("xyz\r\n{}\r\n0\r\n\r\n"),
        ),
        ("a chunk's size with 0x", chunk("0x2\r\n{}\r\n0\r\n\r\n")),
        (
            "a chunk's size with a minus",
            chunk("-2\r\n{}\r\n0\r\n\r\n"),
        ),
        ("a chunk's size with a plus", chunk("+2\r\n{}\r\n0\r\n\r\n")),
        (
            "a chunk's size behind a space",
            chunk(" 2\r\n{}\r\n0\r\n\r\n"),
        ),
        (
            "a chunk's size that ends in LF",
            chunk("2\n{}\r\n0\r\n\r\n"),
        ),
        ("a chunk that ends in LF", chunk("2\r\n{}\n0\r\n\r\n")),
        (
            "a chunk that is longer than its size",
            chunk("2\r\n{}XX0\r\n\r\n"),
        ),
        (
            "an extension with LF in it",
            chunk("2;a\nb\r\n{}\r\n0\r\n\r\n"),
        ),
        (
            "extensions without end",
            chunk(&format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "a".repeat(20_000))),
        ),
        ("a last chunk that isn't", chunk("2\r\n{}\r\n0\r\nXX")),
        ("HTTP/1.0 in chunks", old("Transfer-Encoding: chunked\r\n")),
        (
            "HTTP/1.0 in chunks, kept alive",
            old("Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n"),
        ),
        (
            "HTTP/1.0 with both",
            old("Connection: keep-alive\r\nContent-Length: 18\r\nTransfer-Encoding: chunked\r\n"),
        ),
        (
            "an unknown version",
            request("POST /token HTTP/1.2", "Content-Length: 18\r\n", BODY),
        ),
        (
            "HTTP/2 in so many words",
            request("POST /token HTTP/2.0", "Content-Length: 18\r\n", BODY),
        ),
        (
            "a space in the target",
            request("POST /token x HTTP/1.1", "Content-Length: 18\r\n", BODY),
        ),
    ];
    for (name, form) in forms {
        let (statuses, text) = answers(serving.connect(), &form);
        assert_eq!(statuses, ["400"], "{name}: {text}");
    }
    assert!(serving.issue(SHOP_KEY).starts_with("HTTP/1.1 200 "));
}

#[test]
fn of_a_length_beside_chunks_the_chunks_count_and_the_connection_ends_with_them() {
    // RFC 9112 section 6.3: such a request may be answered, and then nothing that follows it.
    let serving = Folder::small().serve_with(&UNLIMITED);
    for length in [4, CHUNKED.len(), CHUNKED.len() + HIDDEN.len()] {
        for headers in [
            format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
            format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
            // What a proxy lets through that takes LF for a letter.
            format!("Content-Length: {length}\r\nX-A: b\nTransfer-Encoding: chunked\r\n"),
        ] {
            let (statuses, text) = answers(serving.connect(), &token(&headers, CHUNKED));
            assert_eq!(statuses, ["200"], "{headers}: {text}");
            assert!(text.contains("\"token\":"), "{headers}: {text}");
        }
    }
}

#[test]
fn what_stands_in_a_body_is_never_answered_be_the_body_read_or_not() {
    let serving = Folder::small().serve_with(&UNLIMITED);
    let hidden = HIDDEN.len();
    let wrong_key = |headers: &str, body: &str| {
        format!(
            "POST /token HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer wrong-key\r\n{headers}\r\n{body}"
        )
    };
    let forms = [
        (
            "a body that nobody wants",
            "404",
            format!(
                "GET /nowhere HTTP/1.1\r\nHost: a.example\r\nContent-Length: {hidden}\r\n\r\n{HIDDEN}"
            ),
        ),
        (
            "a stranger's body",
            "401",
            wrong_key(&format!("Content-Length: {hidden}\r\n"), HIDDEN),
        ),
        (
            "a stranger's chunks",
            "401",
            wrong_key(
                "Transfer-Encoding: chunked\r\n",
                &format!("{hidden:x}\r\n{HIDDEN}\r\n0\r\n\r\n"),
            ),
        ),
        (
            "a trailer",
            "401",
            wrong_key(
                "Transfer-Encoding: chunked\r\n",
                &format!("0\r\nHost: b.example\r\nContent-Length: {hidden}\r\n\r\n"),
            ),
        ),
    ];
    let last = "GET /last HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    for (name, status, form) in forms {
        let (statuses, text) = answers(serving.connect(), &format!("{form}{last}"));
        assert_eq!(statuses, [status, "404"], "{name}: {text}");
    }
    // One that would be longer than any memory: all that comes is its body.
    let endless = "ffffffffffffffff\r\n{}\r\n0\r\n\r\n";
    let mut connection = serving.connect();
    connection.try_send(&token("Transfer-Encoding: chunked\r\n", endless));
    connection.shut(Shutdown::Write);
    let text = connection.until_closed();
    assert!(!text.contains("200 OK"), "{text}");
}

#[test]
fn a_target_in_full_counts_more_than_the_host_beside_it() {
    // RFC 9112 section 3.2.2. Only a page's own origin is told by it.
    let serving = Folder::small().serve_with(&UNLIMITED);
    let line = "POST http://b.example/token HTTP/1.1";
    let form = request(line, "Connection: close\r\nContent-Length: 18\r\n", BODY);
    let (statuses, text) = answers(serving.connect(), &form);
    assert_eq!(statuses, ["200"], "{text}");
}

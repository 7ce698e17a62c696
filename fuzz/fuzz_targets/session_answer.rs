//! What a session store answers: a byte for the status, one for the headers, then the body; asked over a real connection.
#![no_main]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header::COOKIE};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

use signet::identity::{Introspect, IntrospectSettings, Pointers, Resolver, SessionRequest};
use signet::upstream::UpstreamClient;
use signet_fuzz::{NOW, assert_within_bounds};

const STATUSES: [&str; 8] = [
    "200 OK",
    "200",
    "401 Unauthorized",
    "403 Forbidden",
    "204 No Content",
    "302 Found",
    "404 Not Found",
    "503 Service Unavailable",
];
const HEADERS: [&str; 6] = [
    "content-type: application/json\r\n",
    "",
    "content-type: application/json; charset=utf-8\r\nretry-after: 99999999999999999999\r\n",
    "content-type: text/html\r\n",
    "content-type: application/json\r\ncontent-encoding: gzip\r\n",
    "content-type: application/json\r\nretry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\nlocation: https://example.com/\r\n",
];

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
});
static NEXT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static RESOLVER: LazyLock<Resolver> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            let head = BufReader::new(&connection).lines().map_while(Result::ok);
            if head.take_while(|line| !line.is_empty()).count() > 0 {
                let answer = NEXT.lock().expect("nobody panics with it").clone();
                // Who hangs up early has its reasons.
                let _ = connection.write_all(&answer);
            }
        }
    });
    let pointer = |text: &str| text.parse().expect("a pointer");
    let settings = IntrospectSettings {
        url: format!("http://{address}/session").parse().expect("a URL"),
        forward_headers: vec![COOKIE],
        timeout: Duration::from_secs(2),
        identity: Pointers {
            user_id: pointer("/user/id"),
            email: Some(pointer("/user/email")),
            roles: Some(pointer("/user/roles")),
            plan: Some(pointer("/user/plan")),
            attributes: [("room".to_owned(), pointer("/room"))].into(),
        },
        max_concurrent: 8,
    };
    let client = UpstreamClient::new(None).expect("the system's certificates");
    Resolver::Introspect(Introspect::new(settings, client).expect("headers in order"))
});

fuzz_target!(|data: &[u8]| {
    let [status, headers, body @ ..] = data else {
        return;
    };
    let status = STATUSES[usize::from(*status) % STATUSES.len()];
    let headers = HEADERS[usize::from(*headers) % HEADERS.len()];
    let mut answer =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n").into_bytes();
    answer.extend_from_slice(body);
    *NEXT.lock().expect("nobody panics with it") = answer;
    let mut given = HeaderMap::new();
    given.insert(COOKIE, HeaderValue::from_static("session=1"));
    let request = SessionRequest {
        headers: &given,
        peer_is_trusted_proxy: false,
        traceparent: None,
    };
    match RUNTIME.block_on(RESOLVER.resolve(&request, NOW)) {
        Ok(identity) => {
            assert!(status.starts_with("200"));
            assert_within_bounds(&identity);
        }
        Err(unresolved) => {
            // Only the store itself may say that nobody is logged in.
            assert!(!unresolved.is_no_session() || matches!(&status[..3], "200" | "401" | "403"));
        }
    }
});

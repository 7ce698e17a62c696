//! What a request's headers say that is asked of every request, found in one look at each of them.

use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue};
use uuid::Uuid;

use super::body::{MediaType, TokenForm, token_form};
use crate::random;

/// The request's ID, in requests and answers.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What was found.
pub(super) struct KnownHeaders {
    /// Exactly one valid `Host` (RFC 9112 section 3.2), or HTTP/2's `:authority`.
    pub(super) has_one_host: bool,
    /// What the body is.
    pub(super) body: MediaType,
    /// How many bytes the body is said to have; of four gigabytes and more it is the largest number.
    pub(super) body_length: Option<u32>,
    /// The form of an answer that the client would rather have.
    pub(super) token_form: TokenForm,
    /// The client's ID of the request, or a fresh one.
    pub(super) request_id: RequestId,
    /// The trace that the request belongs to.
    pub(super) trace_id: Option<TraceId>,
}

impl KnownHeaders {
    /// To look each of them up would cost several times as much.
    pub(super) fn of(head: &Parts) -> Self {
        let mut host = One::None;
        let mut kind = One::None;
        let (mut length, mut id, mut trace) = (None, None, None);
        let mut accepts_more = false;
        for (name, value) in &head.headers {
            if *name == HOST {
                host.add(value);
            } else if *name == CONTENT_TYPE {
                kind.add(value);
            } else if *name == CONTENT_LENGTH {
                length = length.or(Some(value));
            } else if *name == ACCEPT {
                // What nearly all clients accept is JSON, whatever else they say.
                accepts_more |= !matches!(value.as_bytes(), b"*/*" | b"application/json");
            } else if *name == REQUEST_ID {
                id = id.or(Some(value));
            } else if *name == TRACEPARENT {
                trace = trace.or(Some(value));
            }
        }
        Self {
            has_one_host: has_one_host(host, head.uri.authority()),
            body: match kind {
                One::None => MediaType::None,
                One::Only(value) => MediaType::of(value),
                One::Several => MediaType::Other,
            },
            body_length: length.and_then(body_length),
            token_form: if accepts_more {
                token_form(&head.headers)
            } else {
                TokenForm::Json
            },
            request_id: RequestId::of(id),
            trace_id: trace.and_then(TraceId::of),
        }
    }
}

/// How often a header stands there that must not stand there twice.
#[derive(Clone, Copy)]
enum One<'a> {
    None,
    Only(&'a HeaderValue),
    Several,
}

impl<'a> One<'a> {
    fn add(&mut self, value: &'a HeaderValue) {
        *self = match self {
            Self::None => Self::Only(value),
            Self::Only(_) | Self::Several => Self::Several,
        };
    }
}

/// Where both stand the target's is the one that counts (RFC 9112 section 3.2.2).
fn has_one_host(host: One<'_>, authority: Option<&Authority>) -> bool {
    match (host, authority) {
        (One::Several, _) | (One::None, None) => false,
        (One::Only(host), _) => is_plain_host(host.as_bytes()) || is_host_in_full(host),
        (One::None, Some(authority)) => is_host(authority),
    }
}

/// What nearly every `Host` is, seen at a glance: a name or an IPv4 address, and perhaps a port.
fn is_plain_host(host: &[u8]) -> bool {
    let end = host.iter().position(|byte| *byte == b':');
    let (name, port) = host.split_at(end.unwrap_or(host.len()));
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    !name.is_empty()
        && name.iter().all(plain)
        && port.split_first().is_none_or(|(_, it)| is_port(it))
}

fn is_port(digits: &[u8]) -> bool {
    let number = |sum: u32, digit: &u8| sum * 10 + u32::from(digit - b'0');
    digits.iter().all(u8::is_ascii_digit)
        && digits.len() <= 5
        && digits.iter().fold(0, number) <= u32::from(u16::MAX)
}

fn is_host_in_full(host: &HeaderValue) -> bool {
    let authority = host
        .to_str()
        .ok()
        .and_then(|host| host.parse::<Authority>().ok());
    authority.is_some_and(|authority| is_host(&authority))
}

/// A name or address, and a port or none (RFC 9110 section 7.2); an authority may say more.
fn is_host(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    let port_fits = port.is_some_and(|port| match port.strip_prefix(':') {
        Some(digits) => {
            digits.bytes().all(|digit| digit.is_ascii_digit())
                && (digits.is_empty() || digits.parse::<u16>().is_ok())
        }
        None => port.is_empty(),
    });
    !authority.host().is_empty() && port_fits
}

fn body_length(value: &HeaderValue) -> Option<u32> {
    let length: u64 = value.to_str().ok()?.parse().ok()?;
    Some(u32::try_from(length).unwrap_or(u32::MAX))
}

/// A request's ID: visible ASCII.
pub(super) enum RequestId {
    /// The client's own.
    Given(HeaderValue),
    /// A fresh one.
    Made([u8; 36]),
}

impl RequestId {
    /// The client's own ID where it is one, a fresh one else: what it sent may end up in many logs.
    fn of(given: Option<&HeaderValue>) -> Self {
        let fits = |id: &&HeaderValue| {
            let visible = |byte: &u8| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':')
            };
            (1..=128).contains(&id.len()) && id.as_bytes().iter().all(visible)
        };
        if let Some(id) = given.filter(fits) {
            return Self::Given(id.clone());
        }
        let mut text = [0; 36];
        Uuid::from_bytes(random::id())
            .hyphenated()
            .encode_lower(&mut text);
        Self::Made(text)
    }

    pub(super) fn as_str(&self) -> &str {
        let text = match self {
            Self::Given(id) => id.as_bytes(),
            Self::Made(text) => text,
        };
        std::str::from_utf8(text).expect("a request ID is visible ASCII")
    }

    /// For the answer.
    pub(super) fn to_header(&self) -> HeaderValue {
        match self {
            Self::Given(id) => id.clone(),
            Self::Made(text) => HeaderValue::from_bytes(text).expect("a UUID is visible ASCII"),
        }
    }
}

/// The trace ID of W3C's `traceparent`: 32 lower-case hexadecimal digits, not all zero.
pub(super) struct TraceId([u8; 32]);

impl TraceId {
    pub(super) fn of(traceparent: &HeaderValue) -> Option<Self> {
        let mut parts = traceparent.as_bytes().split(|byte| *byte == b'-');
        let (version, trace) = (parts.next()?, parts.next()?);
        let hex = |text: &[u8]| {
            text.iter()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let fits = version.len() == 2
            && hex(version)
            && version != b"ff"
            && hex(trace)
            && trace.iter().any(|byte| *byte != b'0');
        trace.try_into().ok().filter(|_| fits).map(Self)
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn known(target: &str, given: &[(HeaderName, &str)]) -> KnownHeaders {
        let request = Request::builder().uri(target).body(()).unwrap();
        let (mut head, ()) = request.into_parts();
        for (name, value) in given {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            head.headers.append(name, value);
        }
        KnownHeaders::of(&head)
    }

    #[test]
    fn one_valid_host_is_told_from_none_two_and_nonsense() {
        for host in [
            "tokens.example.com",
            "tokens.example.com:443",
            "127.0.0.1:65535",
            "localhost:",
            "[::1]",
            "[2001:db8::1]:8443",
            "xn--exmple-cua.com",
            "a_b.example.com",
        ] {
            assert!(known("/", &[(HOST, host)]).has_one_host, "{host}");
        }
        for host in [
            "",
            ":80",
            "a:65536",
            "a:123456",
            "a:8o",
            "a b",
            "user@example.com",
            "a/b",
            "a:1:2",
        ] {
            assert!(!known("/", &[(HOST, host)]).has_one_host, "{host}");
        }
        assert!(!known("/", &[]).has_one_host);
        assert!(!known("/", &[(HOST, "a"), (HOST, "a")]).has_one_host);
        assert!(known("https://tokens.example.com/token", &[]).has_one_host);
        assert!(
            !known(
                "https://tokens.example.com/token",
                &[(HOST, "a"), (HOST, "b")]
            )
            .has_one_host
        );
    }

    #[test]
    fn of_a_header_that_may_stand_there_once_two_are_nothing_known() {
        let json = [
            (CONTENT_TYPE, "application/json"),
            (CONTENT_TYPE, "application/json"),
        ];
        assert_eq!(known("/", &[]).body, MediaType::None);
        assert_eq!(known("/", &json[..1]).body, MediaType::Json);
        assert_eq!(known("/", &json).body, MediaType::Other);
    }

    #[test]
    fn every_line_of_accept_counts() {
        for (accepted, form) in [
            (&["*/*"][..], TokenForm::Json),
            (&["application/json", "*/*"], TokenForm::Json),
            (&["*/*", "text/plain"], TokenForm::Text),
            (&["application/jwt"], TokenForm::Jwt),
            (&["text/plain;q=0.5", "application/json"], TokenForm::Json),
        ] {
            let accepted: Vec<_> = accepted.iter().map(|line| (ACCEPT, *line)).collect();
            assert_eq!(known("/", &accepted).token_form, form, "{accepted:?}");
        }
    }

    #[test]
    fn an_id_that_does_not_belong_into_a_log_is_replaced() {
        let id = |given: &[(HeaderName, &str)]| known("/", given).request_id.to_header();
        assert_eq!(id(&[(REQUEST_ID, "req-1.a_b:c")]), "req-1.a_b:c");
        let long = "x".repeat(129);
        for bad in ["", "a b", "a\"b", "a\u{e9}", &long] {
            assert_eq!(id(&[(REQUEST_ID, bad)]).len(), 36, "{bad}");
        }
        // The first is the one that counts.
        assert_eq!(id(&[(REQUEST_ID, "a b"), (REQUEST_ID, "c")]).len(), 36);
        assert_ne!(id(&[]), id(&[]));
    }

    #[test]
    fn a_length_is_a_number_or_unknown() {
        let length = |text| known("/", &[(CONTENT_LENGTH, text)]).body_length;
        assert_eq!(length("17"), Some(17));
        assert_eq!(length("4294967313"), Some(u32::MAX));
        assert_eq!(length("-1"), None);
        assert_eq!(known("/", &[]).body_length, None);
    }
}

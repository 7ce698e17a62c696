//! Reading a request's body and what its headers say of it.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderValue};
use bytes::{Bytes, BytesMut};
use futures_util::poll;
use http_body::Body;
use http_body_util::BodyExt;

use super::error::Failure;

/// A request's body as it comes in, from a socket or from memory.
pub trait Arriving: Body<Data = Bytes> + Send + Unpin + 'static {}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Arriving for B {}

/// Reads a whole body of at most `max` bytes, within `patience`; it may have `announced` how long it is.
///
/// # Errors
/// When it is longer, takes longer, or breaks off.
pub(super) async fn read(
    announced: Option<usize>,
    body: impl Arriving,
    max: usize,
    patience: Duration,
) -> Result<Bytes, Failure> {
    // Told before a byte is read, so that a client that waits for `100 Continue` never sends it.
    if announced.is_some_and(|length| length > max) {
        return Err(Failure::BodyTooLarge(max));
    }
    let mut gathering = pin!(gather(body, max));
    // What came in together with its head, as nearly all bodies do, needs no alarm.
    if let Poll::Ready(gathered) = poll!(gathering.as_mut()) {
        return gathered;
    }
    tokio::time::timeout(patience, gathering)
        .await
        .unwrap_or(Err(Failure::RequestTimeout))
}

/// A body that comes in one piece, as nearly all do, is not copied.
async fn gather(mut body: impl Arriving, max: usize) -> Result<Bytes, Failure> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    // The end is known by the length; to wait for it as well would be a second turn for every request.
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|_| Failure::BadBody("the body broke off".to_owned()))?;
        // What isn't data is trailers, which nobody asked for.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len().max(joined.len()) + data.len() > max {
            return Err(Failure::BodyTooLarge(max));
        }
        if first.is_empty() && joined.is_empty() {
            first = data;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut first));
            joined.extend_from_slice(&data);
        }
    }
    Ok(if joined.is_empty() {
        first
    } else {
        joined.freeze()
    })
}

/// What a body is by its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    /// `application/x-www-form-urlencoded`
    Form,
    /// `application/json`
    Json,
    /// No `Content-Type`.
    None,
    /// Anything else, and anything in another character set than UTF-8.
    Other,
}

impl MediaType {
    /// What a `Content-Type` names.
    pub(super) fn of(value: &HeaderValue) -> Self {
        // What nearly every client sends.
        if value.as_bytes() == b"application/json" {
            return Self::Json;
        }
        let Ok(text) = value.to_str() else {
            return Self::Other;
        };
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let in_utf8 = parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        });
        match kind {
            _ if !in_utf8 => Self::Other,
            _ if kind.eq_ignore_ascii_case("application/json") => Self::Json,
            _ if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") => Self::Form,
            _ => Self::Other,
        }
    }
}

/// The media type of an answer without JSON around the token, where the client would rather have one.
///
/// RFC 9110 section 12.5.1: the higher weight wins, and at the same weight what is named over what a
/// wildcard includes; JSON wins a tie, because clients that list both read both.
pub(super) fn bare_token_wanted(headers: &HeaderMap) -> Option<&'static str> {
    let mut json = (0, 0);
    let mut bare = [("application/jwt", (0, 0)), ("text/plain", (0, 0))];
    for line in headers.get_all(ACCEPT) {
        for range in line.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let weight = parts
                .find_map(|parameter| parameter.strip_prefix("q="))
                .map_or(1000, thousandths);
            let rank = |own: &str| match kind.split_once('/') {
                _ if kind.eq_ignore_ascii_case(own) => (weight, 3),
                Some((class, "*")) if own.starts_with(class) && class != "*" => (weight, 2),
                Some(("*", "*")) => (weight, 1),
                _ => (0, 0),
            };
            json = json.max(rank("application/json"));
            for (kind, best) in &mut bare {
                *best = (*best).max(rank(kind));
            }
        }
    }
    let (kind, best) = bare
        .into_iter()
        .max_by_key(|(_, best)| *best)
        .expect("there are two");
    (best > json && best.0 > 0).then_some(kind)
}

fn thousandths(weight: &str) -> u32 {
    weight
        .parse::<f32>()
        .ok()
        .filter(|weight| (0.0..=1.0).contains(weight))
        .map_or(0, |weight| (weight * 1000.0).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())])
    }

    #[test]
    fn clients_that_can_read_json_get_json() {
        for accept in [
            "*/*",
            "application/json",
            "application/json, text/plain, */*",
            "application/json, text/javascript, */*; q=0.01",
            "application/json, text/plain",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "image/png",
            "text/plain;q=0.5, */*",
            "text/plain;q=0",
        ] {
            assert_eq!(bare_token_wanted(&headers(accept)), None, "{accept}");
        }
        assert_eq!(bare_token_wanted(&HeaderMap::new()), None);
    }

    #[test]
    fn clients_that_name_a_bare_token_get_one() {
        for (accept, kind) in [
            ("application/jwt", "application/jwt"),
            ("text/plain", "text/plain"),
            ("text/plain, */*", "text/plain"),
            ("text/plain, application/json;q=0.5", "text/plain"),
            ("Application/JWT, application/json;q=0.9", "application/jwt"),
            ("text/*", "text/plain"),
        ] {
            assert_eq!(bare_token_wanted(&headers(accept)), Some(kind), "{accept}");
        }
    }

    #[test]
    fn media_types_are_told_apart_by_name_and_character_set() {
        for (value, expected) in [
            ("application/json", MediaType::Json),
            ("Application/JSON; charset=\"UTF-8\"", MediaType::Json),
            ("application/json; charset=utf-16", MediaType::Other),
            (
                "application/x-www-form-urlencoded; charset=UTF-8",
                MediaType::Form,
            ),
            ("application/jsonp", MediaType::Other),
            ("text/plain", MediaType::Other),
            ("", MediaType::Other),
        ] {
            assert_eq!(MediaType::of(&value.parse().unwrap()), expected, "{value}");
        }
    }
}

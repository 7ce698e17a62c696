//! Reading a request's body and what its headers say of it.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use http_body::Body;
use tokio::time::{Sleep, sleep};

use super::error::Failure;

/// A request's body as it comes in, from a socket or from memory.
pub trait Arriving: Body<Data = Bytes> + Send + Unpin + 'static {}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Arriving for B {}

/// Reads a whole body of at most `max` bytes, within `patience`; it may have `announced` how many it has.
///
/// # Errors
/// When it is longer, takes longer, or breaks off.
pub(super) fn read<B: Arriving>(
    announced: Option<u32>,
    body: &mut B,
    max: usize,
    patience: Duration,
) -> Reading<'_, B> {
    Reading {
        // Told before a byte is read, so that a client that waits for `100 Continue` never sends it.
        too_long: announced.is_some_and(|length| length as usize > max),
        body,
        max,
        patience,
        first: Bytes::new(),
        joined: Vec::new(),
        alarm: None,
    }
}

/// See [`read`]. Not an `async fn`, as that would keep room for each step of it.
pub(super) struct Reading<'b, B> {
    too_long: bool,
    body: &'b mut B,
    max: usize,
    patience: Duration,
    // A body that comes in one piece, as nearly all do, is not copied.
    first: Bytes,
    joined: Vec<u8>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<B: Arriving> Future for Reading<'_, B> {
    type Output = Result<Bytes, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(whole) = self.gather(cx) {
            return Poll::Ready(whole);
        }
        // What comes in together with its head, as nearly all bodies do, needs none.
        let patience = self.patience;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(patience)));
        alarm
            .as_mut()
            .poll(cx)
            .map(|()| Err(Failure::RequestTimeout))
    }
}

impl<B: Arriving> Reading<'_, B> {
    /// Takes what there is, and gives the whole at its end.
    fn gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Failure>> {
        let too_long = Poll::Ready(Err(Failure::BodyTooLarge(self.max)));
        if self.too_long {
            return too_long;
        }
        // The end is known by the length; to wait for it as well would be a second turn for every request.
        while !self.body.is_end_stream()
            && let Some(frame) = ready!(Pin::new(&mut *self.body).poll_frame(cx))
        {
            let Ok(frame) = frame else {
                let broken = "the body broke off".to_owned();
                return Poll::Ready(Err(Failure::BadBody(broken)));
            };
            // What isn't data is trailers, which nobody asked for.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if self.first.len().max(self.joined.len()) + data.len() > self.max {
                return too_long;
            }
            if self.first.is_empty() && self.joined.is_empty() {
                self.first = data;
            } else {
                self.joined.extend_from_slice(&mem::take(&mut self.first));
                self.joined.extend_from_slice(&data);
            }
        }
        Poll::Ready(Ok(if self.joined.is_empty() {
            mem::take(&mut self.first)
        } else {
            mem::take(&mut self.joined).into()
        }))
    }
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

/// The form of an answer that carries a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenForm {
    /// The token alone, as `application/jwt`.
    Jwt,
    /// The profile's JSON around it.
    Json,
    /// The token alone, as `text/plain`.
    Text,
}

/// The form of an answer that the client would rather have.
///
/// RFC 9110 section 12.5.1: the higher weight wins, and at the same weight what is named over what a
/// wildcard includes; JSON wins a tie, because clients that list both read both.
pub(super) fn token_form(headers: &HeaderMap) -> TokenForm {
    let mut json = (0, 0);
    let mut bare = [
        ("application/jwt", TokenForm::Jwt, (0, 0)),
        ("text/plain", TokenForm::Text, (0, 0)),
    ];
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
            for (kind, _, best) in &mut bare {
                *best = (*best).max(rank(kind));
            }
        }
    }
    let (_, form, best) = bare
        .into_iter()
        .max_by_key(|(_, _, best)| *best)
        .expect("there are two");
    if best > json && best.0 > 0 {
        form
    } else {
        TokenForm::Json
    }
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
            assert_eq!(token_form(&headers(accept)), TokenForm::Json, "{accept}");
        }
        assert_eq!(token_form(&HeaderMap::new()), TokenForm::Json);
    }

    #[test]
    fn clients_that_name_a_bare_token_get_one() {
        for (accept, form) in [
            ("application/jwt", TokenForm::Jwt),
            ("text/plain", TokenForm::Text),
            ("text/plain, */*", TokenForm::Text),
            ("text/plain, application/json;q=0.5", TokenForm::Text),
            ("Application/JWT, application/json;q=0.9", TokenForm::Jwt),
            ("text/*", TokenForm::Text),
        ] {
            assert_eq!(token_form(&headers(accept)), form, "{accept}");
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

//! A session that the app's own backend knows: its session URL is asked, with the browser's cookie.

use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE,
    EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, RETRY_AFTER, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::mapping::{Pointers, Unmapped};
use super::{DEFAULT_RETRY_AFTER, SessionRequest, Unresolved};
use crate::token::Identity;
use crate::upstream::{Answer, UpstreamClient, UpstreamUrl};

/// Headers that belong to one connection or one message (RFC 9110 sections 7.2, 7.6.1 and 8), or
/// that signet itself writes.
const NEVER_FORWARDED: [HeaderName; 18] = [
    ACCEPT,
    ACCEPT_ENCODING,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    EXPECT,
    HOST,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    RANGE,
    TE,
    TRACEPARENT,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// W3C Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// An upstream that asks for longer than this is asked again sooner.
const MAX_RETRY_AFTER_SECONDS: u64 = 60;

/// What an app says of its session URL.
#[derive(Clone, Debug)]
pub struct IntrospectSettings {
    /// Asked by `GET`, with JSON accepted.
    pub url: UpstreamUrl,
    /// The browser's headers that are handed on, and the only ones.
    pub forward_headers: Vec<HeaderName>,
    /// From asking to having read the whole answer.
    pub timeout: Duration,
    /// Where in the answer the identity stands.
    pub identity: Pointers,
    /// How many questions may be under way at once; beyond them a request fails at once.
    pub max_concurrent: usize,
}

/// A list of headers to forward that would not tell sessions apart, or would break the request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadForwardHeaders {
    /// Every user would be the same to the upstream.
    #[error("no header is forwarded, so every user would look the same: name at least one")]
    Empty,
    /// It belongs to the connection, or signet writes it.
    #[error("the header `{0}` can't be forwarded: leave it out")]
    Forbidden(HeaderName),
}

/// Asks an app's session URL who the user is.
pub struct Introspect {
    settings: IntrospectSettings,
    client: UpstreamClient,
    permits: Semaphore,
}

impl Introspect {
    /// A resolver that asks through `client`.
    ///
    /// # Errors
    /// [`BadForwardHeaders`] when `forward_headers` is empty or holds what can't be forwarded.
    pub fn new(
        settings: IntrospectSettings,
        client: UpstreamClient,
    ) -> Result<Self, BadForwardHeaders> {
        if settings.forward_headers.is_empty() {
            return Err(BadForwardHeaders::Empty);
        }
        if let Some(name) = settings
            .forward_headers
            .iter()
            .find(|name| NEVER_FORWARDED.contains(name))
        {
            return Err(BadForwardHeaders::Forbidden(name.clone()));
        }
        let permits = Semaphore::new(settings.max_concurrent.min(Semaphore::MAX_PERMITS));
        Ok(Self {
            settings,
            client,
            permits,
        })
    }

    pub(super) async fn resolve(
        &self,
        request: &SessionRequest<'_>,
    ) -> Result<Identity<'static>, Unresolved> {
        let mut headers = self.forwarded(request.headers);
        if headers.is_empty() {
            return Err(Unresolved::no_session(
                "the request has none of the headers to forward",
            ));
        }
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(context) = request.traceparent {
            headers.insert(TRACEPARENT, context.clone());
        }

        // To wait here would let one slow upstream gather requests without bound.
        let Ok(_permit) = self.permits.try_acquire() else {
            return Err(Unresolved::unavailable(
                "too many questions to the session URL are under way",
                Duration::from_secs(1),
            ));
        };
        match self
            .client
            .ask(&self.settings.url, headers, self.settings.timeout)
            .await
        {
            Ok(answer) => self.identity(&answer),
            Err(unanswered) => Err(unavailable(unanswered.to_string(), DEFAULT_RETRY_AFTER)),
        }
    }

    fn forwarded(&self, headers: &HeaderMap) -> HeaderMap {
        let mut forwarded = HeaderMap::new();
        for name in &self.settings.forward_headers {
            for value in headers.get_all(name) {
                forwarded.append(name.clone(), value.clone());
            }
        }
        // HTTP/2 lets a browser split its cookies over several headers, which HTTP/1 upstreams don't
        // expect (RFC 9113 section 8.2.3).
        let crumbs: Vec<_> = forwarded
            .get_all(COOKIE)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        if crumbs.len() > 1
            && let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
        {
            forwarded.insert(COOKIE, whole);
        }
        forwarded
            .values_mut()
            .for_each(|value| value.set_sensitive(true));
        forwarded
    }

    fn identity(&self, answer: &Answer) -> Result<Identity<'static>, Unresolved> {
        match answer.status {
            200 => {}
            401 | 403 => {
                return Err(Unresolved::no_session("the session URL knows of none"));
            }
            status => {
                return Err(unavailable(
                    format!("answered {status}"),
                    retry_after(&answer.headers),
                ));
            }
        }
        let Ok(document) = serde_json::from_slice::<Value>(&answer.body) else {
            return Err(unavailable(
                "answered 200 without JSON",
                DEFAULT_RETRY_AFTER,
            ));
        };
        self.settings
            .identity
            .identity(&document)
            .map_err(|unmapped| match unmapped {
                Unmapped::BadMember(bad) => unavailable(
                    format!("gave an identity that can't be used: {bad}"),
                    DEFAULT_RETRY_AFTER,
                ),
                Unmapped::NoUser => Unresolved::no_session("the session URL named no user"),
            })
    }
}

fn unavailable(what: impl AsRef<str>, retry_after: Duration) -> Unresolved {
    Unresolved::unavailable(format!("the session URL {}", what.as_ref()), retry_after)
}

/// Seconds only: nobody sends the other form, a date, for so short a time.
fn retry_after(headers: &HeaderMap) -> Duration {
    let asked = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    asked.map_or(DEFAULT_RETRY_AFTER, |seconds| {
        Duration::from_secs(seconds.clamp(1, MAX_RETRY_AFTER_SECONDS))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstreams_wish_to_be_left_alone_is_bounded() {
        for (wish, seconds) in [
            (None, 2),
            (Some("0"), 1),
            (Some("30"), 30),
            (Some("86400"), 60),
            (Some("soon"), 2),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(wish) = wish {
                headers.insert(RETRY_AFTER, HeaderValue::from_static(wish));
            }
            assert_eq!(
                retry_after(&headers),
                Duration::from_secs(seconds),
                "{wish:?}"
            );
        }
    }
}

//! A session that is itself a JWT, in a cookie or in the bearer header.

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use serde_json::Value;

use super::JwksCache;
use super::jwt_verifier::{JwtRejected, JwtVerifier};
use super::mapping::{Pointers, Unmapped};
use super::{DEFAULT_RETRY_AFTER, SessionRequest, Unresolved};
use crate::clock::Timestamp;
use crate::token::Identity;

/// Where in a request the session JWT stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented {
    /// `Authorization: Bearer <token>` (RFC 6750 section 2.1).
    Bearer,
    /// The cookie of this name.
    Cookie(String),
}

/// Verifies session JWTs and reads the identity from their claims.
pub struct JwtSession {
    presented: Presented,
    verifier: JwtVerifier,
    identity: Pointers,
}

impl JwtSession {
    /// A resolver that finds the token as `presented` says, and the identity in the claims where
    /// the pointers of `identity` say.
    #[must_use]
    pub const fn new(presented: Presented, verifier: JwtVerifier, identity: Pointers) -> Self {
        Self {
            presented,
            verifier,
            identity,
        }
    }

    /// The cache of the keys that it verifies with, where they are fetched by URL.
    #[must_use]
    pub const fn key_cache(&self) -> Option<&JwksCache> {
        self.verifier.key_cache()
    }

    pub(super) async fn resolve(
        &self,
        request: &SessionRequest<'_>,
        now: Timestamp,
    ) -> Result<Identity<'static>, Unresolved> {
        let token = match &self.presented {
            Presented::Bearer => bearer(request.headers)?,
            Presented::Cookie(name) => cookie(request.headers, name)?,
        };
        self.identify(token, now).await
    }

    /// The identity of whoever may show `token`, wherever it came from: an OAuth client's
    /// `subject_token` goes the same way as a browser's session.
    ///
    /// # Errors
    /// [`Unresolved::NoSession`] for a token that doesn't hold or names no user,
    /// [`Unresolved::Unavailable`] when the keys can't be had or the issuer wrote an identity that
    /// no token may carry.
    pub async fn identify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Identity<'static>, Unresolved> {
        let claims = self
            .verifier
            .verify(token, now)
            .await
            .map_err(|rejected| match rejected {
                JwtRejected::KeysUnavailable { retry_after } => {
                    Unresolved::unavailable(rejected.to_string(), retry_after)
                }
                rejected => Unresolved::no_session(rejected.to_string()),
            })?;
        self.identity
            .identity(&Value::Object(claims))
            .map_err(|unmapped| match unmapped {
                Unmapped::BadMember(bad) => Unresolved::unavailable(
                    format!("the session token can't be used: {bad}"),
                    DEFAULT_RETRY_AFTER,
                ),
                Unmapped::NoUser => Unresolved::no_session("the session token names no user"),
            })
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Unresolved> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Unresolved::no_session(
            "there is not exactly one `Authorization` header",
        ));
    };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| token.trim_start_matches(' '))
    });
    token.ok_or_else(|| Unresolved::no_session("the `Authorization` header holds no bearer token"))
}

/// RFC 6265 section 5.4 as a server reads it. A name that comes twice with two values is two
/// sessions: a cookie set for a parent domain, by whoever controls a neighbour of ours, looks so.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Unresolved> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut found = None;
    for pair in pairs {
        let Some(equals) = pair.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let (its_name, value) = (&pair[..equals], &pair[equals + 1..]);
        if its_name.trim_ascii() != name.as_bytes() {
            continue;
        }
        let value = value.trim_ascii();
        if found.is_some_and(|earlier| earlier != value) {
            return Err(Unresolved::no_session(
                "the session cookie came twice, with two values",
            ));
        }
        found = Some(value);
    }
    found
        .and_then(|value| std::str::from_utf8(value).ok())
        .filter(|value| !value.is_empty())
        .ok_or_else(|| Unresolved::no_session("the session cookie is missing or empty"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        let values = values
            .iter()
            .map(|value| (name.clone(), HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        values.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    #[test]
    fn the_cookie_is_found_by_its_exact_name() {
        for lines in [
            &["sid=a.b.c"][..],
            &["theme=dark; sid=a.b.c ;sid2=x"],
            &["theme=dark", "sid=a.b.c"],
            &["sid=a.b.c; sid=a.b.c"],
            &["broken; =x; sid=a.b.c"],
        ] {
            assert_eq!(
                cookie(&headers(COOKIE, lines), "sid"),
                Ok("a.b.c"),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn a_cookie_that_is_missing_empty_or_of_two_values_is_no_session() {
        for lines in [
            &[][..],
            &["sid"],
            &["sid="],
            &["SID=a"],
            &["xsid=a"],
            &["theme=sid=a"],
            &["sid=a; sid=b"],
            &["sid=a", "sid=b"],
            &["sid=; sid=a"],
        ] {
            let headers = headers(COOKIE, lines);
            assert!(
                cookie(&headers, "sid").unwrap_err().is_no_session(),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn the_bearer_scheme_is_known_in_any_case() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c"] {
            assert_eq!(
                bearer(&headers(AUTHORIZATION, &[value])),
                Ok("a.b.c"),
                "{value}"
            );
        }
    }

    #[test]
    fn anything_but_one_bearer_token_is_no_session() {
        for values in [
            &[][..],
            &["Bearer"],
            &["Basic a.b.c"],
            &["a.b.c"],
            &["Bearer a", "Bearer a"],
        ] {
            let headers = headers(AUTHORIZATION, values);
            assert!(bearer(&headers).unwrap_err().is_no_session(), "{values:?}");
        }
    }
}

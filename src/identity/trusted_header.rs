//! A session that a proxy in front of signet has already checked, and describes in headers.

use http::header::{GetAll, HeaderName, HeaderValue};

use super::bounds::{BadMember, check_session_identity};
use super::{DEFAULT_RETRY_AFTER, SessionRequest, Unresolved};
use crate::token::Identity;

/// Which headers the proxy writes. The proxy must remove what a client sends under these names.
#[derive(Clone, Debug)]
pub struct TrustedHeader {
    /// The user's ID.
    pub user_id: HeaderName,
    /// The user's email address.
    pub email: Option<HeaderName>,
    /// The user's roles, separated by commas.
    pub roles: Option<HeaderName>,
}

impl TrustedHeader {
    pub(super) fn resolve(
        &self,
        request: &SessionRequest<'_>,
    ) -> Result<Identity<'static>, Unresolved> {
        if !request.peer_is_trusted_proxy {
            return Err(Unresolved::no_session(
                "the request doesn't come from a trusted proxy",
            ));
        }
        let read =
            |member: &'static str, name: &HeaderName| one(member, request.headers.get_all(name));
        let user_id = read("user_id", &self.user_id)?
            .filter(|id| !id.is_empty())
            .ok_or_else(|| Unresolved::no_session("the proxy named no user"))?;
        let email = self
            .email
            .as_ref()
            .map(|name| read("email", name))
            .transpose()?
            .flatten();
        let roles = self
            .roles
            .as_ref()
            .map(|name| read("roles", name))
            .transpose()?
            .flatten();

        let identity = Identity {
            user_id: user_id.to_owned().into(),
            email: (email.filter(|email| !email.is_empty())).map(|email| email.to_owned().into()),
            roles: roles.map(|list| {
                let items = list.split(',').map(str::trim);
                items
                    .filter(|role| !role.is_empty())
                    .map(|role| role.to_owned().into())
                    .collect()
            }),
            ..Identity::default()
        };
        check_session_identity(&identity).map_err(|bad| unusable(&bad))?;
        Ok(identity)
    }
}

/// Two values would mean that a client's own header came through, and which is the proxy's can't
/// be told.
fn one<'a>(
    member: &'static str,
    values: GetAll<'a, HeaderValue>,
) -> Result<Option<&'a str>, Unresolved> {
    let mut values = values.iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Unresolved::no_session(format!(
            "the header for `{member}` came more than once"
        )));
    }
    let text = std::str::from_utf8(value.as_bytes());
    text.map(Some)
        .map_err(|_| unusable(&BadMember::new(member, "must be UTF-8")))
}

fn unusable(bad: &BadMember) -> Unresolved {
    Unresolved::unavailable(
        format!("the trusted proxy's headers can't be used: {bad}"),
        DEFAULT_RETRY_AFTER,
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn resolve(
        headers: &[(&'static str, &[u8])],
        trusted: bool,
    ) -> Result<Identity<'static>, Unresolved> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let resolver = TrustedHeader {
            user_id: HeaderName::from_static("x-forwarded-user"),
            email: Some(HeaderName::from_static("x-forwarded-email")),
            roles: Some(HeaderName::from_static("x-forwarded-groups")),
        };
        resolver.resolve(&SessionRequest {
            headers: &map,
            peer_is_trusted_proxy: trusted,
            traceparent: None,
        })
    }

    const USER: (&str, &[u8]) = ("x-forwarded-user", b"usr_1");

    #[test]
    fn the_proxys_headers_are_the_identity() {
        let groups: (&str, &[u8]) = ("x-forwarded-groups", b"user, agent,,");
        let identity = resolve(
            &[USER, ("x-forwarded-email", b"a@example.com"), groups],
            true,
        )
        .unwrap();
        assert_eq!(identity.user_id, "usr_1");
        assert_eq!(identity.email.as_deref(), Some("a@example.com"));
        assert_eq!(identity.roles, Some(vec!["user".into(), "agent".into()]));
        assert!(!identity.anonymous);
    }

    #[test]
    fn names_may_hold_more_than_ascii() {
        assert_eq!(
            resolve(&[("x-forwarded-user", "zoë".as_bytes())], true)
                .unwrap()
                .user_id,
            "zoë"
        );
    }

    #[test]
    fn headers_from_anybody_else_are_no_session() {
        assert!(resolve(&[USER], false).unwrap_err().is_no_session());
    }

    #[test]
    fn a_missing_empty_or_doubled_header_is_no_session() {
        for headers in [
            &[][..],
            &[("x-forwarded-user", &b""[..])],
            &[USER, USER],
            &[
                USER,
                ("x-forwarded-email", b"a@example.com"),
                ("x-forwarded-email", b"b@example.com"),
            ],
            &[
                USER,
                ("x-forwarded-groups", b"user"),
                ("x-forwarded-groups", b"admin"),
            ],
        ] {
            assert!(
                resolve(headers, true).unwrap_err().is_no_session(),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn values_that_break_the_bounds_are_the_proxys_fault() {
        for headers in [
            &[("x-forwarded-user", &b"\xff"[..])][..],
            &[("x-forwarded-user", "a\u{202e}b".as_bytes())],
            &[USER, ("x-forwarded-email", b"nobody")],
        ] {
            assert!(
                !resolve(headers, true).unwrap_err().is_no_session(),
                "{headers:?}"
            );
        }
    }
}

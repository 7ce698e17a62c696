//! Whether a browser's request comes from a page that may make it.
//!
//! The requests of real widgets are CORS-simple, so no preflight stands before this: the route itself
//! looks at where a request comes from, before it looks at who is logged in.

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, Uri};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a request may come from where it says it comes from: `Sec-Fetch-Site` (W3C Fetch Metadata)
/// first, `Origin` (RFC 6454) where that is absent. Without either it is no browser's.
///
/// `encrypted` and `uri` say what this service's own origin is for the request.
#[must_use]
pub(super) fn may_call(
    headers: &HeaderMap,
    uri: &Uri,
    encrypted: bool,
    origins: &[String],
) -> bool {
    let mut sites = headers.get_all(FETCH_SITE).iter();
    let mut from = headers.get_all(ORIGIN).iter();
    let (site, origin) = (sites.next(), from.next());
    // Browsers send each at most once; whoever sends two wants them read differently.
    if sites.next().is_some() || from.next().is_some() {
        return false;
    }
    let listed = || {
        origin.is_some_and(|origin| {
            origins
                .iter()
                .any(|listed| listed.as_bytes() == origin.as_bytes())
        })
    };
    match (site.map(|site| site.as_bytes()), origin) {
        // `none` is the user's own doing: an address typed, a bookmark.
        (Some(b"same-origin" | b"none"), _) | (None, None) => true,
        (Some(_), _) => listed(),
        (None, Some(origin)) => {
            listed()
                || origin
                    .to_str()
                    .is_ok_and(|origin| is_own(origin, headers, uri, encrypted))
        }
    }
}

fn is_own(origin: &str, headers: &HeaderMap, uri: &Uri, encrypted: bool) -> bool {
    let authority = uri
        .authority()
        .map(axum::http::uri::Authority::as_str)
        .or_else(|| headers.get(HOST)?.to_str().ok());
    let scheme = if encrypted { "https://" } else { "http://" };
    authority.is_some_and(|authority| {
        origin
            .strip_prefix(scheme)
            .is_some_and(|host| host.eq_ignore_ascii_case(authority))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        map.insert(HOST, "tokens.example.com".parse().unwrap());
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        may_call(
            &map,
            &Uri::from_static("/apps/acme/token"),
            true,
            &["https://app.example.com".to_owned()],
        )
    }

    #[test]
    fn pages_of_the_service_itself_and_of_listed_origins_may_call() {
        for headers in [
            &[][..],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
            &[
                ("sec-fetch-site", "same-origin"),
                ("origin", "https://tokens.example.com"),
            ],
            &[
                ("sec-fetch-site", "same-site"),
                ("origin", "https://app.example.com"),
            ],
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", "https://app.example.com"),
            ],
            &[("origin", "https://app.example.com")],
            &[("origin", "https://tokens.example.com")],
        ] {
            assert!(allowed(headers), "{headers:?}");
        }
    }

    #[test]
    fn pages_of_any_other_origin_may_not_even_on_the_same_site() {
        for headers in [
            &[("sec-fetch-site", "same-site")][..],
            &[("sec-fetch-site", "cross-site")],
            &[
                ("sec-fetch-site", "same-site"),
                ("origin", "https://evil.example.com"),
            ],
            &[("sec-fetch-site", "cross-site"), ("origin", "null")],
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", "https://tokens.example.com"),
            ],
            &[("sec-fetch-site", "SAME-ORIGIN")],
            &[("sec-fetch-site", "")],
            &[
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[("origin", "https://evil.example.com")],
            &[("origin", "null")],
            &[("origin", "http://app.example.com")],
            &[("origin", "http://tokens.example.com")],
            &[("origin", "https://app.example.com.evil.com")],
            &[("origin", "https://app.example.com:8443")],
            &[
                ("origin", "https://app.example.com"),
                ("origin", "https://evil.example.com"),
            ],
        ] {
            assert!(!allowed(headers), "{headers:?}");
        }
    }
}

//! The one answer to "from which address, and how?", for limits, audit and `https_required` alike.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::server::Peer;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// The client's address.
    pub(super) address: IpAddr,
    /// Whether the client's connection was encrypted, ours or the proxy's.
    pub(super) encrypted: bool,
    /// Whether the peer is a trusted proxy.
    pub(super) through_proxy: bool,
}

impl Client {
    /// The peer, or what a trusted peer says of the client: the right-most address of `X-Forwarded-For` that
    /// isn't a trusted proxy itself, and the last `X-Forwarded-Proto`.
    ///
    /// What stands further left was written by whoever wanted to; an entry that is no address ends the walk
    /// at the proxy that passed it on.
    #[must_use]
    pub(super) fn of(peer: &Peer, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
        let mut address = peer.address.ip().to_canonical();
        if !is_trusted(address) {
            return Self {
                address,
                encrypted: peer.encrypted,
                through_proxy: false,
            };
        }
        for hop in hops(headers) {
            let Some(hop) = hop else { break };
            address = hop;
            if !is_trusted(hop) {
                break;
            }
        }
        let encrypted = match headers.get_all(FORWARDED_PROTO).iter().next_back() {
            None => peer.encrypted,
            Some(scheme) => scheme.to_str().is_ok_and(|scheme| {
                scheme
                    .rsplit(',')
                    .next()
                    .is_some_and(|last| last.trim().eq_ignore_ascii_case("https"))
            }),
        };
        Self {
            address,
            encrypted,
            through_proxy: true,
        }
    }
}

/// The entries of `X-Forwarded-For` from the right, over all its lines; `None` where one is no address.
fn hops(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    headers
        .get_all(FORWARDED_FOR)
        .iter()
        .rev()
        .flat_map(|line| {
            // A line that isn't text ends the walk like an entry that isn't an address.
            line.to_str()
                .unwrap_or("?")
                .rsplit(',')
                .map(|entry| address(entry.trim()))
        })
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(entry);
    let parsed = bare.parse().ok().or_else(|| {
        entry
            .parse::<SocketAddr>()
            .ok()
            .map(|with_port| with_port.ip())
    });
    parsed.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(peer: &str, encrypted: bool, headers: &[(HeaderName, &str)]) -> Client {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        Client::of(
            &Peer {
                address: SocketAddr::new(peer.parse().unwrap(), 5000),
                encrypted,
            },
            &map,
            &trusted,
        )
    }

    fn address_of(peer: &str, lines: &[&str]) -> String {
        let headers: Vec<_> = lines.iter().map(|line| (FORWARDED_FOR, *line)).collect();
        client(peer, true, &headers).address.to_string()
    }

    #[test]
    fn a_peer_that_is_no_proxy_is_the_client_whatever_it_says() {
        assert_eq!(address_of("192.0.2.9", &["198.51.100.1"]), "192.0.2.9");
        assert_eq!(address_of("::ffff:192.0.2.9", &[]), "192.0.2.9");
    }

    #[test]
    fn the_right_most_address_that_is_no_proxy_is_the_client() {
        for (lines, expected) in [
            (&["198.51.100.1"][..], "198.51.100.1"),
            (&["203.0.113.66, 198.51.100.1"], "198.51.100.1"),
            (&["203.0.113.66, 198.51.100.1, 10.0.0.7"], "198.51.100.1"),
            (&["203.0.113.66", "198.51.100.1,10.0.0.7"], "198.51.100.1"),
            (&["198.51.100.1:4711"], "198.51.100.1"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["::ffff:198.51.100.1"], "198.51.100.1"),
            (&["10.0.0.8, 10.0.0.7"], "10.0.0.8"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(address_of("10.0.0.1", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn an_entry_that_is_no_address_ends_the_walk_at_the_proxy_before_it() {
        for lines in [
            &["198.51.100.1, unknown"][..],
            &[""],
            &["198.51.100.1,"],
            &["198.51.100.1, \u{e9}"],
        ] {
            assert_eq!(address_of("10.0.0.1", lines), "10.0.0.1", "{lines:?}");
        }
        assert_eq!(
            address_of("10.0.0.1", &["198.51.100.1, evil, 10.0.0.7"]),
            "10.0.0.7"
        );
    }

    #[test]
    fn only_a_trusted_proxy_may_say_that_it_was_https() {
        let encrypted = |peer, own, values: &[&str]| {
            let headers: Vec<_> = values
                .iter()
                .map(|value| (FORWARDED_PROTO, *value))
                .collect();
            client(peer, own, &headers).encrypted
        };
        assert!(encrypted("10.0.0.1", false, &["https"]));
        assert!(encrypted("10.0.0.1", false, &["http, HTTPS"]));
        assert!(!encrypted("10.0.0.1", false, &["https, http"]));
        assert!(!encrypted("10.0.0.1", false, &["https", "http"]));
        assert!(!encrypted("10.0.0.1", true, &["http"]));
        assert!(encrypted("10.0.0.1", true, &[]));
        assert!(!encrypted("10.0.0.1", false, &[]));
        assert!(!encrypted("192.0.2.9", false, &["https"]));
    }
}

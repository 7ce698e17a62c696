//! What a setting's text can mean: durations, sizes, networks, URLs, names; and words for messages.
//!
//! Errors are messages for [`super::Problem`] and never repeat the text.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::{Host, Url};

use crate::clock::Timestamp;

/// A reading of a setting's text, or what to write instead.
pub(super) type Reading<T> = Result<T, String>;

pub(super) fn address(text: &str) -> Reading<SocketAddr> {
    text.parse().map_err(|_| {
        r#"must be an IP address and a port, such as "0.0.0.0:8443" or "[::]:8443""#.into()
    })
}

pub(super) fn duration(text: &str) -> Reading<Duration> {
    humantime::parse_duration(text)
        .map_err(|_| r#"must be a duration with its unit, such as "5s", "10m" or "1h 30m""#.into())
}

/// A duration of tokens, which count whole seconds.
pub(super) fn lifetime(text: &str) -> Reading<Duration> {
    let lifetime = duration(text)?;
    if lifetime.subsec_nanos() == 0 {
        Ok(lifetime)
    } else {
        Err("must be whole seconds: tokens know no smaller ones".into())
    }
}

/// A size in bytes.
pub(super) fn size(text: &str) -> Reading<usize> {
    let refused = || r#"must be a size with its unit, such as "16KiB" (B, KiB or MiB)"#.to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim_start() {
        "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => return Err(refused()),
    };
    let number: usize = number.parse().map_err(|_| refused())?;
    number.checked_mul(unit).ok_or_else(refused)
}

/// A network, or a single address as one; never a whole address family.
pub(super) fn network(text: &str) -> Reading<IpNet> {
    let network: IpNet = text
        .parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| r#"must be a network, such as "10.0.0.0/8" or "fd00::/8""#)?;
    if network.prefix_len() == 0 {
        return Err("a /0 is everyone; name your own networks".into());
    }
    match network.addr() {
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
            Err(r#"must be written as IPv4, such as "10.0.0.0/8""#.into())
        }
        _ => Ok(network.trunc()),
    }
}

pub(super) fn moment(text: &str) -> Reading<Timestamp> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map(|moment| Timestamp::from_seconds(moment.unix_timestamp()))
        .map_err(|_| r#"must be a moment with its offset, such as "2026-12-01T00:00:00Z""#.into())
}

/// The name of an app, a caller, a profile or a key.
pub(super) fn name(text: &str) -> Reading<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    // A URL's path would lose a name of dots.
    if (1..=64).contains(&text.len()) && text.chars().all(fits) && !matches!(text, "." | "..") {
        Ok(text.to_owned())
    } else {
        Err("a name has 1 to 64 letters (a-z, A-Z), digits, dots, underscores and hyphens".into())
    }
}

/// 1 to `max_bytes` bytes of plain text.
pub(super) fn plain(text: &str, max_bytes: usize) -> Reading<String> {
    if text.is_empty() {
        Err("must not be empty".into())
    } else if text.len() > max_bytes {
        Err(format!("must be at most {max_bytes} bytes long"))
    } else if text.chars().any(char::is_control) || text.trim() != text {
        Err("must be without control characters, and without white space at its ends".into())
    } else {
        Ok(text.to_owned())
    }
}

/// The name of an HTTP header, in lower case.
pub(super) fn header(text: &str) -> Reading<String> {
    http::HeaderName::from_bytes(text.as_bytes())
        .map(|name| name.as_str().to_owned())
        .map_err(|_| r#"must be the name of a header, such as "cookie""#.into())
}

/// The name of a cookie: a token of RFC 9110, as RFC 6265 wants it.
pub(super) fn cookie(text: &str) -> Reading<String> {
    header(text)
        .map(|_| text.to_owned())
        .map_err(|_| r#"must be the name of a cookie, such as "session""#.into())
}

/// A JSON Pointer.
pub(super) fn pointer(text: &str) -> Reading<String> {
    let escapes = text
        .split('~')
        .skip(1)
        .all(|rest| rest.starts_with(['0', '1']));
    if text.starts_with('/') && escapes {
        Ok(text.to_owned())
    } else {
        Err(r#"must be a JSON Pointer (RFC 6901), such as "/user/id""#.into())
    }
}

/// A URL that is safe to send credentials to: `https`, or `http` on this machine.
pub(super) fn url(text: &str) -> Reading<Url> {
    let example = r#"such as "https://app.example.com""#;
    let url = Url::parse(text).map_err(|_| format!("must be a URL, {example}"))?;
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("must be without white space".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must be without user name and password: secrets don't belong here".into());
    }
    if url.fragment().is_some() {
        return Err("must be without a fragment (#…)".into());
    }
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => Ok(url),
        ("http", Some(host)) if is_loopback(&host) => Ok(url),
        _ => Err(format!(
            "must be an https URL, {example}; http is taken on loopback only"
        )),
    }
}

/// The service's own URL.
pub(super) fn public_url(text: &str) -> Reading<String> {
    let url = url(text)?;
    if url.query().is_some() || text.ends_with('/') {
        return Err(
            r#"must be without query and trailing slash, such as "https://tokens.example.com""#
                .into(),
        );
    }
    // The issuer is compared byte for byte, so there is one way to spell it.
    if url.as_str().trim_end_matches('/') != text {
        return Err("must be spelt as browsers do: host in lower case, no default port".into());
    }
    Ok(text.to_owned())
}

/// An origin as browsers send it.
pub(super) fn origin(text: &str) -> Reading<String> {
    let refused = || {
        r#"must be an exact origin as browsers send it, such as "https://app.example.com": scheme, host in lower case, port unless it is the default, no path, no slash at the end, no *"#.to_owned()
    };
    let url = Url::parse(text).map_err(|_| refused())?;
    if !url.origin().is_tuple() || url.origin().ascii_serialization() != text || text.contains('*')
    {
        return Err(refused());
    }
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => Ok(text.to_owned()),
        ("http", Some(host)) if is_loopback(&host) => Ok(text.to_owned()),
        _ => Err("must be https; http is taken on localhost only".into()),
    }
}

/// A Redis server's URL, without a password.
pub(super) fn redis(text: &str) -> Reading<String> {
    let refused =
        || r#"must be a URL, such as "redis://host:6379" or "rediss://host:6379""#.to_owned();
    let url = Url::parse(text).map_err(|_| refused())?;
    if url.password().is_some() {
        return Err(r#"holds a password: keep the whole URL where secrets are, and write { env = "NAME" } or { file = "/path" } here"#.into());
    }
    match (url.scheme(), url.host()) {
        ("redis" | "rediss", Some(_)) => Ok(text.to_owned()),
        _ => Err(refused()),
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// The name of an environment variable.
pub(super) fn variable_name(text: &str) -> Reading<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
    if text.starts_with(starts) && text.chars().all(fits) && text.len() <= 128 {
        Ok(text.to_owned())
    } else {
        Err(r#"must be a variable's name, such as "ACME_SECRET"; the secret itself never stands here"#.into())
    }
}

/// The known word that `word` was probably meant to be.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const ALIKE: f64 = 0.6;
    known
        .into_iter()
        .map(|candidate| {
            let likeness = strsim::normalized_damerau_levenshtein(word, candidate);
            (likeness, candidate)
        })
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}

/// `"a", "b" and "c"`.
pub(super) fn list(words: &[&str], conjunction: &str) -> String {
    match words {
        [] => "none".into(),
        [only] => format!("\"{only}\""),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(|word| format!("\"{word}\"")).collect();
            format!("{} {conjunction} \"{last}\"", first.join(", "))
        }
    }
}

/// A name for a message, or nothing when it is as long as a secret can be: people paste the secret
/// itself where its name belongs, and none that signet takes is shorter.
pub(super) fn quotable(name: &str) -> Option<&str> {
    (name.len() < 32 && self::name(name).is_ok()).then_some(name)
}

/// That there is no such thing, with the one that was probably meant.
pub(super) fn unknown<'a>(
    kind: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    let which = match quotable(name) {
        Some(name) => format!("there is no {kind} \"{name}\""),
        None => format!("there is no {kind} of that name"),
    };
    match nearest(name, known.clone()) {
        Some(neighbour) => format!("{which}; did you mean \"{neighbour}\"?"),
        None => {
            let known: Vec<_> = known.into_iter().collect();
            format!("{which}; known: {}", list(&known, "and"))
        }
    }
}

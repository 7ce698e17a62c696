//! Questions to the admin listener of a running signet, at the address that its configuration names.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::Trouble;
use crate::config;
use crate::service::Sources;

/// How long it takes to find nobody there.
const CONNECTING: Duration = Duration::from_secs(3);

/// What a running signet said.
pub(super) struct Answer {
    pub(super) address: SocketAddr,
    pub(super) status: String,
    pub(super) body: String,
}

/// Asks for `path`, and waits for as long as `patience` for each part of the answer.
pub(super) fn ask(sources: &Sources, path: &str, patience: Duration) -> Result<Answer, Trouble> {
    let config = config::load(
        sources.file.as_deref(),
        &sources.environment,
        sources.clock.now(),
    );
    let config = config.map_err(|problems| Trouble::Refused(problems.to_string()))?;
    let address = reachable(config.admin.listen);
    let answer = get(address, path, patience)
        .map_err(|error| Trouble::Refused(format!("nothing answers at {address}: {error}")))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok(Answer {
        address,
        status: head.chars().skip("HTTP/1.1 ".len()).take(3).collect(),
        body: body.to_owned(),
    })
}

/// Where a listener on every address can be asked.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listen
}

fn get(address: SocketAddr, path: &str, patience: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECTING)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(CONNECTING))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

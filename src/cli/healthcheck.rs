//! `signet healthcheck`: asks the admin listener of a running signet whether it is ready.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::{Configuration, Trouble};
use crate::config;

const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn run(configuration: Configuration) -> Result<(), Trouble> {
    let sources = configuration.sources()?;
    let config = config::load(
        sources.file.as_deref(),
        &sources.environment,
        sources.clock.now(),
    );
    let config = config.map_err(|problems| Trouble::Refused(problems.to_string()))?;
    let address = reachable(config.admin.listen);
    let status = ask(address)
        .map_err(|error| Trouble::Refused(format!("nothing answers at {address}: {error}")))?;
    if status == "200" {
        Ok(())
    } else {
        Err(Trouble::Refused(format!(
            "signet at {address} is not ready (status {status})"
        )))
    }
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

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut line = [0; 12];
    stream.read_exact(&mut line)?;
    Ok(String::from_utf8_lossy(&line[9..]).into_owned())
}

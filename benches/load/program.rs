//! The program under test: where it is, and how it is started with everything on.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cores::Cores;
use crate::process::free_address;
use crate::requests::{CALLERS_KEY, CLIENT_ID, PLATFORM_SECRET};
use crate::tls::Certificate;

/// More than any client can ask for: every limit is counted and none is met.
const PLENTY: &str = "1000000";

/// The program as a container runs it, with everything on and its log going nowhere.
pub(crate) fn command(
    cores: Cores,
    address: SocketAddr,
    certificate: Option<&Certificate>,
) -> Result<Command> {
    let mut command = cores.run(&path());
    command
        .arg("serve")
        .env("SIGNET_CLIENT_ID", CLIENT_ID)
        .env("SIGNET_CLIENT_SECRET", PLATFORM_SECRET)
        .env("SIGNET_API_KEY", CALLERS_KEY)
        .env("SIGNET__SERVER__LISTEN", address.to_string())
        .env("SIGNET__ADMIN__LISTEN", free_address()?.to_string());
    match certificate {
        None => command.env("SIGNET__SERVER__REQUIRE_HTTPS", "false"),
        Some(certificate) => command
            .env("SIGNET__SERVER__TLS__CERTIFICATE", certificate.chain())
            .env("SIGNET__SERVER__TLS__PRIVATE_KEY", certificate.key()),
    };
    for limit in ["PER_IP", "PER_CALLER", "PER_USER"] {
        for (part, value) in [("RATE", PLENTY), ("BURST", PLENTY), ("PER", "1s")] {
            command.env(format!("SIGNET__LIMITS__{limit}__{part}"), value);
        }
    }
    Ok(command)
}

/// The size of the program's file.
pub(crate) fn bytes() -> Result<f64> {
    let path = path();
    Ok(fs::metadata(&path)
        .with_context(|| format!("looking for {path}"))?
        .len() as f64)
}

/// The one that was built with this benchmark, or another.
#[expect(
    clippy::disallowed_methods,
    reason = "the program under test is the benchmark's to choose"
)]
fn path() -> String {
    std::env::var("SIGNET_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_signet").to_owned())
}

//! Servers in Rust to measure signet by: two that answer a constant, and one as it is first written.

mod axum;
mod hyper;
mod naive;

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cores::Cores;
use crate::tls::Certificate;

/// This program again, as the server `name`.
pub(crate) fn command(
    name: &str,
    cores: Cores,
    address: SocketAddr,
    certificate: Option<&Certificate>,
) -> Result<Command> {
    let this = std::env::current_exe()?;
    let mut command = cores.run(this.to_str().context("a path that isn't text")?);
    command.args(["serve", name, &address.to_string()]);
    if let Some(certificate) = certificate {
        command.args([certificate.chain(), certificate.key()]);
    }
    Ok(command)
}

/// What the constant answers are: as long as a token's.
fn constant() -> &'static str {
    let token = format!("{}.{}.{}", "h".repeat(36), "c".repeat(200), "s".repeat(43));
    let body = serde_json::json!({
        "token": token, "tokenType": "Bearer",
        "expiresIn": 3595, "expiresAt": 1_763_650_000, "refreshAfter": 3230,
    });
    // One for the life of the process, as a constant would be.
    Box::leak(body.to_string().into_boxed_str())
}

/// Serves at `address` until it is killed: `axum`, `hyper` or `naive`, the second over TLS when `certificate` names
/// the files of a certificate and its key.
pub(crate) fn serve(name: &str, address: &str, certificate: &[String]) -> Result<()> {
    // As many threads as there are cores to use, which is what signet has.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match name {
        "axum" => runtime.block_on(axum::serve(address)),
        "hyper" => runtime.block_on(hyper::serve(address, certificate)),
        "naive" => runtime.block_on(naive::serve(address)),
        _ => anyhow::bail!("there is no server {name:?}"),
    }
}

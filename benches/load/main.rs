//! What a token costs, of the real program and beside other servers.
//!
//! `cargo bench --bench load` builds the program for release, starts it beside a bare axum server, pins both to one
//! core and the client to another, and alternates between them. The figure to keep is the ratio: it says little
//! about the machine. Nothing is asserted. `-- --rounds 20` measures longer. `benches/compare/run` starts it as
//! `compare`, with the servers that a user would write instead.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark's report is what it prints"
)]

mod alone;
mod client;
mod compare;
mod cores;
mod door;
mod measure;
mod process;
mod program;
mod requests;
mod servers;
mod sessions;
mod tls;

use anyhow::{Context, Result};

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let mut arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let rounds = match arguments.iter().position(|word| word == "--rounds") {
        None => 8,
        Some(at) => {
            let value = arguments.drain(at..).nth(1);
            let value = value.context("--rounds wants a number, and to be last")?;
            value.parse().context("--rounds wants a number")?
        }
    };
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => alone::run(rounds),
        ["compare", ref others @ ..] => compare::run(others, rounds),
        ["serve", name, address, ..] => servers::serve(name, address, &arguments[3..]),
        _ => anyhow::bail!("it wants nothing, or `compare` with servers of benches/compare"),
    }
}

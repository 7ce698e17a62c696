//! What a token costs: CPU time per `POST /token` of the real program, beside a bare axum server's constant answer.
//!
//! `cargo bench --bench load` builds the program for release, starts both servers, pins them to one core
//! and the client to another, and alternates between them. The figure to keep is the ratio: it says little
//! about the machine. Nothing is asserted. `-- --rounds 20` measures longer.
#![expect(
    clippy::print_stdout,
    reason = "a benchmark's report is what it prints"
)]

mod bare;
mod client;
mod process;
mod sessions;
mod tls;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use client::Load;
use process::Server;

/// Enough open requests to keep a server from ever sleeping: a wake-up would cost it more than an answer.
const CONNECTIONS: usize = 16;
const WARM_UP: Duration = Duration::from_millis(300);
const COUNTED: Duration = Duration::from_secs(2);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bare", address] => bare::serve(address),
        ["--rounds", rounds, ..] => compare(rounds.parse().context("--rounds wants a number")?),
        _ => compare(8),
    }
}

fn compare(rounds: usize) -> Result<()> {
    println!("{}", process::pin_client());
    let (signet, start) = Server::signet()?;
    println!(
        "signet: {:.1} MiB on disk, {:.1} MiB resident when idle; first token {:.1} ms after its start, over HTTPS {:.1} ms",
        mebibytes(process::program_bytes()?),
        mebibytes(signet.resident_bytes()?),
        milliseconds(start),
        milliseconds(tls::first_token()?),
    );
    let bare = Server::bare()?;

    println!(
        "\nround   signet µs   bare µs   ratio   refresh µs   to token   (CPU time per answer, {CONNECTIONS} kept-alive connections)"
    );
    let refreshes = signet.refreshes()?;
    let (mut of_signet, mut of_bare, mut of_refresh) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        // Each goes first in every second round, so that a drift of the machine favours nobody.
        let (ours, theirs) = if round % 2 == 1 {
            let ours = microseconds_per_answer(&signet, signet.requests())?;
            (ours, microseconds_per_answer(&bare, bare.requests())?)
        } else {
            let theirs = microseconds_per_answer(&bare, bare.requests())?;
            (microseconds_per_answer(&signet, signet.requests())?, theirs)
        };
        // A browser's refresh by a session JWT, beside what a backend's token costs.
        let refresh = microseconds_per_answer(&signet, &refreshes)?;
        println!(
            "{round:>5}   {ours:>9.2}   {theirs:>7.2}   {:>5.2}   {refresh:>10.2}   {:>8.2}",
            ours / theirs,
            refresh / ours
        );
        of_refresh.push(refresh);
        of_signet.push(ours);
        of_bare.push(theirs);
    }
    let (ours, theirs) = (median(&mut of_signet), median(&mut of_bare));
    let refresh = median(&mut of_refresh);
    println!(
        "median  {ours:>9.2}   {theirs:>7.2}   {:>5.2}   {refresh:>10.2}   {:>8.2}",
        ours / theirs,
        refresh / ours
    );
    println!(
        "\nsignet: {:.1} MiB resident after the load",
        mebibytes(signet.resident_bytes()?)
    );
    compare_introspection(&bare)
}

/// What signet adds to the time that an app takes to answer for its session.
fn compare_introspection(app: &Server) -> Result<()> {
    let signet = Server::introspecting(app)?;
    let direct = sessions::median_answer(app.address(), "/session")?;
    let through = sessions::median_answer(signet.address(), "/apps/default/token")?;
    println!(
        "introspect: the app answers in {:.3} ms at the median, signet with it in {:.3} ms: {:.3} ms more",
        milliseconds(direct),
        milliseconds(through),
        milliseconds(through.saturating_sub(direct)),
    );
    Ok(())
}

fn microseconds_per_answer(server: &Server, requests: &[Vec<u8>]) -> Result<f64> {
    let mut load = Load::new(server.address(), CONNECTIONS, requests)?;
    load.run_until(Instant::now() + WARM_UP)?;
    let before = server.cpu_time()?;
    let answers = load.run_until(Instant::now() + COUNTED)?;
    let spent = server.cpu_time()?.saturating_sub(before);
    Ok(spent.as_secs_f64() * 1e6 / answers as f64)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

//! The daily measure: signet's token and its refresh beside a bare axum server's constant answer.

use std::time::Duration;

use anyhow::Result;

use crate::cores::{self, Cores};
use crate::door::Door;
use crate::measure::{CONNECTIONS, mebibytes, median, milliseconds, throughput};
use crate::process::{Server, free_address};
use crate::requests::USERS;
use crate::tls::{self, Certificate};
use crate::{program, servers, sessions};

/// Prints one line per round, then the medians.
pub(crate) fn run(rounds: usize) -> Result<()> {
    println!("{}", cores::pin_client());
    let address = free_address()?;
    let mut command = program::command(Cores::One, address, None)?;
    sessions::accept_session_jwts(&mut command);
    let (signet, start) = Server::start(command, Door::plain(address))?;
    println!(
        "signet: {:.1} MiB on disk, {:.1} MiB resident when idle; first token {:.1} ms after its start, over HTTPS {:.1} ms",
        mebibytes(program::bytes()?),
        mebibytes(signet.resident_bytes()?),
        milliseconds(start),
        milliseconds(first_token_over_tls()?),
    );
    let address = free_address()?;
    let command = servers::command("axum", Cores::One, address, None)?;
    let (bare, _) = Server::start(command, Door::plain(address))?;

    println!(
        "\nround   signet µs   bare µs   ratio   refresh µs   to token   (CPU time per answer, {CONNECTIONS} kept-alive connections)"
    );
    let refreshes = (0..USERS)
        .map(|user| sessions::refresh(signet.door().address, user))
        .collect::<Result<Vec<_>>>()?;
    let cost =
        |server, requests| Ok::<_, anyhow::Error>(throughput(server, requests)?.microseconds);
    let (mut of_signet, mut of_bare, mut of_refresh) = (Vec::new(), Vec::new(), Vec::new());
    let (mut to_bare, mut to_token) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        // Each goes first in every second round, so that a drift of the machine favours nobody.
        let (ours, theirs) = if round % 2 == 1 {
            let ours = cost(&signet, signet.requests())?;
            (ours, cost(&bare, bare.requests())?)
        } else {
            let theirs = cost(&bare, bare.requests())?;
            (cost(&signet, signet.requests())?, theirs)
        };
        // A browser's refresh by a session JWT, beside what a backend's token costs.
        let refresh = cost(&signet, &refreshes)?;
        println!(
            "{round:>5}   {ours:>9.2}   {theirs:>7.2}   {:>5.2}   {refresh:>10.2}   {:>8.2}",
            ours / theirs,
            refresh / ours
        );
        to_bare.push(ours / theirs);
        to_token.push(refresh / ours);
        of_refresh.push(refresh);
        of_signet.push(ours);
        of_bare.push(theirs);
    }
    let (ours, theirs) = (median(of_signet), median(of_bare));
    let refresh = median(of_refresh);
    println!(
        "median  {ours:>9.2}   {theirs:>7.2}   {:>5.2}   {refresh:>10.2}   {:>8.2}",
        median(to_bare),
        median(to_token)
    );
    println!(
        "\nsignet: {:.1} MiB resident after the load",
        mebibytes(signet.resident_bytes()?)
    );
    compare_introspection(&bare)
}

/// From the start of the process to the answer, with the first random number in between.
fn first_token_over_tls() -> Result<Duration> {
    let certificate = Certificate::new()?;
    let address = free_address()?;
    let command = program::command(Cores::One, address, Some(&certificate))?;
    let tls = Some(tls::client(false)?);
    let (_, elapsed) = Server::start(command, Door { address, tls })?;
    Ok(elapsed)
}

/// What signet adds to the time that an app takes to answer for its session.
fn compare_introspection(app: &Server) -> Result<()> {
    let address = free_address()?;
    let mut command = program::command(Cores::One, address, None)?;
    sessions::ask_upstream(&mut command, app.door().address);
    let (signet, _) = Server::start(command, Door::plain(address))?;
    let direct = sessions::median_answer(app.door(), "/session")?;
    let through = sessions::median_answer(signet.door(), "/apps/default/token")?;
    println!(
        "introspect: the app answers in {:.3} ms at the median, signet with it in {:.3} ms: {:.3} ms more",
        milliseconds(direct),
        milliseconds(through),
        milliseconds(through.saturating_sub(direct)),
    );
    Ok(())
}

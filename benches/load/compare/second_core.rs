//! What a second core is worth, to signet and to bare hyper.

use anyhow::Result;

use super::alternate;
use super::contestants::{Contestant, HYPER, SIGNET};
use super::table::{rounded, table};
use crate::cores::Cores;
use crate::measure::{Throughput, median_of, ratio, throughput};
use crate::process::Server;

/// Measures and prints.
pub(super) fn compare(rounds: usize) -> Result<()> {
    let start = |who: Contestant, cores| -> Result<Server> { Ok(who.start(cores, None)?.0) };
    let servers = [
        start(HYPER, Cores::One)?,
        start(HYPER, Cores::Two)?,
        start(SIGNET, Cores::One)?,
        start(SIGNET, Cores::Two)?,
    ];
    let measured = alternate("on two cores", &servers, rounds, |server: &Server| {
        throughput(server, server.requests())
    })?;
    let cost = |round: &Throughput| round.microseconds;
    let row = |title: &str, at: usize| {
        let (one, two) = (&measured[at], &measured[at + 1]);
        vec![
            title.to_owned(),
            rounded(median_of(one, cost)),
            rounded(median_of(two, cost)),
            format!("{:.0} %", ratio(one, two, cost) * 100.0),
            rounded(median_of(two, |round| round.cores)),
        ]
    };
    let heads = [
        "plain, kept alive, two cores",
        "CPU µs per token on one",
        "on two",
        "efficiency",
        "cores busy",
    ];
    let rows = [row(HYPER.title, 0), row(SIGNET.title, 2)];
    println!("{}", table(&heads, &rows));
    if !Cores::Two.leave_one() {
        println!(
            "The machine has no third core: the client takes its time from the servers' second one."
        );
    }
    Ok(())
}

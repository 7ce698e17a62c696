//! What a second core is worth, to signet and to bare hyper.

use anyhow::Result;

use super::alternate;
use super::contestants::{Contestant, HYPER, SIGNET};
use super::table::{rounded, table};
use crate::cores::Cores;
use crate::measure::{Throughput, median, throughput};
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
    let row = |title: &str, at: usize| {
        let (one, two) = (&measured[at], &measured[at + 1]);
        let efficiency = one
            .iter()
            .zip(two)
            .map(|(a, b)| a.microseconds / b.microseconds);
        let efficiency = median(&efficiency.collect::<Vec<_>>());
        let microseconds = |of: &[Throughput]| {
            rounded(median(
                &of.iter().map(|done| done.microseconds).collect::<Vec<_>>(),
            ))
        };
        let busy = median(&two.iter().map(|done| done.cores).collect::<Vec<_>>());
        vec![
            title.to_owned(),
            microseconds(one),
            microseconds(two),
            format!("{:.0} %", efficiency * 100.0),
            rounded(busy),
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

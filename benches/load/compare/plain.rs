//! Everybody over kept-alive connections in the clear, on one core.

use std::time::Duration;

use anyhow::{Context, Result};

use super::alternate;
use super::contestants::{Contestant, HYPER, SIGNET};
use super::resting::Resting;
use super::table::{rounded, table};
use crate::client::Load;
use crate::measure::{Throughput, mebibytes, median, milliseconds, throughput};

/// Enough that no request waits for a connection while a server is at half of what it can do.
const CONNECTIONS: usize = 64;
const PACED: Duration = Duration::from_secs(2);
const PACED_ROUNDS: usize = 3;

/// Measures and prints.
pub(super) fn compare(contestants: &[Contestant], rounds: usize) -> Result<()> {
    let resting = contestants
        .iter()
        .map(|contestant| Resting::new(*contestant, None))
        .collect::<Result<Vec<_>>>()?;
    let full = alternate("everything they can do", &resting, rounds, |one| {
        let done = throughput(&one.server, one.server.requests())?;
        Ok((done, one.server.resident_bytes()? as f64))
    })?;
    let medians = |at: usize| {
        let of = |pick: fn(&(Throughput, f64)) -> f64| {
            median(&full[at].iter().map(pick).collect::<Vec<_>>())
        };
        (
            of(|(done, _)| done.microseconds),
            of(|(done, _)| done.per_second),
            of(|(done, _)| done.cores),
            of(|(_, bytes)| *bytes),
        )
    };
    let places: Vec<usize> = (0..resting.len()).collect();
    let paced = alternate("half of it", &places, PACED_ROUNDS, |&at| {
        let server = &resting[at].server;
        let (_, per_second, _, _) = medians(at);
        Load::new(server.door(), CONNECTIONS, server.requests())?
            .run_at(per_second / 2.0, PACED)
            .map(|times| (percentile(&times, 50), percentile(&times, 99)))
    })?;

    let place = |who| resting.iter().position(|one| one.contestant == who);
    let signet = place(SIGNET).context("signet isn't among them")?;
    let hyper = place(HYPER).context("hyper isn't among them")?;
    let to = |at: usize, other: usize| {
        let pairs = full[at].iter().zip(&full[other]);
        median(
            &pairs
                .map(|((a, _), (b, _))| a.microseconds / b.microseconds)
                .collect::<Vec<_>>(),
        )
    };
    let median_paced = |at: usize, pick: fn(&(f64, f64)) -> f64| {
        median(&paced[at].iter().map(pick).collect::<Vec<_>>())
    };
    let row = |at: usize| {
        let one = &resting[at];
        let (microseconds, per_second, cores, loaded_bytes) = medians(at);
        vec![
            one.contestant.title.to_owned(),
            rounded(microseconds),
            rounded(to(at, signet)),
            rounded(per_second),
            format!("{:.0} %", cores * 100.0),
            rounded(median_paced(at, |times| times.0)),
            rounded(median_paced(at, |times| times.1)),
            rounded(mebibytes(one.idle_bytes as u64)),
            rounded(mebibytes(loaded_bytes as u64)),
            rounded(one.bytes_per_connection / 1024.0),
            rounded(one.start_milliseconds),
        ]
    };
    let heads = [
        "plain, kept alive, one core",
        "CPU µs per token",
        "signet = 1",
        "tokens/s",
        "core busy",
        "p50 ms at half",
        "p99 ms at half",
        "MiB idle",
        "MiB loaded",
        "KiB per idle connection",
        "ms to first token",
    ];
    let rows: Vec<_> = places.iter().map(|at| row(*at)).collect();
    println!("{}", table(&heads, &rows));
    println!(
        "signet to bare hyper: CPU {}, p99 {}\n",
        rounded(to(signet, hyper)),
        rounded(median_paced(signet, |times| times.1) / median_paced(hyper, |times| times.1)),
    );
    Ok(())
}

/// The time, in milliseconds, within which that share of the sorted `times` lies.
fn percentile(times: &[Duration], percent: usize) -> f64 {
    let at = (times.len() * percent / 100).min(times.len() - 1);
    milliseconds(times[at])
}

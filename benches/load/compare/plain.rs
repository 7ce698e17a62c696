//! Everybody over kept-alive connections in the clear, on one core.

use std::time::Duration;

use anyhow::{Context, Result};

use super::alternate;
use super::contestants::{Contestant, HYPER, SIGNET};
use super::resting::Resting;
use super::table::{rounded, table};
use crate::client::Load;
use crate::measure::{Throughput, mebibytes, median_of, milliseconds, ratio, throughput};

/// Enough that no request waits for a connection while a server is at half of what it can do.
const HALF_CONNECTIONS: usize = 64;
const HALF_LASTS: Duration = Duration::from_secs(2);
/// A server that is asked for everything has its core for itself, or nearly.
const QUIET: f64 = 0.85;

/// What came of one round of everything that a server can do.
struct Full {
    done: Throughput,
    resident_bytes: f64,
}

/// What came of one round of half of that, in milliseconds.
struct Half {
    p50: f64,
    p99: f64,
}

/// Measures and prints.
pub(super) fn compare(contestants: &[Contestant], rounds: usize) -> Result<()> {
    let resting = contestants
        .iter()
        .map(|contestant| Resting::new(*contestant, None))
        .collect::<Result<Vec<_>>>()?;
    let full = alternate("everything they can do", &resting, rounds, |one| {
        let done = throughput(&one.server, one.server.requests())
            .with_context(|| format!("asking {}", one.contestant.title))?;
        let resident_bytes = one.server.resident_bytes()?;
        Ok(Full {
            done,
            resident_bytes,
        })
    })?;
    let places: Vec<usize> = (0..resting.len()).collect();
    let half = alternate("half of it", &places, rounds, |&at| {
        let server = &resting[at].server;
        let per_second = median_of(&full[at], |round| round.done.per_second) / 2.0;
        let times = Load::new(server.door(), HALF_CONNECTIONS, server.requests())?
            .run_at(per_second, HALF_LASTS)
            .with_context(|| format!("asking {}", resting[at].contestant.title))?;
        let (p50, p99) = (percentile(&times, 50), percentile(&times, 99));
        Ok(Half { p50, p99 })
    })?;

    let place = |who| resting.iter().position(|one| one.contestant == who);
    let signet = place(SIGNET).context("signet isn't among them")?;
    let hyper = place(HYPER).context("bare hyper isn't among them")?;
    let cost = |round: &Full| round.done.microseconds;
    let row = |at: usize| {
        let (one, loaded, paced) = (&resting[at], &full[at], &half[at]);
        vec![
            one.contestant.title.to_owned(),
            rounded(median_of(loaded, cost)),
            rounded(ratio(loaded, &full[signet], cost)),
            rounded(median_of(loaded, |round| round.done.per_second)),
            format!(
                "{:.0} %",
                median_of(loaded, |round| round.done.cores) * 100.0
            ),
            rounded(median_of(paced, |round| round.p50)),
            rounded(median_of(paced, |round| round.p99)),
            rounded(mebibytes(one.idle_bytes)),
            rounded(mebibytes(median_of(loaded, |round| round.resident_bytes))),
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
    let rows: Vec<_> = places.into_iter().map(row).collect();
    println!("{}", table(&heads, &rows));
    if median_of(&full[signet], |round| round.done.cores) < QUIET {
        println!("**Something else ran on these cores**, so that the figures say little.\n");
    }
    println!(
        "signet to bare hyper: CPU {}, p99 {}\n",
        rounded(ratio(&full[signet], &full[hyper], cost)),
        rounded(ratio(&half[signet], &half[hyper], |round| round.p99)),
    );
    Ok(())
}

/// The time, in milliseconds, within which that share of the sorted `times` lies.
fn percentile(times: &[Duration], percent: usize) -> f64 {
    let at = (times.len() * percent / 100).min(times.len() - 1);
    milliseconds(times[at])
}

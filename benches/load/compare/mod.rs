//! signet beside the servers that a user would write instead, alternating in one run.

mod contestants;
mod encrypted;
mod plain;
mod resting;
mod same_job;
mod second_core;
mod table;

use std::fs;

use anyhow::{Context, Result};
use signet::clock::Clock;

use self::contestants::{AXUM, Contestant, HYPER, NAIVE, SIGNET};
use crate::cores;

/// Compares signet with the servers in the folders `others` of `benches/compare`, and prints the report as Markdown;
/// what it is doing goes to standard error.
pub(crate) fn run(others: &[&str], rounds: usize) -> Result<()> {
    let pinned = cores::pin_client();
    let mut contestants = vec![HYPER, AXUM, SIGNET, NAIVE];
    for name in others {
        contestants.push(Contestant::in_folder(name)?);
    }
    println!("{}; {pinned}; medians of {rounds} rounds\n", machine()?);
    plain::compare(&contestants, rounds)?;
    encrypted::compare(&contestants, rounds)?;
    second_core::compare(rounds)
}

/// When and where.
fn machine() -> Result<String> {
    let now = Clock::System.now().rfc3339();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("a processor without a name", |(_, name)| name);
    let count = fs::read_to_string("/sys/devices/system/cpu/online").context("counting cores")?;
    Ok(format!(
        "{}, Linux {}, {model}, cores {}",
        now.split('T').next().unwrap_or(&now),
        kernel.trim(),
        count.trim()
    ))
}

/// Goes `rounds` times round `subjects`, each time beginning with another one, so that a drift of the machine favours
/// nobody; gives what `measure` gave, by subject and round.
fn alternate<S, T>(
    what: &str,
    subjects: &[S],
    rounds: usize,
    mut measure: impl FnMut(&S) -> Result<T>,
) -> Result<Vec<Vec<T>>> {
    let mut measured: Vec<Vec<T>> = subjects.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        eprintln!("{what}: round {} of {rounds}", round + 1);
        for place in 0..subjects.len() {
            let at = (round + place) % subjects.len();
            measured[at].push(measure(&subjects[at])?);
        }
    }
    Ok(measured)
}

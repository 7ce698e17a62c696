//! What is measured of a server, and what is made of several measurements.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::client::Load;
use crate::door::Door;
use crate::process::Server;

/// Enough open requests to keep a server from ever sleeping: a wake-up would cost it more than an answer.
pub(crate) const CONNECTIONS: usize = 16;
/// As many as a client keeps tickets for one server, so that none is thrown away which the next connection needs.
const CONNECTIONS_AFRESH: usize = 8;
const WARM_UP: Duration = Duration::from_millis(300);
const COUNTED: Duration = Duration::from_millis(1500);

/// What came of asking a server for all that it can give.
pub(crate) struct Throughput {
    /// CPU time of the server's for an answer, by the scheduler's count.
    pub(crate) microseconds: f64,
    pub(crate) per_second: f64,
    /// How much of the time the server was running. Below one core it slept at times, as the client was too slow for
    /// it, and paid for waking up.
    pub(crate) cores: f64,
}

/// One answer after the other over kept-alive connections.
pub(crate) fn throughput(server: &Server, requests: &[Vec<u8>]) -> Result<Throughput> {
    let mut load = Load::new(server.door(), CONNECTIONS, requests)?;
    count(server, |end| load.run_until(end))
}

/// A connection for each answer, made through `door`.
///
/// # Errors
/// When TLS sessions aren't resumed although they should be, or are although they shouldn't.
pub(crate) fn throughput_afresh(server: &Server, door: &Door, resumed: bool) -> Result<Throughput> {
    let mut load = Load::new(door, CONNECTIONS_AFRESH, server.requests())?;
    let done = count(server, |end| load.run_afresh_until(end))?;
    // The first ones have nothing to resume.
    let wrong = load.handshakes(!resumed);
    ensure!(
        wrong <= CONNECTIONS_AFRESH as u64,
        "{wrong} handshakes of {} were not of the kind that was to be measured",
        wrong + load.handshakes(resumed)
    );
    Ok(done)
}

fn count(server: &Server, mut run_until: impl FnMut(Instant) -> Result<u64>) -> Result<Throughput> {
    run_until(Instant::now() + WARM_UP)?;
    let (before, began) = (server.cpu_time()?, Instant::now());
    let answers = run_until(began + COUNTED)? as f64;
    let elapsed = began.elapsed().as_secs_f64();
    let spent = server.cpu_time()?.saturating_sub(before).as_secs_f64();
    Ok(Throughput {
        microseconds: spent * 1e6 / answers,
        per_second: answers / elapsed,
        cores: spent / elapsed,
    })
}

/// The median; the mean of the two in the middle where there are two.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// The median of a figure over all rounds.
pub(crate) fn median_of<T>(rounds: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    median(rounds.iter().map(figure))
}

/// The median of a figure's ratio to another one's in the same round.
pub(crate) fn ratio<T>(ours: &[T], theirs: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    let pairs = ours.iter().zip(theirs);
    median(pairs.map(|(a, b)| figure(a) / figure(b)))
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub(crate) fn mebibytes(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}

//! More than signet can do, and more than anybody tries by hand: ten times its capacity, and requests by the million.
//!
//! `FAULTS_SECONDS` is how long an overload lasts (5), `FAULTS_REQUESTS` how many a soak has (20,000).
//! Figures are printed; what is asserted holds on any machine.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]
#![expect(
    clippy::disallowed_methods,
    reason = "the suite is told by variables what to run, and for how long"
)]
#![expect(clippy::print_stdout, reason = "the figures are half of it")]

mod client;
mod service;

use std::time::Duration;

use client::{Answer, Client, summary, times};
use service::{Held, Signet};

/// So much may come and go: buffers, tables of limits, the allocator's reserves.
const GROWTH_KIBIBYTES: u64 = 16 * 1024;
/// What one core is kept busy with.
const BUSY: usize = 16;
const RECOVERY: Duration = Duration::from_secs(2);
const A_WHILE: Duration = Duration::from_secs(3);

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |it| it.parse().expect("a number"))
}

fn overload() -> Duration {
    Duration::from_secs(number("FAULTS_SECONDS", 5) as u64)
}

fn rate(answers: &[Answer], duration: Duration) -> f64 {
    answers.len() as f64 / duration.as_secs_f64()
}

/// Says how it went, and demands what must hold on any machine.
fn judge(signet: &Signet, request: &[u8], before: Held, half: &[Answer], over: &[Answer]) {
    let recovered = signet.until_it_serves(request);
    let after = signet.holds_again(before.descriptors);
    println!("  at half of it, tokens: {}", summary(&times(half, &[200])));
    println!("  under it, tokens:      {}", summary(&times(over, &[200])));
    println!(
        "  under it, refusals:    {}",
        summary(&times(over, &[429, 503]))
    );
    println!("  before {before:?}, after {after:?}, a token {recovered:.2?} after its end");
    assert!(!times(over, &[200]).is_empty(), "nobody got a token");
    assert!(!times(over, &[429, 503]).is_empty(), "that was no overload");
    assert!(recovered < RECOVERY, "{recovered:?}");
    is_flat(before, after);
}

/// What a core can do: tokens a second, over connections enough to keep it busy.
fn capacity(signet: &Signet, connections: usize, requests: &[Vec<u8>]) -> f64 {
    let second = Duration::from_secs(1);
    let mut client = Client::new(signet.address, connections, requests);
    client.ask_for(second, None);
    rate(&client.ask_for(2 * second, None), 2 * second)
}

fn is_flat(before: Held, after: Held) {
    assert!(
        after.kibibytes < before.kibibytes + GROWTH_KIBIBYTES,
        "{before:?}, {after:?}"
    );
    assert!(
        after.descriptors <= before.descriptors,
        "{before:?}, {after:?}"
    );
}

/// Ten times as many connections as keep a core busy, each with a request under way all the time.
#[test]
fn ten_times_as_many_at_once_as_a_core_can_do_are_answered_in_their_turn() {
    let signet = Signet::start(&[]);
    let requests = signet.tokens();
    let capacity = capacity(&signet, BUSY, &requests);
    let half = Client::new(signet.address, 2 * BUSY, &requests);
    let half = { half }.ask_for(A_WHILE, Some(capacity / 2.0));
    drop(signet);
    // So little that it is less than what is asked for on a busy machine, too.
    let allowed = 0.3 * capacity;
    let signet = Signet::start(&[
        ("LIMITS__PER_CALLER__RATE", format!("{allowed:.0}")),
        (
            "LIMITS__PER_CALLER__BURST",
            format!("{:.0}", allowed / 10.0),
        ),
    ]);
    let requests = signet.tokens();
    let before = signet.holds_again(signet.at_rest);
    let over = Client::new(signet.address, 10 * BUSY, &requests);
    let over = { over }.ask_for(overload(), None);
    println!(
        "a core can do {capacity:.0} tokens a second and may do {allowed:.0}; asked by {} without a pause for {:.0?}, it answers {:.0}",
        10 * BUSY,
        overload(),
        rate(&over, overload()),
    );
    judge(&signet, &requests[0], before, &half, &over);
}

/// A backend asks for ten times what its limit is.
#[test]
fn ten_times_what_a_caller_may_have_is_refused_and_what_it_may_have_keeps_its_latency() {
    let signet = Signet::start(&[]);
    // All of it together is less than a core can do.
    let allowed = capacity(&signet, BUSY, &signet.tokens()) / 16.0;
    drop(signet);
    let signet = Signet::start(&[
        ("LIMITS__PER_CALLER__RATE", format!("{allowed:.0}")),
        ("LIMITS__PER_CALLER__BURST", format!("{allowed:.0}")),
    ]);
    let requests = signet.tokens();
    let half = Client::new(signet.address, 2 * BUSY, &requests);
    let half = { half }.ask_for(A_WHILE, Some(allowed / 2.0));
    let before = signet.holds_again(signet.at_rest);
    let over = Client::new(signet.address, 10 * BUSY, &requests);
    let over = { over }.ask_for(overload(), Some(10.0 * allowed));
    println!(
        "a caller may have {allowed:.0} tokens a second, and asks for {:.1} times as many for {:.0?}",
        rate(&over, overload()) / allowed,
        overload(),
    );
    judge(&signet, &requests[0], before, &half, &over);
}

/// Browsers ask ten times as often as a slow session URL can be asked.
#[test]
fn ten_times_the_capacity_of_a_slow_session_url_is_refused_before_it_is_asked() {
    let (takes, at_once) = (Duration::from_millis(20), 32);
    let url = format!("http://{}/session", service::sessions(takes));
    let session = |name| format!("APPS__DEFAULT__BROWSER__SESSION__{name}");
    let signet = Signet::start(&[
        ("SERVER__MAX_IN_FLIGHT", at_once.to_string()),
        (&session("RESOLVER"), "introspect".to_owned()),
        (&session("URL"), url),
        (&session("FORWARD_HEADERS"), "cookie".to_owned()),
        (&session("IDENTITY__USER_ID"), "/user_id".to_owned()),
    ]);
    let requests = signet.refreshes();
    let capacity = capacity(&signet, at_once, &requests);
    let half = Client::new(signet.address, at_once / 2, &requests);
    let half = { half }.ask_for(A_WHILE, None);
    // The connections to the session URL stay.
    let before = signet.holds_again(signet.at_rest + at_once);
    let over = Client::new(signet.address, 10 * at_once, &requests);
    let over = { over }.ask_for(overload(), Some(10.0 * capacity));
    println!(
        "the session URL takes {takes:.0?}, {at_once} at once: {capacity:.0} tokens a second; asked for {:.1} times as many for {:.0?}",
        rate(&over, overload()) / capacity,
        overload(),
    );
    judge(&signet, &requests[0], before, &half, &over);
}

#[test]
fn after_a_soak_of_many_requests_memory_and_descriptors_are_what_they_were() {
    let all = number("FAULTS_REQUESTS", 20_000);
    let signet = Signet::start(&[]);
    let requests = signet.tokens();
    let mut readings = Vec::new();
    for tenth in 1..=10 {
        let mut client = Client::new(signet.address, BUSY, &requests).renewing_after(1000);
        let answers = client.ask_times(all / 10);
        assert!(answers.iter().all(|it| it.status == 200));
        // So that the client's own connections, open and closing, are not in it.
        drop(client);
        let held = signet.holds_again(signet.at_rest);
        if [1, 5, 10].contains(&tenth) {
            println!("after {} requests: {held:?}", tenth * (all / 10));
        }
        readings.push(held);
    }
    is_flat(readings[0], readings[9]);
}

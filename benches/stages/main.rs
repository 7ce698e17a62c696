//! What each stage of `POST /token` costs on its own: authenticate, limit, parse, decide, seal, fill, write down, and
//! all of them within the layers that make an answer of it.
//!
//! `cargo bench --bench stages`; `-- seal` measures one stage. Nothing is asserted: figures are for
//! comparing two states of the code on one machine. Filling is `fill_and_seal` less `seal`, and what the layers take
//! is `answer` less the other stages. Without sockets: `load` has those.

mod given;

use std::time::Duration;

use divan::{Bencher, black_box};
use futures_util::FutureExt;
use http::Response;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use signet::limits::{Limits, Quota, Settings, Store};
use signet::signing::Algorithm;
use signet::telemetry::{Entry, Outcome};
use signet::token::{Asked, Grant, Minted, Policy, mint};

use given::{
    ALGORITHMS, BODY, CLAIMS, CLIENT, DICE, NOW, audit, callers, headers, key, peer, policy,
    request, service,
};

fn main() {
    divan::main();
}

#[divan::bench]
fn authenticate(bencher: Bencher) {
    let (callers, headers) = (callers(), headers());
    bencher.bench(|| callers.authenticate(black_box(&headers)).is_ok());
}

/// All that a backend's request meets but the limit per address, which is a layer: one of 512 users each time.
#[divan::bench]
fn limit(bencher: Bencher) {
    let plenty = Quota::new(1_000_000, Duration::from_secs(1), 1_000_000).expect("a quota");
    let limits = Limits::new(Settings {
        per_ip: plenty,
        exempt: Vec::new(),
        per_caller: plenty,
        per_user: plenty,
        failed_auth: plenty,
        store: Store::Memory,
    })
    .expect("limits in memory");
    let users: Vec<String> = (0..512).map(|user| format!("usr_{user}")).collect();
    let mut turns = users.iter().cycle();
    bencher.bench_local(|| {
        let user = turns.next().expect("it goes on for ever");
        let passing = async {
            let mut passage = limits.passage(CLIENT);
            passage.admit_address()?;
            passage.admit_caller("shop")?;
            passage.admit_user("acme", user)?;
            passage.settle().await
        };
        passing.now_or_never().is_some_and(|passed| passed.is_ok())
    });
}

#[divan::bench]
fn parse() -> usize {
    let (asked, faults) = read(black_box(BODY));
    black_box(asked);
    faults.len()
}

#[divan::bench]
fn decide(bencher: Bencher) {
    let policy = policy(Algorithm::HS256);
    bencher
        .with_inputs(|| read(BODY).0)
        .bench_values(|asked| granted(&policy, asked));
}

#[divan::bench(args = ALGORITHMS)]
fn seal(bencher: Bencher, algorithm: Algorithm) {
    let key = key(algorithm);
    let header = key.encode_header(format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#).as_bytes());
    bencher.bench(|| key.seal(&header, black_box(CLAIMS)));
}

/// Fills the claims, seals them and fills the answer.
#[divan::bench(args = ALGORITHMS)]
fn fill_and_seal(bencher: Bencher, algorithm: Algorithm) {
    let policy = policy(algorithm);
    let grant = granted(&policy, read(BODY).0);
    bencher.bench(|| minted(&policy, black_box(&grant)));
}

#[divan::bench]
fn write_down(bencher: Bencher) {
    let audit = audit();
    let entry = Entry {
        request_id: "9c9500c9-a0df-4a71-a304-df662396d68c",
        trace_id: None,
        app: Some("acme"),
        caller: Some("shop"),
        resolver: None,
        user: Some("usr_1"),
        lifetime_seconds: Some(900),
        key_id: Some("2026-11"),
        token_id: None,
        ip: CLIENT,
        outcome: Outcome::Issued,
    };
    bencher.bench(|| audit.write(black_box(&entry), NOW));
}

/// The whole public service, from a request to its answer: all stages, limits, metrics and one audit line.
#[divan::bench]
fn answer(bencher: Bencher) {
    let public = signet::http::public(&service()).service(peer());
    // For its clock: time-outs are set, though nothing waits.
    let runtime = Runtime::new().expect("a runtime");
    let _entered = runtime.enter();
    bencher.with_inputs(request).bench_local_values(|request| {
        let answered = public.clone().oneshot(request).now_or_never();
        let answer: Response<_> = answered.expect("it waits for nothing").expect("an answer");
        assert!(answer.status().is_success(), "{answer:?}");
        answer
    });
}

#[divan::bench(args = ALGORITHMS)]
fn whole(bencher: Bencher, algorithm: Algorithm) {
    let (callers, headers, policy) = (callers(), headers(), policy(algorithm));
    bencher.bench(|| {
        let proven = callers.authenticate(black_box(&headers)).is_ok();
        let grant = granted(&policy, read(black_box(BODY)).0);
        (proven, minted(&policy, &grant))
    });
}

fn read(body: &[u8]) -> (Asked<'_>, Vec<signet::token::Fault>) {
    Asked::parse(body).expect("the body is JSON")
}

fn granted<'a>(policy: &Policy, asked: Asked<'a>) -> Grant<'a> {
    let app = policy
        .choose_app(&asked, &mut ())
        .expect("it is the caller's");
    policy
        .decide(app, asked, Vec::new(), String::new, &mut ())
        .expect("everything is allowed")
}

fn minted(policy: &Policy, grant: &Grant<'_>) -> Minted {
    mint(&policy.apps[0], grant, Some("shop"), DICE, NOW).expect("the key signs")
}

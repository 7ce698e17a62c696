//! Killed, hung, slow, read-only, senseless: what is decided without the store, how soon, and that it is found again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use signet::limits::{LimitName, Limits, OnOutage, Refusal};
use tokio::task::JoinSet;

use super::server::{Mode, Relay, Server, free_port};
use super::*;

/// The promise is 100 ms; twice that leaves room for what else a test machine does.
const PROMPT: Duration = Duration::from_millis(200);

/// Asks ten times; each is decided promptly.
async fn ten_quick_requests(limits: &Limits) -> Vec<Result<(), Refusal>> {
    let mut outcomes = Vec::new();
    for _ in 0..10 {
        let start = Instant::now();
        outcomes.push(request(limits, "usr_1").await);
        let took = start.elapsed();
        assert!(took < PROMPT, "{took:?}");
    }
    outcomes
}

async fn assert_on_outage(limits: &Limits, on_outage: OnOutage) {
    let outcomes = ten_quick_requests(limits).await;
    let passed = outcomes.iter().filter(|it| it.is_ok()).count();
    match on_outage {
        OnOutage::Closed => assert_eq!(outcomes, vec![Err(Refusal::Unavailable); 10]),
        OnOutage::Local => {
            assert_eq!(passed, 4);
            assert_eq!(limit(outcomes[9]), Some(LimitName::PerUser));
        }
        OnOutage::Open => assert_eq!(passed, 10),
    }
    assert_eq!(decided_without(limits), 10);
}

const EVERY_WAY: [OnOutage; 3] = [OnOutage::Closed, OnOutage::Local, OnOutage::Open];

#[tokio::test]
async fn a_killed_server_leaves_the_decision_to_on_outage_until_it_is_back() {
    for on_outage in EVERY_WAY {
        let server = Server::start();
        let port = server.port;
        let limits = connected(four_per_user(&server.url(), on_outage)).await;
        assert_eq!(request(&limits, "usr_2").await, Ok(()));
        server.kill();
        assert_on_outage(&limits, on_outage).await;
        assert!(!limits.statistics().store.unwrap().up);
        let _server = Server::start_on(port);
        assert!(limits.connect(PATIENCE).await, "it does not come back");
        for n in 0..5 {
            assert_eq!(request(&limits, "usr_1").await.is_ok(), n < 4);
        }
        assert_eq!(decided_without(&limits), 10);
    }
}

#[tokio::test]
async fn a_server_that_is_down_at_start_is_found_when_it_comes() {
    for on_outage in EVERY_WAY {
        let port = free_port();
        let url = format!("redis://127.0.0.1:{port}");
        let limits = Limits::new(four_per_user(&url, on_outage)).unwrap();
        assert_on_outage(&limits, on_outage).await;
        let _server = Server::start_on(port);
        assert!(limits.connect(PATIENCE).await, "it is not found");
        assert_eq!(request(&limits, "usr_2").await, Ok(()));
        assert_eq!(decided_without(&limits), 10);
    }
}

#[tokio::test]
async fn a_hung_server_costs_one_wait_and_then_none() {
    for on_outage in EVERY_WAY {
        let server = Server::start();
        let limits = connected(four_per_user(&server.url(), on_outage)).await;
        server.signal("STOP");
        let mut together = JoinSet::new();
        for _ in 0..50 {
            let limits = Arc::clone(&limits);
            together.spawn(async move {
                let start = Instant::now();
                let _ = request(&limits, "usr_2").await;
                start.elapsed()
            });
        }
        let slowest = together.join_all().await.into_iter().max().unwrap();
        assert!(slowest < PROMPT, "{slowest:?}");
        let start = Instant::now();
        for _ in 0..1000 {
            let _ = request(&limits, "usr_3").await;
        }
        let all = start.elapsed();
        assert!(all < Duration::from_millis(500), "1000 took {all:?}");
        server.signal("CONT");
        assert!(limits.connect(PATIENCE).await, "it does not come back");
        let before = decided_without(&limits);
        assert_eq!(request(&limits, "usr_1").await, Ok(()));
        assert_eq!(decided_without(&limits), before);
        assert_eq!(limits.statistics().store.unwrap().outages, 1);
    }
}

#[tokio::test]
async fn a_replica_that_cannot_be_written_to_is_as_good_as_away() {
    let server = Server::start();
    let limits = connected(four_per_user(&server.url(), OnOutage::Closed)).await;
    let mut behind = server.connection();
    let mut replica_of = |host: &str, port: &str| {
        let _: () = redis::cmd("REPLICAOF")
            .arg(host)
            .arg(port)
            .query(&mut behind)
            .unwrap();
    };
    replica_of("127.0.0.1", &free_port().to_string());
    assert_on_outage(&limits, OnOutage::Closed).await;
    replica_of("NO", "ONE");
    assert!(limits.connect(PATIENCE).await, "it does not come back");
    assert_eq!(request(&limits, "usr_1").await, Ok(()));
}

#[tokio::test]
async fn slow_and_senseless_answers_are_as_good_as_none() {
    for mode in [
        Mode::Slow(Duration::from_millis(200)),
        Mode::Garbled(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        Mode::Garbled(b"+OK\r\n"),
        Mode::Garbled(b"$-1\r\n"),
        Mode::Garbled(b"*2\r\n:9\r\n:1\r\n"),
        Mode::Garbled(b"*2\r\n:0\r\n:1\r\n"),
        Mode::Garbled(b"*2\r\n:1\r\n:9223372036854775807\r\n"),
        Mode::Garbled(b"*2\r\n:-1\r\n:-1\r\n"),
        Mode::Garbled(b"\0\xff\0\xff"),
        Mode::Garbled(b"-ERR unknown command\r\n"),
        Mode::Garbled(b"-LOADING Redis is loading the dataset in memory\r\n"),
    ] {
        let server = Server::start();
        let relay = Relay::before(&server).await;
        let limits = connected(four_per_user(&relay.url(), OnOutage::Closed)).await;
        relay.set(mode);
        assert_on_outage(&limits, OnOutage::Closed).await;
        relay.set(Mode::Through);
        assert!(limits.connect(PATIENCE).await, "it does not come back");
        assert_eq!(request(&limits, "usr_2").await, Ok(()));
    }
}

#[tokio::test]
async fn a_store_too_slow_for_the_crowd_does_not_let_it_wait_ever_longer() {
    let server = Server::start();
    let relay = Relay::before(&server).await;
    let limits = connected(settings(&relay.url(), OnOutage::Closed)).await;
    relay.set(Mode::Slow(Duration::from_millis(30)));
    let mut crowd = JoinSet::new();
    let start = Instant::now();
    for n in 0..3000 {
        let limits = Arc::clone(&limits);
        crowd.spawn(async move { request(&limits, "usr_1").await });
        if n % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    crowd.join_all().await;
    let took = start.elapsed();
    // One by one, 32 at a time, they would take almost three seconds.
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn a_line_that_was_closed_while_idle_and_a_forgotten_script_cost_no_decision() {
    let server = Server::start();
    let limits = connected(settings(&server.url(), OnOutage::Closed)).await;
    let mut behind = server.connection();
    let kill = ["KILL", "TYPE", "normal", "SKIPME", "yes"];
    let _: () = redis::cmd("CLIENT").arg(&kill).query(&mut behind).unwrap();
    assert_eq!(request(&limits, "usr_1").await, Ok(()));
    let _: () = redis::cmd("SCRIPT")
        .arg("FLUSH")
        .query(&mut behind)
        .unwrap();
    assert_eq!(request(&limits, "usr_1").await, Ok(()));
    assert_eq!(decided_without(&limits), 0);
}

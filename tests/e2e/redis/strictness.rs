//! As strict as in memory, and as discreet: what is counted, in how many trips, under which names.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use signet::limits::{LimitName, Limits, OnOutage, Quota, Refusal, Settings, Store};
use tokio::task::JoinSet;

use super::server::Server;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn of_500_parallel_requests_over_three_replicas_exactly_the_burst_of_20_passes() {
    let server = Server::start();
    let mut requests = JoinSet::new();
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(connected(settings(&server.url(), OnOutage::Closed)).await);
    }
    for limits in replicas.iter().cycle().take(500) {
        let limits = Arc::clone(limits);
        requests.spawn(async move { request(&limits, "usr_1").await });
    }
    let outcomes = requests.join_all().await;
    let passed = outcomes.iter().filter(|it| it.is_ok()).count();
    assert_eq!(passed, 20);
    let refused = outcomes.into_iter().filter_map(limit);
    let by_user = refused.filter(|it| *it == LimitName::PerUser).count();
    assert_eq!(by_user, 480);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_300_wrong_keys_over_three_replicas_ten_are_told_so_and_a_right_one_is_refused() {
    let server = Server::start();
    let mut requests = JoinSet::new();
    for _ in 0..3 {
        let limits = connected(settings(&server.url(), OnOutage::Closed)).await;
        for _ in 0..100 {
            let limits = Arc::clone(&limits);
            requests.spawn(async move { wrong_key(&limits).await });
        }
    }
    let told = requests.join_all().await;
    assert_eq!(told.iter().filter(|it| it.is_ok()).count(), 10);
    let limits = connected(settings(&server.url(), OnOutage::Closed)).await;
    let right = request(&limits, "usr_1").await;
    assert_eq!(limit(right), Some(LimitName::FailedAuth));
}

#[tokio::test]
async fn the_store_decides_every_request_as_memory_does() {
    let server = Server::start();
    let quotas = |store| {
        let quota = |rate, burst| Quota::new(rate, HOUR, burst).unwrap();
        Settings {
            per_ip: quota(1, 1000),
            exempt: Vec::new(),
            per_caller: quota(3, 30),
            per_user: quota(7, 4),
            failed_auth: quota(11, 5),
            store,
        }
    };
    let Store::Shared(store) = settings(&server.url(), OnOutage::Closed).store else {
        unreachable!("it is shared");
    };
    let shared = connected(quotas(Store::Shared(store))).await;
    let memory = Limits::new(quotas(Store::Memory)).unwrap();
    for n in 0..60_u32 {
        let user = format!("usr_{}", n * n % 11);
        let (there, here) = if n % 17 == 0 {
            (wrong_key(&shared).await, wrong_key(&memory).await)
        } else {
            (request(&shared, &user).await, request(&memory, &user).await)
        };
        assert_eq!(limit(there), limit(here), "request {n} of {user}");
        assert_eq!(there.is_ok(), here.is_ok());
    }
    let refused = |limits: &Limits| limits.statistics().limits.map(|it| it.refused);
    assert_eq!(refused(&shared), refused(&memory));
    assert!(refused(&memory)[1..].iter().sum::<u64>() > 0);
}

#[tokio::test]
async fn after_the_wait_that_it_names_one_more_passes() {
    let server = Server::start();
    let limits = connected(Settings {
        per_user: Quota::new(5, Duration::from_secs(1), 1).unwrap(),
        ..settings(&server.url(), OnOutage::Closed)
    })
    .await;
    assert_eq!(request(&limits, "usr_1").await, Ok(()));
    let Err(Refusal::Exceeded(refusal)) = request(&limits, "usr_1").await else {
        panic!("the burst is one");
    };
    assert!(refusal.retry_after <= Duration::from_millis(200));
    tokio::time::sleep(refusal.retry_after).await;
    assert_eq!(request(&limits, "usr_1").await, Ok(()));
    assert!(request(&limits, "usr_1").await.is_err());
}

#[tokio::test]
async fn the_address_is_limited_here_too_unless_it_is_exempt() {
    let server = Server::start();
    let limits = connected(Settings {
        per_ip: Quota::new(1, HOUR, 2).unwrap(),
        ..settings(&server.url(), OnOutage::Closed)
    })
    .await;
    for (ip, third) in [
        ("192.0.2.1", Some(LimitName::PerIp)),
        ("2001:db8::1", Some(LimitName::PerIp)),
        ("10.0.0.1", None),
    ] {
        let mut outcomes = Vec::new();
        for _ in 0..3 {
            let mut passage = limits.passage(ip.parse().unwrap());
            passage.admit_address().unwrap();
            outcomes.push(limit(passage.settle().await));
        }
        assert_eq!(outcomes, [None, None, third], "{ip}");
    }
}

#[tokio::test]
async fn a_request_costs_one_round_trip_and_leaves_keys_that_end_and_name_nobody() {
    let server = Server::start();
    let limits = connected(settings(&server.url(), OnOutage::Closed)).await;
    let mut behind = server.connection();
    let _: () = redis::cmd("CONFIG")
        .arg("RESETSTAT")
        .query(&mut behind)
        .unwrap();
    for user in ["usr_1", "usr_2"] {
        assert_eq!(request(&limits, user).await, Ok(()));
    }
    assert_eq!(wrong_key(&limits).await, Ok(()));
    let calls: String = redis::cmd("INFO")
        .arg("commandstats")
        .query(&mut behind)
        .unwrap();
    assert!(calls.contains("cmdstat_evalsha:calls=3,"), "{calls}");
    let names: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut behind).unwrap();
    for limit in LimitName::ALL {
        let prefix = format!("signet:{limit}:");
        assert!(
            names.iter().any(|name| name.starts_with(&prefix)),
            "{limit}"
        );
    }
    for name in names {
        assert!(name.starts_with("signet:"), "{name}");
        for word in ["usr_", "acme", "shop", "192", "77"] {
            let who = name.rsplit(':').next().unwrap();
            assert!(word.len() < 3 || !who.contains(word), "{name}");
        }
        let lives: i64 = redis::cmd("PTTL").arg(&name).query(&mut behind).unwrap();
        // -1 is for ever; -2 is gone already, as the probe's is after a millisecond.
        assert_ne!(lives, -1, "{name}");
        assert!(lives <= 1000 * 3600 * 1000, "{name} lives for {lives} ms");
    }
}

#[tokio::test]
async fn another_pepper_gives_other_names() {
    let server = Server::start();
    let mut names = Vec::new();
    for pepper in [None, Some("one"), Some("another")] {
        let mut settings = settings(&server.url(), OnOutage::Closed);
        if let Store::Shared(shared) = &mut settings.store {
            shared.pepper = pepper.map(SecretString::from);
        }
        let limits = connected(settings).await;
        assert_eq!(request(&limits, "usr_1").await, Ok(()));
        let mut behind = server.connection();
        let mut found: Vec<String> = redis::cmd("KEYS")
            .arg("signet:per-user:*")
            .query(&mut behind)
            .unwrap();
        names.append(&mut found);
        let _: () = redis::cmd("FLUSHALL").query(&mut behind).unwrap();
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3);
}

#[tokio::test]
async fn a_clock_that_jumps_back_keeps_nobody_out_for_longer_than_a_refill() {
    let server = Server::start();
    let limits = connected(settings(&server.url(), OnOutage::Closed)).await;
    assert_eq!(request(&limits, "usr_1").await, Ok(()));
    let mut behind = server.connection();
    let names: Vec<String> = redis::cmd("KEYS")
        .arg("signet:per-user:*")
        .query(&mut behind)
        .unwrap();
    let far_ahead = "9000000000000000";
    let _: () = redis::cmd("SET")
        .arg(&names[0])
        .arg(far_ahead)
        .query(&mut behind)
        .unwrap();
    let Err(Refusal::Exceeded(refusal)) = request(&limits, "usr_1").await else {
        panic!("it is spent");
    };
    assert!(refusal.retry_after <= HOUR, "{:?}", refusal.retry_after);
}

#[tokio::test]
async fn shadow_mode_refuses_nobody_and_counts_whom_it_would_have() {
    let server = Server::start();
    let mut settings = four_per_user(&server.url(), OnOutage::Closed);
    if let Store::Shared(shared) = &mut settings.store {
        shared.enforce = false;
    }
    let limits = connected(settings).await;
    for _ in 0..10 {
        assert_eq!(request(&limits, "usr_1").await, Ok(()));
    }
    let per_user = limits.statistics().limits[LimitName::PerUser as usize];
    assert_eq!((per_user.refused, per_user.would_have_refused), (0, 6));
    server.kill();
    assert_eq!(request(&limits, "usr_1").await, Ok(()), "not even then");
}

#[tokio::test]
async fn a_reload_keeps_the_connection_and_takes_what_has_changed() {
    let server = Server::start();
    let before = connected(four_per_user(&server.url(), OnOutage::Closed)).await;
    for _ in 0..4 {
        assert_eq!(request(&before, "usr_1").await, Ok(()));
    }
    let reloaded = four_per_user(&server.url(), OnOutage::Open);
    let after = before.with_settings(reloaded).unwrap();
    assert!(after.statistics().store.unwrap().up, "the line is kept");
    assert_eq!(
        limit(request(&after, "usr_1").await),
        Some(LimitName::PerUser)
    );
    let mut wider = four_per_user(&server.url(), OnOutage::Open);
    wider.per_user = Quota::new(1, HOUR, 5).unwrap();
    let wider = before.with_settings(wider).unwrap();
    for _ in 0..5 {
        assert_eq!(request(&wider, "usr_1").await, Ok(()), "it starts afresh");
    }
    server.kill();
    assert_eq!(request(&after, "usr_1").await, Ok(()));
    assert_eq!(request(&before, "usr_1").await, Err(Refusal::Unavailable));
}

//! The shared limits against a real `redis-server`: as strict as in memory, and what happens when it is away.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod access;
mod outages;
mod server;
mod strictness;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use signet::limits::{
    LimitName, Limits, OnOutage, Quota, Refusal, Settings, SharedSettings, Store,
};

const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(5);

/// Per address 1000, wrong keys 10, per caller 500, per user 20; one more of each in an hour.
fn settings(url: &str, on_outage: OnOutage) -> Settings {
    let hourly = |burst| Quota::new(1, HOUR, burst).unwrap();
    Settings {
        per_ip: hourly(1000),
        exempt: vec!["10.0.0.0/8".parse().unwrap()],
        per_caller: hourly(500),
        per_user: hourly(20),
        failed_auth: hourly(10),
        store: Store::Shared(SharedSettings {
            url: SecretString::from(url),
            on_outage,
            enforce: true,
            prefix: "signet".to_owned(),
            pepper: Some(SecretString::from("of all replicas")),
        }),
    }
}

async fn connected(settings: Settings) -> Arc<Limits> {
    let limits = Limits::new(settings).unwrap();
    assert!(limits.connect(PATIENCE).await, "no connection");
    Arc::new(limits)
}

fn ip() -> IpAddr {
    "192.0.2.77".parse().unwrap()
}

/// What a request with a right key goes through.
async fn request(limits: &Limits, user: &str) -> Result<(), Refusal> {
    let mut passage = limits.passage(ip());
    passage.admit_address()?;
    passage.admit_caller("shop")?;
    passage.admit_user("acme", user)?;
    passage.settle().await
}

/// What a request with a wrong key goes through.
async fn wrong_key(limits: &Limits) -> Result<(), Refusal> {
    let mut passage = limits.passage(ip());
    passage.admit_address()?;
    passage.record_failed_authentication().await
}

fn limit(outcome: Result<(), Refusal>) -> Option<LimitName> {
    match outcome {
        Err(Refusal::Exceeded(exceeded)) => Some(exceeded.limit),
        Ok(()) | Err(Refusal::Unavailable) => None,
    }
}

fn decided_without(limits: &Limits) -> u64 {
    limits.statistics().store.unwrap().decided_without
}

/// The same, but per user 4.
fn four_per_user(url: &str, on_outage: OnOutage) -> Settings {
    Settings {
        per_user: Quota::new(1, HOUR, 4).unwrap(),
        ..settings(url, on_outage)
    }
}

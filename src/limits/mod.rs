//! How often one may ask: per address, per wrong key, per caller and per user.
//!
//! A request takes its [`Passage`] through the limits in a fixed order: per IP, failed
//! authentication per IP, per caller, per user. What a later limit refuses has been counted by the
//! earlier ones, as each stands before the work behind it.
//!
//! The per-IP limit runs in `tower_governor`'s layer, before anything is known but the address:
//! this room gives it the key ([`AddressTable::key`]) and keeps its table within bounds. The others
//! need to know who asks, and live here on `governor`.
//!
//! A table's key is a 64-bit hash under a secret of this process. No address and no user ID is
//! kept, and two of 100,000 keys share a counter with a probability of 3 in 10,000,000,000.

mod address;
mod passage;
mod quota;
mod statistics;
mod table;

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::{Instant, MissedTickBehavior};

pub use address::{AddressKey, AddressLimiter, AddressTable};
pub use passage::Passage;
pub use quota::{Exceeded, LimitName, Quota};
use statistics::Counters;
pub use statistics::{LimitStatistics, Statistics};
use table::Table;

/// How often a full table is looked for, and swept before its time.
const LOOK_FOR_FULL_TABLES: Duration = Duration::from_secs(1);

/// What an operator may set.
pub struct Settings {
    /// Requests per address.
    pub per_ip: Quota,
    /// Networks whose addresses the per-IP limit leaves alone.
    pub exempt: Vec<IpNet>,
    /// Requests per caller.
    pub per_caller: Quota,
    /// Tokens per user of an app.
    pub per_user: Quota,
    /// Wrong keys per address.
    pub failed_auth: Quota,
}

impl Settings {
    fn quota(&self, limit: LimitName) -> Quota {
        match limit {
            LimitName::PerIp => self.per_ip,
            LimitName::FailedAuth => self.failed_auth,
            LimitName::PerCaller => self.per_caller,
            LimitName::PerUser => self.per_user,
        }
    }
}

/// Settings that cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// A part of a quota is zero.
    #[error("`{0}` must be at least 1; a limit that lets nobody pass would be an outage")]
    Zero(&'static str),
    /// More than one request per nanosecond.
    #[error("a `rate` above one per nanosecond cannot be kept; lower it or lengthen `per`")]
    TooFast,
    /// A spent limit would not be whole again within a year.
    #[error("`burst` takes more than a year to come back; raise `rate` or lower `burst`")]
    TooSlow,
}

/// Why a request may not pass now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It came too early.
    #[error("the {} limit is spent; wait {} s", .0.limit, .0.retry_after_seconds())]
    Exceeded(Exceeded),
}

/// The limits of one snapshot of the configuration.
pub struct Limits {
    settings: Settings,
    addresses: Arc<AddressTable>,
    tables: [Arc<Table>; 4],
    hasher: RandomState,
    counters: Arc<Counters>,
}

impl Limits {
    /// Limits that have seen nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let hasher = RandomState::new();
        Self {
            addresses: Arc::new(AddressTable::new(hasher.clone())),
            tables: LimitName::ALL.map(|limit| Arc::new(Table::new(settings.quota(limit)))),
            counters: Arc::default(),
            hasher,
            settings,
        }
    }

    /// These limits under new settings: each whose quota is the same keeps its counters, and shares
    /// them with `self` while both are in use; each other starts afresh.
    #[must_use]
    pub fn with_settings(&self, settings: Settings) -> Self {
        let addresses = if settings.per_ip == self.settings.per_ip {
            Arc::clone(&self.addresses)
        } else {
            Arc::new(AddressTable::new(self.hasher.clone()))
        };
        let tables = LimitName::ALL.map(|limit| {
            let table = &self.tables[limit as usize];
            if table.quota() == settings.quota(limit) {
                Arc::clone(table)
            } else {
                Arc::new(Table::new(settings.quota(limit)))
            }
        });
        Self {
            addresses,
            tables,
            counters: Arc::clone(&self.counters),
            hasher: self.hasher.clone(),
            settings,
        }
    }

    /// What a limit allows.
    #[must_use]
    pub fn quota(&self, limit: LimitName) -> Quota {
        self.settings.quota(limit)
    }

    /// Whether the per-IP limit leaves this address alone.
    #[must_use]
    pub fn is_exempt(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.settings.exempt.iter().any(|net| net.contains(&ip))
    }

    /// The keys for `tower_governor`'s layer, which lives as long as the per-IP quota stays the same.
    #[must_use]
    pub fn addresses(&self) -> &Arc<AddressTable> {
        &self.addresses
    }

    /// What to answer when `tower_governor`'s layer refuses, counted as a refusal of the per-IP limit.
    ///
    /// `whole_seconds` is its `wait_time`, which is rounded down; the second that it may have lost is
    /// given back here.
    #[must_use]
    pub fn refused_by_layer(&self, whole_seconds: u64) -> Exceeded {
        self.exceeded(
            LimitName::PerIp,
            Duration::from_secs(whole_seconds.saturating_add(1)),
        )
    }

    /// Starts one request from `address` (the client's, as the service computed it) on its way.
    #[must_use]
    pub fn passage(&self, address: IpAddr) -> Passage<'_> {
        Passage::new(self, address)
    }

    /// The numbers for the metrics.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics {
            limits: LimitName::ALL.map(|limit| {
                let table = &self.tables[limit as usize];
                let mut keys = table.len();
                let mut full = table.is_full();
                if limit == LimitName::PerIp {
                    keys += self.addresses.len();
                    full |= self.addresses.is_full();
                }
                LimitStatistics {
                    limit,
                    refused: self.counters.refused(limit),
                    keys,
                    full,
                }
            }),
        }
    }

    /// Forgets all that is as good as new, in every table. Blocks while it looks at every key: some
    /// milliseconds for 100,000 of them.
    pub fn sweep(&self) {
        for table in &self.tables {
            table.sweep();
        }
        self.addresses.sweep();
    }

    /// Sweeps every `interval`, and within a second once a table is full; ends when the limits are
    /// no longer in use. Spawn one for each `Limits`, as a task on a Tokio runtime.
    pub fn sweep_forever(
        self: &Arc<Self>,
        interval: Duration,
    ) -> impl Future<Output = ()> + Send + use<> {
        sweep_while_alive(Arc::downgrade(self), interval)
    }

    fn is_full(&self) -> bool {
        self.addresses.is_full() || self.tables.iter().any(|table| table.is_full())
    }

    fn key(&self, counted: impl Hash) -> u64 {
        self.hasher.hash_one(counted)
    }

    fn take(&self, limit: LimitName, key: u64) -> Result<(), Refusal> {
        let taken = self.tables[limit as usize].take(key);
        taken.map_err(|wait| Refusal::Exceeded(self.exceeded(limit, wait)))
    }

    fn look(&self, limit: LimitName, key: u64) -> Result<(), Refusal> {
        let seen = self.tables[limit as usize].peek(key);
        seen.map_err(|wait| Refusal::Exceeded(self.exceeded(limit, wait)))
    }

    fn exceeded(&self, limit: LimitName, retry_after: Duration) -> Exceeded {
        self.counters.count_refusal(limit);
        Exceeded {
            limit,
            quota: self.quota(limit),
            retry_after,
        }
    }
}

async fn sweep_while_alive(limits: Weak<Limits>, interval: Duration) {
    let mut tick = tokio::time::interval(interval.min(LOOK_FOR_FULL_TABLES));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut swept = Instant::now();
    loop {
        tick.tick().await;
        let Some(limits) = limits.upgrade() else {
            return;
        };
        if swept.elapsed() >= interval || limits.is_full() {
            // A sweep holds locks and looks at every key: not on a thread that serves requests.
            let sweep = tokio::task::spawn_blocking(move || limits.sweep());
            if sweep.await.is_err() {
                tracing::error!("sweeping the limits' tables failed; trying again");
            }
            swept = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn settings() -> Settings {
        let hourly = |burst| Quota::new(1, HOUR, burst).unwrap();
        Settings {
            per_ip: hourly(4),
            exempt: vec![
                "10.0.0.0/8".parse().unwrap(),
                "2001:db8::/32".parse().unwrap(),
            ],
            per_caller: hourly(3),
            per_user: hourly(2),
            failed_auth: hourly(10),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn limit(refusal: Result<(), Refusal>) -> LimitName {
        match refusal.unwrap_err() {
            Refusal::Exceeded(exceeded) => exceeded.limit,
        }
    }

    #[tokio::test]
    async fn callers_and_users_are_counted_each_for_itself() {
        let limits = Limits::new(settings());
        let mut passage = limits.passage(ip("192.0.2.1"));
        for _ in 0..3 {
            assert_eq!(passage.admit_caller("shop").await, Ok(()));
        }
        assert_eq!(
            limit(passage.admit_caller("shop").await),
            LimitName::PerCaller
        );
        assert_eq!(passage.admit_caller("forum").await, Ok(()));
        for _ in 0..2 {
            assert_eq!(passage.admit_user("acme", "usr_1").await, Ok(()));
        }
        assert_eq!(
            limit(passage.admit_user("acme", "usr_1").await),
            LimitName::PerUser
        );
        assert_eq!(passage.admit_user("acme", "usr_2").await, Ok(()));
        assert_eq!(passage.admit_user("other", "usr_1").await, Ok(()));
        assert_eq!(passage.admit_user("acmeu", "sr_1").await, Ok(()));
    }

    #[tokio::test]
    async fn the_tenth_wrong_key_is_told_so_and_then_even_a_right_one_is_refused() {
        let limits = Limits::new(settings());
        let mut passage = limits.passage(ip("192.0.2.1"));
        for _ in 0..10 {
            assert_eq!(passage.admit_address().await, Ok(()));
            assert_eq!(passage.record_failed_authentication().await, Ok(()));
        }
        assert_eq!(limit(passage.admit_address().await), LimitName::FailedAuth);
        assert_eq!(
            limit(passage.record_failed_authentication().await),
            LimitName::FailedAuth
        );
        let mut elsewhere = limits.passage(ip("192.0.2.2"));
        assert_eq!(elsewhere.admit_address().await, Ok(()));
        let refused = limits.statistics().limits[LimitName::FailedAuth as usize].refused;
        assert_eq!(refused, 2);
    }

    #[test]
    fn of_500_wrong_keys_at_once_exactly_the_burst_is_told_so() {
        let limits = Limits::new(settings());
        let limits = &limits;
        let told: usize = std::thread::scope(|scope| {
            let client = || {
                (0..50)
                    .filter(|_| limits.take(LimitName::FailedAuth, 1).is_ok())
                    .count()
            };
            let clients: Vec<_> = (0..10).map(|_| scope.spawn(client)).collect();
            clients.into_iter().map(|it| it.join().unwrap()).sum()
        });
        assert_eq!(told, 10);
    }

    #[test]
    fn exempt_networks_are_known_through_ipv6_too() {
        let limits = Limits::new(settings());
        for (address, exempt) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("2001:db8:1::1", true),
            ("192.0.2.1", false),
            ("2001:db9::1", false),
        ] {
            assert_eq!(limits.is_exempt(ip(address)), exempt, "{address}");
        }
    }

    #[tokio::test]
    async fn a_reload_keeps_the_counters_of_unchanged_limits_and_renews_the_changed() {
        let before = Limits::new(settings());
        let mut passage = before.passage(ip("192.0.2.1"));
        for _ in 0..2 {
            assert_eq!(passage.admit_user("acme", "usr_1").await, Ok(()));
        }
        for _ in 0..3 {
            assert_eq!(passage.admit_caller("shop").await, Ok(()));
        }
        assert_eq!(
            limit(passage.admit_caller("shop").await),
            LimitName::PerCaller
        );
        let after = before.with_settings(Settings {
            per_caller: Quota::new(2, HOUR, 3).unwrap(),
            ..settings()
        });
        let mut passage = after.passage(ip("192.0.2.1"));
        assert_eq!(
            limit(passage.admit_user("acme", "usr_1").await),
            LimitName::PerUser
        );
        assert_eq!(passage.admit_caller("shop").await, Ok(()));
        assert!(Arc::ptr_eq(before.addresses(), after.addresses()));
        let counted = after.statistics().limits.map(|limit| limit.refused);
        assert_eq!(counted, [0, 0, 1, 1], "the counts go on");
        let changed = before.with_settings(Settings {
            per_ip: Quota::new(1, HOUR, 5).unwrap(),
            ..settings()
        });
        assert!(!Arc::ptr_eq(before.addresses(), changed.addresses()));
    }

    #[test]
    fn a_refusal_by_the_layer_never_names_too_short_a_wait() {
        let limits = Limits::new(settings());
        for (floored, told) in [(0, 1), (11, 12)] {
            let refusal = limits.refused_by_layer(floored);
            assert_eq!(refusal.retry_after_seconds(), told);
            assert_eq!(refusal.limit, LimitName::PerIp);
        }
        assert_eq!(limits.statistics().limits[0].refused, 2);
    }

    #[tokio::test]
    async fn the_sweeper_sweeps_and_ends_with_its_limits() {
        let limits = Arc::new(Limits::new(Settings {
            per_user: Quota::new(1000, Duration::from_secs(1), 1).unwrap(),
            ..settings()
        }));
        let mut passage = limits.passage(ip("192.0.2.1"));
        assert_eq!(passage.admit_user("acme", "usr_1").await, Ok(()));
        let sweeper = tokio::spawn(limits.sweep_forever(Duration::from_millis(1)));
        let patience = Duration::from_secs(10);
        let swept = async {
            while limits.statistics().limits[LimitName::PerUser as usize].keys > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(patience, swept).await.unwrap();
        drop(limits);
        tokio::time::timeout(patience, sweeper)
            .await
            .unwrap()
            .unwrap();
    }
}

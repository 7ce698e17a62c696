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
//! With [`Store::Shared`] all four are decided in Redis or Valkey instead, for all replicas together
//! and as strictly; the tables here then only serve `on_outage = "local"`.
//!
//! A table's key is a 64-bit hash under a secret of this process. No address and no user ID is
//! kept, and two of 100,000 keys share a counter with a probability of 3 in 10,000,000,000.

mod address;
mod outage;
mod passage;
mod quota;
mod settings;
mod shared;
mod statistics;
mod table;

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

pub use address::{AddressKey, AddressLimiter, AddressTable};
pub use passage::Passage;
use passage::Step;
pub use quota::{Exceeded, LimitName, Quota};
pub use settings::{LimitsError, OnOutage, Settings, SharedSettings, Store};
use shared::{Away, Question, SharedStore, Verdict};
use statistics::Counters;
pub use statistics::{LimitStatistics, Statistics, StoreStatistics};
use table::Table;

/// How often a full table is looked for, and swept before its time.
const LOOK_FOR_FULL_TABLES: Duration = Duration::from_secs(1);

/// Why a request may not pass now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It came too early.
    #[error("the {} limit is spent; wait {} s", .0.limit, .0.retry_after_seconds())]
    Exceeded(Exceeded),
    /// The shared store is away, and `on_outage` is `closed`.
    #[error("the shared limits cannot be asked; try again")]
    Unavailable,
}

/// The limits of one snapshot of the configuration.
pub struct Limits {
    settings: Settings,
    addresses: Arc<AddressTable>,
    tables: [Arc<Table>; 4],
    hasher: RandomState,
    counters: Arc<Counters>,
    shared: Option<Shared>,
}

/// The shared store, and what this snapshot makes of it.
struct Shared {
    store: Arc<SharedStore>,
    on_outage: OnOutage,
    enforce: bool,
}

impl Limits {
    /// Limits that have seen nothing yet. Connects to nothing: see [`Limits::connect`].
    ///
    /// # Errors
    ///
    /// [`LimitsError::Url`] or [`LimitsError::Insecure`] for a shared store that cannot be used.
    pub fn new(settings: Settings) -> Result<Self, LimitsError> {
        let hasher = RandomState::new();
        let counters = Arc::default();
        Ok(Self {
            addresses: Arc::new(AddressTable::new(hasher.clone())),
            tables: LimitName::ALL.map(|limit| Arc::new(Table::new(settings.quota(limit)))),
            shared: Shared::new(&settings.store, &counters, None)?,
            counters,
            hasher,
            settings,
        })
    }

    /// These limits under new settings: each whose quota is the same keeps its counters, and shares
    /// them with `self` while both are in use; each other starts afresh. A connection to the same
    /// shared store is kept as well.
    ///
    /// # Errors
    ///
    /// As for [`Limits::new`].
    pub fn with_settings(&self, settings: Settings) -> Result<Self, LimitsError> {
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
        Ok(Self {
            addresses,
            tables,
            shared: Shared::new(&settings.store, &self.counters, self.shared.as_ref())?,
            counters: Arc::clone(&self.counters),
            hasher: self.hasher.clone(),
            settings,
        })
    }

    /// Whether the counters are shared with other replicas. If so, no `tower_governor` layer is
    /// wanted: [`Passage::admit_address`] asks the per-IP limit, too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Connects to the shared store, if there is one, and waits for it for at most `patience`. Says
    /// whether it answers; if not, it is tried again until it does. Wants a Tokio runtime.
    ///
    /// Without this call the first request connects, and is decided by `on_outage` if that takes
    /// long.
    pub async fn connect(&self, patience: Duration) -> bool {
        match &self.shared {
            Some(shared) => shared.store.connect(patience).await,
            None => true,
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
            true,
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
                    would_have_refused: self.counters.would_have_refused(limit),
                    keys,
                    full,
                }
            }),
            store: self
                .shared
                .as_ref()
                .map(|shared| self.counters.store(shared.store.is_up())),
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

    /// Whether this limit has counted nobody, in this process or in a shared store, whom it would still hold it against.
    fn holds_nothing(&self, limit: LimitName) -> bool {
        self.shared.is_none() && self.tables[limit as usize].is_empty()
    }

    /// Decides in this process; refused, it gives the time to wait.
    fn decide(&self, step: &Step) -> Result<(), Duration> {
        let table = &self.tables[step.limit as usize];
        if step.counts {
            table.take(step.key)
        } else {
            table.peek(step.key)
        }
    }

    async fn decide_shared(
        &self,
        shared: &Shared,
        steps: &[Step],
        questions: &[Question],
    ) -> Result<(), Refusal> {
        let refused = match shared.store.ask(questions).await {
            Ok(Verdict::Admitted) => None,
            Ok(Verdict::Refused(index, wait)) => Some((steps[index].limit, wait)),
            Err(Away) => {
                self.counters.count_decision_without_store();
                match shared.on_outage {
                    OnOutage::Closed if shared.enforce => return Err(Refusal::Unavailable),
                    OnOutage::Closed | OnOutage::Open => None,
                    OnOutage::Local => steps.iter().find_map(|step| {
                        let wait = self.decide(step).err()?;
                        Some((step.limit, wait))
                    }),
                }
            }
        };
        refused.map_or(Ok(()), |(limit, wait)| self.refuse(limit, wait))
    }

    /// Counts a refusal, and gives it unless limits are not enforced.
    fn refuse(&self, limit: LimitName, wait: Duration) -> Result<(), Refusal> {
        let enforced = self.shared.as_ref().is_none_or(|shared| shared.enforce);
        let exceeded = self.exceeded(limit, wait, enforced);
        if enforced {
            Err(Refusal::Exceeded(exceeded))
        } else {
            Ok(())
        }
    }

    fn exceeded(&self, limit: LimitName, retry_after: Duration, enforced: bool) -> Exceeded {
        self.counters.count_refusal(limit, enforced);
        Exceeded {
            limit,
            quota: self.quota(limit),
            retry_after,
        }
    }
}

impl Shared {
    fn new(
        store: &Store,
        counters: &Arc<Counters>,
        before: Option<&Self>,
    ) -> Result<Option<Self>, LimitsError> {
        let Store::Shared(settings) = store else {
            return Ok(None);
        };
        let kept = before.filter(|before| before.store.fits(settings));
        let store = match kept {
            Some(kept) => Arc::clone(&kept.store),
            None => SharedStore::new(settings.clone(), Arc::clone(counters))?,
        };
        Ok(Some(Self {
            store,
            on_outage: settings.on_outage,
            enforce: settings.enforce,
        }))
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
            store: Store::Memory,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn limit(refusal: Result<(), Refusal>) -> LimitName {
        match refusal.unwrap_err() {
            Refusal::Exceeded(exceeded) => exceeded.limit,
            Refusal::Unavailable => panic!("there is nothing to be away"),
        }
    }

    #[tokio::test]
    async fn callers_and_users_are_counted_each_for_itself() {
        let limits = Limits::new(settings()).unwrap();
        let mut passage = limits.passage(ip("192.0.2.1"));
        for _ in 0..3 {
            assert_eq!(passage.admit_caller("shop"), Ok(()));
        }
        assert_eq!(limit(passage.admit_caller("shop")), LimitName::PerCaller);
        assert_eq!(passage.admit_caller("forum"), Ok(()));
        for _ in 0..2 {
            assert_eq!(passage.admit_user("acme", "usr_1"), Ok(()));
        }
        assert_eq!(
            limit(passage.admit_user("acme", "usr_1")),
            LimitName::PerUser
        );
        assert_eq!(passage.admit_user("acme", "usr_2"), Ok(()));
        assert_eq!(passage.admit_user("other", "usr_1"), Ok(()));
        assert_eq!(passage.admit_user("acmeu", "sr_1"), Ok(()));
    }

    #[tokio::test]
    async fn the_tenth_wrong_key_is_told_so_and_then_even_a_right_one_is_refused() {
        let limits = Limits::new(settings()).unwrap();
        let mut passage = limits.passage(ip("192.0.2.1"));
        for _ in 0..10 {
            assert_eq!(passage.admit_address(), Ok(()));
            assert_eq!(passage.record_failed_authentication().await, Ok(()));
        }
        assert_eq!(limit(passage.admit_address()), LimitName::FailedAuth);
        assert_eq!(
            limit(passage.record_failed_authentication().await),
            LimitName::FailedAuth
        );
        let mut elsewhere = limits.passage(ip("192.0.2.2"));
        assert_eq!(elsewhere.admit_address(), Ok(()));
        let refused = limits.statistics().limits[LimitName::FailedAuth as usize].refused;
        assert_eq!(refused, 2);
    }

    #[test]
    fn of_500_wrong_keys_at_once_exactly_the_burst_is_told_so() {
        let wrong_key = Step {
            limit: LimitName::FailedAuth,
            key: 1,
            counts: true,
        };
        let limits = Limits::new(settings()).unwrap();
        let limits = &limits;
        let told: usize = std::thread::scope(|scope| {
            let client = || {
                (0..50)
                    .filter(|_| limits.decide(&wrong_key).is_ok())
                    .count()
            };
            let clients: Vec<_> = (0..10).map(|_| scope.spawn(client)).collect();
            clients.into_iter().map(|it| it.join().unwrap()).sum()
        });
        assert_eq!(told, 10);
    }

    #[test]
    fn exempt_networks_are_known_through_ipv6_too() {
        let limits = Limits::new(settings()).unwrap();
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
        let before = Limits::new(settings()).unwrap();
        let mut passage = before.passage(ip("192.0.2.1"));
        for _ in 0..2 {
            assert_eq!(passage.admit_user("acme", "usr_1"), Ok(()));
        }
        for _ in 0..3 {
            assert_eq!(passage.admit_caller("shop"), Ok(()));
        }
        assert_eq!(limit(passage.admit_caller("shop")), LimitName::PerCaller);
        let after = before
            .with_settings(Settings {
                per_caller: Quota::new(2, HOUR, 3).unwrap(),
                ..settings()
            })
            .unwrap();
        let mut passage = after.passage(ip("192.0.2.1"));
        assert_eq!(
            limit(passage.admit_user("acme", "usr_1")),
            LimitName::PerUser
        );
        assert_eq!(passage.admit_caller("shop"), Ok(()));
        assert!(Arc::ptr_eq(before.addresses(), after.addresses()));
        let counted = after.statistics().limits.map(|limit| limit.refused);
        assert_eq!(counted, [0, 0, 1, 1], "the counts go on");
        let changed = before
            .with_settings(Settings {
                per_ip: Quota::new(1, HOUR, 5).unwrap(),
                ..settings()
            })
            .unwrap();
        assert!(!Arc::ptr_eq(before.addresses(), changed.addresses()));
    }

    #[test]
    fn a_store_that_cannot_be_used_is_refused_without_showing_its_url() {
        let store = |url: &str| Settings {
            store: Store::Shared(SharedSettings {
                url: url.into(),
                on_outage: OnOutage::Local,
                enforce: true,
                prefix: "signet".to_owned(),
                pepper: None,
            }),
            ..settings()
        };
        for (url, refusal) in [
            ("hunter2", Some(LimitsError::Url)),
            ("http://:hunter2@host", Some(LimitsError::Url)),
            ("redis://:hunter2@host:port", Some(LimitsError::Url)),
            (
                "rediss://:hunter2@host/#insecure",
                Some(LimitsError::Insecure),
            ),
            ("rediss://user:hunter2@host:6379", None),
            ("valkey://host", None),
        ] {
            let error = Limits::new(store(url)).err();
            assert_eq!(error, refusal, "{url}");
            assert!(error.is_none_or(|it| !it.to_string().contains("hunter2")));
        }
    }

    #[test]
    fn a_refusal_by_the_layer_never_names_too_short_a_wait() {
        let limits = Limits::new(settings()).unwrap();
        for (floored, told) in [(0, 1), (11, 12)] {
            let refusal = limits.refused_by_layer(floored);
            assert_eq!(refusal.retry_after_seconds(), told);
            assert_eq!(refusal.limit, LimitName::PerIp);
        }
        assert_eq!(limits.statistics().limits[0].refused, 2);
    }

    #[tokio::test]
    async fn the_sweeper_sweeps_and_ends_with_its_limits() {
        let limits = Arc::new(
            Limits::new(Settings {
                per_user: Quota::new(1000, Duration::from_secs(1), 1).unwrap(),
                ..settings()
            })
            .unwrap(),
        );
        let mut passage = limits.passage(ip("192.0.2.1"));
        assert_eq!(passage.admit_user("acme", "usr_1"), Ok(()));
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

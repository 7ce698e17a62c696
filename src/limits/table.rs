//! One limit's counters in this process: governor's arithmetic over a table that cannot outgrow its bound.

use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{NotUntil, RateLimiter};

use super::quota::Quota;

/// How many keys a table holds: at some 40 bytes each, no table takes more than 4 MB.
pub(super) const MAX_KEYS: usize = 100_000;

/// How many buckets the newcomers share while a table is full: another half megabyte, once needed.
pub(super) const SHARED_BUCKETS: usize = 1 << 16;

/// The counters of one limit. A key is a hash of what is counted, made with a secret of this
/// process: no user is named here, and nobody can aim at another's bucket.
pub(super) struct Table<C: Clock = DefaultClock> {
    limiter: RateLimiter<Asked, Bounded, C, NoOpMiddleware<C::Instant>>,
    quota: Quota,
    capacity: usize,
}

impl Table {
    pub(super) fn new(quota: Quota) -> Self {
        Self::with(quota, MAX_KEYS, DefaultClock::default())
    }
}

impl<C: Clock> Table<C> {
    fn with(quota: Quota, capacity: usize, clock: C) -> Self {
        let store = Bounded {
            map: DashMapStateStore::with_hasher(AlreadyHashed),
            entries: AtomicUsize::new(0),
            capacity,
            shared: OnceLock::new(),
            period: quota.period(),
        };
        Self {
            limiter: RateLimiter::new(quota.into(), store, clock),
            quota,
            capacity,
        }
    }

    pub(super) fn quota(&self) -> Quota {
        self.quota
    }

    /// Counts one more under `key`, or gives the time until one more may be.
    pub(super) fn take(&self, key: u64) -> Result<(), Duration> {
        self.ask(Asked { key, counts: true })
    }

    /// Says what [`Table::take`] would, and counts nothing. A key that the table doesn't hold,
    /// full or not, has nothing against it.
    pub(super) fn peek(&self, key: u64) -> Result<(), Duration> {
        self.ask(Asked { key, counts: false })
    }

    fn ask(&self, asked: Asked) -> Result<(), Duration> {
        self.limiter
            .check_key(&asked)
            .map_err(|refused: NotUntil<C::Instant>| {
                refused.wait_time_from(self.limiter.clock().now())
            })
    }

    pub(super) fn len(&self) -> usize {
        self.limiter.len()
    }

    /// Whether it holds no key, and so has nothing against anybody who only looks.
    pub(super) fn is_empty(&self) -> bool {
        self.limiter.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    /// Forgets every key that is as good as new. Blocks for as long as it takes to look at all.
    pub(super) fn sweep(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

// governor has no way to look without counting, so the key says which of the two is wanted and the
// store below keeps or drops the new state accordingly.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Asked {
    key: u64,
    counts: bool,
}

/// A key is a hash under a secret already, and is taken for its own.
#[derive(Clone, Copy, Default)]
struct AlreadyHashed;

#[derive(Default)]
struct AsItIs(u64);

impl BuildHasher for AlreadyHashed {
    type Hasher = AsItIs;

    fn build_hasher(&self) -> AsItIs {
        AsItIs::default()
    }
}

impl Hasher for AsItIs {
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key is a u64");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A map of states with a hard bound.
///
/// While it is full, keys that it holds are counted exactly as before, and all others share a
/// fixed number of buckets, chosen by the (secretly keyed) hash. The other choices are worse: to
/// refuse newcomers lets a flood of fresh addresses lock everybody out; to let them pass uncounted,
/// or to drop others' counters, lets the same flood lift the limits.
struct Bounded {
    map: DashMapStateStore<u64, AlreadyHashed>,
    // Kept beside the map: asking the map for its size locks every shard.
    entries: AtomicUsize,
    capacity: usize,
    shared: OnceLock<Box<[InMemoryState]>>,
    period: Duration,
}

impl Bounded {
    fn shared_bucket(&self, key: u64) -> &InMemoryState {
        let buckets = self.shared.get_or_init(|| {
            (0..SHARED_BUCKETS)
                .map(|_| InMemoryState::default())
                .collect()
        });
        &buckets[key as usize % buckets.len()]
    }
}

impl StateStore for Bounded {
    type Key = Asked;

    fn measure_and_replace<T, F, E>(&self, asked: &Asked, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let state = self.map.get(&asked.key);
        if !asked.counts {
            let Some(state) = state else {
                return decide(None).map(|(outcome, _)| outcome);
            };
            // An `Err` leaves the state as it was, whatever it carries.
            let look = |before| -> Result<(Infallible, Nanos), Result<T, E>> {
                Err(decide(before).map(|(outcome, _)| outcome))
            };
            let Err(outcome) = state.measure_and_replace(&NotKeyed::NonKey, look);
            return outcome;
        }
        if let Some(state) = state {
            return state.measure_and_replace(&NotKeyed::NonKey, decide);
        }
        if self.entries.load(Ordering::Relaxed) >= self.capacity {
            return self
                .shared_bucket(asked.key)
                .measure_and_replace(&NotKeyed::NonKey, decide);
        }
        let state = self.map.entry(asked.key).or_insert_with(|| {
            self.entries.fetch_add(1, Ordering::Relaxed);
            InMemoryState::default()
        });
        state.measure_and_replace(&NotKeyed::NonKey, decide)
    }
}

impl ShrinkableKeyedStateStore<Asked> for Bounded {
    fn retain_recent(&self, drop_below: Nanos) {
        // governor keeps a key for one period after it is as good as new; there is no need to.
        let drop_below = drop_below + Nanos::from(self.period);
        ShrinkableKeyedStateStore::retain_recent(&self.map, drop_below);
        // Until nobody has come in between: who isn't counted here would have nothing held against them.
        loop {
            let entries = self.map.len();
            self.entries.store(entries, Ordering::Relaxed);
            if self.map.len() == entries {
                break;
            }
        }
    }

    fn shrink_to_fit(&self) {
        // A table that is about to fill up again would only be copied back and forth.
        if self.map.len() < self.map.capacity() / 4 {
            self.map.shrink_to_fit();
        }
    }

    fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn table(
        rate: u32,
        burst: u32,
        capacity: usize,
    ) -> (Table<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let quota = Quota::new(rate, SECOND * 60, burst).unwrap();
        (Table::with(quota, capacity, clock.clone()), clock)
    }

    #[test]
    fn a_burst_passes_then_one_per_period() {
        let (table, clock) = table(6, 3, 10);
        for _ in 0..3 {
            assert_eq!(table.take(1), Ok(()));
        }
        assert_eq!(table.take(1), Err(SECOND * 10));
        assert_eq!(table.take(2), Ok(()), "another key has its own burst");
        clock.advance(SECOND * 9);
        assert_eq!(table.take(1), Err(SECOND));
        clock.advance(SECOND);
        assert_eq!(table.take(1), Ok(()));
        assert_eq!(table.take(1), Err(SECOND * 10));
    }

    #[test]
    fn a_look_counts_nothing_and_sees_what_is_spent_at_once() {
        let (table, clock) = table(6, 3, 10);
        for _ in 0..50 {
            assert_eq!(table.peek(1), Ok(()));
        }
        assert_eq!(table.len(), 0, "a look leaves no key behind");
        for _ in 0..3 {
            assert_eq!(table.peek(1), Ok(()));
            assert_eq!(table.take(1), Ok(()));
        }
        assert_eq!(table.peek(1), Err(SECOND * 10));
        clock.advance(SECOND * 10);
        assert_eq!(table.peek(1), Ok(()));
        assert_eq!(table.take(1), Ok(()));
    }

    #[test]
    fn a_full_table_grows_no_further_keeps_its_keys_and_still_bounds_newcomers() {
        let (table, _clock) = table(6, 3, 10);
        for key in 0..10 {
            assert_eq!(table.take(key), Ok(()));
        }
        let newcomer = 1_000_000;
        for _ in 0..3 {
            assert_eq!(table.take(newcomer), Ok(()));
        }
        assert!(table.take(newcomer).is_err());
        assert_eq!(table.take(newcomer + 1), Ok(()), "it has another bucket");
        assert_eq!(table.take(5), Ok(()), "a key of the table has its own");
        assert_eq!(table.len(), 10);
    }

    #[test]
    fn a_spent_shared_bucket_is_held_against_nobody_who_only_looks() {
        let (table, _clock) = table(6, 1, 0);
        assert_eq!(table.take(7), Ok(()));
        assert!(table.take(7).is_err());
        assert_eq!(table.peek(7), Ok(()));
    }

    #[test]
    fn a_sweep_forgets_what_is_as_good_as_new_and_nothing_else() {
        let (table, clock) = table(6, 3, 10);
        for key in 0..10 {
            assert_eq!(table.take(key), Ok(()));
        }
        assert_eq!(table.take(3), Ok(()));
        clock.advance(SECOND * 10);
        table.sweep();
        assert_eq!(table.len(), 1);
        assert_eq!(table.take(3), Ok(()));
        assert_eq!(table.take(3), Ok(()));
        assert!(table.take(3).is_err(), "its count has survived the sweep");
        assert_eq!(table.take(99), Ok(()));
        assert_eq!(table.len(), 2, "there is room again");
    }
}

//! From which address: the key under which it is counted, and a bound for the table of such keys.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use governor::DefaultKeyedRateLimiter;

use super::table::{MAX_KEYS, SHARED_BUCKETS};

/// One client as far as addresses can tell: an IPv4 address, or an IPv6 network of 64 bits, which
/// is the least that a single household or server is given.
///
/// Its `Debug` shows nothing: an address is personal data.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressKey(Kind);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    V4(u32),
    V6(u64),
    // One of the buckets that newcomers share while the table is full.
    Shared(u16),
}

impl AddressKey {
    /// The key of `ip`; an IPv6 address that only wraps an IPv4 one (`::ffff:192.0.2.1`) counts as
    /// the latter.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V4(ip) => Kind::V4(ip.to_bits()),
            IpAddr::V6(ip) => Kind::V6((ip.to_bits() >> 64) as u64),
        })
    }

    /// The key in bytes that no other key has: a tag, then the address or its network.
    pub(super) fn to_bytes(self) -> [u8; 9] {
        let (tag, bits) = match self.0 {
            Kind::V4(ip) => (4, u64::from(ip)),
            Kind::V6(network) => (6, network),
            Kind::Shared(bucket) => (0, u64::from(bucket)),
        };
        let mut bytes = [tag; 9];
        bytes[1..].copy_from_slice(&bits.to_be_bytes());
        bytes
    }
}

impl fmt::Debug for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressKey(…)")
    }
}

/// The limiter inside `tower_governor`'s layer over [`AddressKey`]s: its `SharedRateLimiter`.
pub type AddressLimiter = DefaultKeyedRateLimiter<AddressKey>;

/// Keeps the table of `tower_governor`'s layer within bounds, which it doesn't do by itself.
///
/// The layer's key extractor asks [`AddressTable::key`]; the sweeper clears what has gone stale.
/// A table that is full of live keys sends every address to one of 65,536 shared buckets until it
/// has been swept: memory stays bounded, and one flood can spend no more than the buckets it meets.
pub struct AddressTable {
    limiter: OnceLock<Arc<AddressLimiter>>,
    // How many keys may still come before the table's size must be looked at again: looking takes
    // a lock on every shard, counting down takes none.
    headroom: AtomicUsize,
    capacity: usize,
    hasher: RandomState,
}

impl AddressTable {
    pub(super) fn new(hasher: RandomState) -> Self {
        Self::with_capacity(hasher, MAX_KEYS)
    }

    fn with_capacity(hasher: RandomState, capacity: usize) -> Self {
        Self {
            limiter: OnceLock::new(),
            headroom: AtomicUsize::new(0),
            capacity,
            hasher,
        }
    }

    /// Takes the layer's limiter (`GovernorConfig::limiter`) into care, once; from then on it is
    /// [`AddressTable::limiter`]. A second one is ignored: the first holds the counters.
    pub fn bind(&self, limiter: &Arc<AddressLimiter>) {
        // An error only says that one is there already.
        let _ = self.limiter.set(Arc::clone(limiter));
    }

    /// The limiter in care, if there is one yet.
    #[must_use]
    pub fn limiter(&self) -> Option<&Arc<AddressLimiter>> {
        self.limiter.get()
    }

    /// The key to count `ip` under: its own, or a shared one while the table is full.
    #[must_use]
    pub fn key(&self, ip: IpAddr) -> AddressKey {
        let own = AddressKey::of(ip);
        if self.has_headroom() {
            return own;
        }
        let bucket = self.hasher.hash_one(own) % SHARED_BUCKETS as u64;
        AddressKey(Kind::Shared(bucket as u16))
    }

    fn has_headroom(&self) -> bool {
        let step_down = |headroom: usize| headroom.checked_sub(1);
        let counted = self
            .headroom
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step_down);
        if counted.is_ok() {
            return true;
        }
        let free = self.capacity.saturating_sub(self.len());
        if free > 0 {
            self.headroom.store(free - 1, Ordering::Relaxed);
        }
        free > 0
    }

    pub(super) fn len(&self) -> usize {
        self.limiter().map_or(0, |limiter| limiter.len())
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    /// Forgets what has gone stale. Blocks for as long as it takes to look at every key.
    pub(super) fn sweep(&self) {
        if let Some(limiter) = self.limiter() {
            let before = limiter.len();
            limiter.retain_recent();
            if limiter.len() < before / 2 {
                limiter.shrink_to_fit();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use super::super::quota::Quota;
    use super::*;

    fn key(ip: &str) -> AddressKey {
        AddressKey::of(ip.parse().unwrap())
    }

    #[test]
    fn an_address_is_counted_alone_in_ipv4_and_by_its_network_in_ipv6() {
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("0:0:c000:201::1"), key("192.0.2.1"));
        assert_ne!(
            key("0:0:c000:201::1").to_bytes(),
            key("192.0.2.1").to_bytes()
        );
    }

    #[test]
    fn a_key_does_not_print_its_address() {
        assert_eq!(format!("{:?}", key("192.0.2.1")), "AddressKey(…)");
    }

    fn flooded(table: &AddressTable, quota: Quota) -> Arc<AddressLimiter> {
        let limiter = Arc::new(AddressLimiter::keyed(quota.into()));
        table.bind(&limiter);
        for network in 0..70_000_u128 {
            let ip = IpAddr::V6(Ipv6Addr::from_bits(network << 64));
            let _ = limiter.check_key(&table.key(ip));
        }
        limiter
    }

    #[test]
    fn a_flood_of_fresh_networks_grows_the_table_to_its_bound_only() {
        let hourly = Quota::new(1, Duration::from_secs(3600), 1).unwrap();
        let table = AddressTable::with_capacity(RandomState::new(), 100);
        let limiter = flooded(&table, hourly);
        assert!(limiter.len() <= 100 + SHARED_BUCKETS, "{}", limiter.len());
        assert!(table.is_full());
    }

    #[test]
    fn a_swept_table_has_room_for_newcomers_again() {
        let fast = Quota::new(1_000_000, Duration::from_secs(1), 1).unwrap();
        let table = AddressTable::with_capacity(RandomState::new(), 100);
        flooded(&table, fast);
        // The youngest key is as good as new a microsecond after it was counted.
        std::thread::sleep(Duration::from_millis(1));
        table.sweep();
        assert_eq!(table.len(), 0);
        assert_eq!(table.key(Ipv4Addr::LOCALHOST.into()), key("127.0.0.1"));
    }
}

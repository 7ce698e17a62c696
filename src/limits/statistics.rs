//! What the limits have done, in numbers for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use super::quota::LimitName;

/// The numbers at one moment; the counts only ever grow, across reloads too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// One entry per limit, in the order in which they are checked.
    pub limits: [LimitStatistics; 4],
    /// The shared store, where there is one.
    pub store: Option<StoreStatistics>,
}

/// The numbers of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitStatistics {
    /// Which limit it is.
    pub limit: LimitName,
    /// Requests that it refused.
    pub refused: u64,
    /// Requests that it would have refused, had the shared store's limits been enforced.
    pub would_have_refused: u64,
    /// Keys that this process holds a counter for.
    pub keys: usize,
    /// Whether the table is full, so that newcomers share buckets until it has been swept.
    pub full: bool,
}

/// The numbers of the shared store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreStatistics {
    /// Whether it answers.
    pub up: bool,
    /// How often it has ceased to answer.
    pub outages: u64,
    /// Requests that `on_outage` decided, because it was away.
    pub decided_without: u64,
}

/// The counts behind [`Statistics`].
#[derive(Default)]
pub(super) struct Counters {
    refused: [AtomicU64; 4],
    would_have_refused: [AtomicU64; 4],
    outages: AtomicU64,
    decided_without: AtomicU64,
}

impl Counters {
    /// Counts a refusal, which the client meets only if it is `enforced`.
    pub(super) fn count_refusal(&self, limit: LimitName, enforced: bool) {
        let counts = if enforced {
            &self.refused
        } else {
            &self.would_have_refused
        };
        counts[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_outage(&self) {
        self.outages.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_decision_without_store(&self) {
        self.decided_without.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, limit: LimitName) -> u64 {
        self.refused[limit as usize].load(Ordering::Relaxed)
    }

    pub(super) fn would_have_refused(&self, limit: LimitName) -> u64 {
        self.would_have_refused[limit as usize].load(Ordering::Relaxed)
    }

    pub(super) fn store(&self, up: bool) -> StoreStatistics {
        StoreStatistics {
            up,
            outages: self.outages.load(Ordering::Relaxed),
            decided_without: self.decided_without.load(Ordering::Relaxed),
        }
    }
}

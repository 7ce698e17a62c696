//! What the limits have done, in numbers for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use super::quota::LimitName;

/// The numbers at one moment; the counts only ever grow, across reloads too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// One entry per limit, in the order in which they are checked.
    pub limits: [LimitStatistics; 4],
}

/// The numbers of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitStatistics {
    /// Which limit it is.
    pub limit: LimitName,
    /// Requests that it refused.
    pub refused: u64,
    /// Keys that this process holds a counter for.
    pub keys: usize,
    /// Whether the table is full, so that newcomers share buckets until it has been swept.
    pub full: bool,
}

/// The counts behind [`Statistics`].
#[derive(Default)]
pub(super) struct Counters {
    refused: [AtomicU64; 4],
}

impl Counters {
    pub(super) fn count_refusal(&self, limit: LimitName) {
        self.refused[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, limit: LimitName) -> u64 {
        self.refused[limit as usize].load(Ordering::Relaxed)
    }
}

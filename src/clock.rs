//! Time, handed in rather than taken: the one place that reads the system's clock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in whole seconds since 1970-01-01T00:00:00Z: the `NumericDate` of RFC 7519 section 2,
/// without the fraction that some verifiers refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `seconds` after the epoch; negative before it.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Whole seconds since the epoch.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0
    }

    /// This moment moved by `seconds`, stopping at the ends of the range instead of wrapping.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// The moment as operators write it, such as `2026-12-01T00:00:00Z` (RFC 3339); its plain number
    /// where the calendar ends.
    #[must_use]
    pub fn rfc3339(self) -> String {
        time::OffsetDateTime::from_unix_timestamp(self.0)
            .ok()
            .and_then(|moment| {
                moment
                    .format(&time::format_description::well_known::Rfc3339)
                    .ok()
            })
            .unwrap_or_else(|| self.0.to_string())
    }

    /// Whole seconds from `earlier` to this moment; negative when this one is the earlier.
    #[must_use]
    pub const fn seconds_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the time comes from: the system's clock, or one that a test moves by hand.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// A clock that stands still until it is set; every clone shows the same time.
    Fixed(Arc<AtomicI64>),
    /// The machine's wall clock.
    #[default]
    System,
}

impl Clock {
    /// A clock that stands at `now` until [`Clock::set`] moves it.
    #[must_use]
    pub fn fixed(now: Timestamp) -> Self {
        Self::Fixed(Arc::new(AtomicI64::new(now.seconds())))
    }

    /// Moves a fixed clock to `now`; the system's clock is left alone.
    pub fn set(&self, now: Timestamp) {
        if let Self::Fixed(seconds) = self {
            seconds.store(now.seconds(), Ordering::SeqCst);
        }
    }

    /// The present moment, cut to whole seconds. Before 1970 it is negative; it never panics.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Fixed(seconds) => Timestamp(seconds.load(Ordering::SeqCst)),
            Self::System => Timestamp(system_seconds()),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the system's clock"
)]
fn system_seconds() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_stands_until_it_is_set_and_its_clones_agree() {
        let clock = Clock::fixed(Timestamp::from_seconds(100));
        let other = clock.clone();
        assert_eq!(other.now(), Timestamp::from_seconds(100));
        clock.set(Timestamp::from_seconds(90));
        assert_eq!(other.now(), Timestamp::from_seconds(90));
    }

    #[test]
    fn a_moment_is_written_as_operators_write_it() {
        let written = |seconds| Timestamp::from_seconds(seconds).rfc3339();
        assert_eq!(written(1_796_083_200), "2026-12-01T00:00:00Z");
        assert_eq!(written(i64::MAX), i64::MAX.to_string());
    }

    #[test]
    fn moments_at_the_end_of_the_range_do_not_wrap() {
        let last = Timestamp::from_seconds(i64::MAX);
        assert_eq!(last.plus_seconds(1), last);
        assert_eq!(last.seconds_since(Timestamp::from_seconds(-1)), i64::MAX);
    }
}

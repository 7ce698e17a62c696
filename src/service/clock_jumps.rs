//! The machine's clock held against one that can't be set: a jump is told in the log, since every token carries it.

use std::time::{Duration, Instant};

use crate::clock::{Clock, Timestamp};

/// How often the clocks are compared.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// In seconds: what whole seconds and a late look may make of no jump at all.
const TOLERANCE: i64 = 2;
/// 2026-01-01T00:00:00Z. Signet is younger, so a clock before it was never set.
const TOO_EARLY: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// Compares for as long as it is polled, and warns of every jump.
pub async fn watch_clock(clock: Clock) {
    let mut last = Look::new(clock.now(), Instant::now());
    if last.wall < TOO_EARLY {
        tracing::warn!(
            now = %last.wall.rfc3339(),
            "the machine's clock says {}, before signet was made: nobody will take its tokens; set the clock",
            last.wall.rfc3339()
        );
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = Look::new(clock.now(), Instant::now());
        if let Some(seconds) = now.jump_since(&last) {
            let direction = if seconds < 0 { "back" } else { "ahead" };
            tracing::warn!(
                seconds,
                now = %now.wall.rfc3339(),
                "the machine's clock jumped {direction} by {} s, to {}: tokens and the switching of keys follow it; see to its synchronization",
                seconds.unsigned_abs(),
                now.wall.rfc3339()
            );
        }
        last = now;
    }
}

/// What both clocks said at one moment.
struct Look {
    wall: Timestamp,
    steady: Instant,
}

impl Look {
    const fn new(wall: Timestamp, steady: Instant) -> Self {
        Self { wall, steady }
    }

    /// By how many seconds the wall's clock went further than the steady one, if that is a jump.
    fn jump_since(&self, earlier: &Self) -> Option<i64> {
        let passed = self.steady.saturating_duration_since(earlier.steady);
        let passed = i64::try_from(passed.as_secs()).unwrap_or(i64::MAX);
        let jump = (self.wall.seconds_since(earlier.wall)).saturating_sub(passed);
        (jump.saturating_abs() > TOLERANCE).then_some(jump)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_what_the_wall_clock_went_beyond_the_time_that_passed() {
        let began = Instant::now();
        let earlier = Look::new(Timestamp::from_seconds(1_000_000), began);
        for (wall, steady_millis, expected) in [
            (1_000_001, 1_000, None),
            (1_000_000, 1_900, None),
            (1_000_002, 1_000, None),
            // A process that was stopped for an hour has seen no jump.
            (1_003_600, 3_600_000, None),
            (1_000_004, 1_000, Some(3)),
            (1_003_601, 1_000, Some(3_600)),
            (996_401, 1_000, Some(-3_600)),
            (i64::MIN, 1_000, Some(i64::MIN)),
        ] {
            let now = Look::new(
                Timestamp::from_seconds(wall),
                began + Duration::from_millis(steady_millis),
            );
            assert_eq!(now.jump_since(&earlier), expected, "{wall}");
        }
    }
}

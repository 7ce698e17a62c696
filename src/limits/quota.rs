//! What one limit allows, its name, and what a client is told when it is spent.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use super::settings::LimitsError;

/// The longest time that a spent limit may need to fill up again: beyond a year it is a ban, and
/// far beyond it the arithmetic in nanoseconds would overflow.
pub(super) const LONGEST_REFILL: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The four limits, in the order in which they are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitName {
    /// Requests from one address, authenticated or not.
    PerIp,
    /// Wrong keys from one address; while it is spent, a right key is refused as well.
    FailedAuth,
    /// Requests of one authenticated caller.
    PerCaller,
    /// Tokens for one user of one app.
    PerUser,
}

impl LimitName {
    /// All of them, in the order in which they are checked.
    pub const ALL: [Self; 4] = [
        Self::PerIp,
        Self::FailedAuth,
        Self::PerCaller,
        Self::PerUser,
    ];

    /// The name that clients, logs and metrics see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PerIp => "per-ip",
            Self::FailedAuth => "failed-auth",
            Self::PerCaller => "per-caller",
            Self::PerUser => "per-user",
        }
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much a limit allows: at most `burst` at once, and one more per [`Quota::period`].
///
/// Two quotas are equal when they decide alike: 100 per second is 200 per two seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    period: Duration,
    burst: NonZeroU32,
}

impl Quota {
    /// What never refuses the shared store's probe of itself.
    pub(super) const PROBE: Self = Self {
        period: Duration::from_micros(1),
        burst: NonZeroU32::MAX,
    };

    /// `rate` requests every `per`, and up to `burst` at once.
    ///
    /// # Errors
    ///
    /// [`LimitsError::Zero`] if one of them is zero; [`LimitsError::TooFast`] if less than a
    /// nanosecond would lie between two requests; [`LimitsError::TooSlow`] if a spent limit would
    /// need more than 366 days to fill up.
    pub fn new(rate: u32, per: Duration, burst: u32) -> Result<Self, LimitsError> {
        let burst = NonZeroU32::new(burst).ok_or(LimitsError::Zero("burst"))?;
        if per.is_zero() {
            return Err(LimitsError::Zero("per"));
        }
        let period = per.checked_div(rate).ok_or(LimitsError::Zero("rate"))?;
        if period.is_zero() {
            return Err(LimitsError::TooFast);
        }
        match period.checked_mul(burst.get()) {
            Some(refill) if refill <= LONGEST_REFILL => Ok(Self { period, burst }),
            _ => Err(LimitsError::TooSlow),
        }
    }

    /// The time in which one more request becomes allowed.
    #[must_use]
    pub const fn period(self) -> Duration {
        self.period
    }

    /// How many requests are allowed at once.
    #[must_use]
    pub const fn burst(self) -> NonZeroU32 {
        self.burst
    }

    /// The time in which a spent limit is whole again.
    #[must_use]
    pub fn refill(self) -> Duration {
        self.period * self.burst.get()
    }
}

impl From<Quota> for governor::Quota {
    fn from(quota: Quota) -> Self {
        Self::with_period(quota.period)
            .expect("Quota::new refuses a period of zero")
            .allow_burst(quota.burst)
    }
}

/// A limit that is spent, and for how long: what a 429 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Which limit it is.
    pub limit: LimitName,
    /// What it allows.
    pub quota: Quota,
    /// How long to wait until one more request may pass; never shorter than the real wait.
    pub retry_after: Duration,
}

impl Exceeded {
    /// The value of `Retry-After` (RFC 9110 section 10.2.3): whole seconds, rounded up, at least 1.
    #[must_use]
    pub fn retry_after_seconds(&self) -> u64 {
        whole_seconds(self.retry_after)
    }

    /// The value of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10): the limit's name,
    /// `q` the requests allowed at once, `w` the seconds in which that many come back.
    ///
    /// So `q / w` is the lasting rate. `w` is rounded up: a client that trusts it is never too fast.
    #[must_use]
    pub fn policy_header(&self) -> String {
        format!(
            "\"{}\";q={};w={}",
            self.limit,
            self.quota.burst,
            whole_seconds(self.quota.refill())
        )
    }

    /// The value of `RateLimit` (same draft): nothing remains, and `t` is the moment that
    /// `Retry-After` names, as the draft wants where both are sent.
    #[must_use]
    pub fn state_header(&self) -> String {
        format!("\"{}\";r=0;t={}", self.limit, self.retry_after_seconds())
    }
}

fn whole_seconds(duration: Duration) -> u64 {
    let rounded_up = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    rounded_up.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exceeded(limit: LimitName, quota: Quota, retry_after: Duration) -> Exceeded {
        Exceeded {
            limit,
            quota,
            retry_after,
        }
    }

    #[test]
    fn a_refusal_names_its_policy_and_the_wait_as_the_draft_spells_them() {
        let quota = Quota::new(100, Duration::from_secs(1), 200).unwrap();
        let refusal = exceeded(LimitName::PerIp, quota, Duration::from_millis(7));
        assert_eq!(refusal.policy_header(), r#""per-ip";q=200;w=2"#);
        assert_eq!(refusal.state_header(), r#""per-ip";r=0;t=1"#);
        assert_eq!(refusal.retry_after_seconds(), 1);
    }

    #[test]
    fn waits_are_rounded_up_to_whole_seconds() {
        let quota = Quota::new(5, Duration::from_secs(60), 10).unwrap();
        for (wait, seconds) in [(0, 1), (1_000, 1), (1_001, 2), (11_999, 12), (12_000, 12)] {
            let wait = Duration::from_millis(wait);
            let refusal = exceeded(LimitName::FailedAuth, quota, wait);
            assert_eq!(refusal.retry_after_seconds(), seconds, "{wait:?}");
        }
        let odd = Quota::new(3, Duration::from_secs(1), 4).unwrap();
        let refusal = exceeded(LimitName::PerUser, odd, Duration::ZERO);
        assert_eq!(refusal.policy_header(), r#""per-user";q=4;w=2"#);
    }

    #[test]
    fn quotas_that_decide_alike_are_equal() {
        let second = Duration::from_secs(1);
        assert_eq!(Quota::new(100, second, 5), Quota::new(200, second * 2, 5));
        assert_ne!(Quota::new(100, second, 5), Quota::new(100, second, 6));
    }

    #[test]
    fn a_quota_that_cannot_be_kept_is_refused() {
        let second = Duration::from_secs(1);
        let year = second * 60 * 60 * 24 * 366;
        assert_eq!(Quota::new(0, second, 1), Err(LimitsError::Zero("rate")));
        assert_eq!(
            Quota::new(1, Duration::ZERO, 1),
            Err(LimitsError::Zero("per"))
        );
        assert_eq!(Quota::new(1, second, 0), Err(LimitsError::Zero("burst")));
        let nanosecond = Duration::from_nanos(1);
        assert_eq!(Quota::new(2, nanosecond, 1), Err(LimitsError::TooFast));
        assert_eq!(Quota::new(1, year, 2), Err(LimitsError::TooSlow));
        assert_eq!(
            Quota::new(1, Duration::MAX, u32::MAX),
            Err(LimitsError::TooSlow)
        );
        assert!(Quota::new(1, year, 1).is_ok());
    }
}

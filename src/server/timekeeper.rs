//! One connection's alarm clock, cheap for connections that are busy and for those that are not.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, Sleep};

use super::house::House;
use super::watch::Bounded;

/// What the timekeeper has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The server stops here and now.
    Cut,
    /// Nothing has been going on for a while; nobody would miss the buffers.
    Nap,
    /// The present state has lasted too long.
    TimeUp,
}

/// One connection's alarm clock, and its ear for the bell.
///
/// The alarm is set some fraction of a second ahead and looked at when it rings; so requests that
/// come and go in between set nothing and pay nothing.
pub(super) struct Timekeeper {
    house: Arc<House>,
    heard: u32,
    bell: Pin<Box<OwnedNotified>>,
    alarm: Pin<Box<Sleep>>,
    listening: bool,
    /// The alarm was set for a state that may have been left for a shorter one.
    outdated: bool,
    /// How long a rest lasts before it becomes a nap: what is asked again and again stays awake.
    nap_after: Duration,
    napping_since: Option<Instant>,
}

impl Timekeeper {
    pub(super) fn new(house: Arc<House>) -> Self {
        let bell = Box::pin(house.bell().notified_owned());
        let alarm = Box::pin(tokio::time::sleep(house.alarm_step()));
        let nap_after = *house.nap_after().start();
        Self {
            heard: 0,
            house,
            bell,
            alarm,
            listening: false,
            outdated: false,
            nap_after,
            napping_since: None,
        }
    }

    /// Ready when something is due. With `may_nap`, also after a short rest; without, it sleeps
    /// until the rest has lasted too long, if it is one.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        watched: &impl Bounded,
        may_nap: bool,
    ) -> Poll<Due> {
        if !self.listening || self.house.announcements() != self.heard {
            self.listen(cx);
        } else if !self.outdated {
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // Whoever is too busy for a nap need not be looked at so often.
            if may_nap && !self.rests_long_enough(watched) {
                self.grow_patient();
            }
        }
        self.outdated = false;
        self.look(cx, watched, may_nap)
    }

    /// Leaves the waker with the bell, once per announcement rather than at every poll: the bell
    /// has a lock that all connections share.
    fn listen(&mut self, cx: &mut Context<'_>) {
        self.heard = self.house.announcements();
        self.bell.set(self.house.bell().notified_owned());
        // Otherwise this bell might be rung for an announcement that has been heard, and no more.
        let settled = House::is_settled(self.heard) && self.heard == self.house.announcements();
        self.listening = settled && self.bell.as_mut().poll(cx).is_pending();
        if !self.listening {
            cx.waker().wake_by_ref();
        }
    }

    /// Sets the alarm anew at the next poll, which watches something else than the last one did.
    pub(super) fn reconsider(&mut self) {
        self.outdated = true;
    }

    fn rests_long_enough(&self, watched: &impl Bounded) -> bool {
        let rest = watched.resting_since().map(|since| since.elapsed());
        rest.is_some_and(|rest| rest >= self.nap_after)
    }

    fn grow_patient(&mut self) {
        self.nap_after = (self.nap_after * 4).min(*self.house.nap_after().end());
    }

    /// After a nap that was shorter than the longest rest, the next one should begin later.
    fn wake(&mut self) {
        let Some(since) = self.napping_since.take() else {
            return;
        };
        let range = self.house.nap_after();
        if since.elapsed() < *range.end() {
            self.grow_patient();
        } else {
            self.nap_after = *range.start();
        }
    }

    fn look(&mut self, cx: &mut Context<'_>, watched: &impl Bounded, may_nap: bool) -> Poll<Due> {
        if may_nap {
            self.wake();
        }
        loop {
            if self.house.is_cutting() {
                return Poll::Ready(Due::Cut);
            }
            let now = Instant::now();
            let end = watched.until(&self.house);
            if end <= now {
                return Poll::Ready(Due::TimeUp);
            }
            let step = self.house.alarm_step();
            let next = match watched.resting_since() {
                // Nothing shorter can begin without waking the task.
                Some(_) if !may_nap => end,
                Some(since) if since + self.nap_after <= now => {
                    self.napping_since = Some(now);
                    return Poll::Ready(Due::Nap);
                }
                // A rest may begin before the alarm rings, and should not wait long for its nap.
                _ if may_nap => end.min(now + step.min(self.nap_after)),
                _ => end.min(now + step),
            };
            self.alarm.as_mut().reset(next);
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::super::{Gauges, Settings};
    use super::*;

    /// A connection on which nothing is going on since this moment, and that nobody ends.
    struct Resting(Instant);

    impl Bounded for Resting {
        fn until(&self, _: &House) -> Instant {
            self.0 + Duration::from_secs(60)
        }

        fn resting_since(&self) -> Option<Instant> {
            Some(self.0)
        }
    }

    /// How long a rest that begins now lasts before the nap.
    async fn rest(timekeeper: &mut Timekeeper) -> Duration {
        let resting = Resting(Instant::now());
        timekeeper.reconsider();
        let due = poll_fn(|cx| timekeeper.poll(cx, &resting, true)).await;
        assert_eq!(due, Due::Nap);
        resting.0.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_woken_soon_naps_later_and_whoever_sleeps_long_naps_soon_again() {
        let house = House::new(Settings::default(), Arc::<Gauges>::default());
        let (soon, late) = house.nap_after().into_inner();
        let mut timekeeper = Timekeeper::new(Arc::new(house));
        let near = |rest: Duration, wanted: Duration| {
            assert!(
                rest.abs_diff(wanted) <= Duration::from_millis(2),
                "{rest:?}"
            );
        };
        near(rest(&mut timekeeper).await, soon);
        near(rest(&mut timekeeper).await, soon * 4);
        near(rest(&mut timekeeper).await, late);
        near(rest(&mut timekeeper).await, late);
        tokio::time::advance(late).await;
        near(rest(&mut timekeeper).await, soon);
    }
}

//! One connection's alarm clock, cheap for connections that are busy and for those that are not.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

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
}

impl Timekeeper {
    pub(super) fn new(house: Arc<House>) -> Self {
        let bell = Box::pin(house.bell().notified_owned());
        let alarm = Box::pin(tokio::time::sleep(house.alarm_step()));
        Self {
            heard: 0,
            house,
            bell,
            alarm,
            listening: false,
            outdated: false,
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
        } else if !self.outdated && self.alarm.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
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

    fn look(&mut self, cx: &mut Context<'_>, watched: &impl Bounded, may_nap: bool) -> Poll<Due> {
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
                Some(since) if since + self.house.nap_after() <= now => {
                    return Poll::Ready(Due::Nap);
                }
                // A rest may begin before the alarm rings, and should not wait long for its nap.
                _ if may_nap => end.min(now + step.min(self.house.nap_after())),
                _ => end.min(now + step),
            };
            self.alarm.as_mut().reset(next);
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

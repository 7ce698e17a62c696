//! What a connection is doing, since when, and until when it may.

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, Sleep};

use super::house::House;

/// What bounds a connection's present state.
pub(super) trait Bounded {
    /// When the present state has lasted too long.
    fn until(&self, house: &House) -> Instant;

    /// Since when nothing at all has been going on, where that can be said.
    fn resting_since(&self) -> Option<Instant> {
        None
    }
}

/// What the socket and the service report of a connection.
pub(super) trait Watch: Bounded + Send + Sync + 'static {
    /// A request in flight, from its head to the end of its answer's body.
    type Turn: Turn;

    /// Bytes came in.
    fn heard(&self);
    /// All bytes given out so far are with the kernel.
    fn flushed(&self);
    /// The peer doesn't take what we have for it.
    fn blocked(&self);
    /// A request's head is complete.
    fn begin(self: &Arc<Self>) -> Self::Turn;
}

/// A request in flight; dropping it says that its answer has been handed to the protocol.
pub(super) trait Turn: Send + Unpin + 'static {
    /// Whether the answer should say that it is the connection's last.
    fn is_last(&self) -> bool;
}

/// A TLS handshake under way.
pub(super) struct Handshake {
    since: Instant,
}

impl Handshake {
    pub(super) fn begin() -> Self {
        Self {
            since: Instant::now(),
        }
    }
}

impl Bounded for Handshake {
    fn until(&self, house: &House) -> Instant {
        let end = self.since + house.settings.handshake_timeout;
        match house.draining_since() {
            Some(start) => end.min(self.since.max(start) + house.linger()),
            None => end,
        }
    }
}

// An HTTP/1 connection's states, in their order.
const FRESH: u8 = 0;
const ASKING: u8 = 1;
const WORKING: u8 = 2;
const ANSWERED: u8 = 3;
const IDLE: u8 = 4;

/// An HTTP/1 connection: one request at a time, all of it in one task, so plain loads and stores do.
pub(super) struct OneByOne {
    house: Arc<House>,
    opened: Instant,
    state: AtomicU8,
    /// Nanoseconds after `opened` when the state's clock started: a request's at its first byte.
    since: AtomicU64,
}

impl OneByOne {
    pub(super) fn new(house: Arc<House>) -> Self {
        Self {
            house,
            opened: Instant::now(),
            state: AtomicU8::new(FRESH),
            since: AtomicU64::new(0),
        }
    }

    fn enter(&self, state: u8) {
        let elapsed = self.opened.elapsed().as_nanos();
        self.since
            .store(u64::try_from(elapsed).unwrap_or(u64::MAX), Relaxed);
        self.state.store(state, Relaxed);
    }

    fn since(&self) -> Instant {
        self.opened + std::time::Duration::from_nanos(self.since.load(Relaxed))
    }

    /// Whether a request is under way, be it only its first byte.
    pub(super) fn is_busy(&self) -> bool {
        !matches!(self.state.load(Relaxed), FRESH | IDLE)
    }

    /// Whether a request's head is complete and its answer isn't yet given out.
    pub(super) fn is_working(&self) -> bool {
        matches!(self.state.load(Relaxed), WORKING | ANSWERED)
    }
}

impl Bounded for OneByOne {
    fn until(&self, house: &House) -> Instant {
        let settings = &house.settings;
        let since = self.since();
        match self.state.load(Relaxed) {
            FRESH => house.patience(since, settings.header_timeout),
            ASKING => since + settings.header_timeout,
            IDLE => house.patience(since, settings.idle_timeout),
            _ => since + settings.request_deadline,
        }
    }

    fn resting_since(&self) -> Option<Instant> {
        (!self.is_busy()).then(|| self.since())
    }
}

impl Watch for OneByOne {
    type Turn = OneTurn;

    fn heard(&self) {
        if !self.is_busy() {
            self.enter(ASKING);
        }
    }

    fn flushed(&self) {
        if self.state.load(Relaxed) == ANSWERED {
            self.enter(IDLE);
        }
    }

    fn blocked(&self) {}

    fn begin(self: &Arc<Self>) -> OneTurn {
        // A pipelined request came with the bytes of the one before it.
        if !self.is_busy() {
            self.enter(ASKING);
        }
        self.state.store(WORKING, Relaxed);
        OneTurn(self.clone())
    }
}

/// The request that an HTTP/1 connection is at.
pub(super) struct OneTurn(Arc<OneByOne>);

impl Turn for OneTurn {
    fn is_last(&self) -> bool {
        let Self(watch) = self;
        let age = watch.since() - watch.opened;
        watch.house.draining_since().is_some() || age >= watch.house.settings.max_age
    }
}

impl Drop for OneTurn {
    fn drop(&mut self) {
        self.0.state.store(ANSWERED, Relaxed);
    }
}

/// An HTTP/2 connection: many requests at once, each in a task of its own.
pub(super) struct Many {
    opened: Instant,
    state: Mutex<Streams>,
}

struct Streams {
    /// In the order of their beginning; at most as many as streams are allowed.
    active: Vec<(u64, Instant)>,
    begun: u64,
    idle_since: Instant,
    blocked_since: Option<Instant>,
    goodbye: Option<Instant>,
}

impl Many {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            opened: now,
            state: Mutex::new(Streams {
                active: Vec::new(),
                begun: 0,
                idle_since: now,
                blocked_since: None,
                goodbye: None,
            }),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Streams> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `GOAWAY` is being sent; false when it was before.
    pub(super) fn say_goodbye(&self) -> bool {
        let goodbye = &mut self.state().goodbye;
        let first = goodbye.is_none();
        goodbye.get_or_insert_with(Instant::now);
        first
    }

    /// Whether requests are in flight.
    pub(super) fn is_busy(&self) -> bool {
        !self.state().active.is_empty()
    }
}

impl Bounded for Many {
    fn until(&self, house: &House) -> Instant {
        let settings = &house.settings;
        let state = self.state();
        let oldest = state.active.first().map(|(_, since)| *since);
        let newest = state.active.last().map(|(_, since)| *since);
        let end = match (state.goodbye, oldest, newest) {
            // One that exceeds its deadline takes no others with it before theirs.
            (Some(_), _, Some(newest)) => newest + settings.request_deadline,
            (Some(goodbye), _, None) => goodbye.max(state.idle_since) + house.linger(),
            (None, _, _) if house.draining_since().is_some() => self.opened,
            (None, Some(oldest), _) => oldest + settings.request_deadline,
            (None, None, _) if state.begun == 0 => {
                house.patience(state.idle_since, settings.header_timeout)
            }
            (None, None, _) => house.patience(state.idle_since, settings.idle_timeout),
        };
        // Always counted, as an alarm that was set before must not be too late for it.
        let end = match state.goodbye {
            None => end.min(self.opened + settings.max_age),
            Some(_) => end,
        };
        match state.blocked_since {
            Some(since) => end.min(since + settings.request_deadline),
            None => end,
        }
    }
}

impl Watch for Many {
    type Turn = OneOfMany;

    fn heard(&self) {}

    fn flushed(&self) {
        self.state().blocked_since = None;
    }

    fn blocked(&self) {
        self.state().blocked_since.get_or_insert_with(Instant::now);
    }

    fn begin(self: &Arc<Self>) -> OneOfMany {
        let mut state = self.state();
        let number = state.begun;
        state.begun += 1;
        state.active.push((number, Instant::now()));
        drop(state);
        OneOfMany {
            watch: self.clone(),
            number,
        }
    }
}

/// One of the requests that an HTTP/2 connection is at.
pub(super) struct OneOfMany {
    watch: Arc<Many>,
    number: u64,
}

impl Turn for OneOfMany {
    // HTTP/2 says it by GOAWAY.
    fn is_last(&self) -> bool {
        false
    }
}

impl Drop for OneOfMany {
    fn drop(&mut self) {
        let mut state = self.watch.state();
        state.active.retain(|(number, _)| *number != self.number);
        if state.active.is_empty() {
            state.idle_since = Instant::now();
        }
    }
}

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

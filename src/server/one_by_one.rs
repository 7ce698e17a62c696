//! What an HTTP/1 connection is doing: one request after another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::house::House;
use super::watch::{Bounded, Turn, Watch};

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
        self.opened + Duration::from_nanos(self.since.load(Relaxed))
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

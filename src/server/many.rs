//! What an HTTP/2 connection is doing: many requests at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::house::House;
use super::watch::{Bounded, Turn, Watch};

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

    fn state(&self) -> MutexGuard<'_, Streams> {
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

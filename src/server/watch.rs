//! What is watched of a connection: how long its present state may last, and what changes it.

use std::sync::Arc;

use tokio::time::Instant;

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

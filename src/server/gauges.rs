//! What the door has seen, in numbers that telemetry may read at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of one server; all but [`Gauges::open`] only grow.
#[derive(Debug, Default)]
pub struct Gauges {
    open: AtomicU64,
    accepted: AtomicU64,
    accept_errors: AtomicU64,
    handshake_failures: AtomicU64,
    header_timeouts: AtomicU64,
    request_timeouts: AtomicU64,
}

impl Gauges {
    /// Connections open now, unfinished handshakes included.
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Failures of `accept` itself, as when file descriptors run out.
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Relaxed)
    }

    /// TLS handshakes that failed or took too long.
    pub fn handshake_failures(&self) -> u64 {
        self.handshake_failures.load(Relaxed)
    }

    /// Connections closed because a request's head did not arrive in time.
    pub fn header_timeouts(&self) -> u64 {
        self.header_timeouts.load(Relaxed)
    }

    /// Connections closed because a request was not answered, or its answer not read, in time.
    pub fn request_timeouts(&self) -> u64 {
        self.request_timeouts.load(Relaxed)
    }

    pub(super) fn count_accept_error(&self) {
        self.accept_errors.fetch_add(1, Relaxed);
    }

    pub(super) fn count_handshake_failure(&self) {
        self.handshake_failures.fetch_add(1, Relaxed);
    }

    pub(super) fn count_header_timeout(&self) {
        self.header_timeouts.fetch_add(1, Relaxed);
    }

    pub(super) fn count_request_timeout(&self) {
        self.request_timeouts.fetch_add(1, Relaxed);
    }

    /// Counts a connection as open for as long as the result lives.
    pub(super) fn enter(self: &Arc<Self>) -> OpenConnection {
        self.accepted.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        OpenConnection(self.clone())
    }
}

/// A connection in the count of open ones.
pub(super) struct OpenConnection(Arc<Gauges>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

//! What all connections share: the settings, and the bell that tells them what the door decided.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioExecutor;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Gauges, Settings};

/// Bytes of a request's head (HTTP/1) or header list (HTTP/2).
const MAX_HEAD_BYTES: u16 = 32 * 1024;

/// Bodies are small, so small windows suffice; they bound what a client can make us keep: a
/// connection's window, which RFC 9113 section 6.9.2 starts at 65,535, times the connections.
const CONNECTION_WINDOW_BYTES: u32 = 65_535;
const STREAM_WINDOW_BYTES: u32 = 32 * 1024;
const MAX_SEND_BUFFER_BYTES: usize = 32 * 1024;
const MAX_CONCURRENT_STREAMS: u32 = 100;
/// Streams that the client opened and reset before we looked at them ("rapid reset").
const MAX_PENDING_RESETS: usize = 20;
/// Streams that we had to reset for the client's faults, over the life of a connection.
const MAX_OWN_RESETS: usize = 256;

/// How long to wait for the other side when there is nothing left to say: for a request that was
/// under way when we decided to close, for its half of a close, for its `PING` after `GOAWAY`.
const LINGER: Duration = Duration::from_secs(1);

/// After this long without a request an HTTP/1 connection gives its buffers back: at first soon, as many a client
/// asks once and keeps its connection, and later for one whose naps turn out to be short.
const NAP_AFTER: RangeInclusive<Duration> = Duration::from_millis(25)..=Duration::from_millis(250);

/// Each step of pressure halves how long an idle connection may stay; after the last none may.
pub(super) const MOST_PRESSURE: u32 = 16;

/// The state that the door writes and every connection reads.
pub(super) struct House {
    pub(super) settings: Settings,
    pub(super) gauges: Arc<Gauges>,
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<TokioExecutor>,
    /// Grows before and after each ring, so it is odd while the bell is being rung.
    announcements: AtomicU32,
    bell: Arc<Notify>,
    pressure: AtomicU32,
    draining_since: OnceLock<Instant>,
    cutting: AtomicBool,
    cut: AtomicUsize,
}

impl House {
    pub(super) fn new(settings: Settings, gauges: Arc<Gauges>) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .header_read_timeout(None)
            // Head and body of a small answer leave in one piece: copying them together costs less than
            // telling the kernel of two, and makes one TLS record instead of two.
            .writev(false)
            .max_header_size(MAX_HEAD_BYTES.into())
            .max_buf_size(MAX_HEAD_BYTES.into());
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .max_send_buf_size(MAX_SEND_BUFFER_BYTES)
            .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
            .max_header_list_size(MAX_HEAD_BYTES.into())
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_OWN_RESETS);
        Self {
            settings,
            gauges,
            http1,
            http2,
            announcements: AtomicU32::new(0),
            bell: Arc::new(Notify::new()),
            pressure: AtomicU32::new(0),
            draining_since: OnceLock::new(),
            cutting: AtomicBool::new(false),
            cut: AtomicUsize::new(0),
        }
    }

    pub(super) fn bell(&self) -> Arc<Notify> {
        self.bell.clone()
    }

    pub(super) fn announcements(&self) -> u32 {
        self.announcements.load(Ordering::SeqCst)
    }

    /// Whether this count was read while the bell was at rest.
    pub(super) fn is_settled(announcements: u32) -> bool {
        announcements.is_multiple_of(2)
    }

    fn announce(&self) {
        self.announcements.fetch_add(1, Ordering::SeqCst);
        self.bell.notify_waiters();
        self.announcements.fetch_add(1, Ordering::SeqCst);
    }

    /// Asks the connections that have been idle longest to leave; each call asks more of them.
    pub(super) fn press(&self) {
        let pressure = self.pressure.load(Ordering::Relaxed);
        if pressure < MOST_PRESSURE {
            self.pressure.store(pressure + 1, Ordering::Relaxed);
            self.announce();
        }
    }

    /// There is room again.
    pub(super) fn relax(&self) {
        // Only written when it changes: every connection's core reads this cache line.
        if self.pressure.load(Ordering::Relaxed) != 0 {
            self.pressure.store(0, Ordering::Relaxed);
        }
    }

    /// From now on every answer is the last of its connection.
    pub(super) fn drain(&self) {
        self.draining_since.get_or_init(Instant::now);
        self.announce();
    }

    pub(super) fn draining_since(&self) -> Option<Instant> {
        self.draining_since.get().copied()
    }

    /// The grace is over: connections end where they stand.
    pub(super) fn cut(&self) {
        self.cutting.store(true, Ordering::Relaxed);
        self.announce();
    }

    pub(super) fn is_cutting(&self) -> bool {
        self.cutting.load(Ordering::Relaxed)
    }

    pub(super) fn count_cut(&self) {
        self.cut.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn cut_so_far(&self) -> usize {
        self.cut.load(Ordering::Relaxed)
    }

    /// Until when a connection that has nothing in flight since `since` may stay.
    pub(super) fn patience(&self, since: Instant, allowed: Duration) -> Instant {
        let pressure = self.pressure.load(Ordering::Relaxed);
        let allowed = match pressure {
            0..MOST_PRESSURE => allowed / (1 << pressure),
            _ => Duration::ZERO,
        };
        match self.draining_since() {
            Some(start) => (since + allowed).min(since.max(start) + self.linger()),
            None => since + allowed,
        }
    }

    pub(super) fn linger(&self) -> Duration {
        LINGER.min(self.settings.shutdown_grace / 4)
    }

    /// The shortest and the longest rest before a nap.
    pub(super) fn nap_after(&self) -> RangeInclusive<Duration> {
        NAP_AFTER
    }

    /// How far ahead an alarm may be set: no time-out is shorter, so one that starts after the
    /// alarm was set can't be missed, and no request needs to set it anew.
    pub(super) fn alarm_step(&self) -> Duration {
        let settings = &self.settings;
        settings
            .header_timeout
            .min(settings.request_deadline)
            .min(settings.idle_timeout)
            .min(settings.handshake_timeout)
            .max(Duration::from_millis(1))
    }
}

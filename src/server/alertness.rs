//! A connection's waker for `hyper`, which keeps what wakes a connection that is being polled at this moment.
//!
//! `hyper` wakes a connection's task when a piece of a request's body is taken, and that happens within the task's own
//! poll. The runtime would put the task behind all others and call another core to help.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// The connection is being polled.
const POLLED: u8 = 1;
/// It was woken since it was polled last.
const WOKEN: u8 = 2;

/// How often a connection is polled in a row before others have their turn.
const IN_A_ROW: usize = 4;

/// How a connection is woken.
pub(super) struct Alertness {
    bell: Arc<Bell>,
    /// The same, as futures want it.
    waker: Waker,
}

struct Bell {
    task: Waker,
    state: AtomicU8,
}

impl Alertness {
    pub(super) fn new() -> Self {
        Self::of(Waker::noop().clone())
    }

    fn of(task: Waker) -> Self {
        let state = AtomicU8::new(0);
        let bell = Arc::new(Bell { task, state });
        let waker = Waker::from(Arc::clone(&bell));
        Self { bell, waker }
    }

    /// Polls, and again at once what has been woken meanwhile.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if !self.bell.task.will_wake(cx.waker()) {
            *self = Self::of(cx.waker().clone());
        }
        let state = &self.bell.state;
        for _ in 0..IN_A_ROW {
            // Whoever woke it before this has woken the task as well.
            state.store(POLLED, Ordering::Relaxed);
            let polled = poll(&mut Context::from_waker(&self.waker));
            let woken = state.swap(0, Ordering::AcqRel) & WOKEN != 0;
            if polled.is_ready() || !woken {
                return polled;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.fetch_or(WOKEN, Ordering::AcqRel) & POLLED == 0 {
            self.task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Counts how often its task was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Polls once, as a runtime would; gives how often `poll` was called, and how often the task was woken.
    fn polled(mut poll: impl FnMut(&mut Context<'_>, usize) -> Poll<()>) -> (usize, usize) {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut times = 0;
        let _ = Alertness::new().poll(&mut Context::from_waker(&waker), |cx| {
            times += 1;
            poll(cx, times)
        });
        (times, woken.0.load(Ordering::SeqCst))
    }

    #[test]
    fn what_wakes_itself_is_polled_again_at_once_and_not_queued() {
        let once = |cx: &mut Context<'_>, times| {
            if times == 1 {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        };
        assert_eq!(polled(once), (2, 0));
        assert_eq!(polled(|_, _| Poll::Pending), (1, 0));
    }

    #[test]
    fn what_wakes_itself_for_ever_lets_others_have_their_turn() {
        let always = |cx: &mut Context<'_>, _| {
            cx.waker().wake_by_ref();
            Poll::Pending
        };
        assert_eq!(polled(always), (IN_A_ROW, 1));
    }

    #[test]
    fn what_is_woken_from_elsewhere_later_has_its_task_woken() {
        let mut kept = None;
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut alertness = Alertness::new();
        let _: Poll<()> = alertness.poll(&mut Context::from_waker(&waker), |cx| {
            kept = Some(cx.waker().clone());
            Poll::Pending
        });
        kept.unwrap().wake();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        // And is polled once, though it had been woken.
        let mut times = 0;
        let _: Poll<()> = alertness.poll(&mut Context::from_waker(&waker), |_| {
            times += 1;
            Poll::Pending
        });
        assert_eq!(times, 1);
    }

    #[test]
    fn no_wake_of_another_thread_is_lost() {
        for _ in 0..2000 {
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let mut alertness = Alertness::new();
            let done = AtomicU8::new(0);
            let mut seen = false;
            std::thread::scope(|scope| {
                let _: Poll<()> = alertness.poll(&mut Context::from_waker(&waker), |cx| {
                    if !seen && done.load(Ordering::SeqCst) == 0 {
                        let waker = cx.waker().clone();
                        let done = &done;
                        scope.spawn(move || {
                            done.store(1, Ordering::SeqCst);
                            waker.wake();
                        });
                    }
                    seen = done.load(Ordering::SeqCst) == 1;
                    Poll::Pending
                });
            });
            // Either the poll has seen what the other thread did, or the task was told.
            assert!(seen || woken.0.load(Ordering::SeqCst) > 0);
        }
    }
}

//! Where lines go: a bounded buffer that a thread of its own writes out, so that no request waits for a reader.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// How many bytes may wait; further lines are dropped and counted.
const CAPACITY: usize = 4 * 1024 * 1024;
/// How long lines gather before they are written: waking the thread for each would cost more than the line.
const GATHER: Duration = Duration::from_millis(20);
/// How many bytes are enough to be written before that: two buffers of them fit into a core's own cache.
const ENOUGH: usize = 128 * 1024;
/// How much room for lines is kept when they are written; more than that is a burst's, and given back.
const KEEP: usize = 2 * ENOUGH;

/// A way to write lines that never waits. Clones write to the same place.
#[derive(Clone)]
pub struct Sink(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Some lines are there, and the writer waits for more.
    gathering: bool,
    writing: bool,
    /// The last write failed. The next line that is added tries again.
    failing: bool,
    /// Somebody waits for everything to be out.
    hurry: bool,
}

impl Sink {
    /// Starts the thread that writes to `out`. It ends with the process.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn new(out: impl Write + Send + 'static) -> io::Result<Self> {
        Self::gathering(GATHER, out)
    }

    fn gathering(time: Duration, out: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let writer = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("signet-log".to_owned())
            .spawn(move || writer.write_out(time, out))?;
        Ok(Self(shared))
    }

    /// Adds whole lines; drops and counts them when too much is waiting.
    pub fn write_lines(&self, lines: &[u8]) {
        self.append(|waiting| waiting.extend_from_slice(lines));
    }

    /// Adds what `write` appends, whole lines again, in the place where they wait: nothing is copied.
    pub fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.try_append(self.0.lock(), write) {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The same for lines that must not be lost: they are taken only where there is room and the last write
    /// went well. Says whether they were; nothing is counted when not.
    #[must_use]
    pub fn append_if_sound(&self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let state = self.0.lock();
        !state.failing && self.try_append(state, write)
    }

    fn try_append(
        &self,
        mut state: MutexGuard<'_, State>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let before = state.waiting.len();
        write(&mut state.waiting);
        let fits = state.waiting.len() <= CAPACITY;
        if !fits {
            state.waiting.truncate(before);
        }
        let after = state.waiting.len();
        drop(state);
        if fits && (before == 0 || before < ENOUGH && after >= ENOUGH) {
            self.0.changed.notify_all();
        }
        fits
    }

    /// Waits until everything that was added is written, at most two seconds: a reader that has
    /// stopped reading must not keep the process from ending.
    pub fn flush(&self) {
        let mut state = self.0.lock();
        state.hurry = true;
        self.0.changed.notify_all();
        let busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        let waited = self
            .0
            .changed
            .wait_timeout_while(state, Duration::from_secs(2), busy);
        waited.unwrap_or_else(PoisonError::into_inner).0.hurry = false;
    }

    /// How many lines were dropped, because the reader was too slow or is gone.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

impl Shared {
    // The state is whole between any two statements, so a panic elsewhere leaves nothing to mend.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_out(&self, time: Duration, mut out: impl Write) {
        let mut lines = Vec::new();
        loop {
            let mut state = self.lock();
            while state.waiting.is_empty() {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            state.gathering = true;
            let gathers = |state: &mut State| !state.hurry && state.waiting.len() < ENOUGH;
            let gathered = self.changed.wait_timeout_while(state, time, gathers);
            state = gathered.unwrap_or_else(PoisonError::into_inner).0;
            state.gathering = false;
            std::mem::swap(&mut state.waiting, &mut lines);
            state.writing = true;
            drop(state);
            let failed = out.write_all(&lines).and_then(|()| out.flush()).is_err();
            if failed {
                self.dropped.fetch_add(
                    lines.iter().filter(|byte| **byte == b'\n').count() as u64,
                    Ordering::Relaxed,
                );
            }
            lines.clear();
            // A burst must not hold its memory for ever.
            lines.shrink_to(KEEP);
            let mut state = self.lock();
            state.writing = false;
            state.failing = failed;
            drop(state);
            self.changed.notify_all();
        }
    }
}

/// One event on its way into the sink.
pub struct SinkWriter<'a>(&'a Sink);

impl Write for SinkWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_lines(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = SinkWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        SinkWriter(self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Slow(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stops_costs_lines_and_not_time() {
        let (go, wait) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink::new(Slow(wait, Arc::clone(&written))).unwrap();
        let line = vec![b'x'; CAPACITY / 4];
        // The thread may hold one buffer while the next one fills.
        for _ in 0..20 {
            sink.write_lines(&line);
        }
        assert!(sink.dropped() >= 12, "{} were dropped", sink.dropped());
        for _ in 0..100 {
            go.send(()).unwrap();
        }
        sink.flush();
        let kept = written.lock().unwrap().len() / line.len();
        assert_eq!(kept as u64 + sink.dropped(), 20);
    }

    #[test]
    fn enough_lines_wait_for_no_time() {
        let (go, wait) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let hour = Duration::from_secs(3600);
        let sink = Sink::gathering(hour, Slow(wait, Arc::clone(&written))).unwrap();
        go.send(()).unwrap();
        go.send(()).unwrap();
        sink.write_lines(&vec![b'x'; ENOUGH - 1]);
        while !sink.0.lock().gathering {
            std::thread::yield_now();
        }
        sink.write_lines(b"x");
        while written.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        sink.write_lines(b"y");
        assert_eq!(
            written.lock().unwrap().len(),
            ENOUGH,
            "too few to be written"
        );
        sink.flush();
        assert_eq!(written.lock().unwrap().len(), ENOUGH + 1);
    }

    #[test]
    fn a_reader_that_is_gone_is_counted() {
        let (go, wait) = mpsc::channel();
        drop(go);
        let sink = Sink::new(Slow(wait, Arc::default())).unwrap();
        sink.write_lines(b"a\nb\n");
        sink.flush();
        assert_eq!(sink.dropped(), 2);
    }

    #[test]
    fn lines_that_must_not_be_lost_are_taken_while_there_is_room_and_writing_works() {
        let (go, wait) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink::new(Slow(wait, Arc::clone(&written))).unwrap();
        let add = |sink: &Sink, length| {
            sink.append_if_sound(|waiting| waiting.resize(waiting.len() + length, b'\n'))
        };
        let mut taken = 0;
        // One buffer that is being written, and one that fills meanwhile.
        while taken < 2 * CAPACITY && add(&sink, CAPACITY / 4) {
            taken += CAPACITY / 4;
        }
        assert!(!add(&sink, CAPACITY + 1), "there is no room");
        assert_eq!(sink.dropped(), 0, "whoever isn't taken is told so");
        for _ in 0..20 {
            go.send(()).unwrap();
        }
        sink.flush();
        assert!(add(&sink, 1));
        sink.flush();
        assert_eq!(written.lock().unwrap().len(), taken + 1);
    }

    #[test]
    fn after_a_failed_write_nothing_that_must_last_is_taken_until_one_goes_well() {
        let (results, wait) = mpsc::channel();
        let sink = Sink::new(Telling(wait)).unwrap();
        let line = |waiting: &mut Vec<u8>| waiting.extend_from_slice(b"a\n");
        results.send(false).unwrap();
        assert!(sink.append_if_sound(line), "nobody knows yet");
        sink.flush();
        assert_eq!(sink.dropped(), 1);
        assert!(!sink.append_if_sound(line));
        results.send(true).unwrap();
        sink.append(line);
        sink.flush();
        assert!(sink.append_if_sound(line));
    }

    /// Does as it is told.
    struct Telling(mpsc::Receiver<bool>);

    impl Write for Telling {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.recv() {
                Ok(true) => Ok(bytes.len()),
                _ => Err(io::ErrorKind::StorageFull.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}

//! A thread that detects a run that hangs, and names the point at which it failed.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use super::Fuse;

/// Watches the runs of one call, one after the other. Dropping it ends the thread.
pub(super) struct Watchdog(Arc<Shared>);

struct Shared {
    limit: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    run: Option<(Fuse, Instant)>,
    /// The waker of a waiting async body.
    waker: Option<Waker>,
    is_over: bool,
}

impl Watchdog {
    /// Starts the thread. If that fails, runs are not watched.
    pub(super) fn start(limit: Duration) -> Watchdog {
        let shared = Arc::new(Shared { limit, state: Mutex::default(), changed: Condvar::new() });
        let watched = Arc::clone(&shared);
        let _ = thread::Builder::new().name("ringpair-fuse".to_owned()).spawn(move || watched.watch());
        Watchdog(shared)
    }

    /// Begins a run. A limit that `Instant` cannot hold is no limit.
    pub(super) fn begin(&self, fuse: &Fuse) {
        self.0.lock().run = Instant::now().checked_add(self.0.limit).map(|until| (fuse.clone(), until));
        self.0.changed.notify_one();
    }

    /// Sets the waker of the body while it waits; `None` while it runs.
    pub(super) fn wakes(&self, waker: Option<&Waker>) {
        let old = std::mem::replace(&mut self.0.lock().waker, waker.cloned());
        drop(old); // without the lock: it may run any code
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn watch(&self) {
        let mut state = self.lock();
        while !state.is_over {
            let left = state.run.as_ref().map(|(_, until)| until.saturating_duration_since(Instant::now()));
            state = match left {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => {
                    let (run, waker) = (state.run.take(), state.waker.take());
                    drop(state);
                    run.into_iter().for_each(|(fuse, _)| self.bark(&fuse, waker.is_some()));
                    waker.into_iter().for_each(Waker::wake);
                    self.lock()
                }
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            }
        }
    }

    /// A waiting body returns an error. A blocked body cannot be ended, so the message is printed past the test harness's
    /// capture, before another time limit ends the process.
    fn bark(&self, fuse: &Fuse, waits: bool) {
        let report = fuse.hang(self.limit);
        if !waits {
            let _ = writeln!(io::stderr(), "ringpair: {report}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Wake};

    use super::*;

    /// Does nothing when it is woken. Once the last waker is dropped, the channel is closed.
    struct Held {
        _open: mpsc::Sender<()>,
    }

    impl Wake for Held {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_dropped_run_ends_the_thread_that_watched_it() {
        let (open, closed) = mpsc::channel();
        let waker = Waker::from(Arc::new(Held { _open: open }));
        {
            let run = pin!(Fuse::armed(async |_| std::future::pending().await));
            assert!(run.poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(waker); // the thread has the last one
        assert_eq!(closed.recv_timeout(Duration::from_secs(60)), Err(mpsc::RecvTimeoutError::Disconnected));
    }
}

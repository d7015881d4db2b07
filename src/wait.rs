//! How a call waits for a pair that is late, in any executor or in none.
//!
//! A blocking call sleeps in `poll(2)` on the engine's descriptor. An async call looks again whenever it is polled, and wakes
//! itself for the first 200 µs, which is enough for most late pairs. After that it registers its descriptor, its deadline and
//! its waker with the [`reactor`].
//!
//! Both look again every 50 ms, because no descriptor shows that a full queue at the listener has dropped our SYN.

mod alarm;
mod reactor;

use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

pub(crate) use self::alarm::Alarm;
use self::reactor::{Reactor, Registration};
use crate::poll::poll_one;

/// How long an async call wakes itself before it registers with the reactor.
const LOOK_AGAIN: Duration = Duration::from_micros(200);

/// The longest wait between two looks.
const NAP: Duration = Duration::from_millis(50);

/// A hundred years, for timeouts that `Instant` cannot hold.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The time by which a call must complete. The clock starts when the call first has to wait.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    timeout: Duration,
    at: Option<Instant>,
}

impl Deadline {
    pub(crate) fn after(timeout: Duration) -> Deadline {
        Deadline { timeout, at: None }
    }

    /// Starts the clock if it is not running. `None` if the time is up.
    pub(crate) fn start(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let at = *self.at.get_or_insert_with(|| now.checked_add(self.timeout).unwrap_or(now + FOREVER));
        (now < at).then_some(at)
    }

    /// Stops the clock, for the next submission.
    pub(crate) fn reset(&mut self) {
        self.at = None;
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// Sleeps until the engine has a completion, the time is up, or a nap is over. The caller checks which.
pub(crate) fn block_on(engine: BorrowedFd<'_>, until: Instant) -> io::Result<()> {
    let timeout = millis_until(until.min(Instant::now() + NAP));
    poll_one(engine, PollFlags::POLLIN, Duration::from_millis(timeout.into())).map(drop)
}

/// Returns how long to sleep, at most a minute. Rounded up: rounding down would end in a busy loop for the last fraction of a
/// millisecond.
pub(crate) fn millis_until(until: Instant) -> u16 {
    let left = until.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
    u16::try_from(left.as_millis()).unwrap_or(u16::MAX)
}

/// An async call that waits.
#[derive(Default)]
pub(crate) struct Waiting {
    since: Option<Instant>,
    registration: Option<Registration>,
}

impl Waiting {
    /// Has the task woken when the engine has a completion, at the deadline at the latest. Without an engine, at the deadline.
    ///
    /// If the reactor cannot be started or used, the task wakes itself.
    pub(crate) fn arrange(&mut self, context: &Context<'_>, engine: Option<BorrowedFd<'_>>, until: Instant) {
        let now = Instant::now();
        let is_new = *self.since.get_or_insert(now) + LOOK_AGAIN > now;
        if (is_new && engine.is_some()) || self.register(context.waker(), engine, until.min(now + NAP)).is_err() {
            context.waker().wake_by_ref();
        }
    }

    fn register(&mut self, waker: &Waker, engine: Option<BorrowedFd<'_>>, until: Instant) -> io::Result<()> {
        match &mut self.registration {
            Some(registration) => registration.renew(engine, until, waker),
            none => {
                *none = Some(Reactor::of_this_process()?.register(engine, until, waker)?);
                Ok(())
            }
        }
    }

    /// Ends the waiting. The engine must be the one that was waited for.
    pub(crate) fn end(&mut self, engine: Option<BorrowedFd<'_>>) {
        self.since = None;
        if let Some(registration) = self.registration.take() {
            registration.end(engine);
        }
    }
}

/// Calls all wakers, even if one of them panics.
pub(crate) fn wake_all(wakers: Vec<Waker>) {
    for waker in wakers {
        // The panic hook has already reported the panic.
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

/// A waker that unparks a thread.
pub(crate) struct Unparks(Thread);

impl Unparks {
    /// Creates a waker for the current thread, which waits by [`thread::park_timeout`].
    pub(crate) fn this_thread() -> Waker {
        Arc::new(Unparks(thread::current())).into()
    }
}

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests;

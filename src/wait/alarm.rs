//! A timer for code that must work without a runtime.

use std::io;
use std::task::Waker;
use std::time::Instant;

use super::Waiting;

/// A time of the wall clock that tasks wait for: a runtime's clock may be absent or paused. Dropped, it wakes nothing.
pub(crate) struct Alarm {
    at: Instant,
    waiting: Waiting,
}

impl Alarm {
    pub(crate) fn at(at: Instant) -> Alarm {
        Alarm { at, waiting: Waiting::default() }
    }

    pub(crate) fn is_due(&self) -> bool {
        Instant::now() >= self.at
    }

    /// Calls `waker` once when the time has come, in place of the waker before.
    ///
    /// It fails if the process lacks descriptors or threads: then nothing is woken.
    pub(crate) fn set(&mut self, waker: &Waker) -> io::Result<()> {
        self.waiting.register(waker, None, self.at)
    }
}

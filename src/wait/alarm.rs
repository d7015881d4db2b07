//! A timer for code that must work without a runtime.

use std::task::Waker;
use std::time::Instant;

use super::reactor::{Reactor, Registration};

/// Wakes a task once, at a time of the wall clock: a runtime's clock may be absent or paused. Dropping it cancels the wake.
pub(crate) struct Alarm {
    pub(crate) at: Instant,
    registration: Registration,
}

impl Alarm {
    /// Sets an alarm for this task, or moves an existing one to it. `None` if the process lacks descriptors or threads: then
    /// nothing is woken.
    pub(crate) fn wake(alarm: Option<Alarm>, at: Instant, waker: &Waker) -> Option<Alarm> {
        match alarm {
            Some(mut alarm) => alarm.registration.renew(None, alarm.at, waker).ok().map(|()| alarm),
            None => {
                let reactor = Reactor::of_this_process().ok()?;
                Some(Alarm { at, registration: reactor.register(None, at, waker).ok()? })
            }
        }
    }
}

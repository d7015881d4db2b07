//! The tasks that wait at a stage.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use crate::wait::wake_all;

/// A call of a task: the last waker that it was polled with, under the number of the call.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) number: u64,
    pub(super) waker: &'a Waker,
}

/// The tasks that wait at a stage. Its own waker, which alarms have, wakes them all.
#[derive(Default)]
pub(super) struct Tasks {
    wakers: Mutex<Vec<(u64, Waker)>>,
}

impl Tasks {
    /// Keeps the waker of this call. Returns the one before: dropping it may run anything, so no lock must be held then.
    #[must_use]
    pub(super) fn add(&self, task: Task<'_>) -> Option<Waker> {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        match wakers.iter_mut().find(|(number, _)| *number == task.number) {
            Some((_, known)) if known.will_wake(task.waker) => None,
            Some((_, known)) => Some(std::mem::replace(known, task.waker.clone())),
            None => {
                wakers.push((task.number, task.waker.clone()));
                None
            }
        }
    }

    /// Returns the waker of this call, which waits no longer.
    #[must_use]
    pub(super) fn remove(&self, number: u64) -> Option<Waker> {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        let place = wakers.iter().position(|(known, _)| *known == number);
        place.map(|place| wakers.swap_remove(place).1)
    }

    /// Wakes every task, even if the waker of one of them panics.
    pub(super) fn wake_all(&self) {
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        wake_all(wakers.into_iter().map(|(_, waker)| waker).collect());
    }
}

impl Wake for Tasks {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}

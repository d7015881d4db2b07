//! The time that passes on a stage: delays of the script, and the patience of a read.

use std::io;
use std::pin::Pin;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::Waker;
use std::thread;
use std::time::Instant;

use tokio::time::Sleep;

/// The delays that are running: one for reads, one for writes and shutdowns.
#[derive(Default)]
pub(super) struct Delays {
    pub(super) read: Option<Pin<Box<Sleep>>>,
    pub(super) write: Option<Pin<Box<Sleep>>>,
    /// When the patience of a read that waits for its turn ends.
    pub(super) alarm: Option<Alarm>,
}

/// Wakes a task at a time of the wall clock: a runtime's own may be absent, or stand still. Dropped, it is off.
pub(super) struct Alarm {
    pub(super) at: Instant,
    pub(super) waker: Waker,
    _off: mpsc::Sender<()>,
}

impl Alarm {
    pub(super) fn set(at: Instant, waker: &Waker) -> io::Result<Alarm> {
        let (off, is_off) = mpsc::channel();
        let to_wake = waker.clone();
        let wait = move || {
            let left = || at.saturating_duration_since(Instant::now());
            while is_off.recv_timeout(left()) == Err(RecvTimeoutError::Timeout) {
                if left().is_zero() {
                    return to_wake.wake();
                }
            }
        };
        thread::Builder::new().name("ringpair-alarm".to_owned()).spawn(wait)?;
        Ok(Alarm { at, waker: waker.clone(), _off: off })
    }
}

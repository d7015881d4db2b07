//! Where a script is played: what the faces of a mocket and its handles share.

use std::io;
use std::panic::Location;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

#[cfg(any(feature = "tokio-uring", feature = "epoll"))]
use super::asynchronous::Delays;
use super::{Mismatch, MismatchKind, Script, Turn};
use crate::fuse::Fuse;

/// A script, and whoever waits for its turn in it.
pub(super) struct Stage {
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) script: Script,
    wire: Option<Wire>,
    /// Whether someone has asked, since the last call, if the script is used up.
    is_told: bool,
    waiting: Vec<Waker>,
    #[cfg(any(feature = "tokio-uring", feature = "epoll"))]
    pub(super) delays: Delays,
}

/// A fuse, and where in the test it was laid.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    fuse: Fuse,
    location: &'static Location<'static>,
    /// Reads, writes and shutdowns so far.
    calls: [usize; 3],
}

impl Wire {
    pub(super) fn new(fuse: Fuse, location: &'static Location<'static>) -> Wire {
        Wire { fuse, location, calls: [0; 3] }
    }
}

/// What the code calls.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    Read,
    Write,
    Shutdown,
}

impl Stage {
    pub(super) fn new(script: Script, wire: Option<Wire>) -> Stage {
        let state = State {
            script,
            wire,
            is_told: false,
            waiting: Vec::new(),
            #[cfg(any(feature = "tokio-uring", feature = "epoll"))]
            delays: Delays::default(),
        };
        Stage { state: Mutex::new(state) }
    }

    /// A call begins: the fuse may blow.
    pub(super) fn begin(&self, call: Call) -> io::Result<()> {
        let mut state = self.lock();
        let Some(wire) = &mut state.wire else { return Ok(()) };
        let count = &mut wire.calls[call as usize];
        *count += 1;
        let name = match call {
            Call::Read => "read",
            Call::Write => "write",
            Call::Shutdown => "shutdown",
        };
        wire.fuse.reach(wire.location, || Some(format!("{name} {count}")))
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> Turn {
        self.change(|script| script.read(buffer))
    }

    pub(super) fn write(&self, offered: &[u8]) -> Turn {
        self.change(|script| script.write(offered))
    }

    pub(super) fn shutdown(&self) -> Turn {
        self.change(Script::shutdown)
    }

    pub(super) fn refuse_early_read(&self) -> io::Error {
        self.change(Script::refuse_early_read)
    }

    pub(super) fn read_passed(&self, size: usize) {
        self.lock().script.read_passed(size);
    }

    pub(super) fn write_passed(&self, bytes: &[u8]) {
        self.lock().script.write_passed(bytes);
    }

    pub(super) fn read_delay_is_over(&self) {
        self.lock().script.read_delay_is_over();
    }

    pub(super) fn write_delay_is_over(&self) {
        self.lock().script.write_delay_is_over();
    }

    pub(super) fn play(&self, script: Script) {
        self.change(|playing| playing.append(script));
    }

    pub(super) fn verify(&self) -> Result<(), Mismatch> {
        let mut state = self.lock();
        state.is_told = true;
        let verdict = state.script.verify();
        // A run that was to fail may end half-way.
        verdict.or_else(|mismatch| match mismatch.kind() {
            MismatchKind::LeftOver if state.has_blown() => Ok(()),
            _ => Err(mismatch),
        })
    }

    /// Has this one woken when the script has moved on.
    #[cfg(any(feature = "tokio-uring", feature = "epoll"))]
    pub(super) fn wake_later(&self, waker: &Waker) {
        let mut state = self.lock();
        if !state.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
    }

    /// Does something that others may be waiting for.
    pub(super) fn change<T>(&self, act: impl FnOnce(&mut Script) -> T) -> T {
        let mut state = self.lock();
        state.is_told = false;
        let outcome = act(&mut state.script);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state); // a waker may run anything
        waiting.into_iter().for_each(Waker::wake);
        outcome
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_blown(&self) -> bool {
        self.wire.as_ref().is_some_and(|wire| wire.fuse.has_blown())
    }
}

/// The last who could tell is gone.
impl Drop for Stage {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.is_told || state.has_blown() || std::thread::panicking() {
            return;
        }
        if let Err(mismatch) = state.script.verify() {
            panic!("a mocket was dropped, and nobody had asked it: {mismatch}");
        }
    }
}

//! Where a script is played: what the faces of a mocket and its handles share.

use std::io;
use std::panic::Location;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

#[cfg(any(feature = "tokio-uring", feature = "epoll"))]
use super::delays::Delays;
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
    /// How long a read may wait for its turn.
    #[cfg(any(feature = "tokio-uring", feature = "epoll"))]
    pub(super) patience: Duration,
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
    pub(super) fn new(script: Script, wire: Option<Wire>, patience: Duration) -> Stage {
        #[cfg(not(any(feature = "tokio-uring", feature = "epoll")))]
        let _ = patience; // without tasks nobody waits
        let state = State {
            script,
            wire,
            is_told: false,
            waiting: Vec::new(),
            #[cfg(any(feature = "tokio-uring", feature = "epoll"))]
            patience,
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
        self.ask(|script| script.read(buffer), None)
    }

    /// The same in a task. Where the script has nothing for it, the task is woken when that may have changed.
    #[cfg(any(feature = "tokio-uring", feature = "epoll"))]
    pub(super) fn read_or_wake(&self, buffer: &mut [u8], waker: &Waker) -> Turn {
        self.ask(|script| script.read(buffer), Some(waker))
    }

    pub(super) fn write(&self, offered: &[u8]) -> Turn {
        self.ask(|script| script.write(offered), None)
    }

    pub(super) fn shutdown(&self) -> Turn {
        self.ask(Script::shutdown, None)
    }

    pub(super) fn refuse_early_read(&self) -> io::Error {
        let mut state = self.lock();
        state.is_told = false;
        let error = state.script.refuse_early_read();
        wake(state);
        error
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
        let mut state = self.lock();
        state.is_told = false;
        state.script.append(script);
        wake(state);
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

    fn ask(&self, question: impl FnOnce(&mut Script) -> Turn, waker: Option<&Waker>) -> Turn {
        let mut state = self.lock();
        state.is_told = false;
        let turn = question(&mut state.script);
        match &turn {
            // Now, or what comes between the answer and the waiting would be missed.
            Turn::NotYet | Turn::PassThrough { .. } => {
                let is_new = |waker: &&Waker| !state.waiting.iter().any(|waiting| waiting.will_wake(waker));
                let waker = waker.filter(is_new).cloned();
                state.waiting.extend(waker);
            }
            // No others: a task that waits at the socket, and is asked again for another reason, would wake itself without end.
            Turn::Moved(_) | Turn::Fails(_) => wake(state),
            Turn::EndOfFile | Turn::Wait(_) => {}
        }
        turn
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of the stage first: a waker may run anything.
fn wake(mut state: MutexGuard<'_, State>) {
    let waiting = std::mem::take(&mut state.waiting);
    drop(state);
    waiting.into_iter().for_each(Waker::wake);
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
            panic!("a mocket was dropped unverified: {mismatch}");
        }
    }
}

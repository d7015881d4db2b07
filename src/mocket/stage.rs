//! Where a script is replayed: what the faces of a mocket and its handles share.

use std::io;
use std::panic::Location;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::delays::{Delays, Direction};
use super::memory::Link;
use super::tasks::{Task, Tasks};
use super::{Mismatch, MismatchKind, Script, Turn};
use crate::fuse::Fuse;

/// A script, and the reads that wait for their turn in it.
pub(super) struct Stage {
    state: Mutex<State>,
    /// Notified whenever tasks are woken: for blocking reads.
    changed: Condvar,
    pub(super) tasks: Arc<Tasks>,
    partner: OnceLock<Partner>,
}

pub(super) struct State {
    pub(super) script: Script,
    wire: Option<Wire>,
    /// Whether the caller knows all that `verify` would tell now.
    is_told: bool,
    /// The number of the newest call that has a future of its own.
    newest: u64,
    handles: usize,
    /// How long a read may wait for its turn.
    pub(super) patience: Duration,
    pub(super) delays: Delays,
}

/// The other end of a pair of mockets: if one end fails, both do.
struct Partner {
    stage: Weak<Stage>,
    link: Arc<Link>,
}

/// A fuse, and where in the test it was laid.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    fuse: Fuse,
    location: &'static Location<'static>,
    /// Reads, writes and shutdowns so far.
    calls: [usize; 3],
    is_second: bool,
}

impl Wire {
    pub(super) fn new(fuse: Fuse, location: &'static Location<'static>) -> Wire {
        Wire { fuse, location, calls: [0; 3], is_second: false }
    }

    /// The same fuse at the second end of a pair of mockets.
    pub(super) fn second(mut self) -> Wire {
        self.is_second = true;
        self
    }

    fn reach(&mut self, call: Call) -> io::Result<()> {
        let count = &mut self.calls[call as usize];
        *count += 1;
        let name = match call {
            Call::Read => "read",
            Call::Write => "write",
            Call::Shutdown => "shutdown",
        };
        let end = if self.is_second { "second end" } else { "mocket" };
        self.fuse.reach(self.location, || Some(format!("{name} {count} of the {end}")))
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
        let state = State {
            script,
            wire,
            is_told: false,
            newest: 1, // 0 and 1 are the calls of a face that is polled
            handles: 0,
            patience,
            delays: Delays::default(),
        };
        let tasks = Arc::new(Tasks::default());
        Stage { state: Mutex::new(state), changed: Condvar::new(), tasks, partner: OnceLock::new() }
    }

    /// Makes two stages fail together.
    pub(super) fn join(self: &Arc<Stage>, other: &Arc<Stage>, link: &Arc<Link>) {
        for (stage, partner) in [(self, other), (other, self)] {
            let partner = Partner { stage: Arc::downgrade(partner), link: Arc::clone(link) };
            let _ = stage.partner.set(partner); // a stage is joined once
        }
    }

    /// A call begins: the fuse may blow.
    pub(super) fn begin(&self, call: Call) -> io::Result<()> {
        let Some(reached) = self.lock().wire.as_mut().map(|wire| wire.reach(call)) else { return Ok(()) };
        if reached.is_err() {
            self.cut_off(None);
        }
        reached
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> Turn {
        self.ask(|script| script.read(buffer), None)
    }

    pub(super) fn write(&self, offered: &[u8]) -> Turn {
        self.ask(|script| script.write(offered), None)
    }

    pub(super) fn shutdown(&self) -> Turn {
        self.ask(Script::shutdown, None)
    }

    pub(super) fn refuse_early_read(&self) -> io::Error {
        let mut state = self.lock();
        let error = state.script.refuse_early_read();
        state.is_told = true;
        let mismatch = state.script.mismatch();
        self.wake(state);
        self.cut_off(mismatch);
        error
    }

    /// Blocks while a read has to wait for a handle. False if it has to wait for something else, or the time is up.
    pub(super) fn wait_for_handles(&self, until: &mut Option<Instant>) -> bool {
        let state = self.lock();
        let patience = state.patience;
        let until = *until.get_or_insert_with(|| after(patience));
        let left = until.saturating_duration_since(Instant::now());
        let waits = |state: &mut State| state.script.waits_for_handles();
        let waited = self.changed.wait_timeout_while(state, left, waits);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out() && !state.script.reads_must_wait()
    }

    pub(super) fn read_passed(&self, size: usize) {
        self.lock().script.read_passed(size);
    }

    pub(super) fn write_passed(&self, bytes: &[u8]) {
        self.lock().script.write_passed(bytes);
    }

    pub(super) fn delay_is_over(&self, direction: Direction) {
        self.lock().delay_is_over(direction);
    }

    pub(super) fn play(&self, script: Script) {
        let mut state = self.lock();
        state.script.append(script);
        state.is_told &= state.script.has_failed();
        self.wake(state);
    }

    pub(super) fn written(&self) -> Vec<u8> {
        self.lock().script.captured().to_vec()
    }

    pub(super) fn verify(&self) -> Result<(), Mismatch> {
        let mut state = self.lock();
        state.is_told = true;
        state.verdict()
    }

    fn ask(&self, question: impl FnOnce(&mut Script) -> Turn, waits: Option<Task<'_>>) -> Turn {
        let mut state = self.lock();
        let had_failed = state.script.has_failed();
        let turn = question(&mut state.script);
        state.is_told = state.script.has_failed(); // the caller has it in its hands
        match &turn {
            // Now, or what comes between the answer and the waiting would be missed.
            Turn::NotYet | Turn::PassThrough { .. } => {
                let before = waits.and_then(|task| self.tasks.add(task));
                drop(state);
                drop(before); // without the lock: it may run anything
            }
            // No others: a task that waits at the socket, and is asked again for another reason, would wake itself without end.
            Turn::Moved(_) | Turn::Fails(_) => {
                let mismatch = if had_failed { None } else { state.script.mismatch() };
                self.wake(state);
                if mismatch.is_some() {
                    self.cut_off(mismatch);
                }
            }
            Turn::EndOfFile | Turn::Wait(_) => {}
        }
        turn
    }

    /// Makes the other end of a pair of mockets fail, and, if there was no mismatch, this end.
    fn cut_off(&self, mismatch: Option<Mismatch>) {
        let Some(partner) = self.partner.get() else { return };
        if let Some(stage) = partner.stage.upgrade() {
            let mut state = stage.lock();
            state.script.cut_off(mismatch.map(Mismatch::at_the_other_end));
            state.is_told = true; // at this end
            stage.wake(state);
        }
        self.lock().script.cut_off(None);
        partner.link.break_off();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the state first: a waker may run anything.
    pub(super) fn wake(&self, state: MutexGuard<'_, State>) {
        drop(state);
        self.changed.notify_all();
        self.tasks.wake_all();
    }

    pub(super) fn add_handle(&self) {
        self.lock().handles += 1;
    }

    /// After the last handle, reads come to the end of file instead of waiting for more.
    pub(super) fn remove_handle(&self) {
        let mut state = self.lock();
        state.handles -= 1;
        if state.handles == 0 && state.script.let_go() {
            self.wake(state);
        }
    }
}

/// What async faces need besides.
impl Stage {
    /// As `read`. If the script has nothing for it, the task is woken when that may have changed.
    pub(super) fn read_or_wake(&self, buffer: &mut [u8], task: Task<'_>) -> Turn {
        self.ask(|script| script.read(buffer), Some(task))
    }

    /// How large the buffer for the next read has to be.
    pub(super) fn ready_to_read(&self, at_most: usize) -> usize {
        self.lock().script.ready_to_read(at_most)
    }
}

/// The time after which a read has waited for too long.
pub(super) fn after(patience: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(patience).unwrap_or_else(|| now + Duration::from_secs(u32::MAX.into()))
}

impl State {
    pub(super) fn delay_is_over(&mut self, direction: Direction) {
        *self.delays.of(direction) = None;
        match direction {
            Direction::Read => self.script.read_delay_is_over(),
            Direction::Write => self.script.write_delay_is_over(),
        }
    }

    fn has_blown(&self) -> bool {
        self.wire.as_ref().is_some_and(|wire| wire.fuse.has_blown())
    }

    /// A run that was to fail may end half-way.
    fn verdict(&self) -> Result<(), Mismatch> {
        self.script.verify().or_else(|mismatch| match mismatch.kind() {
            MismatchKind::LeftOver if self.has_blown() => Ok(()),
            _ => Err(mismatch),
        })
    }
}

/// A call that may wait beside others of its kind, as those with owned buffers can. Dropped, its waker goes too.
pub(super) struct OwnCall<'a> {
    stage: &'a Stage,
    pub(super) number: u64,
}

impl OwnCall<'_> {
    pub(super) fn of(stage: &Stage) -> OwnCall<'_> {
        let mut state = stage.lock();
        state.newest += 1;
        OwnCall { stage, number: state.newest }
    }
}

impl Drop for OwnCall<'_> {
    fn drop(&mut self) {
        drop(self.stage.tasks.remove(self.number));
    }
}

/// The last owner is gone.
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

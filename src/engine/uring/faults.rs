//! Fault injection for tests: an operation fails with a chosen errno. Only in builds with `--cfg ringpair_faults`; see
//! `ci/faults`.
//!
//! A failing operation is not submitted, so that it leaves nothing behind, like a real failure. A no-op with the same
//! `user_data` is submitted in its place.

use std::cell::RefCell;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::Timespec;
use io_uring::{cqueue, opcode};
use nix::errno::Errno;

/// When a failing operation completes.
#[derive(Clone, Copy, Debug)]
pub enum FaultEnding {
    /// At its submission.
    AtOnce,
    /// At its submission, as an entry that the kernel rejects: the rest needs another submission.
    Rejected,
    /// A few milliseconds after the submission.
    Later,
}

/// Which operations fail in this thread: `many` of this opcode, from the `first`th on.
#[allow(missing_docs)] // see above
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub opcode: u8,
    pub errno: i32,
    pub first: u32,
    pub many: u32,
    pub ending: FaultEnding,
}

struct Armed {
    fault: Fault,
    seen: u32,
    met: u32,
    /// The `user_data` of replaced operations that have not completed.
    replaced: Vec<u64>,
}

static LATER: Timespec = Timespec::new().nsec(5_000_000);

thread_local! {
    static ARMED: RefCell<Option<Armed>> = const { RefCell::new(None) };
}

/// Arms a fault, or disarms. Returns how many operations of its opcode the previous fault saw, and how many it made fail.
pub fn arm(fault: Option<Fault>) -> (u32, u32) {
    let armed = fault.map(|fault| Armed { fault, seen: 0, met: 0, replaced: Vec::new() });
    ARMED.replace(armed).map_or((0, 0), |before| (before.seen, before.met))
}

/// Returns the entry to submit in place of this one.
pub(super) fn instead_of(entry: &Entry) -> Entry {
    let name = entry.get_user_data();
    let ending = ARMED.try_with(|armed| armed.borrow_mut().as_mut()?.strike(entry.get_opcode(), name));
    // A ring that is dropped while its thread ends can outlive the thread-local.
    let ending = ending.ok().flatten();
    let nothing = match ending {
        None => return entry.clone(),
        Some(FaultEnding::AtOnce) => opcode::Nop::new().build(),
        Some(FaultEnding::Rejected) => opcode::Nop::new().build().flags(Flags::BUFFER_SELECT),
        Some(FaultEnding::Later) => opcode::Timeout::new(&raw const LATER).build(),
    };
    nothing.user_data(name)
}

/// Returns the result of a completion, or the injected errno.
pub(super) fn result_of(completion: &cqueue::Entry) -> i32 {
    let result = completion.result();
    let errno = ARMED.try_with(|armed| armed.borrow_mut().as_mut()?.take(completion.user_data()));
    match errno.ok().flatten() {
        // A `Later` operation may have been cancelled before its time.
        Some(errno) if result != -(Errno::ECANCELED as i32) => -errno,
        _ => result,
    }
}

impl Armed {
    /// Returns how this operation ends, if it must fail.
    fn strike(&mut self, opcode: u32, name: u64) -> Option<FaultEnding> {
        if opcode != self.fault.opcode.into() {
            return None;
        }
        self.seen += 1;
        let hit = self.seen >= self.fault.first && self.seen - self.fault.first < self.fault.many;
        hit.then(|| {
            self.met += 1;
            self.replaced.push(name);
            self.fault.ending
        })
    }

    /// Returns the errno of a replaced operation.
    fn take(&mut self, name: u64) -> Option<i32> {
        let place = self.replaced.iter().position(|replaced| *replaced == name)?;
        self.replaced.swap_remove(place);
        Some(self.fault.errno)
    }
}

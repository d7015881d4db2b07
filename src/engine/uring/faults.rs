//! A seam for tests: an operation of theirs is kept from the kernel, and ends as they say. No build has it but one with
//! `--cfg ringpair_faults`; see `ci/faults`.
//!
//! The operation itself is never carried out, so that a failure leaves behind what a real one leaves: nothing. In its place
//! goes one that does nothing, under the same name.

use std::cell::RefCell;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::Timespec;
use io_uring::{cqueue, opcode};
use nix::errno::Errno;

/// How an operation that is kept from the kernel ends.
#[derive(Clone, Copy, Debug)]
pub enum FaultEnding {
    /// As soon as it is submitted.
    AtOnce,
    /// As one that the kernel rejects, so that the submission ends there and the rest needs another one.
    Rejected,
    /// A few milliseconds after the submission.
    Later,
}

/// What is to go wrong in this thread: operations of this opcode, from the `first`th on, so `many` of them.
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
    /// Names of operations that were replaced and have not ended yet.
    replaced: Vec<u64>,
}

static LATER: Timespec = Timespec::new().nsec(5_000_000);

thread_local! {
    static ARMED: RefCell<Option<Armed>> = const { RefCell::new(None) };
}

/// Arms a fault, or none; tells how many operations of its opcode the one before has seen, and how many met it.
pub fn arm(fault: Option<Fault>) -> (u32, u32) {
    let armed = fault.map(|fault| Armed { fault, seen: 0, met: 0, replaced: Vec::new() });
    ARMED.replace(armed).map_or((0, 0), |before| (before.seen, before.met))
}

/// What is submitted in the place of this operation.
pub(super) fn instead_of(entry: &Entry) -> Entry {
    let name = entry.get_user_data();
    let ending = ARMED.try_with(|armed| armed.borrow_mut().as_mut()?.strike(entry.get_opcode(), name));
    // A ring that is dropped as its thread ends may come after what was armed there.
    let ending = ending.ok().flatten();
    let nothing = match ending {
        None => return entry.clone(),
        Some(FaultEnding::AtOnce) => opcode::Nop::new().build(),
        Some(FaultEnding::Rejected) => opcode::Nop::new().build().flags(Flags::BUFFER_SELECT),
        Some(FaultEnding::Later) => opcode::Timeout::new(&raw const LATER).build(),
    };
    nothing.user_data(name)
}

/// What this completion says.
pub(super) fn result_of(completion: &cqueue::Entry) -> i32 {
    let result = completion.result();
    let errno = ARMED.try_with(|armed| armed.borrow_mut().as_mut()?.take(completion.user_data()));
    match errno.ok().flatten() {
        // One that ends later may have been called off before.
        Some(errno) if result != -(Errno::ECANCELED as i32) => -errno,
        _ => result,
    }
}

impl Armed {
    /// How this operation ends, where it is one that fails.
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

    /// The errno of an operation that was replaced.
    fn take(&mut self, name: u64) -> Option<i32> {
        let place = self.replaced.iter().position(|replaced| *replaced == name)?;
        self.replaced.swap_remove(place);
        Some(self.fault.errno)
    }
}

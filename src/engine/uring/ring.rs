//! The ring itself: set-up with supported flags, pushing entries, entering the kernel without waiting.
#![allow(unsafe_code)] // hands entries to the kernel; the caller keeps alive what they point to

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::squeue::Entry;
use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode};
use nix::errno::Errno;
#[cfg(feature = "tokio-uring")]
use nix::libc::iovec;

/// Entries of the submission queue. The completion queue has twice as many, and the kernel keeps what exceeds that
/// (`IORING_FEAT_NODROP`, Linux 5.5).
const ENTRIES: u32 = 64;

/// How often a submission may fail with a temporary error before the ring counts as broken.
const TRIES: u32 = 1000;

pub(super) struct Ring {
    uring: IoUring,
    /// Entries in the submission queue that the kernel has not taken yet.
    queued: u32,
    /// Entries whose completion has not been taken. Each entry has one.
    outstanding: u32,
    /// Completions that were moved out of a full queue. They are older than those in the queue.
    aside: VecDeque<cqueue::Entry>,
    /// The errno of a failed submission. What is queued must never be submitted after it, because it names descriptors that
    /// are closed by then.
    broken: Option<i32>,
    /// This process is a forked child, which shares the queues with its parent.
    abandoned: bool,
    /// Whether the kernel knows `IORING_OP_SOCKET` (Linux 5.19).
    opens_sockets: bool,
}

/// Makes a ring with the flags that the engine uses. The probe tries the same.
///
/// With `DEFER_TASKRUN`, the ring's descriptor would not become readable. `COOP_TASKRUN` (Linux 5.19) saves the interrupt and
/// still makes it readable.
pub(crate) fn set_up() -> io::Result<IoUring> {
    match IoUring::builder().setup_coop_taskrun().build(ENTRIES) {
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => IoUring::new(ENTRIES),
        outcome => outcome,
    }
}

impl Ring {
    pub(super) fn open() -> io::Result<Ring> {
        let uring = set_up()?;
        let opens_sockets = knows_opcodes(&uring)?;
        Ok(Ring {
            uring,
            queued: 0,
            outstanding: 0,
            aside: VecDeque::new(),
            broken: None,
            abandoned: false,
            opens_sockets,
        })
    }

    pub(super) fn opens_sockets(&self) -> bool {
        self.opens_sockets
    }

    /// Queues an entry, and enters the kernel first if the queue is full.
    ///
    /// # Safety
    ///
    /// What the entry points to must stay valid, and the descriptor that it names open, until the ring has been entered.
    pub(super) unsafe fn push(&mut self, entry: &Entry) {
        if self.broken.is_some() {
            return;
        }
        #[cfg(ringpair_faults)]
        let entry = &super::faults::instead_of(entry);
        // SAFETY: by the caller's promise, what the entry points to is valid until the kernel takes the entry, and it copies
        // everything then (IORING_FEAT_SUBMIT_STABLE, Linux 5.5).
        while unsafe { self.uring.submission().push(entry) }.is_err() {
            if self.enter().is_err() {
                return;
            }
        }
        self.queued += 1;
        self.outstanding += 1;
    }

    /// Submits everything that is queued. The kernel completes at once what it can. Does not wait.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        let mut tries = 0;
        while self.queued > 0 && self.broken.is_none() {
            self.enter_or_break(&mut tries);
        }
        match self.broken {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
    }

    /// Enters once. A temporary error may occur [this often](TRIES); any other error breaks the ring.
    fn enter_or_break(&mut self, tries: &mut u32) {
        let errno = match self.enter_once() {
            Ok(0) if self.queued > 0 => Errno::EAGAIN, // the kernel took nothing and gave no reason
            Ok(_) => return,
            Err(error) => Errno::from_raw(error.raw_os_error().unwrap_or(0)),
        };
        if errno == Errno::EBUSY && self.set_aside() {
            return;
        }
        *tries += 1;
        if !matches!(errno, Errno::EINTR | Errno::EAGAIN | Errno::EBUSY) || *tries == TRIES {
            self.broken = Some(errno as i32);
        }
    }

    /// Makes room in the completion queue: the kernel returns `EBUSY` while completions do not fit. False if the queue is
    /// empty.
    fn set_aside(&mut self) -> bool {
        let before = self.aside.len();
        self.aside.extend(self.uring.completion());
        self.aside.len() > before
    }

    /// Makes the kernel run the work that it has deferred to this thread.
    pub(super) fn nudge(&mut self) {
        if self.broken.is_none() {
            let _ = self.enter_once(); // a lasting error comes back at the next submission
        }
    }

    fn enter_once(&mut self) -> io::Result<usize> {
        // GETEVENTS runs deferred work, so a finished handshake also has its completion.
        let flags = EnterFlags::GETEVENTS.bits();
        // SAFETY: no argument is passed, and `queued` entries were pushed.
        let taken = unsafe { self.uring.submitter().enter::<()>(self.queued, 0, flags, None) }?;
        self.queued -= taken as u32;
        Ok(taken)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
        self.broken = Some(Errno::ESTALE as i32);
    }

    /// Takes the oldest completion.
    pub(super) fn next(&mut self) -> Option<cqueue::Entry> {
        if self.outstanding == 0 || self.abandoned {
            return None; // without reading memory that the kernel writes
        }
        let next = self.aside.pop_front().or_else(|| self.next_of_the_queue());
        self.outstanding -= u32::from(next.is_some());
        next
    }

    fn next_of_the_queue(&mut self) -> Option<cqueue::Entry> {
        let mut tries = 0;
        for _ in 0..TRIES {
            let next = self.uring.completion().next();
            if next.is_some() || self.broken.is_some() || !self.uring.submission().cq_overflow() {
                return next;
            }
            // The kernel holds completions that did not fit into the queue; entering moves them there.
            self.enter_or_break(&mut tries);
        }
        None
    }

    /// # Safety
    ///
    /// The buffers must stay valid, and unused by other code, as long as they are registered.
    #[cfg(feature = "tokio-uring")]
    pub(super) unsafe fn register_buffers(&self, buffers: &[iovec]) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.uring.submitter().register_buffers(buffers) }
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: `self` keeps the ring open, and is borrowed as long as the result is.
        unsafe { BorrowedFd::borrow_raw(self.uring.as_raw_fd()) }
    }
}

/// Checks for the required operations, and returns whether the optional one, opening sockets, is supported.
///
/// A kernel that cannot be asked (before Linux 5.6) has all required operations.
fn knows_opcodes(uring: &IoUring) -> io::Result<bool> {
    let mut probe = Probe::new();
    if uring.submitter().register_probe(&mut probe).is_err() {
        return Ok(false);
    }
    let needed = [opcode::Accept::CODE, opcode::Connect::CODE, opcode::AsyncCancel::CODE];
    match needed.into_iter().all(|code| probe.is_supported(code)) {
        true => Ok(probe.is_supported(opcode::Socket::CODE)),
        false => Err(Errno::EOPNOTSUPP.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than the completion queue holds.
    const MANY: u64 = 5 * ENTRIES as u64;

    fn push(ring: &mut Ring, names: std::ops::Range<u64>) {
        for name in names {
            // SAFETY: it points to nothing.
            unsafe { ring.push(&opcode::Nop::new().build().user_data(name)) };
        }
    }

    fn take(ring: &mut Ring) -> impl Iterator<Item = u64> {
        std::iter::from_fn(|| ring.next()).map(|completion| completion.user_data())
    }

    #[test]
    fn completions_beyond_the_queue_are_taken_in_order() {
        if !crate::ring_or_skip("completions_beyond_the_queue_are_taken_in_order") {
            return;
        }
        let mut ring = Ring::open().unwrap();
        push(&mut ring, 0..MANY);
        ring.enter().unwrap();
        assert!(take(&mut ring).eq(0..MANY));
    }

    /// Entering to fetch the remaining completions also submits what is queued.
    #[test]
    fn entries_queued_while_reaping_are_submitted_once() {
        if !crate::ring_or_skip("entries_queued_while_reaping_are_submitted_once") {
            return;
        }
        let mut ring = Ring::open().unwrap();
        push(&mut ring, 0..MANY);
        ring.enter().unwrap();
        let mut taken = Vec::new();
        while let Some(completion) = ring.next() {
            taken.push(completion.user_data());
            if taken.len() % 3 == 0 && taken.len() < 100 {
                push(&mut ring, 1000 + taken.len() as u64..1001 + taken.len() as u64);
            }
        }
        ring.enter().unwrap();
        taken.extend(take(&mut ring));
        taken.sort_unstable();
        let expected = (0..MANY).chain((3..100).step_by(3).map(|number| 1000 + number));
        assert!(taken.into_iter().eq(expected));
        push(&mut ring, 0..1);
        ring.enter().unwrap();
        assert!(take(&mut ring).eq(0..1));
    }
}

//! The ring itself: set-up with flags by descent, room in the submission queue, entering without waiting.
#![allow(unsafe_code)] // hands entries to the kernel; what they point to is kept by `flight`, see there

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::squeue::Entry;
use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode};
use nix::errno::Errno;
#[cfg(feature = "tokio-uring")]
use nix::libc::iovec;

/// Entries of the submission queue; the completion queue has twice as many, and what exceeds that is kept by the kernel
/// (`IORING_FEAT_NODROP`, Linux 5.5).
const ENTRIES: u32 = 64;

/// How often the kernel may put us off, for want of memory for one more request or without a word, before the ring is given up.
const TRIES: u32 = 1000;

pub(super) struct Ring {
    uring: IoUring,
    /// Entries in the submission queue that the kernel has not taken yet.
    queued: u32,
    /// Completions that were in the way of a submission; older than those in the queue.
    aside: VecDeque<cqueue::Entry>,
    /// Set once the kernel would not take what is queued: then the queue holds entries that name descriptors long closed,
    /// and must never be submitted again.
    broken: Option<i32>,
    /// The ring is the parent's, and its queues are shared with it.
    deserted: bool,
    /// Whether the kernel knows `IORING_OP_SOCKET` (Linux 5.19).
    opens_sockets: bool,
}

impl Ring {
    pub(super) fn open() -> io::Result<Ring> {
        // No DEFER_TASKRUN, though it looks made for us: its completions wait until we enter the kernel, so epoll on the
        // ring's descriptor is not woken. COOP_TASKRUN (Linux 5.19) spares the interrupt and wakes epoll all the same.
        let uring = match IoUring::builder().setup_coop_taskrun().build(ENTRIES) {
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => IoUring::builder().build(ENTRIES)?,
            outcome => outcome?,
        };
        let opens_sockets = knows_opcodes(&uring)?;
        Ok(Ring { uring, queued: 0, aside: VecDeque::new(), broken: None, deserted: false, opens_sockets })
    }

    pub(super) fn opens_sockets(&self) -> bool {
        self.opens_sockets
    }

    /// Queues an entry, entering the kernel first where the queue is full.
    ///
    /// # Safety
    ///
    /// Whatever the entry points to stays where it is until the ring has been entered, and the descriptor that it names
    /// stays open as long.
    pub(super) unsafe fn push(&mut self, entry: &Entry) {
        if self.broken.is_some() {
            return;
        }
        #[cfg(ringpair_faults)]
        let entry = &super::faults::instead_of(entry);
        // SAFETY: the caller's promise is the one that `push` asks for: the kernel copies all that an entry points to
        // while it takes the entry (IORING_FEAT_SUBMIT_STABLE, Linux 5.5).
        while unsafe { self.uring.submission().push(entry) }.is_err() {
            if self.enter().is_err() {
                return;
            }
        }
        self.queued += 1;
    }

    /// Gives everything that is queued to the kernel, which completes at once what it can. Does not wait.
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

    /// Enters once. Who is put off may try again, [so often](TRIES); any other answer breaks the ring.
    fn enter_or_break(&mut self, tries: &mut u32) {
        let errno = match self.enter_once() {
            Ok(0) if self.queued > 0 => Errno::EAGAIN, // it has taken none, and not told why
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

    /// Makes room in the completion queue: where that is full, and the kernel keeps more for us, it may take no submission
    /// (`EBUSY` of `io_uring_enter(2)`). False where there was nothing to be moved.
    fn set_aside(&mut self) -> bool {
        let before = self.aside.len();
        self.aside.extend(self.uring.completion());
        self.aside.len() > before
    }

    /// Has the kernel do what it has deferred to this thread, though nothing is queued.
    pub(super) fn nudge(&mut self) {
        if self.broken.is_none() {
            let _ = self.enter_once(); // an answer that matters comes again with the next submission
        }
    }

    fn enter_once(&mut self) -> io::Result<usize> {
        // GETEVENTS with nothing to wait for: runs what the kernel has deferred to this thread, so that a handshake which
        // is through by now is also completed by now.
        let flags = EnterFlags::GETEVENTS.bits();
        // SAFETY: no argument is passed, and the count is of entries that were pushed.
        let taken = unsafe { self.uring.submitter().enter::<()>(self.queued, 0, flags, None) }?;
        self.queued -= taken as u32;
        Ok(taken)
    }

    pub(super) fn desert(&mut self) {
        self.deserted = true;
        self.broken = Some(Errno::ESTALE as i32);
    }

    /// The oldest completion that has not been taken yet.
    pub(super) fn next(&mut self) -> Option<cqueue::Entry> {
        if self.deserted {
            return None;
        }
        let aside = self.aside.pop_front();
        if aside.is_some() {
            return aside;
        }
        let mut tries = 0;
        for _ in 0..TRIES {
            let next = self.uring.completion().next();
            if next.is_some() || self.broken.is_some() || !self.uring.submission().cq_overflow() {
                return next;
            }
            // The kernel keeps more for us than the queue could hold; entering brings it in.
            self.enter_or_break(&mut tries);
        }
        None
    }

    /// # Safety
    ///
    /// What the buffers point to stays where it is, and is nobody else's, as long as they are registered.
    #[cfg(feature = "tokio-uring")]
    pub(super) unsafe fn register_buffers(&self, buffers: &[iovec]) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.uring.submitter().register_buffers(buffers) }
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.uring.as_raw_fd()
    }
}

/// Asks by opcode, not by version. Where the question itself is not known (before Linux 5.6) the operations are that cannot
/// be done without. Tells of the one that can, opening sockets.
fn knows_opcodes(uring: &IoUring) -> io::Result<bool> {
    let mut probe = Probe::new();
    if uring.submitter().register_probe(&mut probe).is_err() {
        return Ok(false);
    }
    let needed = [opcode::Accept::CODE, opcode::Connect::CODE, opcode::AsyncCancel::CODE, opcode::Timeout::CODE];
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
    fn more_completions_than_the_queue_holds_are_all_taken_in_order() {
        if !crate::ring_or_skip("more_completions_than_the_queue_holds_are_all_taken_in_order") {
            return;
        }
        let mut ring = Ring::open().unwrap();
        push(&mut ring, 0..MANY);
        ring.enter().unwrap();
        assert!(take(&mut ring).eq(0..MANY));
    }

    /// What brings in the rest of the completions submits what is queued, too.
    #[test]
    fn what_is_queued_while_completions_are_taken_is_submitted_once() {
        if !crate::ring_or_skip("what_is_queued_while_completions_are_taken_is_submitted_once") {
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

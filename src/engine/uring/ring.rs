//! The ring itself: set-up with flags by descent, room in the submission queue, entering without waiting.
#![allow(unsafe_code)] // hands entries to the kernel; what they point to is kept by `flight`, see there

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

/// How often the kernel may answer that it has no memory for one more request before the ring is given up.
const TRIES: u32 = 1000;

pub(super) struct Ring {
    uring: IoUring,
    /// Entries in the submission queue that the kernel has not taken yet.
    queued: u32,
    /// Set once the kernel would not take what is queued: then the queue holds entries that name descriptors long closed,
    /// and must never be submitted again.
    broken: Option<i32>,
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
        Ok(Ring { uring, queued: 0, broken: None, opens_sockets })
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
            let errno = match self.enter_once() {
                Ok(0) => Errno::EAGAIN, // it has taken none, and not told why
                Ok(taken) => {
                    self.queued -= taken as u32;
                    continue;
                }
                Err(error) => Errno::from_raw(error.raw_os_error().unwrap_or(0)),
            };
            tries += 1;
            if !matches!(errno, Errno::EINTR | Errno::EAGAIN | Errno::EBUSY) || tries == TRIES {
                self.broken = Some(errno as i32);
            }
        }
        match self.broken {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
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
        unsafe { self.uring.submitter().enter::<()>(self.queued, 0, flags, None) }
    }

    /// The oldest completion that has not been taken yet.
    pub(super) fn next(&mut self) -> Option<cqueue::Entry> {
        let next = self.uring.completion().next();
        if next.is_none() && self.uring.submission().cq_overflow() {
            // The kernel keeps more for us than the queue could hold; entering brings it in.
            if let Err(error) = self.enter_once() {
                self.broken = self.broken.or(error.raw_os_error());
            }
            return self.uring.completion().next();
        }
        next
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

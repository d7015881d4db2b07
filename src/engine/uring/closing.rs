//! A ring to measure closing with: a read that is pending at one end while the other is closed, and a close as an operation.
#![allow(unsafe_code)] // describes operations on a buffer that outlives them, and on descriptors

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use io_uring::opcode;
use io_uring::types::Fd;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::outcome;
use super::ring::Ring;

const READ: u64 = 0;
const CLOSED: u64 = 1;
const SILENT: u64 = 2;

/// How much a read asks for: who closes has sent nothing, so a byte is one too many already.
const SIZE: u32 = 1;

/// One read at a time, and one close.
pub(crate) struct Closing {
    ring: Ring,
    /// What the kernel may write to while a read is pending. Freed only when none is.
    buffer: NonNull<u8>,
    is_reading: bool,
    read: Option<io::Result<usize>>,
    closed: Option<io::Result<()>>,
}

// SAFETY: whoever has it has the only pointer to the buffer on this side of the kernel.
unsafe impl Send for Closing {}

impl Closing {
    pub(crate) fn open() -> io::Result<Closing> {
        let ring = Ring::open()?;
        let buffer = NonNull::from(Box::leak(Box::new(0)));
        Ok(Closing { ring, buffer, is_reading: false, read: None, closed: None })
    }

    /// Starts to read from `socket` (`IORING_OP_RECV`, Linux 5.6). The read is pending when this returns, or it has ended
    /// already, which [`read`](Closing::read) tells.
    pub(crate) fn begin_to_read(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        debug_assert!(!self.is_reading);
        let receive = opcode::Recv::new(Fd(socket.as_raw_fd()), self.buffer.as_ptr(), SIZE).build();
        // SAFETY: the buffer is freed by `drop` only, and there only where no read is pending.
        unsafe { self.ring.push(&receive.user_data(READ)) };
        self.is_reading = true;
        self.read = None;
        self.ring.enter()?;
        self.reap();
        Ok(())
    }

    /// What the read has come to; `None` while it is pending.
    pub(crate) fn read(&mut self) -> Option<io::Result<usize>> {
        self.reap();
        if self.is_reading {
            self.ring.nudge(); // what closing has woken is completed here
            self.reap();
        }
        self.read.take()
    }

    /// Closes a socket by `IORING_OP_CLOSE` (Linux 5.6). The kernel lets go of it on the way out of the submission.
    pub(crate) fn close(&mut self, socket: OwnedFd) -> io::Result<()> {
        let close = opcode::Close::new(Fd(socket.into_raw_fd())).build().user_data(CLOSED);
        // SAFETY: it points to nothing, and names a descriptor that is nobody else's.
        unsafe { self.ring.push(&close) };
        self.closed = None;
        self.ring.enter()?;
        self.reap();
        match self.closed.take() {
            Some(closed) => closed,
            None => self.wait_until(Instant::now() + Duration::from_secs(1), |closing| closing.closed.take()),
        }
    }

    /// Waits until the read has ended, `most` at most.
    pub(crate) fn wait_for_read(&mut self, most: Duration) -> io::Result<io::Result<usize>> {
        self.wait_until(Instant::now() + most, |closing| closing.read().map(Ok))
    }

    fn wait_until<T>(
        &mut self,
        end: Instant,
        mut look: impl FnMut(&mut Closing) -> Option<io::Result<T>>,
    ) -> io::Result<T> {
        loop {
            if let Some(there) = look(self) {
                return there;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Errno::ETIMEDOUT.into());
            }
            let most = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.ring.descriptor(), PollFlags::POLLIN)], most) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            self.reap();
        }
    }

    fn reap(&mut self) {
        while let Some(completion) = self.ring.next() {
            let outcome = outcome(completion.result());
            match completion.user_data() {
                READ => {
                    self.is_reading = false;
                    self.read = Some(outcome.map(|count| count as usize));
                }
                CLOSED => self.closed = Some(outcome.map(drop)),
                _ => {}
            }
        }
    }
}

/// A read that is still pending is called off; where that takes long, the byte that it may write to stays for good.
impl Drop for Closing {
    fn drop(&mut self) {
        if self.is_reading {
            let cancel = opcode::AsyncCancel::new(READ).build().user_data(SILENT);
            // SAFETY: it points to nothing.
            unsafe { self.ring.push(&cancel) };
            let _ = self.ring.enter(); // where the ring is broken, the read stays pending, and the byte with it
            let _ = self.wait_for_read(super::LAST_CALL);
        }
        if !self.is_reading {
            // SAFETY: `open` has leaked it from a box, and no operation uses it any more.
            drop(unsafe { Box::from_raw(self.buffer.as_ptr()) });
        }
    }
}

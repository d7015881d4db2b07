//! Reads from a socket and closes a socket through a ring, one operation of each kind at a time.
#![allow(unsafe_code)] // describes operations on a buffer that outlives them, and on descriptors

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use io_uring::opcode;
use io_uring::types::Fd;
use nix::errno::Errno;
use nix::poll::PollFlags;

use super::outcome;
use super::ring::Ring;
use crate::poll::poll_one;

const READ: u64 = 0;
const CLOSED: u64 = 1;
const SILENT: u64 = 2;

/// Bytes per read: enough to tell data from the end of file.
const SIZE: u32 = 1;

/// Runs one read and one close at a time, on a ring of its own.
pub(crate) struct SocketOps {
    ring: Ring,
    /// The kernel may write here while a read is pending, so it is freed only when none is.
    buffer: NonNull<u8>,
    is_reading: bool,
    read: Option<io::Result<usize>>,
    closed: Option<io::Result<()>>,
}

// SAFETY: apart from the kernel, only the owner of this value has a pointer to the buffer.
unsafe impl Send for SocketOps {}

impl SocketOps {
    pub(crate) fn open() -> io::Result<SocketOps> {
        let ring = Ring::open()?;
        let buffer = NonNull::from(Box::leak(Box::new(0)));
        Ok(SocketOps { ring, buffer, is_reading: false, read: None, closed: None })
    }

    /// Starts a read from `socket` (`IORING_OP_RECV`, Linux 5.6). [`read`](SocketOps::read) returns its result.
    pub(crate) fn begin_to_read(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        debug_assert!(!self.is_reading);
        let receive = opcode::Recv::new(Fd(socket.as_raw_fd()), self.buffer.as_ptr(), SIZE).build();
        // SAFETY: only `drop` frees the buffer, and only if no read is pending.
        unsafe { self.ring.push(&receive.user_data(READ)) };
        self.is_reading = true;
        self.read = None;
        self.ring.enter()?;
        self.reap();
        Ok(())
    }

    /// Returns the result of the read; `None` while it is pending.
    pub(crate) fn read(&mut self) -> Option<io::Result<usize>> {
        self.reap();
        if self.is_reading {
            self.ring.nudge(); // completes a read that the close has woken
            self.reap();
        }
        self.read.take()
    }

    /// Closes a socket by `IORING_OP_CLOSE` (Linux 5.6). The kernel releases it as it leaves the submission.
    pub(crate) fn close(&mut self, socket: OwnedFd) -> io::Result<()> {
        let close = opcode::Close::new(Fd(socket.into_raw_fd())).build().user_data(CLOSED);
        // SAFETY: a close points to no memory, and this descriptor is no longer owned elsewhere.
        unsafe { self.ring.push(&close) };
        self.closed = None;
        self.ring.enter()?;
        self.reap();
        match self.closed.take() {
            Some(closed) => closed,
            None => self.wait_until(Instant::now() + Duration::from_secs(1), |ops| ops.closed.take()),
        }
    }

    /// Waits for the read to end, for at most this time.
    pub(crate) fn wait_for_read(&mut self, timeout: Duration) -> io::Result<io::Result<usize>> {
        self.wait_until(Instant::now() + timeout, |ops| ops.read().map(Ok))
    }

    fn wait_until<T>(
        &mut self,
        end: Instant,
        mut look: impl FnMut(&mut SocketOps) -> Option<io::Result<T>>,
    ) -> io::Result<T> {
        loop {
            if let Some(there) = look(self) {
                return there;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Errno::ETIMEDOUT.into());
            }
            poll_one(self.ring.descriptor(), PollFlags::POLLIN, left)?;
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

/// Cancels a pending read. If it does not end in time, its buffer is leaked, because the kernel may still write to it.
impl Drop for SocketOps {
    fn drop(&mut self) {
        if self.is_reading {
            let cancel = opcode::AsyncCancel::new(READ).build().user_data(SILENT);
            // SAFETY: a cancel points to no memory.
            unsafe { self.ring.push(&cancel) };
            let _ = self.ring.enter(); // with a broken ring the read stays pending, and the buffer is leaked
            let _ = self.wait_for_read(super::LAST_CALL);
        }
        if !self.is_reading {
            // SAFETY: `open` leaked it from a box, and no operation uses it.
            drop(unsafe { Box::from_raw(self.buffer.as_ptr()) });
        }
    }
}

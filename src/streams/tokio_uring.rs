//! Streams of tokio-uring.
#![allow(unsafe_code)] // tokio-uring lends its descriptors by number only

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use tokio_uring::net::TcpStream;

use super::PairSocket;

/// Blocking: on a non-blocking socket, tokio-uring's operations fail with `EAGAIN` instead of waiting.
impl PairSocket for TcpStream {
    const NEEDS_RING: bool = true;

    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(TcpStream::from_std(fd.into()))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream owns the descriptor. Only its drop closes it, and it cannot be dropped during this borrow.
        unsafe { BorrowedFd::borrow_raw(self.as_raw_fd()) }
    }
}

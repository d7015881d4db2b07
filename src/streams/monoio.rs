//! Streams of monoio.
#![allow(unsafe_code)] // monoio lends its descriptors by number only

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::panic::catch_unwind;

use monoio::net::TcpStream;
use monoio::utils::is_legacy;

use super::{PairSocket, outside_a_runtime};

/// Registered with the current monoio runtime. Non-blocking with its legacy driver; blocking with its ring, whose operations
/// fail with `EAGAIN` on a non-blocking socket.
impl PairSocket for TcpStream {
    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        // monoio panics outside a runtime, and has no other way to ask.
        let is_legacy = catch_unwind(is_legacy).map_err(|_| outside_a_runtime("monoio"))?;
        let stream = std::net::TcpStream::from(fd);
        stream.set_nonblocking(is_legacy)?;
        TcpStream::from_std(stream)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream owns the descriptor. Only its drop closes it, and it cannot be dropped during this borrow.
        unsafe { BorrowedFd::borrow_raw(self.as_raw_fd()) }
    }
}

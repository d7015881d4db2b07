//! Streams of monoio.
#![allow(unsafe_code)] // monoio lends its descriptors by number only, and the bytes of a buffer by pointer

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::panic::catch_unwind;

use monoio::buf::{IoBuf, IoVecBuf};
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

/// Returns the initialized bytes of a buffer.
pub(crate) fn bytes_of(buffer: &impl IoBuf) -> &[u8] {
    // SAFETY: `IoBuf` is an unsafe trait that promises so many initialized bytes at this place. They stay there during the borrow.
    unsafe { std::slice::from_raw_parts(buffer.read_ptr(), buffer.bytes_init()) }
}

/// Returns a copy of the bytes of all buffers.
pub(crate) fn bytes_of_all(buffers: &impl IoVecBuf) -> Vec<u8> {
    let mut all = Vec::new();
    for place in 0..buffers.read_iovec_len() {
        // SAFETY: `IoVecBuf` is an unsafe trait that promises so many vectors at this place, each of initialized bytes. They stay
        // there during the borrow. An empty vector may have no place.
        let bytes = unsafe {
            let vector = *buffers.read_iovec_ptr().add(place);
            match vector.iov_len {
                0 => &[],
                size => std::slice::from_raw_parts(vector.iov_base.cast::<u8>(), size),
            }
        };
        all.extend_from_slice(bytes);
    }
    all
}

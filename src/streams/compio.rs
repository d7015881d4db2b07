//! Streams of compio.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use compio_net::TcpStream;
use compio_runtime::Runtime;

use super::{PairSocket, outside_a_runtime};

/// Registered with the current compio runtime, in the mode that its driver needs.
impl PairSocket for TcpStream {
    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        // `from_std` panics outside a runtime.
        Runtime::try_current().ok_or_else(|| outside_a_runtime("compio"))?;
        TcpStream::from_std(fd.into())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

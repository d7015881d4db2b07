//! Streams of tokio.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::catch_unwind;

use tokio::net::TcpStream;
use tokio::runtime::Handle;

use super::{PairSocket, outside_a_runtime};

/// Non-blocking, and registered with the current runtime, which must have IO enabled.
impl PairSocket for TcpStream {
    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let stream = std::net::TcpStream::from(fd);
        stream.set_nonblocking(true)?;
        // `from_std` panics outside a runtime, or if its IO is not enabled. Only the panic tells the latter.
        Handle::try_current().map_err(|_| outside_a_runtime("tokio"))?;
        catch_unwind(|| TcpStream::from_std(stream)).unwrap_or_else(|_| {
            Err(io::Error::other("IO is not enabled in this tokio runtime; see `Builder::enable_io`"))
        })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

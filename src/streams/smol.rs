//! Streams of smol, and of every executor that uses async-io.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use async_io::Async;

use super::PairSocket;

/// Non-blocking, and registered with async-io's own thread: it works in every executor.
///
/// `smol::net::TcpStream::from(stream)` makes a stream of `smol::net` of it.
impl PairSocket for Async<TcpStream> {
    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Async::new(TcpStream::from(fd))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

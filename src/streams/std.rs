//! Streams without a runtime. All of them are blocking.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::Socket;

use super::PairSocket;

impl PairSocket for OwnedFd {
    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(fd)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

impl PairSocket for TcpStream {
    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(fd.into())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

impl PairSocket for Socket {
    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(fd.into())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

//! A mocket as the socket that is behind it.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::{Mocket, MocketOptions};
use crate::PairSocket;

/// For socket options and the like; -1 after [`close`](Mocket::close).
impl<S: AsRawFd> AsRawFd for Mocket<S> {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }
}

/// Without a script. For [`abort`](crate::abort) and [`link`](crate::link), which act on the socket behind a mocket.
impl<S: PairSocket> PairSocket for Mocket<S> {
    const NEEDS_RING: bool = S::NEEDS_RING;

    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(MocketOptions::new().in_front_of(S::from_fd(fd)?)?)
    }

    /// # Panics
    ///
    /// After [`close`](Mocket::close): there is no socket any more.
    fn fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Some(stream) => stream.fd(),
            None => panic!("the mocket was closed, and has no socket any more"),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Mocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mocket").field("stream", &self.stream).finish_non_exhaustive()
    }
}

//! One `poll(2)`, for everything that waits for a descriptor.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Waits until the descriptor has one of these events, or the time is up. True if it has one, and after a signal: the caller
/// must look.
pub(crate) fn poll_one(
    descriptor: BorrowedFd<'_>,
    events: PollFlags,
    timeout: impl TryInto<PollTimeout>,
) -> io::Result<bool> {
    let timeout = timeout.try_into().unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(descriptor, events)], timeout) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

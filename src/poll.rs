//! One `poll(2)`, for everything that waits for a single descriptor.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Waits until the descriptor has one of these events. False if the time is up first.
///
/// After a signal it goes on waiting. The kernel counts in milliseconds: the rest of the timeout is cut off.
pub(crate) fn poll_one(descriptor: BorrowedFd<'_>, events: PollFlags, timeout: Duration) -> io::Result<bool> {
    let begin = Instant::now();
    let mut left = timeout;
    loop {
        let millis = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(descriptor, events)], millis) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => match timeout.checked_sub(begin.elapsed()) {
                Some(rest) if !rest.is_zero() => left = rest,
                _ => return Ok(false), // not once more: a signal may come each time
            },
            Err(errno) => return Err(errno.into()),
        }
    }
}

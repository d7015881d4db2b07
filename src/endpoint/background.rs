//! A thread that serves an endpoint until the endpoint is dropped.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::hazards::fork::Token;
use crate::hazards::signals::spawn_without_signals;

pub(crate) struct Background<T> {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<T>>,
    token: Token,
}

impl<T: Send + 'static> Background<T> {
    /// Starts a thread with all signals blocked. `body` must return soon after the descriptor becomes readable.
    pub(crate) fn start(name: &str, body: impl FnOnce(&EventFd) -> T + Send + 'static) -> io::Result<Background<T>> {
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let stops = Arc::clone(&stop);
        let thread = spawn_without_signals(name, move || body(&stops))?;
        Ok(Background { stop, thread: Some(thread), token: Token::current() })
    }
}

impl<T> Background<T> {
    /// Ends the thread. `None` if it was ended before, if it panicked, or in a forked child, which does not have the thread.
    pub(crate) fn end(&mut self) -> Option<T> {
        let thread = self.thread.take().filter(|_| self.token.is_current())?;
        let _ = self.stop.write(1);
        thread.join().ok()
    }
}

impl<T> Drop for Background<T> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until one of the descriptors is readable, or writable if its flag is set. Returns whether the first is readable.
pub(crate) fn wait_for<'a>(descriptors: impl Iterator<Item = (BorrowedFd<'a>, bool)>, timeout: PollTimeout) -> bool {
    let wanted = |writes| if writes { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
    let mut polled: Vec<_> = descriptors.map(|(descriptor, writes)| PollFd::new(descriptor, wanted(writes))).collect();
    let _ = poll(&mut polled, timeout); // EINTR counts as no events
    polled.first().is_some_and(|first| first.any().unwrap_or(false))
}

//! What drives accept and connect: a ring (io_uring) or epoll.
//!
//! # The contract
//!
//! An engine runs the operations of one attempt at a time and knows neither pairs nor streams.
//!
//! - [`connect`](Engine::connect), [`accept`](Engine::accept) and [`open_socket`](Engine::open_socket) queue an operation,
//!   [`submit`](Engine::submit) starts everything that is queued, [`reap`](Engine::reap) takes one completion. None of them
//!   waits: [`wait`](crate::wait) does.
//! - An operation that can complete at once has completed when `submit` returns. Opening a socket always does.
//! - A connecting socket belongs to the engine until its completion is reaped, and so does the address that it connects to.
//! - [`cancel`](Engine::cancel) cancels all operations. They complete soon afterwards, and may still succeed.
//! - [`end`](Engine::end) closes the attempt. An operation that has not completed by then is *stale*: the engine recognises it
//!   by the attempt's number, and closes what it returns. A listener with a stale accept must not listen again.
//! - The [descriptor](Engine::descriptor) is readable, for `poll(2)` and `epoll(7)`, when an operation has completed after
//!   `submit`.
//! - After an error from `submit`, the engine can only be dropped.
//! - Dropping an engine cancels everything and closes what still completes.

#[cfg(feature = "epoll")]
mod epoll;
mod uring;

#[cfg(feature = "measure")]
pub(crate) use self::uring::SocketOps;
#[cfg(ringpair_faults)]
pub use self::uring::faults;
pub(crate) use self::uring::set_up_ring;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use socket2::{Domain, SockAddr};

#[cfg(feature = "epoll")]
use self::epoll::Epoll;
use self::uring::Uring;
use crate::options::{Backend, Choice};
use crate::probe::{InDoubt, refuse_if_seccomp_kills};

/// The maximum of pairs in one attempt: enough to share the cost of a submission, few enough to stay in the CPU's caches.
pub(crate) const MAX_PAIRS: usize = 32;

/// The end of an operation.
#[derive(Debug)]
pub(crate) enum Completion {
    Connected {
        half: usize,
        socket: OwnedFd,
        result: io::Result<()>,
    },
    /// An accepted socket is in blocking mode.
    Accepted(io::Result<OwnedFd>),
    Opened(io::Result<OwnedFd>),
}

/// An engine; see the contract above.
pub(crate) enum Engine {
    Uring(Uring),
    #[cfg(feature = "epoll")]
    Epoll(Epoll),
}

/// Calls the same method of either engine.
macro_rules! on {
    ($engine:expr, $name:ident => $call:expr) => {
        match $engine {
            Engine::Uring($name) => $call,
            #[cfg(feature = "epoll")]
            Engine::Epoll($name) => $call,
        }
    };
}

#[cfg_attr(not(feature = "epoll"), allow(unused_variables))] // only epoll needs the listener
impl Engine {
    /// Opens the chosen engine.
    pub(crate) fn open(choice: Choice) -> io::Result<Engine> {
        let uring = |in_doubt| refuse_if_seccomp_kills(in_doubt).and_then(|()| Uring::open());
        match choice {
            Choice::Uring => uring(InDoubt::Ask).map(Engine::Uring),
            #[cfg(feature = "epoll")]
            Choice::Epoll => Epoll::open().map(Engine::Epoll),
            #[cfg(feature = "epoll")]
            Choice::UringOrEpoll => match uring(InDoubt::Refuse) {
                Err(error) if is_absence(&error) => Epoll::open().map(Engine::Epoll),
                uring => uring.map(Engine::Uring),
            },
        }
    }

    /// Returns the choice that opens another engine of this kind.
    pub(crate) fn choice(&self) -> Choice {
        match self {
            Engine::Uring(_) => Choice::Uring,
            #[cfg(feature = "epoll")]
            Engine::Epoll(_) => Choice::Epoll,
        }
    }

    pub(crate) fn backend(&self) -> Backend {
        match self {
            Engine::Uring(_) => Backend::Uring,
            #[cfg(feature = "epoll")]
            Engine::Epoll(_) => Backend::Epoll,
        }
    }

    /// Whether sockets must be non-blocking: for epoll, or a call would wait. For a ring they must not, or operations would fail
    /// with `EAGAIN`.
    pub(crate) fn is_nonblocking(&self) -> bool {
        self.backend() == Backend::Epoll
    }

    /// Whether [`open_socket`](Self::open_socket) does anything.
    pub(crate) fn opens_sockets(&self) -> bool {
        match self {
            Engine::Uring(uring) => uring.opens_sockets(),
            #[cfg(feature = "epoll")]
            Engine::Epoll(_) => false,
        }
    }

    /// Queues the opening of a TCP socket, blocking and close-on-exec.
    pub(crate) fn open_socket(&mut self, domain: Domain) {
        match self {
            Engine::Uring(uring) => uring.open_socket(domain),
            #[cfg(feature = "epoll")]
            Engine::Epoll(_) => {}
        }
    }

    /// Sets the address that connects go to.
    pub(crate) fn aim(&mut self, target: &SockAddr) {
        on!(self, engine => engine.aim(target));
    }

    /// Queues a connect for the half with this number, which is below [`MAX_PAIRS`].
    pub(crate) fn connect(&mut self, half: usize, socket: OwnedFd) {
        on!(self, engine => engine.connect(half, socket));
    }

    /// Queues an accept. The listener must stay open until the submission.
    pub(crate) fn accept(&mut self, listener: BorrowedFd<'_>) {
        match self {
            Engine::Uring(uring) => uring.accept(listener),
            #[cfg(feature = "epoll")]
            Engine::Epoll(epoll) => epoll.accept(),
        }
    }

    /// Submits everything that is queued.
    pub(crate) fn submit(&mut self, listener: BorrowedFd<'_>) -> io::Result<()> {
        match self {
            Engine::Uring(uring) => uring.submit(),
            #[cfg(feature = "epoll")]
            Engine::Epoll(epoll) => epoll.submit(listener),
        }
    }

    /// Takes one completion.
    pub(crate) fn reap(&mut self, listener: BorrowedFd<'_>) -> Option<Completion> {
        match self {
            Engine::Uring(uring) => uring.reap(),
            #[cfg(feature = "epoll")]
            Engine::Epoll(epoll) => epoll.reap(listener),
        }
    }

    /// Makes the kernel run the work that it has deferred to this thread.
    pub(crate) fn nudge(&mut self) {
        match self {
            Engine::Uring(uring) => uring.nudge(),
            #[cfg(feature = "epoll")]
            Engine::Epoll(_) => {} // nothing is deferred: `reap` asks the kernel
        }
    }

    /// Returns how many accepts have not been reaped.
    pub(crate) fn accepts(&self) -> usize {
        on!(self, engine => engine.accepts())
    }

    /// Returns the socket of a connect that has not been reaped.
    pub(crate) fn connecting(&self, half: usize) -> Option<BorrowedFd<'_>> {
        on!(self, engine => engine.connecting(half))
    }

    /// Cancels all operations of the attempt.
    pub(crate) fn cancel(&mut self) -> io::Result<()> {
        match self {
            Engine::Uring(uring) => uring.cancel(),
            #[cfg(feature = "epoll")]
            Engine::Epoll(_) => Ok(()), // `end` withdraws everything
        }
    }

    /// Ends the attempt and closes its connecting sockets.
    pub(crate) fn end(&mut self, listener: BorrowedFd<'_>) {
        match self {
            Engine::Uring(uring) => uring.end(),
            #[cfg(feature = "epoll")]
            Engine::Epoll(epoll) => epoll.end(listener),
        }
    }

    /// Returns how many operations of ended attempts have not completed.
    pub(crate) fn stale(&self) -> usize {
        match self {
            Engine::Uring(uring) => uring.stale(),
            #[cfg(feature = "epoll")]
            Engine::Epoll(_) => 0,
        }
    }

    /// Leaves the parent's kernel objects alone, in a child of `fork(2)`. After this, the engine can only be dropped.
    pub(crate) fn abandon(&mut self) {
        match self {
            Engine::Uring(uring) => uring.abandon(),
            #[cfg(feature = "epoll")]
            Engine::Epoll(_) => {} // dropping it closes descriptors and does nothing else
        }
    }

    /// Fails with `ENOMEM` if the kernel would not lock memory for one more ring of up to 32 entries.
    #[cfg(feature = "tokio-uring")]
    pub(crate) fn refuse_without_room_for_a_ring(&self) -> io::Result<()> {
        match self {
            Engine::Uring(uring) => uring.refuse_without_room_for_a_ring(),
            #[cfg(feature = "epoll")]
            Engine::Epoll(_) => Ok(()), // only a ring can tell
        }
    }

    /// Returns the descriptor to wait for. It never changes.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        on!(self, engine => engine.descriptor())
    }
}

/// Whether this error of `io_uring_setup(2)` means that the host has no io_uring for this thread.
///
/// `ENOSYS` of an old kernel or a seccomp profile, `EPERM` of a seccomp profile or `kernel.io_uring_disabled`, `EACCES` of a
/// security module, `EOPNOTSUPP` of a sandbox, and a filter that kills, which [`refuse_if_seccomp_kills`] finds.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno) => matches!(errno, Errno::ENOSYS | Errno::EPERM | Errno::EACCES | Errno::EOPNOTSUPP),
        None => error.kind() == io::ErrorKind::Unsupported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_four_errnos_mean_that_there_is_no_ring() {
        let absent = [Errno::ENOSYS, Errno::EPERM, Errno::EACCES, Errno::EOPNOTSUPP];
        for number in 1..134 {
            let error = io::Error::from_raw_os_error(number);
            let expected = absent.iter().any(|errno| *errno as i32 == number);
            assert_eq!(is_absence(&error), expected, "{error}");
        }
        assert!(!is_absence(&io::Error::other("no errno at all")));
    }
}

//! What drives accept and connect.
//!
//! # The contract
//!
//! An engine starts operations on sockets and hands back how each one ended; it knows neither pairs nor streams.
//!
//! - [`connect`](Engine::connect) and [`accept`](Engine::accept) queue an operation, [`launch`](Engine::launch) starts all
//!   that is queued, and [`land`](Engine::land) takes down one that has ended. None of them waits, ever; waiting is [`shared`]'s.
//! - Operations that can end at once have ended when `launch` returns. The [opening of sockets](Engine::open_sockets) can.
//! - Whatever an operation still uses, its socket, the address it connects to, belongs to the engine until it lands. Every
//!   operation lands exactly once, also one that was called off.
//! - [`call_off`](Engine::call_off) and [`call_off_accept`](Engine::call_off_accept) ask an operation to end. It lands soon
//!   after, and it may have succeeded all the same.
//! - The descriptor is readable, for `poll(2)` and for epoll, while there is something to land that ended after the launch;
//!   [`rouse`](Engine::rouse) makes it so for what ended within.
//! - [`alarm`](Engine::alarm) makes that happen at a moment of the caller's choice. It is the kernel's clock: one that a test
//!   has paused in its runtime does not stand still here.
//! - What an engine needs for itself may fail: then [`Broken`](Landing::Broken) lands, or `launch` and `alarm` fail, and nothing that
//!   is under way need land any more. Such an engine is dropped.
//! - A dropped engine calls off everything and closes what still lands.

pub(crate) mod backlog;
#[cfg(feature = "epoll")]
mod epoll;
mod peer;
pub(crate) mod shared;
mod uring;

pub(crate) use self::peer::Peer;
#[cfg(feature = "measure")]
pub(crate) use self::uring::Closing;
#[cfg(ringpair_faults)]
pub use self::uring::faults;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, SockAddr};

#[cfg(feature = "epoll")]
use self::epoll::Epoll;
use self::uring::Uring;
use crate::options::{Backend, Choice};
use crate::probe::refuse_if_asking_kills;

/// Names an operation in flight, or whatever the caller wants a landing to remind it of.
pub(crate) type Key = usize;

/// How an operation ended.
#[derive(Debug)]
pub(crate) enum Landing {
    /// A connect that was called off meanwhile does not land here; its socket is closed by the engine.
    Connected { seat: Key, socket: OwnedFd, result: io::Result<()> },
    /// `called_off` tells whether the accept was; it may have brought someone all the same.
    Accepted { gate: Key, result: io::Result<OwnedFd>, called_off: bool },
    /// One of the sockets that were asked for.
    Opened(io::Result<OwnedFd>),
    /// The alarm has gone off.
    Alarm,
    /// Something ended that is nobody's business any more.
    Silent,
    /// What the engine needs for itself has failed: it is of no use any more.
    Broken(io::Error),
}

/// An engine; see the contract above.
#[allow(clippy::large_enum_variant)] // there is one to a hub, and it stays where it is
pub(crate) enum Engine {
    Uring(Uring),
    #[cfg(feature = "epoll")]
    Epoll(Epoll),
}

/// Does the same with either engine.
macro_rules! on {
    ($engine:expr, $name:ident => $call:expr) => {
        match $engine {
            Engine::Uring($name) => $call,
            #[cfg(feature = "epoll")]
            Engine::Epoll($name) => $call,
        }
    };
}

impl Engine {
    /// Sets up the engine that is wanted.
    pub(crate) fn open(choice: Choice) -> io::Result<Engine> {
        let uring = || refuse_if_asking_kills().and_then(|()| Uring::open());
        match choice {
            Choice::Uring => uring().map(Engine::Uring),
            #[cfg(feature = "epoll")]
            Choice::Epoll => Epoll::open().map(Engine::Epoll),
            #[cfg(feature = "epoll")]
            Choice::UringOrEpoll => match uring() {
                Err(error) if is_absence(&error) => Epoll::open().map(Engine::Epoll),
                uring => uring.map(Engine::Uring),
            },
        }
    }

    /// What to choose to have one like it.
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

    /// Whether the sockets that are given to it must be in non-blocking mode: epoll's must, or a call would wait; a ring's
    /// must not, or an operation would end with `EAGAIN` instead of waiting.
    pub(crate) fn is_nonblocking(&self) -> bool {
        self.backend() == Backend::Epoll
    }

    /// Whether [`open_sockets`](Self::open_sockets) is of use.
    pub(crate) fn opens_sockets(&self) -> bool {
        match self {
            Engine::Uring(uring) => uring.opens_sockets(),
            #[cfg(feature = "epoll")]
            Engine::Epoll(_) => false,
        }
    }

    /// Queues the opening of `count` TCP sockets, blocking and close-on-exec. They have landed when `launch` returns.
    pub(crate) fn open_sockets(&mut self, domain: Domain, count: usize) {
        match self {
            Engine::Uring(uring) => uring.open_sockets(domain, count),
            #[cfg(feature = "epoll")]
            Engine::Epoll(_) => {}
        }
    }

    /// Queues a connect of `socket`, which belongs to the engine from here on, for `seat`. Returns the flight.
    pub(crate) fn connect(&mut self, seat: Key, socket: OwnedFd, target: &Arc<SockAddr>) -> Key {
        on!(self, engine => engine.connect(seat, socket, Arc::clone(target)))
    }

    /// Queues an accept on a listener, for `gate`. The listener must stay open until it lands. The socket that it brings is
    /// in blocking mode.
    pub(crate) fn accept(&mut self, gate: Key, listener: BorrowedFd<'_>) {
        on!(self, engine => engine.accept(gate, listener));
    }

    /// The socket of a connect that has not landed yet.
    pub(crate) fn connecting(&self, flight: Key) -> Option<BorrowedFd<'_>> {
        on!(self, engine => engine.connecting(flight))
    }

    /// Starts everything that is queued. An error means that the engine is of no use any more.
    pub(crate) fn launch(&mut self) -> io::Result<()> {
        on!(self, engine => engine.launch())
    }

    /// Takes down one operation that has ended.
    pub(crate) fn land(&mut self) -> Option<Landing> {
        on!(self, engine => engine.land())
    }

    /// Queues the calling-off of a connect.
    pub(crate) fn call_off(&mut self, flight: Key) {
        on!(self, engine => engine.call_off(flight));
    }

    /// Queues the calling-off of any one accept of `gate`; false where there is none left.
    pub(crate) fn call_off_accept(&mut self, gate: Key) -> bool {
        on!(self, engine => engine.call_off_accept(gate))
    }

    /// In a child of `fork(2)`: from here on the kernel is asked for nothing any more that the parent would notice, and nothing is
    /// taken down that is the parent's.
    pub(crate) fn desert(&mut self) {
        on!(self, engine => engine.desert());
    }

    /// Closes the sockets of all connects that have not landed: of an engine that is of no use any more, and that may stay until
    /// another one can be had.
    pub(crate) fn forsake_connects(&mut self) {
        on!(self, engine => engine.forsake_connects());
    }

    /// Hurries what was called off and has not landed yet; false where there is nothing of that kind.
    pub(crate) fn nudge(&mut self) -> bool {
        match self {
            Engine::Uring(uring) => uring.nudge(),
            #[cfg(feature = "epoll")]
            Engine::Epoll(_) => false, // there, what is called off has landed at once
        }
    }

    /// Sees to it that who waits for the descriptor learns of what has ended since.
    pub(crate) fn rouse(&mut self) {
        match self {
            Engine::Uring(_) => {} // what has ended is in the ring, whose descriptor says so
            #[cfg(feature = "epoll")]
            Engine::Epoll(epoll) => epoll.rouse(),
        }
    }

    /// Sets an alarm. An error means that the engine is of no use any more: nobody could be woken in time.
    pub(crate) fn alarm(&mut self, after: Duration) -> io::Result<()> {
        on!(self, engine => engine.alarm(after))
    }

    /// Fails as the set-up of one more ring of up to 32 entries would for want of memory that may be locked.
    #[cfg(feature = "tokio-uring")]
    pub(crate) fn refuse_without_room_for_a_ring(&self) -> io::Result<()> {
        match self {
            Engine::Uring(uring) => uring.refuse_without_room_for_a_ring(),
            #[cfg(feature = "epoll")]
            Engine::Epoll(_) => Ok(()), // it cannot tell
        }
    }

    /// The descriptor to wait for; it stays the same for the engine's life.
    pub(crate) fn descriptor(&self) -> RawFd {
        on!(self, engine => engine.descriptor())
    }
}

/// The answers that mean "no ring here", and no others: `ENOSYS` of an old kernel or a seccomp profile, `EPERM` of a seccomp
/// profile or `kernel.io_uring_disabled`, `EACCES` of a security module, `EOPNOTSUPP` of a sandbox, and a filter that kills,
/// which [`refuse_if_asking_kills`] has had a child die of.
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
    fn only_four_answers_mean_that_there_is_no_ring() {
        let absent = [Errno::ENOSYS, Errno::EPERM, Errno::EACCES, Errno::EOPNOTSUPP];
        for number in 1..134 {
            let error = io::Error::from_raw_os_error(number);
            let expected = absent.iter().any(|errno| *errno as i32 == number);
            assert_eq!(is_absence(&error), expected, "{error}");
        }
        assert!(!is_absence(&io::Error::other("no errno at all")));
    }
}

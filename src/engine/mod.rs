//! What drives accept and connect.
//!
//! # The contract
//!
//! An engine starts operations on sockets and hands back how each one ended; it knows neither pairs nor streams.
//!
//! - [`connect`](Engine::connect) and [`accept`](Engine::accept) queue an operation, [`launch`](Engine::launch) starts all
//!   that is queued, and [`land`](Engine::land) takes down one that has ended. None of them waits, ever; waiting is [`shared`]'s.
//! - Operations that can end at once have ended when `launch` returns.
//! - Whatever an operation still uses, its socket, the address it connects to, belongs to the engine until it lands. Every
//!   operation lands exactly once, also one that was called off.
//! - [`call_off`](Engine::call_off) and [`call_off_accept`](Engine::call_off_accept) ask an operation to end. It lands soon
//!   after, and it may have succeeded all the same.
//! - The descriptor is readable, for `poll(2)` and for epoll, while there is something to land.
//! - [`alarm`](Engine::alarm) makes that happen at a moment of the caller's choice. It is the kernel's clock: one that a test
//!   has paused in its runtime does not stand still here.
//! - A dropped engine calls off everything and closes what still lands.

pub(crate) mod overflow;
pub(crate) mod shared;
mod uring;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use socket2::SockAddr;

use uring::Uring;

/// Names an operation in flight, or whatever the caller wants a landing to remind it of.
pub(crate) type Key = usize;

/// How an operation ended.
#[derive(Debug)]
pub(crate) enum Landing {
    /// A connect that was called off meanwhile does not land here; its socket is closed by the engine.
    Connected { seat: Key, socket: OwnedFd, result: io::Result<()> },
    /// With the address of who came. `called_off` tells whether the accept was; it may have brought someone all the same.
    Accepted { gate: Key, result: io::Result<(OwnedFd, Option<SocketAddr>)>, called_off: bool },
    /// The alarm has gone off.
    Alarm,
    /// Something ended that is nobody's business any more.
    Silent,
}

/// An engine; see the contract above.
pub(crate) struct Engine(Uring);

impl Engine {
    /// Sets up a ring.
    pub(crate) fn open() -> io::Result<Engine> {
        Uring::open().map(Engine)
    }

    /// Queues a connect of `socket`, which belongs to the engine from here on, for `seat`. Returns the flight.
    pub(crate) fn connect(&mut self, seat: Key, socket: OwnedFd, target: &Arc<SockAddr>) -> Key {
        self.0.connect(seat, socket, Arc::clone(target))
    }

    /// Queues an accept on a listener, for `gate`. The listener must stay open until it lands.
    pub(crate) fn accept(&mut self, gate: Key, listener: BorrowedFd<'_>) {
        self.0.accept(gate, listener);
    }

    /// The socket of a connect that has not landed yet.
    pub(crate) fn connecting(&self, flight: Key) -> Option<BorrowedFd<'_>> {
        self.0.connecting(flight)
    }

    /// Starts everything that is queued. An error means that the engine is of no use any more.
    pub(crate) fn launch(&mut self) -> io::Result<()> {
        self.0.launch()
    }

    /// Takes down one operation that has ended.
    pub(crate) fn land(&mut self) -> Option<Landing> {
        self.0.land()
    }

    /// Queues the calling-off of a connect.
    pub(crate) fn call_off(&mut self, flight: Key) {
        self.0.call_off(flight);
    }

    /// Queues the calling-off of any one accept of `gate`; false where there is none left.
    pub(crate) fn call_off_accept(&mut self, gate: Key) -> bool {
        self.0.call_off_accept(gate)
    }

    /// Hurries what was called off and has not landed yet; false where there is nothing of that kind.
    pub(crate) fn nudge(&mut self) -> bool {
        self.0.nudge()
    }

    /// Sets an alarm.
    pub(crate) fn alarm(&mut self, after: Duration) {
        self.0.alarm(after);
    }

    /// The descriptor to wait for; it stays the same for the engine's life.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.0.descriptor()
    }
}

/// Whether set-up may succeed a moment later: the memory of rings that were dropped is given back asynchronously, so a
/// loop that makes and drops them meets `ENOMEM` under `RLIMIT_MEMLOCK`.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ENOMEM as i32)
}

/// How long a passing refusal is met with another try.
pub(crate) const PATIENCE: Duration = Duration::from_millis(50);

/// Tries once more, a millisecond apart, as long as `make` is refused in passing and patience lasts.
pub(crate) fn patiently<T>(mut make: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let begin = std::time::Instant::now();
    loop {
        match make() {
            Err(error) if is_passing(&error) && begin.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(1));
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passing_refusal_is_met_with_patience_and_another_one_is_not() {
        let mut calls = 0;
        let made = patiently(|| {
            calls += 1;
            if calls < 3 { Err(Errno::ENOMEM.into()) } else { Ok(calls) }
        });
        assert_eq!(made.unwrap(), 3);
        let refused: io::Result<()> = patiently(|| {
            calls += 1;
            Err(Errno::EPERM.into())
        });
        assert_eq!((refused.unwrap_err().raw_os_error(), calls), (Some(Errno::EPERM as i32), 4));
    }
}

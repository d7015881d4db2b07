//! The reactor: one thread per process that waits for all parked async calls.
//!
//! It starts on first use, and keeps two descriptors: an epoll, and an eventfd that wakes the thread. The epoll watches the
//! descriptor of each waiting engine, for one event at a time. Wakers are called without the lock: they may run any code.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{millis_until, wake_all};
use crate::hazards::fork::{ProcessLocal, Token};
use crate::hazards::signals::spawn_without_signals;

/// The name of the thread, cut to the 15 bytes that Linux shows.
const NAME: &str = "ringpair-wait";

/// Events taken by one `epoll_wait(2)`.
const EVENTS: usize = 64;

/// The event of the eventfd.
const KICK: u64 = u64::MAX;

pub(crate) struct Reactor {
    token: Token,
    epoll: Epoll,
    kick: EventFd,
    state: Mutex<State>,
}

struct State {
    is_running: bool,
    /// The number of the newest wait. Numbers are never reused, so a late event finds nothing.
    newest: u64,
    waits: BTreeMap<u64, Wait>,
    /// When the thread next checks deadlines; `None` while it sleeps without a timeout.
    looks_at: Option<Instant>,
}

struct Wait {
    until: Instant,
    /// `None` once called.
    waker: Option<Waker>,
}

impl Reactor {
    /// Returns the reactor of this process. A forked child makes its own and closes its copies of the parent's.
    pub(crate) fn of_this_process() -> io::Result<&'static Reactor> {
        static REACTOR: ProcessLocal<Reactor> = ProcessLocal::new();
        REACTOR.get_or_make(Reactor::open, Reactor::close_copies)
    }

    fn open() -> io::Result<Reactor> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let kick = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        epoll.add(&kick, EpollEvent::new(EpollFlags::EPOLLIN, KICK))?;
        let state = State { is_running: false, newest: 0, waits: BTreeMap::new(), looks_at: None };
        Ok(Reactor { token: Token::current(), epoll, kick, state: Mutex::new(state) })
    }

    fn close_copies(&self) {
        for descriptor in [self.epoll.0.as_raw_fd(), self.kick.as_raw_fd()] {
            let _ = nix::unistd::close(descriptor); // the parent's reactor is never used or dropped in a child
        }
    }

    /// Calls `waker` once, when the descriptor is readable, at `until` at the latest.
    pub(crate) fn register(
        &'static self,
        descriptor: Option<BorrowedFd<'_>>,
        until: Instant,
        waker: &Waker,
    ) -> io::Result<Registration> {
        let waker = Some(waker.clone()); // without the lock, see `renew`
        let number = {
            let mut state = self.lock();
            self.run(&mut state)?;
            state.newest += 1;
            let number = state.newest;
            state.waits.insert(number, Wait { until, waker });
            number
        };
        let registration = Registration { reactor: self, number };
        if let Some(descriptor) = descriptor {
            self.epoll.add(descriptor, event(number))?;
        }
        self.look_by(until);
        Ok(registration)
    }

    /// Starts the thread, if it does not run yet.
    fn run(&'static self, state: &mut State) -> io::Result<()> {
        if !state.is_running {
            spawn_without_signals(NAME, || self.wait_for_all())?;
            state.is_running = true;
        }
        Ok(())
    }

    fn wait_for_all(&self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let timeout = self.time_to_sleep();
            // EINTR counts as no events. An open epoll and a valid buffer cause no other error.
            let count = self.epoll.wait(&mut events, timeout).unwrap_or(0);
            let due = self.take_due(events[..count].iter().map(EpollEvent::data));
            wake_all(due);
        }
    }

    fn time_to_sleep(&self) -> EpollTimeout {
        let mut state = self.lock();
        let nearest = state.waits.values().filter(|wait| wait.waker.is_some()).map(|wait| wait.until).min();
        state.looks_at = nearest;
        nearest.map_or(EpollTimeout::NONE, |nearest| EpollTimeout::from(millis_until(nearest)))
    }

    /// Takes the wakers of these events, and of the waits whose time is up.
    fn take_due(&self, events: impl Iterator<Item = u64>) -> Vec<Waker> {
        let mut state = self.lock();
        let mut due = Vec::new();
        for number in events {
            match number {
                KICK => drop(self.kick.read()), // resets the eventfd
                number => due.extend(state.waits.get_mut(&number).and_then(|wait| wait.waker.take())),
            }
        }
        let now = Instant::now();
        let late = state.waits.values_mut().filter(|wait| wait.until <= now);
        due.extend(late.filter_map(|wait| wait.waker.take()));
        due
    }

    /// Wakes the thread if it would sleep beyond `until`.
    fn look_by(&self, until: Instant) {
        let sleeps_longer = |state: &State| state.looks_at.is_none_or(|looks_at| looks_at > until);
        if sleeps_longer(&self.lock()) {
            let _ = self.kick.write(1); // fails only if the counter is full, and then the eventfd is readable
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of a caller runs under the lock, so no panic leaves the state half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One event when readable; none after that until it is renewed.
fn event(number: u64) -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, number)
}

/// A wait of one async call.
pub(crate) struct Registration {
    reactor: &'static Reactor,
    number: u64,
}

impl Registration {
    /// Calls `waker` once, in place of the previous waker.
    pub(crate) fn renew(
        &mut self,
        descriptor: Option<BorrowedFd<'_>>,
        until: Instant,
        waker: &Waker,
    ) -> io::Result<()> {
        // Cloned and dropped without the lock: dropping a waker can drop its task, and the futures in it.
        let waker = waker.clone();
        let _before = match self.reactor.lock().waits.get_mut(&self.number) {
            Some(wait) => {
                wait.until = until;
                wait.waker.replace(waker)
            }
            None => return Err(Errno::ENOENT.into()),
        };
        if let Some(descriptor) = descriptor {
            self.reactor.epoll.modify(descriptor, &mut event(self.number))?;
        }
        self.reactor.look_by(until);
        Ok(())
    }

    /// Ends the wait for this descriptor.
    pub(crate) fn end(self, descriptor: Option<BorrowedFd<'_>>) {
        if let Some(descriptor) = descriptor.filter(|_| self.reactor.token.is_current()) {
            let _ = self.reactor.epoll.delete(descriptor); // it is registered and open: this cannot fail
        }
    }
}

/// The waker is not called after this, except for a call that has already begun.
impl Drop for Registration {
    fn drop(&mut self) {
        if self.reactor.token.is_current() {
            let wait = self.reactor.lock().waits.remove(&self.number);
            drop(wait); // without the lock, see `renew`
        } // a forked child has no part in its parent's reactor
    }
}

//! The epoll engine: connect and accept as plain system calls that never wait, tried at once, parked on an epoll where they
//! are not through.
//!
//! On loopback the handshake runs inside `connect(2)`, though a non-blocking one says `EINPROGRESS` all the same: the answer
//! is taken in as the call returns. So the accept is tried next, and then the connect again, which succeeds now (and says
//! `EISCONN` from then on). Only what is not through by then is registered, and the epoll's own descriptor turns readable
//! when it is. The page `how_it_works::epoll_engine` tells it from the outside.
#![allow(unsafe_code)] // listeners are known by number here; their owner keeps them open until their accepts have landed

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll as Descriptor, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{SockFlag, accept4};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use slab::Slab;
use socket2::{SockAddr, SockRef};

use super::{Key, Landing};

/// What the events of the alarm and of listeners say; those of connects name the flight.
const ALARM: u64 = u64::MAX;
const GATE: u64 = 1 << 62;

/// How many events are taken at once.
const EVENTS: usize = 32;

pub(crate) struct Epoll {
    epoll: Descriptor,
    timer: TimerFd,
    connects: Slab<Connect>,
    gates: Vec<Gate>,
    /// Connects that have not been tried yet.
    untried: Vec<Key>,
    /// What has ended and not been taken down yet.
    ended: VecDeque<End>,
    /// How many connects and gates are registered, and the alarm once it has been set.
    registered: usize,
    alarmed: bool,
    /// The alarm goes off at once, for those who wait for what has ended already, and must not be put off.
    roused: bool,
    /// What it needs for itself has failed; asked again, it would fail again.
    broken: bool,
    /// The epoll and its timer are the parent's.
    deserted: bool,
}

enum End {
    Connect(Key, io::Result<()>),
    /// Of an accept, or the alarm.
    Other(Landing),
}

/// A connect that has not landed yet, and all that belongs to it.
struct Connect {
    seat: Key,
    socket: OwnedFd,
    target: Arc<SockAddr>,
    registered: bool,
}

/// A listener with accepts pending on it.
struct Gate {
    key: Key,
    listener: RawFd,
    pending: usize,
    registered: bool,
}

impl Epoll {
    pub(super) fn open() -> io::Result<Epoll> {
        let epoll = Descriptor::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, ALARM))?;
        Ok(Epoll {
            epoll,
            timer,
            connects: Slab::new(),
            gates: Vec::new(),
            untried: Vec::new(),
            ended: VecDeque::new(),
            registered: 0,
            alarmed: false,
            roused: false,
            broken: false,
            deserted: false,
        })
    }

    pub(super) fn connect(&mut self, seat: Key, socket: OwnedFd, target: Arc<SockAddr>) -> Key {
        let key = self.connects.insert(Connect { seat, socket, target, registered: false });
        self.untried.push(key);
        key
    }

    pub(super) fn accept(&mut self, gate: Key, listener: BorrowedFd<'_>) {
        match self.gates.iter_mut().find(|known| known.key == gate) {
            Some(known) => known.pending += 1,
            None => {
                let listener = listener.as_raw_fd();
                self.gates.push(Gate { key: gate, listener, pending: 1, registered: false });
            }
        }
    }

    pub(super) fn connecting(&self, flight: Key) -> Option<BorrowedFd<'_>> {
        Some(self.connects.get(flight)?.socket.as_fd())
    }

    pub(super) fn launch(&mut self) -> io::Result<()> {
        self.refuse_if_deserted()?;
        let mut untried = std::mem::take(&mut self.untried);
        untried.retain(|key| !self.try_connect(*key));
        self.try_accepts();
        for key in untried.drain(..) {
            if !self.try_connect(key) {
                self.register_connect(key)?;
            }
        }
        self.untried = untried; // keeps its room for the next launch
        self.register_gates()
    }

    pub(super) fn land(&mut self) -> Option<Landing> {
        if self.ended.is_empty() && self.registered > 0 && !self.broken {
            self.take_events();
        }
        Some(match self.ended.pop_front()? {
            End::Other(landing) => landing,
            End::Connect(key, result) => match self.connects.try_remove(key) {
                Some(Connect { seat, socket, .. }) => Landing::Connected { seat, socket, result },
                None => Landing::Silent,
            },
        })
    }

    pub(super) fn call_off(&mut self, flight: Key) {
        self.withdraw(flight);
        self.connects.try_remove(flight);
        // What names it otherwise must not meet another one that takes its key.
        self.untried.retain(|key| *key != flight);
        self.ended.retain(|end| !matches!(end, End::Connect(key, _) if *key == flight));
    }

    pub(super) fn desert(&mut self) {
        self.deserted = true;
        self.broken = true;
    }

    fn refuse_if_deserted(&self) -> io::Result<()> {
        if self.deserted { Err(Errno::ESTALE.into()) } else { Ok(()) }
    }

    pub(super) fn forsake_connects(&mut self) {
        let connects: Vec<Key> = self.connects.iter().map(|(key, _)| key).collect();
        connects.into_iter().for_each(|connect| self.call_off(connect));
    }

    pub(super) fn call_off_accept(&mut self, gate: Key) -> bool {
        let Some(place) = self.gates.iter().position(|known| known.key == gate) else { return false };
        self.accepted(place, Err(Errno::ECANCELED.into()), true);
        true
    }

    pub(super) fn alarm(&mut self, after: Duration) -> io::Result<()> {
        self.refuse_if_deserted()?;
        if self.roused {
            return Ok(()); // it goes off sooner, and whoever set it asks again
        }
        // A time of zero would turn the timer off.
        let after = TimeSpec::from(after.max(Duration::from_nanos(1)));
        self.timer.set(Expiration::OneShot(after), TimerSetTimeFlags::empty())?;
        self.registered += usize::from(!std::mem::replace(&mut self.alarmed, true));
        Ok(())
    }

    pub(super) fn rouse(&mut self) {
        if self.ended.is_empty() || self.deserted {
            return;
        }
        // Who waits for a later one is woken by this one, and asks again.
        match self.alarm(Duration::ZERO) {
            Ok(()) => self.roused = true,
            Err(error) => self.break_down(error),
        }
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.epoll.0.as_raw_fd()
    }

    /// Tries a connect; true where it is through, in whichever way.
    fn try_connect(&mut self, key: Key) -> bool {
        let Some(connect) = self.connects.get(key) else { return true };
        let result = match SockRef::from(&connect.socket).connect(&connect.target) {
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EINPROGRESS | Errno::EALREADY | Errno::EINTR) => return false,
                Some(Errno::EISCONN) => Ok(()),
                _ => Err(error),
            },
            connected => connected,
        };
        self.withdraw(key);
        self.ended.push_back(End::Connect(key, result));
        true
    }

    fn withdraw(&mut self, key: Key) {
        if let Some(connect) = self.connects.get_mut(key).filter(|connect| connect.registered) {
            connect.registered = false;
            self.registered -= 1;
            if !self.deserted {
                let _ = self.epoll.delete(&connect.socket); // it is registered and open: this cannot fail
            }
        }
    }

    fn register_connect(&mut self, key: Key) -> io::Result<()> {
        if let Some(connect) = self.connects.get_mut(key) {
            self.epoll.add(&connect.socket, EpollEvent::new(EpollFlags::EPOLLOUT, key as u64))?;
            connect.registered = true;
            self.registered += 1;
        }
        Ok(())
    }

    fn try_accepts(&mut self) {
        let mut place = 0;
        while let Some(gate) = self.gates.get(place) {
            if !self.try_accept(gate.listener, place) {
                place += 1;
            }
        }
    }

    /// Tries one accept at the gate of this place; false where nobody waits there.
    fn try_accept(&mut self, listener: RawFd, place: usize) -> bool {
        let result = loop {
            match accept(listener) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.accepted(place, result, false);
        true
    }

    /// Lands one accept of the gate at this place, which goes with the last of them.
    fn accepted(&mut self, place: usize, result: io::Result<OwnedFd>, called_off: bool) {
        let gate = &mut self.gates[place];
        gate.pending -= 1;
        self.ended.push_back(End::Other(Landing::Accepted { gate: gate.key, result, called_off }));
        if gate.pending == 0 {
            let gate = self.gates.swap_remove(place);
            if gate.registered {
                self.registered -= 1;
                if self.deserted {
                    return;
                }
                let _ = self.epoll.delete(borrow(&gate.listener)); // it is registered and open: this cannot fail
            }
        }
    }

    fn register_gates(&mut self) -> io::Result<()> {
        for gate in self.gates.iter_mut().filter(|gate| !gate.registered) {
            self.epoll.add(borrow(&gate.listener), EpollEvent::new(EpollFlags::EPOLLIN, GATE | gate.key as u64))?;
            gate.registered = true;
            self.registered += 1;
        }
        Ok(())
    }

    fn take_events(&mut self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        let count = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Err(Errno::EINTR) => 0,
            Err(errno) => {
                self.break_down(errno.into());
                0
            }
            Ok(count) => count,
        };
        for event in &events[..count] {
            match event.data() {
                ALARM => self.take_alarm(),
                gate if gate & GATE != 0 => {
                    let key = (gate & !GATE) as Key;
                    while let Some(place) = self.gates.iter().position(|known| known.key == key) {
                        if !self.try_accept(self.gates[place].listener, place) {
                            break;
                        }
                    }
                }
                connect => {
                    self.try_connect(connect as Key);
                }
            }
        }
    }

    fn take_alarm(&mut self) {
        // Takes the expiry, so that the timer is no longer readable.
        match self.timer.wait() {
            Err(errno) => self.break_down(errno.into()),
            Ok(()) => {
                self.registered -= usize::from(std::mem::replace(&mut self.alarmed, false));
                self.roused = false;
                self.ended.push_back(End::Other(Landing::Alarm));
            }
        }
    }

    fn break_down(&mut self, error: io::Error) {
        self.broken = true;
        self.ended.push_back(End::Other(Landing::Broken(error)));
    }
}

fn accept(listener: RawFd) -> io::Result<OwnedFd> {
    let accepted = accept4(listener, SockFlag::SOCK_CLOEXEC)?;
    // SAFETY: the kernel has just opened this descriptor for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(accepted) })
}

fn borrow(listener: &RawFd) -> BorrowedFd<'_> {
    // SAFETY: a gate is here only as long as accepts are pending on it, and so long its owner keeps the listener open.
    unsafe { BorrowedFd::borrow_raw(*listener) }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    #[test]
    fn an_alarm_does_not_put_off_what_rouses_who_waits() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut engine = Epoll::open().unwrap();
        engine.accept(0, listener.as_fd());
        assert!(engine.call_off_accept(0), "and so it has ended");
        engine.rouse();
        engine.alarm(Duration::from_secs(3600)).unwrap();
        engine.alarm(Duration::from_secs(1800)).unwrap();
        assert!(turns_readable(&engine, PollTimeout::from(10_000_u16)));

        let landed = std::iter::from_fn(|| engine.land()).collect::<Vec<_>>();
        assert!(matches!(landed[..], [Landing::Accepted { .. }, Landing::Alarm]), "{landed:?}");
        // From here on an alarm is what it was asked to be.
        engine.alarm(Duration::from_secs(3600)).unwrap();
        assert!(!turns_readable(&engine, PollTimeout::ZERO));
    }

    fn turns_readable(engine: &Epoll, within: PollTimeout) -> bool {
        poll(&mut [PollFd::new(engine.epoll.0.as_fd(), PollFlags::POLLIN)], within).unwrap() > 0
    }
}

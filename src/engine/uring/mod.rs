//! The ring engine: accept and connect as `IORING_OP_ACCEPT` and `IORING_OP_CONNECT` (Linux 5.5), both in one submission.
//!
//! On loopback the handshake runs inside the submission: the connect sends the SYN, the answer comes back in the same
//! system call, and when the accept's turn comes, its connection is already waiting. That is why the connect is queued
//! first: an accept that goes first finds nobody, is parked on the listener and woken again, all for nothing *(a seventh
//! of a pair's whole cost)*. Where the handshake takes another processor's help (receive packet steering), both complete
//! later and the ring's descriptor turns readable. The page `how_it_works::ring_engine` tells it from the outside.
#![allow(unsafe_code)] // describes operations on descriptors and addresses that `flight` keeps for the kernel

#[cfg(feature = "measure")]
mod closing;
#[cfg(ringpair_faults)]
pub mod faults;
mod flight;
mod ring;
#[cfg(feature = "tokio-uring")]
mod room;

#[cfg(feature = "measure")]
pub(crate) use self::closing::Closing;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::types::{Fd, Timespec};
use io_uring::{opcode, squeue};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::SockFlag;
use socket2::{Domain, SockAddr, Type};

use self::flight::{Flight, Flights};
use self::ring::Ring;
use super::{Key, Landing};

/// What completions of operations without a flight say.
const SILENT: u64 = u64::MAX;
const ALARM: u64 = u64::MAX - 1;
/// Set in the names of sockets that are opened; flights have small ones.
const OPENED: u64 = 1 << 62;

/// How long a dropped engine waits for the kernel to let go of what was called off; by the look of it no more than the
/// few microseconds of one submission.
const LAST_CALL: Duration = Duration::from_secs(1);

pub(crate) struct Uring {
    ring: Ring,
    flights: Flights,
    /// Where the alarm's time stands until the kernel has copied it.
    alarm: Box<Timespec>,
}

impl Uring {
    pub(super) fn open() -> io::Result<Uring> {
        Ok(Uring { ring: Ring::open()?, flights: Flights::new(), alarm: Box::default() })
    }

    pub(super) fn opens_sockets(&self) -> bool {
        self.ring.opens_sockets()
    }

    pub(super) fn open_sockets(&mut self, domain: Domain, count: usize) {
        let kind = i32::from(Type::STREAM) | SockFlag::SOCK_CLOEXEC.bits();
        for number in 0..count as u64 {
            self.submit(opcode::Socket::new(domain.into(), kind, 0).build().user_data(OPENED | number));
        }
    }

    pub(super) fn connect(&mut self, seat: Key, socket: OwnedFd, target: Arc<SockAddr>) -> Key {
        let connect = opcode::Connect::new(Fd(socket.as_raw_fd()), target.as_ptr().cast(), target.len()).build();
        let key = self.flights.take_off(Flight::Connect { seat, socket, _target: target, orphan: false });
        // SAFETY: the flight owns the socket and shares the address, and it stays in `flights` until the completion.
        unsafe { self.ring.push(&connect.user_data(key as u64)) };
        key
    }

    pub(super) fn accept(&mut self, gate: Key, listener: BorrowedFd<'_>) {
        // No place for the peer's address: the kernel would write there long after the submission, and who came must be asked
        // whether they are there still, which tells it too.
        let accept = opcode::Accept::new(Fd(listener.as_raw_fd()), ptr::null_mut(), ptr::null_mut());
        let key = self.flights.take_off(Flight::Accept { gate, called_off: false });
        self.submit(accept.flags(SockFlag::SOCK_CLOEXEC.bits()).build().user_data(key as u64));
    }

    pub(super) fn connecting(&self, flight: Key) -> Option<BorrowedFd<'_>> {
        self.flights.connecting(flight)
    }

    pub(super) fn launch(&mut self) -> io::Result<()> {
        self.ring.enter()
    }

    pub(super) fn land(&mut self) -> Option<Landing> {
        let completion = self.ring.next()?;
        #[cfg(not(ringpair_faults))]
        let result = completion.result();
        #[cfg(ringpair_faults)]
        let result = faults::result_of(&completion);
        // SAFETY: the kernel has just opened this descriptor for us, and nobody else knows of it.
        let own = |descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) };
        Some(match completion.user_data() {
            SILENT => cancelled(result),
            ALARM => gone_off(result),
            name if name & OPENED != 0 => Landing::Opened(outcome(result).map(own)),
            key => match self.flights.land(key as Key) {
                Some(Flight::Connect { seat, socket, orphan: false, .. }) => {
                    Landing::Connected { seat, socket, result: outcome(result).map(drop) }
                }
                Some(Flight::Accept { gate, called_off }) => {
                    Landing::Accepted { gate, result: outcome(result).map(own), called_off }
                }
                Some(Flight::Connect { orphan: true, .. } | Flight::Forsaken { .. }) | None => Landing::Silent,
            },
        })
    }

    pub(super) fn call_off(&mut self, flight: Key) {
        if self.flights.orphan(flight) {
            self.cancel(flight);
        }
    }

    pub(super) fn call_off_accept(&mut self, gate: Key) -> bool {
        let Some(key) = self.flights.choose_accept(gate) else { return false };
        self.cancel(key);
        true
    }

    pub(super) fn desert(&mut self) {
        self.ring.desert();
    }

    pub(super) fn forsake_connects(&mut self) {
        self.flights.forsake_connects();
    }

    pub(super) fn nudge(&mut self) -> bool {
        let leaving = self.flights.any_leaving();
        if leaving {
            self.ring.nudge();
        }
        leaving
    }

    pub(super) fn alarm(&mut self, after: Duration) -> io::Result<()> {
        *self.alarm = Timespec::from(after);
        let timeout = opcode::Timeout::new(&raw const *self.alarm).build();
        self.submit(timeout.user_data(ALARM));
        // The kernel copies the time while it takes the entry: by the next alarm the place is free again.
        self.ring.enter()
    }

    #[cfg(feature = "tokio-uring")]
    pub(super) fn refuse_without_room_for_a_ring(&self) -> io::Result<()> {
        self.ring.refuse_without_room_for_another()
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.ring.descriptor()
    }

    fn cancel(&mut self, key: Key) {
        self.submit(opcode::AsyncCancel::new(key as u64).build().user_data(SILENT));
    }

    fn submit(&mut self, entry: squeue::Entry) {
        // SAFETY: of the entries that come here only an alarm points to something: to `self.alarm`, whose place on the heap
        // lasts as long as the ring. The one that names a descriptor is an accept: its caller keeps the listener open until it
        // lands.
        unsafe { self.ring.push(&entry) };
    }
}

/// How a cancel has ended. What it was for may be through already, or too far to be held up.
fn cancelled(result: i32) -> Landing {
    match outcome(result) {
        Err(error) if !is_one_of(&error, [Errno::ENOENT, Errno::EALREADY]) => Landing::Broken(error),
        _ => Landing::Silent,
    }
}

/// How an alarm has ended. The kernel calls it off where the thread that set it has ended: whoever needs it sets it again.
fn gone_off(result: i32) -> Landing {
    match outcome(result) {
        Err(error) if !is_one_of(&error, [Errno::ETIME, Errno::ECANCELED]) => Landing::Broken(error),
        _ => Landing::Alarm,
    }
}

fn is_one_of<const N: usize>(error: &io::Error, known: [Errno; N]) -> bool {
    error.raw_os_error().is_some_and(|errno| known.contains(&Errno::from_raw(errno)))
}

fn outcome(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}

/// An accept that succeeds while the ring is torn down would leave an open descriptor that nobody knows of. So everything is
/// called off, and what still lands is closed, before the ring goes.
impl Drop for Uring {
    fn drop(&mut self) {
        for key in self.flights.keys() {
            self.cancel(key);
        }
        let last_call = Instant::now() + LAST_CALL;
        while self.ring.enter().is_ok() {
            while self.land().is_some() {}
            if self.flights.is_empty() || Instant::now() > last_call {
                break;
            }
            // SAFETY: the ring, and with it its descriptor, is dropped after this function only.
            let ring = unsafe { BorrowedFd::borrow_raw(self.ring.descriptor()) };
            let _ = poll(&mut [PollFd::new(ring, PollFlags::POLLIN)], PollTimeout::from(10u8)); // a reason to look again
        }
        while self.land().is_some() {} // of a ring that takes nothing any more as well
    }
}

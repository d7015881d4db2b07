//! The ring engine: `IORING_OP_ACCEPT` and `IORING_OP_CONNECT` (Linux 5.5), both in one submission.
//!
//! On loopback the handshake runs inside the submission: CONNECT sends the SYN, the answer arrives in the same system call,
//! and ACCEPT finds the connection in the backlog. So the connect is queued first. An accept that is queued first waits at the
//! listener and is woken again, which costs a seventh of the pair. With receive packet steering both complete later, and the
//! ring's descriptor becomes readable.
//!
//! The kernel takes its own references to sockets and copies addresses at submission, so nothing that it still uses can be
//! freed. `how_it_works::ring_engine` describes the engine from outside.
#![allow(unsafe_code)] // queues operations that name descriptors and an address, and takes the descriptors that come back

#[cfg(ringpair_faults)]
pub mod faults;
#[cfg(feature = "tokio-uring")]
mod locked;
mod ring;
#[cfg(feature = "measure")]
mod socket_ops;

#[cfg(feature = "measure")]
pub(crate) use self::socket_ops::SocketOps;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::{Duration, Instant};

use io_uring::types::Fd;
use io_uring::{cqueue, opcode, squeue};
use nix::poll::PollFlags;
use nix::sys::socket::SockFlag;
use socket2::{Domain, SockAddr, Type};

use self::ring::Ring;
pub(crate) use self::ring::set_up as set_up_ring;
use super::{Completion, MAX_PAIRS};
use crate::poll::poll_one;

/// How long a dropped engine waits for stale operations at most. They usually take a few microseconds.
const LAST_CALL: Duration = Duration::from_secs(1);

pub(crate) struct Uring {
    ring: Ring,
    /// The address that connects go to, at a fixed place until the kernel has copied it.
    target: Box<SockAddr>,
    /// The sockets of connects in flight, by the number of their half.
    connects: [Option<OwnedFd>; MAX_PAIRS],
    accepts: Numbers,
    /// Operations that open a socket.
    opening: Numbers,
    /// The number of this attempt.
    attempt: u32,
    /// Operations of earlier attempts that have not completed.
    stale: u32,
}

/// Identifies an operation: its attempt, its kind, and its number. The number of a connect is that of its half.
#[derive(Clone, Copy)]
struct Op {
    attempt: u32,
    kind: u8,
    number: u8,
}

/// The numbers in use, all below 64, of operations of one kind in flight.
#[derive(Clone, Copy)]
struct Numbers(u64);

impl Numbers {
    /// Takes the smallest free number. At most [`MAX_PAIRS`] are in use.
    fn take(&mut self) -> usize {
        let number = self.0.trailing_ones().min(u64::BITS - 1);
        self.0 |= 1 << number;
        number as usize
    }

    fn give_back(&mut self, number: u8) {
        self.0 &= !(1 << (number % 64));
    }

    fn count(self) -> u32 {
        self.0.count_ones()
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        (0..u64::BITS as usize).filter(move |number| self.0 & 1 << number != 0)
    }
}

const CONNECT: u8 = 0;
const ACCEPT: u8 = 1;
const SOCKET: u8 = 2;
const CANCEL: u8 = 3;

impl Op {
    fn name(self) -> u64 {
        u64::from(self.attempt) << 32 | u64::from(self.kind) << 8 | u64::from(self.number)
    }

    fn named(name: u64) -> Op {
        Op { attempt: (name >> 32) as u32, kind: (name >> 8) as u8, number: name as u8 }
    }
}

impl Uring {
    pub(super) fn open() -> io::Result<Uring> {
        Ok(Uring {
            ring: Ring::open()?,
            target: Box::new(SockAddr::from(std::net::SocketAddr::from(([0, 0, 0, 0], 0)))),
            connects: [const { None }; MAX_PAIRS],
            accepts: Numbers(0),
            opening: Numbers(0),
            attempt: 0,
            stale: 0,
        })
    }

    pub(super) fn opens_sockets(&self) -> bool {
        self.ring.opens_sockets()
    }

    pub(super) fn open_socket(&mut self, domain: Domain) {
        let kind = i32::from(Type::STREAM) | SockFlag::SOCK_CLOEXEC.bits();
        let number = self.opening.take();
        self.queue(opcode::Socket::new(domain.into(), kind, 0).build(), SOCKET, number);
    }

    pub(super) fn aim(&mut self, target: &SockAddr) {
        *self.target = target.clone();
    }

    pub(super) fn connect(&mut self, half: usize, socket: OwnedFd) {
        let connect = opcode::Connect::new(Fd(socket.as_raw_fd()), self.target.as_ptr().cast(), self.target.len());
        self.connects[half] = Some(socket);
        self.queue(connect.build(), CONNECT, half);
    }

    /// Accepts without a buffer for the peer's address, which `getpeername(2)` returns later.
    pub(super) fn accept(&mut self, listener: BorrowedFd<'_>) {
        let accept = opcode::Accept::new(Fd(listener.as_raw_fd()), ptr::null_mut(), ptr::null_mut());
        let number = self.accepts.take();
        self.queue(accept.flags(SockFlag::SOCK_CLOEXEC.bits()).build(), ACCEPT, number);
    }

    pub(super) fn submit(&mut self) -> io::Result<()> {
        self.ring.enter()
    }

    pub(super) fn reap(&mut self) -> Option<Completion> {
        loop {
            let completion = self.ring.next()?;
            let (op, result) = (Op::named(completion.user_data()), result_of(&completion));
            if op.kind == CANCEL {
                continue; // the cancelled operation has its own completion
            }
            if op.attempt != self.attempt {
                self.stale = self.stale.saturating_sub(1);
                if op.kind != CONNECT {
                    drop(owned(result)); // no call waits for this socket
                }
                continue;
            }
            return Some(match op.kind {
                CONNECT => match self.connects[usize::from(op.number)].take() {
                    Some(socket) => {
                        Completion::Connected { half: op.number.into(), socket, result: outcome(result).map(drop) }
                    }
                    None => continue,
                },
                ACCEPT => {
                    self.accepts.give_back(op.number);
                    Completion::Accepted(owned(result))
                }
                _ => {
                    self.opening.give_back(op.number);
                    Completion::Opened(owned(result))
                }
            });
        }
    }

    pub(super) fn nudge(&mut self) {
        self.ring.nudge();
    }

    pub(super) fn accepts(&self) -> usize {
        self.accepts.count() as usize
    }

    pub(super) fn connecting(&self, half: usize) -> Option<BorrowedFd<'_>> {
        self.connects[half].as_ref().map(AsFd::as_fd)
    }

    pub(super) fn cancel(&mut self) -> io::Result<()> {
        for half in 0..MAX_PAIRS {
            if self.connects[half].is_some() {
                self.queue_cancel(CONNECT, half);
            }
        }
        self.accepts.iter().for_each(|number| self.queue_cancel(ACCEPT, number));
        self.submit()
    }

    pub(super) fn end(&mut self) {
        self.stale += self.accepts.count() + self.opening.count();
        for connect in &mut self.connects {
            self.stale += u32::from(connect.take().is_some()); // closes our descriptor; the kernel keeps its reference
        }
        (self.accepts, self.opening) = (Numbers(0), Numbers(0));
        self.attempt = self.attempt.wrapping_add(1);
    }

    pub(super) fn stale(&self) -> usize {
        self.stale as usize
    }

    pub(super) fn abandon(&mut self) {
        self.ring.abandon();
    }

    #[cfg(feature = "tokio-uring")]
    pub(super) fn refuse_without_room_for_a_ring(&self) -> io::Result<()> {
        self.ring.refuse_without_room_for_another()
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.ring.descriptor()
    }

    fn queue(&mut self, entry: squeue::Entry, kind: u8, number: usize) {
        let op = Op { attempt: self.attempt, kind, number: number as u8 };
        // SAFETY: only a connect points to memory, to `target`, which lives as long as the ring. Until the submission,
        // `connects` keeps sockets open, and the caller the listener. After it, the kernel has references of its own.
        unsafe { self.ring.push(&entry.user_data(op.name())) };
    }

    fn queue_cancel(&mut self, kind: u8, number: usize) {
        let op = Op { attempt: self.attempt, kind, number: number as u8 };
        self.queue(opcode::AsyncCancel::new(op.name()).build(), CANCEL, 0);
    }
}

fn result_of(completion: &cqueue::Entry) -> i32 {
    #[cfg(not(ringpair_faults))]
    return completion.result();
    #[cfg(ringpair_faults)]
    return faults::result_of(completion);
}

fn outcome(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}

/// Takes the descriptor that an operation has opened.
fn owned(result: i32) -> io::Result<OwnedFd> {
    // SAFETY: the kernel has just opened this descriptor for us, and no other code knows of it.
    outcome(result).map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Waits for stale operations: an accept that succeeds while the ring is torn down would leave its descriptor open.
impl Drop for Uring {
    fn drop(&mut self) {
        let _ = self.cancel(); // fails only for a broken ring, which is not waited for
        self.end();
        let last_call = Instant::now() + LAST_CALL;
        loop {
            while self.reap().is_some() {}
            if self.stale == 0 || self.ring.is_broken() || Instant::now() > last_call {
                return;
            }
            self.nudge();
            let _ = poll_one(self.descriptor(), PollFlags::POLLIN, Duration::from_millis(10));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_identifies_its_operation() {
        for (attempt, kind, number) in [(0, CONNECT, 0), (7, ACCEPT, 1), (u32::MAX, SOCKET, 31), (1, CANCEL, 255)] {
            let op = Op::named(Op { attempt, kind, number }.name());
            assert_eq!((op.attempt, op.kind, op.number), (attempt, kind, number));
        }
    }

    #[test]
    fn the_smallest_free_number_is_taken() {
        let mut numbers = Numbers(0);
        assert_eq!([(); 5].map(|()| numbers.take()), [0, 1, 2, 3, 4]);
        numbers.give_back(1);
        numbers.give_back(3);
        assert_eq!((numbers.count(), numbers.iter().collect::<Vec<_>>()), (3, vec![0, 2, 4]));
        assert_eq!([(); 3].map(|()| numbers.take()), [1, 3, 5]);
    }
}

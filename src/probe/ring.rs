//! A connection on loopback through a ring: a ring can be made, and what it is for can be refused.
#![allow(unsafe_code)] // hands entries to the kernel; what they point to is static, or copied before the submission returns

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::ptr::null_mut;
use std::sync::atomic::AtomicU8;

use io_uring::squeue::Entry;
use io_uring::types::Fd;
use io_uring::{Builder, EnterFlags, IoUring, Probe, opcode};
use nix::errno::Errno;
use nix::sys::socket::SockFlag;
use socket2::Socket;

use super::attempt::Attempt;
use super::child::Report;
use super::loopback::{self, Listener};
use super::opcodes::Opcodes;
use super::record::errno_of;
use crate::hazards::memlock::patiently;

/// As many as the ring engine asks for, since locked memory is counted by them.
const ENTRIES: u32 = 64;

/// How often the kernel may ask to be entered again.
const TRIES: u32 = 100;

/// Tries the ring engine's way of making a pair, then which flags a ring can be made with.
pub(super) fn try_ring(report: &Report, listener: Option<&Listener>) {
    let Ok(ring) = report.attempt(Attempt::RingSetup, make_as_the_engine_does) else { return };
    tell_opcodes(report, &ring);
    if let Some(listener) = listener {
        let mut trial = Trial { ring, report, results: [None; RESULTS] };
        let _ = trial.make_a_pair(listener); // it has reported all there is to know
    }
    try_flags(report);
}

fn make_as_the_engine_does() -> io::Result<IoUring> {
    patiently(|| match IoUring::builder().setup_coop_taskrun().build(ENTRIES) {
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => IoUring::new(ENTRIES),
        outcome => outcome,
    })
}

fn tell_opcodes(report: &Report, ring: &IoUring) {
    let mut probe = Probe::new();
    if report.attempt(Attempt::RingRegister, || ring.submitter().register_probe(&mut probe)).is_ok() {
        report.opcodes(Opcodes::known_to(&probe));
    }
}

fn try_flags(report: &Report) {
    let make = |builder: &Builder| patiently(|| builder.build(1)).map(drop);
    let mut builder = IoUring::builder();
    let _ = report.attempt(Attempt::FlagsNone, || make(&builder));
    let _ = report.attempt(Attempt::FlagCoopTaskrun, || make(IoUring::builder().setup_coop_taskrun()));
    let _ = report.attempt(Attempt::FlagSingleIssuer, || make(builder.setup_single_issuer()));
    let _ = report.attempt(Attempt::FlagDeferTaskrun, || make(builder.setup_defer_taskrun()));
}

const WRITTEN: &[u8; 1] = b"!";

/// Where the kernel writes what it reads, also if that is long after.
static READ: AtomicU8 = AtomicU8::new(0);

/// Enough for each attempt to have its place.
const RESULTS: usize = 32;

/// The place of an accept that is there to be cancelled.
const CANCELLED: u64 = RESULTS as u64 - 1;

struct Trial<'a> {
    ring: IoUring,
    report: &'a Report,
    results: [Option<i32>; RESULTS],
}

impl Trial<'_> {
    fn make_a_pair(&mut self, listener: &Listener) -> io::Result<()> {
        let client = self.report.attempt(Attempt::RingConnect, loopback::open_client)?;
        self.begin(listener, &client)?;
        let accepted = match self.land(Attempt::RingConnect) {
            Ok(_) => self.land(Attempt::RingAccept)?,
            Err(error) => {
                let _ = listener.socket.shutdown(Shutdown::Both); // ends the accept
                self.close_what_came_of(Attempt::RingAccept as usize);
                return Err(error);
            }
        };
        // SAFETY: the kernel has just opened this descriptor for us, and nobody else knows of it.
        let accepted = unsafe { OwnedFd::from_raw_fd(accepted) };
        self.cancel(listener)?;
        self.send_a_byte(&client, accepted.as_fd())?;
        self.close(accepted)
    }

    fn begin(&mut self, listener: &Listener, client: &Socket) -> io::Result<()> {
        let connect = opcode::Connect::new(of(client), listener.address.as_ptr().cast(), listener.address.len());
        let (connect, accept) = (connect.build(), accept_from(listener));
        // SAFETY: the kernel copies the address while it takes the entry, which is before `submit` returns.
        unsafe { self.submit(&[(Attempt::RingConnect as u64, connect), (Attempt::RingAccept as u64, accept)]) }
    }

    /// Cancels an accept that waits, as the engine does in the end.
    fn cancel(&mut self, listener: &Listener) -> io::Result<()> {
        let cancel = opcode::AsyncCancel::new(CANCELLED).build();
        // SAFETY: these point to nothing.
        unsafe { self.submit(&[(CANCELLED, accept_from(listener)), (Attempt::RingCancel as u64, cancel)])? };
        let cancelled = self.land(Attempt::RingCancel);
        self.close_what_came_of(CANCELLED as usize);
        cancelled.map(drop)
    }

    /// Waits for an accept of no use, and closes what it brings.
    fn close_what_came_of(&mut self, place: usize) {
        if let Ok(accepted @ 0..) = self.result_of(place) {
            // SAFETY: the kernel has opened this descriptor for us, and nobody else knows of it.
            drop(unsafe { OwnedFd::from_raw_fd(accepted) });
        }
    }

    fn send_a_byte(&mut self, client: &Socket, accepted: BorrowedFd<'_>) -> io::Result<()> {
        use Attempt::{RingRead, RingWrite};
        let write = opcode::Write::new(of(client), WRITTEN.as_ptr(), 1);
        let read = opcode::Read::new(of(&accepted), READ.as_ptr(), 1);
        // SAFETY: both bytes are static; nobody looks at the one that the kernel writes.
        unsafe { self.submit(&[(RingWrite as u64, write.build()), (RingRead as u64, read.build())])? };
        self.land(RingWrite)?;
        self.land(RingRead).map(drop)
    }

    fn close(&mut self, accepted: OwnedFd) -> io::Result<()> {
        let number = accepted.into_raw_fd(); // the ring's to close from here on
        let close = opcode::Close::new(Fd(number)).build();
        // SAFETY: it points to nothing.
        let closed = unsafe { self.submit(&[(Attempt::RingClose as u64, close)]) };
        let closed = closed.and_then(|()| self.land(Attempt::RingClose).map(drop));
        if closed.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::TimedOut) {
            // SAFETY: the ring has refused to close it, so it is still ours.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
        }
        closed
    }

    /// Queues these, and has the kernel take them all.
    ///
    /// # Safety
    ///
    /// What the entries point to lasts until this returns; what the kernel writes to, until the operation has ended.
    unsafe fn submit(&mut self, entries: &[(u64, Entry)]) -> io::Result<()> {
        for (place, entry) in entries {
            // SAFETY: the caller's promise. There is always room: all queued before was taken.
            if unsafe { self.ring.submission().push(&entry.clone().user_data(*place)) }.is_err() {
                return Err(Errno::EBUSY.into());
            }
        }
        self.report.attempt(Attempt::RingEnter, || enter(&self.ring, entries.len()))
    }

    /// Waits until this operation has ended, and tells how.
    fn land(&mut self, attempt: Attempt) -> io::Result<i32> {
        let outcome = self.result_of(attempt as usize).and_then(|result| as_wanted(attempt, result));
        self.report.ended(attempt, outcome.as_ref().map_or_else(errno_of, |_| 0));
        outcome
    }

    fn result_of(&mut self, place: usize) -> io::Result<i32> {
        loop {
            for completion in self.ring.completion() {
                if let Some(result) = self.results.get_mut(completion.user_data() as usize) {
                    *result = Some(completion.result());
                }
            }
            if let Some(result) = self.results.get(place).copied().flatten() {
                return Ok(result);
            }
            // SAFETY: the ring, and with it its descriptor, is open as long as `self`.
            loopback::await_readable(&unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) })?;
        }
    }
}

/// Has the kernel take what is queued, without waiting for anything to end.
fn enter(ring: &IoUring, queued: usize) -> io::Result<()> {
    let mut left = queued;
    for _ in 0..TRIES {
        // SAFETY: no argument is passed, and as many entries are queued.
        match unsafe { ring.submitter().enter::<()>(left as u32, 0, EnterFlags::GETEVENTS.bits(), None) } {
            Ok(taken) => left = left.saturating_sub(taken),
            Err(error) if is_worth_another_try(&error) => {}
            Err(error) => return Err(error),
        }
        if left == 0 {
            return Ok(());
        }
    }
    Err(Errno::EBUSY.into())
}

fn as_wanted(attempt: Attempt, result: i32) -> io::Result<i32> {
    let is_wanted = match attempt {
        // The kernel knows the operation, and was too late for this accept.
        Attempt::RingCancel => result >= 0 || result == -(Errno::EALREADY as i32),
        Attempt::RingRead | Attempt::RingWrite => result == 1,
        _ => result >= 0,
    };
    match result {
        _ if is_wanted => Ok(result),
        0.. => Err(Errno::EIO.into()),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}

fn is_worth_another_try(error: &io::Error) -> bool {
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    matches!(errno, Errno::EINTR | Errno::EAGAIN | Errno::EBUSY)
}

fn accept_from(listener: &Listener) -> Entry {
    let accept = opcode::Accept::new(of(&listener.socket), null_mut(), null_mut());
    accept.flags(SockFlag::SOCK_CLOEXEC.bits()).build()
}

fn of(socket: &impl AsRawFd) -> Fd {
    Fd(socket.as_raw_fd())
}

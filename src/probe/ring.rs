//! A connection on loopback through a ring: a ring can be made, and what it is for be refused all the same.
#![allow(unsafe_code)] // hands entries to the kernel; what they point to is kept by `Kept`

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;

use io_uring::squeue::Entry;
use io_uring::types::{Fd, Timespec};
use io_uring::{Builder, EnterFlags, IoUring, Probe, opcode};
use nix::errno::Errno;
use nix::sys::socket::SockFlag;
use socket2::Socket;

use super::attempt::Attempt;
use super::child::Report;
use super::loopback::{self, Listener, PATIENCE};
use super::opcodes::Opcodes;
use super::record::errno_of;
use crate::hazards::memlock::patiently;

/// As many as the ring engine asks for, since locked memory is counted by them.
const ENTRIES: u32 = 64;

/// How often the kernel may ask to be entered again.
const TRIES: u32 = 100;

/// Tries the ring engine's way of making a pair, then which flags a ring can be made with.
pub(super) fn try_ring(report: &Report, listener: Option<&Listener>) {
    // The kernel may write to it as long as an operation is under way: until the child ends, if it must be.
    let mut kept = Kept { time: Timespec::from(PATIENCE * 100), read: [0] };
    let Ok(ring) = report.attempt(Attempt::RingSetup, make_as_the_engine_does) else { return };
    tell_opcodes(report, &ring);
    if let Some(listener) = listener {
        let mut trial = Trial { ring, report, results: [None; RESULTS] };
        let _ = trial.make_a_pair(listener, &mut kept); // it has reported all there is to know
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

/// What entries point to.
struct Kept {
    time: Timespec,
    read: [u8; 1],
}

const WRITTEN: &[u8; 1] = b"!";

/// Enough for each attempt to have its place.
const RESULTS: usize = 32;

struct Trial<'a> {
    ring: IoUring,
    report: &'a Report,
    results: [Option<i32>; RESULTS],
}

impl Trial<'_> {
    fn make_a_pair(&mut self, listener: &Listener, kept: &mut Kept) -> io::Result<()> {
        let client = self.report.attempt(Attempt::RingConnect, loopback::open)?;
        let accepted = self.meet(listener, &client, kept)?;
        self.send_a_byte(&client, accepted.as_fd(), kept)?;
        self.leave(accepted)
    }

    fn meet(&mut self, listener: &Listener, client: &Socket, kept: &Kept) -> io::Result<OwnedFd> {
        use Attempt::{RingAccept, RingConnect, RingTimeout};
        let connect = opcode::Connect::new(of(client), listener.address.as_ptr().cast(), listener.address.len());
        let accept = opcode::Accept::new(of(&listener.socket), null_mut(), null_mut());
        let accept = accept.flags(SockFlag::SOCK_CLOEXEC.bits());
        let timeout = opcode::Timeout::new(&raw const kept.time);
        // SAFETY: the kernel copies address and time while it takes the entries, which is before `submit` returns; both
        // outlive that.
        unsafe {
            self.submit(&[
                (RingConnect, connect.build()),
                (RingAccept, accept.build()),
                (RingTimeout, timeout.build()),
            ])?;
        }
        self.land(RingConnect)?;
        let accepted = self.land(RingAccept)?;
        // SAFETY: the kernel has just opened this descriptor for us, and nobody else knows of it.
        Ok(unsafe { OwnedFd::from_raw_fd(accepted) })
    }

    fn send_a_byte(&mut self, client: &Socket, accepted: BorrowedFd<'_>, kept: &mut Kept) -> io::Result<()> {
        use Attempt::{RingRead, RingWrite};
        let write = opcode::Write::new(of(client), WRITTEN.as_ptr(), 1);
        let read = opcode::Read::new(of(&accepted), kept.read.as_mut_ptr(), 1);
        // SAFETY: what is written is a constant; what is read goes into `kept`, which the child has to its end.
        unsafe { self.submit(&[(RingWrite, write.build()), (RingRead, read.build())])? };
        self.land(RingWrite)?;
        self.land(RingRead).map(drop)
    }

    /// Closes one end, and calls off the timeout: it ends with `ECANCELED`, which is what it should do.
    fn leave(&mut self, accepted: OwnedFd) -> io::Result<()> {
        use Attempt::{RingCancel, RingClose, RingTimeout};
        let accepted: RawFd = std::os::fd::IntoRawFd::into_raw_fd(accepted); // the ring's to close from here on
        let close = opcode::Close::new(Fd(accepted)).build();
        let cancel = opcode::AsyncCancel::new(RingTimeout as u64).build();
        // SAFETY: these point to nothing.
        unsafe { self.submit(&[(RingClose, close), (RingCancel, cancel)])? };
        self.land(RingClose)?;
        let cancelled = self.land(RingCancel);
        self.land(RingTimeout)?;
        cancelled.map(drop)
    }

    /// Queues these, and has the kernel take them all.
    ///
    /// # Safety
    ///
    /// What the entries point to lasts until this returns; what the kernel writes to, until the operation has ended.
    unsafe fn submit(&mut self, entries: &[(Attempt, Entry)]) -> io::Result<()> {
        for (attempt, entry) in entries {
            // SAFETY: the caller's promise. There is always room: all queued before was taken.
            if unsafe { self.ring.submission().push(&entry.clone().user_data(*attempt as u64)) }.is_err() {
                return Err(Errno::EBUSY.into());
            }
        }
        self.report.attempt(Attempt::RingEnter, || enter(&self.ring, entries.len()))
    }

    /// Waits until this operation has ended, and tells how.
    fn land(&mut self, attempt: Attempt) -> io::Result<i32> {
        let outcome = self.result_of(attempt).and_then(|result| as_wanted(attempt, result));
        self.report.ended(attempt, outcome.as_ref().map_or_else(errno_of, |_| 0));
        outcome
    }

    fn result_of(&mut self, attempt: Attempt) -> io::Result<i32> {
        let place = attempt as usize;
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
        Attempt::RingTimeout => result == -(Errno::ECANCELED as i32),
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

fn of(socket: &impl AsRawFd) -> Fd {
    Fd(socket.as_raw_fd())
}

//! Checks each ring operation with a connection on loopback: a ring can be available, and an operation refused.
#![allow(unsafe_code)] // hands entries to the kernel; they point to statics, or to what the kernel copies at submission

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

use super::check::Check;
use super::child::Log;
use super::loopback::{self, Listener};
use super::opcodes::Opcodes;
use super::record::errno_of;
use crate::engine::set_up_ring;
use crate::hazards::memlock::patiently;

/// How often a submission may fail with a temporary error.
const TRIES: u32 = 100;

/// Makes a pair as the ring engine does, then checks set-up flags.
pub(super) fn try_ring(log: &Log, listener: Option<&Listener>) {
    let Ok(ring) = log.check(Check::RingSetup, || patiently(set_up_ring)) else { return };
    log_opcodes(log, &ring);
    if let Some(listener) = listener {
        let mut check = RingCheck { ring, log, results: [None; RESULTS] };
        let _ = check.make_a_pair(listener); // the log has the outcome
    }
    try_flags(log);
}

fn log_opcodes(log: &Log, ring: &IoUring) {
    let mut probe = Probe::new();
    if log.check(Check::RingRegister, || ring.submitter().register_probe(&mut probe)).is_ok() {
        log.opcodes(Opcodes::known_to(&probe));
    }
}

fn try_flags(log: &Log) {
    let make = |builder: &Builder| patiently(|| builder.build(1)).map(drop);
    let mut builder = IoUring::builder();
    let _ = log.check(Check::FlagsNone, || make(&builder));
    let _ = log.check(Check::FlagCoopTaskrun, || make(IoUring::builder().setup_coop_taskrun()));
    let _ = log.check(Check::FlagSingleIssuer, || make(builder.setup_single_issuer()));
    let _ = log.check(Check::FlagDeferTaskrun, || make(builder.setup_defer_taskrun()));
}

const WRITTEN: &[u8; 1] = b"!";

/// The kernel writes the byte that it reads here, possibly after the check.
static READ: AtomicU8 = AtomicU8::new(0);

/// Room for one result per check.
const RESULTS: usize = 32;

/// The place of the accept that is cancelled.
const CANCELLED: u64 = RESULTS as u64 - 1;

struct RingCheck<'a> {
    ring: IoUring,
    log: &'a Log,
    results: [Option<i32>; RESULTS],
}

impl RingCheck<'_> {
    fn make_a_pair(&mut self, listener: &Listener) -> io::Result<()> {
        let client = self.log.check(Check::RingConnect, loopback::open_client)?;
        self.begin(listener, &client)?;
        let accepted = match self.wait_for(Check::RingConnect) {
            Ok(_) => self.wait_for(Check::RingAccept)?,
            Err(error) => {
                let _ = listener.socket.shutdown(Shutdown::Both); // ends the accept
                self.close_accepted(Check::RingAccept as usize);
                return Err(error);
            }
        };
        // SAFETY: the kernel has just opened this descriptor for us, and no other code knows of it.
        let accepted = unsafe { OwnedFd::from_raw_fd(accepted) };
        self.cancel(listener)?;
        self.send_a_byte(&client, accepted.as_fd())?;
        self.close(accepted)
    }

    fn begin(&mut self, listener: &Listener, client: &Socket) -> io::Result<()> {
        let connect = opcode::Connect::new(of(client), listener.address.as_ptr().cast(), listener.address.len());
        let (connect, accept) = (connect.build(), accept_from(listener));
        // SAFETY: the kernel copies the address when it takes the entry, before `submit` returns.
        unsafe { self.submit(&[(Check::RingConnect as u64, connect), (Check::RingAccept as u64, accept)]) }
    }

    /// Cancels a pending accept, as the engine does.
    fn cancel(&mut self, listener: &Listener) -> io::Result<()> {
        let cancel = opcode::AsyncCancel::new(CANCELLED).build();
        // SAFETY: these entries point to no memory.
        unsafe { self.submit(&[(CANCELLED, accept_from(listener)), (Check::RingCancel as u64, cancel)])? };
        let cancelled = self.wait_for(Check::RingCancel);
        self.close_accepted(CANCELLED as usize);
        cancelled.map(drop)
    }

    /// Waits for an accept, and closes its connection.
    fn close_accepted(&mut self, place: usize) {
        if let Ok(accepted @ 0..) = self.result_of(place) {
            // SAFETY: the kernel has opened this descriptor for us, and no other code knows of it.
            drop(unsafe { OwnedFd::from_raw_fd(accepted) });
        }
    }

    fn send_a_byte(&mut self, client: &Socket, accepted: BorrowedFd<'_>) -> io::Result<()> {
        use Check::{RingRead, RingWrite};
        let write = opcode::Write::new(of(client), WRITTEN.as_ptr(), 1);
        let read = opcode::Read::new(of(&accepted), READ.as_ptr(), 1);
        // SAFETY: both bytes are static, and no code reads the byte that the kernel writes.
        unsafe { self.submit(&[(RingWrite as u64, write.build()), (RingRead as u64, read.build())])? };
        self.wait_for(RingWrite)?;
        self.wait_for(RingRead).map(drop)
    }

    fn close(&mut self, accepted: OwnedFd) -> io::Result<()> {
        let number = accepted.into_raw_fd(); // the ring closes it from here on
        let close = opcode::Close::new(Fd(number)).build();
        // SAFETY: a close points to no memory.
        let closed = unsafe { self.submit(&[(Check::RingClose as u64, close)]) };
        let closed = closed.and_then(|()| self.wait_for(Check::RingClose).map(drop));
        if closed.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::TimedOut) {
            // SAFETY: the ring refused to close it, so it is still ours.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
        }
        closed
    }

    /// Submits these entries.
    ///
    /// # Safety
    ///
    /// What the entries point to must stay valid until this returns; what the kernel writes to, until the operation ends.
    unsafe fn submit(&mut self, entries: &[(u64, Entry)]) -> io::Result<()> {
        for (place, entry) in entries {
            // SAFETY: by the caller's promise.
            if unsafe { self.ring.submission().push(&entry.clone().user_data(*place)) }.is_err() {
                return Err(Errno::EBUSY.into());
            }
        }
        self.log.check(Check::RingEnter, || enter(&self.ring, entries.len()))
    }

    /// Waits for this operation to complete, and logs its outcome.
    fn wait_for(&mut self, check: Check) -> io::Result<i32> {
        let outcome = self.result_of(check as usize).and_then(|result| expect_success(check, result));
        self.log.ended(check, outcome.as_ref().map_or_else(errno_of, |_| 0));
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
            // SAFETY: the ring's descriptor is open as long as `self` lives.
            loopback::await_readable(&unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) })?;
        }
    }
}

/// Submits what is queued, without waiting for completions.
fn enter(ring: &IoUring, queued: usize) -> io::Result<()> {
    let mut left = queued;
    for _ in 0..TRIES {
        // SAFETY: no argument is passed, and `left` entries are queued.
        match unsafe { ring.submitter().enter::<()>(left as u32, 0, EnterFlags::GETEVENTS.bits(), None) } {
            Ok(taken) => left = left.saturating_sub(taken),
            Err(error) if is_temporary(&error) => {}
            Err(error) => return Err(error),
        }
        if left == 0 {
            return Ok(());
        }
    }
    Err(Errno::EBUSY.into())
}

fn expect_success(check: Check, result: i32) -> io::Result<i32> {
    let is_success = match check {
        // EALREADY: the kernel supports the operation, but the accept was already completing.
        Check::RingCancel => result >= 0 || result == -(Errno::EALREADY as i32),
        Check::RingRead | Check::RingWrite => result == 1,
        _ => result >= 0,
    };
    match result {
        _ if is_success => Ok(result),
        0.. => Err(Errno::EIO.into()),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}

fn is_temporary(error: &io::Error) -> bool {
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

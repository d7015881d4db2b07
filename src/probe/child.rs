//! A process of its own for what may be fatal: it reports through memory that it shares with its parent, and it is always
//! reaped.
//!
//! # What the child may do
//!
//! `fork` copies one thread. Whatever lock another thread of the caller's held stays locked in the child for ever: that of
//! stdout, those of the caller, and the allocator's unless the C library sees to it, as glibc and musl do. So the child makes
//! system calls, works on its stack and on what was made before the fork, and leaves by `_exit`, which runs neither destructors
//! nor exit handlers nor flushes what the caller has buffered. It does not print, log, panic on purpose, or touch the
//! environment. One that allocates may hang under an unusual allocator: it is killed when its time is up.
#![allow(unsafe_code)] // forks, shares memory, and leaves the child without its exit handlers

use std::io;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use crate::hazards::teardown::in_a_thread;

/// What is reported at a time.
pub(super) type Record = [u8; 8];

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// By itself, when it was through.
    Through,
    /// Of a signal that was not ours.
    Killed(i32),
    /// Of ours, because the time was up.
    Overdue,
    /// Nobody can tell: it was reaped behind our back, as it is where `SIGCHLD` is ignored.
    Lost,
}

/// More records than anything here reports; further ones are dropped.
const ROOM: usize = 128;

/// A sheet for one writer. All zeroes is an empty one.
pub(super) struct Report {
    is_complete: AtomicBool,
    written: AtomicUsize,
    records: [AtomicU64; ROOM],
}

impl Report {
    pub(super) fn new() -> Report {
        Report {
            is_complete: AtomicBool::new(false),
            written: AtomicUsize::new(0),
            records: [const { AtomicU64::new(0) }; ROOM],
        }
    }

    /// Never waits, and cannot fail.
    pub(super) fn send(&self, record: Record) {
        let place = self.written.load(Ordering::Relaxed);
        if let Some(free) = self.records.get(place) {
            free.store(u64::from_le_bytes(record), Ordering::Relaxed);
            self.written.store(place + 1, Ordering::Release);
        }
    }

    pub(super) fn records(&self) -> Vec<Record> {
        let written = self.written.load(Ordering::Acquire);
        self.records.iter().take(written).map(|record| record.load(Ordering::Relaxed).to_le_bytes()).collect()
    }
}

/// A report that a child shares with its parent. Needs no descriptor.
struct Shared(NonNull<Report>);

const SIZE: NonZeroUsize = match NonZeroUsize::new(size_of::<Report>()) {
    Some(size) => size,
    None => NonZeroUsize::MIN,
};

impl Shared {
    fn new() -> io::Result<Shared> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses the address, so nothing else is mapped there.
        let memory = unsafe { mmap_anonymous(None, SIZE, access, MapFlags::MAP_SHARED) }?;
        Ok(Shared(memory.cast()))
    }
}

impl Deref for Shared {
    type Target = Report;

    fn deref(&self) -> &Report {
        // SAFETY: the memory was mapped zeroed, which is an empty report, and is mapped as long as `self` lives.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: nothing borrows the report any more. The child has its own mapping.
        let _ = unsafe { munmap(self.0.cast(), SIZE.get()) };
    }
}

/// Runs `act` in a child for at most this long, and returns what it reported and how it ended. Neither the child nor a
/// descriptor is left behind.
///
/// # Safety
///
/// `act` keeps to what the module's head allows.
pub(super) unsafe fn run(most: Duration, act: impl Fn(&Report) + Sync) -> io::Result<(Vec<Record>, Ending)> {
    let shared = Shared::new()?;
    let report: &Report = &shared;
    let end = |side| match side {
        ForkResult::Child => {
            let _leaves = Leaves;
            be_mortal();
            act(report);
            report.is_complete.store(true, Ordering::Release);
            leave()
        }
        ForkResult::Parent { child } => {
            let ending = Watch { child, report }.until(Instant::now() + most);
            (report.records(), ending)
        }
    };
    // SAFETY: the child does nothing but what `be_mortal` does and what the caller has promised of `act`.
    match unsafe { fork() } {
        Ok(side) => Ok(end(side)),
        // `clone3(2)` does not free the allocator's locks for the child. Other threads rarely hold the arena of a fresh thread.
        // SAFETY: as above.
        Err(errno) => in_a_thread(|| unsafe { clone3() }.map(end).map_err(|_| errno.into())),
    }
}

/// As `fork(2)`, by `clone3(2)`: for a seccomp filter that refuses the call which the C library makes.
///
/// # Safety
///
/// As for `fork`: the child keeps to what the module's head allows.
unsafe fn clone3() -> nix::Result<ForkResult> {
    // SAFETY: all zeroes are valid arguments: nothing is shared, no stack, no descriptor.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: the kernel reads the arguments; the child goes on with a copy of this stack, as after `fork`.
    let child = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
    Ok(match Errno::result(child)? {
        0 => ForkResult::Child,
        child => ForkResult::Parent { child: Pid::from_raw(child as i32) },
    })
}

/// Ends the child in a panic too: it never unwinds into the frames that it has from the caller.
struct Leaves;

impl Drop for Leaves {
    fn drop(&mut self) {
        leave()
    }
}

fn leave() -> ! {
    // SAFETY: ends the process, and looks at nothing in it.
    unsafe { libc::_exit(0) }
}

/// Dies with the parent, and leaves no core dump when it is killed, since that may well happen. Refusals do no harm.
fn be_mortal() {
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    let _ = prctl::set_dumpable(false);
}

/// The first and the longest time between two looks at the child.
const GLANCES: [Duration; 2] = [Duration::from_micros(50), Duration::from_millis(5)];

struct Watch<'a> {
    child: Pid,
    report: &'a Report,
}

impl Watch<'_> {
    fn until(self, deadline: Instant) -> Ending {
        let [mut pause, longest] = GLANCES;
        loop {
            if let Some(ending) = self.reap(WaitPidFlag::WNOHANG) {
                return ending;
            }
            if Instant::now() >= deadline {
                return self.kill();
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(longest);
        }
    }

    fn kill(&self) -> Ending {
        let _ = kill(self.child, Signal::SIGKILL);
        match self.reap(WaitPidFlag::empty()) {
            Some(Ending::Killed(signal)) if signal == Signal::SIGKILL as i32 => Ending::Overdue,
            // It was there a moment ago, so that it was us also where nobody can tell.
            Some(Ending::Lost) | None => Ending::Overdue,
            Some(ending) => ending, // it was faster than we were
        }
    }

    fn reap(&self, how: WaitPidFlag) -> Option<Ending> {
        loop {
            match waitpid(self.child, Some(how)) {
                Ok(WaitStatus::Exited(..)) => return Some(Ending::Through),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Some(Ending::Killed(signal as i32)),
                Ok(WaitStatus::StillAlive) => return None,
                Ok(_) | Err(Errno::EINTR) => {} // stopped or traced: someone debugs it
                Err(Errno::ECHILD) => return Some(Ending::Lost),
                // A filter refuses to wait: the report tells.
                Err(_) => return self.report.is_complete.load(Ordering::Acquire).then_some(Ending::Through),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{SigHandler, signal};

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    fn in_a_child(most: Duration, act: impl Fn(&Report) + Sync) -> (Vec<Record>, Ending) {
        // SAFETY: what these tests do is send, wait, be killed and panic; the panic is what one of them is about.
        unsafe { run(most, act) }.unwrap()
    }

    #[test]
    fn what_a_child_reports_arrives_whole_and_in_order() {
        let (records, ending) = in_a_child(LONG, |report| (0..100).for_each(|number| report.send([number; 8])));
        assert_eq!(ending, Ending::Through);
        assert_eq!(records, (0..100).map(|number| [number; 8]).collect::<Vec<_>>());
    }

    #[test]
    fn a_report_that_is_full_drops_the_rest() {
        let (records, _) = in_a_child(LONG, |report| (0..=255).for_each(|number| report.send([number; 8])));
        assert_eq!(records, (0..ROOM).map(|number| [number as u8; 8]).collect::<Vec<_>>());
    }

    #[test]
    fn a_child_that_does_not_end_is_killed_and_what_it_said_is_kept() {
        let begin = Instant::now();
        let (records, ending) = in_a_child(Duration::from_millis(50), |report| {
            report.send([1; 8]);
            loop {
                std::thread::sleep(LONG);
            }
        });
        assert_eq!((records, ending), (vec![[1; 8]], Ending::Overdue));
        assert!(begin.elapsed() < LONG / 2);
    }

    #[test]
    fn a_child_that_does_not_end_is_overdue_also_where_nobody_may_see_it_die() {
        // In a child, since the rest of this process has children to see die.
        let (records, _) = in_a_child(LONG, |report| {
            // SAFETY: no handler is set; the signal is ignored, which is this child's affair alone.
            let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) };
            let (_, ending) = in_a_child(Duration::from_millis(50), |_| {
                loop {
                    std::thread::sleep(LONG);
                }
            });
            report.send([u8::from(ending == Ending::Overdue); 8]);
        });
        assert_eq!(records, [[1; 8]]);
    }

    #[test]
    fn a_child_that_is_killed_is_told_by_its_signal() {
        let (records, ending) = in_a_child(LONG, |report| {
            report.send([1; 8]);
            // SAFETY: sends a signal to this process alone.
            unsafe { libc::raise(libc::SIGSYS) };
        });
        assert_eq!((records, ending), (vec![[1; 8]], Ending::Killed(libc::SIGSYS)));
    }

    #[test]
    fn a_panic_of_the_child_ends_in_the_child() {
        let (records, ending) = in_a_child(LONG, |report| {
            report.send([1; 8]);
            std::panic::resume_unwind(Box::new(()));
        });
        assert_eq!((records, ending), (vec![[1; 8]], Ending::Through));
    }
}

//! Runs checks that may be fatal in a child process. The child writes to memory that it shares with its parent, and is always
//! reaped.
//!
//! # What the child may do
//!
//! `fork` copies one thread. A lock that another thread held stays locked in the child forever: that of stdout, locks of the
//! caller, and the allocator's, except with glibc and musl. So the child makes system calls, uses its stack and memory from
//! before the fork, and ends with `_exit`, which runs no destructors or exit handlers and flushes no buffers. It does not
//! print, panic on purpose, or use the environment. It may hang if it allocates under an unusual allocator; then it is killed
//! when its time is up.
#![allow(unsafe_code)] // forks, shares memory, and ends the child without exit handlers

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

/// One entry of a log.
pub(super) type Record = [u8; 8];

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChildEnding {
    /// By itself, after the checks.
    Completed,
    /// By a signal that we did not send.
    Killed(i32),
    /// Killed by us, because its time was up.
    Overdue,
    /// Unknown: something else reaped it, for example because `SIGCHLD` is ignored.
    Lost,
}

/// More records than all checks write. Further records are dropped.
const ROOM: usize = 128;

/// Records of one writer. All zeros is an empty log.
pub(super) struct Log {
    is_complete: AtomicBool,
    written: AtomicUsize,
    records: [AtomicU64; ROOM],
}

impl Log {
    pub(super) fn new() -> Log {
        Log {
            is_complete: AtomicBool::new(false),
            written: AtomicUsize::new(0),
            records: [const { AtomicU64::new(0) }; ROOM],
        }
    }

    /// Adds a record. Never waits, and cannot fail.
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

/// A log that a child shares with its parent. Needs no descriptor.
struct Shared(NonNull<Log>);

const SIZE: NonZeroUsize = match NonZeroUsize::new(size_of::<Log>()) {
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
    type Target = Log;

    fn deref(&self) -> &Log {
        // SAFETY: the memory was mapped zeroed, which is an empty log, and stays mapped as long as `self` lives.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the log is no longer borrowed. The child has its own mapping.
        let _ = unsafe { munmap(self.0.cast(), SIZE.get()) };
    }
}

/// Runs `act` in a child for at most this time. Returns what it logged and how it ended. Leaves neither the child nor a
/// descriptor behind.
///
/// # Safety
///
/// `act` does only what the module documentation allows.
pub(super) unsafe fn run(timeout: Duration, act: impl Fn(&Log) + Sync) -> io::Result<(Vec<Record>, ChildEnding)> {
    let shared = Shared::new()?;
    let log: &Log = &shared;
    let end = |side| match side {
        ForkResult::Child => {
            let _leaves = Leaves;
            prepare_to_die();
            act(log);
            log.is_complete.store(true, Ordering::Release);
            leave()
        }
        ForkResult::Parent { child } => {
            let ending = Watch { child, log }.until(Instant::now() + timeout);
            (log.records(), ending)
        }
    };
    // SAFETY: the child only runs `prepare_to_die`, and `act`, for which the caller has promised.
    match unsafe { fork() } {
        Ok(side) => Ok(end(side)),
        // `clone3(2)` does not reset the allocator's locks. A fresh thread's arena is rarely locked by other threads.
        // SAFETY: as above.
        Err(errno) => in_a_thread(|| unsafe { clone3() }.map(end).map_err(|_| errno.into())),
    }
}

/// Forks by `clone3(2)`, for seccomp filters that refuse the call of the C library's `fork`.
///
/// # Safety
///
/// As for `fork`: the child does only what the module documentation allows.
unsafe fn clone3() -> nix::Result<ForkResult> {
    // SAFETY: all zeros are valid arguments: nothing is shared, no stack, no descriptor.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: the kernel reads the arguments; the child continues with a copy of this stack, as after `fork`.
    let child = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
    Ok(match Errno::result(child)? {
        0 => ForkResult::Child,
        child => ForkResult::Parent { child: Pid::from_raw(child as i32) },
    })
}

/// Ends the child also after a panic, so that it never unwinds into frames of the caller.
struct Leaves;

impl Drop for Leaves {
    fn drop(&mut self) {
        leave()
    }
}

fn leave() -> ! {
    // SAFETY: ends the process, and accesses no memory.
    unsafe { libc::_exit(0) }
}

/// Has the child die with its parent, and leave no core dump when it is killed. Refusals are harmless.
fn prepare_to_die() {
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    let _ = prctl::set_dumpable(false);
}

/// The first and the longest pause between two tries to reap the child.
const PAUSES: [Duration; 2] = [Duration::from_micros(50), Duration::from_millis(5)];

struct Watch<'a> {
    child: Pid,
    log: &'a Log,
}

impl Watch<'_> {
    fn until(self, deadline: Instant) -> ChildEnding {
        let [mut pause, longest] = PAUSES;
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

    fn kill(&self) -> ChildEnding {
        let _ = kill(self.child, Signal::SIGKILL);
        match self.reap(WaitPidFlag::empty()) {
            Some(ChildEnding::Killed(signal)) if signal == Signal::SIGKILL as i32 => ChildEnding::Overdue,
            // The child was alive a moment ago, so our signal ended it.
            Some(ChildEnding::Lost) | None => ChildEnding::Overdue,
            Some(ending) => ending, // it ended before our signal
        }
    }

    fn reap(&self, how: WaitPidFlag) -> Option<ChildEnding> {
        loop {
            match waitpid(self.child, Some(how)) {
                Ok(WaitStatus::Exited(..)) => return Some(ChildEnding::Completed),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Some(ChildEnding::Killed(signal as i32)),
                Ok(WaitStatus::StillAlive) => return None,
                Ok(_) | Err(Errno::EINTR) => {} // stopped or traced by a debugger
                Err(Errno::ECHILD) => return Some(ChildEnding::Lost),
                // A filter refuses to wait: the log shows whether the child has completed.
                Err(_) => return self.log.is_complete.load(Ordering::Acquire).then_some(ChildEnding::Completed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{SigHandler, signal};

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    fn in_a_child(timeout: Duration, act: impl Fn(&Log) + Sync) -> (Vec<Record>, ChildEnding) {
        // SAFETY: these tests only send, wait, are killed and panic; one of them tests the panic.
        unsafe { run(timeout, act) }.unwrap()
    }

    #[test]
    fn records_of_a_child_arrive_whole_and_in_order() {
        let (records, ending) = in_a_child(LONG, |log| (0..100).for_each(|number| log.send([number; 8])));
        assert_eq!(ending, ChildEnding::Completed);
        assert_eq!(records, (0..100).map(|number| [number; 8]).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_log_drops_further_records() {
        let (records, _) = in_a_child(LONG, |log| (0..=255).for_each(|number| log.send([number; 8])));
        assert_eq!(records, (0..ROOM).map(|number| [number as u8; 8]).collect::<Vec<_>>());
    }

    #[test]
    fn a_child_that_hangs_is_killed_and_its_log_kept() {
        let begin = Instant::now();
        let (records, ending) = in_a_child(Duration::from_millis(50), |log| {
            log.send([1; 8]);
            loop {
                std::thread::sleep(LONG);
            }
        });
        assert_eq!((records, ending), (vec![[1; 8]], ChildEnding::Overdue));
        assert!(begin.elapsed() < LONG / 2);
    }

    #[test]
    fn a_hanging_child_is_overdue_even_if_sigchld_is_ignored() {
        // In a child, because other tests of this process reap children.
        let (records, _) = in_a_child(LONG, |log| {
            // SAFETY: no handler is set. Only this child ignores the signal.
            let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) };
            let (_, ending) = in_a_child(Duration::from_millis(50), |_| {
                loop {
                    std::thread::sleep(LONG);
                }
            });
            log.send([u8::from(ending == ChildEnding::Overdue); 8]);
        });
        assert_eq!(records, [[1; 8]]);
    }

    #[test]
    fn a_killed_child_is_identified_by_its_signal() {
        let (records, ending) = in_a_child(LONG, |log| {
            log.send([1; 8]);
            // SAFETY: sends a signal to this process only.
            unsafe { libc::raise(libc::SIGSYS) };
        });
        assert_eq!((records, ending), (vec![[1; 8]], ChildEnding::Killed(libc::SIGSYS)));
    }

    #[test]
    fn a_panic_of_the_child_ends_in_the_child() {
        let (records, ending) = in_a_child(LONG, |log| {
            log.send([1; 8]);
            std::panic::resume_unwind(Box::new(()));
        });
        assert_eq!((records, ending), (vec![[1; 8]], ChildEnding::Completed));
    }
}

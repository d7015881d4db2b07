//! A process of its own for what may be fatal: what it reports until its end comes through a pipe, and it is always reaped.
//!
//! # What the child may do
//!
//! `fork` copies one thread. Whatever lock another thread of the caller's held stays locked in the child for ever: the
//! allocator's (glibc and musl see to that one, others need not), the one of stdout, those of the caller. So the child takes
//! none: it makes system calls, works on its stack and on what was made before the fork, and leaves by `_exit`, which runs
//! neither destructors nor exit handlers nor flushes what the caller has buffered. It does not allocate, print, log, panic on
//! purpose, or touch the environment.
#![allow(unsafe_code)] // forks, and leaves the child without its exit handlers

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe2, read, write};

/// What a child reports at a time. Small enough that the pipe takes it whole or not at all.
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

/// The child's end of the pipe.
pub(super) struct Report(OwnedFd);

impl Report {
    /// Never waits, and cannot fail in a way that would matter: a parent that is gone reads nothing.
    pub(super) fn send(&self, record: Record) {
        let _ = write(&self.0, &record);
    }
}

/// Runs `act` in a child for at most this long, and returns what it reported and how it ended. Neither the child nor a
/// descriptor is left behind.
///
/// # Safety
///
/// `act` keeps to what the module's head allows.
pub(super) unsafe fn run(most: Duration, act: impl FnOnce(&Report)) -> io::Result<(Vec<Record>, Ending)> {
    // Room for all that is ever reported, so that nothing has to wait for the parent to read.
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    // SAFETY: the child does nothing but what `be_the_child` does and what the caller has promised of `act`.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let _leaves = Leaves;
            be_mortal();
            act(&Report(theirs));
            leave()
        }
        ForkResult::Parent { child } => {
            drop(theirs);
            Ok(Watch { child, pipe: ours, records: Vec::new() }.until(Instant::now() + most))
        }
    }
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

/// How long to wait for the pipe before looking after the child: another process that was forked meanwhile may hold the
/// pipe open for a while after the child's end.
const GLANCE: u8 = 10;

struct Watch {
    child: Pid,
    pipe: OwnedFd,
    records: Vec<Record>,
}

impl Watch {
    fn until(mut self, deadline: Instant) -> (Vec<Record>, Ending) {
        let ending = loop {
            if let Some(ending) = self.reap(WaitPidFlag::WNOHANG) {
                break ending;
            }
            if Instant::now() >= deadline {
                break self.kill();
            }
            let _ = poll(&mut [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)], PollTimeout::from(GLANCE));
            if !self.read() {
                // The pipe is closed by the child's end and by nothing else.
                break self.reap(WaitPidFlag::empty()).unwrap_or(Ending::Lost);
            }
        };
        self.read();
        (self.records, ending)
    }

    /// Takes down all that has been reported; false where no more can come.
    fn read(&mut self) -> bool {
        let mut record = Record::default();
        loop {
            match read(&self.pipe, &mut record) {
                Ok(0) => return false,
                Ok(length) if length == record.len() => self.records.push(record),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return true,
            }
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
                Err(_) => return Some(Ending::Lost),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{SigHandler, signal};

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    fn in_a_child(most: Duration, act: impl FnOnce(&Report)) -> (Vec<Record>, Ending) {
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

    #[test]
    fn a_pipe_that_another_process_holds_open_does_not_hold_up_the_end() {
        let begin = Instant::now();
        let (_, ending) = in_a_child(LONG, |_| {
            // SAFETY: the grandchild only sleeps and leaves.
            if let Ok(ForkResult::Child) = unsafe { fork() } {
                std::thread::sleep(Duration::from_secs(3));
            }
        });
        assert_eq!(ending, Ending::Through);
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    }
}

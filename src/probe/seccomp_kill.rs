//! Finds out whether `io_uring_setup(2)` would kill this process: some seccomp filters kill its callers.
//!
//! # How long an answer holds
//!
//! A child process makes the call. It has the filters of the thread that forks it. Filters belong to a thread, are inherited by
//! what the thread starts, and are never removed or weakened. So an answer holds for its thread until the number of filters
//! changes.
//!
//! If a thread has as many filters as the process's parent, these filters are older than the process, as in a container. All
//! threads have inherited them, and share the answer. Otherwise equal numbers prove nothing: each thread may have its own
//! filter.
#![allow(unsafe_code)] // makes two system calls that nix does not wrap, one of them in a child

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

use super::child::{self, ChildEnding, Record};
use super::host::Status;

/// What to do if a filter is active, and no child process could be started to find out whether it kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InDoubt {
    /// Set up a ring anyway: most filters return an errno.
    Ask,
    /// Refuse, because there is another engine.
    #[cfg(feature = "epoll")]
    Refuse,
}

/// Fails with [`Unsupported`](io::ErrorKind::Unsupported) if a filter would kill this thread for `io_uring_setup(2)`.
pub(crate) fn refuse_if_seccomp_kills(in_doubt: InDoubt) -> io::Result<()> {
    let why = match is_filtered().then(does_setup_kill) {
        None | Some(Some(false)) => return Ok(()),
        Some(Some(true)) => "a seccomp filter of this thread kills callers of io_uring_setup",
        Some(None) if in_doubt == InDoubt::Ask => return Ok(()),
        Some(None) => {
            "a seccomp filter is active, and no process could be started to find out whether it kills callers of io_uring_setup"
        }
    };
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

/// Whether this thread has a seccomp filter. Without one, no system call can kill.
pub(super) fn is_filtered() -> bool {
    // SAFETY: returns the mode of the calling thread, and accesses no memory.
    match Errno::result(unsafe { libc::prctl(libc::PR_GET_SECCOMP) }) {
        Ok(mode) => mode != 0,
        Err(errno) => errno != Errno::EINVAL, // a kernel without seccomp; any other errno comes from a filter
    }
}

/// The result of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    /// How many filters it had; `None` if unknown: before Linux 5.9, without `/proc`, without descriptors.
    filters: Option<u32>,
    kills: bool,
}

impl Answer {
    const KNOWN: u64 = 1;
    const KILLS: u64 = 2;
    const COUNTED: u64 = 4;

    /// Never 0. The upper half is the number of filters.
    fn to_bits(self) -> u64 {
        let kills = if self.kills { Answer::KILLS } else { 0 };
        let filters = self.filters.map_or(0, |filters| Answer::COUNTED | u64::from(filters) << 32);
        Answer::KNOWN | kills | filters
    }

    fn from_bits(bits: u64) -> Option<Answer> {
        let filters = (bits & Answer::COUNTED != 0).then_some((bits >> 32) as u32);
        (bits != 0).then_some(Answer { filters, kills: bits & Answer::KILLS != 0 })
    }

    fn holds_for_its_thread_with(&self, filters: Option<u32>) -> bool {
        self.kills || filters.is_none() || self.filters == filters
    }
}

thread_local! {
    static OF_THIS_THREAD: Cell<Option<Answer>> = const { Cell::new(None) };
}

/// The answer for the filters that the process began with, in [bits](Answer::to_bits); 0 if unknown. No lock, because a fork
/// could leave it locked.
static OF_THE_PROCESS: AtomicU64 = AtomicU64::new(0);

/// Returns `None` if no child could be started or it was held up.
fn does_setup_kill() -> Option<bool> {
    let status = Status::read();
    let filters = status.seccomp_filters();
    let known = OF_THIS_THREAD.get().filter(|known| known.holds_for_its_thread_with(filters));
    let answer = match known {
        Some(answer) => answer,
        None if is_from_before_the_process(&status) => ask_for_the_process(filters)?,
        None => ask(filters)?,
    };
    OF_THIS_THREAD.set(Some(answer));
    Some(answer.kills)
}

fn is_from_before_the_process(status: &Status) -> bool {
    let parents = status.of_the_parent().and_then(|parent| parent.seccomp_filters());
    parents.is_some() && parents == status.seccomp_filters()
}

/// Concurrent threads start a child each. Waiting for another thread could hang in a forked process, which lacks that thread.
fn ask_for_the_process(filters: Option<u32>) -> Option<Answer> {
    let known = Answer::from_bits(OF_THE_PROCESS.load(Relaxed));
    if let Some(answer) = known.filter(|known| known.filters == filters) {
        return Some(answer);
    }
    let answer = ask(filters)?;
    OF_THE_PROCESS.store(answer.to_bits(), Relaxed);
    Some(answer)
}

fn ask(filters: Option<u32>) -> Option<Answer> {
    kills_a_child().map(|kills| Answer { filters, kills })
}

/// The child makes one system call. It takes this long only if it is stopped.
const DEADLINE: Duration = Duration::from_secs(2);

const SURVIVED: Record = [1; 8];

fn kills_a_child() -> Option<bool> {
    // SAFETY: the child makes one system call, which fails because the ring has no entries, and writes to the log.
    let asked = unsafe {
        child::run(DEADLINE, |log| {
            libc::syscall(libc::SYS_io_uring_setup, 0, std::ptr::null_mut::<libc::c_void>());
            log.send(SURVIVED);
        })
    };
    let (said, ending) = asked.ok()?;
    is_killed(&said, ending)
}

/// If the child did not survive, the filter killed it, whatever the signal: with `SIGCHLD` ignored the signal is unknown, and a
/// handler of `SIGSYS` may end the process in another way. `None` if it was held up.
fn is_killed(said: &[Record], ending: ChildEnding) -> Option<bool> {
    match said.contains(&SURVIVED) {
        true => Some(false),
        false => (ending != ChildEnding::Overdue).then_some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_child_was_killed_unless_it_was_overdue() {
        let killed = [
            ChildEnding::Killed(libc::SIGSYS),
            ChildEnding::Killed(libc::SIGABRT),
            ChildEnding::Lost,
            ChildEnding::Completed,
        ];
        assert!(killed.iter().all(|ending| is_killed(&[], *ending) == Some(true)));
        assert_eq!(is_killed(&[], ChildEnding::Overdue), None);
        for ending in [ChildEnding::Completed, ChildEnding::Lost, ChildEnding::Overdue] {
            assert_eq!(is_killed(&[SURVIVED], ending), Some(false), "{ending:?}");
        }
    }

    #[test]
    fn an_answer_survives_its_bits() {
        assert_eq!(Answer::from_bits(0), None);
        for filters in [None, Some(0), Some(1), Some(u32::MAX)] {
            for kills in [false, true] {
                let answer = Answer { filters, kills };
                assert_eq!(Answer::from_bits(answer.to_bits()), Some(answer));
            }
        }
    }

    #[test]
    fn an_answer_holds_until_more_filters_and_a_kill_forever() {
        let harmless = Answer { filters: Some(1), kills: false };
        let held = [Some(1), Some(2), None].map(|filters| harmless.holds_for_its_thread_with(filters));
        assert_eq!(held, [true, false, true]);
        let untold = Answer { filters: None, kills: false };
        assert!(untold.holds_for_its_thread_with(None) && !untold.holds_for_its_thread_with(Some(1)));
        let kill = Answer { filters: Some(1), kills: true };
        assert!([Some(1), Some(2), None].iter().all(|filters| kill.holds_for_its_thread_with(*filters)));
    }

    #[test]
    fn filters_that_the_parent_has_too_are_older_than_the_process() {
        let myself = std::process::id();
        let filters = Status::read().seccomp_filters();
        let status = |filters: &str| Status::from_text(format!("PPid:\t{myself}\nSeccomp_filters:\t{filters}\n"));
        if let Some(count) = filters {
            assert!(is_from_before_the_process(&status(&count.to_string())));
            assert!(!is_from_before_the_process(&status(&(count + 1).to_string())));
        }
        assert!(!is_from_before_the_process(&status("")));
        assert!(!is_from_before_the_process(&Status::from_text("PPid:\t0\nSeccomp_filters:\t1\n".to_owned())));
    }
}

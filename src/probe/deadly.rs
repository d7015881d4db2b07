//! Whether asking for a ring would be the end of this process: some seccomp filters kill callers of `io_uring_setup(2)`.
//!
//! # How long an answer holds
//!
//! A child is asked, which has the filters of the thread that forks it. Filters are a thread's own; they are handed down to
//! what it starts, none is ever taken away, and none softens what another one does. So an answer holds for the thread that
//! has asked, as long as it has as many filters as then.
//!
//! It holds for all threads of the process that have as many filters as the process's parent: those are from before the
//! process began, as a container's are, and every thread here has inherited them. Otherwise as many are not the same: each
//! thread of a program may have one of its own.
#![allow(unsafe_code)] // makes two system calls that nix has no name for, one of them in a child

use std::cell::Cell;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

use super::child::{self, Ending, Record};
use super::host::Status;

/// What to do if a filter is in force, and no child could try whether it kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InDoubt {
    /// Ask for a ring: most filters answer with an errno.
    Ask,
    /// Refuse: there is another engine.
    #[cfg(feature = "epoll")]
    Refuse,
}

/// Fails as [`Unsupported`](io::ErrorKind::Unsupported) if a filter would kill this thread for asking for a ring.
pub(crate) fn refuse_if_asking_kills(in_doubt: InDoubt) -> io::Result<()> {
    let why = match is_filtered().then(does_asking_kill) {
        None | Some(Some(false)) => return Ok(()),
        Some(Some(true)) => "a seccomp filter of this thread kills callers of io_uring_setup",
        Some(None) if in_doubt == InDoubt::Ask => return Ok(()),
        Some(None) => {
            "a seccomp filter is in force, and no process could try whether it kills callers of io_uring_setup"
        }
    };
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

/// Whether a seccomp filter of this thread is in force. Without one, no system call can kill.
pub(super) fn is_filtered() -> bool {
    // SAFETY: tells the mode of the calling thread, and touches nothing.
    match Errno::result(unsafe { libc::prctl(libc::PR_GET_SECCOMP) }) {
        Ok(mode) => mode != 0,
        Err(errno) => errno != Errno::EINVAL, // a kernel without seccomp; anything else is a filter's answer
    }
}

/// What a child has found out.
#[derive(Clone, Copy, Debug)]
struct Answer {
    /// How many filters it had; `None` if that cannot be told: before Linux 5.9, without `/proc`, without descriptors.
    filters: Option<u32>,
    kills: bool,
}

impl Answer {
    fn holds_for_its_thread_with(&self, filters: Option<u32>) -> bool {
        self.kills || filters.is_none() || self.filters == filters
    }
}

thread_local! {
    static OF_THIS_THREAD: Cell<Option<Answer>> = const { Cell::new(None) };
}

/// Of the filters that the process began with.
static OF_THE_PROCESS: OnceLock<Answer> = OnceLock::new();

/// Returns `None` if no child could be asked.
fn does_asking_kill() -> Option<bool> {
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

/// Threads that come at once ask a child each: nobody waits for another one, which a fork of the caller's might not have taken
/// along.
fn ask_for_the_process(filters: Option<u32>) -> Option<Answer> {
    if let Some(answer) = OF_THE_PROCESS.get().filter(|known| known.filters == filters) {
        return Some(*answer);
    }
    let answer = ask(filters)?;
    let _ = OF_THE_PROCESS.set(answer); // another thread was faster
    Some(answer)
}

fn ask(filters: Option<u32>) -> Option<Answer> {
    kills_a_child().map(|kills| Answer { filters, kills })
}

/// The child makes one system call; this long it takes only where it is stopped.
const DEADLINE: Duration = Duration::from_secs(2);

const SURVIVED: Record = [1; 8];

fn kills_a_child() -> Option<bool> {
    // SAFETY: the child makes one system call, which makes no ring, since it asks for none of no size, and reports.
    let asked = unsafe {
        child::run(DEADLINE, |report| {
            libc::syscall(libc::SYS_io_uring_setup, 0, std::ptr::null_mut::<libc::c_void>());
            report.send(SURVIVED);
        })
    };
    let (said, ending) = asked.ok()?;
    is_killed(&said, ending)
}

/// A child that has not survived has died of the filter, whatever the signal: nobody can tell one if `SIGCHLD` is ignored,
/// and a handler of `SIGSYS` may end the process in its own way. `None` if something else held it up.
fn is_killed(said: &[Record], ending: Ending) -> Option<bool> {
    match said.contains(&SURVIVED) {
        true => Some(false),
        false => (ending != Ending::Overdue).then_some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_child_was_killed_unless_it_was_overdue() {
        let killed = [Ending::Killed(libc::SIGSYS), Ending::Killed(libc::SIGABRT), Ending::Lost, Ending::Through];
        assert!(killed.iter().all(|ending| is_killed(&[], *ending) == Some(true)));
        assert_eq!(is_killed(&[], Ending::Overdue), None);
        for ending in [Ending::Through, Ending::Lost, Ending::Overdue] {
            assert_eq!(is_killed(&[SURVIVED], ending), Some(false), "{ending:?}");
        }
    }

    #[test]
    fn an_answer_holds_until_there_are_more_filters_and_a_deadly_one_for_ever() {
        let harmless = Answer { filters: Some(1), kills: false };
        let held = [Some(1), Some(2), None].map(|filters| harmless.holds_for_its_thread_with(filters));
        assert_eq!(held, [true, false, true]);
        let untold = Answer { filters: None, kills: false };
        assert!(untold.holds_for_its_thread_with(None) && !untold.holds_for_its_thread_with(Some(1)));
        let deadly = Answer { filters: Some(1), kills: true };
        assert!([Some(1), Some(2), None].iter().all(|filters| deadly.holds_for_its_thread_with(*filters)));
    }

    #[test]
    fn filters_are_from_before_the_process_where_its_parent_has_as_many() {
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

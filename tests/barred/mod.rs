//! Seccomp filters as containers have them: they hold for a thread, what it starts and what it forks.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)] // each file uses a part; in a test a panic is the report

use nix::errno::Errno;
use nix::libc;
use seccompiler::SeccompAction;

use crate::common::filter;

/// What the filters of containers say to io_uring.
pub(crate) const ANSWERS: [Errno; 4] = [Errno::EPERM, Errno::ENOSYS, Errno::EACCES, Errno::EOPNOTSUPP];

/// The calls that the ring engine makes.
pub(crate) const CALLS: [i64; 3] = [libc::SYS_io_uring_setup, libc::SYS_io_uring_register, libc::SYS_io_uring_enter];

pub(crate) fn answer(errno: Errno) -> SeccompAction {
    SeccompAction::Errno(errno as u32)
}

/// Runs `act` in a thread where this system call meets this action.
pub(crate) fn under<R: Send + 'static>(
    call: i64,
    action: SeccompAction,
    act: impl FnOnce() -> R + Send + 'static,
) -> R {
    let barred = std::thread::spawn(move || {
        filter(call, action);
        act()
    });
    barred.join().unwrap()
}

//! Seccomp filters as containers have them: they hold for a thread, what it starts and what it forks.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)] // each file uses a part; in a test a panic is the report
#![allow(unsafe_code)] // has a program begin with a filter

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

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
    let named = std::thread::Builder::new().name(crate::common::test_name()); // for those that skip
    let barred = named.spawn(move || {
        filter(call, action);
        act()
    });
    barred.unwrap().join().unwrap()
}

/// Has a program begin with filters: also for the calls that starting it takes.
pub(crate) fn begin_under(command: &mut Command, calls: &[i64], action: SeccompAction) {
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch).unwrap();
    let program = BpfProgram::try_from(filter).unwrap();
    // SAFETY: makes two system calls, and allocates only if one of them fails.
    unsafe { command.pre_exec(move || apply_filter(&program).map_err(std::io::Error::other)) };
}

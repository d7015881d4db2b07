//! Seccomp filters as in containers: they apply to a thread and everything it starts.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)] // each file uses a part; a panic fails the test
#![allow(unsafe_code)] // installs a filter between fork and exec

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::common::filter;

/// The errnos that containers' filters return for io_uring.
pub(crate) const ANSWERS: [Errno; 4] = [Errno::EPERM, Errno::ENOSYS, Errno::EACCES, Errno::EOPNOTSUPP];

/// The calls that the ring engine makes.
pub(crate) const CALLS: [i64; 3] = [libc::SYS_io_uring_setup, libc::SYS_io_uring_register, libc::SYS_io_uring_enter];

pub(crate) fn answer(errno: Errno) -> SeccompAction {
    SeccompAction::Errno(errno as u32)
}

/// Runs `act` in a thread with a filter for this system call.
pub(crate) fn under<R: Send + 'static>(
    call: i64,
    action: SeccompAction,
    act: impl FnOnce() -> R + Send + 'static,
) -> R {
    let named = std::thread::Builder::new().name(crate::common::test_name()); // the name in a skip
    let barred = named.spawn(move || {
        filter(call, action);
        act()
    });
    barred.unwrap().join().unwrap()
}

/// Makes a program begin with filters, which also apply to the calls of starting it.
pub(crate) fn begin_under(command: &mut Command, calls: &[i64], action: SeccompAction) {
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch).unwrap();
    let program = BpfProgram::try_from(filter).unwrap();
    // SAFETY: makes two system calls, and allocates only if one of them fails.
    unsafe { command.pre_exec(move || apply_filter(&program).map_err(std::io::Error::other)) };
}

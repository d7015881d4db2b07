//! Whether asking for a ring would be the end of this process: some seccomp filters kill who calls `io_uring_setup(2)`.
#![allow(unsafe_code)] // makes two system calls that nix has no name for, one of them in a child

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use nix::libc;

use super::child::{self, Ending};

/// The child makes one system call; this long it takes only where it is stopped.
const DEADLINE: Duration = Duration::from_secs(2);

/// Refuses where a filter would kill who asks for a ring. That is found out by a child, once in a process, and only where
/// there is a filter at all.
pub(crate) fn refuse_if_asking_kills() -> io::Result<()> {
    static DEADLY: OnceLock<bool> = OnceLock::new();
    if is_filtered() && *DEADLY.get_or_init(kills_a_child) {
        let why = "a seccomp filter kills who calls io_uring_setup (SIGSYS)";
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    Ok(())
}

fn is_filtered() -> bool {
    // SAFETY: tells the mode of the calling thread, and touches nothing.
    unsafe { libc::prctl(libc::PR_GET_SECCOMP) == libc::SECCOMP_MODE_FILTER as i32 }
}

fn kills_a_child() -> bool {
    // SAFETY: the child makes one system call, which makes no ring, since it asks for none of no size.
    let asked = unsafe {
        child::run(DEADLINE, |_| {
            libc::syscall(libc::SYS_io_uring_setup, 0, std::ptr::null_mut::<libc::c_void>());
        })
    };
    // Where there can be no child, the filter gets the benefit of the doubt: most answer with an errno.
    matches!(asked, Ok((_, Ending::Killed(libc::SIGSYS))))
}

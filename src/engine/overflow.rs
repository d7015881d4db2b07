//! Whether a listener has dropped anyone who came while its backlog was full.
#![allow(unsafe_code)] // neither nix nor socket2 knows SO_MEMINFO

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// True once the kernel has dropped a SYN, or the last step of a handshake, because the accept queue was full: the other
/// side learns nothing of that and tries again after a whole second.
///
/// `SO_MEMINFO` of `socket(7)` (Linux 4.12): nine counters, the last of them the drops.
pub(crate) fn has_dropped(listener: BorrowedFd<'_>) -> io::Result<bool> {
    const DROPS: usize = 8; // SK_MEMINFO_DROPS of linux/sock_diag.h
    let mut counters = [0u32; DROPS + 1];
    let mut length = size_of_val(&counters) as nix::libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `counters`, which is as long as that, and the length to `length`.
    let answer = unsafe {
        nix::libc::getsockopt(
            listener.as_raw_fd(),
            nix::libc::SOL_SOCKET,
            nix::libc::SO_MEMINFO,
            counters.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    Errno::result(answer)?;
    Ok(counters[DROPS] > 0)
}

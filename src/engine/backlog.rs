//! How many connections the backlog of a listener holds, how many wait there, whether it was full when one came, and that no
//! more come.
#![allow(unsafe_code)] // neither nix nor socket2 knows these options

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::{IPPROTO_TCP, SO_BINDTOIFINDEX, SO_MEMINFO, SOL_SOCKET, TCP_INFO, c_int, socklen_t};

/// True once the kernel has dropped a SYN, or the last step of a handshake, because the accept queue was full: the other
/// side learns nothing of that and tries again after a whole second.
///
/// `SO_MEMINFO` of `socket(7)` (Linux 4.12): nine counters, the last of them the drops.
pub(crate) fn has_overflowed(listener: BorrowedFd<'_>) -> io::Result<bool> {
    const DROPS: usize = 8; // SK_MEMINFO_DROPS of linux/sock_diag.h
    Ok(words::<{ DROPS + 1 }>(listener, SOL_SOCKET, SO_MEMINFO)?[DROPS] > 0)
}

/// So many connects to a listener may be under way at once, as far as they are ours, and none is dropped: what `listen(2)` was
/// told, or `net.core.somaxconn` where that is less.
///
/// `TCP_INFO` of `tcp(7)`: of a listener `tcpi_sacked` is that, as `ss` shows it.
pub(crate) fn room_of(listener: BorrowedFd<'_>) -> io::Result<u32> {
    const SACKED: usize = 7; // after eight bytes, the sixth word of `struct tcp_info` of linux/tcp.h
    Ok(words::<{ SACKED + 1 }>(listener, IPPROTO_TCP, TCP_INFO)?[SACKED])
}

/// How many wait to be accepted: of a listener `tcpi_unacked` is that.
pub(crate) fn waiting_at(listener: BorrowedFd<'_>) -> io::Result<u32> {
    const UNACKED: usize = 6;
    Ok(words::<{ UNACKED + 1 }>(listener, IPPROTO_TCP, TCP_INFO)?[UNACKED])
}

/// Lets nobody in any more: whoever connects is refused, and who is in the backlog stays there.
///
/// The listener is bound to a network interface that there is not. `SO_BINDTOIFINDEX` of `linux/socket.h` (Linux 5.0), for which
/// before 5.7 an ordinary user had no right.
pub(crate) fn bar(listener: BorrowedFd<'_>) -> io::Result<()> {
    let nowhere = c_int::MAX;
    let length = size_of_val(&nowhere) as socklen_t;
    // SAFETY: the kernel reads `length` bytes of `nowhere`, which is as long as that.
    let answer = unsafe {
        nix::libc::setsockopt(listener.as_raw_fd(), SOL_SOCKET, SO_BINDTOIFINDEX, (&raw const nowhere).cast(), length)
    };
    Errno::result(answer)?;
    Ok(())
}

/// The first words of what an option tells.
fn words<const COUNT: usize>(socket: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<[u32; COUNT]> {
    let mut words = [0u32; COUNT];
    let mut length = size_of_val(&words) as socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `words`, which is as long as that, and the length to `length`.
    let answer =
        unsafe { nix::libc::getsockopt(socket.as_raw_fd(), level, name, words.as_mut_ptr().cast(), &raw mut length) };
    Errno::result(answer)?;
    Ok(words)
}

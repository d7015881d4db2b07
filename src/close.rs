//! Resetting a connection at once, whoever else holds or uses the socket.
#![allow(unsafe_code)] // borrows a descriptor that is only known by number, and builds an address of no family

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socket2::{SockAddr, SockAddrStorage, SockRef};

/// Resets the connection at once: the other end reads `ECONNRESET`, an operation pending on this end is woken.
///
/// Dropping an end resets the connection too, but not while an operation is pending on it or a duplicate of it is open:
/// `close(2)` sends nothing as long as anyone else holds the socket. `abort` does. The socket itself stays open, and
/// unconnected, until it is dropped.
///
/// ```
/// use std::io::{ErrorKind, Read};
/// use std::net::TcpStream;
///
/// let (accepted, mut connected) = ringpair::PairOptions::new().make_pair_blocking::<TcpStream>().unwrap();
/// let _duplicate = accepted.try_clone().unwrap(); // dropping `accepted` would send nothing now
/// ringpair::abort(&accepted).unwrap();
/// assert_eq!(connected.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
/// ```
///
/// # Errors
///
/// What `connect(2)` says, with its errno: `ENOTSOCK` where the descriptor is no socket, `EBADF` where there is none.
///
/// # Source
///
/// `connect(2)`: a protocol's association is dissolved by connecting to an address of family `AF_UNSPEC`; for TCP on
/// Linux that sends RST.
pub fn abort<S: AsRawFd + ?Sized>(socket: &S) -> io::Result<()> {
    if socket.as_raw_fd() < 0 {
        return Err(Errno::EBADF.into()); // as one says who has closed it
    }
    // SAFETY: `socket` is borrowed for the whole call, and it keeps the descriptor that it names open meanwhile.
    let descriptor = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    let nowhere = SockAddrStorage::zeroed();
    let length = nowhere.size_of();
    // SAFETY: an all-zero storage is a whole address of family AF_UNSPEC, which has no fields beyond the family.
    let nowhere = unsafe { SockAddr::new(nowhere, length) };
    let socket = SockRef::from(&descriptor);
    let begin = Instant::now();
    loop {
        match socket.connect(&nowhere) {
            // Some kernels (Debian's 5.10 is one, 6.1 and 6.18 are not) refuse while a thread waits inside the socket. Shutting
            // the reading side sends nothing, and wakes who waits to read; who waits to write wants the other side too.
            Err(error) if is_busy(&error) && begin.elapsed() < PATIENCE => {
                let how = if begin.elapsed() < PATIENCE / 2 { Shutdown::Read } else { Shutdown::Both };
                let _ = socket.shutdown(how); // where that is refused, the next try tells
                std::thread::yield_now();
            }
            outcome => return outcome,
        }
    }
}

/// How long who waits inside the socket may take to leave it.
const PATIENCE: Duration = Duration::from_millis(200);

fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EBUSY as i32)
}

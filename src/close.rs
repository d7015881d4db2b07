//! Resetting a connection at once, whoever else holds or uses the socket.
#![allow(unsafe_code)] // borrows a descriptor that is only known by number, and builds an address of no family

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

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
/// What `connect(2)` says, with its errno: `ENOTSOCK` where the descriptor is no socket.
///
/// # Source
///
/// `connect(2)`: a protocol's association is dissolved by connecting to an address of family `AF_UNSPEC`; for TCP on
/// Linux that sends RST.
pub fn abort<S: AsRawFd + ?Sized>(socket: &S) -> io::Result<()> {
    // SAFETY: `socket` is borrowed for the whole call, and it keeps the descriptor that it names open meanwhile.
    let descriptor = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    let nowhere = SockAddrStorage::zeroed();
    let length = nowhere.size_of();
    // SAFETY: an all-zero storage is a whole address of family AF_UNSPEC, which has no fields beyond the family.
    let nowhere = unsafe { SockAddr::new(nowhere, length) };
    SockRef::from(&descriptor).connect(&nowhere)
}

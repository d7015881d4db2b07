//! [`abort`]: resets a connection at once.
#![allow(unsafe_code)] // builds an address of family AF_UNSPEC, for which socket2 has no safe constructor

use std::io;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socket2::{SockAddr, SockAddrStorage, SockRef};

use crate::streams::PairSocket;

/// Resets the connection at once, even if operations are pending or duplicates are open.
///
/// The other end reads `ECONNRESET`. Operations pending on this end complete. The socket stays open, unconnected, until it
/// is dropped. Dropping it is not enough: `close(2)` sends nothing while an operation or a duplicate holds the socket.
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
/// The errno of `connect(2)`: `ENOTSOCK` if the descriptor is not a socket, `EBUSY` if a thread stays blocked inside the
/// socket for 200 ms (seen on Linux 5.10).
///
/// # Source
///
/// `connect(2)`: connecting to an address of family `AF_UNSPEC` dissolves the association. For TCP, Linux sends RST.
pub fn abort<S: PairSocket>(socket: &S) -> io::Result<()> {
    let descriptor = socket.fd();
    let socket = SockRef::from(&descriptor);
    let nowhere = unspecified();
    let begin = Instant::now();
    loop {
        match socket.connect(&nowhere) {
            Err(error) if is_busy(&error) && begin.elapsed() < BUSY_FOR => {
                wake_blocked_threads(&socket, begin.elapsed());
                thread::yield_now();
            }
            outcome => return outcome,
        }
    }
}

/// How long to retry while a thread is blocked inside the socket.
const BUSY_FOR: Duration = Duration::from_millis(200);

/// Linux 5.10, unlike 6.1 and later, refuses to disconnect a socket while a thread is blocked inside it.
fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EBUSY as i32)
}

/// Shuts the socket down so that blocked threads leave it: reading first, which sends nothing, then both directions.
fn wake_blocked_threads(socket: &SockRef<'_>, busy_for: Duration) {
    let how = if busy_for < BUSY_FOR / 2 { Shutdown::Read } else { Shutdown::Both };
    let _ = socket.shutdown(how); // if this fails, the next connect reports why
}

/// Returns an address of family `AF_UNSPEC`.
fn unspecified() -> SockAddr {
    let storage = SockAddrStorage::zeroed();
    let length = storage.size_of();
    // SAFETY: an all-zero storage is a valid address of family AF_UNSPEC, which has no other fields. `length` is its size.
    unsafe { SockAddr::new(storage, length) }
}

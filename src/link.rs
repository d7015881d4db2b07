//! Breaks a live pair on purpose, and mends it: no root, no proxy, no network namespace.
//!
//! | you want | call |
//! |---|---|
//! | a peer that has vanished: nothing arrives at either end | [`partition`], undone by [`heal`] |
//! | a lost FIN or RST, a half-open connection: nothing arrives at this end | [`deafen`], undone by [`hear`] |
//! | an end that sends slowly | [`throttle`] |
//! | an end whose next write blocks | [`clog`] |
//! | proof that packets were dropped | [`drops`] |
//!
//! ```
//! use std::io::{ErrorKind, Read, Write};
//! use std::net::TcpStream;
//! use std::time::Duration;
//!
//! use ringpair::{PairOptions, link};
//!
//! # fn main() -> std::io::Result<()> {
//! let (mut accepted, mut connected) = PairOptions::graceful().make_pair_blocking::<TcpStream>()?;
//! link::partition(&accepted, &connected)?;
//! connected.write_all(b"ping")?; // the kernel takes the bytes, and they do not arrive
//! accepted.set_read_timeout(Some(Duration::from_millis(50)))?;
//! assert_eq!(accepted.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock);
//!
//! link::heal(&accepted, &connected)?;
//! accepted.set_read_timeout(None)?;
//! let mut read = [0; 4];
//! accepted.read_exact(&mut read)?; // the kernel sends them again
//! assert_eq!(&read, b"ping");
//! # Ok(())
//! # }
//! ```
//!
//! Works on every [`PairSocket`], a mocket in front of a socket included, also while operations are pending. Nothing is kept
//! outside the socket: [`heal`] undoes everything that [`partition`] and [`deafen`] do, and dropping the ends leaves nothing
//! behind.
//!
//! # How long healing takes
//!
//! What was lost is sent again when the sender's timers expire: a tail loss probe after 0.2 s, then retransmissions, each wait
//! twice as long as the one before. Data that was written just after [`partition`] arrives this long after [`heal`] (medians of
//! five connections, Linux 6.18):
//!
//! | heal after | data arrives after another | sent at |
//! |---|---|---|
//! | 0.1 s | 0.1 s | 0.2 s |
//! | 0.3 s | 0.1 s | 0.4 s |
//! | 0.5 s | 0.3 s | 0.8 s |
//! | 1 s | 0.7 s | 1.7 s |
//! | 2 s | 1.3 s | 3.3 s |
//! | 5 s | 1.7 s | 6.7 s |
//! | 10 s | 3.3 s | 13.3 s |
//!
//! Nothing quickens this: what the same end writes after [`heal`] waits behind what was lost, and data from the other end does
//! not bring it along. In a direction in which nothing was lost, data arrives at once.
//!
//! # What it cannot do
//!
//! Delay, reordering and random loss of single packets: use `tc qdisc add dev lo root netem` in a network namespace.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::PollFlags;
use socket2::SockRef;

use crate::netstat;
use crate::poll::poll_one;
use crate::sockets::{set_max_pacing_rate, set_min_hops_of_any};
use crate::streams::PairSocket;

/// The maximum hop count. Packets on loopback have 64 hops left by default.
const NONE_ARRIVES: i32 = 255;

/// Makes the kernel drop everything that arrives at this end: data, ACK, FIN and RST.
///
/// The end still sends; its peer's answers are lost. [`hear`] undoes it.
///
/// ```
/// use std::io::{ErrorKind, Read};
/// use std::net::TcpStream;
/// use std::time::Duration;
///
/// use ringpair::{PairOptions, link};
///
/// let (accepted, mut connected) = PairOptions::graceful().make_pair_blocking::<TcpStream>().unwrap();
/// link::deafen(&connected).unwrap();
/// drop(accepted); // its FIN is lost: the connection is half-open
/// connected.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
/// assert_eq!(connected.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock); // no end of file
/// ```
///
/// # Errors
///
/// The errno of `setsockopt(2)`, after the name of the option: `ENOPROTOOPT` or `EOPNOTSUPP` if this is no TCP socket, `EPERM`
/// if a sandbox refuses.
///
/// # Source
///
/// `IP_MINTTL` of `ip(7)`, and `IPV6_MINHOPCOUNT` (Linux 2.6.35), at 255: packets on loopback have 64 hops left.
pub fn deafen<S: PairSocket>(end: &S) -> io::Result<()> {
    set_min_hops_of_any(end.fd(), NONE_ARRIVES)
}

/// Lets packets arrive at this end again: undoes [`deafen`]. Does nothing if the end was not deaf.
///
/// ```
/// use std::io::Read;
/// use std::net::TcpStream;
///
/// use ringpair::{PairOptions, link};
///
/// let (accepted, mut connected) = PairOptions::graceful().make_pair_blocking::<TcpStream>().unwrap();
/// link::deafen(&connected).unwrap();
/// drop(accepted);
/// link::hear(&connected).unwrap();
/// assert_eq!(connected.read(&mut [0]).unwrap(), 0); // the kernel has sent the FIN again
/// ```
///
/// # Errors
///
/// As [`deafen`].
pub fn hear<S: PairSocket>(end: &S) -> io::Result<()> {
    set_min_hops_of_any(end.fd(), 0)
}

/// Makes each end lose everything that the other end sends: for both, the peer has vanished. [`heal`] undoes it.
///
/// Writes succeed until the send buffer is full. `TCP_USER_TIMEOUT` and keepalive of `tcp(7)` fail with `ETIMEDOUT`; without
/// them a reader waits forever, and a writer gives up after about 15 minutes.
///
/// ```
/// use std::io::{ErrorKind, Read, Write};
/// use std::net::TcpStream;
/// use std::time::Duration;
///
/// use ringpair::{PairOptions, SockRef, link};
///
/// let (accepted, mut connected) = PairOptions::graceful().make_pair_blocking::<TcpStream>().unwrap();
/// SockRef::from(&connected).set_tcp_user_timeout(Some(Duration::from_millis(300))).unwrap();
/// link::partition(&accepted, &connected).unwrap();
/// connected.write_all(b"still there?").unwrap();
/// assert_eq!(connected.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
/// ```
///
/// # Errors
///
/// As [`deafen`]; neither end is deaf then.
///
/// # Source
///
/// As [`deafen`].
pub fn partition<A: PairSocket, B: PairSocket>(one: &A, other: &B) -> io::Result<()> {
    deafen(one)?;
    deafen(other).inspect_err(|_| drop(hear(one)))
}

/// Lets both ends hear each other again: undoes [`partition`], and [`deafen`] of either end.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
///
/// use ringpair::{PairOptions, link};
///
/// let (mut accepted, mut connected) = PairOptions::graceful().make_pair_blocking::<TcpStream>().unwrap();
/// for part in [b"one", b"two"] {
///     link::partition(&accepted, &connected).unwrap();
///     connected.write_all(part).unwrap();
///     link::heal(&accepted, &connected).unwrap();
///     let mut read = [0; 3];
///     accepted.read_exact(&mut read).unwrap();
///     assert_eq!(&read, part);
/// }
/// ```
///
/// # Errors
///
/// As [`deafen`]. If one end fails, the other end still hears again.
pub fn heal<A: PairSocket, B: PairSocket>(one: &A, other: &B) -> io::Result<()> {
    hear(one).and(hear(other))
}

/// Limits how fast this end sends, in bytes per second. `None` takes the limit away.
///
/// The limit is an average. Loopback has large packets, and the kernel sends at least two in a burst: expect steps of 128 KiB.
/// It limits neither what the end receives nor how fast `write` fills the send buffer.
///
/// ```
/// use std::net::TcpStream;
///
/// use ringpair::{PairOptions, link};
///
/// let (accepted, _connected) = PairOptions::graceful().make_pair_blocking::<TcpStream>().unwrap();
/// link::throttle(&accepted, Some(1 << 20)).unwrap(); // a mebibyte a second
/// link::throttle(&accepted, None).unwrap();
/// ```
///
/// # Errors
///
/// `InvalidInput` for 0: use [`partition`]. Otherwise the errno of `setsockopt(2)`, after the name of the option.
///
/// # Source
///
/// `SO_MAX_PACING_RATE` of `socket(7)` (Linux 3.13); without the `fq` packet scheduler TCP paces by itself (Linux 4.13).
pub fn throttle<S: PairSocket>(end: &S, bytes_per_second: Option<u32>) -> io::Result<()> {
    match bytes_per_second {
        Some(0) => Err(io::Error::new(ErrorKind::InvalidInput, "the rate is 0 bytes per second; use link::partition")),
        rate => set_max_pacing_rate(end.fd(), rate.unwrap_or(u32::MAX)), // the kernel's value for no limit
    }
}

/// How long an end must take no more bytes to count as full. A delayed ACK makes room after 40 ms, and the first window probe
/// after 200 ms (seen on 6.18).
const QUIET: Duration = Duration::from_millis(500);

/// After this time, a peer that still makes room must be reading.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fills this end until it takes no more, and returns how many bytes that were. All of them are zero. Takes about a second.
///
/// Afterwards a blocking write blocks, and a non-blocking one fails with `EAGAIN`, until the peer reads. The bytes lie in this
/// end's send buffer and in the peer's receive buffer, some megabytes unless
/// [`send_buffer_size`](crate::PairOptions::send_buffer_size) and
/// [`recv_buffer_size`](crate::PairOptions::recv_buffer_size) are small.
///
/// ```
/// use std::io::{ErrorKind, Read, Write};
/// use std::net::TcpStream;
///
/// use ringpair::{PairOptions, link};
///
/// # fn main() -> std::io::Result<()> {
/// let options = PairOptions::graceful().send_buffer_size(4096).recv_buffer_size(4096);
/// let (mut accepted, mut connected) = options.make_pair_blocking::<TcpStream>()?;
/// let bytes = link::clog(&connected)?;
/// connected.set_nonblocking(true)?;
/// assert_eq!(connected.write(b"more").unwrap_err().kind(), ErrorKind::WouldBlock);
/// drop(connected);
/// assert_eq!(accepted.read_to_end(&mut Vec::new())?, bytes);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// `TimedOut` if the peer still reads after five seconds. Otherwise the errno of `send(2)`.
///
/// # Source
///
/// `send(2)` with `MSG_DONTWAIT`, and `poll(2)`.
pub fn clog<S: PairSocket>(end: &S) -> io::Result<usize> {
    let descriptor = end.fd();
    let socket = SockRef::from(&descriptor);
    let zeros = [0; 65536];
    let (begin, mut sent, mut was_quiet) = (Instant::now(), 0, false);
    while begin.elapsed() < PATIENCE {
        match socket.send_with_flags(&zeros, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) {
            Ok(count) => (sent, was_quiet) = (sent + count, false),
            Err(error) if error.kind() == ErrorKind::WouldBlock && was_quiet => return Ok(sent),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                was_quiet = !poll_one(descriptor, PollFlags::POLLOUT, QUIET)?
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(ErrorKind::TimedOut, format!("after {PATIENCE:?} the peer still takes bytes: it reads them")))
}

/// Returns how many packets the kernel has dropped for [`deafen`] and [`partition`] so far, on all sockets of this network
/// namespace.
///
/// ```
/// use std::io::Write;
/// use std::net::TcpStream;
///
/// use ringpair::{PairOptions, link};
///
/// let (accepted, mut connected) = PairOptions::graceful().make_pair_blocking::<TcpStream>().unwrap();
/// let before = link::drops().unwrap();
/// link::deafen(&accepted).unwrap();
/// connected.write_all(b"lost").unwrap();
/// while link::drops().unwrap() == before {} // until the packet has arrived
/// ```
///
/// The counter also counts packets that other programs' `IP_MINTTL` drops, and the gate of a factory among strangers.
///
/// # Errors
///
/// If there is no `/proc`, or the kernel does not count them.
///
/// # Source
///
/// `TCPMinTTLDrop` in `/proc/net/netstat` (Linux 2.6.35).
pub fn drops() -> io::Result<u64> {
    netstat::in_table(&netstat::read("netstat")?, "TcpExt:", "TCPMinTTLDrop")
}

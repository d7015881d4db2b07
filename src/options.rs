//! The options of pairs.

mod plan;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

pub(crate) use self::plan::{Choice, FinalLinger, Plan, Shape, checked, chosen_by_the_environment, needs_the_ring};
#[cfg(doc)]
use crate::error::Step;

/// What closing an end does to the other end: `SO_LINGER` of `socket(7)`.
///
/// | the test asserts | choose |
/// |---|---|
/// | nothing about closing, or that the other end is reset | `Reset` (the default) |
/// | end of file, half-close, that every byte arrives | `Graceful` |
/// | that `close` returns only when the other end's kernel has every byte, or the time is up | `Wait` |
///
/// With every choice: an end first reads what arrived before a reset, then gets `ECONNRESET`; an end that closes with unread
/// bytes sends RST; and when both ends have called `shutdown(Write)`, closing leaves a TIME_WAIT.
///
/// ```
/// use std::io::{ErrorKind, Read};
/// use std::net::TcpStream;
/// use ringpair::{Linger, PairOptions};
///
/// for (linger, reads) in [(Linger::Reset, Err(ErrorKind::ConnectionReset)), (Linger::Graceful, Ok(0))] {
///     let (accepted, mut connected) = PairOptions::new().linger(linger).make_pair_blocking::<TcpStream>().unwrap();
///     drop(accepted);
///     assert_eq!(connected.read(&mut [0]).map_err(|error| error.kind()), reads);
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Linger {
    /// `close` sends RST: the other end reads `ECONNRESET`, and no TIME_WAIT is left. Bytes that were written and not yet sent
    /// are dropped. `SO_LINGER {1, 0}`.
    #[default]
    Reset,
    /// `close` returns at once, and FIN follows the last written byte: the other end reads to the end of file, and the end that
    /// closed first is left in TIME_WAIT. `SO_LINGER {0, 0}`.
    Graceful,
    /// As `Graceful`, but `close`, and so dropping the end, blocks until the other end's kernel has every byte, at most for
    /// this time. Whole seconds from 1 to 4,294,967 (49 days): the kernel counts in seconds, 0 would be a reset, and older
    /// kernels overflow beyond that. The other end's kernel may delay its acknowledgement by 40 ms. A signal ends the wait
    /// early, and so may a completion on a ring of the same thread, or dropping a ring (seen on 6.18).
    /// `SO_LINGER {1, seconds}`.
    Wait(Duration),
}

/// The engine that drives accept and connect.
///
/// ```
/// use ringpair::{Backend, PairOptions, Step};
///
/// match PairOptions::new().backend(Backend::Uring).factory() {
///     Ok(factory) => assert_eq!(factory.backend(), Backend::Uring),
///     Err(error) => assert_eq!(error.step(), Step::Ring), // no ring here, and no falling back
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Backend {
    /// The ring, or epoll if the ring is absent and the feature `epoll` is enabled. Absence means `ENOSYS`, `EPERM`, `EACCES` or
    /// `EOPNOTSUPP` from `io_uring_setup(2)`, or a seccomp filter that kills its callers, or that may kill them while no child
    /// process can be started. Any other error reaches the caller.
    ///
    /// A child process, a fork of this one, finds out whether a filter of the thread kills: once for the filters that the
    /// process began with, and once in each thread that has added filters. A thread without filters, as is usual outside
    /// containers, does not fork.
    ///
    /// `RINGPAIR_BACKEND=uring` or `epoll` in the environment selects the engine instead. `RINGPAIR_REQUIRE_URING=1`
    /// (or `true`, `yes`, `on`) turns the fallback off; `0`, `false`, `no` and `off` leave it on. Other values are an error.
    #[default]
    Auto,
    /// io_uring.
    Uring,
    /// epoll and plain system calls that never wait. Needs the feature `epoll`.
    Epoll,
}

/// Which end of a pair; see [`PairOptions::configure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The end that the listener accepted; the first of a pair.
    Accepted,
    /// The end that connected; the second of a pair.
    Connected,
}

/// The closure of [`PairOptions::configure`].
pub(crate) type Configure = dyn Fn(End, &SockRef<'_>) -> io::Result<()> + Send + Sync;

/// The options of pairs. Cheap to clone, and usable for any number of pairs and factories.
///
/// ```
/// use std::net::TcpStream;
/// use ringpair::{Linger, PairOptions};
///
/// # fn main() -> ringpair::Result<()> {
/// let options = PairOptions::new().linger(Linger::Graceful).nodelay(true);
/// let (accepted, connected) = options.make_pair_blocking::<TcpStream>()?;
/// assert!(accepted.nodelay().unwrap() && connected.nodelay().unwrap());
/// # Ok(())
/// # }
/// ```
///
/// The calls that make pairs and factories check the options before they open anything. Invalid options are an error of
/// [`Step::Options`] and of kind `InvalidInput`; an engine or a stream type that cannot be used here is one of kind
/// `Unsupported`.
#[derive(Clone)]
pub struct PairOptions {
    linger: Linger,
    address: IpAddr,
    backend: Backend,
    timeout: Duration,
    nodelay: Option<bool>,
    recv_buffer_size: Option<usize>,
    send_buffer_size: Option<usize>,
    reuse_address: bool,
    configure: Option<Arc<Configure>>,
}

impl PairOptions {
    /// Creates the default options: reset on close, 127.0.0.1, a timeout of ten seconds, and the kernel's defaults for everything
    /// else.
    pub fn new() -> Self {
        PairOptions {
            linger: Linger::Reset,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            backend: Backend::Auto,
            timeout: Duration::from_secs(10),
            nodelay: None,
            recv_buffer_size: None,
            send_buffer_size: None,
            reuse_address: true,
            configure: None,
        }
    }

    /// Creates the default options with a graceful close: `PairOptions::new().linger(Linger::Graceful)`.
    ///
    /// ```
    /// use std::io::Read;
    /// use std::net::TcpStream;
    /// use ringpair::PairOptions;
    ///
    /// let (accepted, mut connected) = PairOptions::graceful().make_pair_blocking::<TcpStream>().unwrap();
    /// drop(accepted);
    /// assert_eq!(connected.read(&mut [0]).unwrap(), 0); // end of file
    /// ```
    pub fn graceful() -> Self {
        PairOptions::new().linger(Linger::Graceful)
    }

    /// Sets what closing either end does. Default: [`Linger::Reset`].
    pub fn linger(mut self, linger: Linger) -> Self {
        self.linger = linger;
        self
    }

    /// Sets the address of both ends: any of 127.0.0.0/8, or `::1`. Default: 127.0.0.1. All other addresses are refused.
    ///
    /// ```
    /// use std::net::{Ipv4Addr, TcpStream};
    /// use ringpair::PairOptions;
    ///
    /// let elsewhere = Ipv4Addr::new(127, 1, 2, 3);
    /// let options = PairOptions::new().address(elsewhere.into());
    /// let (accepted, connected) = options.make_pair_blocking::<TcpStream>().unwrap();
    /// assert_eq!(accepted.local_addr().unwrap().ip(), elsewhere);
    /// assert_eq!(connected.local_addr().unwrap().ip(), elsewhere);
    /// ```
    ///
    /// If it is an IPv4 address other than 127.0.0.1, the connecting end is bound to it too, with `IP_BIND_ADDRESS_NO_PORT` of
    /// `ip(7)` (Linux 4.2). Otherwise the kernel would choose 127.0.0.1 for that end.
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// Sets the engine that makes the pair. Default: [`Backend::Auto`].
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// Sets how long a call may wait for a pair, or for one submission of a batch. Default: ten seconds. Zero is refused.
    ///
    /// The time starts when a call first has to wait: for the handshake, or for one of a factory's engines. A pair that is made
    /// without waiting is never late. When the time is up, the call fails with [`Step::Timeout`], in every executor, even if the
    /// clock of a tokio runtime is paused.
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    /// use ringpair::{PairOptions, Step};
    ///
    /// match PairOptions::new().timeout(Duration::from_millis(1)).make_pair_blocking::<TcpStream>() {
    ///     Ok(_) => {} // usually: there was nothing to wait for
    ///     Err(error) => assert_eq!(error.step(), Step::Timeout),
    /// }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Turns Nagle's algorithm off (`true`) or on (`false`) at both ends: `TCP_NODELAY` of `tcp(7)`.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = Some(nodelay);
        self
    }

    /// Sets the size of both receive buffers in bytes, from 1 to `i32::MAX`: `SO_RCVBUF` of `socket(7)`. The kernel limits it to
    /// `net.core.rmem_max`, doubles it for its own bookkeeping, and has a minimum.
    ///
    /// ```
    /// use ringpair::PairOptions;
    /// use socket2::Socket;
    ///
    /// let options = PairOptions::new().recv_buffer_size(16 * 1024).send_buffer_size(8 * 1024);
    /// let (accepted, connected) = options.make_pair_blocking::<Socket>().unwrap();
    /// for end in [accepted, connected] {
    ///     assert_eq!((end.recv_buffer_size().unwrap(), end.send_buffer_size().unwrap()), (32 * 1024, 16 * 1024));
    /// }
    /// ```
    pub fn recv_buffer_size(mut self, bytes: usize) -> Self {
        self.recv_buffer_size = Some(bytes);
        self
    }

    /// Sets the size of both send buffers in the same way: `SO_SNDBUF` of `socket(7)`, limited by `net.core.wmem_max`.
    pub fn send_buffer_size(mut self, bytes: usize) -> Self {
        self.send_buffer_size = Some(bytes);
        self
    }

    /// Sets `SO_REUSEADDR` of `socket(7)` on the listener. Default: `true`. `SO_REUSEPORT` is never set.
    pub fn reuse_address(mut self, reuse: bool) -> Self {
        self.reuse_address = reuse;
        self
    }

    /// Sets further socket options with a closure, after all other options and before the pair is handed out.
    ///
    /// The closure is called for the accepted end, then for the connected one. If it fails, both ends are closed and the call
    /// fails with [`Step::SetOption`].
    ///
    /// ```
    /// use ringpair::{End, PairOptions};
    ///
    /// let options = PairOptions::new().configure(|end, socket| match end {
    ///     End::Accepted => socket.set_keepalive(true),
    ///     End::Connected => Ok(()),
    /// });
    /// let (accepted, _connected) = options.make_pair_blocking::<socket2::Socket>().unwrap();
    /// assert!(accepted.keepalive().unwrap());
    /// ```
    pub fn configure<F>(mut self, configure: F) -> Self
    where
        F: Fn(End, &SockRef<'_>) -> io::Result<()> + Send + Sync + 'static,
    {
        self.configure = Some(Arc::new(configure));
        self
    }
}

impl Default for PairOptions {
    fn default() -> Self {
        PairOptions::new()
    }
}

impl fmt::Debug for PairOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairOptions")
            .field("linger", &self.linger)
            .field("address", &self.address)
            .field("backend", &self.backend)
            .field("timeout", &self.timeout)
            .field("nodelay", &self.nodelay)
            .field("recv_buffer_size", &self.recv_buffer_size)
            .field("send_buffer_size", &self.send_buffer_size)
            .field("reuse_address", &self.reuse_address)
            .field("configure", &self.configure.as_ref().map(|_| "Fn"))
            .finish()
    }
}

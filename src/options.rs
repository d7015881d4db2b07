//! What a caller may choose about a pair, and the check that turns a choice into a plan before anything is opened.

use std::env;
use std::fmt;
use std::io::{self, ErrorKind, ErrorKind::InvalidInput};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

use crate::error::{Error, Result, Step};

/// What `close` does to the other end: `SO_LINGER` of `socket(7)`.
///
/// | the test asserts | choose |
/// |---|---|
/// | nothing about closing, or that the other end is reset | `Reset` (the default) |
/// | end of file, half-close, that every byte arrives | `Graceful` |
/// | that `close` returns only when the other end's kernel has every byte, or the time is up | `Wait` |
///
/// Whatever is chosen: what has arrived before a reset is read before `ECONNRESET` is; an end that closes with unread bytes
/// sends RST; and when both ends have called `shutdown(Write)`, closing leaves a TIME_WAIT.
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
    /// `close` sends RST: the other end reads `ECONNRESET`, and no TIME_WAIT is left. What was written and not yet sent
    /// is dropped. `SO_LINGER {1, 0}`.
    #[default]
    Reset,
    /// `close` sends FIN after all that was written, and returns at once: the other end reads to the end of file, and
    /// the end that closed first is left in TIME_WAIT. `SO_LINGER {0, 0}`.
    Graceful,
    /// As `Graceful`, but `close`, and so dropping the end, blocks until the other end's kernel has it all, this long at most. In whole seconds,
    /// from 1 to 4,294,967 (49 days): the kernel counts nothing finer, 0 would be a reset, and more overflows the clock ticks
    /// of older kernels. A signal ends the waiting early, and so may the dropping of a ring in the same thread (seen on 6.18).
    /// `SO_LINGER {1, seconds}`.
    Wait(Duration),
}

/// What drives accept and connect.
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
    /// The ring; where there is none for the calling thread, and the feature `epoll` is there, epoll. Only absence falls back:
    /// `ENOSYS`, `EPERM`, `EACCES` and `EOPNOTSUPP` from `io_uring_setup(2)`, and a seccomp filter that kills who calls it. Any
    /// other error reaches the caller.
    ///
    /// Whether a filter of the thread kills is found out by a child process, a copy of this one, as [`probe`](crate::probe())
    /// does: once for the filters that the process began with, and once in each thread that has got others. A thread without
    /// filters, which is the rule outside containers, forks none.
    ///
    /// `RINGPAIR_BACKEND=uring` or `epoll` in the environment decides instead, and `RINGPAIR_REQUIRE_URING=1` keeps it from
    /// falling back.
    #[default]
    Auto,
    /// io_uring.
    Uring,
    /// epoll, with plain system calls that never wait. Needs the feature `epoll`.
    Epoll,
}

/// Which engine is wanted, when all has been heard that has a say in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Uring,
    #[cfg(feature = "epoll")]
    Epoll,
    /// The ring, or where there is none, epoll.
    #[cfg(feature = "epoll")]
    UringOrEpoll,
}

/// Which end of a pair; see [`PairOptions::configure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The one that the listener accepted; the first of the two.
    Accepted,
    /// The one that connected; the second.
    Connected,
}

/// What [`PairOptions::configure`] takes.
pub(crate) type Configure = dyn Fn(End, &SockRef<'_>) -> io::Result<()> + Send + Sync;

/// What a pair is to be like. Cheap to clone; one value makes as many pairs as wanted.
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
/// Options are checked when a pair or a factory is asked for, before anything is opened; one that cannot be is an error
/// of [`Step::Options`] and of kind `InvalidInput`, an engine that is not there one of kind `Unsupported`.
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
    /// The defaults: reset on close, 127.0.0.1, ten seconds a pair, everything else as the kernel has it.
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

    /// What closing either end does; [`Linger::Reset`] unless told.
    pub fn linger(mut self, linger: Linger) -> Self {
        self.linger = linger;
        self
    }

    /// Where both ends lie: any address of 127.0.0.0/8, or `::1`. Anything else is refused: a fixture stays on loopback.
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
    /// Towards another address of 127.0.0.0/8 than 127.0.0.1 the connecting end is bound too, with `IP_BIND_ADDRESS_NO_PORT` of
    /// `ip(7)` (Linux 4.2); else the kernel would have it lie at 127.0.0.1.
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// Which engine makes the pair; [`Backend::Auto`] unless told.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// How long the making of one pair, or of one submission in a batch, may be waited for; ten seconds unless told. Zero is
    /// refused. A pair that is through without waiting is never late.
    ///
    /// An async call learns of the end of that time from its runtime, as of all else. A runtime of one thread that is entered
    /// but not run, by another executor's `block_on` within it, tells nobody anything: there a late pair is waited for without end.
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    /// use ringpair::{PairOptions, Step};
    ///
    /// match PairOptions::new().timeout(Duration::from_millis(1)).make_pair_blocking::<TcpStream>() {
    ///     Ok(_) => {} // as a rule: there was nothing to wait for
    ///     Err(error) => assert_eq!(error.step(), Step::Timeout),
    /// }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Turns Nagle's algorithm off (`true`) or on, at both ends: `TCP_NODELAY` of `tcp(7)`.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = Some(nodelay);
        self
    }

    /// The receive buffer of both ends in bytes, from 1 to `i32::MAX`: `SO_RCVBUF` of `socket(7)`. The kernel doubles it
    /// for its own book-keeping and keeps it between its least size and `net.core.rmem_max`.
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

    /// The send buffer of both ends in bytes, likewise: `SO_SNDBUF` of `socket(7)`, capped by `net.core.wmem_max`.
    pub fn send_buffer_size(mut self, bytes: usize) -> Self {
        self.send_buffer_size = Some(bytes);
        self
    }

    /// Whether the listener has `SO_REUSEADDR` (`socket(7)`); it does unless told. Never `SO_REUSEPORT`.
    pub fn reuse_address(mut self, reuse: bool) -> Self {
        self.reuse_address = reuse;
        self
    }

    /// Sets whatever else the test needs, on each end, after all other options and before the pair is handed out.
    ///
    /// It is called for the accepted end, then for the connected one; an error ends the making with [`Step::SetOption`]
    /// and closes both.
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

    /// Checks every choice, and turns them into what the makers of pairs go by.
    pub(crate) fn plan(&self) -> Result<Plan> {
        if !is_offered(self.address) {
            let why = format!("{} is not a loopback address (127.0.0.0/8 or ::1)", self.address);
            return Err(Step::Options.refused(InvalidInput, why));
        }
        if self.timeout.is_zero() {
            return Err(Step::Options.refused(InvalidInput, "the timeout is zero"));
        }
        Ok(Plan {
            choice: chosen(self.backend)?,
            linger: seconds_of(self.linger)?,
            address: self.address,
            timeout: self.timeout,
            nodelay: self.nodelay,
            recv_buffer_size: checked_size("receive", self.recv_buffer_size)?,
            send_buffer_size: checked_size("send", self.send_buffer_size)?,
            reuse_address: self.reuse_address,
            configure: self.configure.clone(),
        })
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

/// Options that have been checked: whoever holds a plan need not look again.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) choice: Choice,
    /// What the ends are set to once they have met; `None` leaves them as they are made: resetting.
    pub(crate) linger: Option<Softer>,
    pub(crate) address: IpAddr,
    pub(crate) timeout: Duration,
    pub(crate) nodelay: Option<bool>,
    pub(crate) recv_buffer_size: Option<usize>,
    pub(crate) send_buffer_size: Option<usize>,
    pub(crate) reuse_address: bool,
    pub(crate) configure: Option<Arc<Configure>>,
}

/// A linger other than the reset with which every socket here begins: what `SO_LINGER` is to be, `None` for off.
#[derive(Clone, Copy)]
pub(crate) struct Softer(pub(crate) Option<Duration>);

impl Plan {
    /// The same for a stream that lives on a ring only: no falling back.
    pub(crate) fn on_a_ring(self) -> Result<Plan> {
        match self.choice {
            #[cfg(feature = "epoll")]
            Choice::Epoll => Err(needs_the_ring()),
            _ => Ok(Plan { choice: Choice::Uring, ..self }),
        }
    }
}

/// What a stream that lives on a ring is answered where pairs are made by epoll.
pub(crate) fn needs_the_ring() -> Error {
    let why = "this stream type needs io_uring, but these pairs are made by epoll";
    Step::Options.refused(ErrorKind::Unsupported, why)
}

fn chosen(backend: Backend) -> Result<Choice> {
    match backend {
        Backend::Uring => Ok(Choice::Uring),
        Backend::Epoll => epoll(),
        Backend::Auto => match env::var_os("RINGPAIR_BACKEND") {
            None => Ok(default_choice()),
            Some(name) if name == "uring" => Ok(Choice::Uring),
            Some(name) if name == "epoll" => epoll(),
            Some(name) => {
                let why = format!("RINGPAIR_BACKEND is {name:?}; it takes uring or epoll");
                Err(Step::Options.refused(InvalidInput, why))
            }
        },
    }
}

#[cfg(feature = "epoll")]
fn epoll() -> Result<Choice> {
    Ok(Choice::Epoll)
}

#[cfg(not(feature = "epoll"))]
fn epoll() -> Result<Choice> {
    let why = "the epoll engine needs ringpair's feature `epoll`";
    Err(Step::Options.refused(ErrorKind::Unsupported, why))
}

#[cfg(feature = "epoll")]
fn default_choice() -> Choice {
    if is_ring_required() { Choice::Uring } else { Choice::UringOrEpoll }
}

#[cfg(not(feature = "epoll"))]
fn default_choice() -> Choice {
    Choice::Uring
}

/// Whether a missing ring is to be a failure wherever something else could be done.
pub(crate) fn is_ring_required() -> bool {
    env::var_os("RINGPAIR_REQUIRE_URING").is_some_and(|value| value == "1")
}

fn is_offered(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address == Ipv6Addr::LOCALHOST,
    }
}

/// In seconds. Kernels have kept it as a 32-bit number of clock ticks, of which there are 1,000 a second at most; the rest was
/// cut off.
const LONGEST_WAIT: u64 = u32::MAX as u64 / 1000;

fn seconds_of(linger: Linger) -> Result<Option<Softer>> {
    match linger {
        Linger::Reset => Ok(None),
        Linger::Graceful => Ok(Some(Softer(None))),
        Linger::Wait(wait) if wait.subsec_nanos() == 0 && (1..=LONGEST_WAIT).contains(&wait.as_secs()) => {
            Ok(Some(Softer(Some(wait))))
        }
        Linger::Wait(wait) => {
            let why = format!("Linger::Wait takes whole seconds from 1 to {LONGEST_WAIT}, not {wait:?}");
            Err(Step::Options.refused(InvalidInput, why))
        }
    }
}

fn checked_size(which: &str, bytes: Option<usize>) -> Result<Option<usize>> {
    match bytes {
        Some(bytes) if bytes == 0 || i32::try_from(bytes).is_err() => {
            let why = format!("the {which} buffer size must be from 1 to {} bytes, not {bytes}", i32::MAX);
            Err(Step::Options.refused(InvalidInput, why))
        }
        fits => Ok(fits),
    }
}

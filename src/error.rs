//! What can go wrong on the way to a pair: the step, and what the kernel said.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// A `Result` whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The step on the way to a pair at which an [`Error`] came up.
///
/// ```
/// use std::net::TcpStream;
/// use ringpair::{PairOptions, Step};
///
/// let factory = PairOptions::new().factory().unwrap();
/// let error = factory.pairs_blocking::<TcpStream>(usize::MAX).unwrap_err();
/// let advice = match (error.step(), error.raw_os_error()) {
///     (Step::Socket | Step::Accept, Some(24)) => "raise ulimit -n", // EMFILE
///     (Step::Ring, _) => "see what `ringpair doctor` says",
///     _ => "",
/// };
/// assert_eq!(advice, "raise ulimit -n");
/// assert_eq!(error.step().to_string(), "a socket could not be opened");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// What was asked for cannot be had here: options that cannot be, or an async call outside a runtime. Nothing was opened.
    Options,
    /// Setting up an engine, or submitting to it: `io_uring_setup(2)`, `io_uring_enter(2)`.
    Ring,
    /// Opening a socket: `socket(2)`.
    Socket,
    /// Giving the listener its address: `bind(2)`.
    Bind,
    /// Listening: `listen(2)`.
    Listen,
    /// Connecting: `IORING_OP_CONNECT`, `connect(2)`.
    Connect,
    /// Accepting: `IORING_OP_ACCEPT`, `accept(2)`.
    Accept,
    /// Asking who is at the other end: `getsockname(2)`, `getpeername(2)`.
    Verify,
    /// Setting an option, the caller's own `configure` among them: `setsockopt(2)`.
    SetOption,
    /// Turning a descriptor into the stream that was asked for.
    Convert,
    /// The time allowed for one pair ran out.
    Timeout,
}

impl Step {
    /// Makes the closure that turns an `io::Error` into an [`Error`] of this step, for `map_err`.
    pub(crate) fn failed<E: Into<io::Error>>(self) -> impl FnOnce(E) -> Error {
        move |source| Error { step: self, source: source.into() }
    }

    /// An error of this step that no system call reported.
    pub(crate) fn refused(self, kind: io::ErrorKind, why: impl Into<String>) -> Error {
        Error { step: self, source: io::Error::new(kind, why.into()) }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Options => "what was asked for cannot be had here",
            Step::Ring => "the io_uring, or the epoll in its place, could not be used",
            Step::Socket => "a socket could not be opened",
            Step::Bind => "the listener could not be bound to its loopback address",
            Step::Listen => "the listener could not listen",
            Step::Connect => "the connect failed",
            Step::Accept => "the accept failed",
            Step::Verify => "the ends could not be asked for their addresses",
            Step::SetOption => "a socket option could not be set",
            Step::Convert => "the socket could not be turned into the stream asked for",
            Step::Timeout => "the pair was not made in time",
        })
    }
}

/// Why there is no pair: the [`Step`], and behind it the cause.
///
/// `Display` names the step alone; the cause is [`source`](Error::source), as error reporters expect it. Where the
/// kernel refused, [`raw_os_error`](Error::raw_os_error) is its errno.
///
/// ```
/// use std::io::{self, ErrorKind};
/// use ringpair::{PairOptions, Step};
///
/// let error = PairOptions::new().address([192, 0, 2, 1].into()).factory().unwrap_err();
/// assert_eq!((error.step(), error.kind(), error.raw_os_error()), (Step::Options, ErrorKind::InvalidInput, None));
/// let cause = error.source().unwrap();
/// assert_eq!(cause.to_string(), "192.0.2.1 is not in 127.0.0.0/8 and is not ::1; a pair stays on loopback");
/// assert_eq!(io::Error::from(error).kind(), ErrorKind::InvalidInput);
/// ```
///
/// `{:?}`, which is what `unwrap` shows, has the cause too, and a remedy where one is known.
pub struct Error {
    step: Step,
    source: io::Error,
}

impl Error {
    /// The step at which it came up.
    pub fn step(&self) -> Step {
        self.step
    }

    /// The cause, always there; the same as [`std::error::Error::source`], without the import.
    pub fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }

    /// The errno, where it was the kernel that refused.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// The kind of the cause.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    fn remedy(&self) -> Option<&'static str> {
        use Errno::*;
        let errno = Errno::from_raw(self.raw_os_error()?);
        Some(match (self.step, errno) {
            (Step::Ring, EPERM | EACCES | ENOSYS | EOPNOTSUPP) => {
                "`ringpair doctor` tells what bars io_uring here, `ring_or_skip` skips a test; but for tokio-uring's, pairs can be \
                 made without, by the feature `epoll`"
            }
            (Step::Ring, ENOMEM) => "`ulimit -l` limits the memory that rings lock: keep a factory, and fewer runtimes",
            (_, EMFILE) => "`ulimit -n` limits the descriptors of a process, and a pair takes two",
            (Step::Bind, EADDRNOTAVAIL) => {
                "`ip address show lo` tells which addresses there are: no `::1` where IPv6 is disabled, none where `lo` is down"
            }
            (Step::Connect, EADDRNOTAVAIL) | (Step::Bind, EADDRINUSE) => {
                "the local ports are used up: `Linger::Reset` leaves no TIME_WAIT"
            }
            _ => return None,
        })
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("Error");
        told.field("step", &self.step).field("source", &self.source);
        if let Some(remedy) = self.remedy() {
            told.field("remedy", &format_args!("{remedy}"));
        }
        told.finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.step.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Keeps the kind; step and cause stay reachable through `get_ref` and `source`.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}

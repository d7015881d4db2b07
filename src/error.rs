//! [`Error`]: the step that failed, and the cause.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// A `Result` whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The step at which a call failed; see [`Error::step`].
///
/// `Display` is the first half of the error's text.
///
/// ```
/// use std::net::TcpStream;
/// use ringpair::{PairOptions, Step};
///
/// let factory = PairOptions::new().factory().unwrap();
/// let error = factory.pairs_blocking::<TcpStream>(usize::MAX).unwrap_err();
/// let advice = match (error.step(), error.raw_os_error()) {
///     (Step::Socket | Step::Accept, Some(24)) => "raise ulimit -n", // EMFILE
///     (Step::Ring, _) => "run `ringpair doctor`",
///     _ => "",
/// };
/// assert_eq!(advice, "raise ulimit -n");
/// assert_eq!(error.step().to_string(), "opening a socket failed");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Checking the options and the runtime, before anything is opened.
    Options,
    /// Opening the engine, submitting to it or waiting for it: `io_uring_setup(2)`, `io_uring_enter(2)`,
    /// `epoll_create1(2)`.
    Ring,
    /// Opening a socket: `socket(2)`.
    Socket,
    /// Binding the listener, or the connecting end, to the loopback address: `bind(2)`.
    Bind,
    /// Listening: `listen(2)`.
    Listen,
    /// Connecting: `IORING_OP_CONNECT`, `connect(2)`.
    Connect,
    /// Accepting: `IORING_OP_ACCEPT`, `accept(2)`.
    Accept,
    /// Reading the addresses of both ends: `getsockname(2)`, `getpeername(2)`.
    Verify,
    /// Setting a socket option, including those set by [`configure`](crate::PairOptions::configure): `setsockopt(2)`.
    SetOption,
    /// Converting the descriptor with [`PairSocket::from_fd`](crate::PairSocket::from_fd).
    Convert,
    /// Waiting for the pair: [`timeout`](crate::PairOptions::timeout) has passed.
    Timeout,
}

impl Step {
    /// Returns the closure that turns an `io::Error` into an [`Error`] of this step, for `map_err`.
    pub(crate) fn failed<E: Into<io::Error>>(self) -> impl FnOnce(E) -> Error {
        move |source| Error { step: self, source: source.into() }
    }

    /// Returns an error of this step that no system call reported.
    pub(crate) fn refused(self, kind: io::ErrorKind, why: impl Into<String>) -> Error {
        Error { step: self, source: io::Error::new(kind, why.into()) }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Options => "invalid options",
            Step::Ring => "io_uring or epoll failed",
            Step::Socket => "opening a socket failed",
            Step::Bind => "bind failed",
            Step::Listen => "listen failed",
            Step::Connect => "connect failed",
            Step::Accept => "accept failed",
            Step::Verify => "address check failed",
            Step::SetOption => "setting a socket option failed",
            Step::Convert => "conversion to the stream type failed",
            Step::Timeout => "timed out",
        })
    }
}

/// The error of every call that makes pairs: the [`Step`] that failed, and the cause.
///
/// `Display` names both. `{:?}`, which `unwrap` prints, is the same sentence with a remedy, if one is known.
///
/// ```
/// use std::io::{self, ErrorKind};
/// use ringpair::{PairOptions, Step};
///
/// let error = PairOptions::new().address([192, 0, 2, 1].into()).factory().unwrap_err();
/// assert_eq!((error.step(), error.kind(), error.raw_os_error()), (Step::Options, ErrorKind::InvalidInput, None));
/// assert_eq!(error.to_string(), "invalid options: 192.0.2.1 is not a loopback address (127.0.0.0/8 or ::1)");
/// assert_eq!(error.source().unwrap().to_string(), "192.0.2.1 is not a loopback address (127.0.0.0/8 or ::1)");
///
/// let (kind, text) = (error.kind(), error.to_string());
/// let error = io::Error::from(error);
/// assert_eq!((error.kind(), error.to_string()), (kind, text));
/// ```
///
/// [`std::error::Error::source`] skips the cause, which the text contains: a reporter that prints the whole chain says each
/// thing once.
pub struct Error {
    step: Step,
    source: io::Error,
}

impl Error {
    /// Returns the step that failed.
    pub fn step(&self) -> Step {
        self.step
    }

    /// Returns the cause, an [`io::Error`]; always `Some`.
    ///
    /// [`std::error::Error::source`] of the same value returns the source *of the cause*.
    pub fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }

    pub(crate) fn cause(&self) -> &io::Error {
        &self.source
    }

    /// Returns the errno, if the kernel reported one.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// Returns the kind of the cause.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    fn remedy(&self) -> Option<&'static str> {
        use Errno::*;
        let errno = Errno::from_raw(self.raw_os_error()?);
        Some(match (self.step, errno) {
            (Step::Ring, EPERM | EACCES | ENOSYS | EOPNOTSUPP) => {
                "run `ringpair doctor` to see what blocks io_uring, skip the test with `ring_or_skip`, or enable the \
                 feature `epoll`, which replaces io_uring for all but tokio-uring streams"
            }
            (Step::Ring, ENOMEM) => {
                "`ulimit -l` limits the memory that rings lock; keep one factory and start fewer runtimes"
            }
            (_, EMFILE) => "raise `ulimit -n`, the limit of open descriptors; each pair takes two",
            (Step::Bind, EADDRNOTAVAIL) => {
                "check `ip address show lo`; `::1` is missing if IPv6 is disabled, and every address if `lo` is down"
            }
            (Step::Connect, EADDRNOTAVAIL) | (Step::Bind, EADDRINUSE) => {
                "all local ports are in use, or the one that was chosen; `Linger::Reset` leaves no TIME_WAIT"
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.source)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match self.remedy() {
            Some(remedy) => write!(f, " (remedy: {remedy})"),
            None => Ok(()),
        }
    }
}

/// Skips the cause, which `Display` contains.
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}

/// Keeps the kind and the text; `get_ref` and `into_inner` return the [`Error`].
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCTOR: &str = "run `ringpair doctor` to see what blocks io_uring, skip the test with `ring_or_skip`, or enable \
        the feature `epoll`, which replaces io_uring for all but tokio-uring streams";
    const LOCKED: &str = "`ulimit -l` limits the memory that rings lock; keep one factory and start fewer runtimes";
    const DESCRIPTORS: &str = "raise `ulimit -n`, the limit of open descriptors; each pair takes two";
    const ADDRESSES: &str =
        "check `ip address show lo`; `::1` is missing if IPv6 is disabled, and every address if `lo` is down";
    const PORTS: &str = "all local ports are in use, or the one that was chosen; `Linger::Reset` leaves no TIME_WAIT";

    #[test]
    fn every_error_of_the_kernel_has_its_text() {
        let table = [
            (Step::Ring, Errno::EPERM, "io_uring or epoll failed: Operation not permitted (os error 1)", Some(DOCTOR)),
            (
                Step::Ring,
                Errno::ENOSYS,
                "io_uring or epoll failed: Function not implemented (os error 38)",
                Some(DOCTOR),
            ),
            (Step::Ring, Errno::EACCES, "io_uring or epoll failed: Permission denied (os error 13)", Some(DOCTOR)),
            (
                Step::Ring,
                Errno::EOPNOTSUPP,
                "io_uring or epoll failed: Operation not supported (os error 95)",
                Some(DOCTOR),
            ),
            (Step::Ring, Errno::ENOMEM, "io_uring or epoll failed: Cannot allocate memory (os error 12)", Some(LOCKED)),
            (
                Step::Ring,
                Errno::EMFILE,
                "io_uring or epoll failed: Too many open files (os error 24)",
                Some(DESCRIPTORS),
            ),
            (
                Step::Socket,
                Errno::EMFILE,
                "opening a socket failed: Too many open files (os error 24)",
                Some(DESCRIPTORS),
            ),
            (Step::Socket, Errno::ENOMEM, "opening a socket failed: Cannot allocate memory (os error 12)", None),
            (Step::Bind, Errno::EADDRINUSE, "bind failed: Address already in use (os error 98)", Some(PORTS)),
            (
                Step::Bind,
                Errno::EADDRNOTAVAIL,
                "bind failed: Cannot assign requested address (os error 99)",
                Some(ADDRESSES),
            ),
            (Step::Listen, Errno::EACCES, "listen failed: Permission denied (os error 13)", None),
            (Step::Connect, Errno::ECONNREFUSED, "connect failed: Connection refused (os error 111)", None),
            (
                Step::Connect,
                Errno::EADDRNOTAVAIL,
                "connect failed: Cannot assign requested address (os error 99)",
                Some(PORTS),
            ),
            (Step::Accept, Errno::EMFILE, "accept failed: Too many open files (os error 24)", Some(DESCRIPTORS)),
            (Step::Verify, Errno::ENOBUFS, "address check failed: No buffer space available (os error 105)", None),
            (
                Step::SetOption,
                Errno::ENOPROTOOPT,
                "setting a socket option failed: Protocol not available (os error 92)",
                None,
            ),
            (Step::Convert, Errno::EPROTO, "conversion to the stream type failed: Protocol error (os error 71)", None),
        ];
        for (step, errno, text, remedy) in table {
            let error = step.failed()(errno);
            assert_eq!(error.to_string(), text);
            let shown = remedy.map_or(text.to_owned(), |remedy| format!("{text} (remedy: {remedy})"));
            assert_eq!(format!("{error:?}"), shown);
            assert_eq!(io::Error::from(error).to_string(), text);
        }
    }

    #[test]
    fn an_error_without_errno_has_no_remedy() {
        let error = Step::Timeout.refused(io::ErrorKind::TimedOut, "no connection after 30ms");
        assert_eq!(error.to_string(), "timed out: no connection after 30ms");
        assert_eq!(format!("{error:?}"), "timed out: no connection after 30ms");
    }

    #[derive(Debug)]
    struct Outer(io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_chain_begins_after_the_cause() {
        let error = Step::Convert.failed()(io::Error::other(Outer(io::Error::other("inner"))));
        assert_eq!(error.to_string(), "conversion to the stream type failed: outer");
        assert_eq!(error.source().unwrap().to_string(), "outer");
        let error: &dyn std::error::Error = &error;
        assert_eq!(error.source().unwrap().to_string(), "inner");
    }
}

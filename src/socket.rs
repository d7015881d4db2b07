//! Turning a descriptor into the stream that the caller wants, in the mode that stream needs.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// A stream that a pair can be handed out as. Open to others: any type that owns a socket can be one.
///
/// ```
/// use std::io;
/// use std::os::fd::{AsRawFd, OwnedFd, RawFd};
///
/// struct Line(std::net::TcpStream);
///
/// impl AsRawFd for Line {
///     fn as_raw_fd(&self) -> RawFd {
///         self.0.as_raw_fd()
///     }
/// }
///
/// impl ringpair::PairSocket for Line {
///     fn from_fd(fd: OwnedFd) -> io::Result<Self> {
///         Ok(Line(fd.into()))
///     }
/// }
///
/// let (_accepted, _connected) = ringpair::PairOptions::new().make_pair_blocking::<Line>().unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "pairs cannot be handed out as `{Self}`",
    label = "not a `PairSocket`",
    note = "`tokio::net::TcpStream` is one with ringpair's feature `epoll`, `tokio_uring::net::TcpStream` with `tokio-uring`",
    note = "a type of yours that owns a socket can implement `PairSocket`",
    note = "where the type is one of these: the version of its crate must be the one that ringpair depends on"
)]
pub trait PairSocket: AsRawFd + Sized {
    /// Whether the stream works on an io_uring only, so that pairs made without one are of no use to it.
    const NEEDS_RING: bool = false;

    /// Takes over a connected TCP socket. It comes in blocking mode and close-on-exec; a stream that needs it
    /// non-blocking sets that here.
    ///
    /// # Errors
    ///
    /// Whatever keeps the stream from being made; the caller sees it as [`Step::Convert`](crate::Step::Convert).
    fn from_fd(fd: OwnedFd) -> io::Result<Self>;
}

/// The bare descriptor, blocking.
impl PairSocket for OwnedFd {
    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(fd)
    }
}

/// Blocking, as `std` streams begin.
impl PairSocket for std::net::TcpStream {
    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(fd.into())
    }
}

/// Blocking, as `socket2` sockets begin.
impl PairSocket for socket2::Socket {
    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(fd.into())
    }
}

/// Non-blocking, and registered with the runtime that it is made in: there must be one, with IO enabled.
#[cfg(feature = "epoll")]
impl PairSocket for tokio::net::TcpStream {
    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let stream = std::net::TcpStream::from(fd);
        stream.set_nonblocking(true)?;
        tokio::runtime::Handle::try_current().map_err(io::Error::other)?; // `from_std` would panic
        // So it does where IO is not enabled, which tokio does not tell otherwise.
        std::panic::catch_unwind(|| tokio::net::TcpStream::from_std(stream))
            .unwrap_or_else(|_| Err(io::Error::other("IO is not enabled in this runtime; see tokio's `enable_io`")))
    }
}

/// Blocking, as tokio-uring needs it: on a non-blocking socket its operations end with `EAGAIN` instead of waiting.
#[cfg(feature = "tokio-uring")]
impl PairSocket for tokio_uring::net::TcpStream {
    const NEEDS_RING: bool = true;

    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(tokio_uring::net::TcpStream::from_std(fd.into()))
    }
}

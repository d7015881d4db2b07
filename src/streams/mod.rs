//! [`PairSocket`] and its implementations, one file for each runtime.

mod std;
#[cfg(feature = "epoll")]
mod tokio;
#[cfg(feature = "tokio-uring")]
mod tokio_uring;

use ::std::io; // `std` alone is the module above
use ::std::os::fd::{BorrowedFd, OwnedFd};

/// A stream type that an end of a pair can be.
///
/// Any type that owns a socket can implement it.
///
/// ```
/// use std::io;
/// use std::net::TcpStream;
/// use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
///
/// use ringpair::{PairOptions, PairSocket};
///
/// struct Line(TcpStream);
///
/// impl PairSocket for Line {
///     fn from_fd(fd: OwnedFd) -> io::Result<Self> {
///         Ok(Line(fd.into()))
///     }
///
///     fn fd(&self) -> BorrowedFd<'_> {
///         self.0.as_fd()
///     }
/// }
///
/// let (accepted, _connected) = PairOptions::new().make_pair_blocking::<Line>().unwrap();
/// ringpair::abort(&accepted).unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not implement `PairSocket`, so it cannot be an end of a pair",
    label = "not a `PairSocket`",
    note = "`tokio::net::TcpStream` needs ringpair's feature `epoll`, `tokio_uring::net::TcpStream` the feature `tokio-uring`",
    note = "if the feature is enabled, your crate and ringpair depend on different versions of the stream's crate",
    note = "you can implement `PairSocket` for a type of your own that owns a socket"
)]
pub trait PairSocket: Sized {
    /// Whether the stream works on an io_uring only. If so, [`Backend::Auto`](crate::Backend::Auto) does not fall back to
    /// epoll.
    const NEEDS_RING: bool = false;

    /// Converts a connected TCP socket, which is blocking and close-on-exec.
    ///
    /// # Errors
    ///
    /// Any; the caller gets it as [`Step::Convert`](crate::Step::Convert).
    fn from_fd(fd: OwnedFd) -> io::Result<Self>;

    /// Returns the stream's descriptor.
    fn fd(&self) -> BorrowedFd<'_>;
}

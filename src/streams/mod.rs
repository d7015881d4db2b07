//! [`PairSocket`] and its implementations, one file for each runtime.

#[cfg(feature = "compio")]
mod compio;
#[cfg(feature = "monoio")]
pub(crate) mod monoio;
#[cfg(feature = "smol")]
mod smol;
mod std;
#[cfg(feature = "tokio")]
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
    note = "a runtime's stream needs ringpair's feature of that name: `tokio`, `tokio-uring`, `smol`, `compio` or `monoio`",
    note = "if the feature is enabled, your crate and ringpair depend on different versions of the stream's crate",
    note = "smol's stream here is `async_io::Async<std::net::TcpStream>`",
    note = "any other stream can be made by `make_pair_with`, or by a `PairSocket` of your own"
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

/// Returns the error for a stream that is made outside its runtime.
#[cfg(any(feature = "tokio", feature = "compio", feature = "monoio"))]
fn outside_a_runtime(runtime: &str) -> io::Error {
    io::Error::other(format!(
        "this stream is made in a {runtime} runtime, and this thread is in none; \
         await the call there, or call `pair_blocking::<std::net::TcpStream>()`"
    ))
}

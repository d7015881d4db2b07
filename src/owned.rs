//! [`OwnedBufStream`]: streams whose operations own their buffers, of any runtime. One file for each runtime's streams.

#[cfg(feature = "compio")]
mod compio;
#[cfg(feature = "monoio")]
mod monoio;
#[cfg(feature = "tokio-uring")]
mod tokio_uring;

use std::future::Future;
use std::io;

#[cfg(feature = "monoio")]
pub use self::monoio::MonoioStream;

/// The maximum number of buffers per call: `UIO_MAXIOV`.
#[cfg(any(feature = "tokio-uring", feature = "compio", feature = "monoio"))]
const MAX_BUFFERS: usize = 1024;

/// The result of an operation, and the buffers that it owned.
pub type OwnedResult<B> = (io::Result<usize>, B);

/// A stream whose operations own their buffers until they complete, as in tokio-uring, compio and monoio.
///
/// It needs no runtime and no feature. Each feature implements it for its runtime's `TcpStream`: `tokio-uring`, `compio`, and
/// `monoio` through `mocket::owned::MonoioStream`. A [`Mocket`](crate::mocket::Mocket) has it if its
/// socket has. For another stream whose calls need `&mut self`, implement it for a pair of halves in two cells: a read and a
/// write run at once, but never two reads or two writes.
///
/// ```
/// # #[cfg(feature = "tokio-uring")] mod shown {
/// use std::io;
/// use ringpair::mocket::owned::{OwnedBufStream, OwnedResult};
/// use tokio_uring::net::UnixStream;
///
/// struct Local(UnixStream);
///
/// impl OwnedBufStream for Local {
///     async fn read(&self, buffer: Vec<u8>) -> OwnedResult<Vec<u8>> {
///         self.0.read(buffer).await
///     }
///
///     async fn write(&self, bytes: Vec<u8>) -> OwnedResult<Vec<u8>> {
///         self.0.write(bytes).submit().await
///     }
///
///     async fn shutdown(&self) -> io::Result<()> {
///         self.0.shutdown(std::net::Shutdown::Write)
///     }
/// }
/// # }
/// ```
pub trait OwnedBufStream {
    /// Reads at most `buffer.capacity()` bytes into an empty buffer, and returns the buffer.
    ///
    /// # Errors
    ///
    /// Those of the stream, with the buffer.
    fn read(&self, buffer: Vec<u8>) -> impl Future<Output = OwnedResult<Vec<u8>>>;

    /// Writes some of the bytes, and returns the buffer.
    ///
    /// # Errors
    ///
    /// Those of the stream, with the buffer.
    fn write(&self, bytes: Vec<u8>) -> impl Future<Output = OwnedResult<Vec<u8>>>;

    /// Writes some of the bytes of several buffers, in order, and returns the buffers.
    ///
    /// By default it writes a part of the first buffer that is not empty.
    ///
    /// # Errors
    ///
    /// Those of the stream, with the buffers.
    fn write_vectored(&self, mut buffers: Vec<Vec<u8>>) -> impl Future<Output = OwnedResult<Vec<Vec<u8>>>> {
        async {
            let Some(first) = buffers.iter_mut().find(|buffer| !buffer.is_empty()) else { return (Ok(0), buffers) };
            let (written, bytes) = self.write(std::mem::take(first)).await;
            *first = bytes;
            (written, buffers)
        }
    }

    /// Sends bytes that are still in a buffer of the stream. By default there is no buffer.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    fn flush(&self) -> impl Future<Output = io::Result<()>> {
        async { Ok(()) }
    }

    /// Shuts down the writing side, after everything that was written.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    fn shutdown(&self) -> impl Future<Output = io::Result<()>>;
}

impl<S: OwnedBufStream> OwnedBufStream for &S {
    async fn read(&self, buffer: Vec<u8>) -> OwnedResult<Vec<u8>> {
        S::read(self, buffer).await
    }

    async fn write(&self, bytes: Vec<u8>) -> OwnedResult<Vec<u8>> {
        S::write(self, bytes).await
    }

    async fn write_vectored(&self, buffers: Vec<Vec<u8>>) -> OwnedResult<Vec<Vec<u8>>> {
        S::write_vectored(self, buffers).await
    }

    async fn flush(&self) -> io::Result<()> {
        S::flush(self).await
    }

    async fn shutdown(&self) -> io::Result<()> {
        S::shutdown(self).await
    }
}

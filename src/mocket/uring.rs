//! tokio-uring's face: calls that own the buffer until they complete.
//!
//! [`UringStream`] has a module of its own, so that `use ringpair::mocket::*` does not bring a second `read` and `write`
//! beside those of `std::io` or tokio.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::Shutdown;

use tokio_uring::BufResult;
use tokio_uring::buf::{BoundedBuf, BoundedBufMut, IoBuf, Slice};
use tokio_uring::net::TcpStream;

use super::delays::Way;
use super::stage::{Call, OwnCall};
use super::{Mocket, NoSocket, Turn, closed};

/// The calls that `tokio_uring::net::TcpStream` and a mocket have in common, so that the code under test can take either.
///
/// ```
/// use ringpair::mocket::uring::UringStream;
/// use ringpair::mocket::{Mocket, Script};
///
/// /// The code under test.
/// async fn ask(stream: &impl UringStream) -> std::io::Result<Vec<u8>> {
///     stream.write_all(b"ping".to_vec()).await.0?;
///     let (read, mut bytes) = stream.read(Vec::with_capacity(16)).await;
///     bytes.truncate(read?);
///     Ok(bytes)
/// }
///
/// # if !ringpair::ring_or_skip("UringStream") { return }
/// let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
/// runtime.block_on(async {
///     let mut mocket = Mocket::scripted(Script::new().expect("ping").then().provide("pong"));
///     assert_eq!(ask(&mocket).await.unwrap(), b"pong");
///     mocket.close().unwrap();
/// });
/// ```
pub trait UringStream {
    /// Reads into the buffer. As `TcpStream::read`.
    fn read<T: BoundedBufMut>(&self, buffer: T) -> impl Future<Output = BufResult<usize, T>>;

    /// Writes some of the buffer. As `TcpStream::write`, submitted.
    fn write<T: BoundedBuf>(&self, buffer: T) -> impl Future<Output = BufResult<usize, T>>;

    /// Writes all of the buffer. As `TcpStream::write_all`.
    fn write_all<T: BoundedBuf>(&self, buffer: T) -> impl Future<Output = BufResult<(), T>>;

    /// Shuts down reading, writing or both. As `TcpStream::shutdown`.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`; of a mocket, what its script says.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
}

impl UringStream for TcpStream {
    async fn read<T: BoundedBufMut>(&self, buffer: T) -> BufResult<usize, T> {
        TcpStream::read(self, buffer).await
    }

    async fn write<T: BoundedBuf>(&self, buffer: T) -> BufResult<usize, T> {
        TcpStream::write(self, buffer).submit().await
    }

    async fn write_all<T: BoundedBuf>(&self, buffer: T) -> BufResult<(), T> {
        TcpStream::write_all(self, buffer).await
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        TcpStream::shutdown(self, how)
    }
}

/// A task waits for its turn, for delays of the script and for the socket. The shutdown is not a future and skips a delay before
/// it; a shutdown of the reading side goes to the socket alone.
impl<S: UringStream> UringStream for Mocket<S> {
    async fn read<T: BoundedBufMut>(&self, mut buffer: T) -> BufResult<usize, T> {
        if let Err(error) = self.stage.begin(Call::Read) {
            return (Err(error), buffer);
        }
        let size = buffer.bytes_total();
        let mut bytes = Vec::new();
        match self.replay_read(size, &mut bytes).await {
            Turn::Moved(size) => {
                buffer.put_slice(&bytes[..size]);
                (Ok(size), buffer)
            }
            Turn::Fails(error) => (Err(error), buffer),
            Turn::PassThrough { at_most } => {
                let socket = match self.socket() {
                    Ok(socket) => socket,
                    Err(error) => return (Err(error), buffer),
                };
                let bounds = buffer.bounds();
                let part = buffer.slice_full().slice(..size.min(at_most));
                let (read, part) = socket.read(part).await;
                let read = read.inspect(|size| self.stage.read_passed(*size));
                (read, T::from_buf_bounds(part.into_inner(), bounds))
            }
            Turn::EndOfFile | Turn::Wait(_) | Turn::NotYet => (Ok(0), buffer), // `poll_read` has seen to the last two
        }
    }

    async fn write<T: BoundedBuf>(&self, buffer: T) -> BufResult<usize, T> {
        let bounds = buffer.bounds();
        let (written, all) = self.write_slice(buffer.slice_full()).await;
        (written, T::from_buf_bounds(all.into_inner(), bounds))
    }

    async fn write_all<T: BoundedBuf>(&self, buffer: T) -> BufResult<(), T> {
        let bounds = buffer.bounds();
        let mut left = buffer.slice_full();
        let outcome = loop {
            if left.is_empty() {
                break Ok(());
            }
            let (written, tried) = self.write_slice(left).await;
            left = tried;
            match written {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(size) => left = left.slice(size..),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        (outcome, T::from_buf_bounds(left.into_inner(), bounds))
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if matches!(how, Shutdown::Read) {
            return self.socket()?.shutdown(how);
        }
        self.stage.begin(Call::Shutdown)?;
        loop {
            match self.stage.shutdown() {
                Turn::Fails(error) => return Err(error),
                Turn::Wait(_) => self.stage.delay_is_over(Way::Write),
                Turn::PassThrough { .. } => return self.socket()?.shutdown(how),
                _ => return Ok(()),
            }
        }
    }
}

impl<S: UringStream> Mocket<S> {
    /// Asks the script. The bytes grow as far as the script fills them.
    async fn replay_read(&self, at_most: usize, bytes: &mut Vec<u8>) -> Turn {
        let call = OwnCall::of(&self.stage);
        poll_fn(|context| {
            bytes.resize(self.stage.ready_to_read(at_most), 0);
            self.stage.poll_read(context, call.number, bytes)
        })
        .await
    }

    /// Writes some of what is there; the slice comes back as it was.
    async fn write_slice<B: IoBuf>(&self, all: Slice<B>) -> (io::Result<usize>, Slice<B>) {
        if let Err(error) = self.stage.begin(Call::Write) {
            return (Err(error), all);
        }
        let call = OwnCall::of(&self.stage);
        let at_most = match poll_fn(|context| self.stage.poll_write(context, call.number, &all)).await {
            Turn::Moved(size) => return (Ok(size), all),
            Turn::Fails(error) => return (Err(error), all),
            Turn::PassThrough { at_most } => at_most,
            Turn::EndOfFile | Turn::Wait(_) | Turn::NotYet => return (Ok(0), all), // a write is never told these
        };
        let socket = match self.socket() {
            Ok(socket) => socket,
            Err(error) => return (Err(error), all),
        };
        let bounds = all.bounds();
        let size = all.len().min(at_most);
        let (written, part) = socket.write(all.slice(..size)).await;
        if let Ok(size) = written {
            self.stage.write_passed(&part[..size]);
        }
        (written, Slice::from_buf_bounds(part.into_inner(), bounds))
    }
}

/// Never called: without a socket the script answers every call.
impl UringStream for NoSocket {
    async fn read<T: BoundedBufMut>(&self, buffer: T) -> BufResult<usize, T> {
        (Ok(0), buffer)
    }

    async fn write<T: BoundedBuf>(&self, buffer: T) -> BufResult<usize, T> {
        (Err(closed()), buffer)
    }

    async fn write_all<T: BoundedBuf>(&self, buffer: T) -> BufResult<(), T> {
        (Err(closed()), buffer)
    }

    fn shutdown(&self, _: Shutdown) -> io::Result<()> {
        Ok(())
    }
}

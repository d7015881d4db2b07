//! tokio-uring's face: calls that own the buffer until they complete.
//!
//! [`UringStream`] has a module of its own, so that `use ringpair::mocket::*` does not bring a second `read` and `write`
//! beside those of `std::io` or tokio.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::Shutdown;

use tokio_uring::BufResult;
use tokio_uring::buf::{BoundedBuf, BoundedBufMut};
use tokio_uring::net::TcpStream;

use super::delays::Direction;
use super::stage::Call;
use super::{Memory, Mocket, NoSocket, Shut, Turn, closed};

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
        let socket = async |bytes| match self.socket() {
            Ok(socket) => socket.read(bytes).await,
            Err(error) => (Err(error), bytes),
        };
        let read = self.stage.read_owned(buffer.bytes_total(), socket).await;
        let read = read.map(|bytes| {
            buffer.put_slice(&bytes);
            bytes.len()
        });
        (read, buffer)
    }

    async fn write<T: BoundedBuf>(&self, buffer: T) -> BufResult<usize, T> {
        let bounds = buffer.bounds();
        let all = buffer.slice_full();
        let written = self.write_some(&all).await;
        (written, T::from_buf_bounds(all.into_inner(), bounds))
    }

    async fn write_all<T: BoundedBuf>(&self, buffer: T) -> BufResult<(), T> {
        let bounds = buffer.bounds();
        let all = buffer.slice_full();
        let mut left = &all[..];
        let outcome = loop {
            if left.is_empty() {
                break Ok(());
            }
            match self.write_some(left).await {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(size) => left = &left[size..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        (outcome, T::from_buf_bounds(all.into_inner(), bounds))
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if matches!(how, Shutdown::Read) {
            return self.socket()?.shutdown(how);
        }
        self.stage.begin(Call::Shutdown)?;
        loop {
            match self.stage.shutdown() {
                Turn::Fails(error) => return Err(error),
                Turn::Wait(_) => self.stage.delay_is_over(Direction::Write),
                Turn::PassThrough { .. } => return self.socket()?.shutdown(how),
                _ => return Ok(()),
            }
        }
    }
}

impl<S: UringStream> Mocket<S> {
    async fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        let socket = async |bytes| match self.socket() {
            Ok(socket) => socket.write(bytes).await,
            Err(error) => (Err(error), bytes),
        };
        self.stage.write_owned(bytes, socket).await
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

impl UringStream for Memory {
    async fn read<T: BoundedBufMut>(&self, mut buffer: T) -> BufResult<usize, T> {
        let mut bytes = vec![0; buffer.bytes_total()];
        let read = poll_fn(|context| self.poll_receive(context, &mut bytes)).await;
        if let Ok(size) = read {
            buffer.put_slice(&bytes[..size]);
        }
        (read, buffer)
    }

    async fn write<T: BoundedBuf>(&self, buffer: T) -> BufResult<usize, T> {
        let bounds = buffer.bounds();
        let all = buffer.slice_full();
        let written = poll_fn(|context| self.poll_send(context, &all)).await;
        (written, T::from_buf_bounds(all.into_inner(), bounds))
    }

    async fn write_all<T: BoundedBuf>(&self, buffer: T) -> BufResult<(), T> {
        let bounds = buffer.bounds();
        let all = buffer.slice_full();
        let mut left = &all[..];
        let outcome = loop {
            if left.is_empty() {
                break Ok(());
            }
            match poll_fn(|context| self.poll_send(context, left)).await {
                Ok(size) => left = &left[size..],
                Err(error) => break Err(error),
            }
        };
        (outcome, T::from_buf_bounds(all.into_inner(), bounds))
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match how {
            Shutdown::Read => Ok(()),
            Shutdown::Write | Shutdown::Both => self.shut_down_writing(),
        }
    }
}

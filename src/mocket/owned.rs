//! The face of calls that own their buffers: [`OwnedBufStream`], which needs no runtime.
//!
//! The faces of tokio-uring, compio and monoio are adapters of it. It has a module of its own, so that `use ringpair::mocket::*`
//! does not bring a second `read` and `write` beside those of `std::io` or tokio.
//!
//! ```
//! use ringpair::mocket::owned::OwnedBufStream;
//! use ringpair::mocket::{Mocket, Script};
//!
//! futures_executor::block_on(async {
//!     let mut mocket = Mocket::scripted(Script::new().expect("ping").then().provide("pong"));
//!     mocket.write(b"ping".to_vec()).await.0.unwrap();
//!     let (read, bytes) = mocket.read(Vec::with_capacity(16)).await;
//!     assert_eq!((read.unwrap(), bytes), (4, b"pong".to_vec()));
//!     mocket.close().unwrap();
//! });
//! ```

use std::future::poll_fn;
use std::io;

use super::stage::{Call, OwnCall, Stage};
use super::{Memory, Mocket, NoSocket, Shut, Turn, closed};
#[cfg(feature = "monoio")]
pub use crate::owned::MonoioStream;
pub use crate::owned::{OwnedBufStream, OwnedResult};

/// What every face with owned buffers does. The buffers of the code under test stay here; the socket gets others.
impl Stage {
    /// Reads at most `room` bytes. What the script leaves, `socket` reads into an empty buffer.
    pub(super) async fn read_owned(
        &self,
        room: usize,
        socket: impl AsyncFnOnce(Vec<u8>) -> OwnedResult<Vec<u8>>,
    ) -> io::Result<Vec<u8>> {
        self.begin(Call::Read)?;
        let mut bytes = Vec::new();
        match self.replay_read(room, &mut bytes).await {
            Turn::Moved(size) => {
                bytes.truncate(size);
                Ok(bytes)
            }
            Turn::Fails(error) => Err(error),
            Turn::PassThrough { at_most } => {
                let (read, bytes) = socket(Vec::with_capacity(room.min(at_most))).await;
                self.read_passed(read?);
                Ok(bytes)
            }
            Turn::EndOfFile | Turn::Wait(_) | Turn::NotYet => Ok(Vec::new()), // `poll_read` has seen to the last two
        }
    }

    /// Asks the script. The bytes grow as far as the script fills them.
    async fn replay_read(&self, at_most: usize, bytes: &mut Vec<u8>) -> Turn {
        let call = OwnCall::of(self);
        poll_fn(|context| {
            bytes.resize(self.ready_to_read(at_most), 0);
            self.poll_read(context, call.number, bytes)
        })
        .await
    }

    /// Writes some of the bytes. What the script leaves, `socket` writes.
    pub(super) async fn write_owned(
        &self,
        bytes: &[u8],
        socket: impl AsyncFnOnce(Vec<u8>) -> OwnedResult<Vec<u8>>,
    ) -> io::Result<usize> {
        self.begin(Call::Write)?;
        let call = OwnCall::of(self);
        match poll_fn(|context| self.poll_write(context, call.number, bytes)).await {
            Turn::Moved(size) => Ok(size),
            Turn::Fails(error) => Err(error),
            Turn::PassThrough { at_most } => {
                let (written, part) = socket(bytes[..bytes.len().min(at_most)].to_vec()).await;
                let size = written?;
                self.write_passed(&part[..size]);
                Ok(size)
            }
            Turn::EndOfFile | Turn::Wait(_) | Turn::NotYet => Ok(0), // a write is never told these
        }
    }

    /// Shuts down the writing side: in the script if there are steps left, otherwise of the socket.
    pub(super) async fn shut_down_owned(&self, socket: impl AsyncFnOnce() -> io::Result<()>) -> io::Result<()> {
        self.begin(Call::Shutdown)?;
        let call = OwnCall::of(self);
        match poll_fn(|context| self.poll_shutdown(context, call.number)).await {
            Turn::Fails(error) => Err(error),
            Turn::PassThrough { .. } => socket().await,
            _ => Ok(()),
        }
    }
}

/// A task waits for its turn, for delays of the script and for the socket.
impl<S: OwnedBufStream> OwnedBufStream for Mocket<S> {
    async fn read(&self, mut buffer: Vec<u8>) -> OwnedResult<Vec<u8>> {
        let socket = async |bytes| match self.socket() {
            Ok(socket) => socket.read(bytes).await,
            Err(error) => (Err(error), bytes),
        };
        let read = self.stage.read_owned(buffer.capacity(), socket).await;
        let read = read.map(|bytes| {
            buffer.extend_from_slice(&bytes);
            bytes.len()
        });
        (read, buffer)
    }

    async fn write(&self, bytes: Vec<u8>) -> OwnedResult<Vec<u8>> {
        let socket = async |bytes| match self.socket() {
            Ok(socket) => socket.write(bytes).await,
            Err(error) => (Err(error), bytes),
        };
        (self.stage.write_owned(&bytes, socket).await, bytes)
    }

    async fn flush(&self) -> io::Result<()> {
        match &self.stream {
            Some(stream) => stream.flush().await,
            None => Ok(()),
        }
    }

    async fn shutdown(&self) -> io::Result<()> {
        self.stage.shut_down_owned(async || self.socket()?.shutdown().await).await
    }
}

/// Never called: without a socket the script answers every call.
impl OwnedBufStream for NoSocket {
    async fn read(&self, buffer: Vec<u8>) -> OwnedResult<Vec<u8>> {
        (Ok(0), buffer)
    }

    async fn write(&self, bytes: Vec<u8>) -> OwnedResult<Vec<u8>> {
        (Err(closed()), bytes)
    }

    async fn shutdown(&self) -> io::Result<()> {
        Ok(())
    }
}

impl OwnedBufStream for Memory {
    async fn read(&self, mut buffer: Vec<u8>) -> OwnedResult<Vec<u8>> {
        buffer.resize(buffer.capacity(), 0);
        let read = poll_fn(|context| self.poll_receive(context, &mut buffer)).await;
        buffer.truncate(*read.as_ref().unwrap_or(&0));
        (read, buffer)
    }

    async fn write(&self, bytes: Vec<u8>) -> OwnedResult<Vec<u8>> {
        (poll_fn(|context| self.poll_send(context, &bytes)).await, bytes)
    }

    async fn shutdown(&self) -> io::Result<()> {
        self.shut_down_writing()
    }
}

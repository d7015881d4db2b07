//! monoio's face: `AsyncReadRent` and `AsyncWriteRent`. A read into several buffers fills the first of them.

use std::io;

use monoio::BufResult;
use monoio::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut, IoVecWrapperMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent, Splitable};

use super::owned::OwnedBufStream;
use super::{Memory, Mocket, NoSocket, closed};
use crate::streams::monoio::{bytes_of, bytes_of_all};

impl<S: AsyncReadRent> Mocket<S> {
    async fn read_rented(&mut self, room: usize) -> io::Result<Vec<u8>> {
        let socket = async |bytes| match &mut self.stream {
            Some(socket) => socket.read(bytes).await,
            None => (Err(closed()), bytes),
        };
        self.stage.read_owned(room, socket).await
    }
}

/// A task waits for its turn, for delays of the script and for the socket.
impl<S: AsyncReadRent> AsyncReadRent for Mocket<S> {
    async fn read<B: IoBufMut>(&mut self, mut buffer: B) -> BufResult<usize, B> {
        match self.read_rented(buffer.bytes_total()).await {
            Ok(bytes) => (&bytes[..]).read(buffer).await,
            Err(error) => (Err(error), buffer),
        }
    }

    async fn readv<B: IoVecBufMut>(&mut self, buffers: B) -> BufResult<usize, B> {
        let mut first = match IoVecWrapperMut::new(buffers) {
            Ok(first) => first,
            Err(none) => return (Ok(0), none),
        };
        let room = first.bytes_total();
        let buffers = first.into_inner();
        match self.read_rented(room).await {
            Ok(bytes) => (&bytes[..]).readv(buffers).await,
            Err(error) => (Err(error), buffers),
        }
    }
}

impl<S: AsyncWriteRent> Mocket<S> {
    async fn write_rented(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let socket = async |bytes| match &mut self.stream {
            Some(socket) => socket.write(bytes).await,
            None => (Err(closed()), bytes),
        };
        self.stage.write_owned(bytes, socket).await
    }
}

/// A task waits for delays of the script and for the socket.
impl<S: AsyncWriteRent> AsyncWriteRent for Mocket<S> {
    async fn write<B: IoBuf>(&mut self, buffer: B) -> BufResult<usize, B> {
        (self.write_rented(bytes_of(&buffer)).await, buffer)
    }

    async fn writev<B: IoVecBuf>(&mut self, buffers: B) -> BufResult<usize, B> {
        (self.write_rented(&bytes_of_all(&buffers)).await, buffers)
    }

    /// Flushes the socket; the script takes everything at once.
    async fn flush(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Some(socket) => socket.flush().await,
            None => Ok(()),
        }
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        let socket = self.stream.as_mut();
        self.stage.shut_down_owned(async || socket.ok_or_else(closed)?.shutdown().await).await
    }
}

/// Two halves that share the script.
impl<S: Splitable> Splitable for Mocket<S> {
    type OwnedRead = Mocket<S::OwnedRead>;
    type OwnedWrite = Mocket<S::OwnedWrite>;

    fn into_split(self) -> (Self::OwnedRead, Self::OwnedWrite) {
        self.into_halves(S::into_split)
    }
}

impl Splitable for NoSocket {
    type OwnedRead = NoSocket;
    type OwnedWrite = NoSocket;

    fn into_split(self) -> (NoSocket, NoSocket) {
        (NoSocket(()), NoSocket(()))
    }
}

/// `AsyncReadRent` and `AsyncWriteRent` of a stream by its [`OwnedBufStream`].
macro_rules! by_owned {
    ($($stream:ty),+) => {
        $(impl AsyncReadRent for $stream {
            async fn read<B: IoBufMut>(&mut self, mut buffer: B) -> BufResult<usize, B> {
                let (read, bytes) = OwnedBufStream::read(self, Vec::with_capacity(buffer.bytes_total())).await;
                match read {
                    Ok(_) => (&bytes[..]).read(buffer).await,
                    Err(error) => (Err(error), buffer),
                }
            }

            async fn readv<B: IoVecBufMut>(&mut self, buffers: B) -> BufResult<usize, B> {
                let mut first = match IoVecWrapperMut::new(buffers) {
                    Ok(first) => first,
                    Err(none) => return (Ok(0), none),
                };
                let (read, bytes) = OwnedBufStream::read(self, Vec::with_capacity(first.bytes_total())).await;
                match read {
                    Ok(_) => (&bytes[..]).readv(first.into_inner()).await,
                    Err(error) => (Err(error), first.into_inner()),
                }
            }
        }

        impl AsyncWriteRent for $stream {
            async fn write<B: IoBuf>(&mut self, buffer: B) -> BufResult<usize, B> {
                (OwnedBufStream::write(self, bytes_of(&buffer).to_vec()).await.0, buffer)
            }

            async fn writev<B: IoVecBuf>(&mut self, buffers: B) -> BufResult<usize, B> {
                (OwnedBufStream::write(self, bytes_of_all(&buffers)).await.0, buffers)
            }

            async fn flush(&mut self) -> io::Result<()> {
                OwnedBufStream::flush(self).await
            }

            async fn shutdown(&mut self) -> io::Result<()> {
                OwnedBufStream::shutdown(self).await
            }
        })+
    };
}

by_owned!(Memory, NoSocket);

//! compio's face: `AsyncRead` and `AsyncWrite` of `compio::io`. As a `TcpStream` has them, so has a reference to a mocket.

use std::io;

use compio_buf::{BufResult, IoBuf, IoBufMut};
use compio_io::util::Splittable;
use compio_io::{AsyncRead, AsyncWrite};

use super::owned::OwnedBufStream;
use super::stage::Stage;
use super::{Memory, Mocket, NoSocket, closed};

async fn read<B: IoBufMut>(stage: &Stage, socket: Option<impl AsyncRead>, mut buffer: B) -> BufResult<usize, B> {
    let socket = async |bytes| match socket {
        Some(mut socket) => socket.read(bytes).await.into(),
        None => (Err(closed()), bytes),
    };
    match stage.read_owned(buffer.buf_capacity(), socket).await {
        Ok(bytes) => (&bytes[..]).read(buffer).await,
        Err(error) => BufResult(Err(error), buffer),
    }
}

async fn write<B: IoBuf>(stage: &Stage, socket: Option<impl AsyncWrite>, buffer: B) -> BufResult<usize, B> {
    let socket = async |bytes| match socket {
        Some(mut socket) => socket.write(bytes).await.into(),
        None => (Err(closed()), bytes),
    };
    BufResult(stage.write_owned(buffer.as_init(), socket).await, buffer)
}

/// The script takes everything at once.
async fn flush(socket: Option<impl AsyncWrite>) -> io::Result<()> {
    match socket {
        Some(mut socket) => socket.flush().await,
        None => Ok(()),
    }
}

async fn shutdown(stage: &Stage, socket: Option<impl AsyncWrite>) -> io::Result<()> {
    stage.shut_down_owned(async || socket.ok_or_else(closed)?.shutdown().await).await
}

/// A task waits for its turn, for delays of the script and for the socket.
impl<S: AsyncRead> AsyncRead for Mocket<S> {
    async fn read<B: IoBufMut>(&mut self, buffer: B) -> BufResult<usize, B> {
        read(&self.stage, self.stream.as_mut(), buffer).await
    }
}

/// A task waits for delays of the script and for the socket.
impl<S: AsyncWrite> AsyncWrite for Mocket<S> {
    async fn write<B: IoBuf>(&mut self, buffer: B) -> BufResult<usize, B> {
        write(&self.stage, self.stream.as_mut(), buffer).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        flush(self.stream.as_mut()).await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        shutdown(&self.stage, self.stream.as_mut()).await
    }
}

impl<'a, S> AsyncRead for &'a Mocket<S>
where
    &'a S: AsyncRead,
{
    async fn read<B: IoBufMut>(&mut self, buffer: B) -> BufResult<usize, B> {
        read(&self.stage, self.stream.as_ref(), buffer).await
    }
}

impl<'a, S> AsyncWrite for &'a Mocket<S>
where
    &'a S: AsyncWrite,
{
    async fn write<B: IoBuf>(&mut self, buffer: B) -> BufResult<usize, B> {
        write(&self.stage, self.stream.as_ref(), buffer).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        flush(self.stream.as_ref()).await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        shutdown(&self.stage, self.stream.as_ref()).await
    }
}

/// Two halves that share the script.
impl<S: Splittable> Splittable for Mocket<S> {
    type ReadHalf = Mocket<S::ReadHalf>;
    type WriteHalf = Mocket<S::WriteHalf>;

    fn split(self) -> (Self::ReadHalf, Self::WriteHalf) {
        self.into_halves(S::split)
    }
}

impl Splittable for NoSocket {
    type ReadHalf = NoSocket;
    type WriteHalf = NoSocket;

    fn split(self) -> (NoSocket, NoSocket) {
        (NoSocket(()), NoSocket(()))
    }
}

/// `AsyncRead` and `AsyncWrite` of a stream, and of a reference to it, by its [`OwnedBufStream`].
macro_rules! by_owned {
    ($($stream:ty),+) => {
        $(impl AsyncRead for $stream {
            async fn read<B: IoBufMut>(&mut self, mut buffer: B) -> BufResult<usize, B> {
                let (read, bytes) = OwnedBufStream::read(&*self, Vec::with_capacity(buffer.buf_capacity())).await;
                match read {
                    Ok(_) => (&bytes[..]).read(buffer).await,
                    Err(error) => BufResult(Err(error), buffer),
                }
            }
        }

        impl AsyncWrite for $stream {
            async fn write<B: IoBuf>(&mut self, buffer: B) -> BufResult<usize, B> {
                BufResult(OwnedBufStream::write(&*self, buffer.as_init().to_vec()).await.0, buffer)
            }

            async fn flush(&mut self) -> io::Result<()> {
                OwnedBufStream::flush(&*self).await
            }

            async fn shutdown(&mut self) -> io::Result<()> {
                OwnedBufStream::shutdown(&*self).await
            }
        })+
    };
}

by_owned!(Memory, &Memory, NoSocket, &NoSocket);

//! tokio's face: `AsyncRead` and `AsyncWrite`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::polled::Room;
use super::{Memory, Mocket, NoSocket, Shut, closed};

impl Room for ReadBuf<'_> {
    fn size(&self) -> usize {
        self.remaining()
    }

    fn first(&mut self, size: usize) -> &mut [u8] {
        self.initialize_unfilled_to(size)
    }
}

/// A task waits for its turn, for delays of the script and for the socket.
impl<S: AsyncRead + Unpin> AsyncRead for Mocket<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let size = ready!(self.get_mut().poll_read_by(context, buffer, |socket, context, room| {
            let mut room = ReadBuf::new(room);
            socket.poll_read(context, &mut room).map_ok(|()| room.filled().len())
        }))?;
        buffer.advance(size);
        Poll::Ready(Ok(()))
    }
}

/// A task waits for delays of the script and for the socket.
impl<S: AsyncWrite + Unpin> AsyncWrite for Mocket<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_by(context, bytes, S::poll_write)
    }

    /// Flushes the socket; the script takes everything at once.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flush_by(context, S::poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_shutdown_by(context, S::poll_shutdown)
    }
}

/// Never called: without a socket the script answers every call.
impl AsyncRead for NoSocket {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Never called.
impl AsyncWrite for NoSocket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(closed()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Memory {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let size = ready!(self.poll_receive(context, buffer.initialize_unfilled()))?;
        buffer.advance(size);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shut_down_writing())
    }
}

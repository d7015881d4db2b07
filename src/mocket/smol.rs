//! smol's face: `AsyncRead` and `AsyncWrite` of `futures::io`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use super::{Memory, Mocket, NoSocket, Shut, closed};

/// A task waits for its turn, for delays of the script and for the socket.
impl<S: AsyncRead + Unpin> AsyncRead for Mocket<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, mut buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_read_by(context, &mut buffer, S::poll_read)
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

    /// A shutdown of the script, or a close of the socket: `Async<TcpStream>` only flushes then, smol's `TcpStream` shuts down.
    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_shutdown_by(context, S::poll_close)
    }
}

/// Never called: without a socket the script answers every call.
impl AsyncRead for NoSocket {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(0))
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

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Memory {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_receive(context, buffer)
    }
}

impl AsyncWrite for Memory {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shut_down_writing())
    }
}

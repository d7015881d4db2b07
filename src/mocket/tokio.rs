//! tokio's face: `AsyncRead` and `AsyncWrite`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::asynchronous::{POLLED_READ, POLLED_WRITE};
use super::stage::Call;
use super::{Mocket, NoSocket, Turn, closed};

/// Asks the fuse when a call begins, but not when it is polled again.
macro_rules! begin {
    ($mocket:expr, $call:expr) => {
        if !$mocket.begun[$call as usize] {
            $mocket.stage.begin($call)?;
            $mocket.begun[$call as usize] = true;
        }
    };
}

/// A task waits for its turn, for delays of the script and for the socket.
impl<S: AsyncRead + Unpin> AsyncRead for Mocket<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        begin!(this, Call::Read);
        let outcome = ready!(this.poll_scripted_read(context, buffer));
        this.begun[Call::Read as usize] = false;
        Poll::Ready(outcome)
    }
}

/// A task waits for delays of the script and for the socket.
impl<S: AsyncWrite + Unpin> AsyncWrite for Mocket<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        begin!(this, Call::Write);
        let outcome = ready!(this.poll_scripted_write(context, bytes));
        this.begun[Call::Write as usize] = false;
        Poll::Ready(outcome)
    }

    /// Flushes the socket; the script takes everything at once.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Some(stream) => Pin::new(stream).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        begin!(this, Call::Shutdown);
        let outcome = match ready!(this.stage.poll_shutdown(context, POLLED_WRITE)) {
            Turn::Fails(error) => Err(error),
            Turn::PassThrough { .. } => ready!(Pin::new(this.socket_mut()?).poll_shutdown(context)),
            _ => Ok(()),
        };
        this.begun[Call::Shutdown as usize] = false;
        Poll::Ready(outcome)
    }
}

impl<S: AsyncRead + Unpin> Mocket<S> {
    fn poll_scripted_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let size = self.stage.ready_to_read(buffer.remaining());
        let place = buffer.initialize_unfilled_to(size);
        let at_most = match ready!(self.stage.poll_read(context, POLLED_READ, place)) {
            Turn::Moved(size) => {
                buffer.advance(size);
                return Poll::Ready(Ok(()));
            }
            Turn::EndOfFile => return Poll::Ready(Ok(())),
            Turn::Fails(error) => return Poll::Ready(Err(error)),
            Turn::PassThrough { at_most } => at_most,
            Turn::Wait(_) | Turn::NotYet => return Poll::Pending, // `poll_read` has seen to them
        };
        let mut place = ReadBuf::new(buffer.initialize_unfilled_to(buffer.remaining().min(at_most)));
        let polled = Pin::new(self.socket_mut()?).poll_read(context, &mut place);
        let size = place.filled().len();
        if polled.is_pending() {
            return Poll::Pending; // the stage wakes it too, when more is provided meanwhile
        }
        buffer.advance(size);
        self.stage.read_passed(size);
        polled
    }
}

impl<S: AsyncWrite + Unpin> Mocket<S> {
    fn poll_scripted_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let at_most = match ready!(self.stage.poll_write(context, POLLED_WRITE, bytes)) {
            Turn::Moved(size) => return Poll::Ready(Ok(size)),
            Turn::Fails(error) => return Poll::Ready(Err(error)),
            Turn::PassThrough { at_most } => at_most,
            Turn::EndOfFile | Turn::Wait(_) | Turn::NotYet => return Poll::Pending, // a write is never told these
        };
        let offered = &bytes[..bytes.len().min(at_most)];
        let size = ready!(Pin::new(self.socket_mut()?).poll_write(context, offered))?;
        self.stage.write_passed(&bytes[..size]);
        Poll::Ready(Ok(size))
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

//! What the faces that are polled do: tokio's and that of `futures::io`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::stage::{Call, Stage};
use super::{Mocket, Turn};

/// The numbers of its calls: one read, and one write or shutdown, at a time.
const POLLED_READ: u64 = 0;
const POLLED_WRITE: u64 = 1;

/// The room of a read.
pub(super) trait Room {
    fn size(&self) -> usize;

    /// Returns its first bytes, which it has to initialize.
    fn first(&mut self, size: usize) -> &mut [u8];
}

/// The buffer of `futures::io`.
impl Room for &mut [u8] {
    fn size(&self) -> usize {
        self.len()
    }

    fn first(&mut self, size: usize) -> &mut [u8] {
        &mut self[..size]
    }
}

/// Which polled calls have begun, by [`Call`]: each is a point of a fuse once, however often it is polled.
#[derive(Default)]
pub(super) struct Begun([bool; 3]);

impl Begun {
    /// Asks the fuse when a call begins, but not when it is polled again.
    fn begin(&mut self, call: Call, stage: &Stage) -> io::Result<()> {
        if !self.0[call as usize] {
            stage.begin(call)?;
            self.0[call as usize] = true;
        }
        Ok(())
    }

    fn end(&mut self, call: Call) {
        self.0[call as usize] = false;
    }
}

impl<S: Unpin> Mocket<S> {
    /// Reads into `room`. What the script leaves, `socket` reads.
    pub(super) fn poll_read_by(
        &mut self,
        context: &mut Context<'_>,
        room: &mut impl Room,
        socket: impl FnOnce(Pin<&mut S>, &mut Context<'_>, &mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.begun.begin(Call::Read, &self.stage)?;
        let outcome = ready!(self.poll_scripted_read(context, room, socket));
        self.begun.end(Call::Read);
        Poll::Ready(outcome)
    }

    fn poll_scripted_read(
        &mut self,
        context: &mut Context<'_>,
        room: &mut impl Room,
        socket: impl FnOnce(Pin<&mut S>, &mut Context<'_>, &mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let place = room.first(self.stage.ready_to_read(room.size()));
        let at_most = match ready!(self.stage.poll_read(context, POLLED_READ, place)) {
            Turn::Moved(size) => return Poll::Ready(Ok(size)),
            Turn::EndOfFile => return Poll::Ready(Ok(0)),
            Turn::Fails(error) => return Poll::Ready(Err(error)),
            Turn::PassThrough { at_most } => at_most,
            Turn::Wait(_) | Turn::NotYet => return Poll::Pending, // `poll_read` has seen to them
        };
        let place = room.first(room.size().min(at_most));
        // While it is pending, the stage wakes it too, when more is provided.
        let size = ready!(socket(Pin::new(self.socket_mut()?), context, place))?;
        self.stage.read_passed(size);
        Poll::Ready(Ok(size))
    }

    /// Writes some of the bytes. What the script leaves, `socket` writes.
    pub(super) fn poll_write_by(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
        socket: impl FnOnce(Pin<&mut S>, &mut Context<'_>, &[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.begun.begin(Call::Write, &self.stage)?;
        let outcome = ready!(self.poll_scripted_write(context, bytes, socket));
        self.begun.end(Call::Write);
        Poll::Ready(outcome)
    }

    fn poll_scripted_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
        socket: impl FnOnce(Pin<&mut S>, &mut Context<'_>, &[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let at_most = match ready!(self.stage.poll_write(context, POLLED_WRITE, bytes)) {
            Turn::Moved(size) => return Poll::Ready(Ok(size)),
            Turn::Fails(error) => return Poll::Ready(Err(error)),
            Turn::PassThrough { at_most } => at_most,
            Turn::EndOfFile | Turn::Wait(_) | Turn::NotYet => return Poll::Pending, // a write is never told these
        };
        let offered = &bytes[..bytes.len().min(at_most)];
        let size = ready!(socket(Pin::new(self.socket_mut()?), context, offered))?;
        self.stage.write_passed(&bytes[..size]);
        Poll::Ready(Ok(size))
    }

    /// Flushes the socket, if it is still there.
    pub(super) fn poll_flush_by(
        &mut self,
        context: &mut Context<'_>,
        socket: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => socket(Pin::new(stream), context),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Shuts down the writing side: in the script if there are steps left, otherwise by `socket`.
    pub(super) fn poll_shutdown_by(
        &mut self,
        context: &mut Context<'_>,
        socket: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        self.begun.begin(Call::Shutdown, &self.stage)?;
        let outcome = match ready!(self.stage.poll_shutdown(context, POLLED_WRITE)) {
            Turn::Fails(error) => Err(error),
            Turn::PassThrough { .. } => ready!(socket(Pin::new(self.socket_mut()?), context)),
            _ => Ok(()),
        };
        self.begun.end(Call::Shutdown);
        Poll::Ready(outcome)
    }
}

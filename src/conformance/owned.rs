//! Adapts streams whose operations own their buffers to the traits of tokio.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::owned::{OwnedBufStream, OwnedResult};

type Operation<'p, T> = Option<Pin<Box<dyn Future<Output = T> + 'p>>>;

/// A stream with owned buffers, with the traits of tokio. Keeps a pending operation for the next poll.
///
/// A write returns when the stream has got its bytes. The next call returns its error.
pub(super) struct OfOwned<'p, S> {
    // Operations use the stream, so they are dropped first.
    read: Operation<'p, OwnedResult<Vec<u8>>>,
    write: Operation<'p, io::Result<()>>,
    finish: Operation<'p, io::Result<()>>,
    stream: Rc<S>,
    /// Room that the pending read was given.
    room: usize,
    /// Bytes of a read for which its last poll had no room.
    left: Vec<u8>,
}

impl<'p, S: OwnedBufStream + 'p> OfOwned<'p, S> {
    pub(super) fn new(stream: S) -> OfOwned<'p, S> {
        OfOwned { read: None, write: None, finish: None, stream: Rc::new(stream), room: 0, left: Vec::new() }
    }

    /// Waits for the pending write.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_operation(&mut self.write, cx).map(|written| written.unwrap_or(Ok(())))
    }

    /// Starts a write of all bytes after the previous write has completed.
    fn poll_begin(
        &mut self,
        cx: &mut Context<'_>,
        size: usize,
        write: impl FnOnce(Rc<S>) -> Pin<Box<dyn Future<Output = io::Result<()>> + 'p>>,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_written(cx))?;
        self.write = Some(write(self.stream.clone()));
        match self.poll_written(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(size)),
        }
    }
}

/// Polls an operation, and removes it when it has completed.
fn poll_operation<T>(operation: &mut Operation<'_, T>, cx: &mut Context<'_>) -> Poll<Option<T>> {
    let Some(future) = operation else { return Poll::Ready(None) };
    let done = ready!(future.as_mut().poll(cx));
    *operation = None;
    Poll::Ready(Some(done))
}

/// Returns how many bytes a write took: at least one, and no more than it was given.
fn taken(written: io::Result<usize>, given: usize) -> io::Result<usize> {
    match written? {
        0 if given > 0 => Err(io::ErrorKind::WriteZero.into()),
        count if count > given => {
            Err(io::Error::other(format!("it was given {given} bytes, and says that it took {count}")))
        }
        count => Ok(count),
    }
}

async fn write_all(stream: Rc<impl OwnedBufStream>, mut bytes: Vec<u8>) -> io::Result<()> {
    loop {
        let given = bytes.len();
        let (written, back) = stream.write(bytes).await;
        bytes = back;
        let count = taken(written, given)?;
        if count == given {
            return Ok(());
        }
        if bytes.len() != given {
            return Err(io::Error::other(format!("a write of {given} bytes gave back {}", bytes.len())));
        }
        bytes.drain(..count);
    }
}

async fn write_all_vectored(stream: Rc<impl OwnedBufStream>, mut buffers: Vec<Vec<u8>>) -> io::Result<()> {
    loop {
        let given: usize = buffers.iter().map(Vec::len).sum();
        let (written, back) = stream.write_vectored(buffers).await;
        buffers = back;
        let mut count = taken(written, given)?;
        if count == given {
            return Ok(());
        }
        let through = buffers.iter().take_while(|buffer| {
            let is_through = buffer.len() <= count;
            count -= if is_through { buffer.len() } else { 0 };
            is_through
        });
        let through = through.count();
        buffers.drain(..through);
        buffers[0].drain(..count);
    }
}

impl<'p, S: OwnedBufStream + 'p> AsyncRead for OfOwned<'p, S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.left.is_empty() {
            if self.read.is_none() {
                self.room = buf.remaining();
                let (stream, buffer) = (self.stream.clone(), Vec::with_capacity(buf.remaining()));
                self.read = Some(Box::pin(async move { stream.read(buffer).await }));
            }
            let Some((read, bytes)) = ready!(poll_operation(&mut self.read, cx)) else { continue };
            let count = read?;
            if count != bytes.len() || count > self.room {
                let (room, held) = (self.room, bytes.len());
                let why = format!("a read into {room} bytes says that it read {count}, and its buffer holds {held}");
                return Poll::Ready(Err(io::Error::other(why)));
            }
            self.left = bytes;
            if count == 0 && (self.room > 0 || buf.remaining() == 0) {
                return Poll::Ready(Ok(())); // otherwise that read had no room, so it was not end of file
            }
        }
        let count = self.left.len().min(buf.remaining());
        buf.put_slice(&self.left[..count]);
        self.left.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl<'p, S: OwnedBufStream + 'p> AsyncWrite for OfOwned<'p, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_begin(cx, buf.len(), |stream| Box::pin(write_all(stream, buf.to_vec())))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let buffers: Vec<Vec<u8>> = bufs.iter().map(|slice| slice.to_vec()).collect();
        let size = buffers.iter().map(Vec::len).sum();
        self.poll_begin(cx, size, |stream| Box::pin(write_all_vectored(stream, buffers)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        if self.finish.is_none() {
            let stream = self.stream.clone();
            self.finish = Some(Box::pin(async move { stream.flush().await }));
        }
        poll_operation(&mut self.finish, cx).map(|flushed| flushed.unwrap_or(Ok(())))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        if self.finish.is_none() {
            let stream = self.stream.clone();
            self.finish = Some(Box::pin(async move { stream.shutdown().await }));
        }
        poll_operation(&mut self.finish, cx).map(|shut| shut.unwrap_or(Ok(())))
    }
}

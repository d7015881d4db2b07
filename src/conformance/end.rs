//! One end of the checked stream. Every failure names the end and the operation.

use std::error::Error;
use std::future::pending;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::yield_now;

use super::bulk::Bulk;
use super::pattern::{compare, pattern};
use super::task::{Alarm, both};
use super::timer::at_most;
use super::verdict::{Failure, Verdict, fail};
use super::watch::{Act, Side, Watch};

/// The traits that a check uses.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

/// An end of the checked stream.
pub(super) struct End<'p> {
    stream: Box<dyn Duplex + 'p>,
    pub(super) side: Side,
    watch: Rc<Watch>,
    /// How long a write must stay pending to count as blocked.
    patience: Option<Duration>,
}

/// The size of reads and writes whose size does not matter.
pub(super) const CHUNK: usize = 16 * 1024;

/// How often an operation may return pending and wake its task at once before it counts as pending.
const RETRIES: usize = 100;

impl<'p> End<'p> {
    pub(super) fn new(stream: Box<dyn Duplex + 'p>, side: Side, watch: Rc<Watch>) -> End<'p> {
        End { stream, side, watch, patience: None }
    }

    /// For streams whose operations start only when the runtime has nothing else to do.
    pub(super) fn with_patience(mut self, patience: Option<Duration>) -> End<'p> {
        self.patience = patience;
        self
    }

    // --- async

    /// Writes all bytes, and flushes.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Verdict {
        let side = self.side;
        self.write_all(bytes).await.map_err(failed("write", side))?;
        self.flush().await.map_err(failed("flush", side))
    }

    /// Reads exactly these bytes.
    pub(super) async fn expect(&mut self, bytes: &[u8]) -> Verdict {
        let mut read = vec![0; bytes.len()];
        let mut count = 0;
        while count < bytes.len() {
            count += some(self.read(&mut read[count..]).await, self.side, count)?;
            if read[..count] != bytes[..count] {
                let (read, expected) = (read[..count].escape_ascii(), bytes.escape_ascii());
                return fail(format!("the {} end read \"{read}\", but \"{expected}\" was written", self.side));
            }
        }
        Ok(())
    }

    /// Shuts down the writing side.
    pub(super) async fn finish(&mut self) -> Verdict {
        self.shutdown().await.map_err(failed("shutdown", self.side))
    }

    /// Reads end of file.
    pub(super) async fn expect_end(&mut self) -> Verdict {
        self.expect_end_into(&mut [0; 64]).await
    }

    /// Reads end of file, with this much room in the buffer.
    pub(super) async fn expect_end_into(&mut self, buffer: &mut [u8]) -> Verdict {
        match self.read(buffer).await {
            Ok(0) => Ok(()),
            Ok(count) => fail(format!("the {} end read {count} bytes instead of end of file", self.side)),
            Err(error) => {
                fail(format!("the {} end read an error instead of end of file: {}", self.side, causes(&error)))
            }
        }
    }

    /// Reads end of file or an error.
    pub(super) async fn expect_end_or_error(&mut self) -> Verdict {
        match self.read(&mut [0; 64]).await {
            Ok(0) | Err(_) => Ok(()),
            Ok(count) => fail(format!("the {} end read {count} bytes that were never written", self.side)),
        }
    }

    /// Writes a part of the pattern, and flushes.
    pub(super) async fn send_pattern(&mut self, part: Range<usize>) -> Verdict {
        let side = self.side;
        Bulk::whole(part).send(self, side).await
    }

    /// Reads a part of the pattern.
    pub(super) async fn expect_pattern(&mut self, part: Range<usize>) -> Verdict {
        let side = self.side;
        Bulk::whole(part).expect(self, side).await
    }

    /// Reads the pattern from `position` to `end`, then stays pending. Keeps `position` up to date.
    pub(super) async fn drain(&mut self, position: &mut usize, end: usize) -> Verdict {
        let mut buffer = vec![0; CHUNK];
        while *position < end {
            let size = CHUNK.min(end - *position);
            let count = some(self.read(&mut buffer[..size]).await, self.side, *position)?;
            compare(&buffer[..count], self.side, *position)?;
            *position += count;
        }
        pending().await
    }

    // --- polling

    /// Polls a read once.
    pub(super) fn try_read(&mut self, alarm: &Alarm, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let polled = Pin::new(self).poll_read(&mut Context::from_waker(&alarm.waker()), &mut buffer);
        polled.map_ok(|()| buffer.filled().len())
    }

    /// Polls a read once. It must be pending, because there is nothing to read.
    pub(super) fn read_nothing_yet(&mut self, alarm: &Alarm) -> Verdict {
        match self.try_read(alarm, &mut [0; 64]) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(0)) => fail(format!("the {} end read end of file, but its peer is open", self.side)),
            Poll::Ready(Ok(count)) => fail(format!("the {} end read {count} bytes that were never written", self.side)),
            Poll::Ready(Err(error)) => Err(failed("read", self.side)(error)),
        }
    }

    /// Leaves a read pending, with nothing to read.
    pub(super) async fn begin_read(&mut self, alarm: &Alarm) -> Verdict {
        for _ in 0..RETRIES {
            self.read_nothing_yet(alarm)?;
            if !alarm.has_rung() {
                break;
            }
            yield_now().await;
        }
        Ok(())
    }

    /// Polls a write of the pattern once.
    pub(super) fn try_write(&mut self, alarm: &Alarm, position: usize) -> Poll<Result<usize, Failure>> {
        let side = self.side;
        let chunk = pattern(position..position + CHUNK);
        Pin::new(self).poll_write(&mut Context::from_waker(&alarm.waker()), chunk).map(|written| match written {
            Ok(0) => fail(format!("a write at the {side} end took nothing, and did not wait")),
            Ok(count) => Ok(count),
            Err(error) => Err(failed("write", side)(error)),
        })
    }

    /// Writes the pattern from `position` until a write blocks. Returns false if no write blocks before `max` bytes.
    pub(super) async fn fill(&mut self, alarm: &Alarm, position: &mut usize, max: usize) -> Result<bool, Failure> {
        let mut retries = 0;
        while *position < max {
            match self.try_write(alarm, *position) {
                Poll::Ready(written) => (*position, retries) = (*position + written?, 0),
                Poll::Pending if retries < RETRIES && self.may_go_on(alarm).await => retries += 1,
                Poll::Pending => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Returns whether a pending write has been woken.
    async fn may_go_on(&self, alarm: &Alarm) -> bool {
        if let Some(patience) = self.patience {
            return at_most(patience, alarm.rings()).await.is_some();
        }
        let has_rung = alarm.has_rung();
        if has_rung {
            yield_now().await;
        }
        has_rung
    }

    /// Notes the result of a poll. Once the time is up, every poll is pending, so that the timer of a busy check gets a turn.
    fn watched<T>(&mut self, act: Act, poll: impl FnOnce(Pin<&mut (dyn Duplex + 'p)>) -> Poll<T>) -> Poll<T> {
        if self.watch.is_over() {
            return Poll::Pending;
        }
        let polled = poll(Pin::new(&mut *self.stream));
        self.watch.note(self.side, act, polled.is_pending());
        polled
    }
}

/// Fails if a write claims to have taken more than it was given.
fn at_most_given(written: Poll<io::Result<usize>>, given: usize) -> Poll<io::Result<usize>> {
    match written {
        Poll::Ready(Ok(count)) if count > given => {
            Poll::Ready(Err(io::Error::other(format!("it was given {given} bytes, and says that it took {count}"))))
        }
        written => written,
    }
}

impl AsyncRead for End<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.watched(Act::Read, |stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for End<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        at_most_given(self.watched(Act::Write, |stream| stream.poll_write(cx, buf)), buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let given = bufs.iter().map(|slice| slice.len()).sum();
        at_most_given(self.watched(Act::Write, |stream| stream.poll_write_vectored(cx, bufs)), given)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched(Act::Flush, |stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched(Act::Shutdown, |stream| stream.poll_shutdown(cx))
    }
}

/// Sends a few bytes each way, so that later failures concern a stream that works.
pub(super) async fn greet(near: &mut End<'_>, far: &mut End<'_>) -> Verdict {
    both(far.send(b"hello, near"), near.expect(b"hello, near")).await?;
    both(near.send(b"hello, far"), far.expect(b"hello, far")).await
}

/// Sends a few last bytes, to detect bytes that were lost or doubled before them.
pub(super) async fn settle(near: &mut End<'_>, far: &mut End<'_>) -> Verdict {
    both(near.send(b"and that was all"), far.expect(b"and that was all")).await
}

/// Returns how many bytes were read; end of file is a failure.
pub(super) fn some(read: io::Result<usize>, side: Side, so_far: usize) -> Result<usize, Failure> {
    match read {
        Ok(0) => fail(format!("the {side} end read end of file after {so_far} bytes, but more were written")),
        Ok(count) => Ok(count),
        Err(error) => Err(failed("read", side)(error)),
    }
}

/// Returns the closure that turns an error into a failure, for `map_err`.
pub(super) fn failed(what: &str, side: Side) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::Broken(format!("a {what} failed at the {side} end: {}", causes(&error)))
}

/// Returns the text of an error and of all its sources.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut behind = error.source();
    while let Some(cause) = behind {
        text += &format!(": {cause}");
        behind = cause.source();
    }
    text
}

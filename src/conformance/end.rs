//! One end of the stream that is checked, as the checks use it: every failure says what was being done and at which end.

use std::cell::Cell;
use std::error::Error;
use std::future::{pending, poll_fn};
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::yield_now;

use super::task::Alarm;
use super::verdict::{Failure, Verdict, fail};

/// What every checked stream is, and all that a check knows of it.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

/// An end, and its name in failures: `near`, the one that a check is told from, or `far`.
pub(super) struct End<'p> {
    stream: Box<dyn Duplex + 'p>,
    pub(super) name: &'static str,
    watch: Rc<Watch>,
}

/// How many bytes are read or written at a time where it does not matter.
const CHUNK: usize = 16 * 1024;

/// How often something may say that it is pending and wake its poller at once, until it is taken at its word.
const RETRIES: usize = 100;

impl<'p> End<'p> {
    pub(super) fn new(stream: Box<dyn Duplex + 'p>, name: &'static str, watch: Rc<Watch>) -> End<'p> {
        End { stream, name, watch }
    }

    // --- waiting for it

    /// Writes it all, and flushes.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Verdict {
        let name = self.name;
        let sent = async {
            self.write_all(bytes).await?;
            self.flush().await
        };
        sent.await.map_err(failed("write", name))
    }

    /// Reads exactly these bytes.
    pub(super) async fn expect(&mut self, bytes: &[u8]) -> Verdict {
        let mut read = vec![0; bytes.len()];
        let mut count = 0;
        while count < bytes.len() {
            count += some(self.read(&mut read[count..]).await, self.name, count)?;
        }
        if read != bytes {
            return fail(format!("the {} end read {:?} where {:?} was written", self.name, text(&read), text(bytes)));
        }
        Ok(())
    }

    /// Shuts down what it writes.
    pub(super) async fn finish(&mut self) -> Verdict {
        self.shutdown().await.map_err(failed("shutdown", self.name))
    }

    /// Reads end of file.
    pub(super) async fn expect_end(&mut self) -> Verdict {
        match self.read(&mut [0; 64]).await {
            Ok(0) => Ok(()),
            Ok(count) => fail(format!("the {} end read {count} bytes where end of file was to come", self.name)),
            Err(error) => fail(format!("the {} end read no end of file: {}", self.name, causes(&error))),
        }
    }

    /// Reads end of file or an error, whichever.
    pub(super) async fn expect_end_or_error(&mut self) -> Verdict {
        match self.read(&mut [0; 64]).await {
            Ok(0) | Err(_) => Ok(()),
            Ok(count) => fail(format!("the {} end read {count} bytes that nobody wrote", self.name)),
        }
    }

    /// Writes that part of the pattern, and flushes.
    pub(super) async fn send_pattern(&mut self, part: Range<usize>) -> Verdict {
        let name = self.name;
        send_pattern(self, name, part).await
    }

    /// Reads that part of the pattern.
    pub(super) async fn expect_pattern(&mut self, part: Range<usize>) -> Verdict {
        let name = self.name;
        expect_pattern(self, name, part).await
    }

    /// Reads the pattern from `position` up to `end`, and moves it along, as far as it gets until it is dropped.
    pub(super) async fn drain(&mut self, position: &mut usize, end: usize) -> Verdict {
        let mut buffer = vec![0; CHUNK];
        while *position < end {
            let size = CHUNK.min(end - *position);
            let count = some(self.read(&mut buffer[..size]).await, self.name, *position)?;
            compare(&buffer[..count], self.name, *position)?;
            *position += count;
        }
        pending().await
    }

    // --- polling it

    /// Polls a read once.
    pub(super) fn try_read(&mut self, alarm: &Alarm, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let polled = Pin::new(self).poll_read(&mut Context::from_waker(&alarm.waker()), &mut buffer);
        polled.map_ok(|()| buffer.filled().len())
    }

    /// Polls a read until it is left pending, which it must be where nobody has written.
    pub(super) async fn begin_read(&mut self, alarm: &Alarm) -> Verdict {
        for retry in 0.. {
            match self.try_read(alarm, &mut [0; 64]) {
                Poll::Ready(Ok(0)) => return fail(format!("the {} end read end of file of an open peer", self.name)),
                Poll::Ready(Ok(count)) => {
                    return fail(format!("the {} end read {count} bytes that nobody wrote", self.name));
                }
                Poll::Ready(Err(error)) => return Err(failed("read", self.name)(error)),
                Poll::Pending if retry < RETRIES && alarm.has_rung() => yield_now().await,
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Writes the pattern from `position` on, and moves it along, until a write is left pending. `false` where that does
    /// not come about before `most` bytes.
    pub(super) async fn fill(&mut self, alarm: &Alarm, position: &mut usize, most: usize) -> Result<bool, Failure> {
        let mut retries = 0;
        while *position < most {
            let chunk = pattern(*position..*position + CHUNK);
            match Pin::new(&mut *self).poll_write(&mut Context::from_waker(&alarm.waker()), chunk) {
                Poll::Ready(Ok(0)) => {
                    return fail(format!("the {} end wrote nothing, and called that done", self.name));
                }
                Poll::Ready(Ok(count)) => (*position, retries) = (*position + count, 0),
                Poll::Ready(Err(error)) => return Err(failed("write", self.name)(error)),
                Poll::Pending if retries < RETRIES && alarm.has_rung() => {
                    retries += 1;
                    yield_now().await;
                }
                Poll::Pending => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Notes what a poll came to, and lets none through once the time is up: what is busy and never waits is then left
    /// pending too, and gets to its watchdog.
    fn watched<T>(&mut self, act: Act, poll: impl FnOnce(Pin<&mut (dyn Duplex + 'p)>) -> Poll<T>) -> Poll<T> {
        if self.watch.is_over() {
            return Poll::Pending;
        }
        let polled = poll(Pin::new(&mut *self.stream));
        self.watch.note(self.name, act, polled.is_pending());
        polled
    }
}

impl AsyncRead for End<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.watched(Act::Read, |stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for End<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.watched(Act::Write, |stream| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.watched(Act::Write, |stream| stream.poll_write_vectored(cx, bufs))
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

/// As [`End::send_pattern`], for a half of one too. In chunks of many sizes.
pub(super) async fn send_pattern(to: &mut (impl AsyncWrite + Unpin), name: &str, part: Range<usize>) -> Verdict {
    let sent = async {
        let mut position = part.start;
        while position < part.end {
            let size = 1 + position.wrapping_mul(7919) % CHUNK;
            let end = part.end.min(position + size);
            to.write_all(pattern(position..end)).await?;
            position = end;
        }
        to.flush().await
    };
    sent.await.map_err(failed("write", name))
}

/// As [`End::expect_pattern`], for a half of one too.
pub(super) async fn expect_pattern(from: &mut (impl AsyncRead + Unpin), name: &str, part: Range<usize>) -> Verdict {
    let mut buffer = vec![0; CHUNK];
    let mut position = part.start;
    while position < part.end {
        let size = CHUNK.min(part.end - position);
        let count = some(from.read(&mut buffer[..size]).await, name, position - part.start)?;
        compare(&buffer[..count], name, position)?;
        position += count;
    }
    Ok(())
}

/// A part of the bytes that are sent where there are many; no longer than a chunk. They repeat after a prime number.
pub(super) fn pattern(part: Range<usize>) -> &'static [u8] {
    const PERIOD: usize = 65_521;
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mixed = |place: usize| (place.wrapping_mul(2_654_435_761) >> 13) as u8;
        (0..PERIOD + CHUNK).map(|place| mixed(place % PERIOD)).collect()
    });
    let begin = part.start % PERIOD;
    &BYTES[begin..begin + part.len()]
}

/// Holds what was read, no more than a chunk, against the pattern.
pub(super) fn compare(read: &[u8], name: &str, position: usize) -> Verdict {
    let expected = pattern(position..position + read.len());
    if read == expected {
        return Ok(());
    }
    let right = read.iter().zip(expected).take_while(|(read, expected)| read == expected).count();
    fail(format!("the {name} end read a wrong byte, number {}", position + right))
}

/// How many bytes were read, where some were to be.
pub(super) fn some(read: io::Result<usize>, name: &str, so_far: usize) -> Result<usize, Failure> {
    match read {
        Ok(0) => fail(format!("the {name} end read end of file after {so_far} bytes, where more were to come")),
        Ok(count) => Ok(count),
        Err(error) => Err(failed("read", name)(error)),
    }
}

/// Makes the closure that turns an error into a failure, for `map_err`.
pub(super) fn failed(what: &str, name: &str) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure(format!("a {what} failed at the {name} end: {}", causes(&error)))
}

/// An error with all that is behind it.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut behind = error.source();
    while let Some(cause) = behind {
        text += &format!(": {cause}");
        behind = cause.source();
    }
    text
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Polls a read that goes on from where `buffer` is filled to.
pub(super) async fn read_on(from: &mut End<'_>, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *from).poll_read(cx, buffer)).await
}

#[derive(Clone, Copy)]
enum Act {
    Read,
    Write,
    Flush,
    Shutdown,
}

/// When the time of a check is up, and what of it was pending last.
pub(super) struct Watch {
    end: Instant,
    over: Cell<bool>,
    pending: [[Cell<bool>; 4]; 2],
}

const NAMES: [&str; 2] = ["near", "far"];

impl Watch {
    pub(super) fn new(time: Duration) -> Watch {
        let begin = Instant::now();
        // An end that no clock can tell is none: the watchdog's own timer is then as far away.
        let end = begin.checked_add(time).unwrap_or(begin + Duration::from_secs(u32::MAX.into()));
        Watch { end, over: Cell::new(false), pending: Default::default() }
    }

    /// Whether the time is up. Once it is, it stays so.
    pub(super) fn is_over(&self) -> bool {
        if !self.over.get() {
            self.over.set(Instant::now() >= self.end);
        }
        self.over.get()
    }

    /// Whether a poll was held back because the time was up.
    pub(super) fn was_over(&self) -> bool {
        self.over.get()
    }

    fn note(&self, name: &str, act: Act, pending: bool) {
        self.pending[usize::from(name == NAMES[1])][act as usize].set(pending);
    }

    /// What was pending last, in words.
    pub(super) fn pending(&self) -> String {
        let acts = ["read", "write", "flush", "shutdown"];
        let of_end = |end: usize| {
            let pending = move |act: &usize| self.pending[end][*act].get();
            (0..acts.len()).filter(pending).map(move |act| format!("a {} at the {} end", acts[act], NAMES[end]))
        };
        let pending: Vec<String> = (0..NAMES.len()).flat_map(of_end).collect();
        if pending.is_empty() { "nothing".to_owned() } else { pending.join(", ") }
    }
}

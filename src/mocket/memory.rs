//! A duplex stream in memory: the socket of a pair of mockets that has none.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::Shut;
use super::stage::after;

/// One end of a stream in memory; see [`MocketOptions::memory_pair`](super::MocketOptions::memory_pair).
///
/// A write takes all that is offered, and never waits. Reads wait for the other end; a blocking read fails with `TimedOut`
/// after the [patience](super::MocketOptions::patience) of the pair. An end that is dropped or shut down is the end of file for the
/// other one.
#[derive(Debug)]
pub struct Memory {
    link: Arc<Link>,
    end: usize,
}

/// What the two ends share.
#[derive(Debug)]
pub(super) struct Link {
    state: Mutex<State>,
    changed: Condvar,
    patience: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// What is on its way to each end.
    flows: [Flow; 2],
    /// One end has failed.
    is_broken: bool,
}

#[derive(Debug, Default)]
struct Flow {
    bytes: VecDeque<u8>,
    has_ended: bool,
    /// The end that would read it is gone.
    is_abandoned: bool,
    reader: Option<Waker>,
}

impl Link {
    pub(super) fn new(patience: Duration) -> Link {
        Link { state: Mutex::default(), changed: Condvar::new(), patience }
    }

    /// Everything fails from here on.
    pub(super) fn break_off(&self) {
        let mut state = self.lock();
        state.is_broken = true;
        let readers = state.flows.each_mut().map(|flow| flow.reader.take());
        drop(state);
        self.changed.notify_all();
        readers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Changes what is on its way to an end, and wakes its reader.
    fn change<T>(&self, end: usize, change: impl FnOnce(&mut Flow) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.lock();
        if state.is_broken {
            return Err(Errno::ECONNRESET.into());
        }
        let outcome = change(&mut state.flows[end]);
        let reader = state.flows[end].reader.take();
        drop(state);
        self.changed.notify_all();
        if let Some(reader) = reader {
            reader.wake();
        }
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// `None` if the read has to wait.
    fn read(&mut self, end: usize, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        if self.is_broken {
            return Some(Err(Errno::ECONNRESET.into()));
        }
        let flow = &mut self.flows[end];
        if buffer.is_empty() || (flow.bytes.is_empty() && flow.has_ended) {
            return Some(Ok(0));
        }
        if flow.bytes.is_empty() {
            return None;
        }
        Some(flow.bytes.read(buffer))
    }
}

impl Memory {
    pub(super) fn ends(link: Arc<Link>) -> (Memory, Memory) {
        (Memory { link: Arc::clone(&link), end: 0 }, Memory { link, end: 1 })
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.link.change(1 - self.end, |flow| {
            if flow.has_ended || flow.is_abandoned {
                return Err(Errno::EPIPE.into());
            }
            flow.bytes.extend(bytes);
            Ok(bytes.len())
        })
    }
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let until = after(self.link.patience);
        let mut state = self.link.lock();
        loop {
            if let Some(outcome) = state.read(self.end, buffer) {
                return outcome;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let why = format!("the other end of the pair in memory wrote nothing for {:?}", self.link.patience);
                return Err(io::Error::new(ErrorKind::TimedOut, why));
            }
            let waited = self.link.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shut for Memory {
    fn shut_down_writing(&self) -> io::Result<()> {
        self.link.change(1 - self.end, |flow| {
            flow.has_ended = true;
            Ok(())
        })
    }
}

/// The other end reads what was written, and then the end of file; its writes fail with `EPIPE`.
impl Drop for Memory {
    fn drop(&mut self) {
        let _ = self.shut_down_writing(); // or the link is broken, and the other end knows
        self.link.lock().flows[self.end].is_abandoned = true;
    }
}

#[cfg(any(feature = "tokio-uring", feature = "epoll"))]
mod in_tasks {
    use std::task::{Context, Poll};

    use super::{Memory, io};

    impl Memory {
        pub(super) fn poll(&self, context: &Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            let mut state = self.link.lock();
            if let Some(outcome) = state.read(self.end, buffer) {
                return Poll::Ready(outcome);
            }
            let old = state.flows[self.end].reader.replace(context.waker().clone());
            drop(state);
            drop(old); // while nobody holds the link: it may run anything
            Poll::Pending
        }
    }
}

#[cfg(feature = "epoll")]
mod with_tokio {
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::{Memory, Shut, io};

    impl AsyncRead for Memory {
        fn poll_read(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let size = ready!(self.poll(context, buffer.initialize_unfilled()))?;
            buffer.advance(size);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Memory {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(self.send(bytes))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(self.shut_down_writing())
        }
    }
}

#[cfg(feature = "tokio-uring")]
mod with_tokio_uring {
    use std::future::poll_fn;
    use std::net::Shutdown;

    use tokio_uring::BufResult;
    use tokio_uring::buf::{BoundedBuf, BoundedBufMut};

    use super::{Memory, Shut, io};
    use crate::mocket::uring::UringStream;

    impl UringStream for Memory {
        async fn read<T: BoundedBufMut>(&self, mut buffer: T) -> BufResult<usize, T> {
            let mut bytes = vec![0; buffer.bytes_total()];
            let read = poll_fn(|context| self.poll(context, &mut bytes)).await;
            if let Ok(size) = read {
                buffer.put_slice(&bytes[..size]);
            }
            (read, buffer)
        }

        async fn write<T: BoundedBuf>(&self, buffer: T) -> BufResult<usize, T> {
            let bounds = buffer.bounds();
            let all = buffer.slice_full();
            (self.send(&all), T::from_buf_bounds(all.into_inner(), bounds))
        }

        async fn write_all<T: BoundedBuf>(&self, buffer: T) -> BufResult<(), T> {
            let (written, buffer) = self.write(buffer).await;
            (written.map(drop), buffer)
        }

        fn shutdown(&self, how: Shutdown) -> io::Result<()> {
            match how {
                Shutdown::Read => Ok(()),
                Shutdown::Write | Shutdown::Both => self.shut_down_writing(),
            }
        }
    }
}

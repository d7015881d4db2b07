//! A duplex stream in memory: the socket of a pair of mockets that has none.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::Shut;
use super::stage::after;

/// Bytes that may be on their way to each end.
const CAPACITY: usize = 1 << 16;

/// One end of a stream in memory; see [`MocketOptions::memory_pair`](super::MocketOptions::memory_pair).
///
/// 64 KiB may be on their way in each direction; then writes wait. A call that blocks for longer than the
/// [patience](super::MocketOptions::patience) of the pair fails with `TimedOut`. When one end is dropped or shut down, the other
/// reads the end of file.
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
    writer: Option<Waker>,
}

impl Link {
    pub(super) fn new(patience: Duration) -> Link {
        Link { state: Mutex::default(), changed: Condvar::new(), patience }
    }

    /// Everything fails from here on.
    pub(super) fn break_off(&self) {
        let mut state = self.lock();
        state.is_broken = true;
        let wakers = state.flows.each_mut().map(|flow| [flow.reader.take(), flow.writer.take()]);
        self.wake(state, wakers.into_iter().flatten());
    }

    /// Lets go of the state first: a waker may run anything.
    fn wake(&self, state: MutexGuard<'_, State>, wakers: impl IntoIterator<Item = Option<Waker>>) {
        drop(state);
        self.changed.notify_all();
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A read or a write of one end: its outcome, or nothing if it has to wait.
type Moved = Option<io::Result<usize>>;

impl Memory {
    pub(super) fn ends(link: Arc<Link>) -> (Memory, Memory) {
        (Memory { link: Arc::clone(&link), end: 0 }, Memory { link, end: 1 })
    }

    fn try_read(&self, state: &mut State, buffer: &mut [u8]) -> Moved {
        let flow = &mut state.flows[self.end];
        if state.is_broken {
            return Some(Err(Errno::ECONNRESET.into()));
        }
        if flow.bytes.is_empty() && !flow.has_ended && !buffer.is_empty() {
            return None;
        }
        Some(flow.bytes.read(buffer))
    }

    fn try_write(&self, state: &mut State, bytes: &[u8]) -> Moved {
        let flow = &mut state.flows[1 - self.end];
        if state.is_broken {
            return Some(Err(Errno::ECONNRESET.into()));
        }
        if flow.has_ended || flow.is_abandoned {
            return Some(Err(Errno::EPIPE.into()));
        }
        let size = bytes.len().min(CAPACITY - flow.bytes.len());
        if size == 0 && !bytes.is_empty() {
            return None;
        }
        flow.bytes.extend(&bytes[..size]);
        Some(Ok(size))
    }

    fn has_read(&self, mut state: MutexGuard<'_, State>) {
        let waker = state.flows[self.end].writer.take();
        self.link.wake(state, [waker]);
    }

    fn has_written(&self, mut state: MutexGuard<'_, State>) {
        let waker = state.flows[1 - self.end].reader.take();
        self.link.wake(state, [waker]);
    }

    /// Tries until the patience ends.
    fn block(
        &self,
        idle: &str,
        mut attempt: impl FnMut(&mut State) -> Moved,
    ) -> io::Result<(usize, MutexGuard<'_, State>)> {
        let until = after(self.link.patience);
        let mut state = self.link.lock();
        loop {
            if let Some(outcome) = attempt(&mut state) {
                return Ok((outcome?, state));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let why = format!("the other end of the pair in memory {idle} nothing for {:?}", self.link.patience);
                return Err(io::Error::new(ErrorKind::TimedOut, why));
            }
            let waited = self.link.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (size, state) = self.block("wrote", |state| self.try_read(state, buffer))?;
        self.has_read(state);
        Ok(size)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (size, state) = self.block("read", |state| self.try_write(state, bytes))?;
        self.has_written(state);
        Ok(size)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shut for Memory {
    fn shut_down_writing(&self) -> io::Result<()> {
        let mut state = self.link.lock();
        if state.is_broken {
            return Err(Errno::ECONNRESET.into());
        }
        state.flows[1 - self.end].has_ended = true;
        self.has_written(state);
        Ok(())
    }
}

/// The other end reads what was written, and then the end of file; its writes fail with `EPIPE`.
impl Drop for Memory {
    fn drop(&mut self) {
        let _ = self.shut_down_writing(); // or the link is broken, and the other end knows
        let mut state = self.link.lock();
        state.flows[self.end].is_abandoned = true;
        self.has_read(state);
    }
}

/// Async calls.
impl Memory {
    pub(super) fn poll_receive(&self, context: &Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.link.lock();
        if let Some(outcome) = self.try_read(&mut state, buffer) {
            self.has_read(state);
            return Poll::Ready(outcome);
        }
        let old = state.flows[self.end].reader.replace(context.waker().clone());
        drop(state);
        drop(old); // without the lock: it may run anything
        Poll::Pending
    }

    pub(super) fn poll_send(&self, context: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.link.lock();
        if let Some(outcome) = self.try_write(&mut state, bytes) {
            self.has_written(state);
            return Poll::Ready(outcome);
        }
        let old = state.flows[1 - self.end].writer.replace(context.waker().clone());
        drop(state);
        drop(old);
        Poll::Pending
    }
}

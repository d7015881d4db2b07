//! Many bytes in one direction, with a limit on how many calls they may take.

use std::cell::Cell;
use std::ops::Range;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::end::{CHUNK, failed, some};
use super::pattern::{compare, pattern};
use super::verdict::{Verdict, fail};

/// More calls than this end a transfer early: a stream that moves a byte at a time is slow, not broken.
pub(super) const MOST_CALLS: usize = 25_000;

/// A transfer that takes long is not cut before as many bytes.
const LEAST: usize = 1 << 20;

/// A part of the pattern that is on its way. Both sides hold it, so that the sender can shorten it.
pub(super) struct Bulk {
    begin: usize,
    end: Cell<usize>,
    most_calls: usize,
    calls: Cell<usize>,
    /// When it counts as slow.
    late: Option<Instant>,
}

impl Bulk {
    /// A part that is cut short if it takes many calls, or more than this time.
    pub(super) fn new(part: Range<usize>, time: Duration) -> Bulk {
        Bulk { late: Instant::now().checked_add(time), ..Bulk::limited(part, MOST_CALLS) }
    }

    /// A part that is not cut short, for two sides that do not share it.
    pub(super) fn whole(part: Range<usize>) -> Bulk {
        Bulk::limited(part, usize::MAX)
    }

    pub(super) fn limited(part: Range<usize>, most_calls: usize) -> Bulk {
        Bulk { begin: part.start, end: Cell::new(part.end), most_calls, calls: Cell::new(0), late: None }
    }

    /// Returns how many reads and writes it took.
    pub(super) fn calls(&self) -> usize {
        self.calls.get()
    }

    /// Returns where it ends; earlier than at first if it took too many calls.
    pub(super) fn end(&self) -> usize {
        self.end.get()
    }

    /// Writes the part in chunks of many sizes, and flushes.
    pub(super) async fn send(&self, to: &mut (impl AsyncWrite + Unpin), name: &str) -> Verdict {
        self.write(to, name, |position| 1 + position.wrapping_mul(7919) % CHUNK).await?;
        to.flush().await.map_err(failed("flush", name))
    }

    /// Writes the part without a flush. `size_at` says how many bytes a write is given at a position.
    pub(super) async fn write(
        &self,
        to: &mut (impl AsyncWrite + Unpin),
        name: &str,
        size_at: impl Fn(usize) -> usize,
    ) -> Verdict {
        let mut position = self.begin;
        while position < self.end.get() {
            let mut left = size_at(position);
            while left > 0 && position < self.end.get() {
                self.count();
                if self.is_slow(position) {
                    self.end.set(self.end.get().min(position + 1)); // the reader may wait for a byte: it gets one more
                }
                let end = self.end.get().min(position + left);
                let count = to.write(pattern(position..end)).await.map_err(failed("write", name))?;
                if count == 0 {
                    return fail(format!("a write at the {name} end took nothing, and did not wait"));
                }
                position += count;
                left -= count.min(left);
            }
        }
        Ok(())
    }

    /// Reads the part.
    pub(super) async fn expect(&self, from: &mut (impl AsyncRead + Unpin), name: &str) -> Verdict {
        let mut buffer = vec![0; CHUNK];
        let mut position = self.begin;
        while position < self.end.get() {
            let size = CHUNK.min(self.end.get() - position);
            let count = some(from.read(&mut buffer[..size]).await, name, position - self.begin)?;
            compare(&buffer[..count], name, position)?;
            position += count;
            self.count();
        }
        Ok(())
    }

    fn is_slow(&self, position: usize) -> bool {
        let is_late = || self.late.is_some_and(|late| Instant::now() >= late);
        self.calls.get() > self.most_calls || (position - self.begin >= LEAST && is_late())
    }

    /// Counts a call; after too many, the sender stops.
    pub(super) fn count(&self) {
        self.calls.set(self.calls.get() + 1);
    }
}

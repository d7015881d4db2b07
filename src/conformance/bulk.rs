//! Many bytes in one direction, with a limit on how many calls they may take.

use std::cell::Cell;
use std::ops::Range;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::end::{CHUNK, failed, some};
use super::pattern::{compare, pattern};
use super::verdict::{Verdict, fail};
use super::watch::Side;

/// A transfer ends early after this many calls: a stream that moves a byte at a time is slow, not broken.
pub(super) const MAX_CALLS: usize = 25_000;

/// A slow transfer moves at least this many bytes before it ends early.
const MIN_BYTES: usize = 1 << 20;

/// A transfer of a part of the pattern. Sender and receiver share it, so that the sender can shorten it.
pub(super) struct Bulk {
    begin: usize,
    end: Cell<usize>,
    max_calls: usize,
    calls: Cell<usize>,
    /// After this time the transfer counts as slow.
    late: Option<Instant>,
}

impl Bulk {
    /// A transfer that ends early if it takes many calls, or more than this time.
    pub(super) fn new(part: Range<usize>, time: Duration) -> Bulk {
        Bulk { late: Instant::now().checked_add(time), ..Bulk::limited(part, MAX_CALLS) }
    }

    /// A transfer that never ends early, for a sender and a receiver that do not share it.
    pub(super) fn whole(part: Range<usize>) -> Bulk {
        Bulk::limited(part, usize::MAX)
    }

    pub(super) fn limited(part: Range<usize>, max_calls: usize) -> Bulk {
        Bulk { begin: part.start, end: Cell::new(part.end), max_calls, calls: Cell::new(0), late: None }
    }

    /// Returns how many reads and writes the transfer took.
    pub(super) fn calls(&self) -> usize {
        self.calls.get()
    }

    /// Returns the position of its end, which moves forward if the transfer takes too many calls.
    pub(super) fn end(&self) -> usize {
        self.end.get()
    }

    /// Writes the part in chunks of many sizes, and flushes.
    pub(super) async fn send(&self, to: &mut (impl AsyncWrite + Unpin), side: Side) -> Verdict {
        self.write(to, side, |position| 1 + position.wrapping_mul(7919) % CHUNK).await?;
        to.flush().await.map_err(failed("flush", side))
    }

    /// Writes the part without a flush. `size_at` returns the size of the write at a position.
    pub(super) async fn write(
        &self,
        to: &mut (impl AsyncWrite + Unpin),
        side: Side,
        size_at: impl Fn(usize) -> usize,
    ) -> Verdict {
        let mut position = self.begin;
        while position < self.end.get() {
            let mut left = size_at(position);
            while left > 0 && position < self.end.get() {
                self.count();
                if self.is_slow(position) {
                    self.end.set(self.end.get().min(position + 1)); // one more byte, for which the reader may be waiting
                }
                let end = self.end.get().min(position + left);
                let count = to.write(pattern(position..end)).await.map_err(failed("write", side))?;
                if count == 0 {
                    return fail(format!("a write at the {side} end took nothing, and did not wait"));
                }
                position += count;
                left -= count.min(left);
            }
        }
        Ok(())
    }

    /// Reads the part.
    pub(super) async fn expect(&self, from: &mut (impl AsyncRead + Unpin), side: Side) -> Verdict {
        let mut buffer = vec![0; CHUNK];
        let mut position = self.begin;
        while position < self.end.get() {
            let size = CHUNK.min(self.end.get() - position);
            let count = some(from.read(&mut buffer[..size]).await, side, position - self.begin)?;
            compare(&buffer[..count], side, position)?;
            position += count;
            self.count();
        }
        Ok(())
    }

    fn is_slow(&self, position: usize) -> bool {
        let is_late = || self.late.is_some_and(|late| Instant::now() >= late);
        self.calls.get() > self.max_calls || (position - self.begin >= MIN_BYTES && is_late())
    }

    /// Counts a call. After too many, the sender stops.
    pub(super) fn count(&self) {
        self.calls.set(self.calls.get() + 1);
    }
}

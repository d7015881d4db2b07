//! The time limit of a check, and which of its operations are pending.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

/// One end of the checked stream: a check describes the near end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Near,
    Far,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Near => "near",
            Side::Far => "far",
        })
    }
}

#[derive(Clone, Copy)]
pub(super) enum Act {
    Read,
    Write,
    Flush,
    Shutdown,
}

pub(super) struct Watch {
    end: Instant,
    over: Cell<bool>,
    pending: [[Cell<bool>; 4]; 2],
}

impl Watch {
    pub(super) fn new(time: Duration) -> Watch {
        let begin = Instant::now();
        // `Instant` cannot hold a longer limit; the timer then has none.
        let end = begin.checked_add(time).unwrap_or(begin + Duration::from_secs(u32::MAX.into()));
        Watch { end, over: Cell::new(false), pending: Default::default() }
    }

    /// Returns whether the time is up.
    pub(super) fn is_over(&self) -> bool {
        if !self.over.get() {
            self.over.set(Instant::now() >= self.end);
        }
        self.over.get()
    }

    /// Returns how much time is left.
    pub(super) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Returns whether a poll was refused because the time was up.
    pub(super) fn was_over(&self) -> bool {
        self.over.get()
    }

    /// Notes how a poll ended. A write, flush or shutdown takes the place of the others: one that was pending was cancelled.
    pub(super) fn note(&self, side: Side, act: Act, pending: bool) {
        let of_side = &self.pending[side as usize];
        match act {
            Act::Read => {}
            Act::Write | Act::Flush | Act::Shutdown => {
                of_side[Act::Write as usize..].iter().for_each(|act| act.set(false))
            }
        }
        of_side[act as usize].set(pending);
    }

    /// Returns the pending operations, in words.
    pub(super) fn pending(&self) -> String {
        let acts = ["read", "write", "flush", "shutdown"];
        let of_side = |side: Side| {
            let pending = move |act: &usize| self.pending[side as usize][*act].get();
            (0..acts.len()).filter(pending).map(move |act| format!("a {} at the {side} end", acts[act]))
        };
        let pending: Vec<String> = [Side::Near, Side::Far].into_iter().flat_map(of_side).collect();
        if pending.is_empty() { "nothing".to_owned() } else { pending.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_takes_the_place_of_a_cancelled_write() {
        let watch = Watch::new(Duration::MAX);
        watch.note(Side::Near, Act::Write, true);
        watch.note(Side::Far, Act::Read, true);
        watch.note(Side::Far, Act::Shutdown, true);
        assert_eq!(watch.pending(), "a write at the near end, a read at the far end, a shutdown at the far end");
        watch.note(Side::Near, Act::Flush, false);
        watch.note(Side::Far, Act::Write, true);
        assert_eq!(watch.pending(), "a read at the far end, a write at the far end");
        watch.note(Side::Far, Act::Read, false);
        watch.note(Side::Far, Act::Write, false);
        assert_eq!(watch.pending(), "nothing");
    }
}

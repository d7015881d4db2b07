//! When the time of a check is up, and which of its operations was pending last.

use std::cell::Cell;
use std::time::{Duration, Instant};

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

const NAMES: [&str; 2] = ["near", "far"];

impl Watch {
    pub(super) fn new(time: Duration) -> Watch {
        let begin = Instant::now();
        // An end that no clock can tell is none: the timer is then as far away.
        let end = begin.checked_add(time).unwrap_or(begin + Duration::from_secs(u32::MAX.into()));
        Watch { end, over: Cell::new(false), pending: Default::default() }
    }

    /// Returns whether the time is up. Once it is, it stays so.
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

    /// Returns whether a poll was held back because the time was up.
    pub(super) fn was_over(&self) -> bool {
        self.over.get()
    }

    pub(super) fn note(&self, name: &str, act: Act, pending: bool) {
        self.pending[usize::from(name == NAMES[1])][act as usize].set(pending);
    }

    /// Returns what was pending last, in words.
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

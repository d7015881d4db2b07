//! A batch: pairs of one call, made in several submissions.

use nix::errno::Errno;

use crate::attempt::{Attempt, Ends, Made};
use crate::error::{Result, Step};
use crate::hazards::descriptors::can_open;

/// The pairs of a batch so far.
pub(super) struct Batch {
    count: usize,
    pub(super) ends: Vec<Ends>,
    pub(super) made: Made,
}

impl Batch {
    /// Fails if the process cannot open enough descriptors.
    pub(super) fn of(count: usize) -> Result<Batch> {
        if count > 0 && !can_open(count.saturating_mul(2))? {
            return Err(Step::Socket.failed()(Errno::EMFILE));
        }
        Ok(Batch { count, ends: Vec::with_capacity(count), made: Made::default() })
    }

    /// Begins the next submission. False if all pairs are made.
    pub(super) fn begin_next(&self, attempt: &mut Attempt<'_>) -> Result<bool> {
        let next = (self.count - self.ends.len()).min(attempt.room());
        if next > 0 {
            attempt.begin(next)?;
        }
        Ok(next > 0)
    }

    pub(super) fn take(&mut self, attempt: &mut Attempt<'_>) -> Result<()> {
        let made = attempt.take_pairs(|ends| self.ends.push(ends))?;
        self.made.inline += made.inline;
        self.made.parked += made.parked;
        Ok(())
    }
}

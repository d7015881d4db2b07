//! The time that passes on a stage, by the wall clock: delays of the script, and the patience of a read.

use crate::wait::Alarm;

/// A direction. Shutdowns are writes.
#[derive(Clone, Copy)]
pub(super) enum Direction {
    Read,
    Write,
}

/// When the waiting of each kind ends. A dropped call leaves its time here, and the next call goes on with it.
#[derive(Default)]
pub(super) struct Delays {
    read: Option<Alarm>,
    write: Option<Alarm>,
    /// For a read that waits for its turn.
    pub(super) patience: Option<Alarm>,
}

impl Delays {
    pub(super) fn of(&mut self, direction: Direction) -> &mut Option<Alarm> {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}

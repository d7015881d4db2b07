//! The time that passes on a stage: delays of the script, and the patience of a read.

use std::pin::Pin;

use tokio::time::Sleep;

use crate::wait::Alarm;

/// The delays that are running: one for reads, one for writes and shutdowns.
#[derive(Default)]
pub(super) struct Delays {
    pub(super) read: Option<Pin<Box<Sleep>>>,
    pub(super) write: Option<Pin<Box<Sleep>>>,
    /// When the patience of a read that waits for its turn ends.
    pub(super) alarm: Option<Alarm>,
}

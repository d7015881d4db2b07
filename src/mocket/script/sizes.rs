//! How much each transfer may move.

use std::num::NonZeroUsize;

/// How much a transfer may move.
#[derive(Clone, Debug, Default)]
pub(super) struct Sizes {
    pub(super) max: Option<NonZeroUsize>,
    pub(super) state: Option<u64>,
    /// Drawn, and not yet used: a call that had to wait is asked again.
    drawn: Option<usize>,
}

impl Sizes {
    pub(super) fn next(&mut self) -> usize {
        let max = self.max.map_or(usize::MAX, NonZeroUsize::get);
        let Some(state) = &mut self.state else { return max };
        let drawn = *self.drawn.get_or_insert_with(|| {
            let bits = mixed(state);
            1 + (bits >> 8) as usize % (1 << (bits % 8))
        });
        drawn.min(max)
    }

    pub(super) fn forget(&mut self) {
        self.drawn = None;
    }
}

/// A step of a counter whose bits are then mixed, twice by a shift and an odd factor.
fn mixed(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    for _ in 0..2 {
        bits = (bits ^ (bits >> 31)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }
    bits ^ (bits >> 32)
}

//! The seats of one making.

use crate::rendezvous::Key;

/// The seats of pairs that are made together, without an allocation.
pub(crate) struct Seats {
    keys: [u32; Seats::MOST],
    count: u32,
}

impl Seats {
    /// So many pairs are made in one submission: enough to share its cost, few enough that all they touch stays in the
    /// processor's caches. The submission queue holds their connects and accepts, a backlog all their connections.
    pub(crate) const MOST: usize = 32;

    pub(crate) fn new() -> Seats {
        Seats { keys: [0; Seats::MOST], count: 0 }
    }

    pub(crate) fn push(&mut self, seat: Key) {
        self.keys[self.count as usize] = seat as u32;
        self.count += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.count as usize
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Key> + '_ {
        self.keys[..self.len()].iter().map(|key| *key as Key)
    }

    pub(crate) fn clear(&mut self) {
        self.count = 0;
    }

    /// Takes out those that `leave` says, in order.
    pub(crate) fn retain(&mut self, mut stays: impl FnMut(Key) -> bool) {
        let all = std::mem::replace(self, Seats::new());
        all.iter().filter(|seat| stays(*seat)).for_each(|seat| self.push(seat));
    }
}

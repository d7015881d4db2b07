//! Gates: how they are opened and given up, and what becomes of strangers before them.

use std::os::fd::{AsFd, BorrowedFd};

use super::State;
use crate::engine::backlog;
use crate::error::Result;
use crate::listener::{BACKLOG, Listener, PAIRS_PER_LISTENER};
use crate::options::Plan;
use crate::rendezvous::Key;

/// So many strangers are a crowd.
const CROWD: u32 = 8;

/// More than wait at a gate that nobody is let in by any more, with those who were on the way in. Where it could not be barred,
/// others may come for ever.
const MOST_AT_A_BARRED_GATE: u32 = 2 * BACKLOG;

impl State {
    /// Opens a listener and a gate for it.
    pub(crate) fn open_gate(&mut self, plan: &Plan) -> Result<Key> {
        let nonblocking = self.engine.is_nonblocking();
        let listener = match Listener::open(plan, nonblocking, self.spare.take()) {
            Err(_) if self.close_left_gate() => Listener::open(plan, nonblocking, self.spare.take()), // has its descriptor
            listener => listener,
        }?;
        if self.left.is_none() {
            self.strangers_before = std::mem::replace(&mut self.strangers_at_turn, self.meeting.strangers());
        }
        // One-shots connect one at a time, and there is room for one.
        let room = if self.counting { backlog::room_of(listener.socket().as_fd()).unwrap_or(BACKLOG) } else { 1 };
        Ok(self.meeting.open_gate(listener, room.max(1)))
    }

    pub(crate) fn admits(&self, gate: Key, count: usize) -> bool {
        !self.broken && self.meeting.admits(gate, count as u32, PAIRS_PER_LISTENER)
    }

    /// Whether so many strangers wait at a gate that it is quicker to leave them to the kernel, with the listener, than to turn
    /// each away until our own come. Not asked before as many have come lately as a backlog holds: a few can knock at the same
    /// door again.
    pub(crate) fn is_crowded(&self, gate: Key) -> bool {
        let strangers =
            || backlog::waiting_at(self.listener(gate)).unwrap_or(0).saturating_sub(self.meeting.wanting(gate));
        self.meeting.strangers() - self.strangers_before >= u64::from(BACKLOG) && strangers() >= CROWD
    }

    /// Whether this gate's backlog has run full of strangers, so that a handshake of ours may have been dropped. The kernel
    /// would try it again after a second.
    pub(crate) fn is_overrun(&self, gate: Key) -> bool {
        self.meeting.strangers_at(gate) > 0 && backlog::has_overflowed(self.listener(gate)).unwrap_or(false)
    }

    /// Gives a gate up that has a crowd before its door. Nobody gets in any more, but whoever was just on the way in when the door
    /// was barred still arrives. All of them are there when a pair that has begun after that has met: then they are counted,
    /// and the listener is closed.
    pub(crate) fn leave_behind(&mut self, gate: Key) {
        self.close_left_gate();
        if self.meeting.is_idle(gate) {
            self.bar(gate);
            (self.left, self.left_is_due) = (Some(gate), false);
        } else {
            self.close_gate(gate); // none of ours may be kept out
        }
    }

    /// True where there was one.
    pub(super) fn close_left_gate(&mut self) -> bool {
        let left = self.left.take();
        left.inspect(|gate| self.close_gate(*gate)).is_some()
    }

    /// Gives a gate up. Its listener is closed here, unless others are still seated there: then with the last of them.
    pub(crate) fn close_gate(&mut self, gate: Key) {
        self.meeting.close_gate(gate);
        self.leave_if_idle(gate);
    }

    pub(super) fn leave_if_idle(&mut self, gate: Key) {
        if !self.meeting.is_over(gate) {
            return;
        }
        if self.counting && !self.deserted {
            self.bar(gate);
            self.count_who_waits(gate);
        }
        self.spare = Some(self.meeting.remove_gate(gate).close());
    }

    /// Counts all strangers who have come until now, those at a gate that was left behind among them. Where pairs are in the
    /// making, these count them.
    pub(crate) fn sweep(&mut self, gate: Key) {
        self.close_left_gate();
        if self.meeting.is_idle(gate) && !self.deserted {
            // No more than these: who keeps on coming must not keep us here.
            let waiting = backlog::waiting_at(self.listener(gate)).unwrap_or(BACKLOG);
            self.turn_away_who_waits(gate, waiting);
        }
    }

    /// Closes the doors of an engine that is of no use any more: its accepts need not land, and must not bring anyone.
    pub(super) fn close_doors(&mut self) {
        if self.deserted {
            return; // they are the parent's, and open there
        }
        for gate in self.meeting.gates() {
            if self.counting {
                self.bar(gate);
                self.turn_away_who_waits(gate, MOST_AT_A_BARRED_GATE);
            }
            self.meeting.listener(gate).shut();
        }
    }

    /// Turns away those who wait, `most` at most, and counts those who are not ours.
    fn turn_away_who_waits(&mut self, gate: Key, most: u32) {
        let mut peers = Vec::new();
        // Where this fails, the rest is turned away by the next accept, or by the kernel when the listener is closed.
        let _ = self.meeting.listener(gate).drain(most, |peer| peers.push(peer.as_socket()));
        for peer in peers {
            if self.meeting.whose_is(gate, peer).is_none() {
                self.meeting.turn_away(gate, peer);
            }
        }
    }

    /// Counts those who wait at a listener that is given up. The kernel turns them away with it.
    fn count_who_waits(&mut self, gate: Key) {
        let waiting = || backlog::waiting_at(self.listener(gate)).ok();
        match self.meeting.expects_nobody(gate).then(waiting).flatten() {
            Some(waiting) => (0..waiting).for_each(|_| self.meeting.turn_away(gate, None)),
            // Some may be ours; only who is accepted tells where it comes from.
            None => self.turn_away_who_waits(gate, MOST_AT_A_BARRED_GATE),
        }
    }

    /// Lets nobody in any more. Where that is refused, somebody may come between the last look and the end, and be reset without
    /// having been counted.
    fn bar(&self, gate: Key) {
        let _ = backlog::bar(self.listener(gate));
    }

    fn listener(&self, gate: Key) -> BorrowedFd<'_> {
        self.meeting.listener(gate).socket().as_fd()
    }
}

//! Where pairs in the making meet: a listener that is kept and turned in time, or one for a single pair.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Result, Step};
use crate::hub::{Hub, Seats, State};
use crate::options::{Backend, Plan};
use crate::rendezvous::Key;

/// A plan, and what carries it out.
pub(crate) struct Source {
    pub(crate) plan: Plan,
    /// Whether the listener serves more pairs than one.
    lasting: bool,
    /// Whether the engine needs its sockets in non-blocking mode.
    pub(crate) nonblocking: bool,
    kept: Mutex<Kept>,
    opened: AtomicU64,
}

/// What is kept between pairs.
struct Kept {
    hub: Arc<Hub>,
    gate: Option<Key>,
}

impl Source {
    /// One whose listener is kept.
    pub(crate) fn lasting(plan: Plan, hub: Arc<Hub>) -> Source {
        let mut source = Source::for_one_pair(plan, hub);
        source.lasting = true;
        source
    }

    pub(crate) fn for_one_pair(plan: Plan, hub: Arc<Hub>) -> Source {
        let nonblocking = hub.backend() == Backend::Epoll;
        Source {
            plan,
            lasting: false,
            nonblocking,
            kept: Mutex::new(Kept { hub, gate: None }),
            opened: AtomicU64::new(0),
        }
    }

    /// The hub in use.
    pub(crate) fn hub(&self) -> Arc<Hub> {
        Arc::clone(&self.lock().hub)
    }

    /// Has `start` start `count` pairs, at the listener in use or, where that has served long enough, at a fresh one.
    pub(crate) fn start<R>(&self, count: usize, start: impl FnOnce(&mut State, Key) -> R) -> Result<(Arc<Hub>, R)> {
        let mut kept = self.lock();
        let gate = self.gate_for(count, &mut kept)?;
        let (started, owes_a_turn) = kept.hub.with_nobody_woken(|state| (start(state, gate), state.owes_a_turn()));
        let hub = Arc::clone(&kept.hub);
        drop(kept);
        if owes_a_turn {
            // What landed in between was another's, and who has a whole pair now, or none at all, may not ask again.
            hub.with(|state| state.turn());
        }
        Ok((hub, started))
    }

    /// Opens the listener now, so that what keeps it from being opened is known now, and has a socket ready where that can be
    /// had.
    pub(crate) fn prepare(&self) -> Result<()> {
        let mut kept = self.lock();
        self.turn(&mut kept)?;
        kept.restock(&self.plan);
        Ok(())
    }

    /// After pairs that were given up: turns to a fresh listener where one of their connections may wait at the one in use,
    /// and to a fresh engine where this one is of no use any more; has a socket ready again. Where that cannot be had now, the
    /// next pair tries again and tells why not.
    pub(crate) fn mend(&self) {
        let mut kept = self.lock();
        if !self.lasting || kept.renew_if_broken(&self.plan).is_err() {
            return;
        }
        if kept.gate.is_none_or(|gate| kept.hub.with_nobody_woken(|state| state.meeting.is_retired(gate))) {
            let _ = self.turn(&mut kept);
        }
        kept.restock(&self.plan);
    }

    /// Closes the listener in use.
    pub(crate) fn close(&self) {
        self.lock().close_gate();
    }

    /// How many pairs may be started at once: those that are late must all find room in the backlog.
    pub(crate) fn room(&self) -> usize {
        let kept = self.lock();
        let room = |gate| kept.hub.with_nobody_woken(|state| state.meeting.room(gate));
        kept.gate.map_or(1, room).min(Seats::MOST as u32) as usize
    }

    /// Turns away whoever waits at the listener in use, and tells how many that makes in all.
    pub(crate) fn sweep(&self) -> u64 {
        let kept = self.lock();
        kept.hub.with_nobody_woken(|state| {
            if let Some(gate) = kept.gate {
                state.sweep(gate);
            }
            state.meeting.strangers()
        })
    }

    pub(crate) fn listeners_opened(&self) -> u64 {
        self.opened.load(Relaxed)
    }

    /// The gate in use, or a fresh one where that takes no more pairs, or has a crowd of strangers before its door.
    fn gate_for(&self, count: usize, kept: &mut Kept) -> Result<Key> {
        let admitted = |state: &mut State, gate| state.admits(gate, count).then(|| (gate, state.is_crowded(gate)));
        match kept.gate.and_then(|gate| kept.hub.with_nobody_woken(|state| admitted(state, gate))) {
            Some((gate, false)) => Ok(gate),
            Some((gate, true)) => {
                kept.gate = None;
                kept.hub.with_nobody_woken(|state| state.leave_behind(gate));
                self.turn(kept)
            }
            None => {
                kept.renew_if_broken(&self.plan)?;
                self.turn(kept)
            }
        }
    }

    fn turn(&self, kept: &mut Kept) -> Result<Key> {
        kept.close_gate();
        let fresh = kept.hub.with_nobody_woken(|state| state.open_gate(&self.plan))?;
        self.opened.fetch_add(1, Relaxed);
        kept.gate = Some(fresh);
        Ok(fresh)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn close_gate(&mut self) {
        if let Some(gate) = self.gate.take() {
            self.hub.with_nobody_woken(|state| state.close_gate(gate));
        }
    }

    /// Where it is refused, the next pair opens its own.
    fn restock(&self, plan: &Plan) {
        let _ = self.hub.with_nobody_woken(|state| state.restock(plan));
    }

    /// An engine that has refused a submission once is given up; what is in flight on it ends with it.
    fn renew_if_broken(&mut self, plan: &Plan) -> Result<()> {
        if self.hub.with_nobody_woken(|state| state.is_broken()) {
            let fresh = self.hub.another().map_err(Step::Ring.failed())?;
            self.close_gate();
            self.hub = fresh;
            self.restock(plan);
        }
        Ok(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.close_gate();
    }
}

//! Idle makers, and the calls that wait for one.
//!
//! A call tries its thread's own slot first, then the other slots, then opens a maker. Locks of slots are only *tried*: a slot
//! that another thread has locked counts as empty, so no call waits for it, and a lock held during a fork blocks no child.
//!
//! **Invariants:** at most [`LIMIT`] makers are open or being opened. A maker is in one place: a slot, a grant or a lease. While
//! a call waits, no maker stays in a slot, and no later call overtakes it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;
use std::thread::available_parallelism;

use crate::hazards::fork::Token;
use crate::wait::wake_all;

/// The maximum number of open makers per pool. Further calls wait.
pub(crate) const LIMIT: usize = 64;

pub(crate) struct Pool<M> {
    token: Token,
    slots: Box<[Slot<M>]>,
    /// Makers that are open or being opened.
    open: AtomicUsize,
    /// Calls in the queue.
    waiting: AtomicUsize,
    queue: Mutex<Queue<M>>,
}

/// A slot per CPU, each on cache lines of its own.
#[repr(align(128))]
struct Slot<M> {
    maker: Mutex<Option<Box<M>>>,
    counts: [AtomicU64; Count::ALL],
}

/// What a pool counts. Each slot has its own counters, so threads do not share them.
#[derive(Clone, Copy)]
pub(crate) enum Count {
    Inline,
    Parked,
    Strangers,
    Listeners,
}

impl Count {
    const ALL: usize = 4;
}

struct Queue<M> {
    newest: u64,
    waiting: VecDeque<Waiting<M>>,
}

struct Waiting<M> {
    number: u64,
    waker: Waker,
    grant: Option<Grant<M>>,
}

/// What a waiting call gets.
pub(crate) enum Grant<M> {
    Maker(Box<M>),
    /// Leave to open a maker, which already counts as open.
    Open,
}

/// Why a call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// [`LIMIT`] makers are open.
    Limit,
    /// Descriptors or memory have run out, and other makers are in use.
    Scarcity,
}

impl<M> Pool<M> {
    pub(crate) fn new() -> Pool<M> {
        Pool::with_slots(cpus())
    }

    fn with_slots(count: usize) -> Pool<M> {
        let slot = |_| Slot { maker: Mutex::new(None), counts: Default::default() };
        Pool {
            token: Token::current(),
            slots: (0..count).map(slot).collect(),
            open: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            queue: Mutex::new(Queue { newest: 0, waiting: VecDeque::new() }),
        }
    }

    /// Takes an idle maker. `None` if there is none, or if calls wait for one.
    pub(crate) fn take(&self) -> Option<Box<M>> {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return None;
        }
        self.take_idle()
    }

    fn take_idle(&self) -> Option<Box<M>> {
        let take = |slot: &Slot<M>| slot.try_lock()?.take();
        let (own, mut others) = self.own_and_others();
        take(own).or_else(|| others.find_map(take))
    }

    /// Counts one more maker as open, which the caller opens next. False at the [`LIMIT`], or if calls wait.
    pub(crate) fn reserve(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0 && self.reserve_even_if_others_wait()
    }

    fn reserve_even_if_others_wait(&self) -> bool {
        let one_more = |open| (open < LIMIT).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Whether other makers are open, apart from the one that the caller has reserved.
    pub(crate) fn has_others(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 1
    }

    /// Gives a maker to a waiting call, or puts it in a slot. Drops it if all slots are full.
    pub(crate) fn put(&self, maker: Box<M>) {
        match self.store(maker) {
            None => self.serve_if_any_waits(false),
            Some(surplus) => {
                drop(surplus);
                self.forget_one();
            }
        }
    }

    /// Stores a maker in a slot. Returns it if all slots are full.
    fn store(&self, maker: Box<M>) -> Option<Box<M>> {
        let (own, mut others) = self.own_and_others();
        let free = own.free().or_else(|| others.find_map(Slot::free));
        // Another thread may hold its lock for a moment.
        let free = free.or_else(|| own.lock_soon().filter(|place| place.is_none()));
        match free {
            Some(mut place) => place.replace(maker),
            None => Some(maker),
        }
    }

    /// Counts one open maker less: it was dropped, or could not be opened.
    pub(crate) fn forget_one(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.serve_if_any_waits(true);
    }

    /// The same if descriptors or memory have run out. Waiting calls may open a maker only if none is open: others would fail
    /// too.
    pub(crate) fn give_up_one(&self) {
        let was_last = self.open.fetch_sub(1, Ordering::Relaxed) == 1;
        self.serve_if_any_waits(was_last);
    }

    /// Must follow every change to a slot or to `open`.
    fn serve_if_any_waits(&self, may_open: bool) {
        // Either this load sees the waiting call, or that call sees the change.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.serve(may_open);
        }
    }

    /// Joins the queue.
    pub(crate) fn wait(&self, reason: Reason, waker: Waker) -> Ticket<'_, M> {
        let mut queue = self.lock_queue();
        queue.newest += 1;
        let number = queue.newest;
        queue.waiting.push_back(Waiting { number, waker, grant: None });
        self.waiting.fetch_add(1, Ordering::Relaxed);
        drop(queue);
        fence(Ordering::SeqCst); // as in `serve_if_any_waits`
        let may_open = reason == Reason::Limit || self.open.load(Ordering::Relaxed) == 0;
        self.serve(may_open);
        Ticket { pool: self, number }
    }

    /// Grants idle makers to waiting calls, the longest wait first, and leave to open one more if `may_open`.
    fn serve(&self, mut may_open: bool) {
        let mut woken = Vec::new();
        let mut queue = self.lock_queue();
        for waiting in queue.waiting.iter_mut().filter(|waiting| waiting.grant.is_none()) {
            waiting.grant = match self.take_idle() {
                Some(maker) => Some(Grant::Maker(maker)),
                None if std::mem::take(&mut may_open) && self.reserve_even_if_others_wait() => Some(Grant::Open),
                None => break,
            };
            woken.push(waiting.waker.clone());
        }
        drop(queue);
        wake_all(woken); // without the lock: a waker may run any code
    }

    /// Takes all idle makers of a pool that is no longer used.
    pub(crate) fn take_all(&self) -> impl Iterator<Item = Box<M>> + '_ {
        self.slots.iter().filter_map(|slot| slot.try_lock()?.take())
    }

    /// Calls `look` for each idle maker, which no call can take meanwhile.
    pub(crate) fn for_each_idle(&self, mut look: impl FnMut(&mut M)) {
        for slot in &self.slots {
            if let Some(maker) = slot.lock_soon().as_mut().and_then(|place| place.as_deref_mut()) {
                look(maker);
            }
        }
        self.serve_if_any_waits(false); // a call may have found a slot locked meanwhile
    }

    pub(crate) fn add(&self, count: Count, number: u64) {
        if number > 0 {
            if let Some(own) = self.slots.get(self.own()) {
                own.counts[count as usize].fetch_add(number, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn sum(&self, count: Count) -> u64 {
        self.slots.iter().map(|slot| slot.counts[count as usize].load(Ordering::Relaxed)).sum()
    }

    /// Returns this thread's slot, and the others in order from there.
    fn own_and_others(&self) -> (&Slot<M>, impl Iterator<Item = &Slot<M>>) {
        let own = self.own();
        (&self.slots[own], self.slots[own + 1..].iter().chain(&self.slots[..own]))
    }

    fn own(&self) -> usize {
        match own_of_this_thread() {
            own if own < self.slots.len() => own,
            own => own % self.slots.len(),
        }
    }

    fn lock_queue(&self) -> MutexGuard<'_, Queue<M>> {
        // No caller's code runs under the lock, so a panic cannot leave the queue inconsistent.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> Slot<M> {
    fn try_lock(&self) -> Option<MutexGuard<'_, Option<Box<M>>>> {
        match self.maker.try_lock() {
            Ok(place) => Some(place),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn free(&self) -> Option<MutexGuard<'_, Option<Box<M>>>> {
        self.try_lock().filter(|place| place.is_none())
    }

    /// Locks are held for one take or put only. `None` if the slot stays locked: a fork has left it so.
    fn lock_soon(&self) -> Option<MutexGuard<'_, Option<Box<M>>>> {
        for _ in 0..1000 {
            match self.try_lock() {
                None => std::thread::yield_now(),
                place => return place,
            }
        }
        None
    }
}

/// A call's place in the queue.
pub(crate) struct Ticket<'a, M> {
    pool: &'a Pool<M>,
    number: u64,
}

impl<M> Ticket<'_, M> {
    /// Takes the grant. If there is none yet, `waker` is called when there is one.
    pub(crate) fn take(&self, waker: Waker) -> Option<Grant<M>> {
        let mut queue = self.pool.lock_queue();
        let place = queue.waiting.iter().position(|waiting| waiting.number == self.number)?;
        let waiting = &mut queue.waiting[place];
        let (grant, spent) = match waiting.grant.take() {
            Some(grant) => {
                let waiting = queue.waiting.remove(place);
                self.pool.waiting.fetch_sub(1, Ordering::Relaxed);
                (Some(grant), (waiting.map(|waiting| waiting.waker), Some(waker)))
            }
            None => (None, (Some(std::mem::replace(&mut waiting.waker, waker)), None)),
        };
        drop(queue);
        drop(spent); // without the lock: dropping a waker can drop its task, and the futures in it
        grant
    }
}

/// Leaves the queue, and passes on a grant that was not taken.
impl<M> Drop for Ticket<'_, M> {
    fn drop(&mut self) {
        if !self.pool.token.is_current() {
            return; // a forked child has no part in its parent's queue, which may stay locked
        }
        let mut queue = self.pool.lock_queue();
        let place = queue.waiting.iter().position(|waiting| waiting.number == self.number);
        let left = place.and_then(|place| queue.waiting.remove(place));
        self.pool.waiting.fetch_sub(usize::from(left.is_some()), Ordering::Relaxed);
        drop(queue);
        match left.and_then(|waiting| waiting.grant) {
            Some(Grant::Maker(maker)) => self.pool.put(maker),
            Some(Grant::Open) => self.pool.forget_one(),
            None => {}
        }
    }
}

/// Returns the number of this thread's slot in a pool with one slot per CPU, assigned in turn on first use.
fn own_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % cpus());
    OWN.try_with(|own| *own).unwrap_or(0) // thread-locals are gone while a thread ends
}

/// Returns the number of CPUs of this process. Cached, because the standard library reads files for it.
fn cpus() -> usize {
    static KNOWN: AtomicUsize = AtomicUsize::new(0);
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let count = available_parallelism().map_or(1, usize::from).min(LIMIT);
            KNOWN.store(count, Ordering::Relaxed);
            count
        }
        known => known,
    }
}

#[cfg(test)]
mod tests;

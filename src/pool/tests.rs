mod queue;
mod schedule;
mod slots;
mod stress;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Barrier, mpsc};
use std::task::Wake;
use std::thread;
use std::time::{Duration, Instant};

use super::*;

/// The longest that a call may wait.
const LONG: Duration = Duration::from_secs(20);

/// Opens makers that count themselves.
#[derive(Default)]
struct Shop {
    opened: AtomicUsize,
    alive: Arc<AtomicUsize>,
}

struct Maker {
    number: usize,
    alive: Arc<AtomicUsize>,
}

impl Shop {
    /// Opens the next number, from 0.
    fn open(&self) -> Box<Maker> {
        self.alive.fetch_add(1, SeqCst);
        Box::new(Maker { number: self.opened.fetch_add(1, SeqCst), alive: Arc::clone(&self.alive) })
    }

    fn alive(&self) -> usize {
        self.alive.load(SeqCst)
    }

    /// A pool with makers in its slots.
    fn pool(&self, slots: usize, idle: usize) -> Pool<Maker> {
        let pool = Pool::with_slots(slots);
        for _ in 0..idle {
            assert!(pool.reserve());
            pool.put(self.open());
        }
        pool
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, SeqCst);
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(SeqCst)
    }

    fn waker(self: &Arc<Self>) -> Waker {
        Arc::clone(self).into()
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn taken(pool: &Pool<Maker>) -> Option<usize> {
    pool.take().map(|maker| maker.number)
}

fn open(pool: &Pool<Maker>) -> usize {
    pool.open.load(SeqCst)
}

fn reserve(pool: &Pool<Maker>, count: usize) {
    (0..count).for_each(|_| assert!(pool.reserve()));
}

fn wait(pool: &Pool<Maker>, reason: Reason) -> Ticket<'_, Maker> {
    pool.wait(reason, Waker::noop().clone())
}

/// What a ticket has got: nothing, leave to open (`Err`), or the maker of this number.
fn granted(ticket: &Ticket<'_, Maker>) -> Option<Result<usize, ()>> {
    ticket.take(Waker::noop().clone()).map(|grant| match grant {
        Grant::Maker(maker) => Ok(maker.number),
        Grant::Open => Err(()),
    })
}

//! Calls of many threads at once.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::wait::Unparks;

const THREADS: usize = 4;

/// Calls of many threads, with room for a few makers.
struct Stress {
    pool: Pool<Maker>,
    shop: Shop,
    /// Makers that can be alive.
    room: usize,
    /// A call has waited for [`LONG`]. The others end at once.
    is_late: AtomicBool,
}

impl Stress {
    /// Takes a maker as [`Acquire`](crate::lease::Acquire) does. `None` if the call gives up, or is late.
    fn acquire(&self, may_give_up: bool) -> Option<Box<Maker>> {
        let until = Instant::now() + LONG;
        let mut ticket: Option<Ticket<'_, Maker>> = None;
        while !self.is_late(until) {
            match &ticket {
                Some(queued) => match queued.take(Unparks::this_thread()) {
                    Some(Grant::Maker(maker)) => return Some(maker),
                    Some(Grant::Open) => {}
                    None if may_give_up => return None,
                    None => {
                        thread::park_timeout(until.saturating_duration_since(Instant::now()));
                        continue;
                    }
                },
                None => match self.pool.take() {
                    Some(maker) => return Some(maker),
                    None if self.pool.reserve() => {}
                    None => {
                        ticket = Some(self.pool.wait(Reason::Limit, Unparks::this_thread()));
                        continue;
                    }
                },
            }
            drop(ticket.take());
            if let Some(maker) = self.open() {
                return Some(maker);
            }
            if self.pool.has_others() {
                self.pool.give_up_one();
                ticket = Some(self.pool.wait(Reason::Scarcity, Unparks::this_thread()));
            } else {
                self.pool.forget_one();
            }
        }
        None
    }

    /// Opens a maker that is reserved, if there is room.
    fn open(&self) -> Option<Box<Maker>> {
        let one_more = |alive| (alive < self.room).then_some(alive + 1);
        self.shop.alive.fetch_update(SeqCst, SeqCst, one_more).ok()?;
        let maker = self.shop.open();
        self.shop.alive.fetch_sub(1, SeqCst); // `open` has counted it once more
        Some(maker)
    }

    fn is_late(&self, until: Instant) -> bool {
        if Instant::now() >= until {
            self.is_late.store(true, SeqCst);
        }
        self.is_late.load(SeqCst)
    }

    /// One call, whose kind these bits choose.
    fn call(&self, bits: u64) {
        let Some(maker) = self.acquire(bits % 4 == 0) else { return };
        if bits & 16 == 0 {
            thread::yield_now();
        }
        if bits & 0b1110_0000 == 0 {
            drop(maker);
            self.pool.forget_one();
        } else {
            self.pool.put(maker);
        }
        if bits & 0b1_1100_0000_0000 == 0 {
            self.pool.for_each_idle(|_| thread::yield_now());
        }
    }

    /// Threads meet after every few calls: the last ones have no other thread that wakes them by chance.
    fn run(&self, seed: u64, barrier: &Barrier) {
        let mut bits = seed;
        for _ in 0..500 {
            for _ in 0..6 {
                bits = bits.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                self.call(bits >> 32);
            }
            barrier.wait();
        }
    }
}

/// Runs threads with room for so many makers, while `elsewhere` others are open.
fn stress(slots: usize, room: usize, elsewhere: usize) {
    let (pool, shop, is_late) = (Pool::with_slots(slots), Shop::default(), AtomicBool::new(false));
    let stress = Stress { pool, shop, room, is_late };
    reserve(&stress.pool, elsewhere);
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        for seed in 1..=THREADS as u64 {
            let (stress, barrier) = (&stress, &barrier);
            scope.spawn(move || stress.run(seed, barrier));
        }
    });
    assert!(!stress.is_late.into_inner(), "a wake-up was lost");
    assert_eq!((stress.pool.waiting.load(SeqCst), open(&stress.pool)), (0, stress.shop.alive() + elsewhere));
    let idle = stress.pool.take_all().count();
    assert_eq!(open(&stress.pool), idle + elsewhere);
}

#[test]
fn no_wake_up_is_lost_if_one_maker_serves_all() {
    stress(1, 1, 0);
    stress(4, 1, 0);
}

#[test]
fn no_wake_up_is_lost_for_want_of_descriptors() {
    stress(2, 2, 0);
    stress(1, 3, 0);
}

#[test]
fn no_wake_up_is_lost_at_the_limit() {
    stress(1, LIMIT, LIMIT - 1);
    stress(2, LIMIT, LIMIT - 2);
}

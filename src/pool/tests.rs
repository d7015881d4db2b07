mod schedule;
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

// --- slots

#[test]
fn a_thread_uses_its_own_slot_first_and_then_those_after_it() {
    let pool = Shop::default().pool(4, 4);
    for number in 0..4 {
        let slot = &pool.slots[(pool.own() + number) % 4];
        assert_eq!(slot.try_lock().unwrap().as_ref().unwrap().number, number);
    }
    assert_eq!([0; 5].map(|_| taken(&pool)), [Some(0), Some(1), Some(2), Some(3), None]);
}

#[test]
fn threads_have_slots_of_their_own() {
    let own = own_of_this_thread();
    assert_eq!(own_of_this_thread(), own);
    assert_ne!(thread::spawn(own_of_this_thread).join().unwrap(), own);
}

#[test]
fn a_pool_has_a_slot_per_cpu() {
    let count = available_parallelism().unwrap().get().min(LIMIT);
    assert_eq!((cpus(), cpus(), Pool::<Maker>::new().slots.len()), (count, count, count));
}

#[test]
fn a_locked_slot_is_passed_over() {
    let shop = Shop::default();
    let pool = shop.pool(3, 1);
    let locked = pool.slots[pool.own()].try_lock().unwrap();
    assert_eq!(taken(&pool), None);
    reserve(&pool, 1);
    pool.put(shop.open());
    assert_eq!(taken(&pool), Some(1));
    drop(locked);
    assert_eq!(taken(&pool), Some(0));
}

#[test]
fn a_surplus_maker_is_dropped_and_no_longer_counted() {
    let shop = Shop::default();
    let pool = shop.pool(1, 3);
    assert_eq!((shop.alive(), open(&pool)), (1, 1));
    let locked = pool.slots[0].try_lock().unwrap();
    reserve(&pool, 1);
    pool.put(shop.open());
    assert_eq!((shop.alive(), open(&pool)), (1, 1));
    drop(locked);
    assert_eq!(taken(&pool), Some(0));
}

#[test]
fn a_poisoned_slot_still_serves() {
    let pool = Shop::default().pool(1, 1);
    let look = |_: &mut Maker| std::panic::resume_unwind(Box::new("as the test wants it"));
    catch_unwind(AssertUnwindSafe(|| pool.for_each_idle(look))).unwrap_err();
    assert_eq!(taken(&pool), Some(0));
}

#[test]
fn all_idle_makers_are_looked_at_and_stay() {
    let pool = Shop::default().pool(4, 3);
    let _locked = pool.slots[(pool.own() + 1) % 4].try_lock().unwrap();
    let mut seen = Vec::new();
    pool.for_each_idle(|maker| seen.push(maker.number));
    seen.sort();
    assert_eq!(seen, [0, 2]);
    assert_eq!([taken(&pool), taken(&pool)], [Some(0), Some(2)]);
}

#[test]
fn a_call_that_came_during_a_look_is_served_after_it() {
    let pool = Shop::default().pool(1, 1);
    let mut ticket = None;
    pool.for_each_idle(|_| ticket = Some(wait(&pool, Reason::Scarcity)));
    assert_eq!(granted(&ticket.unwrap()), Some(Ok(0)));
}

#[test]
fn a_look_waits_for_a_slot_that_is_locked_for_a_moment() {
    let pool = Shop::default().pool(1, 1);
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            let locked = pool.slots[0].try_lock().unwrap();
            barrier.wait();
            thread::yield_now();
            drop(locked);
        });
        barrier.wait();
        // The other thread may be slow, so this asks again.
        let until = Instant::now() + LONG;
        let mut seen = 0;
        while seen == 0 && Instant::now() < until {
            pool.for_each_idle(|_| seen += 1);
        }
        assert_eq!(seen, 1);
    });
}

#[test]
fn all_makers_can_be_taken_out_except_those_in_locked_slots() {
    let pool = Shop::default().pool(3, 3);
    let _locked = pool.slots[(pool.own() + 1) % 3].try_lock().unwrap();
    let mut numbers: Vec<usize> = pool.take_all().map(|maker| maker.number).collect();
    numbers.sort();
    assert_eq!(numbers, [0, 2]);
}

#[test]
fn counts_are_summed_over_threads() {
    let pool = Pool::<Maker>::with_slots(LIMIT);
    pool.add(Count::Inline, 1);
    pool.add(Count::Parked, 0);
    let other = thread::scope(|scope| {
        let adds = || {
            pool.add(Count::Inline, 2);
            pool.own()
        };
        scope.spawn(adds).join().unwrap()
    });
    pool.add(Count::Listeners, 5);
    let counts = [Count::Inline, Count::Parked, Count::Strangers, Count::Listeners];
    assert_eq!(counts.map(|count| pool.sum(count)), [3, 0, 0, 5]);
    let used = pool.slots.iter().filter(|slot| slot.counts[Count::Inline as usize].load(SeqCst) > 0).count();
    assert_eq!(used, if other == pool.own() { 1 } else { 2 }); // many threads have been started before
}

// --- the limit

#[test]
fn at_most_64_makers_are_open() {
    let pool = Pool::<Maker>::with_slots(1);
    reserve(&pool, 64);
    assert!(!pool.reserve());
    pool.forget_one();
    assert!(pool.reserve());
    pool.give_up_one();
    assert!(pool.reserve() && !pool.reserve());
}

#[test]
fn a_reserved_maker_has_others_if_two_are_open() {
    let pool = Pool::<Maker>::with_slots(1);
    reserve(&pool, 1);
    assert!(!pool.has_others());
    reserve(&pool, 1);
    assert!(pool.has_others());
}

// --- the queue

/// Threads that do not wait for each other share no lock.
#[test]
fn the_queue_is_not_locked_while_no_call_waits() {
    let pool = Shop::default().pool(1, 1);
    let (done, is_done) = mpsc::channel();
    thread::scope(|scope| {
        let locked = pool.lock_queue();
        scope.spawn(|| {
            let maker = pool.take().unwrap();
            assert!(pool.reserve());
            pool.give_up_one();
            pool.put(maker);
            pool.for_each_idle(|_| ());
            done.send(()).unwrap();
        });
        let outcome = is_done.recv_timeout(LONG);
        drop(locked);
        outcome.unwrap();
    });
}

#[test]
fn calls_that_wait_are_served_in_order() {
    let shop = Shop::default();
    let pool = Pool::with_slots(2);
    reserve(&pool, LIMIT);
    let wakes = [0; 3].map(|_| Arc::<Wakes>::default());
    let tickets: Vec<_> = wakes.iter().map(|wakes| pool.wait(Reason::Limit, wakes.waker())).collect();
    let woken = || wakes.each_ref().map(|wakes| wakes.count());
    assert_eq!(woken(), [0, 0, 0]);
    pool.put(shop.open());
    assert_eq!(woken(), [1, 0, 0]);
    pool.forget_one();
    assert_eq!(woken(), [1, 1, 0]);
    pool.put(shop.open());
    assert_eq!(woken(), [1, 1, 1]);
    let grants: Vec<_> = tickets.iter().rev().map(granted).collect();
    assert_eq!(grants, [Some(Ok(1)), Some(Err(())), Some(Ok(0))]);
    assert_eq!(tickets.iter().find_map(granted), None);
    assert_eq!((pool.waiting.load(SeqCst), open(&pool)), (0, LIMIT));
}

#[test]
fn no_call_overtakes_one_that_waits() {
    let shop = Shop::default();
    let pool = shop.pool(1, 1);
    let maker = pool.take().unwrap();
    let ticket = wait(&pool, Reason::Scarcity);
    assert!(!pool.reserve());
    pool.put(maker);
    assert_eq!(taken(&pool), None);
    // With one more in its slot, a call still queues up behind the one that has not taken its grant.
    *pool.slots[0].try_lock().unwrap() = Some(shop.open());
    assert_eq!(taken(&pool), None);
    let second = wait(&pool, Reason::Limit);
    assert_eq!([granted(&ticket), granted(&second)], [Some(Ok(0)), Some(Ok(1))]);
    assert!(pool.reserve());
}

#[test]
fn a_call_with_room_for_another_maker_opens_one_at_once() {
    let pool = Pool::<Maker>::with_slots(1);
    reserve(&pool, LIMIT - 1);
    let wakes = Arc::<Wakes>::default();
    let ticket = pool.wait(Reason::Limit, wakes.waker());
    assert_eq!((granted(&ticket), wakes.count()), (Some(Err(())), 1));
    assert_eq!((granted(&wait(&pool, Reason::Limit)), open(&pool)), (None, LIMIT));
}

#[test]
fn an_idle_maker_is_granted_rather_than_leave_to_open() {
    let pool = Shop::default().pool(2, 2);
    let tickets = [0; 2].map(|_| wait(&pool, Reason::Limit));
    assert_eq!(tickets.each_ref().map(granted), [Some(Ok(0)), Some(Ok(1))]);
    assert_eq!(open(&pool), 2);
}

#[test]
fn a_call_short_of_descriptors_waits_until_a_maker_goes() {
    let pool = Pool::<Maker>::with_slots(1);
    reserve(&pool, 2);
    let tickets = [0; 3].map(|_| wait(&pool, Reason::Scarcity));
    assert_eq!(granted(&tickets[0]), None);
    pool.forget_one();
    assert_eq!(tickets.each_ref().map(granted), [Some(Err(())), None, None]);
    assert_eq!(open(&pool), 2);
}

#[test]
fn a_call_short_of_descriptors_may_open_the_only_maker() {
    let pool = Pool::<Maker>::with_slots(1);
    let tickets = [0; 2].map(|_| wait(&pool, Reason::Scarcity));
    assert_eq!(tickets.each_ref().map(granted), [Some(Err(())), None]);
}

/// Two calls would otherwise fail and wake each other for as long as a third one has its maker.
#[test]
fn a_failed_open_lets_no_other_try_while_a_maker_is_open() {
    let pool = Pool::<Maker>::with_slots(1);
    reserve(&pool, 3);
    let ticket = wait(&pool, Reason::Scarcity);
    pool.give_up_one();
    pool.give_up_one();
    assert_eq!((granted(&ticket), open(&pool)), (None, 1));
    pool.give_up_one();
    assert_eq!((granted(&ticket), open(&pool)), (Some(Err(())), 1));
}

#[test]
fn a_dropped_ticket_passes_its_maker_on() {
    let shop = Shop::default();
    let pool = shop.pool(1, 1);
    let maker = pool.take().unwrap();
    let [first, second, third] = [0; 3].map(|_| wait(&pool, Reason::Scarcity));
    drop(second); // with nothing
    pool.put(maker);
    drop(first);
    assert_eq!(granted(&third), Some(Ok(0)));
    drop(third);
    assert_eq!((pool.waiting.load(SeqCst), pool.lock_queue().waiting.len()), (0, 0));
}

#[test]
fn a_dropped_ticket_passes_leave_to_open_on() {
    let pool = Pool::<Maker>::with_slots(1);
    let [first, second] = [0; 2].map(|_| wait(&pool, Reason::Scarcity));
    drop(first);
    assert_eq!((granted(&second), open(&pool)), (Some(Err(())), 1));
    drop(wait(&pool, Reason::Limit));
    assert_eq!((pool.waiting.load(SeqCst), open(&pool)), (0, 1));
}

#[test]
fn a_maker_that_nobody_wants_any_more_is_idle_again() {
    let shop = Shop::default();
    let pool = shop.pool(1, 1);
    drop(wait(&pool, Reason::Limit));
    assert_eq!((shop.alive(), taken(&pool)), (1, Some(0)));
}

#[test]
fn the_latest_waker_is_woken_once() {
    let pool = Pool::<Maker>::with_slots(1);
    reserve(&pool, 1);
    let wakes = [0; 3].map(|_| Arc::<Wakes>::default());
    let ticket = pool.wait(Reason::Scarcity, wakes[0].waker());
    assert!(ticket.take(wakes[1].waker()).is_none());
    assert!(ticket.take(wakes[2].waker()).is_none());
    pool.forget_one();
    pool.forget_one();
    assert_eq!(wakes.each_ref().map(|wakes| wakes.count()), [0, 0, 1]);
}

#[test]
fn a_surplus_maker_is_gone_before_a_call_may_open_another() {
    struct Looks(Arc<Shop>, AtomicUsize);
    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            self.1.store(self.0.alive(), SeqCst);
        }
    }
    let shop = Arc::<Shop>::default();
    let pool = shop.pool(1, 1);
    let maker = pool.take().unwrap();
    let looks = Arc::new(Looks(Arc::clone(&shop), AtomicUsize::new(7)));
    let ticket = pool.wait(Reason::Scarcity, Arc::clone(&looks).into());
    let locked = pool.slots[0].try_lock().unwrap();
    pool.put(maker);
    drop(locked);
    assert_eq!((looks.1.load(SeqCst), granted(&ticket)), (0, Some(Err(()))));
}

#[test]
fn wakers_are_woken_and_dropped_without_the_lock() {
    struct Locks(Arc<Pool<Maker>>, Arc<Wakes>);
    impl Wake for Locks {
        fn wake(self: Arc<Self>) {
            assert!(self.0.queue.try_lock().is_ok());
        }
    }
    impl Drop for Locks {
        fn drop(&mut self) {
            self.1.0.fetch_add(usize::from(self.0.queue.try_lock().is_ok()), SeqCst);
        }
    }
    let (pool, drops) = (Arc::new(Pool::with_slots(1)), Arc::<Wakes>::default());
    let waker = || Waker::from(Arc::new(Locks(Arc::clone(&pool), Arc::clone(&drops))));
    reserve(&pool, 1);
    let [first, second] = [0; 2].map(|_| pool.wait(Reason::Scarcity, waker()));
    assert!(first.take(waker()).is_none());
    assert_eq!(drops.count(), 1);
    pool.forget_one();
    assert!(first.take(waker()).is_some());
    assert_eq!(drops.count(), 3);
    assert!(first.take(waker()).is_none());
    drop(second);
    assert_eq!(drops.count(), 5);
}

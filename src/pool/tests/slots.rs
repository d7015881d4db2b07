//! Idle makers in slots, and the limit of open makers.

use super::*;

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

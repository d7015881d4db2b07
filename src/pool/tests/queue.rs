//! Calls that wait for a maker.

use super::*;

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
fn a_maker_that_no_call_takes_is_idle_again() {
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

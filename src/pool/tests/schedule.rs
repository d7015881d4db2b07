//! Any schedule of calls, on one thread.

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any};
use proptest::sample::Index;
use proptest::{prop_oneof, proptest};

use super::*;

#[derive(Clone, Debug)]
enum Act {
    /// A call tries to get a maker, and waits if it must.
    Call,
    Wait(Reason),
    Open,
    FailToOpen,
    GiveUp,
    Put(Index),
    Discard(Index),
    TakeGrant(Index),
    DropTicket(Index),
    Look,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => Just(Act::Call),
        2 => Just(Act::Wait(Reason::Scarcity)),
        1 => Just(Act::Wait(Reason::Limit)),
        4 => Just(Act::Open),
        1 => Just(Act::FailToOpen),
        1 => Just(Act::GiveUp),
        4 => any::<Index>().prop_map(Act::Put),
        2 => any::<Index>().prop_map(Act::Discard),
        3 => any::<Index>().prop_map(Act::TakeGrant),
        1 => any::<Index>().prop_map(Act::DropTicket),
        1 => Just(Act::Look),
    ];
    vec(act, 0..80)
}

/// What calls have got from the pool.
struct Calls<'a> {
    pool: &'a Pool<Maker>,
    shop: &'a Shop,
    makers: Vec<Maker>,
    reserved: usize,
    tickets: Vec<(Ticket<'a, Maker>, Arc<Wakes>)>,
}

impl Calls<'_> {
    fn act(&mut self, act: &Act) {
        match act {
            Act::Call => self.call(),
            Act::Wait(reason) => self.wait(*reason),
            Act::Open if self.reserved > 0 => {
                self.reserved -= 1;
                self.makers.push(*self.shop.open());
            }
            Act::FailToOpen if self.reserved > 0 => {
                self.reserved -= 1;
                self.pool.forget_one();
            }
            Act::GiveUp if self.reserved > 0 => self.give_up(),
            Act::Put(pick) if !self.makers.is_empty() => {
                let maker = self.makers.swap_remove(pick.index(self.makers.len()));
                self.pool.put(Box::new(maker));
            }
            Act::Discard(pick) if !self.makers.is_empty() => {
                drop(self.makers.swap_remove(pick.index(self.makers.len())));
                self.pool.forget_one();
            }
            Act::TakeGrant(pick) if !self.tickets.is_empty() => self.take_grant(pick.index(self.tickets.len())),
            Act::DropTicket(pick) if !self.tickets.is_empty() => {
                drop(self.tickets.remove(pick.index(self.tickets.len())));
            }
            Act::Look => self.pool.for_each_idle(|_| ()),
            _ => {}
        }
        self.check();
    }

    fn call(&mut self) {
        let is_first = self.tickets.is_empty();
        if let Some(maker) = self.pool.take() {
            assert!(is_first);
            self.makers.push(*maker);
        } else if self.pool.reserve() {
            assert!(is_first);
            self.reserved += 1;
        } else {
            self.wait(Reason::Limit);
        }
    }

    fn wait(&mut self, reason: Reason) {
        let wakes = Arc::<Wakes>::default();
        self.tickets.push((self.pool.wait(reason, wakes.waker()), wakes));
    }

    fn give_up(&mut self) {
        self.reserved -= 1;
        self.pool.give_up_one();
    }

    fn take_grant(&mut self, place: usize) {
        let (ticket, wakes) = &self.tickets[place];
        match ticket.take(wakes.waker()) {
            Some(Grant::Maker(maker)) => self.makers.push(*maker),
            Some(Grant::Open) => self.reserved += 1,
            None => return,
        }
        self.tickets.remove(place);
    }

    /// No maker is lost, none idles while a call waits, and calls are served in their order.
    fn check(&self) {
        let idle: Vec<_> = self.pool.slots.iter().filter_map(|slot| Some(slot.try_lock()?.as_ref()?.number)).collect();
        let mut numbers: Vec<_> = self.makers.iter().map(|maker| maker.number).chain(idle.iter().copied()).collect();
        let mut promised = self.reserved;
        let queue = self.pool.lock_queue();
        for waiting in &queue.waiting {
            match &waiting.grant {
                Some(Grant::Maker(maker)) => numbers.push(maker.number),
                Some(Grant::Open) => promised += 1,
                None => {}
            }
        }
        assert_eq!(self.shop.alive(), numbers.len());
        assert_eq!(open(self.pool), numbers.len() + promised);
        assert!(open(self.pool) <= LIMIT);

        let is_served: Vec<bool> = queue.waiting.iter().map(|waiting| waiting.grant.is_some()).collect();
        let is_woken: Vec<bool> = self.tickets.iter().map(|(_, wakes)| wakes.count() == 1).collect();
        assert_eq!(is_woken, is_served);
        assert!(is_served.is_sorted_by_key(|is_served| !is_served), "a call was overtaken");
        assert_eq!(self.pool.waiting.load(SeqCst), self.tickets.len());
        if is_served.last() == Some(&false) {
            assert!(idle.is_empty(), "a maker idles while a call waits");
            assert!(open(self.pool) > 0, "a call waits for nothing");
        }
    }

    /// Every call that waits gets through when those before it end.
    fn finish(mut self) {
        while !self.tickets.is_empty() {
            (0..self.tickets.len()).rev().for_each(|place| self.take_grant(place));
            match self.makers.pop() {
                Some(maker) => self.pool.put(Box::new(maker)),
                None if self.reserved > 0 => self.give_up(),
                None => {}
            }
            self.check();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_schedule_no_maker_is_lost_and_every_call_is_served(
        slots in 1..4_usize,
        reserved in prop_oneof![Just(0), LIMIT - 4..LIMIT],
        acts in acts(),
    ) {
        let (pool, shop) = (Pool::with_slots(slots), Shop::default());
        reserve(&pool, reserved);
        let mut calls = Calls { pool: &pool, shop: &shop, makers: Vec::new(), reserved, tickets: Vec::new() };
        acts.iter().for_each(|act| calls.act(act));
        calls.finish();
        drop(pool);
        assert_eq!(shop.alive(), 0);
    }
}

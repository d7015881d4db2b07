//! A lease: the exclusive use of a maker. How a call gets one, and where the maker goes afterwards.

use std::cell::RefCell;
use std::io;
use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

use nix::errno::Errno;

use crate::error::{Error, Result, Step};
use crate::hazards::memlock::{PAUSE, Patience, patiently};
use crate::maker::{Maker, Purpose};
use crate::options::{Backend, Choice, Plan};
use crate::pool::{Count, Grant, LIMIT, Pool, Reason, Ticket};
use crate::wait::{Deadline, Unparks, Waiting};

/// A maker, for one call alone. Dropping the lease gives it back.
pub(crate) struct Lease<'a> {
    /// `None` only in `drop`.
    maker: Option<Box<Maker>>,
    home: Home<'a>,
}

enum Home<'a> {
    Factory(&'a Pool<Maker>),
    /// A place for one-shots of this thread. A new maker is kept there once it has made a pair.
    Thread {
        place: usize,
        is_kept: bool,
    },
}

impl<'a> Lease<'a> {
    pub(crate) fn pool(&self) -> Option<&'a Pool<Maker>> {
        match self.home {
            Home::Factory(pool) => Some(pool),
            Home::Thread { .. } => None,
        }
    }

    /// Takes an idle maker of a factory. `None` if there is none, or if calls wait for one.
    pub(crate) fn of_an_idle_maker(pool: &'a Pool<Maker>) -> Option<Lease<'a>> {
        let maker = Some(pool.take()?);
        Some(Lease { maker, home: Home::Factory(pool) })
    }

    /// Returns how many strangers were turned away so far: by this call and, in a factory, by earlier calls.
    pub(crate) fn strangers(&self) -> u64 {
        let before = match self.home {
            Home::Factory(pool) => pool.sum(Count::Strangers),
            Home::Thread { .. } => 0,
        };
        before + self.tally.strangers
    }

    /// Lets the thread keep its new maker.
    pub(crate) fn keep(&mut self) {
        if let Home::Thread { is_kept, .. } = &mut self.home {
            *is_kept = true;
        }
    }
}

impl Deref for Lease<'_> {
    type Target = Maker;

    fn deref(&self) -> &Maker {
        match &self.maker {
            Some(maker) => maker,
            None => unreachable!("only `drop` takes the maker"),
        }
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut Maker {
        match &mut self.maker {
            Some(maker) => maker,
            None => unreachable!("only `drop` takes the maker"),
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(mut maker) = self.maker.take() else { return };
        if !maker.is_ours() {
            return maker.close_copy();
        }
        let tally = std::mem::take(&mut maker.tally);
        match self.home {
            Home::Factory(pool) => {
                pool.add(Count::Strangers, tally.strangers);
                pool.add(Count::Listeners, tally.listeners);
                if maker.is_usable() {
                    pool.put(maker);
                } else {
                    drop(maker);
                    pool.forget_one();
                }
            }
            Home::Thread { place, is_kept } if is_kept && maker.is_usable() => put_in_this_thread(place, maker),
            Home::Thread { .. } => drop(maker),
        }
    }
}

/// A call that acquires a maker of a factory.
pub(crate) struct Acquire<'a> {
    pool: &'a Pool<Maker>,
    choice: Choice,
    ticket: Option<Ticket<'a, Maker>>,
    patience: Patience,
    waiting: Waiting,
}

enum Progress<'a> {
    Leased(Lease<'a>),
    /// Another call must give a maker back first.
    Wait,
    /// The kernel will soon release memory.
    Pause,
}

impl<'a> Acquire<'a> {
    pub(crate) fn new(pool: &'a Pool<Maker>, choice: Choice) -> Acquire<'a> {
        Acquire { pool, choice, ticket: None, patience: Patience::default(), waiting: Waiting::default() }
    }

    /// Waits for a maker, and blocks the thread.
    pub(crate) fn block(mut self, plan: &Plan, deadline: &mut Deadline) -> Result<Lease<'a>> {
        loop {
            match self.advance(plan, Unparks::this_thread)? {
                Progress::Leased(lease) => return Ok(lease),
                Progress::Wait => {
                    let until = deadline.start().ok_or_else(|| all_in_use(deadline))?;
                    thread::park_timeout(until.saturating_duration_since(Instant::now()));
                }
                Progress::Pause => thread::sleep(PAUSE),
            }
        }
    }

    /// Waits for a maker, as a task.
    pub(crate) fn poll(
        &mut self,
        plan: &Plan,
        deadline: &mut Deadline,
        context: &mut Context<'_>,
    ) -> Poll<Result<Lease<'a>>> {
        let until = match self.advance(plan, || context.waker().clone())? {
            Progress::Leased(lease) => {
                self.waiting.end(None);
                return Poll::Ready(Ok(lease));
            }
            Progress::Wait => deadline.start().ok_or_else(|| all_in_use(deadline))?,
            Progress::Pause => Instant::now() + PAUSE,
        };
        self.waiting.arrange(context, None, until);
        Poll::Pending
    }

    fn advance(&mut self, plan: &Plan, waker: impl Fn() -> Waker) -> Result<Progress<'a>> {
        if let Some(ticket) = &self.ticket {
            return match ticket.take(waker()) {
                None => Ok(Progress::Wait),
                Some(Grant::Maker(maker)) => {
                    self.ticket = None;
                    Ok(self.lease(maker))
                }
                Some(Grant::Open) => {
                    self.ticket = None;
                    self.open(plan, waker)
                }
            };
        }
        match Lease::of_an_idle_maker(self.pool) {
            Some(lease) => Ok(Progress::Leased(lease)),
            None if self.pool.reserve() => self.open(plan, waker),
            None => Ok(self.join_the_queue(Reason::Limit, waker)),
        }
    }

    /// Opens a reserved maker.
    fn open(&mut self, plan: &Plan, waker: impl Fn() -> Waker) -> Result<Progress<'a>> {
        let error = match Maker::open(plan, self.choice, Purpose::Factory) {
            Ok(maker) => return Ok(self.lease(maker)),
            Err(error) => error,
        };
        if self.pool.has_others() && is_scarcity(&error) {
            self.pool.give_up_one();
            return Ok(self.join_the_queue(Reason::Scarcity, waker));
        }
        self.pool.forget_one();
        if self.patience.allows_another_try(&error) {
            return Ok(Progress::Pause);
        }
        Err(error)
    }

    fn join_the_queue(&mut self, reason: Reason, waker: impl Fn() -> Waker) -> Progress<'a> {
        self.ticket = Some(self.pool.wait(reason, waker()));
        Progress::Wait
    }

    fn lease(&self, maker: Box<Maker>) -> Progress<'a> {
        Progress::Leased(Lease { maker: Some(maker), home: Home::Factory(self.pool) })
    }
}

/// Whether descriptors or lockable memory have run out.
fn is_scarcity(error: &Error) -> bool {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE) => true,
        Some(Errno::ENOMEM) => error.step() == Step::Ring,
        _ => false,
    }
}

fn all_in_use(deadline: &Deadline) -> Error {
    let why = format!(
        "after {:?} no call has given back one of the factory's {LIMIT} makers, or what another one needs",
        deadline.timeout()
    );
    Step::Timeout.refused(io::ErrorKind::TimedOut, why)
}

// --- one-shots

/// Makers that this thread keeps for one-shots.
const RING: usize = 0;
#[cfg(feature = "epoll")]
const EPOLL: usize = 1;
/// An epoll engine that was opened because there is no ring, apart from one that was chosen.
const EPOLL_FOR_A_RING: usize = 2;

thread_local! {
    static MAKERS: RefCell<[Option<Box<Maker>>; 3]> = const { RefCell::new([const { None }; 3]) };
}

impl Lease<'static> {
    /// Takes the thread's maker, or opens one. Does not retry.
    pub(crate) fn of_this_thread(plan: &Plan) -> Result<Lease<'static>> {
        let wanted = places_for(plan.choice);
        if let Some((place, maker)) = wanted.iter().find_map(|place| Some((*place, take_from_this_thread(*place)?))) {
            return Ok(Lease { maker: Some(maker), home: Home::Thread { place, is_kept: true } });
        }
        let maker = Maker::open(plan, plan.choice, Purpose::OneShot)?;
        let place = place_of(maker.engine.backend(), plan.choice);
        Ok(Lease { maker: Some(maker), home: Home::Thread { place, is_kept: false } })
    }

    /// The same, with retries if memory is short for a moment.
    pub(crate) fn of_this_thread_blocking(plan: &Plan) -> Result<Lease<'static>> {
        patiently(|| Lease::of_this_thread(plan))
    }

    /// The same, with retries, as a task.
    pub(crate) async fn of_this_thread_async(plan: &Plan) -> Result<Lease<'static>> {
        let (mut patience, mut waiting) = (Patience::default(), Waiting::default());
        let lease = std::future::poll_fn(|context| match Lease::of_this_thread(plan) {
            Err(error) if patience.allows_another_try(&error) => {
                waiting.arrange(context, None, Instant::now() + PAUSE);
                Poll::Pending
            }
            outcome => Poll::Ready(outcome),
        })
        .await;
        waiting.end(None);
        lease
    }
}

/// Takes the thread's maker. A maker of the parent process is closed instead.
fn take_from_this_thread(place: usize) -> Option<Box<Maker>> {
    // While a thread ends, its thread-locals are gone; a maker opened then is used once.
    let kept = MAKERS.try_with(|kept| kept.borrow_mut()[place].take()).ok().flatten();
    kept.filter(|maker| maker.is_ours())
}

fn put_in_this_thread(place: usize, maker: Box<Maker>) {
    // Dropped outside of the borrow: closing an engine can take a while.
    let _surplus = MAKERS.try_with(|kept| kept.borrow_mut()[place].replace(maker));
}

/// Returns the places of suitable makers, the best first.
fn places_for(choice: Choice) -> &'static [usize] {
    match choice {
        Choice::Uring => &[RING],
        #[cfg(feature = "epoll")]
        Choice::Epoll => &[EPOLL, EPOLL_FOR_A_RING],
        #[cfg(feature = "epoll")]
        Choice::UringOrEpoll => &[RING, EPOLL_FOR_A_RING],
    }
}

/// Returns the place of a maker that was opened for this choice.
fn place_of(backend: Backend, choice: Choice) -> usize {
    match (backend, choice) {
        #[cfg(feature = "epoll")]
        (Backend::Epoll, Choice::Epoll) => EPOLL,
        (Backend::Epoll, _) => EPOLL_FOR_A_RING,
        _ => RING,
    }
}

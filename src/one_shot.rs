//! A pair with a listener of its own, closed before the pair is handed out. The engine is the thread's, made once and kept:
//! a new ring for every pair would cost as much as two or three pairs.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Weak};

use crate::error::{Result, Step};
use crate::hub::Hub;
use crate::making::{Making, delivered, finish};
use crate::options::{Backend, Choice, PairOptions, Plan};
use crate::patience::patiently;
use crate::rendezvous::Ends;
use crate::source::Source;
use crate::streams::PairSocket;

thread_local! {
    static SHELVES: RefCell<[Shelf; 3]> = const { RefCell::new([Shelf::EMPTY, Shelf::EMPTY, Shelf::EMPTY]) };
}

/// Whose hub lies on which shelf.
const RING: usize = 0;
const EPOLL: usize = 1;
/// That of an epoll which was opened because there is no ring. One that was asked for by name says nothing of that.
const EPOLL_FOR_A_RING: usize = 2;

/// Where a thread keeps a hub.
struct Shelf {
    /// In use by pairs in the making, which share it; gone with them if none is made.
    known: Weak<Hub>,
    /// Has made a pair, and stays until the thread ends.
    _kept: Option<Arc<Hub>>,
}

impl Shelf {
    const EMPTY: Shelf = Shelf { known: Weak::new(), _kept: None };
}

impl PairOptions {
    /// Makes one pair, without a runtime, with a listener of its own.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::TcpStream;
    ///
    /// let (mut accepted, mut connected) = ringpair::PairOptions::new().make_pair_blocking::<TcpStream>().unwrap();
    /// accepted.write_all(b"ping").unwrap();
    /// let mut read = [0; 4];
    /// connected.read_exact(&mut read).unwrap();
    /// assert_eq!(&read, b"ping");
    /// ```
    ///
    /// The first call of a thread sets up the thread's ring, which stays, one descriptor, until the thread ends; for many
    /// pairs a [`factory`](PairOptions::factory) is faster still.
    ///
    /// # Errors
    ///
    /// Any [`Step`]; after it the process has the descriptors that it had before. `EMFILE` and `ENFILE` come up at the step
    /// that needed one more descriptor: [`Step::Ring`], [`Step::Socket`] or [`Step::Accept`]. A pair takes two, and two more
    /// while it is made: the listener and the ring.
    ///
    /// # Source
    ///
    /// `io_uring_enter(2)`, `IORING_OP_ACCEPT` and `IORING_OP_CONNECT` (Linux 5.5).
    pub fn make_pair_blocking<S: PairSocket>(&self) -> Result<(S, S)> {
        let plan = self.plan_for::<S>()?;
        let hub = patiently(|| thread_hub(plan.choice)).map_err(Step::Ring.failed())?;
        let source = Source::for_one_pair(plan, hub);
        let mut ends = None;
        Making::begin(&source, 1)
            .and_then(|mut making| making.wait(|both| ends = Some(both)))
            .inspect_err(|_| clear_away())?;
        hand_out(&source, ends)
    }
}

impl PairOptions {
    /// The plan, where it can make such a stream.
    pub(crate) fn plan_for<S: PairSocket>(&self) -> Result<Plan> {
        let plan = self.plan()?;
        if S::NEEDS_RING { plan.on_a_ring() } else { Ok(plan) }
    }
}

/// The thread's hub; one that is set up here is known to others at once, but kept only when it has made a pair.
pub(crate) fn thread_hub(choice: Choice) -> io::Result<Arc<Hub>> {
    // A thread that is ending has no shelves any more; a hub made then is used once.
    let known = SHELVES.try_with(|shelves| {
        let shelves = shelves.borrow();
        wanted(choice).iter().find_map(|place| shelves[*place].known.upgrade())
    });
    if let Some(hub) = known.ok().flatten().filter(|hub| !hub.with(|state| state.is_broken())) {
        return Ok(hub);
    }
    let hub = Hub::open(choice, false)?;
    put(Shelf { known: Arc::downgrade(&hub), _kept: None }, place(&hub, choice));
    Ok(hub)
}

/// Closes the listener, keeps the hub for the thread's next pair, and hands out. A call that fails does not get here: it
/// leaves nothing behind, not even the ring that it has set up.
pub(crate) fn hand_out<S: PairSocket>(source: &Source, ends: Option<Ends>) -> Result<(S, S)> {
    source.close();
    let pair = finish(source, delivered(ends)?)?;
    let hub = source.hub();
    let place = place(&hub, source.plan.choice);
    put(Shelf { known: Arc::downgrade(&hub), _kept: Some(hub) }, place);
    Ok(pair)
}

/// Takes engines that are of no use any more, and all that is under way on them, off the shelves.
pub(crate) fn clear_away() {
    for place in [RING, EPOLL, EPOLL_FOR_A_RING] {
        let known = SHELVES.try_with(|shelves| shelves.borrow()[place].known.upgrade());
        if known.ok().flatten().is_some_and(|hub| hub.with(|state| state.is_broken())) {
            put(Shelf::EMPTY, place);
        }
    }
}

fn put(shelf: Shelf, place: usize) {
    // Out of the shelves' borrow before it is dropped: an engine may have something to do then.
    let _before = SHELVES.try_with(|shelves| std::mem::replace(&mut shelves.borrow_mut()[place], shelf));
}

/// Where a hub may lie that serves, the better one first.
fn wanted(choice: Choice) -> &'static [usize] {
    match choice {
        Choice::Uring => &[RING],
        #[cfg(feature = "epoll")]
        Choice::Epoll => &[EPOLL, EPOLL_FOR_A_RING],
        #[cfg(feature = "epoll")]
        Choice::UringOrEpoll => &[RING, EPOLL_FOR_A_RING],
    }
}

/// Where a hub belongs that has served this choice.
fn place(hub: &Hub, choice: Choice) -> usize {
    match (hub.backend(), choice) {
        #[cfg(feature = "epoll")]
        (Backend::Epoll, Choice::Epoll) => EPOLL,
        (Backend::Epoll, _) => EPOLL_FOR_A_RING,
        _ => RING,
    }
}

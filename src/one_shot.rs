//! A pair with a listener of its own, closed before the pair is handed out. The engine is the thread's, made once and kept:
//! a new ring for every pair would cost as much as two or three pairs.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use crate::engine;
use crate::error::{Result, Step};
use crate::hub::Hub;
use crate::making::{Ends, Making, delivered, finish};
use crate::options::PairOptions;
use crate::socket::PairSocket;
use crate::source::Source;

thread_local! {
    static HUB: RefCell<Shelf> = const { RefCell::new(Shelf { known: Weak::new(), _kept: None }) };
}

/// Where a thread keeps its hub.
struct Shelf {
    /// In use by pairs in the making, which share it; gone with them if none is made.
    known: Weak<Hub>,
    /// Has made a pair, and stays until the thread ends.
    _kept: Option<Arc<Hub>>,
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
        let plan = self.plan()?;
        let hub = engine::patiently(thread_hub).map_err(Step::Ring.failed())?;
        let source = Source::for_one_pair(plan, hub);
        let mut ends = None;
        Making::begin(&source, 1)?.wait(|both| ends = Some(both))?;
        hand_out(&source, ends)
    }
}

/// The thread's hub; one that is set up here is known to others at once, but kept only when it has made a pair.
pub(crate) fn thread_hub() -> std::io::Result<Arc<Hub>> {
    // A thread that is ending has no shelf any more; a hub made then is used once.
    let known = HUB.try_with(|shelf| shelf.borrow().known.upgrade()).ok().flatten();
    if let Some(hub) = known.filter(|hub| !hub.with(|state| state.is_broken())) {
        return Ok(hub);
    }
    let hub = Hub::open(false)?;
    let _ = HUB.try_with(|shelf| *shelf.borrow_mut() = Shelf { known: Arc::downgrade(&hub), _kept: None });
    Ok(hub)
}

/// Closes the listener, keeps the hub for the thread's next pair, and hands out. A call that fails does not get here: it
/// leaves nothing behind, not even the ring that it has set up.
pub(crate) fn hand_out<S: PairSocket>(source: &Source, ends: Option<Ends>) -> Result<(S, S)> {
    source.close();
    let pair = finish(&source.plan, delivered(ends)?)?;
    let hub = source.hub();
    let _ = HUB.try_with(|shelf| {
        let mut shelf = shelf.borrow_mut();
        if shelf.known.upgrade().is_none_or(|known| Arc::ptr_eq(&known, &hub)) {
            *shelf = Shelf { known: Arc::downgrade(&hub), _kept: Some(hub) };
        }
    });
    Ok(pair)
}

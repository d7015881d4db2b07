//! What does closing cost? Reset against FIN, at both ends, with the kernel's counters as proof.
//!
//! ```
//! use ringpair::measure::close::{Close, Way};
//!
//! # fn main() -> Result<(), ringpair::measure::Error> {
//! let report = Close::new().pairs(100).ways([Way::Reset, Way::Fin]).run()?;
//! for cell in &report.cells {
//!     println!("{} {} {}: {} ns", cell.way, cell.call, cell.order, cell.first.percentile(50.0));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is measured
//!
//! One pair after the other is made through a [factory](crate::PairFactory), by the engine that the report names, and closed. A
//! *cell* is a [way](Way) of closing, by `close(2)` or by `IORING_OP_CLOSE`, with the accepted or the connected end
//! first. Before the first end is closed, a read is pending at the second: `IORING_OP_RECV` (Linux 5.6) on a ring, in the same
//! thread, so that no scheduler is measured; without a ring, a socket that has nothing to read, and `poll(2)` after the
//! close. On loopback the kernel carries a RST or a FIN to the other end within the call that sends it, and that is part
//! of the call's cost, as it is in use. [`Way::Wait`] is the exception: no read is pending, because its completion would
//! interrupt the wait; the other end is polled after the close, on a ring as without one.
//!
//! Cells have short turns, in an order that is drawn anew for each round from the seed, so that a drift of the host hits
//! all alike. What a cell's turn made the kernel count is held against [what it must](Way::counters), and what each read
//! returned against [what it must](Way::ending). The counters are those of the network namespace: other connections of this
//! host that are reset or closed meanwhile are counted too, and the cell does not fit.
//!
//! # What is not measured
//!
//! Making a pair; processor time; the network outside loopback; what a close costs while data is on its way.

mod parting;
mod report;
mod way;

use std::net::IpAddr;
use std::time::Duration;

use crate::measure::{Counters, Error};
use crate::probe::Host;
use crate::{Backend, PairFactory, PairOptions};

use self::parting::Parting;
use self::report::agree;
pub use self::report::{Cell, Report};
pub use self::way::{Call, Ending, Order, Way};

/// How many pairs a cell closes before another has its turn.
const TURN: usize = 25;

/// What is to be measured.
///
/// ```
/// use std::net::Ipv6Addr;
/// use ringpair::Backend;
/// use ringpair::measure::close::{Close, Way};
///
/// let close = Close::new().pairs(1000).ways([Way::FinUnread]).unread(10).seed(7).backend(Backend::Auto);
/// let close = close.address(Ipv6Addr::LOCALHOST.into());
/// let mut turns = 0;
/// let report = close.run_while(|progress| { turns += 1; turns <= 3 && progress.done < progress.total }).unwrap();
/// assert!(report.ended_early);
/// assert_eq!((report.pairs, report.unread, report.seed), (1000, 10, 7));
/// ```
#[derive(Clone, Debug)]
pub struct Close {
    pairs: usize,
    ways: Vec<Way>,
    unread: usize,
    seed: Option<u64>,
    options: PairOptions,
}

/// How far a measurement has come.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Pairs closed so far.
    pub done: usize,
    /// Pairs to be closed.
    pub total: usize,
}

impl Close {
    /// A thousand pairs in every cell, all ways, 1,024 bytes where some are to lie unread, a seed drawn at random.
    pub fn new() -> Close {
        Close { pairs: 1000, ways: Way::ALL.to_vec(), unread: 1024, seed: None, options: PairOptions::new() }
    }

    /// How many pairs each cell closes, from 1 up; in all cells together not more than a `usize` counts. Cells of [`Way::Wait`]
    /// close [100](Way::MOST_WAITS) at most.
    pub fn pairs(mut self, pairs: usize) -> Close {
        self.pairs = pairs;
        self
    }

    /// The ways to measure, each once, in the order of the report.
    pub fn ways(mut self, ways: impl IntoIterator<Item = Way>) -> Close {
        self.ways = ways.into_iter().collect();
        self
    }

    /// How many bytes lie unread where a way wants them to: from 1 to 65,536, which is what a socket takes without a reader.
    pub fn unread(mut self, bytes: usize) -> Close {
        self.unread = bytes;
        self
    }

    /// Where the order of turns is drawn from.
    pub fn seed(mut self, seed: u64) -> Close {
        self.seed = Some(seed);
        self
    }

    /// The address of both ends; see [`PairOptions::address`].
    pub fn address(mut self, address: IpAddr) -> Close {
        self.options = self.options.address(address);
        self
    }

    /// The engine that makes the pairs. With epoll, closing through a ring is left out.
    pub fn backend(mut self, backend: Backend) -> Close {
        self.options = self.options.backend(backend);
        self
    }

    /// Measures.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] before anything is opened; [`Error::Pair`] where a pair cannot be made; [`Error::Closing`] where one cannot be
    /// closed the way it was to be; [`Error::Counters`] where `/proc` has none. What does not *fit* is no error; see [`Report::fits`].
    pub fn run(&self) -> Result<Report, Error> {
        self.run_while(|_| true)
    }

    /// The same, as long as `go_on` says so; it is asked before each turn.
    ///
    /// # Errors
    ///
    /// As [`run`](Close::run).
    pub fn run_while(&self, mut go_on: impl FnMut(Progress) -> bool) -> Result<Report, Error> {
        self.check()?;
        let factory = self.options.clone().factory()?;
        let mut parting = Parting::open(&factory, self.unread)?;
        let mut report = self.report(&factory);
        let mut random = fastrand::Rng::with_seed(report.seed);
        let mut turns: Vec<usize> = (0..report.cells.len()).collect();
        let total = report.cells.iter().map(|cell| cell.way.share_of(self.pairs)).sum();
        let mut progress = Progress { done: 0, total };
        for round in 0..self.pairs.div_ceil(TURN) {
            random.shuffle(&mut turns);
            for index in &turns {
                let share = report.cells[*index].way.share_of(self.pairs);
                let count = TURN.min(share.saturating_sub(round * TURN));
                if count == 0 {
                    continue;
                }
                if !go_on(progress) {
                    report.ended_early = true;
                    return Ok(report);
                }
                take_turn(&mut report.cells[*index], &factory, &mut parting, count)?;
                progress.done += count;
            }
        }
        Ok(report)
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::Options(why));
        if self.pairs == 0 {
            return refuse("closing no pairs measures nothing; ask for 1 or more".to_owned());
        }
        if self.ways.is_empty() {
            return refuse(format!("no way of closing was named; the ways are {}", Way::ALL.map(Way::name).join(", ")));
        }
        if let Some(twice) = self.ways.iter().enumerate().find(|(place, way)| self.ways[..*place].contains(way)) {
            return refuse(format!("the way {} is named twice", twice.1));
        }
        // Where there is no ring it is half as many cells, which is known only once something is open.
        let most = usize::MAX / (self.ways.len() * Call::ALL.len() * Order::ALL.len());
        if self.pairs > most {
            return refuse(format!("so many pairs in each cell are more than can be counted; ask for {most} or fewer"));
        }
        if !(1..=MOST_UNREAD).contains(&self.unread) {
            return refuse(format!("from 1 to {MOST_UNREAD} bytes can lie unread, not {}", self.unread));
        }
        Ok(())
    }

    fn report(&self, factory: &PairFactory) -> Report {
        let engine = factory.backend();
        let calls = if engine == Backend::Uring { &Call::ALL[..] } else { &[Call::Close] };
        let of_way = |way| calls.iter().flat_map(move |call| Order::ALL.map(|order| Cell::new(way, *call, order)));
        Report {
            engine,
            pairs: self.pairs,
            unread: self.unread,
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
            ended_early: false,
            host: Host::read(),
            cells: self.ways.iter().copied().flat_map(of_way).collect(),
        }
    }
}

impl Default for Close {
    fn default() -> Close {
        Close::new()
    }
}

/// What fits into the buffers of two ends without a reader.
const MOST_UNREAD: usize = 65_536;

/// How long the kernel may take to count what has happened: where another processor takes part, a moment more than the calls took.
const COUNTED_BY: Duration = Duration::from_millis(200);

fn take_turn(cell: &mut Cell, factory: &PairFactory, parting: &mut Parting, count: usize) -> Result<(), Error> {
    let before = Counters::read().map_err(Error::Counters)?;
    for _ in 0..count {
        parting.close_one(cell, factory)?;
    }
    let expected = cell.way.counters() * count as u64;
    let begin = std::time::Instant::now();
    let counted = loop {
        let counted = Counters::read().map_err(Error::Counters)? - before;
        if agree(counted, expected) || begin.elapsed() > COUNTED_BY {
            break counted;
        }
        std::thread::yield_now();
    };
    cell.counted += counted;
    cell.expected += expected;
    Ok(())
}

//! Measures what closing costs: reset against FIN, at both ends, with the kernel's counters as proof.
//!
//! ```
//! use ringpair::measure::close::{Close, CloseMode};
//!
//! # fn main() -> Result<(), ringpair::measure::Error> {
//! let report = Close::new().pairs(100).modes([CloseMode::Reset, CloseMode::Fin]).run()?;
//! for cell in &report.cells {
//!     println!("{} {} {}: {} ns", cell.mode, cell.call, cell.order, cell.first.percentile(50.0));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is measured
//!
//! Pairs are made by a [factory](crate::PairFactory), and closed one at a time. A *cell* is one [`CloseMode`], one call
//! (`close(2)` or `IORING_OP_CLOSE`) and one order (the accepted or the connected end first).
//!
//! While the first end closes, a read is pending at the second. On a ring it is `IORING_OP_RECV` (Linux 5.6) in the same
//! thread, so no scheduler is measured. Without a ring, `poll(2)` runs after the close. [`CloseMode::Wait`] has no pending
//! read, because the read's completion would interrupt the wait; it always polls. On loopback, the call that sends RST or FIN
//! also delivers it to the other end, as part of its own time.
//!
//! Cells take short turns in random order, so that a drift of the host affects all of them alike. After each turn, the
//! kernel's counters are compared with [what they must be](CloseMode::counters), and so is what
//! [each read returned](CloseMode::ending). The counters belong to the network namespace: if other connections in it close
//! meanwhile, the cell does not fit.
//!
//! # What is not measured
//!
//! Making a pair, CPU time, networks other than loopback, and closing with data in flight.

mod mode;
mod report;
mod teardown;

use std::net::IpAddr;
use std::time::Duration;

use crate::measure::{Counters, Error};
use crate::probe::Host;
use crate::{Backend, PairFactory, PairOptions};

pub use self::mode::{Call, CloseMode, Ending, Order};
use self::report::agree;
pub use self::report::{Cell, Report};
use self::teardown::Teardown;

/// Pairs that a cell closes in one turn.
const TURN: usize = 25;

/// The options of a measurement.
///
/// ```
/// use std::net::Ipv6Addr;
/// use ringpair::Backend;
/// use ringpair::measure::close::{Close, CloseMode};
///
/// let close = Close::new().pairs(1000).modes([CloseMode::FinUnread]).unread(10).seed(7).backend(Backend::Auto);
/// let close = close.address(Ipv6Addr::LOCALHOST.into());
/// let mut turns = 0;
/// let report = close.run_while(|progress| { turns += 1; turns <= 3 && progress.done < progress.total }).unwrap();
/// assert!(report.ended_early);
/// assert_eq!((report.pairs, report.unread, report.seed), (1000, 10, 7));
/// ```
#[derive(Clone, Debug)]
pub struct Close {
    pairs: usize,
    modes: Vec<CloseMode>,
    unread: usize,
    seed: Option<u64>,
    options: PairOptions,
}

/// How far a measurement has come.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Number of pairs closed so far.
    pub done: usize,
    /// Number of pairs to close.
    pub total: usize,
}

impl Close {
    /// The maximum number of unread bytes: they fit in a socket's buffers.
    pub const MAX_UNREAD: usize = 65_536;

    /// Returns the defaults: 1,000 pairs per cell, all modes, 1,024 unread bytes, a random seed.
    pub fn new() -> Close {
        Close { pairs: 1000, modes: CloseMode::ALL.to_vec(), unread: 1024, seed: None, options: PairOptions::new() }
    }

    /// Sets the number of pairs per cell, at least 1. Cells of [`CloseMode::Wait`] close at most
    /// [100](CloseMode::MAX_WAITS).
    pub fn pairs(mut self, pairs: usize) -> Close {
        self.pairs = pairs;
        self
    }

    /// Sets the modes to measure, each once, in the order of the report.
    pub fn modes(mut self, modes: impl IntoIterator<Item = CloseMode>) -> Close {
        self.modes = modes.into_iter().collect();
        self
    }

    /// Sets the number of unread bytes, for the modes that have some: 1 to [`MAX_UNREAD`](Close::MAX_UNREAD).
    pub fn unread(mut self, bytes: usize) -> Close {
        self.unread = bytes;
        self
    }

    /// Sets the seed of the order of turns.
    pub fn seed(mut self, seed: u64) -> Close {
        self.seed = Some(seed);
        self
    }

    /// Sets the address of both ends; see [`PairOptions::address`].
    pub fn address(mut self, address: IpAddr) -> Close {
        self.options = self.options.address(address);
        self
    }

    /// Sets the engine that makes the pairs. With epoll, nothing is closed through a ring.
    pub fn backend(mut self, backend: Backend) -> Close {
        self.options = self.options.backend(backend);
        self
    }

    /// Runs the measurement.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] before anything is opened, [`Error::Pair`] if a pair cannot be made, [`Error::Closing`] if one cannot
    /// be closed, [`Error::Counters`] if `/proc` has no counters. An unexpected result is no error; see [`Report::fits`].
    pub fn run(&self) -> Result<Report, Error> {
        self.run_while(|_| true)
    }

    /// Runs the measurement until `go_on` returns false. It is called before each turn.
    ///
    /// # Errors
    ///
    /// See [`run`](Close::run).
    pub fn run_while(&self, mut go_on: impl FnMut(Progress) -> bool) -> Result<Report, Error> {
        self.check()?;
        let factory = self.options.clone().factory()?;
        let mut teardown = Teardown::open(&factory, self.unread)?;
        let mut report = self.report(&factory);
        let mut random = fastrand::Rng::with_seed(report.seed);
        let mut turns: Vec<usize> = (0..report.cells.len()).collect();
        let total = report.cells.iter().map(|cell| cell.mode.share_of(self.pairs)).sum();
        let mut progress = Progress { done: 0, total };
        for round in 0..self.pairs.div_ceil(TURN) {
            random.shuffle(&mut turns);
            for index in &turns {
                let share = report.cells[*index].mode.share_of(self.pairs);
                let count = TURN.min(share.saturating_sub(round * TURN));
                if count == 0 {
                    continue;
                }
                if !go_on(progress) {
                    report.ended_early = true;
                    return Ok(report);
                }
                take_turn(&mut report.cells[*index], &factory, &mut teardown, count)?;
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
        if self.modes.is_empty() {
            let all = CloseMode::ALL.map(CloseMode::name).join(", ");
            return refuse(format!("no way of closing was named; the ways are {all}"));
        }
        let mut modes = self.modes.iter().enumerate();
        if let Some((_, twice)) = modes.find(|(place, mode)| self.modes[..*place].contains(mode)) {
            return refuse(format!("the way {twice} is named twice"));
        }
        // Without a ring there are half as many cells, but that is known only later.
        let max = usize::MAX / (self.modes.len() * Call::ALL.len() * Order::ALL.len());
        if self.pairs > max {
            return refuse(format!("so many pairs in each cell are more than can be counted; ask for {max} or fewer"));
        }
        if !(1..=Close::MAX_UNREAD).contains(&self.unread) {
            let max = Close::MAX_UNREAD;
            return refuse(format!("from 1 to {max} bytes can lie unread, not {}", self.unread));
        }
        Ok(())
    }

    fn report(&self, factory: &PairFactory) -> Report {
        let engine = factory.backend();
        let calls = if engine == Backend::Uring { &Call::ALL[..] } else { &[Call::Close] };
        let cells_of = |mode| calls.iter().flat_map(move |call| Order::ALL.map(|order| Cell::new(mode, *call, order)));
        Report {
            engine,
            pairs: self.pairs,
            unread: self.unread,
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
            ended_early: false,
            host: Host::read(),
            cells: self.modes.iter().copied().flat_map(cells_of).collect(),
        }
    }
}

impl Default for Close {
    fn default() -> Close {
        Close::new()
    }
}

/// The longest time until the kernel has counted everything. If another CPU takes part, it can count after our calls return.
const COUNTED_BY: Duration = Duration::from_millis(200);

fn take_turn(cell: &mut Cell, factory: &PairFactory, teardown: &mut Teardown, count: usize) -> Result<(), Error> {
    let before = Counters::read().map_err(Error::Counters)?;
    for _ in 0..count {
        teardown.close_one(cell, factory)?;
    }
    let expected = cell.mode.counters() * count as u64;
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

//! What a measurement of closing has brought.

use crate::Backend;
use crate::measure::{Counters, Series};
use crate::probe::Host;

use super::way::{Call, Order, Way};

/// What closing costs, in every way that was asked for.
///
/// ```
/// use ringpair::measure::close::{Close, Way};
///
/// let report = Close::new().pairs(20).ways([Way::Reset, Way::Fin]).run().unwrap();
/// for cell in &report.cells {
///     assert_eq!((cell.pairs, cell.first.count(), cell.surprises), (20, 20, 0));
///     let ratio = report.ratio_to_fin(cell, |cell| &cell.whole).unwrap();
///     assert!(cell.way != Way::Fin || ratio == 1.0);
///     for (name, counted, expected) in cell.misfits() {
///         println!("{} {} {}: {counted} {name} instead of {expected}", cell.way, cell.call, cell.order);
///     }
/// }
/// assert_eq!(report.fits(), report.cells.iter().all(|cell| cell.fits()));
/// ```
/// With the feature `cli` it is `serde::Serialize`.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// The engine that made the pairs. Where it is epoll there is no ring, nor closing through one.
    pub engine: Backend,
    /// How many pairs were asked for in each cell. Cells of [`Way::Wait`] close [100](Way::MOST_WAITS) at most.
    pub pairs: usize,
    /// How many bytes lay unread at the first end where a way wants them to.
    pub unread: usize,
    /// The seed of the order in which cells had their turns.
    pub seed: u64,
    /// Whether it was ended early: then cells have fewer pairs than requested, and their numbers differ.
    pub ended_early: bool,
    /// The host that it was measured on.
    pub host: Host,
    /// One for each way, call and order.
    pub cells: Vec<Cell>,
}

impl Report {
    /// Whether every read returned what it had to, and the kernel counted what it had to, and nothing else, in every cell.
    pub fn fits(&self) -> bool {
        self.cells.iter().all(Cell::fits)
    }

    /// What a cell's median is over that of [`Way::Fin`] by the same call in the same order, for one of the four series; `None` where
    /// either has none.
    pub fn ratio_to_fin(&self, cell: &Cell, series: impl Fn(&Cell) -> &Series) -> Option<f64> {
        let is_its_fin = |other: &&Cell| other.way == Way::Fin && (other.call, other.order) == (cell.call, cell.order);
        let fin = series(self.cells.iter().find(is_its_fin)?).percentile(50.0);
        let own = series(cell).percentile(50.0);
        (fin > 0 && own > 0).then(|| own as f64 / fin as f64)
    }
}

/// One way of closing, by one call, in one order.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Cell {
    /// How the first end is closed.
    pub way: Way,
    /// What both ends are closed by.
    pub call: Call,
    /// Which end is closed first.
    pub order: Order,
    /// How many pairs were closed.
    pub pairs: u64,
    /// The close of the first end: from its call to its return. For [`Way::Abort`] the connect to nowhere is part of it.
    pub first: Series,
    /// The close of the second end, after its read has returned.
    pub second: Series,
    /// From the beginning of the first end's close until the other end's pending read has returned. For [`Way::Shutdown`] from
    /// the beginning of the first shutdown, which is what ends that read.
    pub peer: Series,
    /// The whole teardown: from the beginning of the first act to the return of the last close.
    pub whole: Series,
    /// What the kernel counted meanwhile.
    pub counted: Counters,
    /// What it had to count.
    pub expected: Counters,
    /// How many reads returned something else than [`Way::ending`], and what the first of them returned.
    pub surprises: u64,
    /// See [`surprises`](Cell::surprises).
    pub first_surprise: Option<String>,
}

impl Cell {
    pub(super) fn new(way: Way, call: Call, order: Order) -> Cell {
        Cell {
            way,
            call,
            order,
            pairs: 0,
            first: Series::new(),
            second: Series::new(),
            peer: Series::new(),
            whole: Series::new(),
            counted: Counters::default(),
            expected: Counters::default(),
            surprises: 0,
            first_surprise: None,
        }
    }

    /// Whether every read and every counter is as it must be.
    pub fn fits(&self) -> bool {
        self.surprises == 0 && agree(self.counted, self.expected)
    }

    /// The counters that are not as they must be: name, counted, expected.
    pub fn misfits(&self) -> Vec<(&'static str, u64, u64)> {
        if agree(self.counted, self.expected) {
            return Vec::new();
        }
        let both = self.counted.named().into_iter().zip(self.expected.named());
        both.filter(|(counted, expected)| counted != expected)
            .map(|((name, counted), (_, expected))| (name, counted, expected))
            .collect()
    }
}

/// Whether the kernel has counted what it had to. What TIME_WAIT had no room for is in its overflow.
pub(super) fn agree(counted: Counters, expected: Counters) -> bool {
    let put_right =
        Counters { time_wait: counted.time_wait + counted.time_wait_overflow, time_wait_overflow: 0, ..counted };
    put_right == expected
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(way: Way, order: Order, micros: u64) -> Cell {
        let mut cell = Cell::new(way, Call::Close, order);
        cell.first.add(std::time::Duration::from_micros(micros));
        cell
    }

    #[test]
    fn a_ratio_is_to_fin_by_the_same_call_in_the_same_order() {
        use Order::{AcceptedFirst, ConnectedFirst};
        let cells = vec![
            cell(Way::Fin, AcceptedFirst, 10),
            cell(Way::Fin, ConnectedFirst, 20),
            cell(Way::Reset, ConnectedFirst, 10),
        ];
        let host = Host::default();
        let (engine, pairs, unread, seed, ended_early) = (Backend::Uring, 1, 1, 1, false);
        let report = Report { engine, pairs, unread, seed, ended_early, host, cells };
        let ratio = report.ratio_to_fin(&report.cells[2], |cell| &cell.first).unwrap();
        assert!((ratio - 0.5).abs() < 0.01, "{ratio}");
        assert_eq!(report.ratio_to_fin(&report.cells[2], |cell| &cell.peer), None);
    }

    #[test]
    fn what_time_wait_had_no_room_for_counts_as_time_wait() {
        let mut cell = cell(Way::Fin, Order::AcceptedFirst, 1);
        cell.expected = Way::Fin.counters() * 10;
        cell.counted = Counters { time_wait: 7, time_wait_overflow: 3, ..Counters::default() };
        assert!(cell.fits() && cell.misfits().is_empty());
        cell.counted.time_wait = 6;
        assert_eq!(cell.misfits(), [("time_wait", 6, 10), ("time_wait_overflow", 3, 0)]);
    }

    #[test]
    fn a_cell_with_one_surprise_does_not_fit() {
        let mut cell = cell(Way::Reset, Order::AcceptedFirst, 1);
        assert!(cell.fits());
        cell.surprises = 1;
        assert!(!cell.fits());
    }
}

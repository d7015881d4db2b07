//! The result of a measurement of closing.

use crate::Backend;
use crate::measure::{Counters, Series};
use crate::probe::Host;

use super::mode::{Call, CloseMode, Order};

/// What closing costs, in each measured mode.
///
/// ```
/// use ringpair::measure::close::{Close, CloseMode};
///
/// let report = Close::new().pairs(20).modes([CloseMode::Reset, CloseMode::Fin]).run().unwrap();
/// for cell in &report.cells {
///     assert_eq!((cell.pairs, cell.first.count(), cell.surprises), (20, 20, 0));
///     let ratio = report.ratio_to_fin(cell, |cell| &cell.whole).unwrap();
///     assert!(cell.mode != CloseMode::Fin || ratio == 1.0);
///     for (name, counted, expected) in cell.misfits() {
///         println!("{} {} {}: {counted} {name} instead of {expected}", cell.mode, cell.call, cell.order);
///     }
/// }
/// assert_eq!(report.fits(), report.cells.iter().all(|cell| cell.fits()));
/// ```
/// Implements `serde::Serialize` with the feature `cli`.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// The engine that made the pairs. With epoll, nothing was closed through a ring.
    pub engine: Backend,
    /// The requested number of pairs per cell. Cells of [`CloseMode::Wait`] close at most [100](CloseMode::MAX_WAITS).
    pub pairs: usize,
    /// The number of unread bytes at the first end, in modes that have some.
    pub unread: usize,
    /// The seed of the order of turns.
    pub seed: u64,
    /// Whether the measurement ended early. Then cells have fewer pairs than requested, and not all have the same number.
    pub ended_early: bool,
    /// The host.
    pub host: Host,
    /// One cell per mode, call and order.
    pub cells: Vec<Cell>,
}

impl Report {
    /// Whether every read and every counter of every cell is as it must be.
    pub fn fits(&self) -> bool {
        self.cells.iter().all(Cell::fits)
    }

    /// Returns a cell's median over that of [`CloseMode::Fin`] with the same call and order, for one of the four series. `None`
    /// if either is missing.
    pub fn ratio_to_fin(&self, cell: &Cell, series: impl Fn(&Cell) -> &Series) -> Option<f64> {
        let is_its_fin =
            |other: &&Cell| other.mode == CloseMode::Fin && (other.call, other.order) == (cell.call, cell.order);
        let fin = series(self.cells.iter().find(is_its_fin)?).percentile(50.0);
        let own = series(cell).percentile(50.0);
        (fin > 0 && own > 0).then(|| own as f64 / fin as f64)
    }
}

/// One mode, by one call, in one order.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Cell {
    /// How the first end closes.
    #[cfg_attr(feature = "cli", serde(rename = "way"))]
    pub mode: CloseMode,
    /// The call that closes both ends.
    pub call: Call,
    /// Which end closes first.
    pub order: Order,
    /// The number of pairs that were closed.
    pub pairs: u64,
    /// The close of the first end, from its call to its return. For [`CloseMode::Abort`] it includes the disconnect.
    pub first: Series,
    /// The close of the second end, after its read has returned.
    pub second: Series,
    /// From the beginning of the first end's close until the other end's pending read has returned. For
    /// [`CloseMode::Shutdown`], from the beginning of the first shutdown, which ends that read.
    pub peer: Series,
    /// The whole teardown, from the beginning of the first call to the return of the last close.
    pub whole: Series,
    /// What the kernel counted.
    pub counted: Counters,
    /// What the kernel must count.
    pub expected: Counters,
    /// How many reads did not return [`CloseMode::ending`].
    pub surprises: u64,
    /// What the first of them returned.
    pub first_surprise: Option<String>,
}

impl Cell {
    pub(super) fn new(mode: CloseMode, call: Call, order: Order) -> Cell {
        Cell {
            mode,
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

    /// Returns the counters that are not as they must be: name, counted, expected.
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

/// Whether the kernel has counted what it must. An overflow of the TIME_WAIT table counts as TIME_WAIT.
pub(super) fn agree(counted: Counters, expected: Counters) -> bool {
    Counters { time_wait: counted.time_waits(), time_wait_overflow: 0, ..counted } == expected
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(mode: CloseMode, order: Order, micros: u64) -> Cell {
        let mut cell = Cell::new(mode, Call::Close, order);
        cell.first.add(std::time::Duration::from_micros(micros));
        cell
    }

    #[test]
    fn a_ratio_is_to_fin_by_the_same_call_in_the_same_order() {
        use Order::{AcceptedFirst, ConnectedFirst};
        let cells = vec![
            cell(CloseMode::Fin, AcceptedFirst, 10),
            cell(CloseMode::Fin, ConnectedFirst, 20),
            cell(CloseMode::Reset, ConnectedFirst, 10),
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
        let mut cell = cell(CloseMode::Fin, Order::AcceptedFirst, 1);
        cell.expected = CloseMode::Fin.counters() * 10;
        cell.counted = Counters { time_wait: 7, time_wait_overflow: 3, ..Counters::default() };
        assert!(cell.fits() && cell.misfits().is_empty());
        cell.counted.time_wait = 6;
        assert_eq!(cell.misfits(), [("time_wait", 6, 10), ("time_wait_overflow", 3, 0)]);
    }

    #[test]
    fn a_cell_with_one_surprise_does_not_fit() {
        let mut cell = cell(CloseMode::Reset, Order::AcceptedFirst, 1);
        assert!(cell.fits());
        cell.surprises = 1;
        assert!(!cell.fits());
    }
}

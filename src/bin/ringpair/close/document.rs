//! The report as JSON; `schemas/close.json` describes it.

use ringpair::measure::close::{Cell, Report};
use serde::Serialize;

use super::{SERIES, Told};

/// The version of `schemas/close.json`.
const SCHEMA: u32 = 3;

/// The report, its verdict and the version.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    schema: u32,
    version: &'static str,
    fits: bool,
    netns: bool,
    engine: ringpair::Backend,
    pairs: usize,
    unread_bytes: usize,
    seed: u64,
    pinned_cpus: &'a [usize],
    ended_early: bool,
    host: &'a ringpair::probe::Host,
    cells: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    cell: &'a Cell,
    ending: ringpair::measure::close::Ending,
    fits: bool,
    /// Medians over those of `fin` with the same call and order.
    p50_over_fin: Ratios,
}

#[derive(Serialize)]
struct Ratios {
    first: Option<f64>,
    peer: Option<f64>,
    second: Option<f64>,
    whole: Option<f64>,
}

impl Document<'_> {
    pub(super) fn of(told: &Told) -> Document<'_> {
        let report = &told.report;
        Document {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            fits: report.fits(),
            netns: told.netns,
            engine: report.engine,
            pairs: report.pairs,
            unread_bytes: report.unread,
            seed: report.seed,
            pinned_cpus: &told.cpus.0,
            ended_early: report.ended_early,
            host: &report.host,
            cells: report.cells.iter().map(|cell| Row::of(report, cell)).collect(),
        }
    }
}

impl Row<'_> {
    fn of<'a>(report: &Report, cell: &'a Cell) -> Row<'a> {
        let [first, peer, second, whole] = SERIES.map(|(_, series)| report.ratio_to_fin(cell, series));
        let p50_over_fin = Ratios { first, peer, second, whole };
        Row { cell, ending: cell.mode.ending(), fits: cell.fits(), p50_over_fin }
    }
}

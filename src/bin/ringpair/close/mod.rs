//! `ringpair close`: what closing costs, way by way, with the kernel's counters as proof.

mod chart;
mod csv;
mod document;
mod hgrm;
mod html;
mod table;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ringpair::measure::close::{Cell, Close, Report, Way};
use ringpair::measure::{Error, Series};

use crate::exit::{self, FAILED, Refusal, WRONG, code_of, refused};
use crate::output::{about, print};
use crate::{interrupt, namespace};

/// Measures what closing costs: reset against FIN, at both ends, with the kernel's own counters as proof.
///
/// Every way of closing has its turn by close(2) and by io_uring, with the accepted and with the connected end first. Times
/// are in nanoseconds where a program reads them, in microseconds in the table.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// How many pairs to close in each cell: by each way and call, in each order
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pairs: usize,

    /// The ways to measure: reset, fin, shutdown, wait, abort, reset-unread, fin-unread; all unless told
    #[arg(long, value_name = "WAY,...", value_delimiter = ',')]
    ways: Option<Vec<Way>>,

    /// How many bytes lie unread at the end that is closed first, in the two ways that want some there
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    unread: usize,

    /// Where the order of turns is drawn from; the report tells which it was
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    #[command(flatten)]
    network: namespace::Network,

    /// Print JSON instead of a table
    #[arg(long, conflicts_with = "csv")]
    json: bool,

    /// Print CSV instead of a table: a line for each way, call, order and series
    #[arg(long)]
    csv: bool,

    /// Write each series to a file of this folder, as HdrHistogram's plotter reads them
    #[arg(long, value_name = "DIR")]
    hgrm: Option<PathBuf>,

    /// Write a page with charts to this file; it needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    measured, and every read and every counter is what it must be
  3    measured, and some are not; the report says which
  1    could not be measured
  2    wrong usage, or the report could not be written; a reader that has gone away is no error
  130  interrupted; the report tells what was measured so far";

/// Picks one series of a cell.
type Pick = fn(&Cell) -> &Series;

/// The four series of a cell, by name, in the order in which they are told.
const SERIES: [(&str, Pick); 4] = [
    ("first", |cell| &cell.first),
    ("peer", |cell| &cell.peer),
    ("second", |cell| &cell.second),
    ("whole", |cell| &cell.whole),
];

pub(crate) fn run(options: &Options) -> ExitCode {
    exit::with(measure(options).and_then(|told| {
        tell(options, &told).map_err(refused(WRONG))?;
        Ok(code_of(told.report.ended_early, told.report.fits()))
    }))
}

/// What there is to tell.
struct Told {
    report: Report,
    /// Whether the counters are those of a network namespace of its own.
    netns: bool,
}

fn measure(options: &Options) -> Result<Told, Refusal> {
    // Before anything is measured: who cannot be told need not wait.
    if let Some(folder) = &options.hgrm {
        fs::create_dir_all(folder).map_err(about(&folder.display().to_string())).map_err(refused(WRONG))?;
    }
    if let Some(file) = &options.html {
        fs::write(file, "").map_err(about(&file.display().to_string())).map_err(refused(WRONG))?;
    }
    let netns = namespace::choose(&options.network).map_err(refused(FAILED))?;
    let interrupted = interrupt::caught().map_err(refused(FAILED))?;
    let bar = bar();
    let measured = asked_for(options).run_while(|progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        !interrupted.load(Relaxed)
    });
    bar.finish_and_clear();
    let report = measured.map_err(|error| {
        let code = if matches!(error, Error::Options(_)) { WRONG } else { FAILED };
        (code, error.into())
    })?;
    Ok(Told { report, netns })
}

fn asked_for(options: &Options) -> Close {
    let mut close = Close::new().pairs(options.pairs).unread(options.unread);
    if let Some(ways) = &options.ways {
        close = close.ways(ways.iter().copied());
    }
    if let Some(seed) = options.seed {
        close = close.seed(seed);
    }
    close
}

/// Draws itself on a terminal, and nowhere else.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("closing pairs {wide_bar} {pos} of {len}, {eta} left");
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn tell(options: &Options, told: &Told) -> io::Result<()> {
    let report = &told.report;
    if let Some(folder) = &options.hgrm {
        write_histograms(folder, report)?;
    }
    if let Some(file) = &options.html {
        fs::write(file, html::of(told)).map_err(about(&file.display().to_string()))?;
    }
    match (options.json, options.csv) {
        (true, _) => print(&serde_json::to_string_pretty(&document::Document::of(report, told.netns))?),
        (_, true) => print(&csv::of(report)),
        _ => print(&table::of(told)),
    }
}

fn write_histograms(folder: &Path, report: &Report) -> io::Result<()> {
    for cell in &report.cells {
        for (name, series) in SERIES {
            let path = folder.join(hgrm::file_name(cell, name));
            let written = fs::write(&path, hgrm::of(series(cell)));
            written.map_err(about(&path.display().to_string()))?;
        }
    }
    Ok(())
}

//! `ringpair close`: what closing costs, with the kernel's counters as proof.

mod chart;
mod csv;
mod document;
mod hgrm;
mod html;
mod sentence;
mod table;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ringpair::measure::close::{Cell, Close, CloseMode, Report};
use ringpair::measure::{Error, Series};

use crate::cpus::Cpus;
use crate::exit::{self, FAILED, Refusal, WRONG, code_of, refused};
use crate::interrupt::Interrupt;
use crate::making::Making;
use crate::namespace;
use crate::output::{Target, about_option, print};
use crate::screen;
use crate::values;

/// Measures what closing costs: reset against FIN, at both ends, with the kernel's counters as proof.
///
/// Measures each way of closing by close(2) and by io_uring, with the accepted and with the connected end first. The table
/// is in microseconds; JSON, CSV and histograms are in nanoseconds.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// Number of pairs to close for each way, call and order, for example 500 or 10k
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1000, value_parser = values::at_least_one::<usize>)]
    pairs: usize,

    /// Ways to measure: reset, fin (or graceful), shutdown, wait, abort, reset-unread, fin-unread [default: all]
    #[arg(long, value_name = "WAY,...", value_delimiter = ',', value_parser = values::way)]
    ways: Option<Vec<CloseMode>>,

    /// Bytes left unread at the end that is closed first, for reset-unread and fin-unread
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = values::unread)]
    unread: usize,

    /// Seed of the order of measurements [default: random; the report has it]
    #[arg(long, value_name = "N", value_parser = values::count::<u64>)]
    seed: Option<u64>,

    /// CPUs to measure on, for example 0 or 0-3 [default: all that are available]
    #[arg(long, value_name = "CPUS")]
    pin: Option<Cpus>,

    #[command(flatten)]
    making: Making,

    #[command(flatten)]
    network: namespace::Network,

    /// Print JSON instead of a table, or with FILE, print the table and write JSON to the file
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    json: Option<Option<PathBuf>>,

    /// The same with CSV: a line for each way, call, order and series
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    csv: Option<Option<PathBuf>>,

    /// Write a file per series to this folder, for HdrHistogram's plotter
    #[arg(long, value_name = "DIR")]
    hgrm: Option<PathBuf>,

    /// Write a page with charts to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Show every call, order and counter, too
    #[arg(long)]
    all: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    measured; every read and every counter is as it must be
  3    measured; some are not as they must be, and the report says which
  1    the measurement failed
  2    wrong usage, or the report could not be written
  130  interrupted by SIGINT, SIGTERM or SIGHUP, or because nothing reads
       standard output any more; the report, then on stderr, is of what was
       measured so far";

/// Selects one series of a cell.
type Pick = fn(&Cell) -> &Series;

/// The four series of a cell, in the order of the report.
const SERIES: [(&str, Pick); 4] = [
    ("first", |cell| &cell.first),
    ("peer", |cell| &cell.peer),
    ("second", |cell| &cell.second),
    ("whole", |cell| &cell.whole),
];

pub(crate) fn run(options: &Options) -> ExitCode {
    exit::with(measure_and_tell(options))
}

fn measure_and_tell(options: &Options) -> Result<u8, Refusal> {
    let files = Files::open(options).map_err(refused(WRONG))?;
    let cpus = options.pin.clone().unwrap_or_default();
    cpus.pin().map_err(refused(FAILED))?;
    let netns = namespace::choose(&options.network, true).map_err(refused(FAILED))?;
    let mut interrupt = Interrupt::catch().map_err(refused(FAILED))?;
    let report = measure(options, &mut interrupt)?;
    let has_no_reader = report.ended_early && interrupt.say();
    let told = Told { report, netns, cpus };
    files.write(options, &told).and_then(|()| tell(options, &told, has_no_reader)).map_err(refused(WRONG))?;
    Ok(code_of(told.report.ended_early, told.report.fits()))
}

/// A report to write.
struct Told {
    report: Report,
    /// Whether the counters belong to a network namespace of its own.
    netns: bool,
    /// Those that it was measured on; none if it was not pinned.
    cpus: Cpus,
}

fn measure(options: &Options, interrupt: &mut Interrupt) -> Result<Report, Refusal> {
    let bar = bar();
    let measured = asked_for(options).run_while(|progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        interrupt.cause().is_none()
    });
    bar.finish_and_clear();
    measured.map_err(|error| {
        let code = if matches!(error, Error::Options(_)) { WRONG } else { FAILED };
        (code, error.into())
    })
}

fn asked_for(options: &Options) -> Close {
    let mut close = Close::new().pairs(options.pairs).unread(options.unread);
    close = close.address(options.making.address).backend(options.making.backend());
    if let Some(ways) = &options.ways {
        close = close.modes(ways.iter().copied());
    }
    if let Some(seed) = options.seed {
        close = close.seed(seed);
    }
    close
}

/// A progress bar on a terminal; nothing elsewhere.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("closing pairs {wide_bar} {pos} of {len}, {eta} left");
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The files that the report is written to. They are opened before anything is measured.
struct Files {
    json: Option<Target>,
    csv: Option<Target>,
    html: Option<Target>,
}

impl Files {
    fn open(options: &Options) -> io::Result<Files> {
        if let (Some(None), Some(None)) = (&options.json, &options.csv) {
            let why = "'--json' cannot be used with '--csv' unless one of them names a file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        if let Some(folder) = &options.hgrm {
            fs::create_dir_all(folder).map_err(about_option(HGRM, folder))?;
            let any = folder.join("any");
            Target::open(HGRM, &any)?; // fails if no file can be made there
        }
        let open = |option, path: Option<&PathBuf>| path.map(|path| Target::open(option, path)).transpose();
        Ok(Files {
            json: open("--json", options.json.as_ref().and_then(Option::as_ref))?,
            csv: open("--csv", options.csv.as_ref().and_then(Option::as_ref))?,
            html: open("--html", options.html.as_ref())?,
        })
    }

    fn write(self, options: &Options, told: &Told) -> io::Result<()> {
        if let Some(folder) = &options.hgrm {
            write_histograms(folder, &told.report)?;
        }
        if let Some(file) = self.html {
            file.write(&html::of(told))?;
        }
        if let Some(file) = self.json {
            file.write(&format!("{}\n", json_of(told)?))?;
        }
        if let Some(file) = self.csv {
            file.write(&format!("{}\n", csv::of(&told.report)))?;
        }
        Ok(())
    }
}

const HGRM: &str = "--hgrm";

fn json_of(told: &Told) -> io::Result<String> {
    Ok(serde_json::to_string_pretty(&document::Document::of(told))?)
}

/// If nothing reads standard output any more, stderr has the report.
fn tell(options: &Options, told: &Told, has_no_reader: bool) -> io::Result<()> {
    let look = |has_colour| table::Look { width: screen::width(), has_colour, is_whole: options.all };
    if has_no_reader {
        let _ = writeln!(io::stderr(), "{}", table::of(told, &look(false))); // no other place is left for it
        return Ok(());
    }
    match (&options.json, &options.csv) {
        (Some(None), _) => print(&json_of(told)?),
        (_, Some(None)) => print(&csv::of(&told.report)),
        _ => print(&table::of(told, &look(screen::takes_colour()))),
    }
}

fn write_histograms(folder: &Path, report: &Report) -> io::Result<()> {
    for cell in &report.cells {
        for (name, series) in SERIES {
            let path = folder.join(hgrm::file_name(cell, name));
            Target::open(HGRM, &path)?.write(&hgrm::of(series(cell)))?;
        }
    }
    Ok(())
}

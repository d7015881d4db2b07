//! `ringpair soak`: makes, uses and closes many pairs, and reports failures, times and leaks.

mod document;
mod echo;
mod json;
#[cfg(test)]
mod laws;
mod merge;
mod parts;
mod shard;
mod table;
mod teller;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ringpair::Linger;
use ringpair::measure::Error;
use ringpair::measure::soak::{Report, Soak};

use self::document::Document;
use self::echo::Sizes;
use self::shard::Shard;
use self::teller::{Goal, Teller};
use crate::cpus::Cpus;
use crate::exit::{self, FAILED, Refusal, WRONG, code_of, refused};
use crate::interrupt::Interrupt;
use crate::making::Making;
use crate::namespace;
use crate::output::{Target, print};
use crate::values;

pub(crate) use self::echo::MAX as MAX_BYTES;
pub(crate) use self::merge::Options as MergeOptions;
pub(crate) use self::merge::run as merge;

/// Makes pairs, sends bytes both ways through each pair, checks them, and closes the pair.
///
/// Reports the rate, how long pairs take, and what is left behind.
///
/// Pairs are made through io_uring, or through epoll if there is no io_uring.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// Number of pairs, for example 1000, 1_000 or 1k [default: 10000; unlimited with --duration]
    #[arg(short = 'n', long, value_name = "N", value_parser = values::at_least_one::<u64>)]
    pairs: Option<u64>,

    /// Time to soak for, for example 500ms, 10s, 5m or 1h30m
    #[arg(short, long, value_name = "TIME", value_parser = values::some_time)]
    duration: Option<Duration>,

    /// Number of pairs to hold open
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = values::count::<usize>)]
    live: usize,

    /// Number of pairs to begin per second; the time of a late pair counts from its planned begin
    #[arg(long, value_name = "N", value_parser = values::rate)]
    rate: Option<f64>,

    /// Number of threads, each with a factory of its own
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = values::at_least_one::<usize>)]
    threads: usize,

    /// Number of pairs that each thread works on at once
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = values::at_least_one::<usize>)]
    concurrency: usize,

    /// CPUs to pin threads to, each thread to one of them in turn, for example 0, 0,2 or 0-3 [default: not pinned]
    #[arg(long, value_name = "CPUS")]
    pin: Option<Cpus>,

    /// Time limit for each pair, from connect to close; a pair that takes longer is reset and counted as failed
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = values::some_time)]
    pair_timeout: Duration,

    /// End early when more pairs than this have failed: a number, or a percentage of the pairs so far [default: no limit]
    #[arg(long, value_name = "N|N%")]
    max_failures: Option<MaxFailures>,

    /// Bytes that the connected end sends, 1 to 4096 [default: random]
    #[arg(long, value_name = "BYTES", value_parser = values::size)]
    request: Option<usize>,

    /// Bytes that the accepted end answers, 1 to 4096 [default: those of the request]
    #[arg(long, value_name = "BYTES", value_parser = values::size)]
    response: Option<usize>,

    /// What closing does
    #[arg(long, value_enum, default_value_t = Closing::Reset)]
    linger: Closing,

    /// Seed of the bytes [default: random; the report has it]
    #[arg(long, value_name = "N", value_parser = values::count::<u64>)]
    seed: Option<u64>,

    /// Make only part I of N of the pairs, counted from 0 [default: what the scheduler says; see below]
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,

    #[command(flatten)]
    making: Making,

    #[command(flatten)]
    network: namespace::Network,

    /// Print JSON instead of a table, or with FILE, print the table and write JSON to the file
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    json: Option<Option<PathBuf>>,

    /// Print a line of JSON each second; the last line is the report
    #[arg(long)]
    json_lines: bool,

    /// Add whole histograms to the JSON, as `ringpair merge` needs them; the reports of shards always have them
    #[arg(long)]
    histograms: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Closing {
    /// RST at once: nothing is left behind
    Reset,
    /// FIN: the end that is closed first is in TIME_WAIT for a minute; also called fin
    #[value(alias = "fin")]
    Graceful,
}

/// How many pairs may fail.
#[derive(Clone, Copy, Debug, PartialEq)]
enum MaxFailures {
    Count(u64),
    Rate(f64),
}

impl FromStr for MaxFailures {
    type Err = String;

    fn from_str(text: &str) -> Result<MaxFailures, String> {
        let wrong = || "expected a number of pairs or a percentage, for example 10, 1k or 1%".to_owned();
        let Some(percent) = text.strip_suffix('%') else {
            return values::count(text).map(MaxFailures::Count).map_err(|_| wrong());
        };
        match values::decimal(percent) {
            Some(percent) if percent <= 100.0 => Ok(MaxFailures::Rate(percent / 100.0)),
            Some(_) => Err("expected a percentage from 0 to 100".to_owned()),
            None => Err(wrong()),
        }
    }
}

const EXIT_CODES: &str = "\
Shards:
  Without --shard, environment variables of a scheduler name the shard:
    Kubernetes  JOB_COMPLETION_INDEX of an indexed Job, and RINGPAIR_SHARDS
    Slurm       SLURM_ARRAY_TASK_ID, _MIN, _MAX, _STEP and _COUNT of an array
    GitLab      CI_NODE_INDEX and CI_NODE_TOTAL of a job with `parallel`
  An index without a total is an error, and so is a Slurm array that is a
  list or one task: use --shard. Ask for at least as many pairs as there are
  shards: a shard without a pair is refused. `ringpair merge` adds up the
  reports of shards that ran with --json or --json-lines.

Exit codes:
  0    soaked; nothing failed, and nothing was left behind
  3    soaked; something failed or was left behind, as the report says
  1    could not soak
  2    wrong usage, or the report could not be written
  130  interrupted by SIGINT, SIGTERM or SIGHUP, or because nothing reads
       standard output any more; the report, then on stderr, is of what was
       soaked so far";

pub(crate) fn run(options: &Options) -> ExitCode {
    exit::with(soak(options))
}

fn soak(options: &Options) -> Result<u8, Refusal> {
    let shard = options.shard.map_or_else(Shard::of_the_scheduler, |shard| Ok(Some(shard))).map_err(refused(WRONG))?;
    let pairs = pairs_of(options, shard).map_err(refused(WRONG))?;
    let file = target(options).map_err(refused(WRONG))?;
    // Lines of JSON are read as logs, where both streams are one; their report has the note.
    let is_own = namespace::choose(&options.network, !options.json_lines).map_err(refused(FAILED))?;
    raise_limit().map_err(refused(FAILED))?;
    let interrupt = Interrupt::catch().map_err(refused(FAILED))?;
    let mut teller = Teller::new(interrupt, goal(options, pairs), options.json_lines);
    let outcome = measured(options, shard, pairs, is_own, &mut teller);
    teller.end();
    let report = outcome?;
    if let Some(error) = teller.refused() {
        return Err((WRONG, error.into()));
    }
    let has_no_reader = report.ended_early && teller.say();
    let document = Document::of(&report, shard, options.histograms || shard.is_some());
    tell(options, &document, file, has_no_reader).map_err(refused(WRONG))?;
    Ok(code_of(document.ended_early, document.clean))
}

/// Opens the file of the report, before the soak begins.
fn target(options: &Options) -> io::Result<Option<Target>> {
    match &options.json {
        None if options.histograms && !options.json_lines => {
            let why = "'--histograms' takes '--json' or '--json-lines': a table has none";
            Err(io::Error::new(io::ErrorKind::InvalidInput, why))
        }
        Some(None) if options.json_lines => {
            let why = "'--json' without a file cannot be used with '--json-lines': the report is its last line";
            Err(io::Error::new(io::ErrorKind::InvalidInput, why))
        }
        Some(Some(path)) => Target::open("--json", path).map(Some),
        _ => Ok(None),
    }
}

/// If nothing reads standard output any more, stderr has the report.
fn tell(options: &Options, document: &Document, file: Option<Target>, has_no_reader: bool) -> io::Result<()> {
    if has_no_reader {
        let _ = writeln!(io::stderr(), "{}", table::of(document)); // no other place is left for it
    }
    if let Some(file) = file {
        file.write(&format!("{}\n", json::indented(document)?))?;
    }
    match (options.json_lines, &options.json) {
        _ if has_no_reader => Ok(()),
        (true, _) => print(&serde_json::to_string(document)?),
        (false, Some(None)) => print(&json::indented(document)?),
        _ => print(&table::of(document)),
    }
}

fn goal(options: &Options, pairs: Option<u64>) -> Goal {
    match (options.duration, pairs) {
        (Some(time), None) => Goal::Time(time),
        (_, pairs) => Goal::Pairs(pairs.unwrap_or_default()),
    }
}

fn measured(
    options: &Options,
    shard: Option<Shard>,
    pairs: Option<u64>,
    is_own: bool,
    teller: &mut Teller,
) -> Result<Report, Refusal> {
    let soak = asked_for(options, shard, pairs).own_network(is_own);
    let sizes = Sizes { request: options.request, response: options.response };
    let report = soak.run_while(echo::body(sizes), |progress| teller.tell(progress));
    report.map_err(|error| {
        let code = if matches!(error, Error::Options(_)) { WRONG } else { FAILED };
        (code, error.into())
    })
}

/// Returns the number of this shard's pairs, if they are counted. A shard without pairs is an error: it would prove nothing.
fn pairs_of(options: &Options, shard: Option<Shard>) -> Result<Option<u64>, String> {
    let whole = options.pairs.or(if options.duration.is_some() { None } else { Some(10_000) });
    let (Some(pairs), Some(shard)) = (whole, shard) else { return Ok(whole) };
    match shard.share_of(pairs) {
        0 if pairs > 0 => Err(format!(
            "shard {shard} has no pair to make: {pairs} are fewer than the shards; ask for {} or more",
            shard.of
        )),
        share => Ok(Some(share)),
    }
}

fn asked_for(options: &Options, shard: Option<Shard>, pairs: Option<u64>) -> Soak {
    let making = &options.making;
    let mut soak = Soak::new().address(making.address).backend(making.backend()).live(options.live);
    soak = soak.threads(options.threads).concurrency(options.concurrency).pair_timeout(options.pair_timeout);
    soak = soak.linger(match options.linger {
        Closing::Reset => Linger::Reset,
        Closing::Graceful => Linger::Graceful,
    });
    if let Some(Cpus(cpus)) = &options.pin {
        soak = soak.pin(cpus.iter().copied());
    }
    if let Some(pairs) = pairs {
        soak = soak.pairs(pairs);
    }
    if let Some(duration) = options.duration {
        soak = soak.duration(duration);
    }
    if let Some(rate) = options.rate {
        soak = soak.rate(rate);
    }
    soak = match options.max_failures {
        Some(MaxFailures::Count(count)) => soak.max_failures(count),
        Some(MaxFailures::Rate(rate)) => soak.max_failure_rate(rate),
        None => soak,
    };
    match (options.seed, shard) {
        (Some(seed), Some(shard)) => soak.seed(shard.seed(seed)),
        (Some(seed), None) => soak.seed(seed),
        (None, _) => soak,
    }
}

/// Raises the limit of descriptors to the maximum of this process.
fn raise_limit() -> io::Result<()> {
    let (_, max) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, max, max)?)
}

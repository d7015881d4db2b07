//! `ringpair merge`: the reports of several shards, added up.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ringpair::measure::soak::Facts;

use super::document::{Document, Values};
use super::table;
use crate::exit::{self, WRONG, code_of, refused};
use crate::output::{about, print};

/// Adds up the reports of `ringpair soak`: pairs, failures and histograms, of which nothing is lost, and the verdicts.
///
/// A file is what `ringpair soak --json` or `--json-lines` has printed. Shards that are missing, and such as are there twice,
/// are complained of.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// Reports
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    every shard is there, and clean
  3    a shard is missing or there twice, or one of them is not clean; the report says which
  2    wrong usage, or a report that cannot be read or written
  130  one of them was interrupted";

pub(crate) fn run(options: &Options) -> ExitCode {
    exit::with(add_up(options).map_err(refused(WRONG)))
}

fn add_up(options: &Options) -> io::Result<u8> {
    let documents = options.files.iter().map(|file| read(file)).collect::<io::Result<Vec<Document>>>()?;
    let sum = sum(&documents);
    let text = if options.json { serde_json::to_string_pretty(&sum)? } else { table::of(&sum) };
    print(&text)?;
    Ok(code_of(sum.ended_early, sum.clean))
}

/// A report, or lines of which the last is one.
fn read(file: &Path) -> io::Result<Document> {
    let about_it = || about(&file.display().to_string());
    let text = fs::read_to_string(file).map_err(about_it())?;
    let last = || text.trim_end().lines().next_back().unwrap_or_default();
    let whole = serde_json::from_str(&text).or_else(|error| serde_json::from_str(last()).map_err(|_| error));
    whole.map_err(|error| {
        about_it()(io::Error::new(io::ErrorKind::InvalidData, format!("it is no report of a soak: {error}")))
    })
}

/// There is at least one.
fn sum(documents: &[Document]) -> Document {
    let mut sum = documents[0].clone();
    for more in &documents[1..] {
        sum.pairs += more.pairs;
        more.failures.iter().for_each(|(step, count)| *sum.failures.entry(step.clone()).or_default() += count);
        sum.first_failure = sum.first_failure.take().or_else(|| more.first_failure.clone());
        sum.elapsed_seconds = sum.elapsed_seconds.max(more.elapsed_seconds);
        sum.pairs_per_second += more.pairs_per_second;
        for (own, more) in [(&mut sum.make, &more.make), (&mut sum.body, &more.body), (&mut sum.close, &more.close)] {
            let mut series = own.series();
            series.merge(&more.series());
            *own = Values::of(&series);
        }
        sum.before = both(sum.before, more.before);
        sum.settled = both(sum.settled, more.settled);
        sum.peak = both(sum.peak, more.peak);
        sum.after = both(sum.after, more.after);
        sum.ended_early |= more.ended_early;
        sum.netns &= more.netns;
        sum.shards.extend(&more.shards);
        sum.notes.extend_from_slice(&more.notes);
        if sum.engine != more.engine {
            sum.engine = "uring and epoll".to_owned();
        }
    }
    sum.notes.dedup();
    sum.shards.sort_by_key(|shard| (shard.of, shard.index));
    sum.complaints = documents.iter().flat_map(complaints_of).chain(gaps(&sum)).collect();
    sum.clean = sum.complaints.is_empty();
    sum
}

fn complaints_of(document: &Document) -> impl Iterator<Item = String> + '_ {
    let whose = document.shards.first().map(|shard| format!("shard {shard}: ")).unwrap_or_default();
    document.complaints.iter().map(move |complaint| format!("{whose}{complaint}"))
}

/// Shards that are missing, or there twice.
fn gaps(sum: &Document) -> Vec<String> {
    let Some(of) = sum.shards.first().map(|shard| shard.of) else { return Vec::new() };
    if let Some(other) = sum.shards.iter().find(|shard| shard.of != of) {
        return vec![format!("shards of {of} and of {} are no parts of one soak", other.of)];
    }
    let count = |index| sum.shards.iter().filter(|shard| shard.index == index).count();
    let complaint = |index| match count(index) {
        0 => Some(format!("shard {index}/{of} is missing")),
        1 => None,
        times => Some(format!("shard {index}/{of} is there {times} times")),
    };
    (0..of).filter_map(complaint).collect()
}

/// Of machines that know, together.
fn both(own: Facts, more: Facts) -> Facts {
    let add = |own: Option<u64>, more: Option<u64>| own.zip(more).map(|(own, more)| own + more);
    let mut sum = own;
    sum.descriptors = add(own.descriptors, more.descriptors);
    sum.memory = add(own.memory, more.memory);
    sum.sockets = add(own.sockets, more.sockets);
    sum.time_wait = add(own.time_wait, more.time_wait);
    sum
}

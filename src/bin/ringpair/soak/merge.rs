//! `ringpair merge`: adds up the reports of several shards.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::document::Document;
use super::parts::{Part, parts_in, sum};
use super::{json, table};
use crate::exit::{self, Refusal, WRONG, code_of, refused};
use crate::output::{escaped, print};

/// Adds up the reports of a soak's shards: pairs, failures, histograms and complaints.
///
/// A file has what `ringpair soak` printed for a shard with --json or --json-lines (for a whole soak, with --histograms, too), or
/// what `ringpair merge --json` printed. It can have several reports. Together they must be all shards of one soak, each once.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// Files with reports; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    every shard is there once, and clean
  3    a shard is missing, there twice, or not clean, as the report says
  2    wrong usage, a file that is not a report of a soak, or a sum that
       cannot be written
  130  a shard was interrupted";

pub(crate) fn run(options: &Options) -> ExitCode {
    exit::with(add_up(options))
}

fn add_up(options: &Options) -> Result<u8, Refusal> {
    let sum = sum_of(&options.files).map_err(refused(WRONG))?;
    let text = if options.json { json::indented(&sum) } else { Ok(table::of(&sum)) };
    text.and_then(|text| print(&text)).map_err(refused(WRONG))?;
    Ok(code_of(sum.ended_early, sum.clean))
}

/// Adds up all reports in the files. All are read and checked before any is added.
fn sum_of(files: &[PathBuf]) -> Result<Document, Unfit> {
    let (mut parts, mut owners) = (Vec::new(), Vec::new());
    for file in files {
        let more = parts_of(file)?;
        owners.resize(parts.len() + more.len(), file);
        parts.extend(more);
    }
    match sum(&parts) {
        Ok(Some(sum)) => Ok(sum),
        Ok(None) => Err(Unfit { file: String::new(), why: "there is no report".to_owned() }),
        Err((place, misfit)) => Err(unfit(owners[place])(misfit)),
    }
}

fn parts_of(file: &Path) -> Result<Vec<Part>, Unfit> {
    let input: Box<dyn Read> = match file.as_os_str() == STDIN {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(file).map_err(unfit(file))?),
    };
    parts_in(input).map_err(unfit(file))
}

/// The name of standard input.
const STDIN: &str = "-";

/// A file whose reports cannot be added up.
#[derive(Debug)]
struct Unfit {
    file: String,
    why: String,
}

fn unfit<E: fmt::Display>(file: &Path) -> impl FnOnce(E) -> Unfit + use<E> {
    let file = if file.as_os_str() == STDIN { "stdin".to_owned() } else { file.display().to_string() };
    move |why| Unfit { file, why: why.to_string() }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", escaped(&self.file), escaped(&self.why))
    }
}

impl std::error::Error for Unfit {}

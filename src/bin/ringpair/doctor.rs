//! `ringpair doctor`: what makes pairs here, as text, as JSON and for GitHub Actions.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use console::Term;
use ringpair::Probe;
use ringpair::probe::Verdict;
use serde::Serialize;

use crate::exit::{self, FAILED, UNFIT, WRONG, refused};
use crate::namespace;
use crate::output::{about, print};
use crate::screen::{takes_colour, wrapped};

/// Reports what makes pairs here, and whether namespaces are available.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,

    /// Write summary, annotation and outputs for GitHub Actions
    #[arg(long, conflicts_with = "json")]
    github: bool,

    /// Exit with 3 if pairs are not made through io_uring
    #[arg(long)]
    require_uring: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  pairs can be made, through io_uring or by plain system calls (epoll)
  1  no pairs can be made, or it is unknown whether they can
  2  wrong usage or environment, or the answer could not be written
  3  with --require-uring: pairs are not made through io_uring";

pub(crate) fn run(options: &Options) -> ExitCode {
    exit::with(tell(options).map(|verdict| code_of(verdict, options.require_uring)).map_err(refused(WRONG)))
}

fn code_of(verdict: Verdict, require_uring: bool) -> u8 {
    match verdict {
        Verdict::Ring => 0,
        _ if require_uring => UNFIT,
        Verdict::Epoll => 0,
        _ => FAILED,
    }
}

fn tell(options: &Options) -> io::Result<Verdict> {
    // First, so that nothing is tried if the answer cannot be told.
    let github = if options.github { Some(GitHub::open()?) } else { None };
    let findings = Findings::now();
    let probe = &findings.probe;
    let text = match github {
        Some(github) => {
            github.tell(&findings)?;
            annotation(probe)
        }
        None if options.json => serde_json::to_string_pretty(&findings)?,
        None if io::stdout().is_terminal() => for_a_terminal(&findings),
        None => findings.table(WIDTH),
    };
    print(&text)?;
    Ok(probe.verdict())
}

/// The findings. `schemas/doctor.json` describes the document.
#[derive(Serialize)]
struct Findings {
    #[serde(flatten)]
    probe: Probe,
    network_namespace: Namespace,
}

/// Whether a network namespace of its own is available, as `run`, `soak` and `close` use it.
#[derive(Serialize)]
struct Namespace {
    available: bool,
    way: Option<namespace::Privilege>,
    cause_text: Option<String>,
}

impl Findings {
    fn now() -> Findings {
        let network_namespace = match namespace::tried() {
            Ok(way) => Namespace { available: true, way: Some(way), cause_text: None },
            Err(error) => Namespace { available: false, way: None, cause_text: Some(error.to_string()) },
        };
        Findings { probe: ringpair::probe(), network_namespace }
    }

    /// Returns the table of the probe, with a row for namespaces.
    fn table(&self, width: usize) -> String {
        let namespace = match (self.network_namespace.way, &self.network_namespace.cause_text) {
            (Some(way), _) => format!("a network namespace of its own is available, {way}"),
            (None, cause) => cause.clone().unwrap_or_default(),
        };
        let text = wrapped(&namespace, width.saturating_sub(NAMES).max(TEXT));
        let text = text.replace('\n', &format!("\n{:NAMES$}", ""));
        format!("{:width$}\n{:NAMES$}{text}", self.probe, "namespaces")
    }
}

/// The width of a table without a terminal, of its names, and the minimum width of its texts.
const WIDTH: usize = 80;
const NAMES: usize = 15;
const TEXT: usize = 20;

// --- terminals

/// Lines longer than this are hard to read.
const WIDEST: u16 = 100;

fn for_a_terminal(findings: &Findings) -> String {
    let columns = Term::stdout().size_checked().map(|(_, columns)| columns.min(WIDEST).into());
    let table = findings.table(columns.unwrap_or(WIDTH));
    if takes_colour() { coloured(&table, findings.probe.verdict()) } else { table }
}

/// Returns the table with the verdict in colour.
fn coloured(table: &str, verdict: Verdict) -> String {
    let colour = match verdict {
        Verdict::Ring => 32,
        Verdict::Epoll | Verdict::Unknown => 33,
        _ => 31,
    };
    let (first, others) = table.split_once('\n').unwrap_or((table, ""));
    format!("\x1b[1;{colour}m{first}\x1b[0m\n{others}")
}

// --- GitHub Actions

const SUMMARY: &str = "GITHUB_STEP_SUMMARY";
const OUTPUT: &str = "GITHUB_OUTPUT";

/// The files that commands of a workflow step append to.
struct GitHub {
    summary: File,
    /// `None` in runners that know no outputs.
    output: Option<File>,
}

impl GitHub {
    fn open() -> io::Result<GitHub> {
        let summary = named_by(SUMMARY)?.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("${SUMMARY} is not set: --github is for GitHub Actions"))
        })?;
        Ok(GitHub { summary, output: named_by(OUTPUT)? })
    }

    fn tell(mut self, findings: &Findings) -> io::Result<()> {
        self.summary.write_all(summary_of(findings).as_bytes()).map_err(about(&format!("${SUMMARY}")))?;
        self.output
            .map_or(Ok(()), |mut file| file.write_all(outputs_of(&findings.probe).as_bytes()))
            .map_err(about(&format!("${OUTPUT}")))
    }
}

/// Opens the file that a variable names, for appending.
fn named_by(variable: &str) -> io::Result<Option<File>> {
    let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) else { return Ok(None) };
    OpenOptions::new().append(true).create(true).open(path).map(Some).map_err(about(&format!("${variable}")))
}

fn outputs_of(probe: &Probe) -> String {
    let verdict = probe.verdict();
    let cause = probe.cause().map(|cause| on_one_line(&cause.to_string())).unwrap_or_default();
    format!("verdict={verdict}\ncause={cause}\nhas-ring={}\n", verdict == Verdict::Ring)
}

/// Replaces line breaks: another line would set another output.
fn on_one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

fn summary_of(findings: &Findings) -> String {
    let table = findings.table(WIDTH);
    format!("### ringpair doctor: {}\n\n```text\n{table}\n```\n\n", findings.probe.verdict())
}

/// Returns a workflow command: a notice if there is a ring, otherwise a warning.
fn annotation(probe: &Probe) -> String {
    let level = if probe.verdict() == Verdict::Ring { "notice" } else { "warning" };
    let mut message = probe.verdict().to_string();
    if let (Some(cause), Some(remedy)) = (probe.cause(), probe.remedy()) {
        let _ = write!(message, ": {cause}. {remedy}"); // a String takes everything
    }
    format!("::{level} title=ringpair doctor::{}", escaped(&message))
}

/// Escapes a message of a workflow command. The percent sign comes first, because the others are written with it.
fn escaped(message: &str) -> String {
    message.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_a_workflow_command_stays_on_its_line() {
        assert_eq!(escaped("100 %\r\nof it: a, b"), "100 %25%0D%0Aof it: a, b");
        assert_eq!(escaped("%0A"), "%250A");
    }

    #[test]
    fn an_output_cannot_set_another() {
        assert_eq!(on_one_line("a cause\r\nhas-ring=true"), "a cause  has-ring=true");
    }
}

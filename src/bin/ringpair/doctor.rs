//! `ringpair doctor`: what this host allows, for people, for programs and for GitHub Actions.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use ringpair::Probe;
use ringpair::probe::Verdict;

use crate::output::{about, print};

/// Tells whether this host lets pairs be made through io_uring, why not, and what to do about it.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,

    /// Append the table to the file that $GITHUB_STEP_SUMMARY names, and print one annotation in its place
    #[arg(long, conflicts_with = "json")]
    github: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  pairs can be made through io_uring
  3  not through io_uring, but by plain system calls (epoll)
  1  no pair can be made
  2  wrong usage, or the answer could not be written; a reader that has gone away is no error";

pub(crate) fn run(options: &Options) -> ExitCode {
    match tell(options) {
        Ok(verdict) => ExitCode::from(code_of(verdict)),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}"); // there is nobody else to tell
            ExitCode::from(2)
        }
    }
}

fn code_of(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Ring => 0,
        Verdict::Epoll => 3,
        _ => 1,
    }
}

fn tell(options: &Options) -> io::Result<Verdict> {
    // Before anything is tried: who cannot be told need not wait.
    let mut summary = if options.github { Some(step_summary()?) } else { None };
    let probe = ringpair::probe();
    let text = match &mut summary {
        Some(file) => {
            file.write_all(summary_of(&probe).as_bytes()).map_err(about(SUMMARY))?;
            annotation(&probe)
        }
        None if options.json => serde_json::to_string_pretty(&probe)?,
        None if wants_colour() => coloured(&probe),
        None => probe.to_string(),
    };
    print(&text)?;
    Ok(probe.verdict())
}

// --- colour

/// <https://no-color.org>: set to anything but nothing.
fn wants_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The table, with the line of the verdict in its colour.
fn coloured(probe: &Probe) -> String {
    let colour = match probe.verdict() {
        Verdict::Ring => 32,
        Verdict::Epoll => 33,
        _ => 31,
    };
    let table = probe.to_string();
    let lines = table.lines().map(|line| match line.strip_prefix("verdict") {
        Some(rest) => format!("verdict\x1b[1;{colour}m{rest}\x1b[0m"),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

// --- GitHub Actions

const SUMMARY: &str = "$GITHUB_STEP_SUMMARY";

fn step_summary() -> io::Result<File> {
    let path = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "$GITHUB_STEP_SUMMARY is not set: --github is for GitHub Actions")
    })?;
    OpenOptions::new().append(true).create(true).open(path).map_err(about(SUMMARY))
}

fn summary_of(probe: &Probe) -> String {
    format!("### ringpair doctor: {}\n\n```text\n{probe}\n```\n\n", probe.verdict())
}

/// One workflow command: a notice where there is a ring, a warning where there is none.
fn annotation(probe: &Probe) -> String {
    let level = if probe.verdict() == Verdict::Ring { "notice" } else { "warning" };
    let mut message = probe.verdict().to_string();
    if let Some(cause) = probe.cause() {
        let _ = write!(message, ": {cause}. {}", cause.remedy()); // a String takes everything
    }
    format!("::{level} title=ringpair doctor::{}", escaped(&message))
}

/// As workflow commands want their messages: the percent sign first, since the others are written with it.
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
}

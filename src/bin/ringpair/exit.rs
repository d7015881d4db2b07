//! Exit codes of the measuring commands, and their error line.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// The command failed.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage, or the report could not be written.
pub(crate) const WRONG: u8 = 2;
/// The command succeeded, and its result is not as it should be.
pub(crate) const UNFIT: u8 = 3;
/// Interrupted; the code of shells for SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

/// An exit code and the error behind it.
pub(crate) type Refusal = (u8, Box<dyn Error>);

/// Returns a closure that turns an error into a refusal with this code, for `map_err`.
pub(crate) fn refused<E: Into<Box<dyn Error>>>(code: u8) -> impl FnOnce(E) -> Refusal {
    move |error| (code, error.into())
}

/// Returns the exit code of a measurement.
pub(crate) fn code_of(ended_early: bool, is_fit: bool) -> u8 {
    match (ended_early, is_fit) {
        (true, _) => INTERRUPTED,
        (false, true) => 0,
        (false, false) => UNFIT,
    }
}

/// Returns the exit code. Prints the error of a refusal on stderr.
pub(crate) fn with(outcome: Result<u8, Refusal>) -> ExitCode {
    ExitCode::from(outcome.unwrap_or_else(|(code, error)| {
        let _ = writeln!(io::stderr(), "error: {}", with_causes(&*error)); // no other place is left for it
        code
    }))
}

/// Returns an error and its sources on one line.
fn with_causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut behind = error.source();
    while let Some(cause) = behind {
        line = format!("{line}: {cause}");
        behind = cause.source();
    }
    line
}

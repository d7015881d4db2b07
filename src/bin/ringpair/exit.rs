//! How a command that measures ends: exit codes, and the one line that says why.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// It could not be done.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage, or an answer that could not be written.
pub(crate) const WRONG: u8 = 2;
/// It was done, and what came of it is not as it should be.
pub(crate) const UNFIT: u8 = 3;
/// It was interrupted, as shells tell it of SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why it ends with another code than what was measured makes it.
pub(crate) type Refusal = (u8, Box<dyn Error>);

/// Makes the closure that turns an error into a refusal with this code, for `map_err`.
pub(crate) fn refused<E: Into<Box<dyn Error>>>(code: u8) -> impl FnOnce(E) -> Refusal {
    move |error| (code, error.into())
}

/// The code of what was measured.
pub(crate) fn code_of(ended_early: bool, is_fit: bool) -> u8 {
    match (ended_early, is_fit) {
        (true, _) => INTERRUPTED,
        (false, true) => 0,
        (false, false) => UNFIT,
    }
}

/// Ends with the exit code. If the command was refused, says why on stderr.
pub(crate) fn with(outcome: Result<u8, Refusal>) -> ExitCode {
    ExitCode::from(outcome.unwrap_or_else(|(code, error)| {
        let _ = writeln!(io::stderr(), "error: {}", with_causes(&*error)); // no other place is left for it
        code
    }))
}

/// An error with all that is behind it, on one line.
fn with_causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut behind = error.source();
    while let Some(cause) = behind {
        line = format!("{line}: {cause}");
        behind = cause.source();
    }
    line
}

//! `ringpair run`: runs a command in a network namespace of its own.

use std::io::{self, Error, ErrorKind, Write as _};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use crate::namespace;

/// Runs a command in a network namespace of its own, with `lo` up: fixed ports, clean counters, no other connections.
///
/// The exit code is that of the command; 125 with --require if there is no namespace, 126 or 127 if the command cannot run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Fail if no network namespace of its own is available, instead of using the host's
    #[arg(long)]
    require: bool,

    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<std::ffi::OsString>,
}

/// Exit codes, the same as those of `env(1)` and `timeout(1)`.
const NOT_ENTERED: u8 = 125;
const NOT_RUNNABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

pub(crate) fn run(options: &Options) -> ExitCode {
    match namespace::enter_for_a_command() {
        Ok(()) => {}
        Err(error) if options.require => return end(NOT_ENTERED, &error),
        Err(error) => {
            let _ = writeln!(io::stderr(), "note: {error}; the command runs in the host's");
        }
    }
    let Some((program, arguments)) = options.command.split_first() else { return ExitCode::from(NOT_FOUND) };
    let error = Command::new(program).args(arguments).exec(); // returns only if it fails
    let code = if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE };
    end(code, &Error::new(error.kind(), format!("{} cannot be run: {error}", program.to_string_lossy())))
}

fn end(code: u8, error: &Error) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {error}");
    ExitCode::from(code)
}

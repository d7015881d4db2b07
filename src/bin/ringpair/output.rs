//! Where answers go: standard output, and files that were named.

use std::io::{self, Write};

/// Prints a line or several. A reader that has gone away has read enough.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(about("stdout")(error)),
        _ => Ok(()),
    }
}

/// Says what the error is about, which the kernel does not.
pub(crate) fn about(what: &str) -> impl FnOnce(io::Error) -> io::Error + use<> {
    let what = what.to_owned();
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

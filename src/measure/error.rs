//! Why something could not be measured.

use std::{fmt, io};

/// Why there are no figures: what was being done, and behind it, as [`source`](std::error::Error::source), the cause.
///
/// ```
/// use ringpair::measure::{Error, close::Close};
///
/// let error = Close::new().unread(1 << 20).run().unwrap_err();
/// assert!(matches!(error, Error::Options(_)));
/// assert_eq!(error.to_string(), "from 1 to 65536 bytes can lie unread, not 1048576");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// What was asked for cannot be measured. Nothing was opened.
    Options(String),
    /// A pair could not be made, or what makes it could not be set up.
    Pair(crate::Error),
    /// Something failed on the way from a pair to its end.
    Closing {
        /// What it was, such as `shut the first end`.
        act: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel's counters could not be read from `/proc`.
    Counters(io::Error),
    /// A thread or its runtime could not be started.
    Start(io::Error),
}

impl Error {
    /// Makes the closure that turns an `io::Error` into one of this act, for `map_err`.
    pub(super) fn at<E: Into<io::Error>>(act: &'static str) -> impl FnOnce(E) -> Error {
        move |source| Error::Closing { act, source: source.into() }
    }
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Error {
        Error::Pair(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Options(why) => f.write_str(why),
            Error::Pair(_) => f.write_str("there is no pair to measure with"),
            Error::Closing { act, .. } => write!(f, "could not {act}"),
            Error::Counters(_) => f.write_str("the kernel's counters cannot be read"),
            Error::Start(_) => f.write_str("a thread with a runtime of its own cannot be started"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Options(_) => None,
            Error::Pair(error) => Some(error),
            Error::Closing { source, .. } | Error::Counters(source) | Error::Start(source) => Some(source),
        }
    }
}

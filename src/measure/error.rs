//! [`Error`]: why a measurement failed.

use std::{fmt, io};

/// The error of a measurement. `Display` says what failed and why, in one sentence.
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
    /// Invalid options. Nothing was opened.
    Options(String),
    /// Making a pair or a factory failed.
    Pair(crate::Error),
    /// Using or closing a pair failed.
    Closing {
        /// What failed: `shut the first end`.
        act: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// Reading the kernel's counters from `/proc` failed.
    Counters(io::Error),
    /// Starting a thread or its runtime failed.
    Start(io::Error),
}

impl Error {
    /// Returns the closure that turns an `io::Error` into [`Error::Closing`], for `map_err`.
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
            Error::Pair(error) => write!(f, "cannot make a pair: {error}"),
            Error::Closing { act, source } => write!(f, "could not {act}: {source}"),
            Error::Counters(source) => write!(f, "cannot read the kernel's counters: {source}"),
            Error::Start(source) => write!(f, "cannot start a thread with its own runtime: {source}"),
        }
    }
}

/// The chain begins behind the cause, which `Display` already shows.
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Options(_) => None,
            Error::Pair(error) => error.cause().source(),
            Error::Closing { source, .. } | Error::Counters(source) | Error::Start(source) => source.source(),
        }
    }
}

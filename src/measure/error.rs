//! [`Error`]: why a measurement failed.

use std::{fmt, io};

/// The error of every measurement: what failed, and as [`source`](std::error::Error::source) the cause.
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
            Error::Pair(_) => f.write_str("cannot make a pair"),
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

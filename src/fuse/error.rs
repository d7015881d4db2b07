//! How a body broke under a fuse.

use std::fmt;
use std::io;

use super::Point;

/// How a body broke under a fuse. `{:?}` is for people too: `unwrap` shows the text, and the cause.
///
/// ```
/// use std::io;
/// use ringpair::fuse::{Error, Fuse};
///
/// let broken = Fuse::armed_blocking(|fuse| {
///     fuse.maybe_fail().map_err(|_| io::Error::other("disk full")) // hides what has failed
/// });
/// assert!(matches!(broken, Err(Error::Strayed { point, source }) if point.number() == 1 && source.to_string() == "disk full"));
/// ```
#[non_exhaustive]
pub enum Error {
    /// The run in which this point failed panicked.
    Panicked {
        /// The point.
        point: Point,
        /// What the panic said.
        message: String,
    },
    /// The run in which this point failed ended in an error that is not that failure, nor has it among its causes.
    Strayed {
        /// The point.
        point: Point,
        /// The error that the body ended in.
        source: io::Error,
    },
    /// A run ended in an error, and no point had failed in it: it is not the fuse that breaks it.
    Failed {
        /// The error that the body ended in.
        source: io::Error,
    },
    /// The same with a panic.
    FailedByPanic {
        /// What the panic said.
        message: String,
    },
    /// There were more points than may be; see [`FuseOptions::max_points`](super::FuseOptions::max_points).
    NeverEnds {
        /// How many there may be.
        max_points: usize,
        /// The first that was one too many.
        last: Point,
    },
}

impl Error {
    /// The point whose failure broke the body, where it was one.
    ///
    /// ```
    /// # use ringpair::fuse::Fuse;
    /// let broken = Fuse::armed_blocking(|fuse| {
    ///     fuse.maybe_fail()?;
    ///     assert!(fuse.maybe_fail().is_ok());
    ///     Ok(())
    /// });
    /// assert_eq!(broken.unwrap_err().point().unwrap().number(), 2);
    /// ```
    pub fn point(&self) -> Option<&Point> {
        match self {
            Error::Panicked { point, .. } | Error::Strayed { point, .. } => Some(point),
            Error::NeverEnds { last, .. } => Some(last),
            Error::Failed { .. } | Error::FailedByPanic { .. } => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Panicked { point, message } => write!(f, "the run that failed at {point} panicked: {message}"),
            Error::Strayed { point, .. } => {
                write!(f, "the run that failed at {point} ended in an error that does not stem from there")
            }
            Error::Failed { .. } => f.write_str("a run failed, and not at a point of the fuse"),
            Error::FailedByPanic { message } => {
                write!(f, "a run panicked, and it had failed at no point of the fuse: {message}")
            }
            Error::NeverEnds { max_points, last } => NeverEnding(*max_points, last).fmt(f),
        }
    }
}

/// The text, and after it the cause: what `unwrap` is to show.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match self {
            Error::Strayed { source, .. } | Error::Failed { source } => write!(f, ": {source}"),
            Error::Panicked { .. } | Error::FailedByPanic { .. } | Error::NeverEnds { .. } => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Strayed { source, .. } | Error::Failed { source } => Some(source),
            Error::Panicked { .. } | Error::FailedByPanic { .. } | Error::NeverEnds { .. } => None,
        }
    }
}

/// The text of an error that is also a panic, and what the points past the last one fail with.
pub(super) struct NeverEnding<'a>(pub(super) usize, pub(super) &'a Point);

impl fmt::Display for NeverEnding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the fuse never ends: there are more than {} points, the one too many is {}", self.0, self.1)
    }
}

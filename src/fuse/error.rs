//! The errors of a fuse.

use std::fmt;
use std::io;
use std::time::Duration;

use super::Point;

/// Why a body failed under a fuse. `{:?}`, which `unwrap` prints, is the same text.
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
        /// The message of the panic.
        message: String,
    },
    /// The run in which this point failed returned another error, which does not have that failure among its causes.
    Strayed {
        /// The point.
        point: Point,
        /// The error that the body returned.
        source: io::Error,
    },
    /// A run took longer than [`FuseOptions::watchdog`](super::FuseOptions::watchdog) allows.
    Hung {
        /// The point that failed in this run; `None` if the run had not reached it.
        point: Option<Point>,
        /// How long a run may take.
        limit: Duration,
    },
    /// A run in which no point had failed returned an error.
    Failed {
        /// The error that the body returned.
        source: io::Error,
    },
    /// A run in which no point had failed panicked.
    FailedByPanic {
        /// The message of the panic.
        message: String,
    },
    /// There were more points than [`FuseOptions::max_points`](super::FuseOptions::max_points) allows.
    NeverEnds {
        /// How many are allowed.
        max_points: usize,
        /// The first point beyond that.
        last: Point,
    },
}

impl Error {
    /// Returns the point whose failure broke the body, if there is one.
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
            Error::Hung { point, .. } => point.as_ref(),
            Error::NeverEnds { last, .. } => Some(last),
            Error::Failed { .. } | Error::FailedByPanic { .. } => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Panicked { point, message } => {
                write!(f, "the code panicked after the injected failure at {point}: {message}")
            }
            Error::Strayed { point, source } => write!(
                f,
                "the injected failure at {point} was replaced by `{source}`; keep it as the source, or check `has_blown()`"
            ),
            Error::Hung { point, limit } => Hanging(point.as_ref(), *limit).fmt(f),
            Error::Failed { .. } => f.write_str("a run failed without an injected failure"),
            Error::FailedByPanic { message } => write!(f, "a run panicked without an injected failure: {message}"),
            Error::NeverEnds { max_points, last } => NeverEnding(*max_points, last).fmt(f),
        }
    }
}

/// The text, followed by the cause unless the text contains it: this is what `unwrap` prints.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match self {
            Error::Failed { source } => write!(f, ": {source}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Strayed { source, .. } | Error::Failed { source } => Some(source),
            _ => None,
        }
    }
}

/// The text of [`Error::NeverEnds`], of the panic, and of the failures of further points.
pub(super) struct NeverEnding<'a>(pub(super) usize, pub(super) &'a Point);

impl fmt::Display for NeverEnding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the fuse never ends: there are more than {} points, the first one too many is {}", self.0, self.1)
    }
}

/// The text of [`Error::Hung`], of the watchdog's message, and of the failures of further points.
pub(super) struct Hanging<'a>(pub(super) Option<&'a Point>, pub(super) Duration);

impl fmt::Display for Hanging<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(point) => write!(f, "the run with the injected failure at {point}")?,
            None => f.write_str("a run without an injected failure")?,
        }
        write!(f, " has not ended after {:?}", self.1)
    }
}

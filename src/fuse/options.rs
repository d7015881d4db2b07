//! How many points there may be, how they fail, and running a body until no point is left.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::running::{run_caught, run_caught_blocking};
use super::{Error, Fuse, Setting};

/// Points that a fuse goes through at most, unless told.
const MAX_POINTS: usize = 10_000;

/// How a fuse is to go about it; [`Fuse::armed`] takes the defaults.
///
/// ```
/// use std::io::ErrorKind;
/// use ringpair::fuse::FuseOptions;
///
/// let options = FuseOptions::new().max_points(100).kind(ErrorKind::ConnectionReset);
/// let points = options.armed_blocking(|fuse| {
///     match fuse.maybe_fail() {
///         Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()), // the code under test begins anew, say
///         outcome => outcome,
///     }
/// });
/// assert_eq!(points.unwrap(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct FuseOptions {
    max_points: usize,
    kind: ErrorKind,
}

impl FuseOptions {
    /// The defaults: at most 10,000 points, which fail with [`ErrorKind::Other`].
    pub fn new() -> Self {
        FuseOptions { max_points: MAX_POINTS, kind: ErrorKind::Other }
    }

    /// How many points there may be; a body with more is stopped with [`Error::NeverEnds`]. 10,000 unless told.
    ///
    /// ```
    /// # use ringpair::fuse::FuseOptions;
    /// let endless = FuseOptions::new().max_points(3).armed_blocking(|fuse| loop { fuse.maybe_fail()? });
    /// assert!(endless.unwrap_err().to_string().starts_with("the fuse never ends: there are more than 3 points"));
    /// ```
    pub fn max_points(mut self, max_points: usize) -> Self {
        self.max_points = max_points;
        self
    }

    /// The kind of error that a point fails with; [`ErrorKind::Other`] unless told.
    pub fn kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// As [`Fuse::armed`], with these options.
    ///
    /// # Errors
    ///
    /// As [`Fuse::armed`].
    pub async fn armed(&self, body: impl AsyncFn(Fuse) -> io::Result<()>) -> Result<usize, Error> {
        let mut number = 1;
        loop {
            let fuse = self.fuse_that_blows_at(number);
            let end = run_caught(&body, &fuse).await;
            if !fuse.judge(end)? {
                return Ok(number - 1);
            }
            number += 1;
        }
    }

    /// As [`Fuse::armed_blocking`], with these options.
    ///
    /// # Errors
    ///
    /// As [`Fuse::armed`].
    pub fn armed_blocking(&self, body: impl Fn(Fuse) -> io::Result<()>) -> Result<usize, Error> {
        let mut number = 1;
        loop {
            let fuse = self.fuse_that_blows_at(number);
            let end = run_caught_blocking(&body, &fuse);
            if !fuse.judge(end)? {
                return Ok(number - 1);
            }
            number += 1;
        }
    }

    /// Past the last point that may be, none fails on purpose, and one that is reached all the same is one too many.
    fn fuse_that_blows_at(&self, number: usize) -> Fuse {
        let blows_at = (number <= self.max_points).then_some(number);
        let setting = Setting { blows_at, max_points: Some(self.max_points), kind: Some(self.kind) };
        Fuse { setting, run: Arc::default() }
    }
}

impl Default for FuseOptions {
    fn default() -> Self {
        FuseOptions::new()
    }
}

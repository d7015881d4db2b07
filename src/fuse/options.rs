//! [`FuseOptions`]: the maximum of points, how they fail, how long a run may take.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use super::running::{run_caught, run_caught_blocking};
use super::watchdog::Watchdog;
use super::{Error, Fuse, Setting};

/// The default of [`FuseOptions::max_points`].
const MAX_POINTS: usize = 10_000;

/// The default of [`FuseOptions::watchdog`].
const WATCHDOG: Duration = Duration::from_secs(60);

/// The options of a fuse; [`Fuse::armed`] takes the defaults.
///
/// ```
/// use std::io::ErrorKind;
/// use ringpair::fuse::FuseOptions;
///
/// let options = FuseOptions::new().max_points(100).kind(ErrorKind::ConnectionReset);
/// let points = options.armed_blocking(|fuse| {
///     match fuse.maybe_fail() {
///         Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()), // the code under test connects again, say
///         outcome => outcome,
///     }
/// });
/// assert_eq!(points.unwrap(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct FuseOptions {
    max_points: usize,
    kind: ErrorKind,
    watchdog: Duration,
}

impl FuseOptions {
    /// Creates the default options: at most 10,000 points, failures of [`ErrorKind::Other`], 60 seconds for each run.
    pub fn new() -> Self {
        FuseOptions { max_points: MAX_POINTS, kind: ErrorKind::Other, watchdog: WATCHDOG }
    }

    /// Sets the maximum of points [default: 10,000]. A body with more fails with [`Error::NeverEnds`].
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

    /// Sets the kind of error that a point fails with [default: `Other`].
    pub fn kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets how long each run may take by the wall clock [default: 60 s]. `Duration::MAX` is no limit.
    ///
    /// A run that takes longer fails with [`Error::Hung`], which names the point that failed: code often hangs after an unexpected
    /// failure. A waiting async body is dropped. A blocked thread cannot be ended, so the point is printed on standard error at
    /// once; further points fail, and the error is returned if the run ends later.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ringpair::fuse::FuseOptions;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let options = FuseOptions::new().watchdog(Duration::from_millis(1));
    /// let hung = options.armed(async |fuse| {
    ///     match fuse.maybe_fail() {
    ///         Err(_) => std::future::pending().await, // waits for an answer to what it could not send, say
    ///         outcome => outcome,
    ///     }
    /// });
    /// assert_eq!(hung.await.unwrap_err().point().unwrap().number(), 1);
    /// # });
    /// ```
    pub fn watchdog(mut self, limit: Duration) -> Self {
        self.watchdog = limit;
        self
    }

    /// As [`Fuse::armed`], with these options.
    ///
    /// # Errors
    ///
    /// As [`Fuse::armed`].
    pub async fn armed(&self, body: impl AsyncFn(Fuse) -> io::Result<()>) -> Result<usize, Error> {
        let watchdog = Watchdog::start(self.watchdog);
        let mut number = 1;
        loop {
            let fuse = self.fuse_that_blows_at(number);
            watchdog.begin(&fuse);
            let end = run_caught(&body, &fuse, Some(&watchdog)).await;
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
        let watchdog = Watchdog::start(self.watchdog);
        let mut number = 1;
        loop {
            let fuse = self.fuse_that_blows_at(number);
            watchdog.begin(&fuse);
            let end = run_caught_blocking(&body, &fuse);
            if !fuse.judge(end)? {
                return Ok(number - 1);
            }
            number += 1;
        }
    }

    /// Beyond `max_points` no point fails on purpose: reaching one there is an error.
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

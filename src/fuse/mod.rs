//! Makes the code under test fail at every point in turn: does it survive each failure?
//!
//! ```
//! use std::io;
//! use ringpair::fuse::Fuse;
//!
//! /// The code under test: two things that may fail.
//! fn store(fuse: &Fuse, shelf: &mut Vec<&str>) -> io::Result<()> {
//!     fuse.maybe_fail()?; // opening it, say
//!     shelf.push("book");
//!     fuse.maybe_fail().inspect_err(|_| { shelf.pop(); }) // writing it down
//! }
//!
//! let points = Fuse::armed_blocking(|fuse| {
//!     let mut shelf = Vec::new();
//!     let stored = store(&fuse, &mut shelf);
//!     assert_eq!(shelf.len(), usize::from(stored.is_ok()), "half a book is left");
//!     stored
//! });
//! assert_eq!(points.unwrap(), 2);
//! ```
//!
//! The body runs repeatedly. In its first run the first point fails, in its second run the second point, until a run has fewer
//! points. A run in which a point failed may end with that failure, as the error of the body or among its causes, or with
//! success. Any other end, for example a panic, is an [`Error`] that names the point by number and source location. A run that
//! hangs is abandoned after [a minute](FuseOptions::watchdog), and its point is named.
//!
//! If the code under test replaces the failure by an error of its own, without keeping it as the cause, the body must accept
//! that: `if fuse.has_blown() { return Ok(()) }`.
//!
//! Points are where the code calls [`maybe_fail`](Fuse::maybe_fail), and every read, write and shutdown of a mocket that was
//! [given the fuse](crate::mocket::MocketOptions::fuse).

mod error;
mod options;
mod point;
mod running;
mod watchdog;

use std::io::{self, ErrorKind};
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use error::Error;
pub use options::FuseOptions;
pub use point::{Blown, Point};

use error::{Hanging, NeverEnding};
use point::stems_from;
use running::{RunEnd, run_caught, run_caught_blocking};

/// Fails at one point of a run. Cheap to clone; clones count the same points.
///
/// The default never fails, for code that takes a fuse outside of such tests.
///
/// ```
/// # use ringpair::fuse::Fuse;
/// assert!(Fuse::default().maybe_fail().is_ok());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Fuse {
    setting: Setting,
    run: Arc<Mutex<Run>>,
}

/// The settings of one run.
#[derive(Clone, Copy, Debug, Default)]
struct Setting {
    /// The number of the point that fails, if any.
    blows_at: Option<usize>,
    /// A run with more points than this counts as endless.
    max_points: Option<usize>,
    kind: Option<ErrorKind>,
}

/// The state of a run.
#[derive(Debug, Default)]
struct Run {
    points: usize,
    blown: Option<Point>,
    overrun: Option<Point>,
    /// The time limit, once the run has exceeded it.
    hung: Option<Duration>,
}

impl Fuse {
    /// Runs `body` repeatedly, failing at the first point, then at the second, until no point is left. Returns the number of
    /// points.
    ///
    /// ```
    /// # use ringpair::fuse::Fuse;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let points = Fuse::armed(async |fuse| {
    ///     fuse.maybe_fail()?;
    ///     fuse.maybe_fail()
    /// });
    /// assert_eq!(points.await.unwrap(), 2);
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// The [`Error`] of the first run that did not end correctly. [`FuseOptions`] limits the number of points.
    pub async fn armed(body: impl AsyncFn(Fuse) -> io::Result<()>) -> Result<usize, Error> {
        FuseOptions::new().armed(body).await
    }

    /// The same for a body that blocks its thread.
    ///
    /// ```
    /// # use ringpair::fuse::Fuse;
    /// assert_eq!(Fuse::armed_blocking(|fuse| fuse.maybe_fail()).unwrap(), 1);
    /// ```
    ///
    /// # Errors
    ///
    /// As [`armed`](Fuse::armed).
    pub fn armed_blocking(body: impl Fn(Fuse) -> io::Result<()>) -> Result<usize, Error> {
        FuseOptions::new().armed_blocking(body)
    }

    /// Runs `body` once, without a failure. Returns the number of points.
    ///
    /// ```
    /// # use ringpair::fuse::Fuse;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// assert_eq!(Fuse::inert(async |fuse| fuse.maybe_fail()).await.unwrap(), 1);
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] and [`Error::FailedByPanic`].
    pub async fn inert(body: impl AsyncFn(Fuse) -> io::Result<()>) -> Result<usize, Error> {
        let fuse = Fuse::default();
        let end = run_caught(&body, &fuse, None).await;
        fuse.judge(end).map(|_| fuse.points())
    }

    /// The same for a body that blocks its thread.
    ///
    /// ```
    /// # use ringpair::fuse::Fuse;
    /// assert_eq!(Fuse::inert_blocking(|fuse| fuse.maybe_fail()).unwrap(), 1);
    /// ```
    ///
    /// # Errors
    ///
    /// As [`inert`](Fuse::inert).
    pub fn inert_blocking(body: impl Fn(Fuse) -> io::Result<()>) -> Result<usize, Error> {
        let fuse = Fuse::default();
        let end = run_caught_blocking(&body, &fuse);
        fuse.judge(end).map(|_| fuse.points())
    }

    /// Marks a point. It fails in one of the runs.
    ///
    /// # Errors
    ///
    /// [`Blown`], of the kind that [`FuseOptions::kind`] sets, in the run that tests this point. Once a run has more points than
    /// [`FuseOptions::max_points`] allows, or takes longer than [`FuseOptions::watchdog`] allows, every point fails, so that the
    /// run ends.
    ///
    /// # Panics
    ///
    /// If those failures do not end the run either: after twice the allowed number of points.
    #[track_caller]
    pub fn maybe_fail(&self) -> io::Result<()> {
        self.reach(Location::caller(), || None)
    }

    /// Returns whether a point has failed in this run.
    ///
    /// ```
    /// # use ringpair::fuse::Fuse;
    /// Fuse::armed_blocking(|fuse| {
    ///     let failed = fuse.maybe_fail().is_err();
    ///     assert_eq!(fuse.has_blown(), failed);
    ///     Ok(())
    /// }).unwrap();
    /// ```
    pub fn has_blown(&self) -> bool {
        self.lock().blown.is_some()
    }

    /// Returns how many points this run has passed so far.
    ///
    /// ```
    /// # use ringpair::fuse::Fuse;
    /// let fuse = Fuse::default();
    /// fuse.maybe_fail().unwrap();
    /// assert_eq!(fuse.points(), 1);
    /// ```
    pub fn points(&self) -> usize {
        self.lock().points
    }

    /// As `maybe_fail`, for a point inside the library, with a name.
    pub(crate) fn reach(
        &self,
        location: &'static Location<'static>,
        name: impl FnOnce() -> Option<String>,
    ) -> io::Result<()> {
        let mut run = self.lock();
        if let Some(limit) = run.hung {
            return Err(io::Error::new(ErrorKind::TimedOut, Hanging(run.blown.as_ref(), limit).to_string()));
        }
        run.points += 1;
        let number = run.points;
        let point = || Point { number, location, name: name() };
        if self.setting.blows_at == Some(number) {
            let point = run.blown.insert(point()).clone();
            return Err(io::Error::new(self.setting.kind.unwrap_or(ErrorKind::Other), Blown { point }));
        }
        let Some(max_points) = self.setting.max_points.filter(|max_points| number > *max_points) else {
            return Ok(());
        };
        let point = run.overrun.get_or_insert_with(point).clone();
        drop(run);
        assert!(number < max_points.saturating_mul(2).saturating_add(2), "{}", NeverEnding(max_points, &point));
        Err(io::Error::new(ErrorKind::TimedOut, NeverEnding(max_points, &point).to_string()))
    }

    /// Abandons this run: from here on its points fail. Returns the message.
    fn hang(&self, limit: Duration) -> String {
        let mut run = self.lock();
        run.hung = Some(limit);
        Hanging(run.blown.as_ref(), limit).to_string()
    }

    fn has_hung(&self) -> bool {
        self.lock().hung.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges the end of a run: whether there may be another point, or the error.
    fn judge(&self, end: RunEnd) -> Result<bool, Error> {
        let run = self.lock();
        if let (Some(last), Some(max_points)) = (&run.overrun, self.setting.max_points) {
            return Err(Error::NeverEnds { max_points, last: last.clone() });
        }
        if let Some(limit) = run.hung {
            return Err(Error::Hung { point: run.blown.clone(), limit });
        }
        match (run.blown.clone(), end) {
            (_, RunEnd::Hung) => Ok(false), // unreachable: only an abandoned run, see above
            (None, RunEnd::Returned(Ok(()))) => Ok(false),
            (None, RunEnd::Returned(Err(source))) => Err(Error::Failed { source }),
            (None, RunEnd::Panicked(message)) => Err(Error::FailedByPanic { message }),
            (Some(_), RunEnd::Returned(Ok(()))) => Ok(true),
            (Some(point), RunEnd::Returned(Err(source))) if stems_from(&source, &point) => Ok(true),
            (Some(point), RunEnd::Returned(Err(source))) => Err(Error::Strayed { point, source }),
            (Some(point), RunEnd::Panicked(message)) => Err(Error::Panicked { point, message }),
        }
    }
}

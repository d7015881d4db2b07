//! Failing at every point in turn: does the code under test survive each failure, wherever it comes from?
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
//! The body runs again and again. In its first run the first point fails, in its second run the second one, until a run
//! reaches no point that still has to fail. A run in which a point failed may end in two ways: with that failure, as the error of
//! the body or among its causes, or with success, if the body can do without. Any other end, a panic above all, stops
//! everything: the [`Error`] names the point by number and source location. A run that hangs is given up, and its point
//! named, after [a minute](FuseOptions::watchdog).
//!
//! If the code under test turns the failure into an error of its own, without naming it as the cause, the body has to say that
//! this is right: `if fuse.has_blown() { return Ok(()) }`.
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
use running::{End, run_caught, run_caught_blocking};

/// Fails at one point of a run. Cheap to clone; clones count the same points.
///
/// The default is a fuse that never blows, for code that takes one and is not being tested for failures.
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

/// What is to happen in one run.
#[derive(Clone, Copy, Debug, Default)]
struct Setting {
    /// The number of the point that fails; none does if there is none.
    blows_at: Option<usize>,
    /// More points than this, and the run is taken for one that never ends.
    max_points: Option<usize>,
    kind: Option<ErrorKind>,
}

/// What a run has come to.
#[derive(Debug, Default)]
struct Run {
    points: usize,
    blown: Option<Point>,
    overrun: Option<Point>,
    /// It has taken longer than this.
    hung: Option<Duration>,
}

impl Fuse {
    /// Runs `body` again and again, failing at the first point, then at the second, until a run is clean. Returns how many
    /// points there were.
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
    /// That of the first run that did not end as it should; see [`Error`]. [`FuseOptions`] sets how many points there may be.
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

    /// Runs `body` once, with no point failing. Returns how many points it passed.
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
    /// If those failures do not end the run either: after twice as many points as are allowed.
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

    /// As `maybe_fail`, for a point that is in the library and has a name.
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

    /// Gives this run up; its points fail from here on. Returns a report.
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

    /// Decides what the end of a run means: whether there may be another point, or why to stop.
    fn judge(&self, end: End) -> Result<bool, Error> {
        let run = self.lock();
        if let (Some(last), Some(max_points)) = (&run.overrun, self.setting.max_points) {
            return Err(Error::NeverEnds { max_points, last: last.clone() });
        }
        if let Some(limit) = run.hung {
            return Err(Error::Hung { point: run.blown.clone(), limit });
        }
        match (run.blown.clone(), end) {
            (_, End::Hung) => Ok(false), // only a run whose time is up
            (None, End::Returned(Ok(()))) => Ok(false),
            (None, End::Returned(Err(source))) => Err(Error::Failed { source }),
            (None, End::Panicked(message)) => Err(Error::FailedByPanic { message }),
            (Some(_), End::Returned(Ok(()))) => Ok(true),
            (Some(point), End::Returned(Err(source))) if stems_from(&source, &point) => Ok(true),
            (Some(point), End::Returned(Err(source))) => Err(Error::Strayed { point, source }),
            (Some(point), End::Panicked(message)) => Err(Error::Panicked { point, message }),
        }
    }
}

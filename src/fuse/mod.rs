//! Failing at every point in turn: does the code under test come through whatever fails, and wherever?
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
//! The body runs again and again. In its first run the first point fails, in its second run the second one, until a run comes
//! through with no point left to fail: then all is well. A run in which a point failed may end in two ways: with that failure,
//! handed on as the error of the body, or with success, where the body knows how to go on. Any other end, a panic above all,
//! stops it all, and the [`Error`] names the point by number and source location.
//!
//! Where the code under test turns the failure into an error of its own, without naming it as the cause, the body has to say that
//! this is well: `if fuse.has_blown() { return Ok(()) }`.
//!
//! Points are where the code calls [`maybe_fail`](Fuse::maybe_fail), and every read, write and shutdown of a mocket that was
//! [given the fuse](crate::mocket::MocketOptions::fuse).

mod error;
mod options;
mod point;
mod running;

use std::io::{self, ErrorKind};
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use error::Error;
pub use options::FuseOptions;
pub use point::{Blown, Point};

use error::NeverEnding;
use point::stems_from;
use running::{End, run_caught, run_caught_blocking};

/// What fails at one point of a run. Cheap to clone; clones count the same points.
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

/// What one run is to be.
#[derive(Clone, Copy, Debug, Default)]
struct Setting {
    /// The number of the point that fails; none does if there is none.
    blows_at: Option<usize>,
    /// More points than this, and the run is taken for one that never ends.
    max_points: Option<usize>,
    kind: Option<ErrorKind>,
}

/// What came of it.
#[derive(Debug, Default)]
struct Run {
    points: usize,
    blown: Option<Point>,
    overrun: Option<Point>,
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
    /// The first run that ended as it should not; see [`Error`]. [`FuseOptions`] sets how many points there may be.
    pub async fn armed(body: impl AsyncFn(Fuse) -> io::Result<()>) -> Result<usize, Error> {
        FuseOptions::new().armed(body).await
    }

    /// The same for a body that blocks.
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

    /// Runs `body` once, with no point failing. Returns how many points it came by.
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
        let end = run_caught(&body, &fuse).await;
        fuse.judge(end).map(|_| fuse.points())
    }

    /// The same for a body that blocks.
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

    /// Marks a point. In one of the runs it is this one that fails.
    ///
    /// # Errors
    ///
    /// [`Blown`], of the kind that [`FuseOptions::kind`] sets, where the turn is at this point. Once there have been more
    /// points in one run than [`FuseOptions::max_points`] allows, every one fails, so that the run comes to an end.
    ///
    /// # Panics
    ///
    /// Where those failures do not end the run either, after as many points once more.
    #[track_caller]
    pub fn maybe_fail(&self) -> io::Result<()> {
        self.reach(Location::caller(), || None)
    }

    /// Whether a point has failed in this run.
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

    /// How many points this run has come by so far.
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

    /// As `maybe_fail`, for a point that lies in the library and has a name.
    pub(crate) fn reach(
        &self,
        location: &'static Location<'static>,
        name: impl FnOnce() -> Option<String>,
    ) -> io::Result<()> {
        let mut run = self.lock();
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

    fn lock(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a run that ended so says about the body: whether there may be another point, or why to stop.
    fn judge(&self, end: End) -> Result<bool, Error> {
        let run = self.lock();
        if let (Some(last), Some(max_points)) = (&run.overrun, self.setting.max_points) {
            return Err(Error::NeverEnds { max_points, last: last.clone() });
        }
        match (run.blown.clone(), end) {
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

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

use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// Points that a fuse goes through at most, unless told.
const MAX_POINTS: usize = 10_000;

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

/// How a run of the body ended.
enum End {
    Returned(io::Result<()>),
    Panicked(String),
}

async fn run_caught(body: &impl AsyncFn(Fuse) -> io::Result<()>, fuse: &Fuse) -> End {
    let mut run = pin!(body(fuse.clone()));
    // Unwind safe enough: after a panic the future is dropped, and whoever shares its state has been told by then.
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(outcome)) => Poll::Ready(End::Returned(outcome)),
        Err(panic) => Poll::Ready(End::Panicked(message_of(&*panic))),
    })
    .await
}

fn run_caught_blocking(body: &impl Fn(Fuse) -> io::Result<()>, fuse: &Fuse) -> End {
    match catch_unwind(AssertUnwindSafe(|| body(fuse.clone()))) {
        Ok(outcome) => End::Returned(outcome),
        Err(panic) => End::Panicked(message_of(&*panic)),
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("with something that is no text").to_owned()
}

/// Whether an error is the failure of this point, or has it among its causes.
fn stems_from(error: &io::Error, point: &Point) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if cause.downcast_ref::<Blown>().is_some_and(|blown| blown.point.number == point.number) {
            return true;
        }
        // `source` of an `io::Error` passes over the error that it holds.
        let held = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match held {
            Some(held) => Some(held),
            None => cause.source(),
        };
    }
    false
}

/// A point at which something may fail: its number, counted from 1 in each run, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    number: usize,
    location: &'static Location<'static>,
    name: Option<String>,
}

impl Point {
    /// Its place among the points of its run, from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Where [`Fuse::maybe_fail`] was called; for a point inside a mocket, where the mocket was given the fuse.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }
}

/// `point 3, src/store.rs:12:9`, and for a mocket's point `point 3, write 2 of the mocket given the fuse at tests/store.rs:30:6`.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "point {}, ", self.number)?;
        if let Some(name) = &self.name {
            write!(f, "{name} of the mocket given the fuse at ")?;
        }
        self.location.fmt(f)
    }
}

/// The failure of a point, inside the `io::Error` that [`Fuse::maybe_fail`] returns.
///
/// ```
/// use ringpair::fuse::{Blown, Fuse};
///
/// Fuse::armed_blocking(|fuse| {
///     let failed = fuse.maybe_fail();
///     if let Err(error) = &failed {
///         let blown = error.get_ref().unwrap().downcast_ref::<Blown>().unwrap();
///         assert_eq!(blown.point().number(), 1);
///     }
///     failed
/// }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Blown {
    point: Point,
}

impl Blown {
    /// The point that failed.
    pub fn point(&self) -> &Point {
        &self.point
    }
}

impl fmt::Display for Blown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the fuse blew at {}", self.point)
    }
}

impl std::error::Error for Blown {}

struct NeverEnding<'a>(usize, &'a Point);

impl fmt::Display for NeverEnding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the fuse never ends: there are more than {} points, the one too many is {}", self.0, self.1)
    }
}

/// How a body broke under a fuse. `{:?}` is for people too: `unwrap` shows the text, and the cause.
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
    /// There were more points than may be; see [`FuseOptions::max_points`].
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

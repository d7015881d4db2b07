//! [`Point`], and [`Blown`], its failure.

use std::fmt;
use std::io;
use std::panic::Location;

/// A point at which a run may fail: its number, counted from 1 in each run, and its location.
///
/// ```
/// use ringpair::fuse::{Error, Fuse};
///
/// let broken = Fuse::armed_blocking(|fuse| {
///     fuse.maybe_fail()?;
///     fuse.maybe_fail().expect("this one never fails");
///     Ok(())
/// });
/// let Err(Error::Panicked { point, .. }) = broken else { panic!("{broken:?}") };
/// assert_eq!(point.number(), 2);
/// assert_eq!(point.location().file(), file!());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub(super) number: usize,
    pub(super) location: &'static Location<'static>,
    pub(super) name: Option<String>,
}

impl Point {
    /// Returns the number of the point within its run, from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Returns where [`Fuse::maybe_fail`](super::Fuse::maybe_fail) was called.
    ///
    /// For a point inside a mocket, this is where [`MocketOptions::fuse`](crate::mocket::MocketOptions::fuse) was called.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }
}

/// `point 3 (src/store.rs:12)`; inside a mocket, `point 3 (write 2 of the mocket that was given the fuse at tests/store.rs:30)`.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "point {} (", self.number)?;
        if let Some(name) = &self.name {
            write!(f, "{name} that was given the fuse at ")?;
        }
        write!(f, "{}:{})", self.location.file(), self.location.line())
    }
}

/// The failure of a point, inside the `io::Error` that [`Fuse::maybe_fail`](super::Fuse::maybe_fail) returns.
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
    pub(super) point: Point,
}

impl Blown {
    /// Returns the point that failed.
    pub fn point(&self) -> &Point {
        &self.point
    }
}

impl fmt::Display for Blown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "injected failure at {}", self.point)
    }
}

impl std::error::Error for Blown {}

/// Returns whether the error is the failure of this point or has it among its causes.
pub(super) fn stems_from(error: &io::Error, point: &Point) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if cause.downcast_ref::<Blown>().is_some_and(|blown| blown.point.number == point.number) {
            return true;
        }
        next = next_cause(cause);
    }
    false
}

/// Returns the next cause, including those that `source` skips because the text already contains them.
fn next_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a (dyn std::error::Error + 'static)> {
    if let Some(held) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return Some(held);
    }
    match error.downcast_ref::<crate::Error>() {
        Some(error) => error.source(),
        None => error.source(),
    }
}

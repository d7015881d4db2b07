//! The verdict of one run of a check.

/// Why a check did not pass.
#[derive(Debug)]
pub(super) enum Failure {
    /// The stream broke the promise.
    Broken(String),
    /// The check could not create its situation.
    NotExercised(String),
}

pub(super) type Verdict = Result<(), Failure>;

pub(super) fn fail<T>(why: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Broken(why.into()))
}

pub(super) fn not_exercised<T>(why: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::NotExercised(why.into()))
}

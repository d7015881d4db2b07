//! What a check comes to.

/// Why a check failed.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String);

pub(super) type Verdict = Result<(), Failure>;

pub(super) fn fail<T>(why: impl Into<String>) -> Result<T, Failure> {
    Err(Failure(why.into()))
}

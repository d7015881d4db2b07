//! Reports of parts of a soak: read, checked and added up. It knows neither files nor terminals, so that `fuzz/` can use it.

mod flaw;
mod gaps;
mod part;
mod read;
mod sum;
#[cfg(test)]
mod tests;

pub(crate) use self::part::Part;
pub(crate) use self::read::parts_in;
pub(crate) use self::sum::sum;

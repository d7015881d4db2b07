//! Reads, checks and adds up reports, without files and terminals, so that `fuzz/` can use it.

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

//! What pairs are good for beside tests: measuring. Feature `measure`.
//!
//! [`close`] tells what each way of closing costs at both ends, with the kernel's own [`Counters`] as proof that the
//! connections ended the way they were meant to.

pub mod close;
mod counters;
mod error;
mod series;

pub use counters::Counters;
pub use error::Error;
pub use series::Series;

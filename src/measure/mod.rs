//! What pairs are good for beside tests: measuring. Feature `measure`.
//!
//! [`close`] tells what each way of closing costs at both ends, with the kernel's own [`Counters`] as proof that the
//! connections ended the way they were meant to. [`soak`] makes, uses and closes pairs for as long as it is told to, and tells
//! whether anything was lost, leaked or slowed down on the way.

pub mod close;
mod counters;
mod error;
mod series;
#[cfg(any(feature = "tokio-uring", feature = "tokio"))]
pub mod soak;

pub use counters::Counters;
pub use error::Error;
pub use series::Series;

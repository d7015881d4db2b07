//! Measurements with pairs. Feature `measure`.
//!
//! [`close`] measures what each way of closing costs at both ends, with the kernel's [`Counters`] as proof. [`soak`] makes, uses
//! and closes many pairs, and reports failures, leaks and times.

pub mod close;
mod counters;
mod cpus;
mod error;
mod series;
#[cfg(any(feature = "tokio-uring", feature = "tokio"))]
pub mod soak;

pub use counters::Counters;
pub use cpus::{available_cpus, pin};
pub use error::Error;
pub use series::Series;

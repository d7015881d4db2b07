//! Mockets beyond the script: order, handles that hold it open, pairs in memory, splits, and a module for glob imports.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../calls/mod.rs"]
mod calls;
#[path = "../common/mod.rs"]
mod common;
mod delays;
#[path = "../faces/mod.rs"]
mod faces;
#[cfg(feature = "tokio")]
mod from_tokio_test;
mod globs;
mod held_open;
mod memory;
mod nodelay;
mod order;
mod owned;
mod splits;
mod taken;
#[cfg(any(feature = "tokio-uring", feature = "tokio"))]
mod wakers;

use ringpair::mocket::{Mismatch, MismatchKind};

/// The mismatch that an error carries.
fn mismatch_in(error: &std::io::Error) -> Mismatch {
    error.get_ref().unwrap().downcast_ref::<Mismatch>().unwrap().clone()
}

fn kind_in(error: &std::io::Error) -> MismatchKind {
    mismatch_in(error).kind()
}

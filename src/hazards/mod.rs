//! Corners that most calls never meet, each with one door.

pub(crate) mod descriptors;
pub(crate) mod fork;
pub(crate) mod memlock;
pub(crate) mod ports;
pub(crate) mod signals;
pub(crate) mod teardown;

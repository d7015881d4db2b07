//! Hazards that most calls never meet. The common path calls one function of each.

pub(crate) mod descriptors;
pub(crate) mod fork;
pub(crate) mod memlock;
pub(crate) mod ports;
pub(crate) mod signals;
pub(crate) mod teardown;

//! What the child tries: pairs by plain system calls first, then a ring, then the flags.
#![allow(unsafe_code)] // promises that what runs in the child is fit for a child

use std::time::Duration;

use super::attempt::Tried;
use super::child::{self, Report};
use super::record::{Findings, errno_of};
use super::{loopback, ring};

/// How long the child may take: it waits for a few things in turn, and something that it does not wait for may hang.
const DEADLINE: Duration = Duration::from_secs(6);

pub(super) fn run() -> Findings {
    // SAFETY: `loopback` and `ring` make system calls on sockets and rings of their own, keep what they need on the stack,
    // and their errors are numbers: nothing there allocates or takes a lock.
    match unsafe { child::run(DEADLINE, act) } {
        Ok((records, ending)) => Findings::read(&records, ending),
        Err(error) => Findings { tried: Tried::nothing(), opcodes: None, no_child: Some(errno_of(&error)) },
    }
}

fn act(report: &Report) {
    let listener = loopback::try_plain(report).ok();
    ring::try_ring(report, listener.as_ref());
}

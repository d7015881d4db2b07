//! Runs all checks: a pair first, so that no other check can interfere with it, then system calls and operations.
//!
//! Without a seccomp filter no system call can kill, so the checks run in this process. With a filter they run in children, one
//! per group of checks, because a filter may kill for one and not for another.
#![allow(unsafe_code)] // promises that the checks do only what a child may do

use std::io;
use std::time::Duration;

use super::check::{Check, Outcome};
use super::child::{self, ChildEnding, Log, Record};
use super::host::is_loopback_up;
use super::record::{Findings, PairOutcome, errno_of};
use super::seccomp_kill::is_filtered;
use super::{loopback, pair, ring};
use crate::hazards::teardown::in_a_thread;

/// The time limit of a child, which has several timeouts in sequence.
const DEADLINE: Duration = Duration::from_secs(6);

/// `may_use_epoll` is true if `Auto` does not set up a ring unless a child has survived that.
pub(super) fn run(may_use_epoll: bool) -> Findings {
    let mut findings = Findings::none();
    if let Err(error) = try_all(&mut findings) {
        findings.no_child = Some(errno_of(&error));
        if may_use_epoll && findings.tried.outcome(Check::Pair) == Outcome::Untried {
            try_pair_here(&mut findings); // by epoll, as every call of this thread
        }
    }
    findings
}

fn try_pair_here(findings: &mut Findings) {
    let log = Log::new();
    pair::try_pair(&log, Check::Pair);
    findings.add(std::iter::once(Check::Pair), &log.records(), ChildEnding::Completed);
}

fn try_all(findings: &mut Findings) -> io::Result<()> {
    try_pair(findings, Check::Pair)?;
    let (records, ending) = isolated(look_at_loopback)?;
    findings.add(std::iter::empty(), &records, ending);
    let (records, ending) = isolated(try_parts)?;
    findings.add(Check::parts(), &records, ending);
    match findings.made {
        Some(PairOutcome::By(_)) => try_pair(findings, Check::PairOnIpv6),
        _ if cfg!(feature = "epoll") && findings.tried.first_failure(&Check::PLAIN).is_none() => {
            try_pair(findings, Check::PairByEpoll)
        }
        _ => Ok(()),
    }
}

fn look_at_loopback(log: &Log) {
    if let Some(is_up) = is_loopback_up() {
        log.loopback(is_up);
    }
}

fn try_parts(log: &Log) {
    let listener = loopback::try_plain(log).ok();
    ring::try_ring(log, listener.as_ref());
}

fn try_pair(findings: &mut Findings, check: Check) -> io::Result<()> {
    let (records, ending) = isolated(|log| pair::try_pair(log, check))?;
    findings.add(std::iter::once(check), &records, ending);
    Ok(())
}

fn isolated(act: impl Fn(&Log) + Sync) -> io::Result<(Vec<Record>, ChildEnding)> {
    if !is_filtered() {
        let records = in_a_thread(|| {
            let log = Log::new();
            act(&log);
            log.records()
        });
        return Ok((records, ChildEnding::Completed));
    }
    // SAFETY: the checks make system calls on their own sockets and rings, and use only the stack. Pairs and the check of `lo`
    // take no lock except the allocator's: see `child`.
    unsafe { child::run(DEADLINE, act) }
}

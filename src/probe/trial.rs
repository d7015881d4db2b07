//! Everything that is tried: a pair before anything that could be in its way, then single calls and operations.
//!
//! Without a seccomp filter no system call can kill, so it is tried in this process. Otherwise in children: one for each pair
//! and for each thing else, because what kills one of them need not kill another.
#![allow(unsafe_code)] // promises that what runs in a child is fit for a child

use std::io;
use std::time::Duration;

use super::attempt::Attempt;
use super::child::{self, Ending, Record, Report};
use super::deadly::is_filtered;
use super::host::is_loopback_up;
use super::record::{Findings, Made, errno_of};
use super::{loopback, pair, ring};
use crate::hazards::teardown::in_a_thread;

/// How long a child may take: it waits for a few things in turn, and something that it does not wait for may hang.
const DEADLINE: Duration = Duration::from_secs(6);

pub(super) fn run() -> Findings {
    let mut findings = Findings::none();
    match try_all(&mut findings) {
        Ok(()) => findings,
        Err(error) => Findings { no_child: Some(errno_of(&error)), ..findings },
    }
}

fn try_all(findings: &mut Findings) -> io::Result<()> {
    try_pair(findings, Attempt::Pair)?;
    let (records, ending) = isolated(look_at_loopback)?;
    findings.add(std::iter::empty(), &records, ending);
    let (records, ending) = isolated(try_parts)?;
    findings.add(Attempt::parts(), &records, ending);
    match findings.made {
        Some(Made::By(_)) => try_pair(findings, Attempt::PairOnIpv6),
        _ if cfg!(feature = "epoll") && findings.tried.first_failure(&Attempt::PLAIN).is_none() => {
            try_pair(findings, Attempt::PairByEpoll)
        }
        _ => Ok(()),
    }
}

fn look_at_loopback(report: &Report) {
    if let Some(is_up) = is_loopback_up() {
        report.loopback(is_up);
    }
}

fn try_parts(report: &Report) {
    let listener = loopback::try_plain(report).ok();
    ring::try_ring(report, listener.as_ref());
}

fn try_pair(findings: &mut Findings, attempt: Attempt) -> io::Result<()> {
    let (records, ending) = isolated(|report| pair::try_pair(report, attempt))?;
    findings.add(std::iter::once(attempt), &records, ending);
    Ok(())
}

fn isolated(act: impl Fn(&Report) + Sync) -> io::Result<(Vec<Record>, Ending)> {
    if !is_filtered() {
        let records = in_a_thread(|| {
            let report = Report::new();
            act(&report);
            report.records()
        });
        return Ok((records, Ending::Through));
    }
    // SAFETY: the parts make system calls on sockets and rings of their own, keep what they need on the stack, and their
    // errors are numbers. Pairs and the look at `lo` take no lock but the allocator's: see `child`.
    unsafe { child::run(DEADLINE, act) }
}

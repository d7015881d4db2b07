//! Judges the findings: which engine `Backend::Auto` uses, and why not a ring. No system calls here.

use std::fmt;
use std::io;

use nix::errno::Errno;
use nix::libc::SIGSYS;

use super::cause::Cause;
use super::check::{Check, Outcome, Tried};
use super::host::Host;
use super::record::{Findings, PairOutcome};
use crate::engine::is_absence;
use crate::error::Step;
use crate::options::Backend;

/// The engine that [`Backend::Auto`] uses in this thread; see [`Probe`](crate::Probe).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Verdict {
    /// io_uring.
    Ring,
    /// epoll and plain system calls.
    Epoll,
    /// None: the call fails, or a seccomp filter kills the process.
    Nothing,
    /// Could not find out; [`Probe::cause`](crate::Probe::cause) says why.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Ring => "ring",
            Verdict::Epoll => "epoll",
            Verdict::Nothing => "nothing",
            Verdict::Unknown => "unknown",
        })
    }
}

/// Judges the findings. `epoll_is_chosen` is true if the environment chooses epoll.
pub(super) fn judge(host: &Host, findings: &Findings, epoll_is_chosen: bool) -> (Verdict, Option<Cause>) {
    let Findings { tried, no_child, .. } = findings;
    let evidence = Evidence { host, tried, no_child: *no_child, epoll_is_chosen };
    match findings.made {
        Some(PairOutcome::By(Backend::Uring)) => (Verdict::Ring, None),
        Some(PairOutcome::By(_)) => (Verdict::Epoll, Some(evidence.why_epoll())),
        Some(PairOutcome::Failed { step, errno }) => match evidence.why_failed(step, errno) {
            // Every single check completed in time: the host may be overloaded.
            cause @ Cause::Late { check: Check::Pair } => (Verdict::Unknown, Some(cause)),
            cause => (Verdict::Nothing, Some(cause)),
        },
        None => evidence.unfinished(),
    }
}

struct Evidence<'a> {
    host: &'a Host,
    tried: &'a Tried,
    no_child: Option<i32>,
    epoll_is_chosen: bool,
}

impl Evidence<'_> {
    fn why_epoll(&self) -> Cause {
        match (self.against_ring(), self.no_child) {
            _ if self.epoll_is_chosen => Cause::ChosenByEnvironment,
            (Some((check, outcome)), _) => of_ring(self.host, check, outcome),
            // `Auto` could not find out whether a filter kills.
            (None, Some(errno)) => Cause::NoChild { errno },
            (None, None) => Cause::Late { check: Check::RingSetup },
        }
    }

    fn why_failed(&self, step: Step, errno: i32) -> Cause {
        if is_out_of_descriptors(errno) {
            return Cause::Descriptors { errno };
        }
        let used = [Check::RingConnect, Check::RingAccept];
        // First what prevents any pair: another engine would fail for it too.
        if let Some((check, outcome)) = self.tried.first_failure(&Check::PLAIN) {
            of_plain(self.host, check, outcome)
        } else if step == Step::Ring {
            if self.engine_is_epoll() { self.why_no_epoll(errno) } else { self.why_no_ring(errno) }
        } else if let Some((check, outcome)) = self.tried.first_failure(&used) {
            of_ring(self.host, check, outcome)
        } else if let (Step::Timeout, _) | (_, Outcome::Mismatched) = (step, self.tried.outcome(Check::Pair)) {
            of_plain(self.host, Check::Pair, self.tried.outcome(Check::Pair))
        } else {
            of_plain(self.host, check_at(step), Outcome::Refused { errno })
        }
    }

    fn engine_is_epoll(&self) -> bool {
        let ring_is_absent = match self.tried.outcome(Check::RingSetup) {
            Outcome::Refused { errno } => is_absence(&io::Error::from_raw_os_error(errno)),
            Outcome::Died { .. } => true,
            _ => false,
        };
        self.epoll_is_chosen || ring_is_absent && self.tried.first_failure(&[Check::EpollCreate]).is_some()
    }

    fn why_no_epoll(&self, errno: i32) -> Cause {
        let outcome = self.tried.first_failure(&[Check::EpollCreate]).map(|(_, outcome)| outcome);
        of_plain(self.host, Check::EpollCreate, outcome.unwrap_or(Outcome::Refused { errno }))
    }

    /// `errno` is the pair's: the single checks may have failed with another one.
    fn why_no_ring(&self, errno: i32) -> Cause {
        match self.against_ring() {
            Some((check, outcome)) if !is_other_refusal(outcome, errno) => of_ring(self.host, check, outcome),
            _ => of_ring(self.host, Check::RingSetup, Outcome::Refused { errno }),
        }
    }

    /// Returns the first failed check that the ring engine needs. It does not need the list of opcodes.
    fn against_ring(&self) -> Option<(Check, Outcome)> {
        let is_needed = |check: &Check| {
            *check != Check::RingRegister || !matches!(self.tried.outcome(*check), Outcome::Refused { .. })
        };
        let needed: Vec<Check> = Check::RING_PAIR.into_iter().filter(is_needed).collect();
        self.tried.first_failure(&needed)
    }

    /// Judges a pair whose child was killed, held up or not started.
    fn unfinished(&self) -> (Verdict, Option<Cause>) {
        let outcome = self.tried.outcome(Check::Pair);
        let is_same = |check: &Check| self.tried.outcome(*check) == outcome;
        // The single check that ended in the same way names the call.
        let check = Check::parts().find(is_same).unwrap_or(Check::Pair);
        match (outcome, self.no_child) {
            (Outcome::Untried, Some(errno)) => (Verdict::Unknown, Some(Cause::NoChild { errno })),
            (Outcome::Died { signal }, _) => match of_death(self.host, check, signal) {
                cause @ Cause::SeccompKill { .. } => (Verdict::Nothing, Some(cause)),
                cause => (Verdict::Unknown, Some(cause)),
            },
            _ => (Verdict::Unknown, Some(Cause::Late { check })),
        }
    }
}

fn is_other_refusal(outcome: Outcome, errno: i32) -> bool {
    matches!(outcome, Outcome::Refused { errno: found } if found != errno)
}

/// Returns the check for a step, if no single check failed.
fn check_at(step: Step) -> Check {
    match step {
        Step::Socket => Check::Socket,
        Step::Bind => Check::Bind,
        Step::Listen => Check::Listen,
        Step::Connect => Check::Connect,
        Step::Accept => Check::Accept,
        Step::Verify => Check::PeerAddress,
        Step::SetOption => Check::SetOption,
        _ => Check::Pair,
    }
}

fn of_ring(host: &Host, check: Check, outcome: Outcome) -> Cause {
    match outcome {
        Outcome::Refused { errno } if check == Check::RingSetup => of_set_up(host, errno),
        Outcome::Refused { errno } if check == Check::RingEnter => of_system_call(host, check, errno),
        Outcome::Refused { errno } => of_operation(host, check, errno),
        Outcome::Died { signal } => of_death(host, check, signal),
        _ => Cause::Late { check },
    }
}

/// The same errno has several sources, which the facts about the host tell apart.
fn of_set_up(host: &Host, errno: i32) -> Cause {
    match Errno::from_raw(errno) {
        Errno::ENOSYS => of_absence(host),
        Errno::EPERM if host.io_uring_disabled == Some(2) => Cause::DisabledBySysctl,
        Errno::EPERM if host.io_uring_disabled == Some(1) && !is_exempt(host) => Cause::NotInGroup,
        Errno::ENOMEM if host.has_limited_memory() => Cause::LockedMemory,
        _ => of_system_call(host, Check::RingSetup, errno),
    }
}

/// `ENOSYS`: a kernel without io_uring returns it in a container too.
fn of_absence(host: &Host) -> Cause {
    match host.has_io_uring() {
        _ if host.is_before((5, 1)) => Cause::KernelTooOld,
        Some(true) => of_system_call(host, Check::RingSetup, Errno::ENOSYS as i32),
        Some(false) => Cause::NotBuiltIn,
        None if host.seccomp == Some(0) => Cause::NotBuiltIn,
        None => Cause::NotBuiltInOrSeccomp,
    }
}

fn is_exempt(host: &Host) -> bool {
    // The sysctl has the host's group number, `/proc` that of the user namespace. They agree only in the initial namespace.
    host.is_administrator() || host.in_io_uring_group == Some(true) && host.initial_user_namespace != Some(false)
}

fn of_system_call(host: &Host, check: Check, errno: i32) -> Cause {
    let is_filtered = host.is_filtered();
    match Errno::from_raw(errno) {
        _ if is_out_of_descriptors(errno) => Cause::Descriptors { errno },
        // Hardly any filter returns EACCES, and modules return nothing else.
        Errno::EACCES if host.is_confined() || !is_filtered => Cause::SecurityModule { check, errno },
        _ if is_filtered && is_filter_errno(errno) => Cause::SeccompErrno { check, errno },
        // Neither a filter nor the sysctl explains it, so a module does.
        Errno::EPERM if host.seccomp == Some(0) && host.io_uring_disabled != Some(1) => {
            Cause::SecurityModule { check, errno }
        }
        Errno::EOPNOTSUPP | Errno::ENOSYS => Cause::Sandbox { check, errno },
        _ => Cause::Unknown { check, errno },
    }
}

/// Filters return the errnos that `Backend::Auto` takes for absence.
fn is_filter_errno(errno: i32) -> bool {
    is_absence(&io::Error::from_raw_os_error(errno))
}

fn of_operation(host: &Host, check: Check, errno: i32) -> Cause {
    match Errno::from_raw(errno) {
        _ if is_out_of_descriptors(errno) => Cause::Descriptors { errno },
        Errno::EINVAL | Errno::EOPNOTSUPP if host.is_before((5, 6)) => Cause::KernelTooOld,
        _ => Cause::OperationRefused { check, errno },
    }
}

fn of_plain(host: &Host, check: Check, outcome: Outcome) -> Cause {
    match outcome {
        Outcome::Refused { errno } if is_out_of_descriptors(errno) => Cause::Descriptors { errno },
        Outcome::Refused { .. } | Outcome::Late if host.loopback_up == Some(false) => Cause::LoopbackDown,
        Outcome::Mismatched => Cause::AddressesRewritten,
        Outcome::Refused { errno } if is_out_of_ports(check, errno) => of_ports(host),
        Outcome::Refused { errno } if is_by_filter(host, check, errno) => Cause::SeccompErrno { check, errno },
        Outcome::Refused { errno } if is_about_loopback(check) => Cause::LoopbackRefused { check, errno },
        Outcome::Refused { errno } => of_system_call(host, check, errno),
        Outcome::Died { signal } => of_death(host, check, signal),
        _ => Cause::Late { check },
    }
}

/// Whether a filter explains the errno. `connect` can return the same errnos for routes and firewalls.
fn is_by_filter(host: &Host, check: Check, errno: i32) -> bool {
    let may_be_a_firewall = check == Check::Connect && errno != Errno::ENOSYS as i32;
    host.is_filtered() && is_filter_errno(errno) && !may_be_a_firewall
}

fn is_about_loopback(check: Check) -> bool {
    use Check::{Accept, Bind, Connect, Listen, Socket};
    matches!(check, Socket | Bind | Listen | Connect | Accept)
}

fn is_out_of_descriptors(errno: i32) -> bool {
    matches!(Errno::from_raw(errno), Errno::EMFILE | Errno::ENFILE)
}

fn is_out_of_ports(check: Check, errno: i32) -> bool {
    match check {
        Check::Bind => errno == Errno::EADDRINUSE as i32,
        Check::Connect => errno == Errno::EADDRNOTAVAIL as i32,
        _ => false,
    }
}

fn of_ports(host: &Host) -> Cause {
    match (host.free_to_choose(), host.time_wait) {
        (Some(0), _) => Cause::PortsReserved,
        (Some(ports), Some(time_wait)) if time_wait >= ports.div_ceil(4) => Cause::PortsInTimeWait,
        _ => Cause::NoPorts,
    }
}

/// A filter kills with `SIGSYS`. If the signal is unknown, the presence of a filter explains the death.
fn of_death(host: &Host, check: Check, signal: Option<i32>) -> Cause {
    match signal {
        Some(SIGSYS) => Cause::SeccompKill { check },
        None if host.is_filtered() => Cause::SeccompKill { check },
        signal => Cause::Died { check, signal },
    }
}

#[cfg(test)]
mod tests;

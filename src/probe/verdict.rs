//! From what was found to what it means: what `Backend::Auto` does here, and what is in the way. No system calls here.

use std::fmt;
use std::io;

use nix::errno::Errno;
use nix::libc::SIGSYS;

use super::attempt::{Attempt, Outcome, Tried};
use super::cause::Cause;
use super::host::Host;
use super::record::{Findings, Made};
use crate::engine::is_absence;
use crate::error::Step;
use crate::options::Backend;

/// What [`Backend::Auto`] makes pairs by in this thread; see [`Probe`](crate::Probe).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Verdict {
    /// io_uring.
    Ring,
    /// epoll and plain system calls.
    Epoll,
    /// It makes no pairs: the call fails, or a seccomp filter kills the process.
    Nothing,
    /// Whether it makes pairs could not be found out; [`Probe::cause`](crate::Probe::cause) says why.
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

/// What the findings come to. `epoll_is_chosen` by the environment.
pub(super) fn judge(host: &Host, findings: &Findings, epoll_is_chosen: bool) -> (Verdict, Option<Cause>) {
    let facts = Facts { host, tried: &findings.tried, epoll_is_chosen };
    if let Some(errno) = findings.no_child {
        return (Verdict::Unknown, Some(Cause::NoChild { errno }));
    }
    match findings.made {
        Some(Made::By(Backend::Uring)) => (Verdict::Ring, None),
        Some(Made::By(_)) => (Verdict::Epoll, Some(facts.why_epoll())),
        Some(Made::Failed { step, errno }) => match facts.why_failed(step, errno) {
            // Every part worked in time: the host may be overloaded.
            cause @ Cause::Late { attempt: Attempt::Pair } => (Verdict::Unknown, Some(cause)),
            cause => (Verdict::Nothing, Some(cause)),
        },
        None => facts.without_an_end(),
    }
}

struct Facts<'a> {
    host: &'a Host,
    tried: &'a Tried,
    epoll_is_chosen: bool,
}

impl Facts<'_> {
    fn why_epoll(&self) -> Cause {
        match self.against_ring() {
            _ if self.epoll_is_chosen => Cause::ChosenByEnvironment,
            Some((attempt, outcome)) => of_ring(self.host, attempt, outcome),
            None => Cause::Late { attempt: Attempt::RingSetup }, // so that `Auto` could not find out whether it kills
        }
    }

    fn why_failed(&self, step: Step, errno: i32) -> Cause {
        if is_out_of_descriptors(errno) {
            return Cause::Descriptors { errno };
        }
        let used = [Attempt::RingConnect, Attempt::RingAccept];
        // First what bars any pair: with another engine it would be the next to be in the way.
        if let Some((attempt, outcome)) = self.tried.first_failure(&Attempt::PLAIN) {
            of_plain(self.host, attempt, outcome)
        } else if step == Step::Ring {
            if self.engine_is_epoll() { self.why_no_epoll(errno) } else { self.why_no_ring(errno) }
        } else if let Some((attempt, outcome)) = self.tried.first_failure(&used) {
            of_ring(self.host, attempt, outcome)
        } else if let (Step::Timeout, _) | (_, Outcome::Mismatched) = (step, self.tried.outcome(Attempt::Pair)) {
            of_plain(self.host, Attempt::Pair, self.tried.outcome(Attempt::Pair))
        } else {
            of_plain(self.host, attempt_at(step), Outcome::Refused { errno })
        }
    }

    fn engine_is_epoll(&self) -> bool {
        let ring_is_absent = match self.tried.outcome(Attempt::RingSetup) {
            Outcome::Refused { errno } => is_absence(&io::Error::from_raw_os_error(errno)),
            Outcome::Died { .. } => true,
            _ => false,
        };
        self.epoll_is_chosen || ring_is_absent && self.tried.first_failure(&[Attempt::EpollCreate]).is_some()
    }

    fn why_no_epoll(&self, errno: i32) -> Cause {
        let outcome = self.tried.first_failure(&[Attempt::EpollCreate]).map(|(_, outcome)| outcome);
        of_plain(self.host, Attempt::EpollCreate, outcome.unwrap_or(Outcome::Refused { errno }))
    }

    /// The errno is that of the pair: what was tried before it may have met another one.
    fn why_no_ring(&self, errno: i32) -> Cause {
        match self.against_ring() {
            Some((attempt, outcome)) if !is_other_refusal(outcome, errno) => of_ring(self.host, attempt, outcome),
            _ => of_ring(self.host, Attempt::RingSetup, Outcome::Refused { errno }),
        }
    }

    /// The first attempt of the ring engine's that did not work. A refusal to be asked for opcodes is none.
    fn against_ring(&self) -> Option<(Attempt, Outcome)> {
        let is_hindrance = |attempt: &Attempt| {
            *attempt != Attempt::RingRegister || !matches!(self.tried.outcome(*attempt), Outcome::Refused { .. })
        };
        let needed: Vec<Attempt> = Attempt::RING_PAIR.into_iter().filter(is_hindrance).collect();
        self.tried.first_failure(&needed)
    }

    /// The child that made the pair was killed, or held up.
    fn without_an_end(&self) -> (Verdict, Option<Cause>) {
        let outcome = self.tried.outcome(Attempt::Pair);
        let is_same = |attempt: &Attempt| self.tried.outcome(*attempt) == outcome;
        // The part that ended in the same way names the call.
        let attempt = Attempt::parts().find(is_same).unwrap_or(Attempt::Pair);
        match outcome {
            Outcome::Died { signal } => match of_death(self.host, attempt, signal) {
                cause @ Cause::SeccompKill { .. } => (Verdict::Nothing, Some(cause)),
                cause => (Verdict::Unknown, Some(cause)),
            },
            _ => (Verdict::Unknown, Some(Cause::Late { attempt })),
        }
    }
}

fn is_other_refusal(outcome: Outcome, errno: i32) -> bool {
    matches!(outcome, Outcome::Refused { errno: found } if found != errno)
}

/// What is done at a step, if no part that was tried failed.
fn attempt_at(step: Step) -> Attempt {
    match step {
        Step::Socket => Attempt::Socket,
        Step::Bind => Attempt::Bind,
        Step::Listen => Attempt::Listen,
        Step::Connect => Attempt::Connect,
        Step::Accept => Attempt::Accept,
        Step::Verify => Attempt::PeerAddress,
        Step::SetOption => Attempt::SetOption,
        _ => Attempt::Pair,
    }
}

fn of_ring(host: &Host, attempt: Attempt, outcome: Outcome) -> Cause {
    match outcome {
        Outcome::Refused { errno } if attempt == Attempt::RingSetup => of_set_up(host, errno),
        Outcome::Refused { errno } if attempt == Attempt::RingEnter => of_system_call(host, attempt, errno),
        Outcome::Refused { errno } => of_operation(host, attempt, errno),
        Outcome::Died { signal } => of_death(host, attempt, signal),
        _ => Cause::Late { attempt },
    }
}

/// The same errno has several sources; which one it is takes evidence.
fn of_set_up(host: &Host, errno: i32) -> Cause {
    match Errno::from_raw(errno) {
        Errno::ENOSYS => of_absence(host),
        Errno::EPERM if host.io_uring_disabled == Some(2) => Cause::DisabledBySysctl,
        Errno::EPERM if host.io_uring_disabled == Some(1) && !may_although_disabled(host) => Cause::NotInGroup,
        Errno::ENOMEM if host.has_limited_memory() => Cause::LockedMemory,
        _ => of_system_call(host, Attempt::RingSetup, errno),
    }
}

/// `ENOSYS`: a kernel without io_uring says so in a container too.
fn of_absence(host: &Host) -> Cause {
    match host.has_io_uring() {
        _ if host.is_before((5, 1)) => Cause::KernelTooOld,
        Some(true) => of_system_call(host, Attempt::RingSetup, Errno::ENOSYS as i32),
        Some(false) => Cause::NotBuiltIn,
        None if host.seccomp == Some(0) => Cause::NotBuiltIn,
        None => Cause::NotBuiltInOrSeccomp,
    }
}

fn may_although_disabled(host: &Host) -> bool {
    // The sysctl has the host's number of the group, `/proc` that of the user namespace: they agree in the first one only.
    host.is_administrator() || host.in_io_uring_group == Some(true) && host.initial_user_namespace != Some(false)
}

fn of_system_call(host: &Host, attempt: Attempt, errno: i32) -> Cause {
    let is_filtered = host.is_filtered();
    match Errno::from_raw(errno) {
        _ if is_out_of_descriptors(errno) => Cause::Descriptors { errno },
        // A filter may say so too, but hardly any does, and modules say nothing else.
        Errno::EACCES if host.is_confined() || !is_filtered => Cause::SecurityModule { attempt, errno },
        _ if is_filtered && is_a_filters_answer(errno) => Cause::SeccompErrno { attempt, errno },
        // With the filter and the sysctl known to be innocent, a module is left.
        Errno::EPERM if host.seccomp == Some(0) && host.io_uring_disabled != Some(1) => {
            Cause::SecurityModule { attempt, errno }
        }
        Errno::EOPNOTSUPP | Errno::ENOSYS => Cause::Sandbox { attempt, errno },
        _ => Cause::Unknown { attempt, errno },
    }
}

/// Filters say that something is absent, as `Backend::Auto` understands it.
fn is_a_filters_answer(errno: i32) -> bool {
    is_absence(&io::Error::from_raw_os_error(errno))
}

fn of_operation(host: &Host, attempt: Attempt, errno: i32) -> Cause {
    match Errno::from_raw(errno) {
        _ if is_out_of_descriptors(errno) => Cause::Descriptors { errno },
        Errno::EINVAL | Errno::EOPNOTSUPP if host.is_before((5, 6)) => Cause::KernelTooOld,
        _ => Cause::OperationRefused { attempt, errno },
    }
}

fn of_plain(host: &Host, attempt: Attempt, outcome: Outcome) -> Cause {
    match outcome {
        Outcome::Refused { errno } if is_out_of_descriptors(errno) => Cause::Descriptors { errno },
        Outcome::Refused { .. } | Outcome::Late if host.loopback_up == Some(false) => Cause::LoopbackDown,
        Outcome::Mismatched => Cause::AddressesRewritten,
        Outcome::Refused { errno } if is_out_of_ports(attempt, errno) => of_ports(host),
        Outcome::Refused { errno } if is_by_filter(host, attempt, errno) => Cause::SeccompErrno { attempt, errno },
        Outcome::Refused { errno } if is_about_loopback(attempt) => Cause::LoopbackRefused { attempt, errno },
        Outcome::Refused { errno } => of_system_call(host, attempt, errno),
        Outcome::Died { signal } => of_death(host, attempt, signal),
        _ => Cause::Late { attempt },
    }
}

/// A filter says "not here". So does `connect` of its own accord, for routes and firewalls.
fn is_by_filter(host: &Host, attempt: Attempt, errno: i32) -> bool {
    let may_be_a_firewall = attempt == Attempt::Connect && errno != Errno::ENOSYS as i32;
    host.is_filtered() && is_a_filters_answer(errno) && !may_be_a_firewall
}

fn is_about_loopback(attempt: Attempt) -> bool {
    use Attempt::{Accept, Bind, Connect, Listen, Socket};
    matches!(attempt, Socket | Bind | Listen | Connect | Accept)
}

fn is_out_of_descriptors(errno: i32) -> bool {
    matches!(Errno::from_raw(errno), Errno::EMFILE | Errno::ENFILE)
}

fn is_out_of_ports(attempt: Attempt, errno: i32) -> bool {
    match attempt {
        Attempt::Bind => errno == Errno::EADDRINUSE as i32,
        Attempt::Connect => errno == Errno::EADDRNOTAVAIL as i32,
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

/// A filter that kills sends `SIGSYS`; if nobody can tell the signal, that there is a filter is evidence enough.
fn of_death(host: &Host, attempt: Attempt, signal: Option<i32>) -> Cause {
    match signal {
        Some(SIGSYS) => Cause::SeccompKill { attempt },
        None if host.is_filtered() => Cause::SeccompKill { attempt },
        signal => Cause::Died { attempt, signal },
    }
}

#[cfg(test)]
mod tests;

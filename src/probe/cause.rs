//! From what was found to what it means: a verdict, what is in the way, and what to do about it. No system calls here.

use std::fmt;

use nix::errno::Errno;
use nix::libc::SIGSYS;

use super::attempt::{Attempt, Outcome, Tried};
use super::host::Host;

/// What a host lets pairs be made by, the best that works; see [`Probe`](crate::Probe).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Verdict {
    /// io_uring: a pair was made, written to, read from and closed through a ring.
    Ring,
    /// Plain system calls: connections on loopback work, a ring does not.
    Epoll,
    /// Neither.
    Nothing,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Ring => "ring",
            Verdict::Epoll => "epoll",
            Verdict::Nothing => "nothing",
        })
    }
}

/// What is in the way of a better [`Verdict`]. `Display` says it in words, [`remedy`](Cause::remedy) what to do about it.
///
/// ```
/// use ringpair::probe::{Attempt, Cause};
///
/// let barred = Cause::SeccompErrno { attempt: Attempt::RingSetup, errno: 1 };
/// assert_eq!(barred.to_string(), "a seccomp filter answers io_uring_setup with EPERM");
/// assert!(barred.remedy().contains("--security-opt seccomp=profile.json"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(serde::Serialize), serde(tag = "kind", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Cause {
    /// The kernel is from before Linux 5.6, and lacks io_uring or the operations that are needed.
    KernelTooOld,
    /// The kernel is new enough and has no io_uring: it was built without, or a sandbox stands in for it.
    NotBuiltIn,
    /// `kernel.io_uring_disabled` is 2.
    DisabledBySysctl,
    /// `kernel.io_uring_disabled` is 1, and we are neither in `kernel.io_uring_group` nor administrators of the host.
    NotInGroup,
    /// A seccomp filter answers in the kernel's place.
    SeccompErrno {
        /// What it is asked.
        attempt: Attempt,
        /// What it answers.
        errno: i32,
    },
    /// A seccomp filter kills whoever tries.
    SeccompKill {
        /// What it kills for.
        attempt: Attempt,
    },
    /// A security module (SELinux, AppArmor, BPF) refuses.
    SecurityModule {
        /// What it refuses.
        attempt: Attempt,
        /// What it answers.
        errno: i32,
    },
    /// A sandbox stands in for the kernel, and knows nothing of this.
    Sandbox {
        /// What it does not know.
        attempt: Attempt,
        /// What it answers.
        errno: i32,
    },
    /// The rings of this user have used up `RLIMIT_MEMLOCK`.
    LockedMemory,
    /// No descriptor is left, in this process (`EMFILE`) or on the host (`ENFILE`).
    Descriptors {
        /// Which of the two.
        errno: i32,
    },
    /// A ring can be made, and an operation is refused.
    OperationRefused {
        /// The operation.
        attempt: Attempt,
        /// What it ended with.
        errno: i32,
    },
    /// The interface `lo` is down.
    LoopbackDown,
    /// No local port is left.
    NoPorts,
    /// A plain system call on loopback is refused.
    LoopbackRefused {
        /// The system call.
        attempt: Attempt,
        /// What it answers.
        errno: i32,
    },
    /// It was not through in time.
    Late {
        /// What was not.
        attempt: Attempt,
    },
    /// A process that tried it ended there, and a seccomp filter does not explain it.
    Died {
        /// What it tried.
        attempt: Attempt,
        /// The signal, where that is known.
        signal: Option<i32>,
    },
    /// No process could be started to try anything in.
    NoChild {
        /// Why not.
        errno: i32,
    },
    /// A refusal that none of the others explains.
    Unknown {
        /// What was refused.
        attempt: Attempt,
        /// With what.
        errno: i32,
    },
}

/// What the facts come to.
pub(super) fn judge(host: &Host, tried: &Tried, no_child: Option<i32>) -> (Verdict, Option<Cause>) {
    if let Some(errno) = no_child {
        return (Verdict::Nothing, Some(of_no_child(errno)));
    }
    let Some(against_ring) = against_ring(host, tried) else { return (Verdict::Ring, None) };
    match against_plain(host, tried) {
        Some(cause) => (Verdict::Nothing, Some(cause)),
        None => (Verdict::Epoll, Some(against_ring)),
    }
}

fn of_no_child(errno: i32) -> Cause {
    if is_out_of_descriptors(errno) { Cause::Descriptors { errno } } else { Cause::NoChild { errno } }
}

fn against_ring(host: &Host, tried: &Tried) -> Option<Cause> {
    let (attempt, outcome) = failure(&Attempt::RING, tried, |attempt, outcome| {
        // The ring engine takes a refusal for "ask me no questions", as before Linux 5.6.
        attempt == Attempt::RingRegister && matches!(outcome, Outcome::Refused { .. })
    })?;
    Some(match outcome {
        Outcome::Refused { errno } if attempt == Attempt::RingSetup => of_set_up(host, errno),
        Outcome::Refused { errno } if attempt == Attempt::RingEnter => of_system_call(host, attempt, errno),
        Outcome::Refused { errno } => of_operation(host, attempt, errno),
        ended => of_end(host, attempt, ended),
    })
}

/// The first attempt that went wrong, or else the first that was left out: nobody can tell why, then.
fn failure(of: &[Attempt], tried: &Tried, may_be: fn(Attempt, Outcome) -> bool) -> Option<(Attempt, Outcome)> {
    let outcomes = of.iter().map(|attempt| (*attempt, tried.outcome(*attempt)));
    let mut wrong = outcomes.filter(|(attempt, outcome)| *outcome != Outcome::Worked && !may_be(*attempt, *outcome));
    let first = wrong.next()?;
    let was_tried = |(_, outcome): &(Attempt, Outcome)| *outcome != Outcome::Untried;
    Some([first].into_iter().chain(wrong).find(was_tried).unwrap_or((first.0, Outcome::Died { signal: None })))
}

/// The same errno has several sources; which one it is takes evidence.
fn of_set_up(host: &Host, errno: i32) -> Cause {
    match Errno::from_raw(errno) {
        Errno::ENOSYS if host.is_before((5, 1)) => Cause::KernelTooOld,
        Errno::ENOSYS if !host.is_filtered() => Cause::NotBuiltIn,
        Errno::EPERM if host.io_uring_disabled == Some(2) => Cause::DisabledBySysctl,
        Errno::EPERM if host.io_uring_disabled == Some(1) && !may_although_disabled(host) => Cause::NotInGroup,
        Errno::ENOMEM if host.has_limited_memory() => Cause::LockedMemory,
        _ => of_system_call(host, Attempt::RingSetup, errno),
    }
}

fn may_although_disabled(host: &Host) -> bool {
    // The sysctl has the host's number of the group, `/proc` that of the user namespace: they agree in the first one only.
    host.is_administrator() || host.in_io_uring_group == Some(true) && host.initial_user_namespace != Some(false)
}

fn of_system_call(host: &Host, attempt: Attempt, errno: i32) -> Cause {
    let is_filtered = host.is_filtered();
    match Errno::from_raw(errno) {
        Errno::EMFILE | Errno::ENFILE => Cause::Descriptors { errno },
        // A filter may say so too, but hardly any does, and modules say nothing else.
        Errno::EACCES if host.is_confined() || !is_filtered => Cause::SecurityModule { attempt, errno },
        Errno::EPERM | Errno::ENOSYS | Errno::EACCES | Errno::EOPNOTSUPP if is_filtered => {
            Cause::SeccompErrno { attempt, errno }
        }
        // With the filter and the sysctl known to be innocent, a module is left.
        Errno::EPERM if host.seccomp == Some(0) && host.io_uring_disabled != Some(1) => {
            Cause::SecurityModule { attempt, errno }
        }
        Errno::EOPNOTSUPP | Errno::ENOSYS => Cause::Sandbox { attempt, errno },
        _ => Cause::Unknown { attempt, errno },
    }
}

fn of_operation(host: &Host, attempt: Attempt, errno: i32) -> Cause {
    match Errno::from_raw(errno) {
        Errno::EMFILE | Errno::ENFILE => Cause::Descriptors { errno },
        Errno::EINVAL | Errno::EOPNOTSUPP if host.is_before((5, 6)) => Cause::KernelTooOld,
        _ => Cause::OperationRefused { attempt, errno },
    }
}

fn against_plain(host: &Host, tried: &Tried) -> Option<Cause> {
    let (attempt, outcome) = failure(&Attempt::PLAIN, tried, |_, _| false)?;
    Some(match outcome {
        Outcome::Refused { errno } if is_out_of_descriptors(errno) => Cause::Descriptors { errno },
        Outcome::Refused { .. } | Outcome::Late if host.loopback_up == Some(false) => Cause::LoopbackDown,
        Outcome::Refused { errno } if is_out_of_ports(attempt, errno) => Cause::NoPorts,
        Outcome::Refused { errno } if is_by_filter(host, attempt, errno) => Cause::SeccompErrno { attempt, errno },
        Outcome::Refused { errno } => Cause::LoopbackRefused { attempt, errno },
        ended => of_end(host, attempt, ended),
    })
}

/// A filter says "not here". So does `connect` of its own accord, for routes and firewalls.
fn is_by_filter(host: &Host, attempt: Attempt, errno: i32) -> bool {
    let errno = Errno::from_raw(errno);
    let is_absence = matches!(errno, Errno::ENOSYS | Errno::EPERM | Errno::EACCES | Errno::EOPNOTSUPP);
    is_absence && host.is_filtered() && (attempt != Attempt::Connect || errno == Errno::ENOSYS)
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

/// What is no answer at all. A filter that kills sends `SIGSYS`; where nobody can tell the signal, that there is a filter
/// is evidence enough.
fn of_end(host: &Host, attempt: Attempt, outcome: Outcome) -> Cause {
    match outcome {
        Outcome::Died { signal: Some(SIGSYS) } => Cause::SeccompKill { attempt },
        Outcome::Died { signal: None } if host.is_filtered() => Cause::SeccompKill { attempt },
        Outcome::Died { signal } => Cause::Died { attempt, signal },
        _ => Cause::Late { attempt },
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Cause::KernelTooOld => write!(f, "the kernel is too old: Linux 5.6 is the first with all that is needed"),
            Cause::NotBuiltIn => {
                write!(f, "this kernel has no io_uring: built without CONFIG_IO_URING, or a sandbox stands in for it")
            }
            Cause::DisabledBySysctl => write!(f, "the sysctl kernel.io_uring_disabled is 2: nobody may make a ring"),
            Cause::NotInGroup => write!(
                f,
                "the sysctl kernel.io_uring_disabled is 1, and this process is neither in kernel.io_uring_group nor \
                 has it CAP_SYS_ADMIN on the host"
            ),
            Cause::SeccompErrno { attempt, errno } => {
                write!(f, "a seccomp filter answers {attempt} with {}", Named(errno))
            }
            Cause::SeccompKill { attempt } => write!(f, "a seccomp filter kills whoever calls {}", call_of(attempt)),
            Cause::SecurityModule { attempt, errno } => {
                write!(f, "a security module (SELinux, AppArmor or BPF) answers {attempt} with {}", Named(errno))
            }
            Cause::Sandbox { attempt, errno } => {
                write!(f, "a sandbox stands in for the kernel and answers {attempt} with {}", Named(errno))
            }
            Cause::LockedMemory => write!(f, "the rings of this user have used up RLIMIT_MEMLOCK"),
            Cause::Descriptors { errno } if errno == Errno::ENFILE as i32 => {
                write!(f, "the host has no descriptors left ({})", Named(errno))
            }
            Cause::Descriptors { errno } => write!(f, "this process has no descriptors left ({})", Named(errno)),
            Cause::OperationRefused { attempt, errno } => {
                write!(f, "a ring can be made, but {attempt} ends with {}", Named(errno))
            }
            Cause::LoopbackDown => write!(f, "the interface lo is down"),
            Cause::NoPorts => write!(f, "no local port is left"),
            Cause::LoopbackRefused { attempt, errno } => {
                write!(f, "{attempt} on 127.0.0.1 is answered with {}", Named(errno))
            }
            Cause::Late { attempt } => write!(f, "{attempt} is not through within seconds"),
            Cause::Died { attempt, signal: Some(signal) } => {
                write!(f, "a process that tried {attempt} died of signal {signal}")
            }
            Cause::Died { attempt, signal: None } => {
                write!(f, "a process that tried {attempt} died, of what cannot be told")
            }
            Cause::NoChild { errno } => write!(f, "no process could be started to try anything in: {}", Named(errno)),
            Cause::Unknown { attempt, errno } => write!(f, "{attempt} is answered with {}", Named(errno)),
        }
    }
}

/// The system call that a seccomp filter sees.
fn call_of(attempt: Attempt) -> Attempt {
    let is_operation = Attempt::RING.contains(&attempt);
    match attempt {
        Attempt::RingSetup | Attempt::RingRegister => attempt,
        _ if is_operation => Attempt::RingEnter,
        _ => attempt,
    }
}

/// An errno by its name.
pub(super) struct Named(pub(super) i32);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Errno::from_raw(self.0) {
            Errno::UnknownErrno => write!(f, "errno {}", self.0),
            errno => write!(f, "{errno:?}"),
        }
    }
}

const ALLOW_THE_CALLS: &str = "Allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile and leave \
    the rest of it as it is. Docker, Podman: take the default profile, add {\"names\": [\"io_uring_setup\", \
    \"io_uring_enter\", \"io_uring_register\"], \"action\": \"SCMP_ACT_ALLOW\"} to its \"syscalls\", and run with \
    --security-opt seccomp=profile.json. Kubernetes: the same file as a Localhost seccompProfile. systemd: add the three \
    to SystemCallFilter=.";

impl Cause {
    /// What to do about it, in words; who runs a CI job may have to ask someone else to.
    pub fn remedy(&self) -> String {
        match self {
            Cause::KernelTooOld => "Boot Linux 5.6 or newer; 5.10 and later have been in wide use.",
            Cause::NotBuiltIn => {
                "Boot a kernel with CONFIG_IO_URING=y; in a sandbox such as gVisor take another runtime, or a virtual \
                 machine."
            }
            Cause::DisabledBySysctl => {
                "As root on the host, not in the container: sysctl -w kernel.io_uring_disabled=0. Or 1, for \
                 administrators and the members of one group: sysctl -w kernel.io_uring_disabled=1 \
                 kernel.io_uring_group=GID. To keep it, write it to a file in /etc/sysctl.d."
            }
            Cause::NotInGroup => {
                "Join the group that kernel.io_uring_group names, by its number: usermod -aG, docker run --group-add. \
                 Where it names none (-1), as root on the host: sysctl -w kernel.io_uring_group=GID with a group of \
                 yours; or open it to everyone: sysctl -w kernel.io_uring_disabled=0."
            }
            Cause::SeccompErrno { attempt, .. } | Cause::SeccompKill { attempt } if Attempt::RING.contains(attempt) => {
                ALLOW_THE_CALLS
            }
            Cause::SeccompErrno { attempt, .. } | Cause::SeccompKill { attempt } => {
                return format!("Allow {attempt} in the seccomp profile.");
            }
            Cause::SecurityModule { .. } => {
                "Let the module's policy allow it: for SELinux the class io_uring (ausearch -m avc shows the denial), \
                 for AppArmor a profile with a rule for io_uring (journalctl -k shows it). If neither shows anything, look at \
                 the seccomp profile."
            }
            Cause::Sandbox { .. } => {
                "Run under another container runtime (runc instead of gVisor's runsc, for one) or in a virtual machine."
            }
            Cause::LockedMemory => {
                "Raise RLIMIT_MEMLOCK, which counts all rings of this user: ulimit -l, docker run --ulimit memlock=-1, \
                 LimitMEMLOCK= of systemd, memlock in /etc/security/limits.conf; or give CAP_IPC_LOCK, with which \
                 nothing is counted."
            }
            Cause::Descriptors { errno } if *errno == Errno::ENFILE as i32 => {
                "As root on the host, raise the sysctl fs.file-max, or find who keeps so many files open."
            }
            Cause::Descriptors { .. } => {
                "Raise RLIMIT_NOFILE: ulimit -n, docker run --ulimit nofile=65536, LimitNOFILE= of systemd; or find \
                 what this process keeps open in /proc/self/fd. A pair takes two descriptors, and two more while it is \
                 made."
            }
            Cause::OperationRefused { .. } => {
                "The ring is let through and what it does is not: look for a security module's denial (ausearch -m avc, \
                 journalctl -k), for whoever started this process and restricted its rings, and for a sandbox that \
                 knows a part of io_uring only."
            }
            Cause::LoopbackDown => {
                "As root in this network namespace: ip link set lo up. A namespace that unshare --net or a container \
                 without network has just made begins with it down."
            }
            Cause::NoPorts => {
                "Wait a minute for TIME_WAIT to pass, or find who holds the ports (ss -tan). As root: sysctl -w \
                 net.ipv4.ip_local_port_range=\"1024 65535\"."
            }
            Cause::LoopbackRefused { .. } => {
                "Look for what bars TCP on 127.0.0.1: firewall and routing rules for lo (nft list ruleset, ip rule), a \
                 security module, a seccomp profile, systemd's RestrictAddressFamilies= and IPAddressDeny=."
            }
            Cause::Late { attempt } if Attempt::PLAIN.contains(attempt) => {
                "Something swallows packets on lo: look at its firewall rules and queueing disciplines (nft list \
                 ruleset, tc qdisc show dev lo). Or the host is overloaded: try again."
            }
            Cause::Late { .. } => {
                "Try again, since the host may be overloaded. If it stays, something holds the call up: a seccomp \
                 supervisor (SECCOMP_RET_USER_NOTIF) or a sandbox."
            }
            Cause::Died { .. } => {
                "Look for who sent the signal: journalctl -k for the memory killer and audit records, the sandbox's own \
                 log."
            }
            Cause::NoChild { .. } => {
                "Let this user start processes: ulimit -u, the pids limit of the container (docker run --pids-limit) or \
                 the cgroup (pids.max), and memory."
            }
            Cause::Unknown { .. } => {
                "None of the known causes fits. Trace it (strace -f -e trace=%network,io_uring_setup,io_uring_enter), \
                 and report it together with this output."
            }
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests;

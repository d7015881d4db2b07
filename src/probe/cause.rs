//! What is in the way of a ring, or of pairs, in words; and what to do about it. No system calls here.

use std::fmt;

use nix::errno::Errno;

use super::attempt::Attempt;
use crate::options::chosen_by_the_environment;

/// What is in the way of a better [`Verdict`](super::Verdict). `Display` says it in words, [`remedy`](Cause::remedy) what to do
/// about it.
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
    /// A kernel without io_uring and a seccomp filter both explain `ENOSYS`, and nothing tells which it is.
    NotBuiltInOrSeccomp,
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
    /// A seccomp filter kills the process that tries.
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
    /// `RLIMIT_MEMLOCK` has no room for a ring, beside the other rings of this user.
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
    /// No local port is left: open sockets hold them, or the range is too small.
    NoPorts,
    /// No local port is left: `net.ipv4.ip_local_reserved_ports` takes them all.
    PortsReserved,
    /// No local port is left: many are in TIME_WAIT.
    PortsInTimeWait,
    /// The peer of one end is not the other end: NAT or an eBPF program rewrites or redirects connections on `lo`.
    AddressesRewritten,
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
    /// A seccomp filter is in force, which may kill, and no process could be started to try anything in.
    NoChild {
        /// Why not.
        errno: i32,
    },
    /// `RINGPAIR_BACKEND` is `epoll`.
    ChosenByEnvironment,
    /// `RINGPAIR_BACKEND` or `RINGPAIR_REQUIRE_URING` has a value that it does not take.
    InvalidEnvironment,
    /// A refusal that none of the others explains.
    Unknown {
        /// What was refused.
        attempt: Attempt,
        /// With what.
        errno: i32,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Cause::KernelTooOld => write!(f, "the kernel is too old: Linux 5.6 is the first with all that is needed"),
            Cause::NotBuiltIn => {
                write!(f, "this kernel has no io_uring: built without CONFIG_IO_URING, or a sandbox stands in for it")
            }
            Cause::NotBuiltInOrSeccomp => write!(
                f,
                "io_uring_setup is answered with ENOSYS: by a kernel without io_uring, or by a seccomp filter"
            ),
            Cause::DisabledBySysctl => {
                write!(f, "the sysctl kernel.io_uring_disabled is 2: no process may make a ring")
            }
            Cause::NotInGroup => write!(
                f,
                "the sysctl kernel.io_uring_disabled is 1, and this process is neither in kernel.io_uring_group nor \
                 has it CAP_SYS_ADMIN on the host"
            ),
            Cause::SeccompErrno { attempt, errno } => {
                write!(f, "a seccomp filter answers {attempt} with {}", Named(errno))
            }
            Cause::SeccompKill { attempt: Attempt::Pair } => {
                write!(f, "a seccomp filter kills the process that makes a pair")
            }
            Cause::SeccompKill { attempt } => write!(f, "a seccomp filter kills callers of {}", call_of(attempt)),
            Cause::SecurityModule { attempt, errno } => {
                write!(f, "a security module (SELinux, AppArmor or BPF) answers {attempt} with {}", Named(errno))
            }
            Cause::Sandbox { attempt, errno } => {
                write!(f, "a sandbox stands in for the kernel and answers {attempt} with {}", Named(errno))
            }
            Cause::LockedMemory => {
                write!(f, "RLIMIT_MEMLOCK has no room for a ring, beside the other rings of this user")
            }
            Cause::Descriptors { errno } if errno == Errno::ENFILE as i32 => {
                write!(f, "the host has no descriptors left ({})", Named(errno))
            }
            Cause::Descriptors { errno } => write!(f, "this process has no descriptors left ({})", Named(errno)),
            Cause::OperationRefused { attempt, errno } => {
                write!(f, "a ring can be made, but {attempt} ends with {}", Named(errno))
            }
            Cause::LoopbackDown => write!(f, "the interface lo is down"),
            Cause::NoPorts => write!(f, "no local port is left"),
            Cause::PortsReserved => {
                write!(f, "no local port is left: the sysctl net.ipv4.ip_local_reserved_ports takes them all")
            }
            Cause::PortsInTimeWait => write!(f, "no local port is left: many are in TIME_WAIT"),
            Cause::AddressesRewritten => {
                write!(f, "something redirects connections on lo or rewrites their addresses: NAT, or an eBPF program")
            }
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
            Cause::NoChild { errno } => write!(
                f,
                "a seccomp filter is in force, and no process could be started to try whether it kills: {}",
                Named(errno)
            ),
            Cause::ChosenByEnvironment => write!(f, "RINGPAIR_BACKEND is epoll"),
            Cause::InvalidEnvironment => f.write_str(&complaint_about_the_environment()),
            Cause::Unknown { attempt, errno } => write!(f, "{attempt} is answered with {}", Named(errno)),
        }
    }
}

fn complaint_about_the_environment() -> String {
    match chosen_by_the_environment() {
        Err(error) => error.cause().to_string(),
        Ok(_) => "a variable of the environment has a value that it does not take".to_owned(),
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
    /// Returns what to do about it, in words.
    pub fn remedy(&self) -> String {
        match self {
            Cause::KernelTooOld => "Boot Linux 5.6 or newer; 5.10 and later have been in wide use.",
            Cause::NotBuiltIn => {
                "Boot a kernel with CONFIG_IO_URING=y; in a sandbox such as gVisor take another runtime, or a virtual \
                 machine."
            }
            Cause::NotBuiltInOrSeccomp => {
                return format!(
                    "Look at the kernel first (zgrep IO_URING /proc/config.gz, or /boot/config-*): without \
                     CONFIG_IO_URING=y boot another one. With it: {ALLOW_THE_CALLS}"
                );
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
            Cause::SeccompKill { attempt: Attempt::Pair } => {
                "Allow the calls of socket(7) in the seccomp profile; audit records name the one that kills (journalctl -k)."
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
                "As root on the host, raise the sysctl fs.file-max, or find what keeps so many files open."
            }
            Cause::Descriptors { .. } => {
                "Raise RLIMIT_NOFILE: ulimit -n, docker run --ulimit nofile=65536, LimitNOFILE= of systemd; or find \
                 what this process keeps open in /proc/self/fd. A pair takes two descriptors, and two more while it is \
                 made."
            }
            Cause::OperationRefused { .. } => {
                "The ring is let through and what it does is not: look for a security module's denial (ausearch -m avc, \
                 journalctl -k), for restrictions of rings that this process was started with, and for a sandbox that \
                 knows a part of io_uring only."
            }
            Cause::LoopbackDown => {
                "As root in this network namespace: ip link set lo up. A namespace that unshare --net or a container \
                 without network has just made begins with it down."
            }
            Cause::NoPorts => {
                "Find what holds the ports (ss -tan), or widen the range as root: sysctl -w \
                 net.ipv4.ip_local_port_range=\"1024 65535\"."
            }
            Cause::PortsReserved => {
                "As root, reserve fewer ports (sysctl -w net.ipv4.ip_local_reserved_ports=), or widen the range around \
                 them: sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"."
            }
            Cause::PortsInTimeWait => {
                "Wait a minute for TIME_WAIT to pass, or find what leaves it (ss -tan state time-wait). As root: sysctl -w \
                 net.ipv4.ip_local_port_range=\"1024 65535\"."
            }
            Cause::AddressesRewritten => {
                "Exempt lo from address translation and redirection: look at the NAT rules (nft list ruleset, \
                 iptables-save -t nat) and at eBPF programs of cgroups (bpftool cgroup tree)."
            }
            Cause::LoopbackRefused { .. } => {
                "Look for what bars TCP on 127.0.0.1: firewall and routing rules for lo (nft list ruleset, ip rule), a \
                 security module, a seccomp profile, systemd's RestrictAddressFamilies= and IPAddressDeny=."
            }
            Cause::Late { attempt } if Attempt::PLAIN.contains(attempt) => {
                "Something swallows or redirects packets on lo: look at its firewall and NAT rules and queueing \
                 disciplines (nft list ruleset, tc qdisc show dev lo). Or the host is overloaded: try again."
            }
            Cause::Late { .. } => {
                "Try again, since the host may be overloaded. If it stays, something holds the call up: a seccomp \
                 supervisor (SECCOMP_RET_USER_NOTIF) or a sandbox."
            }
            Cause::Died { .. } => {
                "Look for what sent the signal: journalctl -k for the memory killer and audit records, the sandbox's own \
                 log."
            }
            Cause::NoChild { .. } => {
                "Let this user start processes: ulimit -u, the pids limit of the container (docker run --pids-limit) or \
                 the cgroup (pids.max), and memory."
            }
            Cause::ChosenByEnvironment => "Unset RINGPAIR_BACKEND to have pairs made through io_uring.",
            Cause::InvalidEnvironment => "Set it to a value that it takes, or unset it.",
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

//! The causes why a ring or pairs are not available, in words, with remedies. No system calls here.

use std::fmt;

use nix::errno::Errno;

use super::check::Check;
use crate::options::chosen_by_the_environment;

/// Why the [`Verdict`](super::Verdict) is not better. `Display` names the cause in words; [`remedy`](Cause::remedy) says what
/// to do about it.
///
/// ```
/// use ringpair::probe::{Check, Cause};
///
/// let barred = Cause::SeccompErrno { check: Check::RingSetup, errno: 1 };
/// assert_eq!(barred.to_string(), "a seccomp filter answers io_uring_setup with EPERM");
/// assert!(barred.remedy().contains("--security-opt seccomp=profile.json"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(serde::Serialize), serde(tag = "kind", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Cause {
    /// The kernel is older than Linux 5.6, and lacks io_uring or operations that pairs need.
    KernelTooOld,
    /// The kernel is new enough but has no io_uring: it was built without, or a sandbox replaces it.
    NotBuiltIn,
    /// `ENOSYS` comes from a kernel without io_uring or from a seccomp filter; which one is unknown.
    NotBuiltInOrSeccomp,
    /// `kernel.io_uring_disabled` is 2.
    DisabledBySysctl,
    /// `kernel.io_uring_disabled` is 1, and this process is not in `kernel.io_uring_group` and has no `CAP_SYS_ADMIN` on the
    /// host.
    NotInGroup,
    /// A seccomp filter returns an errno.
    SeccompErrno {
        /// What it is asked.
        #[cfg_attr(feature = "cli", serde(rename = "attempt"))] // its name in documents of version 2
        check: Check,
        /// What it answers.
        errno: i32,
    },
    /// A seccomp filter kills the process.
    SeccompKill {
        /// The check that it kills for.
        #[cfg_attr(feature = "cli", serde(rename = "attempt"))] // its name in documents of version 2
        check: Check,
    },
    /// A security module (SELinux, AppArmor, BPF) refuses the check.
    SecurityModule {
        /// What it refuses.
        #[cfg_attr(feature = "cli", serde(rename = "attempt"))] // its name in documents of version 2
        check: Check,
        /// What it answers.
        errno: i32,
    },
    /// A sandbox replaces the kernel, and does not support this.
    Sandbox {
        /// What it does not know.
        #[cfg_attr(feature = "cli", serde(rename = "attempt"))] // its name in documents of version 2
        check: Check,
        /// What it answers.
        errno: i32,
    },
    /// `RLIMIT_MEMLOCK` has no room for a ring beside the user's other rings.
    LockedMemory,
    /// No descriptor is left, in this process (`EMFILE`) or on the host (`ENFILE`).
    Descriptors {
        /// `EMFILE` or `ENFILE`.
        errno: i32,
    },
    /// A ring can be made, but an operation is refused.
    OperationRefused {
        /// The operation.
        #[cfg_attr(feature = "cli", serde(rename = "attempt"))] // its name in documents of version 2
        check: Check,
        /// Its errno.
        errno: i32,
    },
    /// The interface `lo` is down.
    LoopbackDown,
    /// No local port is free: open sockets use them, or the range is too small.
    NoPorts,
    /// No local port is free: `net.ipv4.ip_local_reserved_ports` reserves them all.
    PortsReserved,
    /// No local port is free: many are in TIME_WAIT.
    PortsInTimeWait,
    /// The peer of one end is not the other end: NAT or an eBPF program rewrites or redirects connections on `lo`.
    AddressesRewritten,
    /// A plain system call on loopback is refused.
    LoopbackRefused {
        /// The system call.
        #[cfg_attr(feature = "cli", serde(rename = "attempt"))] // its name in documents of version 2
        check: Check,
        /// What it answers.
        errno: i32,
    },
    /// A check did not complete in time.
    Late {
        /// The check.
        #[cfg_attr(feature = "cli", serde(rename = "attempt"))] // its name in documents of version 2
        check: Check,
    },
    /// The process that ran the check died, and not because of a seccomp filter.
    Died {
        /// The check.
        #[cfg_attr(feature = "cli", serde(rename = "attempt"))] // its name in documents of version 2
        check: Check,
        /// The signal, if known.
        signal: Option<i32>,
    },
    /// A seccomp filter is active and may kill, and no child process could be started for the checks.
    NoChild {
        /// Why not.
        errno: i32,
    },
    /// `RINGPAIR_BACKEND` is `epoll`.
    ChosenByEnvironment,
    /// `RINGPAIR_BACKEND` or `RINGPAIR_REQUIRE_URING` has an invalid value.
    InvalidEnvironment,
    /// None of the other causes explains the error.
    Unknown {
        /// The check.
        #[cfg_attr(feature = "cli", serde(rename = "attempt"))] // its name in documents of version 2
        check: Check,
        /// Its errno.
        errno: i32,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Cause::KernelTooOld => write!(f, "the kernel is too old: pairs through io_uring need Linux 5.6"),
            Cause::NotBuiltIn => {
                write!(f, "this kernel has no io_uring: built without CONFIG_IO_URING, or replaced by a sandbox")
            }
            Cause::NotBuiltInOrSeccomp => {
                write!(f, "io_uring_setup fails with ENOSYS: the kernel has no io_uring, or a seccomp filter blocks it")
            }
            Cause::DisabledBySysctl => {
                write!(f, "the sysctl kernel.io_uring_disabled is 2: no process may make a ring")
            }
            Cause::NotInGroup => write!(
                f,
                "the sysctl kernel.io_uring_disabled is 1, and this process is neither in kernel.io_uring_group nor \
                 does it have CAP_SYS_ADMIN on the host"
            ),
            Cause::SeccompErrno { check, errno } => {
                write!(f, "a seccomp filter answers {check} with {}", Named(errno))
            }
            Cause::SeccompKill { check: Check::Pair } => {
                write!(f, "a seccomp filter kills the process that makes a pair")
            }
            Cause::SeccompKill { check } => write!(f, "a seccomp filter kills callers of {}", call_of(check)),
            Cause::SecurityModule { check, errno } => {
                write!(f, "a security module (SELinux, AppArmor or BPF) answers {check} with {}", Named(errno))
            }
            Cause::Sandbox { check, errno } => {
                write!(f, "a sandbox replaces the kernel and answers {check} with {}", Named(errno))
            }
            Cause::LockedMemory => {
                write!(f, "RLIMIT_MEMLOCK has no room for a ring beside the other rings of this user")
            }
            Cause::Descriptors { errno } if errno == Errno::ENFILE as i32 => {
                write!(f, "the host has no descriptors left ({})", Named(errno))
            }
            Cause::Descriptors { errno } => write!(f, "this process has no descriptors left ({})", Named(errno)),
            Cause::OperationRefused { check, errno } => {
                write!(f, "a ring can be made, but {check} ends with {}", Named(errno))
            }
            Cause::LoopbackDown => write!(f, "the interface lo is down"),
            Cause::NoPorts => write!(f, "no local port is free"),
            Cause::PortsReserved => {
                write!(f, "no local port is free: the sysctl net.ipv4.ip_local_reserved_ports reserves them all")
            }
            Cause::PortsInTimeWait => write!(f, "no local port is free: many are in TIME_WAIT"),
            Cause::AddressesRewritten => {
                write!(f, "something redirects connections on lo or rewrites their addresses: NAT, or an eBPF program")
            }
            Cause::LoopbackRefused { check, errno } => {
                write!(f, "{check} on 127.0.0.1 fails with {}", Named(errno))
            }
            Cause::Late { check } => write!(f, "{check} does not complete within seconds"),
            Cause::Died { check, signal: Some(signal) } => {
                write!(f, "a process that tried {check} died of signal {signal}")
            }
            Cause::Died { check, signal: None } => {
                write!(f, "a process that tried {check} died for an unknown reason")
            }
            Cause::NoChild { errno } => write!(
                f,
                "a seccomp filter is active, and no process could be started to find out whether it kills: {}",
                Named(errno)
            ),
            Cause::ChosenByEnvironment => write!(f, "RINGPAIR_BACKEND is epoll"),
            Cause::InvalidEnvironment => f.write_str(&invalid_environment()),
            Cause::Unknown { check, errno } => write!(f, "{check} fails with {}", Named(errno)),
        }
    }
}

fn invalid_environment() -> String {
    match chosen_by_the_environment() {
        Err(error) => error.cause().to_string(),
        Ok(_) => "an environment variable has an invalid value".to_owned(),
    }
}

/// Returns the system call that a seccomp filter sees.
fn call_of(check: Check) -> Check {
    let is_operation = Check::RING.contains(&check);
    match check {
        Check::RingSetup | Check::RingRegister => check,
        _ if is_operation => Check::RingEnter,
        _ => check,
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
    /// Returns the remedy, in words.
    pub fn remedy(&self) -> String {
        match self {
            Cause::KernelTooOld => "Boot Linux 5.6 or newer; 5.10 and later are in wide use.",
            Cause::NotBuiltIn => {
                "Boot a kernel with CONFIG_IO_URING=y; in a sandbox like gVisor, use another runtime or a virtual \
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
                 If it names none (-1), as root on the host: sysctl -w kernel.io_uring_group=GID with a group of \
                 yours; or open it to everyone: sysctl -w kernel.io_uring_disabled=0."
            }
            Cause::SeccompErrno { check, .. } | Cause::SeccompKill { check } if Check::RING.contains(check) => {
                ALLOW_THE_CALLS
            }
            Cause::SeccompKill { check: Check::Pair } => {
                "Allow the calls of socket(7) in the seccomp profile; audit records name the one that kills (journalctl -k)."
            }
            Cause::SeccompErrno { check, .. } | Cause::SeccompKill { check } => {
                return format!("Allow {check} in the seccomp profile.");
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
                 LimitMEMLOCK= of systemd, memlock in /etc/security/limits.conf; or give CAP_IPC_LOCK, which \
                 lifts the limit."
            }
            Cause::Descriptors { errno } if *errno == Errno::ENFILE as i32 => {
                "As root on the host, raise the sysctl fs.file-max, or find out what keeps so many files open."
            }
            Cause::Descriptors { .. } => {
                "Raise RLIMIT_NOFILE: ulimit -n, docker run --ulimit nofile=65536, LimitNOFILE= of systemd; or find out \
                 what this process keeps open in /proc/self/fd. A pair takes two descriptors, and two more while it is \
                 made."
            }
            Cause::OperationRefused { .. } => {
                "Rings are allowed, but this operation is not: look for a security module's denial (ausearch -m avc, \
                 journalctl -k), for ring restrictions that this process was started with, and for a sandbox that \
                 supports only a part of io_uring."
            }
            Cause::LoopbackDown => {
                "As root in this network namespace: ip link set lo up. In a new network namespace, made by unshare --net \
                 or for a container without network, lo is down at first."
            }
            Cause::NoPorts => {
                "Find out which sockets use the ports (ss -tan), or widen the range as root: sysctl -w \
                 net.ipv4.ip_local_port_range=\"1024 65535\"."
            }
            Cause::PortsReserved => {
                "As root, reserve fewer ports (sysctl -w net.ipv4.ip_local_reserved_ports=), or widen the range around \
                 them: sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"."
            }
            Cause::PortsInTimeWait => {
                "Wait a minute for TIME_WAIT to pass, or find out what leaves it (ss -tan state time-wait). As root: sysctl -w \
                 net.ipv4.ip_local_port_range=\"1024 65535\"."
            }
            Cause::AddressesRewritten => {
                "Exempt lo from address translation and redirection: look at the NAT rules (nft list ruleset, \
                 iptables-save -t nat) and at eBPF programs of cgroups (bpftool cgroup tree)."
            }
            Cause::LoopbackRefused { .. } => {
                "Find out what blocks TCP on 127.0.0.1: firewall and routing rules for lo (nft list ruleset, ip rule), a \
                 security module, a seccomp profile, systemd's RestrictAddressFamilies= and IPAddressDeny=."
            }
            Cause::Late { check } if Check::PLAIN.contains(check) => {
                "Something swallows or redirects packets on lo: look at its firewall and NAT rules and queueing \
                 disciplines (nft list ruleset, tc qdisc show dev lo). Or the host is overloaded: try again."
            }
            Cause::Late { .. } => {
                "Try again: the host may be overloaded. If it happens again, something delays the call: a seccomp \
                 supervisor (SECCOMP_RET_USER_NOTIF) or a sandbox."
            }
            Cause::Died { .. } => {
                "Find out what sent the signal: journalctl -k shows the out-of-memory killer and audit records; a sandbox \
                 has its own log."
            }
            Cause::NoChild { .. } => {
                "Let this user start processes: ulimit -u, the pids limit of the container (docker run --pids-limit) or \
                 the cgroup (pids.max), and memory."
            }
            Cause::ChosenByEnvironment => "Unset RINGPAIR_BACKEND to make pairs through io_uring.",
            Cause::InvalidEnvironment => "Set it to a valid value, or unset it.",
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

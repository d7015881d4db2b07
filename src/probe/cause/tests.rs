//! Every cause has its text and a remedy.

use Check::*;
use nix::errno::Errno;

use super::*;

const EPERM: i32 = Errno::EPERM as i32;
const EACCES: i32 = Errno::EACCES as i32;
const EOPNOTSUPP: i32 = Errno::EOPNOTSUPP as i32;
const EMFILE: i32 = Errno::EMFILE as i32;
const ENFILE: i32 = Errno::ENFILE as i32;
const ENETUNREACH: i32 = Errno::ENETUNREACH as i32;

#[test]
fn every_cause_has_a_text_and_a_concrete_remedy() {
    let seccomp = ["io_uring_setup, io_uring_enter and io_uring_register", "SCMP_ACT_ALLOW", "--security-opt seccomp="];
    let (check, errno) = (RingSetup, EPERM);
    let table: [(Cause, &str, &[&str]); 32] = [
        (Cause::KernelTooOld, "the kernel is too old: pairs through io_uring need Linux 5.6", &["5.6"]),
        (
            Cause::NotBuiltIn,
            "this kernel has no io_uring: built without CONFIG_IO_URING, or replaced by a sandbox",
            &["CONFIG_IO_URING=y"],
        ),
        (
            Cause::NotBuiltInOrSeccomp,
            "io_uring_setup fails with ENOSYS: the kernel has no io_uring, or a seccomp filter blocks it",
            &["CONFIG_IO_URING=y", seccomp[0], seccomp[1]],
        ),
        (
            Cause::DisabledBySysctl,
            "the sysctl kernel.io_uring_disabled is 2: no process may make a ring",
            &["sysctl -w kernel.io_uring_disabled=0", "kernel.io_uring_group=GID"],
        ),
        (
            Cause::NotInGroup,
            "the sysctl kernel.io_uring_disabled is 1, and this process is neither in kernel.io_uring_group nor does \
             it have CAP_SYS_ADMIN on the host",
            &["kernel.io_uring_group", "usermod -aG", "--group-add", "kernel.io_uring_disabled=0"],
        ),
        (Cause::SeccompErrno { check, errno }, "a seccomp filter answers io_uring_setup with EPERM", &seccomp),
        (
            Cause::SeccompErrno { check: Socket, errno },
            "a seccomp filter answers socket with EPERM",
            &["Allow socket in the seccomp profile."],
        ),
        (Cause::SeccompKill { check }, "a seccomp filter kills callers of io_uring_setup", &seccomp),
        (Cause::SeccompKill { check: RingRead }, "a seccomp filter kills callers of io_uring_enter", &seccomp),
        (
            Cause::SeccompErrno { check: SetOption, errno },
            "a seccomp filter answers setsockopt with EPERM",
            &["Allow setsockopt in the seccomp profile."],
        ),
        (
            Cause::SeccompKill { check: Pair },
            "a seccomp filter kills the process that makes a pair",
            &["journalctl -k"],
        ),
        (
            Cause::SeccompKill { check: Bind },
            "a seccomp filter kills callers of bind",
            &["Allow bind in the seccomp profile."],
        ),
        (
            Cause::SecurityModule { check, errno: EACCES },
            "a security module (SELinux, AppArmor or BPF) answers io_uring_setup with EACCES",
            &["SELinux", "AppArmor", "ausearch"],
        ),
        (
            Cause::Sandbox { check, errno: EOPNOTSUPP },
            "a sandbox replaces the kernel and answers io_uring_setup with EOPNOTSUPP",
            &["virtual machine"],
        ),
        (
            Cause::LockedMemory,
            "RLIMIT_MEMLOCK has no room for a ring beside the other rings of this user",
            &["ulimit -l", "--ulimit memlock=-1", "LimitMEMLOCK=", "CAP_IPC_LOCK"],
        ),
        (
            Cause::Descriptors { errno: EMFILE },
            "this process has no descriptors left (EMFILE)",
            &["RLIMIT_NOFILE", "ulimit -n"],
        ),
        (Cause::Descriptors { errno: ENFILE }, "the host has no descriptors left (ENFILE)", &["fs.file-max"]),
        (
            Cause::OperationRefused { check: RingConnect, errno: EACCES },
            "a ring can be made, but IORING_OP_CONNECT ends with EACCES",
            &["security module"],
        ),
        (Cause::LoopbackDown, "the interface lo is down", &["ip link set lo up"]),
        (Cause::NoPorts, "no local port is free", &["net.ipv4.ip_local_port_range", "ss -tan"]),
        (
            Cause::PortsReserved,
            "no local port is free: the sysctl net.ipv4.ip_local_reserved_ports reserves them all",
            &["net.ipv4.ip_local_reserved_ports"],
        ),
        (
            Cause::PortsInTimeWait,
            "no local port is free: many are in TIME_WAIT",
            &["net.ipv4.ip_local_port_range", "TIME_WAIT"],
        ),
        (
            Cause::AddressesRewritten,
            "something redirects connections on lo or rewrites their addresses: NAT, or an eBPF program",
            &["nft list ruleset", "bpftool"],
        ),
        (
            Cause::LoopbackRefused { check: Connect, errno: ENETUNREACH },
            "connect on 127.0.0.1 fails with ENETUNREACH",
            &["firewall"],
        ),
        (Cause::Late { check: Connect }, "connect does not complete within seconds", &["tc qdisc show dev lo"]),
        (Cause::Late { check: RingEnter }, "io_uring_enter does not complete within seconds", &["USER_NOTIF"]),
        (
            Cause::Died { check, signal: Some(9) },
            "a process that tried io_uring_setup died of signal 9",
            &["journalctl -k"],
        ),
        (
            Cause::Died { check, signal: None },
            "a process that tried io_uring_setup died for an unknown reason",
            &["journalctl -k"],
        ),
        (
            Cause::NoChild { errno: 11 },
            "a seccomp filter is active, and no process could be started to find out whether it kills: EAGAIN",
            &["ulimit -u", "--pids-limit"],
        ),
        (Cause::ChosenByEnvironment, "RINGPAIR_BACKEND is epoll", &["Unset RINGPAIR_BACKEND"]),
        (Cause::InvalidEnvironment, "an environment variable has an invalid value", &["unset it"]),
        (Cause::Unknown { check, errno: 4095 }, "io_uring_setup fails with errno 4095", &["strace", "report"]),
    ];
    for (cause, text, remedies) in table {
        assert_eq!(cause.to_string(), text);
        let remedy = cause.remedy();
        for part in remedies {
            assert!(remedy.contains(part), "{cause:?} should mention {part}: {remedy}");
        }
        assert!(!remedy.contains("unconfined"), "{remedy}");
        assert!(!remedy.contains("  ") && remedy.ends_with('.'), "{remedy}");
    }
}

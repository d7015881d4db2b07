//! Every cause has its words and a remedy.

use Attempt::*;
use nix::errno::Errno;

use super::*;

const EPERM: i32 = Errno::EPERM as i32;
const EACCES: i32 = Errno::EACCES as i32;
const EOPNOTSUPP: i32 = Errno::EOPNOTSUPP as i32;
const EMFILE: i32 = Errno::EMFILE as i32;
const ENFILE: i32 = Errno::ENFILE as i32;
const ENETUNREACH: i32 = Errno::ENETUNREACH as i32;

#[test]
fn every_cause_has_its_words_and_a_remedy_that_names_a_knob() {
    let seccomp = ["io_uring_setup, io_uring_enter and io_uring_register", "SCMP_ACT_ALLOW", "--security-opt seccomp="];
    let (attempt, errno) = (RingSetup, EPERM);
    let table: [(Cause, &str, &[&str]); 32] = [
        (Cause::KernelTooOld, "the kernel is too old: Linux 5.6 is the first with all that is needed", &["5.6"]),
        (
            Cause::NotBuiltIn,
            "this kernel has no io_uring: built without CONFIG_IO_URING, or a sandbox stands in for it",
            &["CONFIG_IO_URING=y"],
        ),
        (
            Cause::NotBuiltInOrSeccomp,
            "io_uring_setup is answered with ENOSYS: by a kernel without io_uring, or by a seccomp filter",
            &["CONFIG_IO_URING=y", seccomp[0], seccomp[1]],
        ),
        (
            Cause::DisabledBySysctl,
            "the sysctl kernel.io_uring_disabled is 2: no process may make a ring",
            &["sysctl -w kernel.io_uring_disabled=0", "kernel.io_uring_group=GID"],
        ),
        (
            Cause::NotInGroup,
            "the sysctl kernel.io_uring_disabled is 1, and this process is neither in kernel.io_uring_group nor has it \
             CAP_SYS_ADMIN on the host",
            &["kernel.io_uring_group", "usermod -aG", "--group-add", "kernel.io_uring_disabled=0"],
        ),
        (Cause::SeccompErrno { attempt, errno }, "a seccomp filter answers io_uring_setup with EPERM", &seccomp),
        (
            Cause::SeccompErrno { attempt: Socket, errno },
            "a seccomp filter answers socket with EPERM",
            &["Allow socket in the seccomp profile."],
        ),
        (Cause::SeccompKill { attempt }, "a seccomp filter kills callers of io_uring_setup", &seccomp),
        (Cause::SeccompKill { attempt: RingRead }, "a seccomp filter kills callers of io_uring_enter", &seccomp),
        (
            Cause::SeccompErrno { attempt: SetOption, errno },
            "a seccomp filter answers setsockopt with EPERM",
            &["Allow setsockopt in the seccomp profile."],
        ),
        (
            Cause::SeccompKill { attempt: Pair },
            "a seccomp filter kills the process that makes a pair",
            &["journalctl -k"],
        ),
        (
            Cause::SeccompKill { attempt: Bind },
            "a seccomp filter kills callers of bind",
            &["Allow bind in the seccomp profile."],
        ),
        (
            Cause::SecurityModule { attempt, errno: EACCES },
            "a security module (SELinux, AppArmor or BPF) answers io_uring_setup with EACCES",
            &["SELinux", "AppArmor", "ausearch"],
        ),
        (
            Cause::Sandbox { attempt, errno: EOPNOTSUPP },
            "a sandbox stands in for the kernel and answers io_uring_setup with EOPNOTSUPP",
            &["virtual machine"],
        ),
        (
            Cause::LockedMemory,
            "RLIMIT_MEMLOCK has no room for a ring, beside the other rings of this user",
            &["ulimit -l", "--ulimit memlock=-1", "LimitMEMLOCK=", "CAP_IPC_LOCK"],
        ),
        (
            Cause::Descriptors { errno: EMFILE },
            "this process has no descriptors left (EMFILE)",
            &["RLIMIT_NOFILE", "ulimit -n"],
        ),
        (Cause::Descriptors { errno: ENFILE }, "the host has no descriptors left (ENFILE)", &["fs.file-max"]),
        (
            Cause::OperationRefused { attempt: RingConnect, errno: EACCES },
            "a ring can be made, but IORING_OP_CONNECT ends with EACCES",
            &["security module"],
        ),
        (Cause::LoopbackDown, "the interface lo is down", &["ip link set lo up"]),
        (Cause::NoPorts, "no local port is left", &["net.ipv4.ip_local_port_range", "ss -tan"]),
        (
            Cause::PortsReserved,
            "no local port is left: the sysctl net.ipv4.ip_local_reserved_ports takes them all",
            &["net.ipv4.ip_local_reserved_ports"],
        ),
        (
            Cause::PortsInTimeWait,
            "no local port is left: many are in TIME_WAIT",
            &["net.ipv4.ip_local_port_range", "TIME_WAIT"],
        ),
        (
            Cause::AddressesRewritten,
            "something redirects connections on lo or rewrites their addresses: NAT, or an eBPF program",
            &["nft list ruleset", "bpftool"],
        ),
        (
            Cause::LoopbackRefused { attempt: Connect, errno: ENETUNREACH },
            "connect on 127.0.0.1 is answered with ENETUNREACH",
            &["firewall"],
        ),
        (Cause::Late { attempt: Connect }, "connect is not through within seconds", &["tc qdisc show dev lo"]),
        (Cause::Late { attempt: RingEnter }, "io_uring_enter is not through within seconds", &["USER_NOTIF"]),
        (
            Cause::Died { attempt, signal: Some(9) },
            "a process that tried io_uring_setup died of signal 9",
            &["journalctl -k"],
        ),
        (
            Cause::Died { attempt, signal: None },
            "a process that tried io_uring_setup died, of what cannot be told",
            &["journalctl -k"],
        ),
        (
            Cause::NoChild { errno: 11 },
            "a seccomp filter is in force, and no process could be started to try whether it kills: EAGAIN",
            &["ulimit -u", "--pids-limit"],
        ),
        (Cause::ChosenByEnvironment, "RINGPAIR_BACKEND is epoll", &["Unset RINGPAIR_BACKEND"]),
        (Cause::InvalidEnvironment, "a variable of the environment has a value that it does not take", &["unset it"]),
        (Cause::Unknown { attempt, errno: 4095 }, "io_uring_setup is answered with errno 4095", &["strace", "report"]),
    ];
    for (cause, text, remedies) in table {
        assert_eq!(cause.to_string(), text);
        let remedy = cause.remedy();
        for part in remedies {
            assert!(remedy.contains(part), "{cause:?} should speak of {part}: {remedy}");
        }
        assert!(!remedy.contains("unconfined"), "{remedy}");
        assert!(!remedy.contains("  ") && remedy.ends_with('.'), "{remedy}");
    }
}

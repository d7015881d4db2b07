//! Facts on one side, verdict and cause on the other.

use super::*;
use Attempt::*;

const EPERM: i32 = Errno::EPERM as i32;
const ENOSYS: i32 = Errno::ENOSYS as i32;
const EACCES: i32 = Errno::EACCES as i32;
const EOPNOTSUPP: i32 = Errno::EOPNOTSUPP as i32;
const ENOMEM: i32 = Errno::ENOMEM as i32;
const EINVAL: i32 = Errno::EINVAL as i32;
const EMFILE: i32 = Errno::EMFILE as i32;
const ENFILE: i32 = Errno::ENFILE as i32;
const EADDRINUSE: i32 = Errno::EADDRINUSE as i32;
const EADDRNOTAVAIL: i32 = Errno::EADDRNOTAVAIL as i32;
const ENETUNREACH: i32 = Errno::ENETUNREACH as i32;

/// A new kernel where nothing is in the way, asked by an ordinary user.
fn host() -> Host {
    Host {
        kernel_release: Some("6.18.44".to_owned()),
        loopback_up: Some(true),
        io_uring_disabled: Some(0),
        io_uring_group: Some(-1),
        in_io_uring_group: Some(false),
        seccomp: Some(0),
        initial_user_namespace: Some(true),
        cap_sys_admin: Some(false),
        cap_ipc_lock: Some(false),
        locked_memory: Some(super::super::Limit { soft: Some(64 << 10), hard: Some(64 << 10) }),
        ..Host::default()
    }
}

fn host_with(change: impl FnOnce(&mut Host)) -> Host {
    let mut host = host();
    change(&mut host);
    host
}

fn all_worked() -> Tried {
    let mut tried = Tried::nothing();
    Attempt::all().for_each(|attempt| tried.set(attempt, Outcome::Worked));
    tried
}

/// Everything works up to this attempt, and what would come after it is not tried; plain calls and rings by themselves.
fn all_until(attempt: Attempt, outcome: Outcome) -> Tried {
    let mut tried = all_worked();
    let after = Attempt::all().skip_while(|found| *found != attempt);
    let plain = Attempt::PLAIN.contains(&attempt);
    after
        .filter(|found| !plain || !Attempt::RING[..2].contains(found))
        .for_each(|found| tried.set(found, Outcome::Untried));
    tried.set(attempt, outcome);
    tried
}

fn refused(attempt: Attempt, errno: i32) -> Tried {
    all_until(attempt, Outcome::Refused { errno })
}

fn assert_epoll(host: &Host, tried: &Tried, cause: Cause) {
    assert_eq!(judge(host, tried, None), (Verdict::Epoll, Some(cause)), "{host:?}");
}

fn assert_nothing(host: &Host, tried: &Tried, cause: Cause) {
    assert_eq!(judge(host, tried, None), (Verdict::Nothing, Some(cause)), "{host:?}");
}

fn filtered(host: &mut Host) {
    host.seccomp = Some(2);
}

#[test]
fn a_ring_that_does_everything_is_a_ring_whatever_the_host_says() {
    for host in [host(), Host::default(), host_with(filtered), host_with(|host| host.io_uring_disabled = Some(2))] {
        assert_eq!(judge(&host, &all_worked(), None), (Verdict::Ring, None));
    }
}

#[test]
fn flags_and_questions_that_are_refused_are_no_hindrance() {
    let mut tried = all_worked();
    for attempt in [RingRegister, FlagCoopTaskrun, FlagSingleIssuer, FlagDeferTaskrun] {
        tried.set(attempt, Outcome::Refused { errno: EINVAL });
    }
    assert_eq!(judge(&host(), &tried, None), (Verdict::Ring, None));
}

#[test]
fn enosys_is_an_old_kernel_a_filter_or_a_kernel_without() {
    let tried = refused(RingSetup, ENOSYS);
    let old = |host: &mut Host| host.kernel_release = Some("4.18.0-553.el8".to_owned());
    assert_epoll(&host_with(old), &tried, Cause::KernelTooOld);
    assert_epoll(
        &host_with(|host| {
            old(host);
            filtered(host);
        }),
        &tried,
        Cause::KernelTooOld,
    );
    assert_epoll(&host_with(filtered), &tried, Cause::SeccompErrno { attempt: RingSetup, errno: ENOSYS });
    assert_epoll(&host(), &tried, Cause::NotBuiltIn);
    assert_epoll(&Host::default(), &tried, Cause::NotBuiltIn);
}

#[test]
fn eperm_is_the_sysctl_where_that_explains_it() {
    let tried = refused(RingSetup, EPERM);
    let disabled = |value| move |host: &mut Host| host.io_uring_disabled = Some(value);
    assert_epoll(&host_with(disabled(2)), &tried, Cause::DisabledBySysctl);
    assert_epoll(&host_with(disabled(1)), &tried, Cause::NotInGroup);
    for also in [filtered, |host: &mut Host| host.cap_sys_admin = None, |host: &mut Host| host.in_io_uring_group = None]
    {
        let with_both = |value| {
            host_with(|host| {
                disabled(value)(host);
                also(host);
            })
        };
        assert_epoll(&with_both(2), &tried, Cause::DisabledBySysctl);
        assert_epoll(&with_both(1), &tried, Cause::NotInGroup);
    }
    // Capabilities and groups of another user namespace are not those that the kernel asks for.
    for powerful in
        [|host: &mut Host| host.cap_sys_admin = Some(true), |host: &mut Host| host.in_io_uring_group = Some(true)]
    {
        let elsewhere = host_with(|host| {
            disabled(1)(host);
            powerful(host);
            host.initial_user_namespace = Some(false);
        });
        assert_epoll(&elsewhere, &tried, Cause::NotInGroup);
    }
}

#[test]
fn eperm_is_the_filter_where_the_sysctl_does_not_explain_it() {
    let tried = refused(RingSetup, EPERM);
    let cause = Cause::SeccompErrno { attempt: RingSetup, errno: EPERM };
    assert_epoll(&host_with(filtered), &tried, cause);
    for allowed in
        [|host: &mut Host| host.cap_sys_admin = Some(true), |host: &mut Host| host.in_io_uring_group = Some(true)]
    {
        let host = host_with(|host| {
            filtered(host);
            host.io_uring_disabled = Some(1);
            allowed(host);
        });
        assert_epoll(&host, &tried, cause);
    }
    let before_the_sysctl = host_with(|host| {
        filtered(host);
        (host.io_uring_disabled, host.io_uring_group, host.in_io_uring_group) = (None, None, None);
    });
    assert_epoll(&before_the_sysctl, &tried, cause);
}

#[test]
fn eperm_that_neither_filter_nor_sysctl_explains_is_a_module_or_unknown() {
    let tried = refused(RingSetup, EPERM);
    assert_epoll(&host(), &tried, Cause::SecurityModule { attempt: RingSetup, errno: EPERM });
    assert_epoll(&Host::default(), &tried, Cause::Unknown { attempt: RingSetup, errno: EPERM });
}

#[test]
fn eacces_is_a_module_unless_only_a_filter_is_there() {
    let tried = refused(RingSetup, EACCES);
    let module = Cause::SecurityModule { attempt: RingSetup, errno: EACCES };
    let labelled = |label: &'static str| move |host: &mut Host| host.security_label = Some(label.to_owned());
    assert_epoll(&host(), &tried, module);
    assert_epoll(&Host::default(), &tried, module);
    let both = |label| {
        host_with(|host| {
            filtered(host);
            labelled(label)(host);
        })
    };
    assert_epoll(&both("system_u:system_r:container_t:s0:c1,c2"), &tried, module);
    let filter = Cause::SeccompErrno { attempt: RingSetup, errno: EACCES };
    assert_epoll(&both("unconfined"), &tried, filter);
    assert_epoll(&host_with(filtered), &tried, filter);
}

#[test]
fn eopnotsupp_is_a_sandbox_unless_a_filter_is_there() {
    let tried = refused(RingSetup, EOPNOTSUPP);
    assert_epoll(&host(), &tried, Cause::Sandbox { attempt: RingSetup, errno: EOPNOTSUPP });
    assert_epoll(&host_with(filtered), &tried, Cause::SeccompErrno { attempt: RingSetup, errno: EOPNOTSUPP });
}

#[test]
fn enomem_is_locked_memory_where_that_is_limited() {
    let tried = refused(RingSetup, ENOMEM);
    assert_epoll(&host(), &tried, Cause::LockedMemory);
    let unknown = Cause::Unknown { attempt: RingSetup, errno: ENOMEM };
    assert_epoll(&host_with(|host| host.cap_ipc_lock = Some(true)), &tried, unknown);
    assert_epoll(
        &host_with(|host| host.locked_memory = Some(super::super::Limit { soft: None, hard: None })),
        &tried,
        unknown,
    );
    let elsewhere = host_with(|host| (host.cap_ipc_lock, host.initial_user_namespace) = (Some(true), Some(false)));
    assert_epoll(&elsewhere, &tried, Cause::LockedMemory);
}

#[test]
fn what_kills_is_a_filter_by_its_signal_or_by_being_there() {
    for attempt in [RingSetup, RingRegister, RingEnter] {
        let died = |signal| all_until(attempt, Outcome::Died { signal });
        let cause = Cause::SeccompKill { attempt };
        assert_epoll(&host_with(filtered), &died(Some(SIGSYS)), cause);
        assert_epoll(&Host::default(), &died(Some(SIGSYS)), cause);
        assert_epoll(&host_with(filtered), &died(None), cause);
        assert_epoll(&host(), &died(None), Cause::Died { attempt, signal: None });
        assert_epoll(&host_with(filtered), &died(Some(9)), Cause::Died { attempt, signal: Some(9) });
    }
}

#[test]
fn a_ring_that_cannot_be_entered_is_told_from_one_that_cannot_be_made() {
    for errno in [EPERM, ENOSYS, EACCES, EOPNOTSUPP] {
        let cause = Cause::SeccompErrno { attempt: RingEnter, errno };
        assert_epoll(&host_with(filtered), &refused(RingEnter, errno), cause);
    }
    let busy = Errno::EBUSY as i32;
    assert_epoll(&host(), &refused(RingEnter, busy), Cause::Unknown { attempt: RingEnter, errno: busy });
    assert_epoll(&host(), &refused(RingEnter, ENOSYS), Cause::Sandbox { attempt: RingEnter, errno: ENOSYS });
}

#[test]
fn an_operation_that_is_refused_is_named_with_its_errno() {
    for attempt in [RingConnect, RingAccept, RingWrite, RingRead, RingClose, RingTimeout, RingCancel] {
        for errno in [EINVAL, EACCES, EOPNOTSUPP] {
            assert_epoll(&host(), &refused(attempt, errno), Cause::OperationRefused { attempt, errno });
        }
        assert_epoll(&host(), &refused(attempt, EMFILE), Cause::Descriptors { errno: EMFILE });
        assert_epoll(&host(), &all_until(attempt, Outcome::Late), Cause::Late { attempt });
        let old = host_with(|host| host.kernel_release = Some("5.4.0".to_owned()));
        assert_epoll(&old, &refused(attempt, EINVAL), Cause::KernelTooOld);
    }
}

#[test]
fn an_operation_is_blamed_also_where_the_questions_were_refused() {
    let mut tried = refused(RingRead, EACCES);
    tried.set(RingRegister, Outcome::Refused { errno: EPERM });
    assert_epoll(&host(), &tried, Cause::OperationRefused { attempt: RingRead, errno: EACCES });
}

#[test]
fn without_connections_on_loopback_there_is_nothing_and_their_cause_counts() {
    let down = host_with(|host| host.loopback_up = Some(false));
    assert_nothing(&down, &refused(Bind, EADDRNOTAVAIL), Cause::LoopbackDown);
    assert_nothing(&down, &refused(Connect, ENETUNREACH), Cause::LoopbackDown);
    assert_nothing(&down, &all_until(Connect, Outcome::Late), Cause::LoopbackDown);
    assert_nothing(&host(), &refused(Connect, EADDRNOTAVAIL), Cause::NoPorts);
    assert_nothing(&host(), &refused(Bind, EADDRINUSE), Cause::NoPorts);
    let unreachable = Cause::LoopbackRefused { attempt: Connect, errno: ENETUNREACH };
    assert_nothing(&host(), &refused(Connect, ENETUNREACH), unreachable);
    assert_nothing(&host(), &all_until(Accept, Outcome::Late), Cause::Late { attempt: Accept });
    assert_nothing(
        &host_with(filtered),
        &refused(Socket, EPERM),
        Cause::SeccompErrno { attempt: Socket, errno: EPERM },
    );
    // Routes and firewalls answer through connect, so a filter is not to blame just for being there.
    let barred = Cause::LoopbackRefused { attempt: Connect, errno: EACCES };
    assert_nothing(&host_with(filtered), &refused(Connect, EACCES), barred);
    for errno in [EMFILE, ENFILE] {
        assert_nothing(&host(), &refused(Socket, errno), Cause::Descriptors { errno });
    }
    let killed = all_until(Bind, Outcome::Died { signal: Some(SIGSYS) });
    assert_nothing(&host(), &killed, Cause::SeccompKill { attempt: Bind });
}

#[test]
fn a_child_that_left_without_a_word_leaves_a_cause_all_the_same() {
    assert_nothing(&host(), &Tried::nothing(), Cause::Died { attempt: Socket, signal: None });
    let mut tried = Tried::nothing();
    Attempt::PLAIN.into_iter().for_each(|attempt| tried.set(attempt, Outcome::Worked));
    assert_epoll(&host(), &tried, Cause::Died { attempt: RingSetup, signal: None });
}

#[test]
fn without_a_child_nothing_is_known_to_work() {
    let nothing = |errno| judge(&host(), &Tried::nothing(), Some(errno));
    assert_eq!(nothing(EMFILE), (Verdict::Nothing, Some(Cause::Descriptors { errno: EMFILE })));
    assert_eq!(nothing(11), (Verdict::Nothing, Some(Cause::NoChild { errno: 11 })));
}

#[test]
fn every_cause_has_its_words_and_a_remedy_that_names_what_to_turn() {
    let seccomp = ["io_uring_setup, io_uring_enter and io_uring_register", "SCMP_ACT_ALLOW", "--security-opt seccomp="];
    let (attempt, errno) = (RingSetup, EPERM);
    let table: [(Cause, &str, &[&str]); 24] = [
        (Cause::KernelTooOld, "the kernel is too old: Linux 5.6 is the first with all that is needed", &["5.6"]),
        (
            Cause::NotBuiltIn,
            "this kernel has no io_uring: built without CONFIG_IO_URING, or a sandbox stands in for it",
            &["CONFIG_IO_URING=y"],
        ),
        (
            Cause::DisabledBySysctl,
            "the sysctl kernel.io_uring_disabled is 2: nobody may make a ring",
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
        (Cause::SeccompKill { attempt }, "a seccomp filter kills whoever calls io_uring_setup", &seccomp),
        (Cause::SeccompKill { attempt: RingRead }, "a seccomp filter kills whoever calls io_uring_enter", &seccomp),
        (
            Cause::SeccompKill { attempt: Bind },
            "a seccomp filter kills whoever calls bind",
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
            "the rings of this user have used up RLIMIT_MEMLOCK",
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
        (Cause::NoPorts, "no local port is left", &["net.ipv4.ip_local_port_range", "TIME_WAIT"]),
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
            "no process could be started to try anything in: EAGAIN",
            &["ulimit -u", "--pids-limit"],
        ),
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

//! Facts on one side, verdict and cause on the other.

use Check::*;

use super::*;
use crate::probe::Limit;

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
        sysctls_readable: true,
        loopback_up: Some(true),
        io_uring_disabled: Some(0),
        io_uring_group: Some(-1),
        in_io_uring_group: Some(false),
        seccomp: Some(0),
        initial_user_namespace: Some(true),
        cap_sys_admin: Some(false),
        cap_ipc_lock: Some(false),
        locked_memory: Some(Limit { soft: Some(64 << 10), hard: Some(64 << 10) }),
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
    Check::all().for_each(|check| tried.set(check, Outcome::Worked));
    tried
}

/// Everything works up to this check, and what would come after it is not tried; plain calls and rings by themselves.
fn all_until(check: Check, outcome: Outcome) -> Tried {
    let mut tried = all_worked();
    let plain = Check::PLAIN.contains(&check);
    let after = Check::all().skip_while(|found| *found != check);
    after
        .filter(|found| !plain || !Check::RING[..2].contains(found))
        .filter(|found| !Check::PAIRS.contains(found))
        .for_each(|found| tried.set(found, Outcome::Untried));
    tried.set(check, outcome);
    tried
}

fn refused(check: Check, errno: i32) -> Tried {
    all_until(check, Outcome::Refused { errno })
}

fn judged(host: &Host, tried: &Tried, made: Option<PairOutcome>) -> (Verdict, Option<Cause>) {
    judge(host, &Findings { tried: tried.clone(), made, ..Findings::none() }, false)
}

/// The ring is absent, and a pair was made by epoll.
fn assert_epoll(host: &Host, tried: &Tried, cause: Cause) {
    let made = Some(PairOutcome::By(Backend::Epoll));
    assert_eq!(judged(host, tried, made), (Verdict::Epoll, Some(cause)), "{host:?}");
}

/// A pair failed at this step, with the errno of the first part that was refused.
fn assert_fails(step: Step, host: &Host, tried: &Tried, cause: Cause) {
    let errno = Check::parts().find_map(|check| match tried.outcome(check) {
        Outcome::Refused { errno } => Some(errno),
        _ => None,
    });
    let made = Some(PairOutcome::Failed { step, errno: errno.unwrap_or(Errno::ETIMEDOUT as i32) });
    assert_eq!(judged(host, tried, made), (Verdict::Nothing, Some(cause)), "{host:?}");
}

/// A child that made a pair ended like this, and so did the part that was tried last.
fn assert_ends(host: &Host, tried: &Tried, verdict: Verdict, cause: Cause) {
    let mut tried = tried.clone();
    let is_an_end = |outcome: &Outcome| matches!(outcome, Outcome::Died { .. } | Outcome::Late);
    let end = Check::parts().map(|check| tried.outcome(check)).find(is_an_end);
    tried.set(Pair, end.unwrap());
    assert_eq!(judged(host, &tried, None), (verdict, Some(cause)), "{host:?}");
}

fn filtered(host: &mut Host) {
    host.seccomp = Some(2);
}

#[test]
fn a_pair_by_a_ring_is_a_ring_whatever_else_was_found() {
    let mut tried = all_worked();
    for check in [RingRegister, RingWrite, RingRead, RingClose, FlagsNone, FlagCoopTaskrun, EpollCreate] {
        tried.set(check, Outcome::Refused { errno: EINVAL });
    }
    let ring = Some(PairOutcome::By(Backend::Uring));
    for host in [host(), Host::default(), host_with(filtered), host_with(|host| host.io_uring_disabled = Some(2))] {
        assert_eq!(judged(&host, &all_worked(), ring), (Verdict::Ring, None));
        assert_eq!(judged(&host, &tried, ring), (Verdict::Ring, None));
    }
}

#[test]
fn epoll_that_the_environment_chose_has_that_for_a_cause() {
    let made = Some(PairOutcome::By(Backend::Epoll));
    let findings = Findings { tried: refused(RingSetup, EPERM), made, ..Findings::none() };
    assert_eq!(judge(&host(), &findings, true), (Verdict::Epoll, Some(Cause::ChosenByEnvironment)));
}

#[test]
fn enosys_is_an_old_kernel_with_and_without_a_filter() {
    let tried = refused(RingSetup, ENOSYS);
    let old = |host: &mut Host| (host.kernel_release, host.io_uring_disabled) = (Some("4.18.0-553.el8".into()), None);
    assert_epoll(&host_with(old), &tried, Cause::KernelTooOld);
    let both = host_with(|host| {
        old(host);
        filtered(host);
    });
    assert_epoll(&both, &tried, Cause::KernelTooOld);
}

#[test]
fn enosys_is_told_apart_by_the_sysctl_of_io_uring() {
    let tried = refused(RingSetup, ENOSYS);
    let without = |host: &mut Host| host.io_uring_disabled = None;
    // The kernel has io_uring, so it is not the kernel that says so.
    assert_epoll(&host_with(filtered), &tried, Cause::SeccompErrno { check: RingSetup, errno: ENOSYS });
    assert_epoll(&host(), &tried, Cause::Sandbox { check: RingSetup, errno: ENOSYS });
    assert_epoll(&host_with(without), &tried, Cause::NotBuiltIn);
    let in_a_container = host_with(|host| {
        without(host);
        filtered(host);
    });
    assert_epoll(&in_a_container, &tried, Cause::NotBuiltIn);
}

#[test]
fn enosys_that_nothing_tells_apart_is_either() {
    let tried = refused(RingSetup, ENOSYS);
    let before_the_sysctl =
        |host: &mut Host| (host.kernel_release, host.io_uring_disabled) = (Some("6.1.0".into()), None);
    let without_proc = |host: &mut Host| (host.sysctls_readable, host.io_uring_disabled) = (false, None);
    for unknown in [before_the_sysctl, without_proc] {
        assert_epoll(&host_with(unknown), &tried, Cause::NotBuiltIn);
        let with_a_filter = host_with(|host| {
            unknown(host);
            filtered(host);
        });
        assert_epoll(&with_a_filter, &tried, Cause::NotBuiltInOrSeccomp);
    }
    assert_epoll(&Host::default(), &tried, Cause::NotBuiltInOrSeccomp);
}

#[test]
fn eperm_is_the_sysctl_if_that_explains_it() {
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
fn eperm_is_the_filter_if_the_sysctl_does_not_explain_it() {
    let tried = refused(RingSetup, EPERM);
    let cause = Cause::SeccompErrno { check: RingSetup, errno: EPERM };
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
fn eperm_that_neither_explains_is_a_module_or_unknown() {
    let tried = refused(RingSetup, EPERM);
    assert_epoll(&host(), &tried, Cause::SecurityModule { check: RingSetup, errno: EPERM });
    assert_epoll(&Host::default(), &tried, Cause::Unknown { check: RingSetup, errno: EPERM });
}

#[test]
fn eacces_is_a_module_unless_only_a_filter_is_there() {
    let tried = refused(RingSetup, EACCES);
    let module = Cause::SecurityModule { check: RingSetup, errno: EACCES };
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
    let filter = Cause::SeccompErrno { check: RingSetup, errno: EACCES };
    assert_epoll(&both("unconfined"), &tried, filter);
    assert_epoll(&host_with(filtered), &tried, filter);
}

#[test]
fn eopnotsupp_is_a_sandbox_unless_a_filter_is_there() {
    let tried = refused(RingSetup, EOPNOTSUPP);
    assert_epoll(&host(), &tried, Cause::Sandbox { check: RingSetup, errno: EOPNOTSUPP });
    assert_epoll(&host_with(filtered), &tried, Cause::SeccompErrno { check: RingSetup, errno: EOPNOTSUPP });
}

#[test]
fn a_ring_that_fails_is_nothing_and_keeps_its_cause() {
    let tried = refused(RingSetup, ENOMEM);
    let fails = |host: &Host, cause| assert_fails(Step::Ring, host, &tried, cause);
    fails(&host(), Cause::LockedMemory);
    let unknown = Cause::Unknown { check: RingSetup, errno: ENOMEM };
    fails(&host_with(|host| host.cap_ipc_lock = Some(true)), unknown);
    fails(&host_with(|host| host.locked_memory = Some(Limit { soft: None, hard: None })), unknown);
    let elsewhere = host_with(|host| (host.cap_ipc_lock, host.initial_user_namespace) = (Some(true), Some(false)));
    fails(&elsewhere, Cause::LockedMemory);
    for errno in [EINVAL, Errno::EBADF as i32] {
        let tried = refused(RingSetup, errno);
        assert_fails(Step::Ring, &host(), &tried, Cause::Unknown { check: RingSetup, errno });
        assert_fails(Step::Ring, &host_with(filtered), &tried, Cause::Unknown { check: RingSetup, errno });
    }
    assert_fails(Step::Ring, &host(), &refused(RingSetup, EMFILE), Cause::Descriptors { errno: EMFILE });
}

#[test]
fn the_errno_of_the_pair_counts_if_its_parts_met_another() {
    let made = |errno| Some(PairOutcome::Failed { step: Step::Ring, errno });
    let descriptors = (Verdict::Nothing, Some(Cause::Descriptors { errno: EMFILE }));
    assert_eq!(judged(&host(), &all_worked(), made(EMFILE)), descriptors);
    assert_eq!(judged(&host(), &refused(RingSetup, EPERM), made(EMFILE)), descriptors);
}

#[test]
fn a_ring_that_is_required_and_absent_is_nothing() {
    let tried = refused(RingSetup, EPERM);
    let cause = Cause::SeccompErrno { check: RingSetup, errno: EPERM };
    assert_fails(Step::Ring, &host_with(filtered), &tried, cause);
}

#[test]
fn a_ring_that_cannot_be_entered_is_nothing() {
    for errno in [EPERM, ENOSYS, EACCES, EOPNOTSUPP] {
        let cause = Cause::SeccompErrno { check: RingEnter, errno };
        assert_fails(Step::Ring, &host_with(filtered), &refused(RingEnter, errno), cause);
    }
    let busy = Errno::EBUSY as i32;
    let fails = |errno, cause| assert_fails(Step::Ring, &host(), &refused(RingEnter, errno), cause);
    fails(busy, Cause::Unknown { check: RingEnter, errno: busy });
    fails(ENOSYS, Cause::Sandbox { check: RingEnter, errno: ENOSYS });
}

#[test]
fn an_operation_that_is_refused_is_named_with_its_errno() {
    for (check, step) in [(RingConnect, Step::Connect), (RingAccept, Step::Accept)] {
        for errno in [EINVAL, EACCES, EOPNOTSUPP] {
            assert_fails(step, &host(), &refused(check, errno), Cause::OperationRefused { check, errno });
        }
        assert_fails(step, &host(), &refused(check, EMFILE), Cause::Descriptors { errno: EMFILE });
        assert_fails(Step::Timeout, &host(), &all_until(check, Outcome::Late), Cause::Late { check });
        let old = host_with(|host| host.kernel_release = Some("5.4.0".to_owned()));
        assert_epoll(&old, &refused(check, EINVAL), Cause::KernelTooOld);
    }
}

#[test]
fn a_filter_that_kills_for_setting_up_leaves_epoll() {
    for (host, signal) in
        [(host_with(filtered), Some(SIGSYS)), (Host::default(), Some(SIGSYS)), (host_with(filtered), None)]
    {
        let tried = all_until(RingSetup, Outcome::Died { signal });
        assert_epoll(&host, &tried, Cause::SeccompKill { check: RingSetup });
    }
}

#[test]
fn a_filter_that_kills_for_anything_else_leaves_nothing() {
    for check in [RingRegister, RingEnter, Socket, SetOption, Bind, LocalAddress, Listen, Connect, Accept, PeerAddress]
    {
        let died = |signal| all_until(check, Outcome::Died { signal });
        let cause = Cause::SeccompKill { check };
        assert_ends(&host_with(filtered), &died(Some(SIGSYS)), Verdict::Nothing, cause);
        assert_ends(&host_with(filtered), &died(None), Verdict::Nothing, cause);
    }
    let mut tried = all_worked();
    tried.set(Pair, Outcome::Died { signal: Some(SIGSYS) });
    let cause = Some(Cause::SeccompKill { check: Pair });
    assert_eq!(judged(&host_with(filtered), &tried, None), (Verdict::Nothing, cause));
}

#[test]
fn an_end_that_a_filter_does_not_explain_is_unknown() {
    let killed = all_until(RingEnter, Outcome::Died { signal: Some(9) });
    let cause = Cause::Died { check: RingEnter, signal: Some(9) };
    assert_ends(&host_with(filtered), &killed, Verdict::Unknown, cause);
    let late = all_until(RingEnter, Outcome::Late);
    assert_ends(&host_with(filtered), &late, Verdict::Unknown, Cause::Late { check: RingEnter });
}

#[test]
fn a_pair_that_is_late_though_its_parts_work_is_unknown() {
    let mut late = all_worked();
    late.set(Pair, Outcome::Late);
    let made = Some(PairOutcome::Failed { step: Step::Timeout, errno: Errno::ETIMEDOUT as i32 });
    assert_eq!(judged(&host(), &late, made), (Verdict::Unknown, Some(Cause::Late { check: Pair })));
}

#[test]
fn a_process_that_cannot_be_started_leaves_it_unknown() {
    let findings = Findings { no_child: Some(11), ..Findings::none() };
    assert_eq!(judge(&host(), &findings, false), (Verdict::Unknown, Some(Cause::NoChild { errno: 11 })));
}

#[test]
fn the_call_that_is_refused_is_the_one_to_allow() {
    for (check, step) in [
        (Socket, Step::Socket),
        (SetOption, Step::SetOption),
        (Bind, Step::Bind),
        (LocalAddress, Step::Verify),
        (Listen, Step::Listen),
        (Accept, Step::Accept),
        (PeerAddress, Step::Verify),
    ] {
        let cause = Cause::SeccompErrno { check, errno: EPERM };
        assert_fails(step, &host_with(filtered), &refused(check, EPERM), cause);
    }
    for absence in [Outcome::Refused { errno: ENOSYS }, Outcome::Died { signal: Some(SIGSYS) }] {
        let mut tried = all_until(RingSetup, absence);
        tried.set(EpollCreate, Outcome::Refused { errno: EPERM });
        let made = Some(PairOutcome::Failed { step: Step::Ring, errno: EPERM });
        let cause = Cause::SeccompErrno { check: EpollCreate, errno: EPERM };
        assert_eq!(judged(&host_with(filtered), &tried, made), (Verdict::Nothing, Some(cause)));
    }
    // Routes and firewalls answer through connect, so a filter is not to blame just for being there.
    let barred = Cause::LoopbackRefused { check: Connect, errno: EACCES };
    assert_fails(Step::Connect, &host_with(filtered), &refused(Connect, EACCES), barred);
}

#[test]
fn a_step_whose_parts_worked_names_the_call_of_the_step() {
    let failed = |step| judged(&host_with(filtered), &all_worked(), Some(PairOutcome::Failed { step, errno: EPERM }));
    for (step, check) in [(Step::SetOption, SetOption), (Step::Verify, PeerAddress), (Step::Bind, Bind)] {
        assert_eq!(failed(step), (Verdict::Nothing, Some(Cause::SeccompErrno { check, errno: EPERM })));
    }
}

#[test]
fn what_bars_any_pair_comes_before_what_bars_a_ring() {
    let mut tried = refused(Connect, ENETUNREACH);
    tried.set(RingSetup, Outcome::Refused { errno: EPERM });
    let made = Some(PairOutcome::Failed { step: Step::Ring, errno: EPERM });
    let cause = Cause::LoopbackRefused { check: Connect, errno: ENETUNREACH };
    assert_eq!(judged(&host(), &tried, made), (Verdict::Nothing, Some(cause)));
}

#[test]
fn loopback_that_fails_has_its_own_causes() {
    let down = host_with(|host| host.loopback_up = Some(false));
    assert_fails(Step::Bind, &down, &refused(Bind, EADDRNOTAVAIL), Cause::LoopbackDown);
    assert_fails(Step::Connect, &down, &refused(Connect, ENETUNREACH), Cause::LoopbackDown);
    assert_fails(Step::Timeout, &down, &all_until(Connect, Outcome::Late), Cause::LoopbackDown);
    let unreachable = Cause::LoopbackRefused { check: Connect, errno: ENETUNREACH };
    assert_fails(Step::Connect, &host(), &refused(Connect, ENETUNREACH), unreachable);
    assert_fails(Step::Timeout, &host(), &all_until(Accept, Outcome::Late), Cause::Late { check: Accept });
    let rewritten = all_until(PeerAddress, Outcome::Mismatched);
    assert_fails(Step::Timeout, &host(), &rewritten, Cause::AddressesRewritten);
    let mut redirected = all_worked();
    redirected.set(Pair, Outcome::Mismatched);
    assert_fails(Step::Verify, &host(), &redirected, Cause::AddressesRewritten);
    for errno in [EMFILE, ENFILE] {
        assert_fails(Step::Socket, &host(), &refused(Socket, errno), Cause::Descriptors { errno });
    }
}

#[test]
fn ports_that_ran_out_are_reserved_in_time_wait_or_in_use() {
    let with = |reserved, time_wait| {
        host_with(|host| {
            host.local_ports = Some((40_000, 40_099));
            (host.reserved_ports, host.time_wait) = (reserved, time_wait);
        })
    };
    for (reserved, time_wait, cause) in [
        (Some(100), Some(0), Cause::PortsReserved),
        (Some(0), Some(24), Cause::NoPorts),
        (Some(0), Some(25), Cause::PortsInTimeWait),
        (Some(96), Some(1), Cause::PortsInTimeWait),
        (Some(99), Some(0), Cause::NoPorts),
        (None, None, Cause::NoPorts),
    ] {
        let host = with(reserved, time_wait);
        assert_fails(Step::Bind, &host, &refused(Bind, EADDRINUSE), cause);
        assert_fails(Step::Connect, &host, &refused(Connect, EADDRNOTAVAIL), cause);
    }
    assert_fails(Step::Bind, &host(), &refused(Bind, EADDRINUSE), Cause::NoPorts);
}

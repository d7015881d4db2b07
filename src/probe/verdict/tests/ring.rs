//! Why a ring is not available.

use super::*;

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

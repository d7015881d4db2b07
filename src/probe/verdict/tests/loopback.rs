//! Plain system calls that fail on loopback.

use super::*;

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

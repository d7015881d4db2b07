//! Processes that are killed, hang, or cannot be started.

use super::*;

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
fn a_pair_is_judged_though_no_further_process_starts() {
    let judged_with = |made, tried| {
        let findings = Findings { no_child: Some(11), made, tried, ..Findings::none() };
        judge(&host_with(filtered), &findings, false)
    };
    let untried = Tried::nothing;
    assert_eq!(judged_with(Some(PairOutcome::By(Backend::Uring)), untried()), (Verdict::Ring, None));
    let by_epoll = judged_with(Some(PairOutcome::By(Backend::Epoll)), untried());
    assert_eq!(by_epoll, (Verdict::Epoll, Some(Cause::NoChild { errno: 11 })));
    let failed = Some(PairOutcome::Failed { step: Step::Socket, errno: 1 });
    let cause = Cause::SeccompErrno { check: Socket, errno: 1 };
    assert_eq!(judged_with(failed, untried()), (Verdict::Nothing, Some(cause)));
    let mut killed = Tried::nothing();
    killed.set(Pair, Outcome::Died { signal: Some(SIGSYS) });
    assert_eq!(judged_with(None, killed).0, Verdict::Nothing);
}

//! Facts on one side, verdict and cause on the other.

mod kills;
mod loopback;
mod ring;

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

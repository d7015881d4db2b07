//! Rings can be made and dropped in a row, although an ordinary user can lock little memory, which the kernel releases late.
//! Failures for lack of memory or descriptors leave nothing open.
//!
//! `RINGPAIR_CHURN` sets how many are made in a row; `ci/user` makes 3,000.
#![cfg(feature = "tokio-uring")]
#![allow(clippy::unwrap_used)]

mod common;

use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use common::{alone, descriptors, leave_descriptors, limit_descriptors, on_the_ring, on_the_ring_alone};
use nix::errno::Errno;
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Uid, geteuid, setresuid};
use ringpair::{Error, PairOptions, Step, make_socket_pair, with_pair};

/// The default of `RINGPAIR_CHURN`.
const FEW: usize = 300;

/// The default limit of locked memory: since Linux 5.16, and before.
const LIMIT: u64 = 8 << 20;
const OLD_LIMIT: u64 = 64 << 10;

/// Locked memory is counted per user, so tests with the same user take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Runs `body` as a user without privileges, with these bytes of lockable memory and 1,024 descriptors.
fn as_an_ordinary_user(bytes: u64, body: impl FnOnce()) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    alone(|| {
        if geteuid().is_root() {
            // A user id that no other process has, because locked memory is counted per user.
            let user = Uid::from_raw(10_000 + std::process::id() % 50_000);
            if let Err(errno) = setresuid(user, user, user) {
                return common::skip(&format!("this process cannot become another user: {errno}"));
            }
            set_dumpable(true).unwrap(); // otherwise /proc/self still belongs to root
        }
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        limit_descriptors(hard.min(1024));
        limit_locked_memory(0);
        match on_the_ring().factory() {
            Ok(_) => return common::skip("what this user locks is not counted"),
            Err(error) => assert_no_ring(&error, Errno::ENOMEM),
        }
        let (_, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap();
        limit_locked_memory(bytes.min(hard));
        body();
    });
}

fn assert_no_ring(error: &Error, errno: Errno) {
    assert_eq!((error.step(), error.raw_os_error()), (Step::Ring, Some(errno as i32)));
}

fn limit_locked_memory(bytes: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap();
    setrlimit(Resource::RLIMIT_MEMLOCK, bytes, hard).unwrap();
}

/// Repeats `act`, which must leave nothing open once the thread has its ring.
fn in_a_row(mut act: impl FnMut() -> ringpair::Result<()>) {
    let count = std::env::var("RINGPAIR_CHURN").map_or(FEW, |count| count.parse().unwrap());
    drop(on_the_ring().make_pair_blocking::<OwnedFd>().unwrap());
    let before = descriptors();
    for number in 1..=count {
        act().unwrap_or_else(|error| panic!("number {number} of {count}: {error:?}"));
    }
    assert_eq!(descriptors(), before);
}

fn call_with_pair() -> ringpair::Result<()> {
    with_pair(async |accepted, connected| {
        accepted.write_all(vec![7]).await.0.unwrap();
        assert_eq!(connected.read(vec![0]).await.1, [7]);
    })
}

fn with_pair_works_many_times_in_a_row(_: PairOptions) {
    as_an_ordinary_user(LIMIT, || in_a_row(call_with_pair));
}

fn runtimes_in_a_row_get_their_pairs(_: PairOptions) {
    as_an_ordinary_user(LIMIT, || {
        in_a_row(|| {
            // A small ring: the kernel releases its memory late, and tokio-uring does not wait for that.
            let runtime = tokio_uring::Runtime::new(tokio_uring::builder().entries(32)).unwrap();
            runtime.block_on(make_socket_pair()).map(drop)
        });
    });
}

fn factories_in_a_row_make_their_pairs(options: PairOptions) {
    as_an_ordinary_user(LIMIT, || in_a_row(|| options.factory()?.pair_blocking::<OwnedFd>().map(drop)));
}

fn threads_in_a_row_make_their_pairs(options: PairOptions) {
    as_an_ordinary_user(LIMIT, || in_a_row(|| in_a_thread(&options)));
}

fn in_a_thread(options: &PairOptions) -> ringpair::Result<()> {
    std::thread::scope(|scope| scope.spawn(|| options.make_pair_blocking::<OwnedFd>().map(drop)).join().unwrap())
}

fn a_ring_waits_for_memory_under_the_old_limit(options: PairOptions) {
    as_an_ordinary_user(OLD_LIMIT, || {
        in_a_row(call_with_pair);
        in_a_row(|| options.factory().map(drop));
        in_a_row(|| in_a_thread(&options));
    });
}

fn with_pair_without_memory_leaves_nothing_open(options: PairOptions) {
    as_an_ordinary_user(LIMIT, || {
        options.make_pair_blocking::<OwnedFd>().unwrap(); // the thread has its ring, so the runtime's ring is the one that fails
        let before = descriptors();
        limit_locked_memory(0);
        assert_no_ring(&call_with_pair().unwrap_err(), Errno::ENOMEM);
        assert_eq!(descriptors(), before);
        limit_locked_memory(LIMIT);
        call_with_pair().unwrap();
        assert_eq!(descriptors(), before);
    });
}

fn with_pair_without_descriptors_leaves_nothing_open(options: PairOptions) {
    alone(|| {
        options.make_pair_blocking::<OwnedFd>().unwrap();
        leave_descriptors(0);
        let (none, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        limit_descriptors(most);
        let before = descriptors();
        for left in 0.. {
            limit_descriptors(none + left);
            let outcome = call_with_pair();
            limit_descriptors(most);
            assert_eq!(descriptors(), before, "{left} could be opened: {outcome:?}");
            match outcome {
                Ok(()) => return assert_eq!(left, 6, "six descriptors are enough"),
                Err(error) => assert_no_ring(&error, Errno::EMFILE),
            }
        }
    });
}

on_the_ring_alone!(
    with_pair_works_many_times_in_a_row,
    runtimes_in_a_row_get_their_pairs,
    factories_in_a_row_make_their_pairs,
    threads_in_a_row_make_their_pairs,
    a_ring_waits_for_memory_under_the_old_limit,
    with_pair_without_memory_leaves_nothing_open,
    with_pair_without_descriptors_leaves_nothing_open,
);

//! Threads and processes share a factory: calls do not wait for each other, take no wakes from each other, and share no ring.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unsafe_code)] // forks processes that have several threads

mod calls;
mod common;

use std::future::Future;
use std::io::Read;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use calls::{
    CALLS, assert_is_our_own, assert_keeps_few_descriptors_above, await_every_call, poll_once, without_hanging,
};
use common::{
    alone, alone_in_a_network, alone_with_late_handshakes, descriptors, on_every_engine, runtime, skip, slow_down_lo,
};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, alarm, fork};
use ringpair::{PairFactory, PairOptions};

/// A connection wakes one of several accepts at a listener. If that one is being cancelled, no other is woken.
fn a_cancelled_call_takes_no_wake_from_another(options: PairOptions) {
    alone_in_a_network(|| {
        if !slow_down_lo("200kbit") {
            return;
        }
        let factory = Arc::new(options.timeout(Duration::from_secs(2)).factory().unwrap());
        for round in 0..8 {
            use_up_the_burst(&factory);
            let (begun, shared) = (Arc::new(AtomicBool::new(false)), Arc::clone(&factory));
            let gives_up = {
                let begun = Arc::clone(&begun);
                std::thread::spawn(move || give_up_soon(&shared, &begun))
            };
            common::eventually("the other call has begun", || begun.load(Relaxed));
            let pair = factory.pair_blocking().unwrap_or_else(|error| panic!("round {round}: {error:?}"));
            assert_is_our_own(pair);
            gives_up.join().unwrap();
        }
    });
}

/// Begins to make a pair, and drops the future after some milliseconds.
fn give_up_soon(factory: &PairFactory, begun: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut making = Box::pin(factory.pair::<std::net::TcpStream>());
        let first = std::future::poll_fn(|context| Poll::Ready(making.as_mut().poll(context))).await;
        begun.store(true, Relaxed);
        if first.is_pending() {
            let _ = tokio::time::timeout(Duration::from_millis(5), making).await;
        }
    });
}

/// The kernel cancels an operation whose thread has ended when it would have completed.
fn a_call_begun_in_a_thread_that_ends_goes_on_in_another(options: PairOptions) {
    alone_with_late_handshakes(|| {
        let factory = Arc::new(options.factory().unwrap());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Relaxed) {
                        assert_is_our_own(factory.pair_blocking().unwrap());
                    }
                });
            }
            let _stop = SetOnDrop(&stop);
            for round in 0..200 {
                let shared = Arc::clone(&factory);
                without_hanging(&format!("round {round}"), || begin_here_and_end_there(shared));
            }
        });
        assert_eq!(factory.stats().strangers, 0);
    });
}

fn begin_here_and_end_there(factory: Arc<PairFactory>) {
    let runtime = runtime();
    let mut making = Box::pin(async move { factory.pair().await });
    let polled = common::in_a_thread(|| {
        let _inside = runtime.enter();
        poll_once(&mut making)
    });
    assert_is_our_own(match polled {
        Poll::Ready(pair) => pair.unwrap(),
        Poll::Pending => runtime.block_on(making).unwrap(),
    });
}

fn eight_threads_share_a_factory(options: PairOptions) {
    alone(|| assert_serves_eight_threads(&options));
}

fn eight_threads_share_a_factory_with_late_handshakes(options: PairOptions) {
    alone_with_late_handshakes(|| assert_serves_eight_threads(&options));
}

fn assert_serves_eight_threads(options: &PairOptions) {
    let factory = options.factory().unwrap();
    factory.pair_blocking().map(assert_is_our_own).unwrap();
    let before = descriptors();
    std::thread::scope(|scope| {
        for first in 0..8 {
            // Each thread begins with another call, so that different calls run at once.
            let calls = CALLS.into_iter().cycle().skip(first).take(10 * CALLS.len());
            let factory = &factory;
            scope.spawn(move || {
                for (name, call) in calls {
                    call(options, factory).expect(name).into_iter().for_each(assert_is_our_own);
                }
            });
        }
    });
    let stats = factory.stats();
    let one_of_each = 1 + 40 + 1 + 40 + 3;
    assert_eq!((stats.pairs, stats.strangers), (1 + 8 * 10 * one_of_each, 0), "{stats:?}");
    assert_eq!(stats.inline + stats.parked, stats.pairs);
    assert_keeps_few_descriptors_above(before);
}

fn a_child_of_threads_in_calls_makes_pairs(options: PairOptions) {
    alone(|| assert_serves_children(&options));
}

fn a_child_of_threads_in_late_calls_makes_pairs(options: PairOptions) {
    alone_with_late_handshakes(|| assert_serves_children(&options));
}

/// Forks while two threads make pairs with the same factory: locks that they hold stay locked in the child.
fn assert_serves_children(options: &PairOptions) {
    let factory = options.factory().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                assert_is_our_own(factory.pair_blocking().unwrap());
                assert_is_our_own(options.make_pair_blocking().unwrap());
            }
        });
        scope.spawn(|| {
            let runtime = runtime();
            while !stop.load(Relaxed) {
                let made = runtime.block_on(await_every_call(options, &factory));
                made.into_iter().for_each(|(name, pair)| assert_is_our_own(pair.expect(name)));
            }
        });
        let _stop = SetOnDrop(&stop);
        for child in 0..50 {
            let end = end_of(in_a_child(|| assert_serves_everywhere(options, &factory)));
            assert!(is_good(&end), "child {child}: {end:?}");
        }
    });
}

/// Without a runtime, which a child could not use.
fn assert_serves_everywhere(options: &PairOptions, factory: &PairFactory) {
    for _ in 0..5 {
        for _ in 0..4 {
            assert_is_our_own(factory.pair_blocking().unwrap());
            assert_is_our_own(options.make_pair_blocking().unwrap());
        }
        let made = futures_executor::block_on(await_every_call(options, factory));
        made.into_iter().for_each(|(name, pair)| assert_is_our_own(pair.expect(name)));
    }
}

/// A child does not have the reactor's thread.
fn a_child_waits_for_parked_async_calls(options: PairOptions) {
    alone_in_a_network(|| {
        if !slow_down_lo("200kbit") {
            return;
        }
        let factory = options.factory().unwrap();
        let make = || {
            use_up_the_burst(&factory);
            let made = futures_executor::block_on(await_every_call(&options, &factory));
            made.into_iter().for_each(|(name, pair)| assert_is_our_own(pair.expect(name)));
        };
        make();
        for _ in 0..3 {
            assert!(is_good(&end_of(in_a_child(make))));
            make();
        }
    });
}

/// Process ids repeat across pid namespaces, so they do not distinguish a child from its parent.
fn a_child_with_the_id_of_its_parent_has_its_own_ring(options: PairOptions) {
    alone(|| {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWPID) {
            return skip(&format!("no process namespace can be made here: {errno}"));
        }
        let parent = in_a_child(|| {
            assert_eq!(std::process::id(), 1);
            let factory = options.factory().unwrap();
            let make = || {
                for _ in 0..50 {
                    assert_is_our_own(factory.pair_blocking().unwrap());
                    assert_is_our_own(options.make_pair_blocking().unwrap());
                    factory.pairs_blocking(40).unwrap().into_iter().for_each(assert_is_our_own);
                }
            };
            make();
            unshare(CloneFlags::CLONE_NEWPID).unwrap();
            let child = in_a_child(|| {
                assert_eq!(std::process::id(), 1);
                make();
            });
            make();
            assert!(is_good(&end_of(child)));
            make();
        });
        assert!(is_good(&end_of(parent)));
    });
}

/// Ends the loops of other threads even if the test panics, so that the scope ends.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// The kernel ends a child that hangs after this many seconds. No outcome depends on it.
const HANG: u32 = 20;

/// Runs `act` in a child, whose exit status is 0 if it does not panic.
fn in_a_child(act: impl FnOnce()) -> Pid {
    // SAFETY: the child runs in a copy of a process with several threads, which is what this test is about.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            alarm::set(HANG);
            let went_well = catch_unwind(AssertUnwindSafe(act)).is_ok();
            // SAFETY: ends the process without its exit handlers.
            unsafe { nix::libc::_exit(i32::from(!went_well)) }
        }
    }
}

fn end_of(child: Pid) -> WaitStatus {
    loop {
        match waitpid(child, None) {
            Err(Errno::EINTR) => (),
            end => return end.unwrap(),
        }
    }
}

fn is_good(end: &WaitStatus) -> bool {
    matches!(end, WaitStatus::Exited(_, 0))
}

/// A slow link that was idle passes a few packets at once. After this, each takes some milliseconds.
fn use_up_the_burst(factory: &PairFactory) {
    (0..12).for_each(|_| assert_is_our_own(factory.pair_blocking().unwrap()));
}

on_every_engine!(
    a_cancelled_call_takes_no_wake_from_another,
    a_call_begun_in_a_thread_that_ends_goes_on_in_another,
    eight_threads_share_a_factory,
    eight_threads_share_a_factory_with_late_handshakes,
    a_child_of_threads_in_calls_makes_pairs,
    a_child_of_threads_in_late_calls_makes_pairs,
    a_child_waits_for_parked_async_calls,
    a_child_with_the_id_of_its_parent_has_its_own_ring,
);

/// When the kernel has torn a ring down, it interrupts the threads that used it.
#[test]
fn asking_for_a_ring_interrupts_no_later_read() {
    if !common::ring_is_there() {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    connected.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    for _ in 0..3 {
        assert!(ringpair::ring_or_skip("asking_for_a_ring_interrupts_no_later_read"));
        assert_eq!(ringpair::probe().verdict(), ringpair::probe::Verdict::Ring);
        assert_eq!(connected.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}

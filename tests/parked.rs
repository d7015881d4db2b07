//! Owes: a pair that is not through when the submission returns is waited for, in every runtime and in none, and the factory
//! tells which way was gone.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::TcpStream;

use common::{alone, alone_with_late_handshakes, netstat, on_every_engine};
use ringpair::{PairFactory, PairOptions};

const PAIRS: u64 = 500;
/// So many are to be waited for, where waiting is to be proved.
const PARKED: u64 = 50;

fn pairs_are_inline_where_nothing_delays_the_handshake(options: PairOptions) {
    alone(|| {
        let factory = options.factory().unwrap();
        for _ in 0..PAIRS {
            factory.pair_blocking::<TcpStream>().unwrap();
        }
        let stats = factory.stats();
        assert_eq!(stats.pairs, PAIRS);
        assert_eq!(stats.inline + stats.parked, PAIRS);
        assert!(stats.inline > PAIRS / 2, "{stats:?}");
    });
}

fn blocking_calls_wait_for_pairs_that_are_late(options: PairOptions) {
    alone_with_late_handshakes(|| {
        let factory = options.factory().unwrap();
        while parked_less_than(PARKED, &factory) {
            assert_is_a_pair(factory.pair_blocking().unwrap());
        }
        factory.pairs_blocking(PAIRS as usize).unwrap().into_iter().for_each(assert_is_a_pair);
        for _ in 0..50 {
            assert_is_a_pair(options.make_pair_blocking().unwrap());
        }
    });
}

fn threads_that_block_share_a_factory(options: PairOptions) {
    alone_with_late_handshakes(|| {
        let factory = options.factory().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..PAIRS).for_each(|_| assert_is_a_pair(factory.pair_blocking().unwrap())));
            }
        });
        assert_eq!(factory.stats().pairs, 4 * PAIRS);
    });
}

/// A connection that finds no room in the backlog is dropped, and the kernel tries it again after a second. It counts that.
fn a_backlog_that_holds_hardly_anyone_costs_no_pair_a_second(options: PairOptions) {
    alone_with_late_handshakes(|| {
        for most in ["0", "1", "5"] {
            std::fs::write("/proc/sys/net/core/somaxconn", most).unwrap();
            let factory = options.factory().unwrap();
            let make_many = || factory.pairs_blocking(PAIRS as usize).unwrap().into_iter().for_each(assert_is_a_pair);
            std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(make_many))));
            assert_eq!(netstat("TcpExt", "TCPSynRetrans"), 0, "{most}: {:?}", factory.stats());
        }
    });
}

fn assert_is_a_pair((accepted, connected): (TcpStream, TcpStream)) {
    assert_eq!(accepted.peer_addr().unwrap(), connected.local_addr().unwrap());
    assert_eq!(connected.peer_addr().unwrap(), accepted.local_addr().unwrap());
}

/// Nearly all pairs are parked on a ring. The epoll engine looks twice before it parks, and many are through by then: how
/// many, is a matter of how busy the host is. So pairs are made until enough have been parked.
fn parked_less_than(wanted: u64, factory: &PairFactory) -> bool {
    let stats = factory.stats();
    assert_eq!(stats.strangers, 0);
    assert!(stats.pairs < 100_000, "pairs are not late here: {stats:?}");
    stats.parked < wanted
}

on_every_engine!(
    pairs_are_inline_where_nothing_delays_the_handshake,
    blocking_calls_wait_for_pairs_that_are_late,
    threads_that_block_share_a_factory,
    a_backlog_that_holds_hardly_anyone_costs_no_pair_a_second,
);

#[cfg(any(feature = "tokio-uring", feature = "epoll"))]
mod in_a_runtime {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::task::{Context, Wake};

    use super::*;
    use common::{descriptors, steer_packets};

    #[cfg(feature = "tokio-uring")]
    fn a_tokio_uring_task_waits_for_pairs_that_are_late(options: PairOptions) {
        if !common::ring_is_there() {
            return; // without one there is no such runtime, whichever engine makes the pairs
        }
        alone_with_late_handshakes(|| {
            let factory = options.factory().unwrap();
            let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
            runtime.block_on(make_late_pairs(&options, &factory));
            // The factory outlives the runtime, and serves in the next one.
            drop(runtime);
            let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
            runtime.block_on(make_late_pairs(&options, &factory));
        });
    }

    fn a_tokio_task_waits_for_pairs_that_are_late(options: PairOptions) {
        alone_with_late_handshakes(|| {
            let factory = options.factory().unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(make_late_pairs(&options, &factory));
        });
    }

    fn many_tasks_of_a_thread_wait_at_once(options: PairOptions) {
        alone_with_late_handshakes(|| {
            let factory = Arc::new(options.factory().unwrap());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            let local = tokio::task::LocalSet::new();
            let before = descriptors();
            local.block_on(&runtime, async {
                let tasks: Vec<_> = (0..200)
                    .map(|_| {
                        let factory = Arc::clone(&factory);
                        tokio::task::spawn_local(async move { assert_is_a_pair(factory.pair().await.unwrap()) })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
            });
            assert_eq!(factory.stats().pairs, 200);
            assert_eq!(descriptors(), before);
        });
    }

    fn tasks_of_many_threads_and_blocking_calls_share_a_factory(options: PairOptions) {
        alone_with_late_handshakes(|| {
            let factory = Arc::new(options.factory().unwrap());
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_io().build().unwrap();
            let blocking: Vec<_> = (0..3)
                .map(|_| {
                    let factory = Arc::clone(&factory);
                    std::thread::spawn(move || {
                        (0..PAIRS).for_each(|_| assert_is_a_pair(factory.pair_blocking().unwrap()))
                    })
                })
                .collect();
            let tasks: Vec<_> = (0..PAIRS)
                .map(|_| {
                    let factory = Arc::clone(&factory);
                    runtime.spawn(async move { assert_is_a_pair(factory.pair().await.unwrap()) })
                })
                .collect();
            for task in tasks {
                runtime.block_on(task).unwrap();
            }
            for thread in blocking {
                thread.join().unwrap();
            }
            assert_eq!(factory.stats().pairs, 4 * PAIRS);
        });
    }

    fn a_paused_clock_does_not_run_a_late_pair_out_of_time(options: PairOptions) {
        alone_with_late_handshakes(|| {
            let factory = options.factory().unwrap();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
            runtime.block_on(make_late_pairs(&options, &factory));
        });
    }

    fn a_pair_begun_by_a_thread_that_has_ended_is_made_all_the_same(options: PairOptions) {
        alone_with_late_handshakes(|| {
            let factory = Arc::new(options.factory().unwrap());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            for _ in 0..50 {
                let shared = Arc::clone(&factory);
                let mut making = Box::pin(async move { shared.pair::<TcpStream>().await });
                let handle = runtime.handle().clone();
                let making = std::thread::spawn(move || {
                    let _inside = handle.enter();
                    let polled = making.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
                    (making, polled)
                });
                let (making, polled) = making.join().unwrap();
                assert_is_a_pair(match polled {
                    std::task::Poll::Ready(pair) => pair.unwrap(),
                    std::task::Poll::Pending => runtime.block_on(making).unwrap(),
                });
            }
        });
    }

    /// One-shots of a thread share an engine, and each has a listener of its own: so one may be through at once, and take down
    /// what has landed for others, without ever having to wait. Whose that was must be woken, though nobody else will do it.
    fn a_pair_that_is_through_at_once_wakes_those_for_whom_it_has_taken_something_down(options: PairOptions) {
        alone_with_late_handshakes(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            for _ in 0..20 {
                let (woken, mut late) = a_late_pair(&options, &runtime);
                steer_packets(false); // from here on, pairs are through at once
                // Only what has come to the engine's descriptor can be taken down, and that is where this waker was left too.
                let descriptor_is_readable = async {
                    while !woken.0.swap(false, Relaxed) {
                        tokio::task::yield_now().await;
                    }
                };
                runtime.block_on(descriptor_is_readable);

                assert_is_a_pair(options.make_pair_blocking().unwrap());
                assert!(woken.0.load(Relaxed), "what had landed was taken down, and its owner was not woken");
                assert_is_a_pair(runtime.block_on(&mut late).unwrap());
                steer_packets(true);
            }
        });
    }

    type Making<'a> = Pin<Box<dyn Future<Output = ringpair::Result<(TcpStream, TcpStream)>> + 'a>>;

    /// A one-shot that has been polled once, and who is woken for it.
    fn a_late_pair<'a>(options: &'a PairOptions, runtime: &tokio::runtime::Runtime) -> (Arc<Woken>, Making<'a>) {
        let _inside = runtime.enter();
        for _ in 0..10_000 {
            let (woken, mut making) = (Arc::<Woken>::default(), Box::pin(options.make_pair()));
            let polled = making.as_mut().poll(&mut Context::from_waker(&Arc::clone(&woken).into()));
            if polled.is_pending() {
                return (woken, making);
            }
        }
        panic!("pairs are not late here");
    }

    /// Whether a waker has been used.
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Relaxed);
        }
    }

    async fn make_late_pairs(options: &PairOptions, factory: &PairFactory) {
        let wanted = factory.stats().parked + PARKED;
        while parked_less_than(wanted, factory) {
            assert_is_a_pair(factory.pair().await.unwrap());
        }
        factory.pairs(PAIRS as usize).await.unwrap().into_iter().for_each(assert_is_a_pair);
        for _ in 0..50 {
            assert_is_a_pair(options.make_pair().await.unwrap());
        }
    }

    on_every_engine!(
        a_tokio_task_waits_for_pairs_that_are_late,
        many_tasks_of_a_thread_wait_at_once,
        tasks_of_many_threads_and_blocking_calls_share_a_factory,
        a_paused_clock_does_not_run_a_late_pair_out_of_time,
        a_pair_begun_by_a_thread_that_has_ended_is_made_all_the_same,
        a_pair_that_is_through_at_once_wakes_those_for_whom_it_has_taken_something_down,
    );

    #[cfg(feature = "tokio-uring")]
    mod in_tokio_uring {
        use super::*;

        on_every_engine!(a_tokio_uring_task_waits_for_pairs_that_are_late);
    }
}

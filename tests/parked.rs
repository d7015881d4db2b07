//! A pair that is not complete when the submission returns is waited for, in every runtime and in none, and counted as parked.
#![allow(clippy::unwrap_used)]

mod common;
mod every_runtime;

use std::net::TcpStream;

use common::{alone, alone_with_late_handshakes, descriptors_of_more_makers, netstat, on_every_engine};
use every_runtime::{
    Runtime, assert_becomes, assert_is_a_pair, assert_serves, descriptors_once_used, on_every_runtime,
};
use futures_util::future::join_all;
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

/// A factory serves in one runtime after the other.
fn calls_wait_for_pairs_that_are_late<R: Runtime>(options: PairOptions) {
    alone_with_late_handshakes(|| {
        let factory = options.factory().unwrap();
        for _ in 0..2 {
            R::block_on(async {
                let wanted = factory.stats().parked + PARKED;
                while parked_less_than(wanted, &factory) {
                    assert_serves::<R>(&mut R::pair(&factory).await.unwrap()).await;
                }
                for mut pair in R::pairs(&factory, PAIRS as usize / 2).await.unwrap() {
                    assert_serves::<R>(&mut pair).await;
                }
                for _ in 0..50 {
                    assert_is_a_pair(&R::one_shot(&options).await.unwrap());
                }
            });
        }
    });
}

fn many_calls_of_a_thread_wait_at_once<R: Runtime>(options: PairOptions) {
    alone_with_late_handshakes(|| {
        R::block_on(async {
            let factory = options.factory().unwrap();
            let before = descriptors_once_used::<R>(&options).await;
            let made = join_all((0..200).map(|_| R::pair(&factory))).await;
            made.into_iter().for_each(|pair| assert_is_a_pair(&pair.unwrap()));
            assert_eq!(factory.stats().pairs, 200);
            assert_becomes::<R>(before..=before + descriptors_of_more_makers(factory.backend())).await;
        });
    });
}

fn threads_that_block_share_a_factory(options: PairOptions) {
    alone_with_late_handshakes(|| {
        let factory = options.factory().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..PAIRS).for_each(|_| assert_is_a_pair::<TcpStream>(&factory.pair_blocking().unwrap()))
                });
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
            let make_many =
                || factory.pairs_blocking::<TcpStream>(PAIRS as usize).unwrap().iter().for_each(assert_is_a_pair);
            std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(make_many))));
            assert_eq!(netstat("TcpExt", "TCPSynRetrans"), 0, "{most}: {:?}", factory.stats());
        }
    });
}

/// Nearly all pairs are parked on a ring. The epoll engine looks twice before it parks, and many are through by then: how
/// many, is a matter of how busy the host is. So pairs are made until enough have been parked.
fn parked_less_than(wanted: u64, factory: &PairFactory) -> bool {
    let stats = factory.stats();
    assert_eq!(stats.strangers, 0);
    assert!(stats.pairs < 100_000, "pairs are not late here: {stats:?}");
    stats.parked < wanted
}

on_every_runtime!(calls_wait_for_pairs_that_are_late, many_calls_of_a_thread_wait_at_once);

on_every_engine!(
    pairs_are_inline_where_nothing_delays_the_handshake,
    threads_that_block_share_a_factory,
    a_backlog_that_holds_hardly_anyone_costs_no_pair_a_second,
);

/// Tasks and clocks that only tokio has.
mod in_tokio_alone {
    use std::sync::Arc;

    use super::*;

    fn tasks_of_many_threads_and_blocking_calls_share_a_factory(options: PairOptions) {
        alone_with_late_handshakes(|| {
            let factory = Arc::new(options.factory().unwrap());
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_io().build().unwrap();
            let blocking: Vec<_> = (0..3)
                .map(|_| {
                    let factory = Arc::clone(&factory);
                    std::thread::spawn(move || {
                        (0..PAIRS).for_each(|_| assert_is_a_pair::<TcpStream>(&factory.pair_blocking().unwrap()))
                    })
                })
                .collect();
            let tasks: Vec<_> = (0..PAIRS)
                .map(|_| {
                    let factory = Arc::clone(&factory);
                    runtime.spawn(async move { assert_is_a_pair::<TcpStream>(&factory.pair().await.unwrap()) })
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
                assert_is_a_pair(&match polled {
                    std::task::Poll::Ready(pair) => pair.unwrap(),
                    std::task::Poll::Pending => runtime.block_on(making).unwrap(),
                });
            }
        });
    }

    async fn make_late_pairs(options: &PairOptions, factory: &PairFactory) {
        let wanted = factory.stats().parked + PARKED;
        while parked_less_than(wanted, factory) {
            assert_is_a_pair::<TcpStream>(&factory.pair().await.unwrap());
            assert_is_a_pair::<TcpStream>(&options.make_pair().await.unwrap());
        }
    }

    on_every_engine!(
        tasks_of_many_threads_and_blocking_calls_share_a_factory,
        a_paused_clock_does_not_run_a_late_pair_out_of_time,
        a_pair_begun_by_a_thread_that_has_ended_is_made_all_the_same,
    );
}

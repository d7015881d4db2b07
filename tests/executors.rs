//! Async calls need no runtime and no feature: every call makes its pairs in every executor, whenever the handshake completes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod calls;
mod common;

use std::future::Future;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use calls::{
    Pair, assert_is_our_own, assert_keeps_few_descriptors_above, await_every_call, poll_once, without_hanging,
};
use common::{alone, alone_in_a_network, alone_with_late_handshakes, descriptors, on_every_engine, run, slow_down_lo};
use futures_util::future::join_all;
use ringpair::{PairFactory, PairOptions, Result, Step};
use tokio::runtime::Builder;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs a task to its end.
type Executor = fn(Task);

fn every_executor() -> Vec<(&'static str, Executor)> {
    #[allow(unused_mut)]
    let mut all: Vec<(&str, Executor)> = vec![
        ("futures-executor", |task| futures_executor::block_on(task)),
        ("parking", run_by_parking),
        ("a fresh thread for each poll", run_in_fresh_threads),
        ("tokio without IO", |task| Builder::new_current_thread().build().unwrap().block_on(task)),
        ("tokio with a paused clock", |task| {
            Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(task)
        }),
        ("tokio with two workers", |task| {
            let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
            runtime.block_on(runtime.spawn(task)).unwrap();
        }),
    ];
    #[cfg(feature = "tokio-uring")]
    if common::ring_is_there() {
        all.push(("tokio-uring", |task| {
            tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap().block_on(task);
        }));
    }
    all
}

/// The smallest executor: it polls again only when its thread is unparked.
fn run_by_parking(mut task: Task) {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    while task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        std::thread::park();
    }
}

/// Polls in a thread that ends after the poll. The kernel cancels the thread's operations when they would complete.
fn run_in_fresh_threads(mut task: Task) {
    struct Bell(Sender<()>);
    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(()); // the task may have ended
        }
    }
    let (sender, woken) = channel();
    let waker = Waker::from(Arc::new(Bell(sender)));
    while common::in_a_thread(|| task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()) {
        woken.recv().unwrap();
    }
}

/// Runs `body` in every executor, each time with a factory of its own.
fn in_every_executor<F>(options: &PairOptions, body: fn(PairOptions, Arc<PairFactory>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    for (name, executor) in every_executor() {
        let factory = Arc::new(options.factory().unwrap());
        let task = body(options.clone(), factory);
        without_hanging(name, move || executor(Box::pin(task)));
    }
}

/// Pairs that have to be waited for, if waiting is the point.
const PARKED: u64 = 20;

/// More calls than makers.
const MANY: usize = 100;

fn every_call_makes_pairs_in_every_executor(options: PairOptions) {
    alone(|| {
        in_every_executor(&options, |options, factory| async move {
            for _ in 0..10 {
                make_pairs(&options, &factory).await;
            }
        });
    });
}

fn late_pairs_are_made_in_every_executor(options: PairOptions) {
    alone_with_late_handshakes(|| in_every_executor(&options, make_late_pairs));
}

/// Each packet takes some milliseconds here.
fn pairs_on_a_slow_link_are_made_in_every_executor(options: PairOptions) {
    alone_in_a_network(|| {
        if !slow_down_lo("200kbit") {
            return;
        }
        in_every_executor(&options, make_late_pairs);
    });
}

async fn make_late_pairs(options: PairOptions, factory: Arc<PairFactory>) {
    while factory.stats().parked < PARKED {
        make_pairs(&options, &factory).await;
        assert!(factory.stats().pairs < 100_000, "pairs are not late here");
    }
}

async fn make_pairs(options: &PairOptions, factory: &PairFactory) {
    for (name, pair) in await_every_call(options, factory).await {
        assert_is_our_own(pair.expect(name));
    }
}

fn a_lost_handshake_fails_at_the_deadline_in_every_executor(options: PairOptions) {
    alone_in_a_network(|| {
        lose_all_packets();
        in_every_executor(&options.timeout(Duration::from_millis(100)), |options, factory| async move {
            for (name, pair) in await_every_call(&options, &factory).await {
                assert_eq!(pair.expect_err(name).step(), Step::Timeout, "{name}");
            }
        });
    });
}

fn a_hundred_late_calls_at_once_are_all_made(options: PairOptions) {
    alone_with_late_handshakes(|| {
        in_every_executor(&options, |_, factory| async move {
            assert_are_our_own(join_all((0..MANY).map(|_| factory.pair())).await);
            assert_eq!(factory.stats().pairs, MANY as u64);
        });
    });
}

/// Some calls begin after packets pass again; the others wait for the kernel to resend a SYN.
fn a_hundred_calls_outlast_lost_handshakes(options: PairOptions) {
    alone_in_a_network(|| {
        in_every_executor(&options.timeout(Duration::from_secs(20)), |_, factory| async move {
            lose_all_packets();
            let mut calls = join_all((0..MANY).map(|_| factory.pair()));
            assert!(poll_once(&mut calls).is_pending());
            lose_no_packets();
            assert_are_our_own(calls.await);
        });
    });
}

fn idle_makers_are_few_after_many_calls_at_once(options: PairOptions) {
    alone_with_late_handshakes(|| {
        let factory = options.factory().unwrap();
        let before = descriptors();
        for _ in 0..5 {
            assert_are_our_own(futures_executor::block_on(join_all((0..MANY).map(|_| factory.pair()))));
        }
        assert_keeps_few_descriptors_above(before);
    });
}

/// A call that is polled once and kept holds its maker, but nothing that another call needs.
fn futures_polled_once_and_kept_delay_no_other_call(options: PairOptions) {
    alone_in_a_network(|| {
        let options = options.timeout(Duration::from_secs(20));
        let factory = Arc::new(options.factory().unwrap());
        lose_all_packets();
        let mut kept: Vec<_> = (0..30).map(|_| Box::pin(factory.pair())).collect();
        for call in &mut kept {
            assert!(matches!(poll_once(call), Poll::Pending));
        }
        lose_no_packets();
        for round in 0..10 {
            let (options, factory) = (options.clone(), Arc::clone(&factory));
            without_hanging(&format!("round {round}"), move || {
                factory.pair_blocking().map(assert_is_our_own).unwrap();
                factory.pairs_blocking(40).unwrap().into_iter().for_each(assert_is_our_own);
                futures_executor::block_on(make_pairs(&options, &factory));
            });
        }
        assert_are_our_own(futures_executor::block_on(join_all(kept)));
    });
}

fn late_futures_polled_once_and_kept_delay_no_other_call(options: PairOptions) {
    alone_with_late_handshakes(|| {
        let factory = Arc::new(options.factory().unwrap());
        let mut kept = Vec::new();
        for round in 0..30 {
            let mut call = Box::pin(factory.pair());
            match poll_once(&mut call) {
                Poll::Ready(pair) => assert_is_our_own(pair.unwrap()),
                Poll::Pending => kept.push(call),
            }
            let (options, factory) = (options.clone(), Arc::clone(&factory));
            without_hanging(&format!("round {round}"), move || {
                factory.pair_blocking().map(assert_is_our_own).unwrap();
                futures_executor::block_on(make_pairs(&options, &factory));
            });
        }
        assert_are_our_own(futures_executor::block_on(join_all(kept)));
    });
}

fn assert_are_our_own(pairs: Vec<Result<Pair>>) {
    pairs.into_iter().for_each(|pair| assert_is_our_own(pair.unwrap()));
}

fn lose_all_packets() {
    run("tc", &["qdisc", "add", "dev", "lo", "root", "blackhole"]);
}

fn lose_no_packets() {
    run("tc", &["qdisc", "del", "dev", "lo", "root"]);
}

/// Every future is `Send`, so a task can move to another thread.
fn _futures_are_send(options: &PairOptions, factory: &PairFactory) {
    fn is_send(_: impl Send) {}
    is_send(factory.pair::<TcpStream>());
    is_send(factory.pairs::<TcpStream>(1));
    is_send(factory.stream::<TcpStream>(1));
    is_send(options.make_pair::<TcpStream>());
}

on_every_engine!(
    every_call_makes_pairs_in_every_executor,
    late_pairs_are_made_in_every_executor,
    pairs_on_a_slow_link_are_made_in_every_executor,
    a_lost_handshake_fails_at_the_deadline_in_every_executor,
    a_hundred_late_calls_at_once_are_all_made,
    a_hundred_calls_outlast_lost_handshakes,
    idle_makers_are_few_after_many_calls_at_once,
    futures_polled_once_and_kept_delay_no_other_call,
    late_futures_polled_once_and_kept_delay_no_other_call,
);

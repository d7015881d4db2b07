//! A future can be dropped at every point, with its runtime, its factory or its thread: nothing stays open or in a backlog, and
//! later calls are not disturbed.
#![allow(clippy::unwrap_used)]

mod common;

use std::future::Future;
use std::net::TcpStream;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use common::{
    alone, alone_in_a_network, alone_with_late_handshakes, assert_descriptors_become, descriptors,
    descriptors_of_more_makers, on_every_engine, run, sockstat,
};
use ringpair::{End, PairFactory, PairOptions};
use tokio::runtime::Runtime;

/// Polls `making` at most `most` times, with a turn of the runtime in between, and drops it. True if it was complete.
async fn poll_and_drop<F: Future<Output = ringpair::Result<T>>, T>(making: F, most: usize) -> bool {
    let mut making = pin!(making);
    for _ in 0..most {
        if let Poll::Ready(made) = making.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            made.unwrap();
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn a_future_dropped_before_it_is_polled_has_opened_nothing(options: PairOptions) {
    alone(|| {
        let factory = options.factory().unwrap();
        let before = descriptors();
        drop(options.make_pair::<TcpStream>());
        drop(factory.pair::<TcpStream>());
        drop(factory.pairs::<TcpStream>(10));
        drop(factory.stream::<TcpStream>(10));
        assert_eq!(descriptors(), before);
    });
}

fn a_late_pair_is_dropped_at_every_point(options: PairOptions) {
    alone_with_late_handshakes(|| {
        let factory = options.factory().unwrap();
        runtime().block_on(async {
            options.make_pair::<TcpStream>().await.unwrap(); // the thread keeps its ring from here on
            let before = descriptors();
            for round in 0..200 {
                for most in 0..8 {
                    poll_and_drop(factory.pair::<TcpStream>(), most).await;
                    poll_and_drop(factory.pairs::<TcpStream>(40), most).await;
                    poll_and_drop(options.make_pair::<TcpStream>(), most).await;
                    assert_eq!(descriptors(), before, "round {round}, dropped after {most} polls");
                }
                assert_works(&factory).await;
            }
            assert_eq!(factory.stats().strangers, 0);
        });
    });
}

/// The first poll submits, and no handshake completes: each future is parked when it is dropped.
fn a_parked_pair_is_dropped(options: PairOptions) {
    alone_in_a_network(|| {
        let factory = options.factory().unwrap();
        let runtime = runtime();
        let baseline = sockstat("inuse");
        runtime.block_on(async {
            options.make_pair::<TcpStream>().await.unwrap();
            let before = descriptors();
            run("tc", &["qdisc", "add", "dev", "lo", "root", "blackhole"]);
            for most in 1..5 {
                for _ in 0..20 {
                    assert!(!poll_and_drop(factory.pair::<TcpStream>(), most).await);
                    assert!(!poll_and_drop(factory.pairs::<TcpStream>(100), most).await);
                    assert!(!poll_and_drop(options.make_pair::<TcpStream>(), most).await);
                    assert_eq!(descriptors(), before);
                }
            }
            assert_eq!(sockstat("inuse"), baseline);
            run("tc", &["qdisc", "del", "dev", "lo", "root"]);
            assert_works(&factory).await;
            assert_eq!(factory.stats().strangers, 0);
        });
    });
}

fn dropping_one_of_many_that_wait_does_not_disturb_the_others(options: PairOptions) {
    alone_with_late_handshakes(|| {
        let factory = Arc::new(options.factory().unwrap());
        let runtime = runtime();
        let before = descriptors();
        runtime.block_on(async {
            for round in 0..50 {
                let making: Vec<_> = (0..40)
                    .map(|number| {
                        let factory = Arc::clone(&factory);
                        tokio::spawn(async move {
                            if number % 3 == 0 {
                                poll_and_drop(factory.pair::<TcpStream>(), 1 + round % 4).await;
                            } else {
                                assert_is_a_pair(factory.pair().await.unwrap());
                            }
                        })
                    })
                    .collect();
                for task in making {
                    task.await.unwrap();
                }
                assert_eq!(descriptors(), before, "round {round}");
            }
        });
        assert_eq!(factory.stats().strangers, 0);
    });
}

/// One that is held and never polled again must not keep the wake-ups of the others to itself.
fn a_future_that_is_not_polled_does_not_delay_the_others(options: PairOptions) {
    alone_with_late_handshakes(|| {
        let factory = options.factory().unwrap();
        runtime().block_on(async {
            for _ in 0..100 {
                let mut held = pin!(factory.pair::<TcpStream>());
                let _ = held.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert_works(&factory).await;
            }
        });
    });
}

fn a_runtime_is_dropped_with_pairs_in_the_making(options: PairOptions) {
    alone_in_a_network(|| {
        let factory = Arc::new(options.factory().unwrap());
        let before = descriptors();
        for _ in 0..10 {
            run("tc", &["qdisc", "add", "dev", "lo", "root", "blackhole"]);
            let runtime = runtime();
            for _ in 0..10 {
                let (factory, options) = (Arc::clone(&factory), options.clone());
                runtime.spawn(async move { factory.pairs::<TcpStream>(40).await.map(drop) });
                runtime.spawn(async move { options.make_pair::<TcpStream>().await.map(drop) });
            }
            runtime.block_on(tokio::task::yield_now());
            assert!(descriptors() > before);
            drop(runtime);
            assert_descriptors_become(before..=before + descriptors_of_more_makers(factory.backend()));
            run("tc", &["qdisc", "del", "dev", "lo", "root"]);
            factory.pair_blocking::<TcpStream>().unwrap();
        }
    });
}

fn a_factory_is_dropped_with_the_futures_that_wait_on_it(options: PairOptions) {
    alone_in_a_network(|| {
        let runtime = runtime();
        let before = descriptors();
        let baseline = sockstat("inuse");
        run("tc", &["qdisc", "add", "dev", "lo", "root", "blackhole"]);
        for _ in 0..50 {
            let factory = Arc::new(options.factory().unwrap());
            let task = runtime.spawn(async move { factory.pairs::<TcpStream>(40).await.map(drop) });
            runtime.block_on(tokio::task::yield_now());
            task.abort();
            assert!(runtime.block_on(task).unwrap_err().is_cancelled());
        }
        assert_eq!(descriptors(), before);
        assert_eq!(sockstat("inuse"), baseline);
    });
}

/// As executors do that drop a task, and the futures in it, with its last waker.
fn a_waker_that_is_woken_or_dropped_may_use_the_factory_at_once(options: PairOptions) {
    struct UsesTheFactory(Arc<PairFactory>);

    impl std::task::Wake for UsesTheFactory {
        fn wake(self: Arc<Self>) {
            drop(self.0.pair_blocking::<TcpStream>());
        }
    }

    impl Drop for UsesTheFactory {
        fn drop(&mut self) {
            self.0.stats();
        }
    }

    alone_with_late_handshakes(|| {
        let factory = Arc::new(options.factory().unwrap());
        runtime().block_on(async {
            for _ in 0..200 {
                let mut making = pin!(factory.pair::<TcpStream>());
                for _ in 0..3 {
                    let waker = Waker::from(Arc::new(UsesTheFactory(Arc::clone(&factory))));
                    if making.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                        break;
                    }
                }
            }
            assert_works(&factory).await;
        });
    });
}

fn a_thread_ends_with_a_pair_in_the_making(options: PairOptions) {
    alone_in_a_network(|| {
        let before = descriptors();
        run("tc", &["qdisc", "add", "dev", "lo", "root", "blackhole"]);
        for _ in 0..20 {
            let options = options.clone();
            let thread = std::thread::spawn(move || {
                let runtime = runtime();
                runtime.spawn(async move { options.make_pair::<TcpStream>().await.map(drop) });
                runtime.block_on(tokio::task::yield_now());
            });
            thread.join().unwrap();
            assert_eq!(descriptors(), before);
        }
    });
}

fn a_factory_works_after_a_panic_in_configure(options: PairOptions) {
    alone(|| {
        let panicking = options.clone().configure(|end, _| match end {
            End::Connected => panic!("as the test wants it"),
            End::Accepted => Ok(()),
        });
        let factory = panicking.factory().unwrap();
        let before = descriptors();
        std::panic::set_hook(Box::new(|_| ()));
        for _ in 0..10 {
            let (factory, panicking) = (&factory, &panicking);
            let one = std::panic::AssertUnwindSafe(|| factory.pair_blocking::<TcpStream>());
            std::panic::catch_unwind(one).unwrap_err();
            let many = std::panic::AssertUnwindSafe(|| factory.pairs_blocking::<TcpStream>(40));
            std::panic::catch_unwind(many).unwrap_err();
            let one_shot = std::panic::AssertUnwindSafe(|| panicking.make_pair_blocking::<TcpStream>());
            std::panic::catch_unwind(one_shot).unwrap_err();
            assert_eq!(descriptors(), before);
        }
        let _ = std::panic::take_hook();
        assert_eq!(factory.stats().strangers, 0);
        options.factory().unwrap().pair_blocking::<TcpStream>().unwrap();
    });
}

async fn assert_works(factory: &PairFactory) {
    for _ in 0..3 {
        assert_is_a_pair(factory.pair().await.unwrap());
    }
}

fn assert_is_a_pair((accepted, connected): (TcpStream, TcpStream)) {
    assert_eq!(accepted.peer_addr().unwrap(), connected.local_addr().unwrap());
    assert_eq!(connected.peer_addr().unwrap(), accepted.local_addr().unwrap());
}

on_every_engine!(
    a_future_dropped_before_it_is_polled_has_opened_nothing,
    a_late_pair_is_dropped_at_every_point,
    a_parked_pair_is_dropped,
    dropping_one_of_many_that_wait_does_not_disturb_the_others,
    a_future_that_is_not_polled_does_not_delay_the_others,
    a_runtime_is_dropped_with_pairs_in_the_making,
    a_factory_is_dropped_with_the_futures_that_wait_on_it,
    a_waker_that_is_woken_or_dropped_may_use_the_factory_at_once,
    a_thread_ends_with_a_pair_in_the_making,
    a_factory_works_after_a_panic_in_configure,
);

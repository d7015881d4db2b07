//! A future can be dropped at every point, with its runtime, its factory or its thread: nothing stays open or in a backlog, and
//! later calls are not disturbed.
#![allow(clippy::unwrap_used)]

mod common;
mod every_runtime;

use std::future::Future;
use std::net::TcpStream;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use common::{
    alone, alone_in_a_network, alone_with_late_handshakes, descriptors, descriptors_of_more_makers, run, sockstat,
};
use every_runtime::{
    Runtime, assert_becomes, assert_is_a_pair, descriptors_once_used, on_every_async_runtime, pause, poll_once,
};
use futures_util::future::join_all;
use ringpair::{PairFactory, PairOptions};

/// Polls `making` at most `most` times, with a turn of the runtime in between, and drops it. True if it was complete.
async fn poll_and_drop<T>(making: impl Future<Output = ringpair::Result<T>>, most: usize) -> bool {
    let mut making = pin!(making);
    for _ in 0..most {
        if let Poll::Ready(made) = poll_once(making.as_mut()) {
            drop(made.unwrap());
            return true;
        }
        pause().await;
    }
    false
}

fn a_future_dropped_before_it_is_polled_has_opened_nothing<R: Runtime>(options: PairOptions) {
    alone(|| {
        R::block_on(async {
            let factory = options.factory().unwrap();
            let before = descriptors();
            drop(R::one_shot(&options));
            drop(R::pair(&factory));
            drop(R::pairs(&factory, 10));
            drop(factory.stream::<R::Stream>(10));
            assert_eq!(descriptors(), before);
        });
    });
}

fn a_late_pair_is_dropped_at_every_point<R: Runtime>(options: PairOptions) {
    alone_with_late_handshakes(|| {
        R::block_on(async {
            let factory = options.factory().unwrap();
            let before = descriptors_once_used::<R>(&options).await;
            for _ in 0..40 {
                for most in 0..8 {
                    poll_and_drop(R::pair(&factory), most).await;
                    poll_and_drop(R::pairs(&factory, 40), most).await;
                    poll_and_drop(R::one_shot(&options), most).await;
                    assert_becomes::<R>(before..=before).await;
                }
                assert_works::<R>(&factory).await;
            }
            assert_eq!(factory.stats().strangers, 0);
        });
    });
}

/// The first poll submits, and no handshake completes: each future is parked when it is dropped.
fn a_parked_pair_is_dropped<R: Runtime>(options: PairOptions) {
    alone_in_a_network(|| {
        R::block_on(async {
            let factory = options.factory().unwrap();
            let before = descriptors_once_used::<R>(&options).await;
            let baseline = sockstat("inuse");
            lose_all_packets();
            for most in 1..5 {
                for _ in 0..5 {
                    assert!(!poll_and_drop(R::pair(&factory), most).await);
                    assert!(!poll_and_drop(R::pairs(&factory, 100), most).await);
                    assert!(!poll_and_drop(R::one_shot(&options), most).await);
                    assert_eq!(descriptors(), before);
                }
            }
            assert_eq!(sockstat("inuse"), baseline);
            lose_no_packets();
            assert_works::<R>(&factory).await;
            assert_eq!(factory.stats().strangers, 0);
        });
    });
}

fn dropping_one_of_many_that_wait_does_not_disturb_the_others<R: Runtime>(options: PairOptions) {
    alone_with_late_handshakes(|| {
        R::block_on(async {
            let factory = options.factory().unwrap();
            let before = descriptors_once_used::<R>(&options).await;
            for round in 0..20 {
                let call = async |number| {
                    if number % 3 == 0 {
                        poll_and_drop(R::pair(&factory), 1 + round % 4).await;
                    } else {
                        assert_is_a_pair(&R::pair(&factory).await.unwrap());
                    }
                };
                join_all((0..40).map(call)).await;
                let kept = before..=before + descriptors_of_more_makers(factory.backend());
                assert_becomes::<R>(kept).await;
            }
            assert_eq!(factory.stats().strangers, 0);
        });
    });
}

/// One that is held and never polled again must not keep the wake-ups of the others to itself.
fn a_future_that_is_not_polled_does_not_delay_the_others<R: Runtime>(options: PairOptions) {
    alone_with_late_handshakes(|| {
        R::block_on(async {
            let factory = options.factory().unwrap();
            for _ in 0..100 {
                let mut held = pin!(R::pair(&factory));
                let _ = poll_once(held.as_mut());
                assert_works::<R>(&factory).await;
            }
        });
    });
}

fn a_factory_is_dropped_with_the_future_that_waits_on_it<R: Runtime>(options: PairOptions) {
    alone_in_a_network(|| {
        R::block_on(async {
            let before = descriptors_once_used::<R>(&options).await;
            let baseline = sockstat("inuse");
            lose_all_packets();
            for most in 1..20 {
                let factory = options.factory().unwrap();
                let call = async move { R::pairs(&factory, 40).await };
                assert!(!poll_and_drop(call, most).await);
                assert_eq!(descriptors(), before);
            }
            assert_eq!(sockstat("inuse"), baseline);
        });
    });
}

/// As executors do that drop a task, and the futures in it, with its last waker.
fn a_waker_that_is_woken_or_dropped_may_use_the_factory_at_once<R: Runtime>(options: PairOptions) {
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
        R::block_on(async {
            for _ in 0..100 {
                let mut making = pin!(R::pair(&factory));
                for _ in 0..3 {
                    let waker = Waker::from(Arc::new(UsesTheFactory(Arc::clone(&factory))));
                    if making.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                        break;
                    }
                }
            }
            assert_works::<R>(&factory).await;
        });
    });
}

fn lose_all_packets() {
    run("tc", &["qdisc", "add", "dev", "lo", "root", "blackhole"]);
}

fn lose_no_packets() {
    run("tc", &["qdisc", "del", "dev", "lo", "root"]);
}

async fn assert_works<R: Runtime>(factory: &PairFactory) {
    for _ in 0..3 {
        assert_is_a_pair(&R::pair(factory).await.unwrap());
    }
}

/// Calls that block have no future: nothing of theirs can be dropped.
mod futures {
    use super::*;

    on_every_async_runtime!(
        a_future_dropped_before_it_is_polled_has_opened_nothing,
        a_late_pair_is_dropped_at_every_point,
        a_parked_pair_is_dropped,
        dropping_one_of_many_that_wait_does_not_disturb_the_others,
        a_future_that_is_not_polled_does_not_delay_the_others,
        a_factory_is_dropped_with_the_future_that_waits_on_it,
        a_waker_that_is_woken_or_dropped_may_use_the_factory_at_once,
    );
}

#[cfg(any(feature = "tokio", feature = "tokio-uring", feature = "compio"))]
mod tasks {
    use std::rc::Rc;

    use super::*;
    use common::{assert_descriptors_become, in_a_thread};
    use every_runtime::{Spawns, on_every_runtime_with_tasks};

    fn a_runtime_is_dropped_with_pairs_in_the_making<R: Spawns>(options: PairOptions) {
        alone_in_a_network(|| {
            let factory = Rc::new(options.factory().unwrap());
            R::block_on(descriptors_once_used::<R>(&options));
            let before = descriptors();
            for _ in 0..5 {
                lose_all_packets();
                R::block_on(spawn_calls::<R>(Rc::clone(&factory), options.clone()));
                assert_descriptors_become(before..=before + descriptors_of_more_makers(factory.backend()));
                lose_no_packets();
                factory.pair_blocking::<TcpStream>().unwrap();
            }
        });
    }

    fn a_thread_ends_with_pairs_in_the_making<R: Spawns>(options: PairOptions) {
        alone_in_a_network(|| {
            R::block_on(descriptors_once_used::<R>(&options));
            let before = descriptors();
            lose_all_packets();
            for _ in 0..5 {
                in_a_thread(|| {
                    let factory = Rc::new(options.factory().unwrap());
                    R::block_on(spawn_calls::<R>(factory, options.clone()));
                });
                assert_descriptors_become(before..=before);
            }
        });
    }

    /// Starts calls that will not be complete.
    async fn spawn_calls<R: Spawns>(factory: Rc<PairFactory>, options: PairOptions) {
        let before = descriptors();
        for _ in 0..10 {
            let (factory, options) = (Rc::clone(&factory), options.clone());
            R::spawn(async move { drop(R::pairs(&factory, 40).await) });
            R::spawn(async move { drop(R::one_shot(&options).await) });
        }
        while descriptors() == before {
            pause().await;
        }
    }

    on_every_runtime_with_tasks!(a_runtime_is_dropped_with_pairs_in_the_making, a_thread_ends_with_pairs_in_the_making,);
}

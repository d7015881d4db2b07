//! Pairs are made in any runtime, in many runtimes in a row, by many tasks and threads, and refused clearly without one.
#![cfg(feature = "tokio-uring")]
#![allow(clippy::unwrap_used)]

mod common;

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Waker};

use common::{
    alone, alone_with_late_handshakes, assert_descriptors_become, descriptors, on_every_engine, ring_is_there,
};
use futures_util::{Stream, StreamExt};
use ringpair::{PairOptions, Result, Step, make_socket_pair, with_pair};
use tokio_uring::net::TcpStream;

type StdPair = (std::net::TcpStream, std::net::TcpStream);

fn ring_runtime() -> tokio_uring::Runtime {
    tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap()
}

/// Each end gets what the other sent, and every pair sends other bytes.
async fn assert_serves(accepted: &TcpStream, connected: &TcpStream, token: u32) {
    for (from, to) in [(accepted, connected), (connected, accepted)] {
        from.write_all(token.to_ne_bytes().to_vec()).await.0.unwrap();
        let (read, bytes) = to.read(vec![0; 8]).await;
        assert_eq!(&bytes[..read.unwrap()], token.to_ne_bytes());
    }
}

fn assert_std_serves((mut accepted, mut connected): StdPair, token: u32) {
    let mut read = [0; 4];
    accepted.write_all(&token.to_ne_bytes()).unwrap();
    connected.read_exact(&mut read).unwrap();
    connected.write_all(&read).unwrap();
    accepted.read_exact(&mut read).unwrap();
    assert_eq!(read, token.to_ne_bytes());
}

/// Polls once, with a waker that does nothing.
fn poll_by_hand<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_pair_of_one_block_on_serves_in_the_next() {
    if !ring_is_there() {
        return;
    }
    let runtime = ring_runtime();
    let (accepted, connected) = runtime.block_on(make_socket_pair()).unwrap();
    for token in 0..5 {
        runtime.block_on(assert_serves(&accepted, &connected, token));
        let (accepted, connected) = runtime.block_on(make_socket_pair()).unwrap();
        runtime.block_on(assert_serves(&accepted, &connected, token));
    }
    drop((accepted, connected));
}

#[test]
fn the_next_runtime_of_a_thread_makes_pairs_too() {
    if !ring_is_there() {
        return;
    }
    let factory = common::on_the_ring().factory().unwrap();
    for token in 0..5 {
        ring_runtime().block_on(async {
            let (accepted, connected) = make_socket_pair().await.unwrap();
            assert_serves(&accepted, &connected, token).await;
            // A factory is not of one runtime either.
            let (accepted, connected) = factory.pair::<TcpStream>().await.unwrap();
            assert_serves(&accepted, &connected, token).await;
        });
    }
}

#[test]
fn many_tasks_of_a_tokio_uring_runtime_make_pairs_at_once() {
    if !ring_is_there() {
        return;
    }
    let factory = Rc::new(common::on_the_ring().factory().unwrap());
    ring_runtime().block_on(async {
        let tasks: Vec<_> = (0..200)
            .map(|token| {
                let factory = Rc::clone(&factory);
                tokio_uring::spawn(async move {
                    let (accepted, connected) = match token % 2 {
                        0 => factory.pair().await.unwrap(),
                        _ => make_socket_pair().await.unwrap(),
                    };
                    assert_serves(&accepted, &connected, token).await;
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(factory.stats().pairs, 100);
}

#[test]
fn make_socket_pair_serves_several_threads_at_once() {
    if !ring_is_there() {
        return;
    }
    let threads = (0..4).map(|thread| {
        std::thread::spawn(move || {
            ring_runtime().block_on(async {
                for token in 0..50 {
                    let (accepted, connected) = make_socket_pair().await.unwrap();
                    assert_serves(&accepted, &connected, thread << 16 | token).await;
                }
            });
        })
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn three_hundred_runtimes_in_a_row_leave_nothing_open() {
    if !ring_is_there() {
        return;
    }
    alone(|| {
        let before = descriptors();
        for token in 0..300 {
            let factory = common::on_the_ring().factory().unwrap();
            ring_runtime().block_on(async {
                let (accepted, connected) = factory.pair::<TcpStream>().await.unwrap();
                assert_serves(&accepted, &connected, token).await;
            });
        }
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn a_runtime_dropped_while_pairs_are_made_leaves_nothing_open() {
    if !ring_is_there() {
        return;
    }
    alone_with_late_handshakes(|| {
        let factory = Rc::new(common::on_the_ring().factory().unwrap());
        drop(common::on_the_ring().make_pair_blocking::<std::net::TcpStream>().unwrap()); // the thread has its ring now
        let before = descriptors();
        for _ in 0..50 {
            let runtime = ring_runtime();
            runtime.block_on(async {
                for _ in 0..20 {
                    let factory = Rc::clone(&factory);
                    tokio_uring::spawn(async move { drop(factory.pair::<TcpStream>().await.unwrap()) });
                    tokio_uring::spawn(async move { drop(make_socket_pair().await.unwrap()) });
                }
                tokio::task::yield_now().await;
            });
            drop(runtime);
            assert_std_serves(factory.pair_blocking().unwrap(), 1);
            assert_std_serves(common::on_the_ring().make_pair_blocking().unwrap(), 2);
        }
        assert_eq!(factory.stats().strangers, 0);
        assert_descriptors_become(before..=before);
    });
}

/// The thread's engine may be gone by then, or go next.
fn one_shots_work_also_in_the_destructors_of_an_ending_thread(options: PairOptions) {
    struct AtTheEnd(PairOptions, Sender<bool>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            let made = (0..3).all(|_| self.0.make_pair_blocking::<std::net::TcpStream>().is_ok());
            self.1.send(made).unwrap();
        }
    }
    thread_local! {
        static AT_THE_END: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
    }
    alone(|| {
        let before = descriptors();
        for ours_goes_first in [true, false] {
            let (told, tells) = channel();
            let at_the_end = AtTheEnd(options.clone(), told);
            let thread = std::thread::spawn(move || {
                let options = at_the_end.0.clone();
                let make = || drop(options.make_pair_blocking::<std::net::TcpStream>().unwrap());
                // Destructors run in one order or the other.
                if ours_goes_first {
                    make();
                }
                AT_THE_END.set(Some(at_the_end));
                make();
            });
            thread.join().unwrap();
            assert!(tells.recv().unwrap());
        }
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn with_pair_returns_what_its_body_does_and_can_be_called_again() {
    if !ring_is_there() {
        return;
    }
    for token in 0..20 {
        let borrowed = Cell::new(0);
        let returned = with_pair(async |accepted, connected| {
            assert_serves(&accepted, &connected, token).await;
            borrowed.set(token);
            format!("body {token}")
        });
        assert_eq!((returned.unwrap(), borrowed.get()), (format!("body {token}"), token));
    }
}

#[test]
fn with_pair_can_be_called_again_after_a_body_that_panicked() {
    struct OurPanic;
    if !ring_is_there() {
        return;
    }
    alone(|| {
        with_pair(async |_, _| ()).unwrap(); // from here on the thread has its ring
        let before = descriptors();
        let panic = std::panic::catch_unwind(|| {
            with_pair(async |_accepted, _connected| std::panic::resume_unwind(Box::new(OurPanic)))
        });
        assert!(panic.unwrap_err().is::<OurPanic>());
        assert_eq!(descriptors(), before);
        with_pair(async |accepted, connected| assert_serves(&accepted, &connected, 1).await).unwrap();
    });
}

#[test]
fn with_pair_is_refused_in_a_runtime() {
    let assert_refused = || {
        let error = with_pair(async |_, _| panic!("the body has run")).unwrap_err();
        assert_eq!((error.step(), error.kind()), (Step::Options, ErrorKind::Unsupported));
        assert!(error.source().unwrap().to_string().contains("make_socket_pair"));
    };
    common::runtime().block_on(async { assert_refused() });
    if ring_is_there() {
        ring_runtime().block_on(async { assert_refused() });
        with_pair(async |_, _| assert_refused()).unwrap();
    }
}

#[test]
fn make_socket_pair_is_refused_without_a_runtime() {
    assert_refused(poll_by_hand(make_socket_pair()));
}

fn assert_refused<T>(outcome: Poll<Result<T>>) {
    let Poll::Ready(Err(error)) = outcome else { panic!("not refused at once") };
    assert_eq!((error.step(), error.kind()), (Step::Options, ErrorKind::Unsupported));
    assert!(error.source().unwrap().to_string().contains("runtime"));
}

#[cfg(feature = "tokio")]
fn a_tokio_stream_needs_a_runtime_with_io(options: PairOptions) {
    let factory = options.factory().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for _ in 0..3 {
            let errors = [
                factory.pair_blocking::<tokio::net::TcpStream>().unwrap_err(),
                factory.pair::<tokio::net::TcpStream>().await.unwrap_err(),
                options.make_pair::<tokio::net::TcpStream>().await.unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.step(), Step::Convert);
                assert!(error.to_string().contains("IO is not enabled in this tokio runtime"), "{error}");
            }
        }
    });
    assert_eq!(factory.stats().pairs, 0);
}

fn a_current_thread_runtime_of_tokio_makes_std_pairs(options: PairOptions) {
    common::runtime().block_on(async {
        for (way, pair) in common::every_async_way(&options).await {
            assert_std_serves(pair.unwrap_or_else(|error| panic!("{way}: {error}")), 1);
        }
    });
}

fn tasks_that_move_between_threads_make_std_pairs(options: PairOptions) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_io().build().unwrap();
    let factory = Arc::new(options.factory().unwrap());
    let tasks: Vec<_> = (0..200)
        .map(|token| {
            let (factory, options) = (Arc::clone(&factory), options.clone());
            runtime.spawn(async move {
                let pair = match token % 3 {
                    0 => factory.pair().await.unwrap(),
                    1 => options.make_pair().await.unwrap(),
                    _ => factory.pairs(4).await.unwrap().pop().unwrap(),
                };
                assert_std_serves(pair, token);
            })
        })
        .collect();
    tasks.into_iter().for_each(|task| runtime.block_on(task).unwrap());
    assert_eq!(factory.stats().pairs, 67 + 66 * 4);
}

fn blocking_calls_work_inside_a_runtime_too(options: PairOptions) {
    common::runtime().block_on(async {
        assert_std_serves(options.make_pair_blocking().unwrap(), 1);
        assert_std_serves(options.factory().unwrap().pair_blocking().unwrap(), 2);
    });
}

fn a_stream_yields_as_many_pairs_as_asked_for_and_ends(options: PairOptions) {
    let factory = options.factory().unwrap();
    common::runtime().block_on(async {
        for count in [0, 1, 7, 100] {
            let before = factory.stats().pairs;
            let mut stream = factory.stream::<std::net::TcpStream>(count);
            for made in 0..count {
                // At least one, as an error ends it; at most as many as are left.
                assert_eq!(stream.size_hint(), (1, Some(count - made)));
                assert_eq!(factory.stats().pairs, before + made as u64, "made before it was asked for");
                assert_std_serves(stream.next().await.unwrap().unwrap(), made as u32);
            }
            assert_eq!(stream.size_hint(), (0, Some(0)));
            for _ in 0..3 {
                assert!(stream.next().await.is_none());
            }
            assert_eq!(factory.stats().pairs, before + count as u64);
        }
        let endless = factory.stream::<std::net::TcpStream>(usize::MAX);
        assert_eq!(endless.size_hint(), (1, Some(usize::MAX)));
        assert_eq!(endless.take(3).filter_map(async |pair| pair.ok()).collect::<Vec<_>>().await.len(), 3);
    });
}

on_every_engine!(
    a_current_thread_runtime_of_tokio_makes_std_pairs,
    tasks_that_move_between_threads_make_std_pairs,
    blocking_calls_work_inside_a_runtime_too,
    one_shots_work_also_in_the_destructors_of_an_ending_thread,
    a_stream_yields_as_many_pairs_as_asked_for_and_ends,
);

#[cfg(feature = "tokio")]
mod with_tokio_streams {
    use super::*;

    on_every_engine!(a_tokio_stream_needs_a_runtime_with_io);
}

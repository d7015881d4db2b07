//! Pairs are made in any runtime, in many runtimes in a row, by many tasks and threads, and while a thread ends.
#![allow(clippy::unwrap_used)]

mod common;
mod every_runtime;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use common::{alone, assert_descriptors_become, descriptors, on_every_engine};
use every_runtime::{Runtime, assert_serves, descriptors_once_used, on_every_runtime};
use futures_util::{Stream, StreamExt};
use ringpair::PairOptions;
#[cfg(feature = "tokio")]
use ringpair::Step;

type StdPair = (std::net::TcpStream, std::net::TcpStream);

fn assert_std_serves((mut accepted, mut connected): StdPair, token: u32) {
    let mut read = [0; 4];
    accepted.write_all(&token.to_ne_bytes()).unwrap();
    connected.read_exact(&mut read).unwrap();
    connected.write_all(&read).unwrap();
    accepted.read_exact(&mut read).unwrap();
    assert_eq!(read, token.to_ne_bytes());
}

/// A factory is not of one runtime.
fn the_next_runtime_of_a_thread_makes_pairs_too<R: Runtime>(options: PairOptions) {
    let factory = options.factory().unwrap();
    for _ in 0..5 {
        R::block_on(async {
            assert_serves::<R>(&mut R::one_shot(&options).await.unwrap()).await;
            assert_serves::<R>(&mut R::pair(&factory).await.unwrap()).await;
        });
    }
    assert_eq!(factory.stats().pairs, 5);
}

fn several_threads_make_pairs_at_once<R: Runtime>(options: PairOptions) {
    let factory = options.factory().unwrap();
    let make_pairs = || {
        R::block_on(async {
            for _ in 0..50 {
                assert_serves::<R>(&mut R::one_shot(&options).await.unwrap()).await;
                assert_serves::<R>(&mut R::pair(&factory).await.unwrap()).await;
            }
        });
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(make_pairs))));
    assert_eq!(factory.stats().pairs, 4 * 50);
}

fn many_runtimes_in_a_row_leave_nothing_open<R: Runtime>(options: PairOptions) {
    alone(|| {
        R::block_on(descriptors_once_used::<R>(&options));
        let before = descriptors();
        for _ in 0..100 {
            let factory = options.factory().unwrap();
            R::block_on(async {
                assert_serves::<R>(&mut R::pair(&factory).await.unwrap()).await;
            });
        }
        assert_descriptors_become(before..=before);
    });
}

on_every_runtime!(
    the_next_runtime_of_a_thread_makes_pairs_too,
    several_threads_make_pairs_at_once,
    many_runtimes_in_a_row_leave_nothing_open,
);

#[cfg(any(feature = "tokio", feature = "tokio-uring", feature = "compio"))]
mod tasks {
    use std::rc::Rc;

    use super::*;
    use common::alone_with_late_handshakes;
    use every_runtime::{Spawns, on_every_runtime_with_tasks, pause};

    fn many_tasks_of_a_runtime_make_pairs_at_once<R: Spawns>(options: PairOptions) {
        let factory = Rc::new(options.factory().unwrap());
        let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
        R::block_on(async {
            for token in 0..200 {
                let (factory, options, sender) = (Rc::clone(&factory), options.clone(), sender.clone());
                R::spawn(async move {
                    let pair = match token % 2 {
                        0 => R::pair(&factory).await,
                        _ => R::one_shot(&options).await,
                    };
                    assert_serves::<R>(&mut pair.unwrap()).await;
                    sender.send(()).unwrap();
                });
            }
            for _ in 0..200 {
                served.recv().await.unwrap();
            }
        });
        assert_eq!(factory.stats().pairs, 100);
    }

    fn a_runtime_dropped_while_pairs_are_made_leaves_nothing_open<R: Spawns>(options: PairOptions) {
        alone_with_late_handshakes(|| {
            R::block_on(descriptors_once_used::<R>(&options));
            let factory = Rc::new(options.factory().unwrap());
            let before = descriptors();
            for _ in 0..20 {
                R::block_on(async {
                    for _ in 0..20 {
                        let (factory, options) = (Rc::clone(&factory), options.clone());
                        R::spawn(async move { drop(R::pair(&factory).await.unwrap()) });
                        R::spawn(async move { drop(R::one_shot(&options).await.unwrap()) });
                    }
                    pause().await;
                });
                assert_std_serves(factory.pair_blocking().unwrap(), 1);
                assert_std_serves(options.make_pair_blocking().unwrap(), 2);
            }
            assert_eq!(factory.stats().strangers, 0);
            assert_descriptors_become(before..=before);
        });
    }

    on_every_runtime_with_tasks!(
        many_tasks_of_a_runtime_make_pairs_at_once,
        a_runtime_dropped_while_pairs_are_made_leaves_nothing_open,
    );
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

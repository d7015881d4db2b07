//! Mockets that handles hold open, and the wakers of tasks that have ended.

use std::io::Read;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use ringpair::mocket::{MismatchKind, Mocket, MocketOptions, Script};

use crate::kind_in;

#[test]
fn a_blocking_read_waits_while_a_handle_lives() {
    let (mut mocket, handle) = Mocket::scripted_with_handle(Script::new().provide("1"));
    let other = handle.clone();
    let reader = thread::spawn(move || {
        let mut all = String::new();
        mocket.read_to_string(&mut all).map(|_| all)
    });
    handle.provide("2");
    drop(handle);
    other.provide("3");
    drop(other);
    assert_eq!(reader.join().unwrap().unwrap(), "123");
}

#[test]
fn a_blocking_read_fails_when_no_handle_provides_anything() {
    let options = MocketOptions::new().script(Script::new().provide("1")).patience(Duration::from_millis(1));
    let (mut mocket, _handle) = options.scripted_with_handle().unwrap();
    mocket.read_exact(&mut [0]).unwrap();
    let error = mocket.read(&mut [0]).unwrap_err();
    assert_eq!(kind_in(&error), MismatchKind::NothingProvided);
    assert_eq!(error.to_string(), "a read, at offset 1, waited for bytes that no handle provided");
}

#[test]
fn a_handle_does_not_hold_back_a_read_before_its_turn() {
    let (mut mocket, _handle) = Mocket::scripted_with_handle(Script::ordered().expect("a").provide("1"));
    assert_eq!(kind_in(&mocket.read(&mut [0]).unwrap_err()), MismatchKind::ReadEarly);
}

#[test]
fn a_scripted_end_of_file_needs_no_handle_to_go() {
    let (mut mocket, _handle) = Mocket::scripted_with_handle(Script::new().provide("1").end_of_file());
    assert_eq!(std::io::read_to_string(&mut mocket).unwrap(), "1");
}

/// A task that is polled once, for ever pending, and counted while its waker lives.
struct Task(#[allow(dead_code)] Arc<()>);

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

/// Polls with the wakers of a hundred tasks that end at once, and returns how many wakers are left.
fn left_of_a_hundred(mut poll: impl FnMut(&Waker)) -> usize {
    let alive = Arc::new(());
    for _ in 0..100 {
        poll(&Waker::from(Arc::new(Task(Arc::clone(&alive)))));
    }
    Arc::strong_count(&alive) - 1
}

/// A read that waits for its turn.
fn waiting() -> Mocket<ringpair::mocket::NoSocket> {
    let script = Script::new().expect("a").then().provide("1");
    let mocket = Mocket::scripted(script);
    mocket.verify().unwrap_err(); // or dropping it would panic
    mocket
}

#[cfg(feature = "epoll")]
mod in_tokio {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll};

    use ringpair::mocket::make_mocket_pair;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpStream;

    use super::{Duration, MismatchKind, Mocket, MocketOptions, Script, Waker, kind_in, left_of_a_hundred, waiting};

    #[test]
    fn wakers_of_ended_tasks_are_dropped() {
        let mut mocket = waiting();
        let left = left_of_a_hundred(|waker| {
            let read = pin!(mocket.read_u8());
            assert!(read.poll(&mut Context::from_waker(waker)).is_pending());
        });
        assert!(left <= 2, "{left} wakers are left: one is the script's, one the alarm's");
        mocket.verify().unwrap_err();
    }

    #[test]
    fn wakers_at_the_socket_are_dropped_too() {
        crate::faces::tokio_runtime().block_on(async {
            let (mut mocket, _peer) = make_mocket_pair::<TcpStream>().await.unwrap();
            let left = left_of_a_hundred(|waker| {
                let read = pin!(mocket.read_u8());
                assert!(read.poll(&mut Context::from_waker(waker)).is_pending());
            });
            assert!(left <= 2, "{left} wakers are left: one is the script's, one the runtime's");
        });
    }

    #[test]
    fn a_read_in_a_task_waits_while_a_handle_lives() {
        crate::faces::tokio_runtime().block_on(async {
            let (mut mocket, handle) = Mocket::scripted_with_handle(Script::new());
            let reader = tokio::spawn(async move {
                let mut all = String::new();
                mocket.read_to_string(&mut all).await.map(|_| all)
            });
            tokio::task::yield_now().await; // the reader waits by now
            handle.provide("1");
            tokio::task::yield_now().await;
            assert!(!reader.is_finished());
            handle.provide("2");
            drop(handle);
            assert_eq!(reader.await.unwrap().unwrap(), "12");
        });
    }

    #[test]
    fn a_read_in_a_task_is_patient_and_no_more() {
        crate::faces::tokio_runtime().block_on(async {
            let options = MocketOptions::new().patience(Duration::ZERO);
            let (mut mocket, _handle) = options.scripted_with_handle().unwrap();
            assert_eq!(kind_in(&mocket.read_u8().await.unwrap_err()), MismatchKind::NothingProvided);
        });
    }

    #[test]
    fn a_handle_that_goes_wakes_the_read() {
        let (mut mocket, handle) = Mocket::scripted_with_handle(Script::new());
        let mut buffer = [0; 1];
        let mut read = pin!(mocket.read(&mut buffer));
        let mut context = Context::from_waker(Waker::noop());
        assert!(read.as_mut().poll(&mut context).is_pending());
        drop(handle);
        assert!(matches!(read.poll(&mut context), Poll::Ready(Ok(0))));
    }
}

#[cfg(feature = "tokio-uring")]
mod in_tokio_uring {
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    use futures_util::future::join;
    use ringpair::mocket::uring::UringStream;

    use super::*;

    #[test]
    fn wakers_of_dropped_reads_are_dropped() {
        let mocket = waiting();
        let left = left_of_a_hundred(|waker| {
            let read = pin!(mocket.read(vec![0; 1]));
            assert!(read.poll(&mut Context::from_waker(waker)).is_pending());
        });
        assert!(left <= 1, "{left} wakers are left: one is the alarm's");
        mocket.verify().unwrap_err();
    }

    /// Each has a waker of its own: reads of tokio-uring take the stream by reference.
    #[test]
    fn two_reads_that_wait_are_both_woken() {
        crate::common::runtime().block_on(async {
            let (mocket, handle) = Mocket::scripted_with_handle(Script::new().coalesce());
            let mocket = std::rc::Rc::new(mocket);
            let local = tokio::task::LocalSet::new();
            let readers = [(); 2].map(|()| {
                let mocket = std::rc::Rc::clone(&mocket);
                local.spawn_local(async move { mocket.read(vec![0; 1]).await.0 })
            });
            let [one, other] = readers;
            let write = async {
                tokio::task::yield_now().await; // both wait by now
                handle.provide("12");
            };
            let (read, ()) = local.run_until(join(join(one, other), write)).await;
            assert_eq!((read.0.unwrap().unwrap(), read.1.unwrap().unwrap()), (1, 1));
        });
    }
}

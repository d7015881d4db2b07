//! The wakers of tasks that have ended: dropped.

use std::sync::Arc;
use std::task::{Wake, Waker};

use ringpair::mocket::{Mocket, NoSocket, Script};

/// A task that is polled once, pending forever, and counted while its waker lives.
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
fn waiting() -> Mocket<NoSocket> {
    let script = Script::new().expect("a").then().provide("1");
    let mocket = Mocket::scripted(script);
    mocket.verify().unwrap_err(); // or dropping it would panic
    mocket
}

#[cfg(feature = "tokio")]
mod in_tokio {
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    use ringpair::mocket::make_mocket_pair;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpStream;

    use super::{left_of_a_hundred, waiting};

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
}

#[cfg(feature = "tokio-uring")]
mod in_tokio_uring {
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;
    use std::time::Duration;

    use futures_util::future::join;
    use ringpair::mocket::uring::UringStream;

    use super::{Mocket, Script, left_of_a_hundred, waiting};

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
        both_are_woken(Script::new().coalesce());
    }

    #[test]
    fn two_reads_that_wait_for_a_delay_are_both_woken() {
        both_are_woken(Script::new().delay(Duration::from_millis(2)).coalesce());
    }

    fn both_are_woken(script: Script) {
        crate::common::runtime().block_on(async {
            let (mocket, handle) = Mocket::scripted_with_handle(script);
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

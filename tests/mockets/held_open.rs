//! Mockets that a handle holds open.

use std::io::Read;
use std::thread;
use std::time::Duration;

use ringpair::mocket::{MismatchKind, Mocket, MocketOptions, Script};

use crate::faces::{Face, Stream, on_every_face};
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

/// Its reads give up at once.
fn impatient(script: Script) -> MocketOptions {
    MocketOptions::new().script(script).patience(Duration::ZERO)
}

async fn a_read_fails_when_no_handle_provides_anything<F: Face>() {
    let (mut mocket, _handle) = F::held_open(&impatient(Script::new().provide("1")));
    assert_eq!(mocket.read(1).await.unwrap(), b"1");
    let error = mocket.read(1).await.unwrap_err();
    assert_eq!(kind_in(&error), MismatchKind::NothingProvided);
    assert_eq!(error.to_string(), "a read, at offset 1, waited for bytes that no handle provided");
}

async fn a_handle_does_not_hold_back_a_read_before_its_turn<F: Face>() {
    let (mut mocket, _handle) = F::held_open(&impatient(Script::ordered().expect("a").provide("1")));
    assert_eq!(kind_in(&mocket.read(1).await.unwrap_err()), MismatchKind::ReadEarly);
}

async fn a_scripted_end_of_file_needs_no_handle_to_go<F: Face>() {
    let (mut mocket, _handle) = F::held_open(&impatient(Script::new().provide("1").end_of_file()));
    assert_eq!(mocket.read_exactly(2).await.unwrap(), b"1");
}

async fn a_read_gets_what_another_thread_provides<F: Face>() {
    let (mut mocket, handle) = F::held_open(&MocketOptions::new());
    let provides = thread::spawn(move || {
        for _ in 0..100 {
            handle.provide("1");
            thread::yield_now();
        }
    });
    assert_eq!(mocket.read_exactly(101).await.unwrap(), [b'1'; 100]);
    provides.join().unwrap();
}

on_every_face!(
    a_read_fails_when_no_handle_provides_anything,
    a_handle_does_not_hold_back_a_read_before_its_turn,
    a_scripted_end_of_file_needs_no_handle_to_go,
    a_read_gets_what_another_thread_provides,
);

#[cfg(feature = "tokio")]
mod in_tokio {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use tokio::io::AsyncReadExt;

    use super::{Mocket, Script};

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
    fn the_last_handle_that_goes_ends_the_read() {
        let (mut mocket, handle) = Mocket::scripted_with_handle(Script::new());
        let other = handle.clone();
        let mut buffer = [0; 1];
        let mut read = pin!(mocket.read(&mut buffer));
        let mut context = Context::from_waker(Waker::noop());
        assert!(read.as_mut().poll(&mut context).is_pending());
        drop(handle);
        assert!(read.as_mut().poll(&mut context).is_pending());
        drop(other);
        assert!(matches!(read.poll(&mut context), Poll::Ready(Ok(0))));
    }
}

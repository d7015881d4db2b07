//! `make_socket_pair` in a runtime of tokio-uring, and `with_pair`, which starts one. Elsewhere they say which call to use.
#![cfg(feature = "tokio-uring")]
#![allow(clippy::unwrap_used)]

mod common;
mod every_runtime;

use std::cell::Cell;
use std::io::ErrorKind;
use std::pin::pin;
use std::task::Poll;

use common::{alone, descriptors, ring_is_there};
use every_runtime::poll_once;
use ringpair::{Step, make_socket_pair, with_pair};
use tokio_uring::net::TcpStream;

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
    assert_refused(poll_once(pin!(make_socket_pair())));
}

fn assert_refused<T>(outcome: Poll<ringpair::Result<T>>) {
    let Poll::Ready(Err(error)) = outcome else { panic!("not refused at once") };
    assert_eq!((error.step(), error.kind()), (Step::Options, ErrorKind::Unsupported));
    assert!(error.source().unwrap().to_string().contains("runtime"));
}

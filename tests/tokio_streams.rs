//! Owes: both engines hand out tokio's streams, registered and non-blocking, on every kind of tokio runtime.
#![cfg(feature = "epoll")]
#![allow(clippy::unwrap_used)]

mod common;

use common::{alone, alone_with_late_handshakes, descriptors, flags_of, on_every_engine};
use nix::libc::{O_CLOEXEC, O_NONBLOCK};
use ringpair::{Linger, PairOptions, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

fn every_runtime() -> [Runtime; 2] {
    [
        Builder::new_current_thread().enable_all().build().unwrap(),
        Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
    ]
}

async fn assert_serves((mut accepted, mut connected): (TcpStream, TcpStream)) {
    assert_eq!(accepted.peer_addr().unwrap(), connected.local_addr().unwrap());
    for (from, to) in [(&mut accepted, &mut connected)] {
        from.write_all(b"ping").await.unwrap();
        let mut read = [0; 4];
        to.read_exact(&mut read).await.unwrap();
        to.write_all(&read).await.unwrap();
        from.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ping");
    }
    drop(accepted);
    assert_eq!(connected.read(&mut [0]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

fn every_call_makes_pairs_of_tokio_streams(options: PairOptions) {
    use futures_util::StreamExt;

    for runtime in every_runtime() {
        let (options, factory) = (options.clone(), options.factory().unwrap());
        // Spawned, so that the futures must be `Send`.
        let task = runtime.spawn(async move {
            assert_serves(options.make_pair().await.unwrap()).await;
            assert_serves(factory.pair().await.unwrap()).await;
            for pair in factory.pairs(40).await.unwrap() {
                assert_serves(pair).await;
            }
            let mut stream = factory.stream(5);
            while let Some(pair) = stream.next().await {
                assert_serves(pair.unwrap()).await;
            }
            assert_serves(factory.pair_blocking().unwrap()).await;
        });
        runtime.block_on(task).unwrap();
    }
}

fn late_pairs_are_tokio_streams_too(options: PairOptions) {
    alone_with_late_handshakes(|| {
        for runtime in every_runtime() {
            let (options, factory) = (options.clone(), options.factory().unwrap());
            let task = runtime.spawn(async move {
                for _ in 0..200 {
                    assert_serves(factory.pair().await.unwrap()).await;
                    assert_serves(options.make_pair().await.unwrap()).await;
                }
            });
            runtime.block_on(task).unwrap();
        }
    });
}

fn tokio_streams_come_non_blocking_and_closed_on_exec(options: PairOptions) {
    let [runtime, _] = every_runtime();
    runtime.block_on(async {
        let (accepted, connected) = options.linger(Linger::Graceful).make_pair::<TcpStream>().await.unwrap();
        for end in [&accepted, &connected] {
            assert_eq!(flags_of(end) & (O_NONBLOCK | O_CLOEXEC), O_NONBLOCK | O_CLOEXEC);
        }
    });
}

fn a_blocking_call_without_a_runtime_cannot_make_a_tokio_stream_and_says_so(options: PairOptions) {
    alone(|| {
        let factory = options.factory().unwrap();
        let before = descriptors();
        let error = factory.pair_blocking::<TcpStream>().unwrap_err();
        assert_eq!(error.step(), Step::Convert);
        assert_eq!(descriptors(), before);
        let error = options.make_pair_blocking::<TcpStream>().unwrap_err();
        assert_eq!(error.step(), Step::Convert);
        assert_eq!(descriptors(), before);
    });
}

on_every_engine!(
    every_call_makes_pairs_of_tokio_streams,
    late_pairs_are_tokio_streams_too,
    tokio_streams_come_non_blocking_and_closed_on_exec,
    a_blocking_call_without_a_runtime_cannot_make_a_tokio_stream_and_says_so,
);

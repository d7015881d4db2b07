//! Pairs of each runtime's own streams: one list of bodies for all of them, on both engines.
#![cfg(any(feature = "tokio", feature = "tokio-uring", feature = "smol", feature = "compio", feature = "monoio"))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::future::Future;
use std::io::{ErrorKind, Result};
use std::task::{Context, Waker};

use common::{alone, alone_with_late_handshakes, assert_descriptors_become, descriptors, every_async_way, flags_of};
use futures_util::future::{join, join_all};
use nix::libc::{O_CLOEXEC, O_NONBLOCK};
use ringpair::{Backend, Linger, PairOptions, PairSocket, Step};

const MEBIBYTE: usize = 1 << 20;

/// A runtime, and its stream.
trait Runtime {
    type Stream: PairSocket + 'static;

    /// Whether it asks for a ring of its own when it starts: without one it cannot start, or a filter may kill it.
    const ASKS_FOR_A_RING: bool = false;

    /// What its streams must be for its operations to wait; `None` if that is the driver's business.
    const IS_NONBLOCKING: Option<bool>;

    /// Part of the error of a stream that is made outside the runtime, if that is an error.
    const OUTSIDE: Option<&'static str>;

    fn block_on<T: 'static>(task: impl Future<Output = T> + 'static) -> T;

    /// Reads some bytes; none at the end of file.
    async fn read(stream: &mut Self::Stream) -> Result<Vec<u8>>;

    /// Writes all bytes.
    async fn write(stream: &mut Self::Stream, bytes: Vec<u8>) -> Result<()>;
}

async fn read_all<R: Runtime>(stream: &mut R::Stream, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        let read = R::read(stream).await.unwrap();
        assert!(!read.is_empty(), "end of file after {} of {count} bytes", all.len());
        all.extend(read);
    }
    all
}

async fn assert_serves<R: Runtime>((accepted, connected): &mut (R::Stream, R::Stream)) {
    R::write(connected, b"ping".to_vec()).await.unwrap();
    assert_eq!(read_all::<R>(accepted, 4).await, b"ping");
    R::write(accepted, b"pong".to_vec()).await.unwrap();
    assert_eq!(read_all::<R>(connected, 4).await, b"pong");
}

/// Whether these options can make the runtime's streams. If not, the error says why.
fn suits<R: Runtime>(options: &PairOptions) -> bool {
    if R::ASKS_FOR_A_RING && !common::ring_is_there() {
        return false;
    }
    let engine = options.factory().unwrap().backend();
    if R::Stream::NEEDS_RING && engine == Backend::Epoll {
        let error = R::block_on({
            let options = options.clone();
            async move { options.make_pair::<R::Stream>().await.map(drop).unwrap_err() }
        });
        assert_eq!((error.step(), error.kind()), (Step::Options, ErrorKind::Unsupported));
        return false;
    }
    true
}

fn every_call_makes_its_streams<R: Runtime>(options: PairOptions) {
    R::block_on(async move {
        for (way, pair) in every_async_way::<R::Stream>(&options).await {
            let mut pair = pair.expect(way);
            assert_serves::<R>(&mut pair).await;
        }
        let factory = options.factory().unwrap();
        for mut pair in factory.pairs::<R::Stream>(40).await.unwrap() {
            assert_serves::<R>(&mut pair).await;
        }
        assert_serves::<R>(&mut factory.pair_blocking().unwrap()).await;
        assert_serves::<R>(&mut options.make_pair_blocking().unwrap()).await;
    });
}

fn late_pairs_are_its_streams_too<R: Runtime>(options: PairOptions) {
    alone_with_late_handshakes(|| {
        R::block_on(async move {
            let factory = options.factory().unwrap();
            while factory.stats().parked < 50 {
                let made = join_all((0..20).map(|_| factory.pair::<R::Stream>())).await;
                for pair in made {
                    assert_serves::<R>(&mut pair.unwrap()).await;
                }
                assert_serves::<R>(&mut options.make_pair().await.unwrap()).await;
                assert!(factory.stats().pairs < 100_000, "pairs are not late here");
            }
        });
    });
}

fn a_dropped_end_resets_or_ends_the_other<R: Runtime>(options: PairOptions) {
    R::block_on(async move {
        for (linger, reads) in [(Linger::Reset, Err(ErrorKind::ConnectionReset)), (Linger::Graceful, Ok(Vec::new()))] {
            let (accepted, mut connected) = options.clone().linger(linger).make_pair::<R::Stream>().await.unwrap();
            drop(accepted);
            assert_eq!(R::read(&mut connected).await.map_err(|error| error.kind()), reads);
        }
    });
}

fn abort_resets_at_once<R: Runtime>(options: PairOptions) {
    R::block_on(async move {
        let (accepted, mut connected) = options.linger(Linger::Graceful).make_pair::<R::Stream>().await.unwrap();
        ringpair::abort(&accepted).unwrap();
        assert_eq!(R::read(&mut connected).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

fn a_mebibyte_arrives_whole<R: Runtime>(options: PairOptions) {
    R::block_on(async move {
        let bytes: Vec<u8> = (0..MEBIBYTE).map(|number| (number * number / 251) as u8).collect();
        let (mut accepted, mut connected) = options.make_pair::<R::Stream>().await.unwrap();
        let both = join(R::write(&mut accepted, bytes.clone()), read_all::<R>(&mut connected, MEBIBYTE));
        let (written, read) = both.await;
        written.unwrap();
        assert!(read == bytes, "what arrived is not what was sent");
    });
}

fn futures_can_be_dropped<R: Runtime>(options: PairOptions) {
    alone_with_late_handshakes(|| {
        R::block_on(async move {
            let factory = options.factory().unwrap();
            for _ in 0..50 {
                let mut dropped = Box::pin(factory.pair::<R::Stream>());
                let _ = dropped.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                drop(dropped);
                assert_serves::<R>(&mut factory.pair().await.unwrap()).await;
            }
        });
    });
}

fn its_streams_have_the_mode_that_it_needs<R: Runtime>(options: PairOptions) {
    R::block_on(async move {
        let (accepted, connected) = options.make_pair::<R::Stream>().await.unwrap();
        for flags in [&accepted, &connected].map(flags_of) {
            assert_ne!(flags & O_CLOEXEC, 0);
            if let Some(nonblocking) = R::IS_NONBLOCKING {
                assert_eq!(flags & O_NONBLOCK != 0, nonblocking);
            }
        }
    });
}

fn outside_its_runtime_an_error_names_the_call<R: Runtime>(options: PairOptions) {
    let Some(expected) = R::OUTSIDE else { return };
    alone(|| {
        let factory = options.factory().unwrap();
        drop(options.make_pair_blocking::<std::net::TcpStream>().unwrap()); // the thread keeps what it needs
        let before = descriptors();
        for made in [factory.pair_blocking::<R::Stream>(), options.make_pair_blocking::<R::Stream>()] {
            let error = made.map(drop).unwrap_err();
            assert_eq!(error.step(), Step::Convert);
            for part in [expected, "pair_blocking::<std::net::TcpStream>()"] {
                assert!(error.to_string().contains(part), "{error}");
            }
        }
        assert_descriptors_become(before..=before);
    });
}

/// Runs all bodies for one runtime, on both engines.
macro_rules! on_runtime {
    ($runtime:ty) => {
        on_runtime!($runtime: every_call_makes_its_streams, late_pairs_are_its_streams_too,
            a_dropped_end_resets_or_ends_the_other, abort_resets_at_once, a_mebibyte_arrives_whole,
            futures_can_be_dropped, its_streams_have_the_mode_that_it_needs,
            outside_its_runtime_an_error_names_the_call);
    };
    ($runtime:ty: $($body:ident),+) => {
        $(fn $body(options: ringpair::PairOptions) {
            if super::suits::<$runtime>(&options) {
                super::$body::<$runtime>(options);
            }
        })+
        crate::common::on_every_engine!($($body),+);
    };
}

#[cfg(feature = "tokio")]
mod tokio_runtimes {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::runtime::Builder;

    /// Its runtime: one thread, or two.
    struct Tokio<const WORKERS: usize>;

    impl<const WORKERS: usize> Runtime for Tokio<WORKERS> {
        type Stream = TcpStream;
        const IS_NONBLOCKING: Option<bool> = Some(true);
        const OUTSIDE: Option<&'static str> = Some("a tokio runtime");

        fn block_on<T: 'static>(task: impl Future<Output = T> + 'static) -> T {
            let mut builder = match WORKERS {
                0 => Builder::new_current_thread(),
                _ => Builder::new_multi_thread(),
            };
            builder.worker_threads(WORKERS.max(1)).enable_io().build().unwrap().block_on(task)
        }

        async fn read(stream: &mut TcpStream) -> Result<Vec<u8>> {
            let mut bytes = vec![0; 65536];
            let count = stream.read(&mut bytes).await?;
            bytes.truncate(count);
            Ok(bytes)
        }

        async fn write(stream: &mut TcpStream, bytes: Vec<u8>) -> Result<()> {
            stream.write_all(&bytes).await
        }
    }

    mod one_thread {
        on_runtime!(super::Tokio<0>);
    }
    mod two_workers {
        on_runtime!(super::Tokio<2>);
    }

    #[test]
    fn its_futures_are_send() {
        fn assert_send<T: Send>(_: T) {}
        let options = PairOptions::new();
        assert_send(ringpair::pair::<TcpStream>());
        assert_send(options.make_pair::<TcpStream>());
        assert_send(options.make_pair_with(|fd| TcpStream::from_std(fd.into())));
        if let Ok(factory) = options.factory() {
            assert_send(factory.pair::<TcpStream>());
            assert_send(factory.pairs::<TcpStream>(1));
            assert_send(factory.stream::<TcpStream>(1));
            assert_send(factory.pair_with(|fd| TcpStream::from_std(fd.into())));
        }
    }
}

#[cfg(feature = "tokio-uring")]
mod tokio_uring_runtime {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use tokio_uring::net::TcpStream;

    struct TokioUring;

    impl Runtime for TokioUring {
        type Stream = TcpStream;
        const ASKS_FOR_A_RING: bool = true;
        const IS_NONBLOCKING: Option<bool> = Some(false);
        const OUTSIDE: Option<&'static str> = None; // such a stream is made, and panics when it is used

        fn block_on<T: 'static>(task: impl Future<Output = T> + 'static) -> T {
            tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap().block_on(task)
        }

        async fn read(stream: &mut TcpStream) -> Result<Vec<u8>> {
            let (count, mut bytes) = TcpStream::read(stream, vec![0; 65536]).await;
            bytes.truncate(count?);
            Ok(bytes)
        }

        async fn write(stream: &mut TcpStream, bytes: Vec<u8>) -> Result<()> {
            stream.write_all(bytes).await.0
        }
    }

    on_runtime!(TokioUring);

    /// The table of problems quotes the panic.
    #[test]
    fn in_a_tokio_runtime_its_streams_panic_at_first_use() {
        if !common::ring_is_there() {
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_accepted, connected) = runtime.block_on(ringpair::make_socket_pair()).unwrap();
        let read = AssertUnwindSafe(|| drop(runtime.block_on(connected.read(vec![0]))));
        let write = AssertUnwindSafe(|| drop(runtime.block_on(connected.write_all(vec![0]))));
        for (panic, expected) in [catch_unwind(read), catch_unwind(write)].into_iter().zip(PANICS) {
            let panic = panic.unwrap_err();
            let says = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            assert_eq!(says, Some(expected));
            assert!(include_str!("../README.md").contains(expected));
        }
    }

    const PANICS: [&str; 2] = ["Not in a runtime context", "Could not submit op; not in runtime context"];
}

#[cfg(feature = "smol")]
mod smol_runtime {
    use super::*;
    use async_io::Async;
    use futures_util::{AsyncReadExt, AsyncWriteExt};
    use std::net::TcpStream;

    struct Smol;

    impl Runtime for Smol {
        type Stream = Async<TcpStream>;
        const IS_NONBLOCKING: Option<bool> = Some(true);
        const OUTSIDE: Option<&'static str> = None; // its reactor is a thread of its own

        fn block_on<T: 'static>(task: impl Future<Output = T> + 'static) -> T {
            async_io::block_on(task)
        }

        async fn read(stream: &mut Async<TcpStream>) -> Result<Vec<u8>> {
            let mut bytes = vec![0; 65536];
            let count = stream.read(&mut bytes).await?;
            bytes.truncate(count);
            Ok(bytes)
        }

        async fn write(stream: &mut Async<TcpStream>, bytes: Vec<u8>) -> Result<()> {
            stream.write_all(&bytes).await
        }
    }

    on_runtime!(Smol);
}

#[cfg(feature = "compio")]
mod compio_runtime_ {
    use super::*;
    use compio_io::{AsyncRead, AsyncWriteExt};
    use compio_net::TcpStream;

    struct Compio;

    impl Runtime for Compio {
        type Stream = TcpStream;
        const ASKS_FOR_A_RING: bool = true;
        const IS_NONBLOCKING: Option<bool> = None;
        const OUTSIDE: Option<&'static str> = Some("a compio runtime");

        fn block_on<T: 'static>(task: impl Future<Output = T> + 'static) -> T {
            compio_runtime::Runtime::new().unwrap().block_on(task)
        }

        async fn read(stream: &mut TcpStream) -> Result<Vec<u8>> {
            let read = stream.read(Vec::with_capacity(65536)).await;
            read.0.map(|_| read.1)
        }

        async fn write(stream: &mut TcpStream, bytes: Vec<u8>) -> Result<()> {
            stream.write_all(bytes).await.0
        }
    }

    on_runtime!(Compio);
}

#[cfg(feature = "monoio")]
mod monoio_runtimes {
    use super::*;
    use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
    use monoio::net::TcpStream;
    use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

    /// With its ring, or with its legacy driver.
    struct Monoio<const IS_LEGACY: bool>;

    impl<const IS_LEGACY: bool> Runtime for Monoio<IS_LEGACY> {
        type Stream = TcpStream;
        const ASKS_FOR_A_RING: bool = !IS_LEGACY;
        const IS_NONBLOCKING: Option<bool> = Some(IS_LEGACY);
        const OUTSIDE: Option<&'static str> = Some("a monoio runtime");

        fn block_on<T: 'static>(task: impl Future<Output = T> + 'static) -> T {
            match IS_LEGACY {
                true => RuntimeBuilder::<LegacyDriver>::new().build().unwrap().block_on(task),
                false => RuntimeBuilder::<IoUringDriver>::new().build().unwrap().block_on(task),
            }
        }

        async fn read(stream: &mut TcpStream) -> Result<Vec<u8>> {
            let (count, bytes) = stream.read(Vec::with_capacity(65536)).await;
            count.map(|_| bytes)
        }

        async fn write(stream: &mut TcpStream, bytes: Vec<u8>) -> Result<()> {
            stream.write_all(bytes).await.0.map(drop)
        }
    }

    mod on_its_ring {
        on_runtime!(super::Monoio<false>);
    }
    mod on_its_legacy_driver {
        on_runtime!(super::Monoio<true>);
    }
}

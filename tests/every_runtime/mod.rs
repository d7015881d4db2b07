//! Runs one list of bodies in every runtime, with its own stream, on both engines.
#![allow(dead_code, unused_imports, unused_macros, clippy::unwrap_used)] // each file uses a part

mod runtimes;

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::StreamExt;
use ringpair::{PairFactory, PairOptions, PairSocket, Result};
use socket2::SockRef;

pub(crate) use runtimes::*;

use crate::common::{descriptors, eventually, every_async_way, ring_is_there};

/// Two ends, the accepted one first.
pub(crate) type PairOf<R> = (<R as Runtime>::Stream, <R as Runtime>::Stream);

/// A runtime, its stream, and the calls that a test makes in it.
pub(crate) trait Runtime: Sized + 'static {
    type Stream: PairSocket + 'static;

    /// Whether it asks for a ring of its own when it starts: without one it cannot start, or a filter may kill it.
    const ASKS_FOR_A_RING: bool = false;

    /// Whether its calls are async. Those without a runtime block.
    const IS_ASYNC: bool = true;

    /// What its streams must be for its operations to wait; `None` if that is the driver's business.
    const IS_NONBLOCKING: Option<bool>;

    /// Part of the error of a stream that is made outside the runtime, if that is an error.
    const OUTSIDE: Option<&'static str> = None;

    fn block_on<T>(task: impl Future<Output = T>) -> T;

    /// Reads some bytes; none at the end of file.
    async fn read(stream: &mut Self::Stream) -> std::io::Result<Vec<u8>>;

    /// Writes all bytes.
    async fn write(stream: &mut Self::Stream, bytes: Vec<u8>) -> std::io::Result<()>;

    async fn pair(factory: &PairFactory) -> Result<PairOf<Self>> {
        factory.pair().await
    }

    async fn pairs(factory: &PairFactory, count: usize) -> Result<Vec<PairOf<Self>>> {
        factory.pairs(count).await
    }

    async fn one_shot(options: &PairOptions) -> Result<PairOf<Self>> {
        options.make_pair().await
    }
}

/// A runtime with tasks beside the first, which it drops when it ends.
pub(crate) trait Spawns: Runtime {
    fn spawn(task: impl Future<Output = ()> + 'static);
}

/// Runs bodies for one runtime, on both engines: `body::<R>(options)`. Skipped if the runtime cannot start here.
macro_rules! on_runtime {
    ($name:ident, $engines:ident, $runtime:ty: $($body:ident),+) => {
        mod $name {
            $(fn $body(options: ringpair::PairOptions) {
                if $crate::every_runtime::starts_here::<$runtime>() {
                    super::$body::<$runtime>(options);
                }
            })+
            $crate::common::$engines!($($body),+);
        }
    };
}
pub(crate) use on_runtime;

/// Runs each body without a runtime, and in every runtime.
macro_rules! on_every_runtime {
    ($($body:ident),+ $(,)?) => {
        $crate::every_runtime::on_runtime!(blocking, on_every_engine, $crate::every_runtime::Blocking: $($body),+);
        $crate::every_runtime::on_every_async_runtime!($($body),+);
    };
}
pub(crate) use on_every_runtime;

/// The same for bodies that drop or keep a future, which calls that block have not.
macro_rules! on_every_async_runtime {
    ($($body:ident),+ $(,)?) => {
        $crate::every_runtime::on_runtime!(in_an_executor, on_every_engine, $crate::every_runtime::Executor: $($body),+);
        #[cfg(feature = "smol")]
        $crate::every_runtime::on_runtime!(in_smol, on_every_engine, $crate::every_runtime::Smol: $($body),+);
        #[cfg(feature = "monoio")]
        $crate::every_runtime::on_runtime!(in_monoio, on_every_engine, $crate::every_runtime::Monoio<false>: $($body),+);
        #[cfg(feature = "monoio")]
        $crate::every_runtime::on_runtime!(in_legacy_monoio, on_every_engine, $crate::every_runtime::Monoio<true>: $($body),+);
        $crate::every_runtime::on_every_runtime_with_tasks!($($body),+);
    };
}
pub(crate) use on_every_async_runtime;

/// The same for bodies that end a runtime while its tasks wait.
///
/// `futures_executor` and `async_io` have no tasks but the first, and monoio keeps those that another thread has woken: its
/// queue of such wakes outlives the runtime. tokio-uring's streams are refused on epoll, see `tests/own_streams.rs`.
macro_rules! on_every_runtime_with_tasks {
    ($($body:ident),+ $(,)?) => {
        #[cfg(feature = "tokio")]
        $crate::every_runtime::on_runtime!(in_tokio, on_every_engine, $crate::every_runtime::Tokio<0>: $($body),+);
        #[cfg(feature = "tokio")]
        $crate::every_runtime::on_runtime!(in_tokio_with_workers, on_every_engine, $crate::every_runtime::Tokio<2>: $($body),+);
        #[cfg(feature = "tokio-uring")]
        $crate::every_runtime::on_runtime!(in_tokio_uring, on_the_ring_alone, $crate::every_runtime::TokioUring: $($body),+);
        #[cfg(feature = "compio")]
        $crate::every_runtime::on_runtime!(in_compio, on_every_engine, $crate::every_runtime::Compio: $($body),+);
    };
}
pub(crate) use on_every_runtime_with_tasks;

/// Whether the runtime can start here. If not, the test is skipped.
pub(crate) fn starts_here<R: Runtime>() -> bool {
    !R::ASKS_FOR_A_RING || ring_is_there()
}

/// The result of every call that makes pairs, with its name, in the current runtime.
pub(crate) async fn every_way_of<R: Runtime>(options: &PairOptions) -> Vec<(&'static str, Result<PairOf<R>>)> {
    let pair = || options.factory()?.pair_blocking();
    let pairs = || Ok(options.factory()?.pairs_blocking(2)?.pop().unwrap());
    let mut made = vec![
        ("make_pair_blocking", options.make_pair_blocking()),
        ("pair_blocking", pair()),
        ("pairs_blocking", pairs()),
    ];
    if R::IS_ASYNC {
        made.extend(every_async_way(options).await);
    }
    made
}

/// Reads exactly so many bytes.
pub(crate) async fn read_all<R: Runtime>(stream: &mut R::Stream, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        let read = R::read(stream).await.unwrap();
        assert!(!read.is_empty(), "end of file after {} of {count} bytes", all.len());
        all.extend(read);
    }
    all
}

/// Each end receives what the other sends, and nothing before it; every pair sends other bytes.
pub(crate) async fn assert_serves<R: Runtime>((accepted, connected): &mut PairOf<R>) {
    let token = local(connected).port().to_be_bytes();
    R::write(connected, token.to_vec()).await.unwrap();
    assert_eq!(read_all::<R>(accepted, 2).await, token);
    R::write(accepted, token.to_vec()).await.unwrap();
    assert_eq!(read_all::<R>(connected, 2).await, token);
}

/// Both ends have each other's address.
pub(crate) fn assert_is_a_pair<S: PairSocket>((accepted, connected): &(S, S)) {
    assert_eq!(peer(accepted), local(connected));
    assert_eq!(peer(connected), local(accepted));
}

pub(crate) async fn assert_is_reset<R: Runtime>(stream: &mut R::Stream) {
    assert_eq!(R::read(stream).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// Returns the address of an end.
pub(crate) fn local(end: &impl PairSocket) -> SocketAddr {
    SockRef::from(&end.fd()).local_addr().unwrap().as_socket().unwrap()
}

/// Returns the address of an end's peer.
pub(crate) fn peer(end: &impl PairSocket) -> SocketAddr {
    SockRef::from(&end.fd()).peer_addr().unwrap().as_socket().unwrap()
}

/// Opens what the runtime and the thread open once, and returns how many descriptors are open then.
pub(crate) async fn descriptors_once_used<R: Runtime>(options: &PairOptions) -> usize {
    let before = descriptors();
    let made = R::one_shot(options).await.unwrap();
    let open = descriptors();
    drop(made);
    assert!(open >= before + 2);
    assert_becomes::<R>(open - 2..=open - 2).await;
    open - 2
}

/// Waits until this number of descriptors is open. monoio closes a stream by its ring, when its task waits.
pub(crate) async fn assert_becomes<R: Runtime>(expected: RangeInclusive<usize>) {
    let begin = std::time::Instant::now();
    while begin.elapsed() < std::time::Duration::from_secs(20) {
        if expected.contains(&descriptors()) {
            return;
        }
        pause().await;
    }
    panic!("{} descriptors are open, and not {expected:?}: {:?}", descriptors(), open_files());
}

fn open_files() -> Vec<std::path::PathBuf> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok()).collect()
}

/// Wakes itself, and is complete at the next poll.
pub(crate) async fn pause() {
    let mut has_paused = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_paused, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls with a waker that wakes nothing.
pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

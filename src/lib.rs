//! Two connected TCP sockets on loopback, in one call, for tests, soak runs and benchmarks on Linux.
//!
//! The accept and the connect go to the kernel in one io_uring submission; the pair comes back as `(accepted, connected)`,
//! always in this order.
//!
//! ```
//! # #[cfg(feature = "tokio-uring")]
//! # fn main() {
//! # if !ringpair::ring_or_skip("the front page") { return }
//! ringpair::with_pair(async |accepted, connected| {
//!     drop(accepted); // sends a reset: zero linger is the default
//!     let (read, _) = connected.read(vec![0; 1]).await;
//!     assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
//! })
//! .unwrap();
//! # }
//! # #[cfg(not(feature = "tokio-uring"))]
//! # fn main() {}
//! ```
//!
//! **Use it** if the code under test needs real TCP: addresses, socket options, half-close, end of file, reset. Or if you
//! need very many pairs and no TIME_WAIT left behind.
//!
//! **Use something else** if that does more for you:
//!
//! | you need | take |
//! |---|---|
//! | bytes in and out, no sockets | `tokio::io::duplex` |
//! | any pair of stream sockets, TCP or not | [`UnixStream::pair`](std::os::unix::net::UnixStream::pair) |
//! | TCP on other systems than Linux | a listener of your own; set a timeout, and check the peer's address |
//! | several hosts, latency, lost packets, partitions | turmoil or madsim |
//! | production traffic | not this crate |
//!
//! **Choose how an end closes** by what the test asserts:
//!
//! | the test asserts | choose |
//! |---|---|
//! | nothing about closing, or that the other end is reset | [`Linger::Reset`] (the default) |
//! | end of file, half-close, that every byte arrives | [`Linger::Graceful`] |
//! | that `close` returns only when the other end's kernel has every byte, or the time is up | [`Linger::Wait(duration)`](Linger::Wait); dropping the end then blocks its thread |
//! | a reset now, although an operation is pending or a duplicate is open | any of them, and call [`ringpair::abort(&end)`](abort) |
//!
//! The kernel does three things with every choice:
//!
//! - A reset does not take back what has arrived. The other end reads that first, then gets `ECONNRESET`.
//! - An end that closes with unread bytes in its receive buffer sends a reset, even with `Graceful`.
//! - When both ends have called `shutdown(Write)`, closing leaves a TIME_WAIT, even with `Reset`.
//!
//! # Which call
//!
//! | you have | you want | call |
//! |---|---|---|
//! | no runtime | a test body that gets a pair of tokio-uring streams | [`with_pair`] |
//! | a tokio-uring runtime | one pair | [`make_socket_pair`] |
//! | any executor | one pair with other options, or of other streams | [`PairOptions::make_pair`] |
//! | no executor | the same | [`PairOptions::make_pair_blocking`] |
//! | any executor, or none | many pairs | [`PairOptions::factory`] |
//! | code under test | a peer that plays a script, with or without a socket | [`mocket`] |
//! | code under test | each of its reads and writes to fail in turn | [`fuse`] |
//! | a socket that is also held elsewhere | a reset now | [`abort`] |
//! | code that dials | an address that refuses, hangs, resets or stays silent | [`endpoint`] |
//! | a live pair | a peer that vanishes, a lost FIN, a full send buffer | [`link`] |
//! | a host that may not have io_uring | to skip a test that needs it | [`ring_or_skip`] |
//! | a host without io_uring | to know why, and what to do about it | [`probe`](probe()) |
//!
//! Async calls need no feature and run in every executor: ringpair waits by itself, and knows no runtime. A stream type may need
//! one: `tokio::net::TcpStream` is registered with the runtime that is current when the pair is handed out.
//!
//! [Recipes](recipes): TLS, framing, HTTP, short transfers, cancellation and more, each at most a screen.
//! [How it works](how_it_works) describes how a pair is made, from the call to the submission queue and back, and what each
//! engine does.

#![cfg_attr(docsrs, feature(doc_cfg))] // items and implementations tell their feature
// This page speaks of calls that need the feature.
#![cfg_attr(not(feature = "tokio-uring"), allow(rustdoc::broken_intra_doc_links))]

#[cfg(not(target_os = "linux"))]
compile_error!("ringpair is for Linux: its pairs are made through io_uring");

mod abort;
mod attempt;
#[cfg(feature = "epoll")]
pub mod conformance;
pub mod endpoint;
mod engine;
mod error;
mod factory;
mod finish;
pub mod fuse;
mod hazards;
#[cfg(doc)]
#[doc = include_str!("how_it_works.md")]
pub mod how_it_works {
    #[doc = include_str!("how_it_works/epoll_engine.md")]
    pub mod epoll_engine {}
    #[doc = include_str!("how_it_works/ring_engine.md")]
    pub mod ring_engine {}
}
mod lease;
pub mod link;
mod listener;
mod maker;
mod matching;
#[cfg(feature = "measure")]
pub mod measure;
pub mod mocket;
mod netstat;
mod one_shot;
mod options;
mod pool;
pub mod probe;
#[cfg(all(doc, not(doctest)))] // they run as tests, in tests/recipes
pub mod recipes;
mod skip;
mod sockets;
mod stream;
mod streams;
mod wait;

pub use abort::abort;
#[cfg(ringpair_faults)]
#[doc(hidden)]
pub use engine::faults;
pub use error::{Error, Result, Step};
pub use factory::{FactoryStats, PairFactory};
pub use one_shot::{pair, pair_blocking};
pub use options::{Backend, End, Linger, PairOptions};
pub use probe::{Probe, probe};
pub use skip::ring_or_skip;
/// The borrowed socket that the closure of [`PairOptions::configure`] gets, with every option that `socket2` knows.
pub use socket2::SockRef;
pub use stream::PairStream;
pub use streams::PairSocket;

#[cfg(feature = "tokio-uring")]
pub use with_runtime::{make_socket_pair, with_pair};

#[cfg(feature = "tokio-uring")]
mod with_runtime {
    use std::io::ErrorKind;

    use tokio_uring::net::TcpStream;

    use crate::engine::is_absence;
    use crate::hazards::memlock::{patiently, refuse_without_room};
    use crate::lease::Lease;
    use crate::probe::refuse_if_asking_kills;
    use crate::skip::say_skipped;
    use crate::{Error, PairOptions, Result, Step};

    /// Makes a pair of tokio-uring streams with the default options: 127.0.0.1, reset on close.
    ///
    /// ```
    /// # if !ringpair::ring_or_skip("make_socket_pair") { return }
    /// let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
    /// runtime.block_on(async {
    ///     let (accepted, connected) = ringpair::make_socket_pair().await.unwrap();
    ///     accepted.write_all(b"ping".to_vec()).await.0.unwrap();
    ///     let (read, bytes) = connected.read(vec![0; 4]).await;
    ///     assert_eq!(&bytes[..read.unwrap()], b"ping");
    /// });
    /// ```
    ///
    /// The streams work in a tokio-uring runtime only. In a plain tokio runtime the pair is made, but its first read or write
    /// panics: "Not in a runtime context", or "Could not submit op; not in runtime context". Use [`pair`](crate::pair) with a
    /// stream of that runtime.
    ///
    /// # Errors
    ///
    /// [`Step::Options`] if this thread is in no runtime. Otherwise as [`PairOptions::make_pair`].
    ///
    /// # Source
    ///
    /// As [`PairOptions::make_pair`]: `IORING_OP_ACCEPT` and `IORING_OP_CONNECT` (Linux 5.5).
    pub async fn make_socket_pair() -> Result<(TcpStream, TcpStream)> {
        if tokio::runtime::Handle::try_current().is_err() {
            let why = "make_socket_pair makes streams for a tokio-uring runtime, and this thread is in none; \
                       with_pair starts one";
            return Err(Step::Options.refused(ErrorKind::Unsupported, why));
        }
        PairOptions::new().make_pair().await
    }

    /// Entries of the runtime's submission queue: enough for a test, and two pages of locked memory, see `room`.
    const ENTRIES: u32 = 32;

    /// Starts a small tokio-uring runtime, makes a pair, and runs `body` with it.
    ///
    /// ```
    /// # fn main() -> ringpair::Result<()> {
    /// # if !ringpair::ring_or_skip("with_pair") { return Ok(()) }
    /// let echoed = ringpair::with_pair(async |accepted, connected| {
    ///     connected.write_all(b"ping".to_vec()).await.0.unwrap();
    ///     let (read, bytes) = accepted.read(vec![0; 4]).await;
    ///     bytes[..read.unwrap()].to_vec()
    /// })?;
    /// assert_eq!(echoed, b"ping");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Step::Options`] if this thread is in a runtime already: await [`make_socket_pair`] in one of tokio-uring, and
    /// [`pair`](crate::pair) in one of tokio. [`Step::Ring`] if the runtime cannot be started. If the host has no io_uring,
    /// this call also prints a line to standard error, past libtest's capture, as [`ring_or_skip`](crate::ring_or_skip) does;
    /// to skip a test, call that one. Otherwise as [`PairOptions::make_pair`].
    ///
    /// # Source
    ///
    /// As [`PairOptions::make_pair`], and `io_uring_setup(2)` for the runtime.
    pub fn with_pair<T>(body: impl AsyncFnOnce(TcpStream, TcpStream) -> T) -> Result<T> {
        if tokio::runtime::Handle::try_current().is_ok() {
            let why = "with_pair starts a runtime of its own, and this thread is in one already; in tokio-uring's await \
                       make_socket_pair(), in tokio's pair::<tokio::net::TcpStream>()";
            return Err(Step::Options.refused(ErrorKind::Unsupported, why));
        }
        // The thread's own ring first, which the pair needs anyway: it tells whether there is room for the runtime's.
        let plan = PairOptions::new().plan_for::<TcpStream>()?;
        let mut lease = Lease::of_this_thread_blocking(&plan).map_err(skipped_if_absent)?;
        let mut builder = tokio_uring::builder();
        builder.entries(ENTRIES);
        let runtime = || {
            refuse_if_asking_kills()?;
            refuse_without_room(&lease.engine)?;
            tokio_uring::Runtime::new(&builder)
        };
        let runtime = patiently(runtime).map_err(Step::Ring.failed()).map_err(skipped_if_absent)?;
        lease.keep();
        drop(lease);
        runtime.block_on(async {
            let (accepted, connected) = make_socket_pair().await?;
            Ok(body(accepted, connected).await)
        })
    }

    /// Prints that io_uring is missing, past the test harness's capture, if that is the error.
    fn skipped_if_absent(error: Error) -> Error {
        if error.step() == Step::Ring && is_absence(error.cause()) {
            say_skipped(std::thread::current().name().unwrap_or("with_pair"), error.cause());
        }
        error
    }
}

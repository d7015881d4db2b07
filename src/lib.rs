//! Two connected TCP sockets on loopback, in one call, for tests, soak runs and benchmarks on Linux.
//!
//! ```
//! # #[cfg(feature = "tokio")]
//! # mod example {
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::TcpStream;
//!
//! #[tokio::test]
//! async fn a_ping_arrives() {
//!     let (mut accepted, mut connected) = ringpair::pair::<TcpStream>().await.unwrap();
//!     connected.write_all(b"ping").await.unwrap();
//!     let mut read = [0; 4];
//!     accepted.read_exact(&mut read).await.unwrap();
//!     assert_eq!(&read, b"ping");
//! }
//! # }
//! ```
//!
//! **Dropping an end resets the connection and discards unsent data. For end of file, use [`PairOptions::graceful()`].**
//!
//! Why not a listener and six lines of your own?
//!
//! - **The right peer.** Any process can connect to a listener on loopback. ringpair verifies both ends of every pair; connections
//!   from other processes are reset and counted.
//! - **No hang.** Every wait has a deadline, in every executor, and an error names the step and the cause.
//! - **No leak.** Futures can be dropped at any point, tests can panic, processes can fork: no descriptor stays open.
//! - **A chosen close.** A reset leaves no TIME_WAIT, so millions of pairs in a row cost the same. FIN is one word away.
//!
//! The accept and the connect go to the kernel in one io_uring submission. If a container blocks io_uring, plain system calls do the
//! same behind the feature `epoll`.
//!
//! # Your runtime
//!
//! | you have | feature | call |
//! |---|---|---|
//! | tokio | `tokio` | [`pair::<tokio::net::TcpStream>().await`](pair()) |
//! | no runtime | | [`pair_blocking::<std::net::TcpStream>()`](pair_blocking) |
//! | tokio-uring | `tokio-uring` (default) | [`make_socket_pair().await`](make_socket_pair), or [`with_pair`], which starts a runtime |
//! | smol | `smol` | [`pair::<async_io::Async<std::net::TcpStream>>().await`](pair()) |
//! | compio | `compio` | [`pair::<compio::net::TcpStream>().await`](pair()) |
//! | monoio | `monoio` | [`pair::<monoio::net::TcpStream>().await`](pair()) |
//! | anything else | | [`PairOptions::make_pair_with`]: a closure makes the stream |
//!
//! # How an end closes
//!
//! | the test asserts | choose |
//! |---|---|
//! | nothing about closing, or that the other end is reset | [`Linger::Reset`] (the default) |
//! | end of file, half-close, that every byte arrives | [`PairOptions::graceful()`] |
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
//! | any executor | one pair | [`pair()`] |
//! | no executor | one pair | [`pair_blocking`] |
//! | either | one pair with options: address, linger, timeout, any socket option | [`PairOptions`] |
//! | either | many pairs | [`PairOptions::factory`] |
//! | no runtime | a test body that gets a pair of tokio-uring streams | [`with_pair`] |
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

#![cfg_attr(docsrs, feature(doc_cfg))] // the pages show the feature of each item
// This page links to calls that need the feature.
#![cfg_attr(not(feature = "tokio-uring"), allow(rustdoc::broken_intra_doc_links))]

#[cfg(not(target_os = "linux"))]
compile_error!("ringpair is for Linux: its pairs are made through io_uring");
#[cfg(not(target_pointer_width = "64"))]
compile_error!("ringpair needs a 64-bit target: the crate io-uring supports no other");

mod abort;
mod attempt;
#[cfg(feature = "tokio")]
pub mod conformance;
pub mod endpoint;
mod engine;
mod environment;
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
mod owned;
mod poll;
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
    use crate::probe::{InDoubt, refuse_if_seccomp_kills};
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
    /// [`Step::Options`] if this thread is not in a runtime. Otherwise as [`PairOptions::make_pair`].
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

    /// Entries of the runtime's submission queue: enough for a test, and two pages of locked memory.
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
    /// this call also prints a line to standard error, past libtest's capture. To skip a test, call
    /// [`ring_or_skip`](crate::ring_or_skip). Otherwise as [`PairOptions::make_pair`].
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
        // The thread's own ring comes first, because it can tell whether there is room for the runtime's ring.
        let plan = PairOptions::new().plan_for::<TcpStream>()?;
        let mut lease = Lease::of_this_thread_blocking(&plan).map_err(skipped_if_absent)?;
        let mut builder = tokio_uring::builder();
        builder.entries(ENTRIES);
        let runtime = || {
            refuse_if_seccomp_kills(InDoubt::Ask)?;
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

    /// If the error means that io_uring is missing, prints that, past the test harness's capture.
    fn skipped_if_absent(error: Error) -> Error {
        if error.step() == Step::Ring && is_absence(error.cause()) {
            say_skipped(std::thread::current().name().unwrap_or("with_pair"), error.cause());
        }
        error
    }
}

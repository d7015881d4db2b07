//! Checks that a stream behaves as a stream should. For authors of streams and stream wrappers. Feature `tokio`.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use ringpair::conformance::check_stream;
//!
//! let report = check_stream(async || Ok(tokio::io::duplex(4096))).await;
//! println!("{report}"); // a line for every check, and their sum
//! report.assert();
//! # }
//! ```
//!
//! Pass a closure that makes a connected pair; the two ends may have different types. Each check gets a fresh pair, and runs
//! twice, once from each end, unless it does the same at both. The *near* end is the end that a check describes.
//!
//! | the stream has | call |
//! |---|---|
//! | `AsyncRead` and `AsyncWrite` of tokio | [`check_stream`] |
//! | those of `futures::io`: smol, async-std's heirs, compio's compatibility layer | [`check_futures_stream`] |
//! | operations that own their buffers: tokio-uring, compio, monoio | [`check_owned_stream`], with the trait [`OwnedBufStream`] and, for monoio, [`MonoioStream`](crate::mocket::owned) |
//! | tokio's traits, and it is `Send` | [`Conformance::check_stream_on_two_threads`] |
//!
//! # What is checked
//!
//! | name | promise |
//! |---|---|
//! | `bytes-arrive-in-order` | many bytes, written in chunks of many sizes, are read as they were written |
//! | `both-directions-at-once` | many bytes each way, through the four halves of `tokio::io::split` |
//! | `requests-and-answers` | thousands of requests of eight bytes, each answered before the next |
//! | `idle-stream-still-works` | bytes arrive each way after a pause, as they did before it |
//! | `writes-of-any-size` | single writes of 1 byte to 1 MiB arrive whole |
//! | `reads-into-any-size` | reads into buffers of 2 bytes to 1 MiB bring every byte, and no end of file |
//! | `small-reads-lose-nothing` | bytes that do not fit into a reader's buffer of one byte are there for the next read |
//! | `read-appends-to-its-buffer` | a read keeps what a `ReadBuf` already holds, and appends its bytes |
//! | `empty-read-takes-nothing` | a read into no room neither takes bytes nor ends the stream |
//! | `empty-write-sends-nothing` | a write of no bytes takes none, and is no end of file to the peer |
//! | `vectored-writes-keep-order` | slices arrive one after the other, with empty ones among them |
//! | `vectored-writes-of-many-slices` | 9 to 1025 slices in one write arrive whole, and so do large ones |
//! | `flush-of-nothing-completes` | a flush completes before anything was written, and again right after it |
//! | `write-wakes-reader` | a write of a single byte wakes a pending read |
//! | `shutdown-wakes-reader` | a shutdown wakes the peer's pending read, which returns end of file |
//! | `drop-wakes-reader` | a drop wakes the peer's pending read, which returns end of file or an error |
//! | `pending-read-stays-quiet` | a read with nothing to read does not wake its task in a loop, but does when bytes arrive |
//! | `write-blocks-without-reader` | a write blocks eventually if the peer does not read |
//! | `pending-write-stays-quiet` | a write without room does not wake its task in a loop |
//! | `read-wakes-writer` | a read wakes the peer's pending write, and the bytes that follow arrive in order |
//! | `drop-wakes-writer` | a drop wakes the peer's pending write, whatever it returns |
//! | `pending-read-allows-writes` | an end can write while its read is pending, and its peer's |
//! | `pending-write-allows-reads` | an end can read while its write is pending |
//! | `read-wakes-last-poller` | a pending read that a second task polls wakes the second task |
//! | `write-wakes-last-poller` | a pending write that a second task polls wakes the second task |
//! | `reader-and-writer-wake-separately` | if one task waits to read and another to write, each is woken for its own operation |
//! | `cancelled-read-loses-nothing` | bytes that arrive after a read was cancelled are there for the next read, however many reads are cancelled |
//! | `cancelled-write-sends-nothing` | no byte of a cancelled pending write is sent, and other bytes can be written after it |
//! | `shutdown-sends-what-was-written` | bytes that were written and not flushed arrive before end of file |
//! | `shutdown-sends-much-that-was-written` | the same for more bytes than most buffers hold |
//! | `shutdown-keeps-unread-bytes` | an end that has shut down can still read what had arrived before |
//! | `shutdown-leaves-read-pending` | a read that is pending during a shutdown of its own end is woken by the peer's next write |
//! | `bytes-survive-both-shutdowns` | if both ends write and shut down before either reads, every byte arrives |
//! | `half-close-keeps-other-direction` | after a shutdown the peer reads end of file and can answer |
//! | `half-close-allows-long-answer` | and the answer may be longer than any buffer |
//! | `eof-stays` | every read after end of file is end of file, whatever its buffer, also after bytes went the other way, and after the peer is dropped |
//! | `write-after-shutdown-fails` | a write and flush after a shutdown of the same end is an error or takes no bytes, and the peer reads none of it |
//! | `second-shutdown-succeeds` | it succeeds, and the other direction goes on |
//! | `eof-after-shutdown-and-drop` | after a shutdown and a drop every byte arrives, and then end of file, not an error |
//! | `eof-after-drop` | after a drop alone the peer reads end of file, or `UnexpectedEof`; any other error is a *reset on drop* |
//! | `flushed-bytes-survive-drop` | many bytes that were written and flushed arrive although the writer is dropped, and then end of file as above |
//! | `received-bytes-come-before-an-error` | bytes that had arrived before a drop are read before its end of file or error |
//! | `read-ends-after-drop` | after a drop every read returns end of file or an error |
//! | `write-fails-after-drop` | a write to a dropped peer fails eventually |
//!
//! `check_stream_on_two_threads` adds `ends-work-on-two-threads`: each end works on a thread of its own, and on the first
//! thread afterwards.
//!
//! A check passes, fails, times out, or is *not exercised*: for example, a stream that takes every write at once has no pending
//! write to wake. See [`Outcome`].
//!
//! # Streams that reset on drop
//!
//! A TCP stream with zero linger, like a pair with the default [`Linger::Reset`](crate::Linger::Reset), resets the connection
//! when it is dropped. The peer then reads an error instead of end of file, and bytes that were not sent yet are lost:
//! `eof-after-drop` fails with *reset on drop*, and usually `flushed-bytes-survive-drop` and `eof-after-shutdown-and-drop` fail
//! too. If that is what you want, leave these checks out with [`without`](Conformance::without).
//!
//! # Checks of other libraries
//!
//! `tests/foreign` has these in Rust, and runs them on pairs. The suite covers most of them:
//!
//! | Go's `nettest.TestConn` | here |
//! |---|---|
//! | `BasicIO` | `bytes-arrive-in-order`, `flushed-bytes-survive-drop`, `eof-after-drop` |
//! | `PingPong` | `requests-and-answers`, `eof-after-drop` |
//! | `RacyRead`, `RacyWrite` | not covered: two reads or two writes at once do not compile. A cancelled one: `cancelled-read-loses-nothing`, `cancelled-write-sends-nothing` |
//! | `ReadTimeout` | `pending-read-allows-writes` |
//! | `WriteTimeout` | `pending-write-allows-reads` |
//! | `PastTimeout`, `PresentTimeout`, `FutureTimeout` | not covered: these streams have no deadlines. A timeout drops a future: the two checks of cancelled operations |
//! | `CloseTimeout` | not covered: an end in use cannot be dropped. For its peer: `drop-wakes-reader`, `drop-wakes-writer` |
//! | `ConcurrentMethods` | not covered, except for a read and a write at once: `both-directions-at-once`, `reader-and-writer-wake-separately` |
//!
//! | trio's `trio.testing` | here |
//! |---|---|
//! | `check_one_way_stream`: bytes arrive, also after the sender has closed, and then end of file, again and again | `bytes-arrive-in-order`, `received-bytes-come-before-an-error`, `eof-after-drop`, `eof-stays` |
//! | `check_one_way_stream`: a sender whose receiver has closed gets an error | `write-fails-after-drop` |
//! | `check_one_way_stream`: a full stream blocks the sender, until the receiver reads | `write-blocks-without-reader`, `read-wakes-writer` |
//! | `check_one_way_stream`: calls at once, on a closed stream, or with wrong arguments are errors; checkpoints | not covered: these do not compile, or do not exist |
//! | `check_two_way_stream` | `both-directions-at-once`; every check that differs by end runs from each |
//! | `check_half_closeable_stream` | `half-close-keeps-other-direction`, `write-after-shutdown-fails`, `second-shutdown-succeeds` |
//!
//! # What is not checked
//!
//! Speed, and options of the stream. A stream that passes is not proven correct: a bug that needs a rare schedule may not show.

mod bulk;
mod checks;
mod end;
mod faces;
mod names;
mod owned;
mod pattern;
mod report;
mod suite;
mod task;
mod threads;
mod timer;
mod verdict;
mod watch;

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use self::checks::CHECKS;
pub use self::report::{Checked, Outcome, Report};
pub use self::suite::Conformance;
#[doc(no_inline)]
pub use crate::owned::{OwnedBufStream, OwnedResult};

/// Checks the streams that `make_pair` makes, with [the default options](Conformance::new).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use ringpair::{Linger, PairOptions, conformance::check_stream};
/// use tokio::net::TcpStream;
///
/// let options = PairOptions::new().linger(Linger::Graceful);
/// check_stream(async || Ok(options.make_pair::<TcpStream>().await?)).await.assert();
/// # }
/// ```
///
/// # Panics
///
/// As [`Conformance::check_stream`].
pub async fn check_stream<A, B>(make_pair: impl AsyncFn() -> io::Result<(A, B)>) -> Report
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    Conformance::new().check_stream(make_pair).await
}

/// Checks streams with the traits of `futures::io`, with [the default options](Conformance::new), in any executor.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use ringpair::conformance::check_futures_stream;
/// use tokio_util::compat::TokioAsyncReadCompatExt;
///
/// let make_pair = async || {
///     let (first, second) = tokio::io::duplex(4096);
///     Ok((first.compat(), second.compat()))
/// };
/// check_futures_stream(make_pair).await.assert();
/// # }
/// ```
///
/// # Panics
///
/// As [`Conformance::check_stream`].
pub async fn check_futures_stream<A, B>(make_pair: impl AsyncFn() -> io::Result<(A, B)>) -> Report
where
    A: futures_io::AsyncRead + futures_io::AsyncWrite + Unpin,
    B: futures_io::AsyncRead + futures_io::AsyncWrite + Unpin,
{
    Conformance::new().check_futures_stream(make_pair).await
}

/// Checks streams whose operations own their buffers, with [the default options](Conformance::new).
///
/// ```
/// # #[cfg(feature = "tokio-uring")]
/// # fn main() {
/// # if !ringpair::ring_or_skip("check_owned_stream") { return }
/// use ringpair::{Linger, PairOptions, conformance::check_owned_stream};
/// use tokio_uring::net::TcpStream;
///
/// let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
/// runtime.block_on(async {
///     let options = PairOptions::new().linger(Linger::Graceful);
///     check_owned_stream(async || Ok(options.make_pair::<TcpStream>().await?)).await.assert();
/// });
/// # }
/// # #[cfg(not(feature = "tokio-uring"))]
/// # fn main() {}
/// ```
///
/// # Panics
///
/// As [`Conformance::check_stream`].
pub async fn check_owned_stream<A, B>(make_pair: impl AsyncFn() -> io::Result<(A, B)>) -> Report
where
    A: OwnedBufStream,
    B: OwnedBufStream,
{
    Conformance::new().check_owned_stream(make_pair).await
}

/// Returns the name and the promise of every check of [`check_stream`], in the order in which they run.
///
/// ```
/// assert!(ringpair::conformance::checks().any(|(name, _)| name == "eof-stays"));
/// ```
pub fn checks() -> impl Iterator<Item = (&'static str, &'static str)> {
    CHECKS.iter().map(|check| (check.name, check.promise))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_page_lists_every_check_and_no_other() {
        let page = include_str!("mod.rs");
        let table = page.split_once("| name | promise |").unwrap().1.split_once("//!\n").unwrap().0;
        let listed: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("//! | `")).collect();
        let expected: Vec<String> = checks().map(|(name, promise)| format!("{name}` | {promise} |")).collect();
        assert_eq!(listed, expected);
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = checks().map(|(name, _)| name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

//! Does this stream behave as a stream should? Thirty checks for any duplex stream with tokio's faces. Feature `epoll`.
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
//! It is for who writes a stream, or wraps one: a codec, a proxy, a TLS or a test double. Give it a closure that makes a
//! connected pair; the two ends may be of different types. Each check is run twice, as it looks from either end, with a fresh
//! pair each time. The *near* end is the one that it is told from.
//!
//! # What is checked
//!
//! | name | what is promised |
//! |---|---|
//! | `bytes-arrive-whole-and-in-order` | many bytes that are written in chunks of many sizes are read as they were written |
//! | `both-directions-flow-at-once` | many bytes each way, through the four halves of `tokio::io::split` |
//! | `requests-and-answers-take-turns` | a thousand requests of eight bytes, each answered before the next |
//! | `a-small-buffer-loses-nothing` | what does not fit into a reader's buffer is there for the next read |
//! | `a-read-goes-on-where-its-buffer-is-filled-to` | what a `ReadBuf` holds already is left alone, and what is read comes after it |
//! | `an-empty-read-takes-nothing` | a read into no room neither takes bytes nor ends the stream |
//! | `an-empty-write-sends-nothing` | a write of no bytes takes none, and is no end of file to the peer |
//! | `vectored-writes-keep-their-order` | slices arrive one after the other, empty ones among them, and no more is said to be written than was given |
//! | `a-flush-of-nothing-completes` | a flush is through before anything was written, and another right after it |
//! | `a-pending-read-is-woken-by-a-write` | be it of a single byte |
//! | `a-pending-read-is-woken-by-end-of-file` | when the peer shuts down |
//! | `a-pending-read-is-woken-when-the-peer-is-dropped` | and ends with end of file or an error |
//! | `a-write-without-a-reader-is-pending-at-last` | a writer cannot write without end what nobody reads |
//! | `a-pending-write-is-woken-by-a-read` | and what is written then comes after what was |
//! | `a-pending-write-is-woken-when-the-peer-is-dropped` | whatever it ends with |
//! | `a-pending-read-holds-up-no-write` | an end can write while it waits for something to read |
//! | `a-pending-write-holds-up-no-read` | an end can read while it waits for room to write |
//! | `a-read-wakes-who-polled-it-last` | a pending read that another task polls wakes that one |
//! | `a-write-wakes-who-polled-it-last` | a pending write that another task polls wakes that one |
//! | `a-read-and-a-write-wake-a-task-each` | where one task waits to read and another to write, each is woken for its own |
//! | `a-cancelled-read-loses-nothing` | what arrives after a read was given up is there for the next, also where many are given up while bytes flow |
//! | `a-cancelled-write-sends-nothing` | of a write that was given up while pending no byte is sent, and other bytes can be written after it |
//! | `end-of-file-comes-after-the-last-byte` | a shutdown sends what was written and not flushed |
//! | `end-of-file-stays` | every read after end of file is end of file |
//! | `after-a-shutdown-the-other-direction-goes-on` | who has shut down can read on, until the peer shuts down too |
//! | `a-write-after-a-shutdown-is-an-error` | at the end that was shut down |
//! | `a-second-shutdown-is-harmless` | it succeeds, and the other direction goes on |
//! | `what-was-flushed-outlives-its-writer` | it can be read after the end that wrote it was dropped |
//! | `a-read-ends-after-the-peer-was-dropped` | with end of file or an error, again and again |
//! | `a-write-fails-at-last-after-the-peer-was-dropped` | a writer cannot write without end to nobody |
//!
//! # What others check, and where it is here
//!
//! | Go's `nettest.TestConn` | here |
//! |---|---|
//! | `BasicIO` | `bytes-arrive-whole-and-in-order`, `end-of-file-comes-after-the-last-byte` |
//! | `PingPong` | `requests-and-answers-take-turns` |
//! | `RacyRead` | `a-cancelled-read-loses-nothing`; that a buffer is left alone once its read was given up, Rust's borrows see to |
//! | `RacyWrite` | `a-cancelled-write-sends-nothing`; likewise |
//! | `ReadTimeout` | `a-pending-read-holds-up-no-write` |
//! | `WriteTimeout` | `a-pending-write-holds-up-no-read` |
//! | `PastTimeout`, `PresentTimeout`, `FutureTimeout` | the two on cancelled operations: in tokio a deadline is a future that is dropped, now or later |
//! | `CloseTimeout` | an end that is in use cannot be dropped; its peer can: `a-pending-read-is-woken-when-the-peer-is-dropped`, and for a write |
//! | `ConcurrentMethods` | `both-directions-flow-at-once`, `a-read-and-a-write-wake-a-task-each`; two reads at once Rust's borrows do not let through |
//!
//! | trio's `trio.testing` | here |
//! |---|---|
//! | `check_one_way_stream` | the checks on waiting, on cancelling, and on dropped ends; `end-of-file-stays`, `a-write-after-a-shutdown-is-an-error` |
//! | `check_two_way_stream` | each check is run from either end; `both-directions-flow-at-once` |
//! | `check_half_closeable_stream` | `after-a-shutdown-the-other-direction-goes-on`, `a-second-shutdown-is-harmless` |
//!
//! That two tasks may not send at once, and that what was closed may not be used, is an error in trio, and does not compile
//! in Rust.
//!
//! # What is not
//!
//! Threads: a check is one task, with a waker for each thing that waits. Speed. What a stream does with options of its own.
//! A stream that has passed has not been proven right: a bug that takes a rare schedule is not found by the common one.

mod checks;
mod end;
mod report;
mod task;
mod verdict;

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::unconstrained;
use tokio::time::timeout;

use self::checks::{CHECKS, Check, Scene};
use self::end::{Duplex, End, Watch, causes};
pub use self::report::{Checked, Outcome, Report};
use self::task::Caught;
use self::verdict::{Failure, Verdict};

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

/// The name of every check, with what it promises, in the order in which they run.
///
/// ```
/// assert!(ringpair::conformance::checks().any(|(name, _)| name == "end-of-file-stays"));
/// ```
pub fn checks() -> impl Iterator<Item = (&'static str, &'static str)> {
    CHECKS.iter().map(|check| (check.name, check.promise))
}

/// What is to be checked, and with how much patience.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::time::Duration;
/// use ringpair::conformance::Conformance;
///
/// let conformance = Conformance::new()
///     .watchdog(Duration::from_secs(5))
///     .without("a-second-shutdown-is-harmless", "our callers never do that");
/// conformance.check_stream(async || Ok(tokio::io::duplex(4096))).await.assert();
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Conformance {
    watchdog: Duration,
    transfer: usize,
    most_in_flight: usize,
    left_out: Vec<(String, String)>,
}

impl Conformance {
    /// All checks, with half a minute each, 1 MiB to send where it is to be much, and 64 MiB that a stream may hold.
    pub fn new() -> Conformance {
        Conformance {
            watchdog: Duration::from_secs(30),
            transfer: 1 << 20,
            most_in_flight: 64 << 20,
            left_out: Vec::new(),
        }
    }

    /// How long a check may take, the making of its pair included; twice as long in all, as it is run from either end.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::{io, time::Duration};
    /// # use ringpair::conformance::Conformance;
    /// let impatient = Conformance::new().watchdog(Duration::from_millis(1));
    /// let report = impatient.check_stream(async || std::future::pending::<io::Result<(tokio::io::Empty, tokio::io::Empty)>>().await).await;
    /// assert_eq!(report.failures().count(), report.checks.len());
    /// # }
    /// ```
    pub fn watchdog(mut self, time: Duration) -> Conformance {
        self.watchdog = time;
        self
    }

    /// How many bytes the checks send where it is to be many: fewer for a stream that is slow, more for one with large buffers.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use ringpair::conformance::Conformance;
    /// let modest = Conformance::new().transfer(10_000);
    /// modest.check_stream(async || Ok(tokio::io::duplex(1))).await.assert();
    /// # }
    /// ```
    pub fn transfer(mut self, bytes: usize) -> Conformance {
        self.transfer = bytes;
        self
    }

    /// How many bytes a stream may take from a writer while nobody reads, before a write is left pending. Also how many
    /// may be written to a peer that is gone before a write fails.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use ringpair::conformance::Conformance;
    /// let report = Conformance::new().most_in_flight(4096).check_stream(async || Ok(tokio::io::duplex(8192))).await;
    /// assert_eq!(report.failures().next().unwrap().name, "a-write-without-a-reader-is-pending-at-last");
    /// # }
    /// ```
    pub fn most_in_flight(mut self, bytes: usize) -> Conformance {
        self.most_in_flight = bytes;
        self
    }

    /// Leaves a check out, for a reason that stands in the report.
    ///
    /// A name that no check has is a failure in the report, and so is a reason without a letter: what is left out must not
    /// be lost sight of.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use ringpair::conformance::Conformance;
    /// let mistaken = Conformance::new().without("end-of-fiel-stays", "it is told once here");
    /// let report = mistaken.check_stream(async || Ok(tokio::io::duplex(4096))).await;
    /// assert!(report.to_string().contains("FAILED     end-of-fiel-stays: there is no such check to leave out"));
    /// # }
    /// ```
    pub fn without(mut self, name: impl Into<String>, reason: impl Into<String>) -> Conformance {
        self.left_out.push((name.into(), reason.into()));
        self
    }

    /// Checks the streams that `make_pair` makes. It is called twice for every check.
    ///
    /// The future is not `Send`, and asks nothing of that kind of the streams: await it in a test's body, not in a spawned task.
    /// A panic on the way is a failure of its check; the hook for panics prints it all the same. A check that is
    /// busy is cut off at its next operation when its time is up; a stream that never returns from a poll cannot be.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, and in one without a timer. Where that runtime's clock is paused, a check that waits for
    /// the kernel or another thread may time out at once; streams in memory are well served there: what hangs is told without a wait.
    pub async fn check_stream<A, B>(&self, make_pair: impl AsyncFn() -> io::Result<(A, B)>) -> Report
    where
        A: AsyncRead + AsyncWrite + Unpin,
        B: AsyncRead + AsyncWrite + Unpin,
    {
        let mut report = Report { checks: self.mistakes() };
        for check in CHECKS {
            let outcome = match self.left_out.iter().find(|(name, _)| name == check.name) {
                Some((_, reason)) => Outcome::LeftOut(reason.clone()),
                None => self.run_from_either_end(check, &make_pair).await,
            };
            report.checks.push(Checked { name: check.name.to_owned(), outcome });
        }
        report
    }

    /// What cannot be left out.
    fn mistakes(&self) -> Vec<Checked> {
        let mistake = |(name, reason): &(String, String)| {
            let why = if CHECKS.iter().all(|check| check.name != name) {
                "there is no such check to leave out"
            } else if !reason.contains(char::is_alphanumeric) {
                "it is left out for no reason"
            } else {
                return None;
            };
            Some(Checked { name: name.clone(), outcome: Outcome::Failed(why.to_owned()) })
        };
        self.left_out.iter().filter_map(mistake).collect()
    }

    async fn run_from_either_end<A: Duplex, B: Duplex>(
        &self,
        check: &Check,
        make_pair: &impl AsyncFn() -> io::Result<(A, B)>,
    ) -> Outcome {
        match self.told_from("first", self.watched(check, make_pair).await) {
            Outcome::Passed => {}
            other => return other,
        }
        let swapped = self.watched(check, async || {
            let (first, second) = make_pair().await?;
            Ok((second, first))
        });
        self.told_from("second", swapped.await)
    }

    /// Runs a check under the watchdog; `Err` with what was pending where its time ran out.
    async fn watched<A: Duplex, B: Duplex>(
        &self,
        check: &Check,
        make_pair: impl AsyncFn() -> io::Result<(A, B)>,
    ) -> Result<Verdict, String> {
        let watch = Rc::new(Watch::new(self.watchdog));
        let act = async {
            let (near, far) =
                make_pair().await.map_err(|error| Failure(format!("there is no pair: {}", causes(&error))))?;
            let near = End::new(Box::new(near), "near", watch.clone());
            let far = End::new(Box::new(far), "far", watch.clone());
            (check.run)(Scene { near, far, transfer: self.transfer, most_in_flight: self.most_in_flight }).await
        };
        // Unconstrained: where a runtime has a task yield, an operation would be pending that is not.
        match timeout(self.watchdog, unconstrained(Caught::new(act))).await {
            Ok(verdict) if !watch.was_over() => Ok(verdict),
            _ => Err(watch.pending()),
        }
    }

    fn told_from(&self, end: &str, came_of_it: Result<Verdict, String>) -> Outcome {
        match came_of_it {
            Ok(Ok(())) => Outcome::Passed,
            Ok(Err(Failure(why))) => Outcome::Failed(format!("{why} (near is the {end})")),
            Err(pending) => {
                Outcome::TimedOut(format!("after {:?}; pending: {pending} (near is the {end})", self.watchdog))
            }
        }
    }
}

impl Default for Conformance {
    fn default() -> Conformance {
        Conformance::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_page_lists_every_check_and_no_other() {
        let rows = include_str!("mod.rs").lines().filter_map(|line| line.strip_prefix("//! | `"));
        let listed: Vec<String> = rows.filter(|row| row.contains("` | ")).map(|row| format!("`{row}")).collect();
        let expected: Vec<String> = checks().map(|(name, promise)| format!("`{name}` | {promise} |")).collect();
        // The first table; those after it list the names of others.
        assert_eq!(listed[..expected.len()], expected);
        assert!(listed[expected.len()].starts_with("`BasicIO`"), "{}", listed[expected.len()]);
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = checks().map(|(name, _)| name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

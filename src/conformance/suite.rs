//! Chooses and runs the checks.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::unconstrained;

use super::checks::{CHECKS, Check, Face, IDLE, Plan, Runs, Scene};
use super::end::{Duplex, End, causes};
use super::faces::OfFutures;
use super::names;
use super::owned::OfOwned;
use super::report::{Checked, Outcome, Report};
use super::task::Caught;
use super::threads::{TWO_THREADS, ends_work_on_two_threads};
use super::timer::at_most;
use super::verdict::{Failure, Verdict};
use super::watch::{Side, Watch};
use crate::owned::OwnedBufStream;

/// Chooses the checks, their time limit, and how much they send.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::time::Duration;
/// use ringpair::conformance::Conformance;
///
/// let conformance = Conformance::new()
///     .watchdog(Duration::from_secs(5))
///     .without("second-shutdown-succeeds", "our callers never do that");
/// conformance.check_stream(async || Ok(tokio::io::duplex(4096))).await.assert();
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Conformance {
    watchdog: Duration,
    transfer: usize,
    max_in_flight: usize,
    idle: Duration,
    left_out: Vec<(String, String)>,
}

impl Conformance {
    /// Creates the default options: all checks, 30 s for each, transfers of 16 MiB, a pause of 500 ms, and at most 64 MiB in
    /// flight.
    pub fn new() -> Conformance {
        Conformance {
            watchdog: Duration::from_secs(30),
            transfer: 16 << 20,
            max_in_flight: 64 << 20,
            idle: Duration::from_millis(500),
            left_out: Vec::new(),
        }
    }

    /// Sets how long a check may take from one end, including making its pair. Default: 30 s.
    ///
    /// Each time-out halves the limit for the following checks, down to a 32nd of it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::{io, time::Duration};
    /// # use ringpair::conformance::Conformance;
    /// let impatient = Conformance::new().watchdog(Duration::from_millis(1)).idle(Duration::ZERO);
    /// let report = impatient.check_stream(async || std::future::pending::<io::Result<(tokio::io::Empty, tokio::io::Empty)>>().await).await;
    /// assert_eq!(report.failures().count(), report.checks.len());
    /// # }
    /// ```
    pub fn watchdog(mut self, time: Duration) -> Conformance {
        self.watchdog = time;
        self
    }

    /// Sets how many bytes a long transfer sends: fewer for a slow stream, more for one with large buffers. Default: 16 MiB.
    ///
    /// There is a request and an answer for every 2 KiB of it. A transfer ends early after 25,000 reads and writes, for streams
    /// that move few bytes at a time. Single reads and writes have up to a quarter of it, and at most 1 MiB.
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

    /// Sets how many bytes a stream may take before a write must block or, after the peer was dropped, fail. Default: 64 MiB.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use ringpair::conformance::Conformance;
    /// let report = Conformance::new().max_in_flight(4096).check_stream(async || Ok(tokio::io::duplex(8192))).await;
    /// assert_eq!(report.failures().next().unwrap().name, "write-blocks-without-reader");
    /// # }
    /// ```
    pub fn max_in_flight(mut self, bytes: usize) -> Conformance {
        self.max_in_flight = bytes;
        self
    }

    /// Sets the pause of `idle-stream-still-works`. Default: 500 ms. To test a keep-alive or an idle timeout of the stream, choose
    /// a longer pause.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::time::Duration;
    /// # use ringpair::conformance::Conformance;
    /// let hurried = Conformance::new().idle(Duration::from_millis(20));
    /// hurried.check_stream(async || Ok(tokio::io::duplex(4096))).await.assert();
    /// # }
    /// ```
    pub fn idle(mut self, pause: Duration) -> Conformance {
        self.idle = pause;
        self
    }

    /// Leaves a check out. The report shows the reason.
    ///
    /// An unknown name is a failure in the report, and so is a reason without a letter. Names of earlier versions still work.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use ringpair::conformance::Conformance;
    /// let mistaken = Conformance::new().without("eof-stas", "our callers read it once");
    /// let report = mistaken.check_stream(async || Ok(tokio::io::duplex(4096))).await;
    /// assert!(report.to_string().contains("FAILED        eof-stas: there is no such check to leave out"));
    /// # }
    /// ```
    pub fn without(mut self, name: impl Into<String>, reason: impl Into<String>) -> Conformance {
        let name = name.into();
        self.left_out.push((names::current(&name).to_owned(), reason.into()));
        self
    }

    /// Checks the streams that `make_pair` makes. Calls it once or twice for every check.
    ///
    /// The future is not `Send`, and the streams need not be: await it in a test's body, not in a spawned task. A panic is a
    /// failure of its check; the panic hook prints it too. A busy check is stopped at its next operation when its time is up. A
    /// poll that never returns cannot be stopped.
    ///
    /// Works in any executor. In a tokio runtime with a paused clock, a stream in memory that hangs times out at once; a stream
    /// that waits for the kernel or for another thread may time out there although it works.
    ///
    /// # Panics
    ///
    /// In a tokio runtime without a timer.
    pub async fn check_stream<A, B>(&self, make_pair: impl AsyncFn() -> io::Result<(A, B)>) -> Report
    where
        A: AsyncRead + AsyncWrite + Unpin,
        B: AsyncRead + AsyncWrite + Unpin,
    {
        self.check(Face::Tokio, make_pair).await
    }

    /// Checks streams with the traits of `futures::io`, as [`check_stream`](Conformance::check_stream) does.
    ///
    /// `close` must shut down the writing side. A stream whose `close` only flushes, for example `async_io::Async<TcpStream>`,
    /// times out in every check that waits for end of file; `async_net::TcpStream` shuts down.
    ///
    /// # Panics
    ///
    /// As [`check_stream`](Conformance::check_stream).
    pub async fn check_futures_stream<A, B>(&self, make_pair: impl AsyncFn() -> io::Result<(A, B)>) -> Report
    where
        A: futures_io::AsyncRead + futures_io::AsyncWrite + Unpin,
        B: futures_io::AsyncRead + futures_io::AsyncWrite + Unpin,
    {
        let make_pair = async || make_pair().await.map(|(first, second)| (OfFutures(first), OfFutures(second)));
        self.check(Face::Futures, make_pair).await
    }

    /// Checks streams whose operations own their buffers, as [`check_stream`](Conformance::check_stream) does.
    ///
    /// Checks that drop a pending operation are not exercised: a runtime that owns the buffer may lose the bytes of a dropped
    /// read.
    ///
    /// # Panics
    ///
    /// As [`check_stream`](Conformance::check_stream).
    pub async fn check_owned_stream<A, B>(&self, make_pair: impl AsyncFn() -> io::Result<(A, B)>) -> Report
    where
        A: OwnedBufStream,
        B: OwnedBufStream,
    {
        let make_pair = async || make_pair().await.map(|(first, second)| (OfOwned::new(first), OfOwned::new(second)));
        self.check(Face::Owned, make_pair).await
    }

    /// Checks the streams as [`check_stream`](Conformance::check_stream) does, and then with one end on another thread.
    ///
    /// # Panics
    ///
    /// As [`check_stream`](Conformance::check_stream).
    pub async fn check_stream_on_two_threads<A, B>(&self, make_pair: impl AsyncFn() -> io::Result<(A, B)>) -> Report
    where
        A: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        B: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut report = self.check(Face::Tokio, &make_pair).await;
        let outcome = match self.reason_to_leave_out(TWO_THREADS) {
            Some(reason) => Outcome::LeftOut(reason),
            None => {
                let first = self.on_two_threads(&make_pair).await;
                let second =
                    self.on_two_threads(async || make_pair().await.map(|(first, second)| (second, first))).await;
                worse(self.outcome("first", first), self.outcome("second", second))
            }
        };
        report.checks.push(Checked { name: TWO_THREADS.to_owned(), outcome });
        report
    }

    async fn check<A: Duplex, B: Duplex>(&self, face: Face, make_pair: impl AsyncFn() -> io::Result<(A, B)>) -> Report {
        let mut report = Report { checks: self.mistakes() };
        let mut patient = self.clone();
        for check in CHECKS {
            let outcome = match self.reason_to_leave_out(check.name) {
                Some(reason) => Outcome::LeftOut(reason),
                None => patient.run(check, face, &make_pair).await,
            };
            if matches!(outcome, Outcome::TimedOut(_)) {
                patient.watchdog = (patient.watchdog / 2).max(self.watchdog / 32); // the stream fails anyway
            }
            report.checks.push(Checked { name: check.name.to_owned(), outcome });
        }
        report
    }

    fn reason_to_leave_out(&self, name: &str) -> Option<String> {
        self.left_out.iter().find(|(left_out, _)| left_out == name).map(|(_, reason)| reason.clone())
    }

    /// Returns a failure for each name or reason that is invalid.
    fn mistakes(&self) -> Vec<Checked> {
        let mistake = |(name, reason): &(String, String)| {
            let why = if name != TWO_THREADS && CHECKS.iter().all(|check| check.name != name) {
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

    /// Runs a check from each end, or from one if that is enough.
    async fn run<A: Duplex, B: Duplex>(
        &self,
        check: &Check,
        face: Face,
        make_pair: &impl AsyncFn() -> io::Result<(A, B)>,
    ) -> Outcome {
        let first = self.outcome("first", self.watched(check, face, make_pair).await);
        if check.runs == Runs::Once || matches!(first, Outcome::Failed(_) | Outcome::TimedOut(_)) {
            return first;
        }
        let swapped = async || make_pair().await.map(|(first, second)| (second, first));
        worse(first, self.outcome("second", self.watched(check, face, swapped).await))
    }

    /// Runs a check under the watchdog. Returns `Err` with the pending operations if its time ran out.
    async fn watched<A: Duplex, B: Duplex>(
        &self,
        check: &Check,
        face: Face,
        make_pair: impl AsyncFn() -> io::Result<(A, B)>,
    ) -> Result<Verdict, String> {
        let pause = if check.name == IDLE { self.idle } else { Duration::ZERO };
        self.in_time(pause, async |watch| {
            let (near, far) = pair(make_pair).await?;
            let near = End::new(Box::new(near), Side::Near, watch.clone()).with_patience(patience(face));
            let far = End::new(Box::new(far), Side::Far, watch.clone()).with_patience(patience(face));
            let Conformance { transfer, max_in_flight, idle, .. } = *self;
            let plan = Plan { transfer, max_in_flight, idle, patience: self.watchdog / 4, face };
            (check.run)(Scene { near, far, plan }).await
        })
        .await
    }

    async fn on_two_threads<A: Duplex, B: Duplex + Send + 'static>(
        &self,
        make_pair: impl AsyncFn() -> io::Result<(A, B)>,
    ) -> Result<Verdict, String> {
        self.in_time(Duration::ZERO, async |watch| {
            let (near, far) = pair(make_pair).await?;
            ends_work_on_two_threads(near, far, &watch, self.watchdog, self.transfer).await
        })
        .await
    }

    async fn in_time(&self, pause: Duration, act: impl AsyncFnOnce(Rc<Watch>) -> Verdict) -> Result<Verdict, String> {
        let time = self.watchdog.saturating_add(pause);
        let watch = Rc::new(Watch::new(time));
        // Unconstrained: tokio would leave an operation pending now and then, to let other tasks run.
        match at_most(time, unconstrained(Caught::new(act(watch.clone())))).await {
            Some(verdict) if !watch.was_over() => Ok(verdict),
            _ => Err(watch.pending()),
        }
    }

    fn outcome(&self, near: &str, run: Result<Verdict, String>) -> Outcome {
        let told = format!("(near is the {near})");
        match run {
            Ok(Ok(())) => Outcome::Passed,
            Ok(Err(Failure::Broken(why))) => Outcome::Failed(format!("{why} {told}")),
            Ok(Err(Failure::NotExercised(why))) => Outcome::NotExercised(format!("{why} {told}")),
            Err(pending) => Outcome::TimedOut(format!("after {:?}; pending: {pending} {told}", self.watchdog)),
        }
    }
}

async fn pair<A, B>(make_pair: impl AsyncFn() -> io::Result<(A, B)>) -> Result<(A, B), Failure> {
    make_pair().await.map_err(|error| Failure::Broken(format!("there is no pair: {}", causes(&error))))
}

/// Returns how long a write must stay pending to count as blocked. A ring starts operations late.
fn patience(face: Face) -> Option<Duration> {
    (face == Face::Owned).then_some(Duration::from_millis(20))
}

/// Returns the outcome that is worse for the stream.
fn worse(first: Outcome, second: Outcome) -> Outcome {
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Failed(_) => 4,
        Outcome::TimedOut(_) => 3,
        Outcome::NotExercised(_) => 2,
        Outcome::LeftOut(_) => 1,
        Outcome::Passed => 0,
    };
    if rank(&second) > rank(&first) { second } else { first }
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
    fn the_worse_of_two_outcomes_counts() {
        let text = String::new;
        let from_best = [
            Outcome::Passed,
            Outcome::LeftOut(text()),
            Outcome::NotExercised(text()),
            Outcome::TimedOut(text()),
            Outcome::Failed(text()),
        ];
        for pair in from_best.windows(2) {
            assert_eq!(worse(pair[0].clone(), pair[1].clone()), pair[1]);
            assert_eq!(worse(pair[1].clone(), pair[0].clone()), pair[1]);
        }
    }
}

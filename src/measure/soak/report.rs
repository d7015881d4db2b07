//! What a soak has brought.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Backend;
use crate::measure::Series;

use super::Facts;
use super::course::Course;
use super::ledger::Tally;

/// How much the resident memory may be above what it was after the first tenth: an allocator keeps some of what it got back.
pub(super) const SLACK: u64 = 16 << 20;

/// What a soak has made, what that took, and what it has left behind.
///
/// ```
/// # #[cfg(feature = "epoll")]
/// # fn main() -> Result<(), ringpair::measure::Error> {
/// use std::io;
/// use ringpair::measure::soak::{Soak, Turn};
/// use tokio::net::TcpStream;
///
/// let body = async |_: &mut TcpStream, _: &mut TcpStream, turn: Turn| match turn.number {
///     5 => Err(io::Error::other("the fifth")),
///     _ => Ok(()),
/// };
/// let report = Soak::new().pairs(10).run(body)?;
/// assert_eq!((report.pairs, report.failures["body"], report.is_clean()), (9, 1, false));
/// assert!(report.complaints()[0].starts_with("1 pairs failed"));
/// assert_eq!(report.make.count(), 10);
/// let left = report.after.descriptors.zip(report.before.descriptors);
/// assert!(left.is_none_or(|(after, before)| after <= before));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "epoll"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The engine that made the pairs.
    pub engine: Backend,
    /// Pairs that were made, used and closed.
    pub pairs: u64,
    /// Pairs that were not: by the step at which they failed, such as `connect` or `timeout`; `body` if the body failed, `panic`
    /// if it panicked, `pair_timeout` if the pair took longer than [`pair_timeout`](super::Soak::pair_timeout).
    pub failures: BTreeMap<String, u64>,
    /// What the first of them said.
    pub first_failure: Option<String>,
    /// How long it took.
    pub elapsed: Duration,
    /// From the beginning of a pair, or, with a rate, from when it should have begun, until both ends were there.
    pub make: Series,
    /// The body.
    pub body: Series,
    /// The close of both ends, the accepted one first.
    pub close: Series,
    /// Before the first pair.
    pub before: Facts,
    /// When a tenth was through.
    pub settled: Facts,
    /// The most of each that was seen; it is looked ten times a second.
    pub peak: Facts,
    /// After the last pair was closed.
    pub after: Facts,
    /// Whether it was ended before all was done.
    pub ended_early: bool,
    /// Whether it ended because more pairs failed than were allowed to.
    pub failed_too_often: bool,
    /// Bodies that had not ended 0.4 s after the soak was told to end.
    pub abandoned: u64,
    /// Threads that a body or a close has blocked. They were given up: what they hold stays open.
    pub blocked_threads: u64,
    /// The seed of the bodies.
    pub seed: u64,
}

impl Report {
    pub(super) fn of(tally: Tally, course: &Course, [before, settled, peak, after]: [Facts; 4], seed: u64) -> Report {
        Report {
            engine: tally.engine.unwrap_or_default(),
            pairs: tally.pairs,
            failures: tally.failures,
            first_failure: tally.first_failure,
            elapsed: course.elapsed(),
            make: tally.make,
            body: tally.body,
            close: tally.close,
            before,
            settled,
            peak,
            after,
            ended_early: course.is_interrupted(),
            failed_too_often: course.has_failed_too_often(),
            abandoned: tally.abandoned,
            blocked_threads: tally.blocked,
            seed,
        }
    }

    /// How many pairs there were in a second.
    pub fn pairs_per_second(&self) -> f64 {
        self.pairs as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Whether no pair failed and nothing was left behind.
    pub fn is_clean(&self) -> bool {
        self.complaints().is_empty()
    }

    /// What is not as it should be, a sentence each.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let failed: u64 = self.failures.values().sum();
        if failed > 0 {
            let first = self.first_failure.as_deref().unwrap_or("nothing");
            complaints.push(format!("{failed} pairs failed; the first said: {first}"));
        }
        if self.failed_too_often {
            complaints.push("it was ended early: more pairs failed than were allowed to".to_owned());
        }
        if self.abandoned > 0 {
            complaints.push(format!("{} bodies were abandoned: they did not end when the soak did", self.abandoned));
        }
        if self.blocked_threads > 0 {
            let threads = self.blocked_threads;
            complaints.push(format!("{threads} threads are blocked and were given up; what they hold stays open"));
        }
        if self.pairs + failed == 0 {
            complaints.push("not one pair was made".to_owned());
        }
        let more = |after: Option<u64>, before: Option<u64>| {
            after.zip(before).map_or(0, |(after, before)| after.saturating_sub(before))
        };
        let descriptors = more(self.after.descriptors, self.before.descriptors);
        if descriptors > 0 {
            complaints.push(format!("{descriptors} descriptors more are open than before"));
        }
        let memory = more(self.after.memory, self.settled.memory);
        if memory > SLACK {
            complaints.push(format!("{} MiB of memory more are resident than after the first tenth", memory >> 20));
        }
        complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean() -> Report {
        let held = Facts { descriptors: Some(9), memory: Some(50 << 20), ..Facts::default() };
        Report {
            engine: Backend::Uring,
            pairs: 100,
            failures: BTreeMap::new(),
            first_failure: None,
            elapsed: Duration::from_secs(2),
            make: Series::new(),
            body: Series::new(),
            close: Series::new(),
            before: held,
            settled: held,
            peak: held,
            after: held,
            ended_early: false,
            failed_too_often: false,
            abandoned: 0,
            blocked_threads: 0,
            seed: 1,
        }
    }

    #[test]
    fn a_leak_a_failure_and_nothing_at_all_are_complained_of() {
        assert!(clean().is_clean());
        assert_eq!(clean().pairs_per_second(), 50.0);

        let mut leak = clean();
        leak.after.descriptors = Some(11);
        assert_eq!(leak.complaints(), ["2 descriptors more are open than before"]);

        let mut growth = clean();
        growth.after.memory = Some((50 << 20) + SLACK);
        assert!(growth.is_clean());
        growth.after.memory = Some((90 << 20) + 5);
        assert_eq!(growth.complaints(), ["40 MiB of memory more are resident than after the first tenth"]);

        let mut failure = clean();
        failure.failures.insert("body".to_owned(), 3);
        failure.first_failure = Some("the echo is not what was sent".to_owned());
        assert_eq!(failure.complaints(), ["3 pairs failed; the first said: the echo is not what was sent"]);

        let nothing = Report { pairs: 0, ..clean() };
        assert_eq!(nothing.complaints(), ["not one pair was made"]);
    }
}

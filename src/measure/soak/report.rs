//! The result of a soak.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::measure::Series;
use crate::{Backend, Linger};

use super::course::Course;
use super::ledger::Tally;
use super::totals::Totals;
use super::{ResourceUsage, Soak};

/// How much the resident memory may grow after the first tenth: allocators keep some freed memory.
pub(super) const SLACK: u64 = 16 << 20;

/// The result of a soak: counts, times, and what is left open.
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # fn main() -> Result<(), ringpair::measure::Error> {
/// use std::io;
/// use ringpair::measure::soak::{Soak, PairInfo};
/// use tokio::net::TcpStream;
///
/// let body = async |_: &mut TcpStream, _: &mut TcpStream, turn: PairInfo| match turn.number {
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
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The engine that made the pairs.
    pub engine: Backend,
    /// Number of pairs that were made, used and closed.
    pub pairs: u64,
    /// Number of failed pairs by step: `connect`, `timeout` and the others; `body` if the body failed, `panic` if it panicked,
    /// `pair_timeout` if the pair took longer than [`pair_timeout`](super::Soak::pair_timeout).
    pub failures: BTreeMap<String, u64>,
    /// The first failure.
    pub first_failure: Option<String>,
    /// The duration, until the last thread ended or was given up.
    pub elapsed: Duration,
    /// Times of making a pair, from its beginning or, with a rate, from its planned time.
    pub make: Series,
    /// Times of the body.
    pub body: Series,
    /// Times of closing both ends, the accepted end first.
    pub close: Series,
    /// Times of make, body and close together, without the time that a pair is held open.
    pub whole: Series,
    /// The usage before the first pair.
    pub before: ResourceUsage,
    /// The usage when a tenth was over.
    pub settled: ResourceUsage,
    /// The maximum of each figure, read ten times a second.
    pub peak: ResourceUsage,
    /// The usage after the last close.
    pub after: ResourceUsage,
    /// Whether the soak was ended before all pairs were done.
    pub ended_early: bool,
    /// Whether it ended because too many pairs failed.
    pub failed_too_often: bool,
    /// Number of bodies that had not ended 0.4 s after the soak was told to end.
    pub abandoned: u64,
    /// Number of threads that were given up because a body or a close blocked them. What they hold stays open.
    pub blocked_threads: u64,
    /// CPU time of this process in user mode, from before the first pair until after the last close: `getrusage(2)`.
    pub cpu_user: Duration,
    /// CPU time of this process in kernel mode.
    pub cpu_system: Duration,
    /// Sockets that entered TIME_WAIT in this network namespace; `None` if `/proc` does not tell.
    pub time_waits: Option<u64>,
    /// Resets sent in this network namespace: `OutRsts`. Closing with a reset sends one per pair.
    pub resets: Option<u64>,
    /// Segments retransmitted in this network namespace: `RetransSegs`.
    pub retransmissions: Option<u64>,
    /// Whether nothing else used the network namespace; see [`own_network`](super::Soak::own_network).
    pub own_network: bool,
    /// How pairs were closed.
    pub linger: Linger,
    /// The CPUs that threads were pinned to, in turn; empty without pinning.
    pub cpus: Vec<usize>,
    /// The seed of the bodies.
    pub seed: u64,
}

impl Report {
    pub(super) fn of(
        soak: &Soak,
        tally: Tally,
        course: &Course,
        [before, settled, peak, after]: [ResourceUsage; 4],
        totals: Totals,
        seed: u64,
    ) -> Report {
        Report {
            engine: tally.engine.unwrap_or_default(),
            pairs: tally.pairs,
            failures: tally.failures,
            first_failure: tally.first_failure,
            elapsed: if tally.blocked > 0 { course.elapsed() } else { course.took() },
            make: tally.make,
            body: tally.body,
            close: tally.close,
            whole: tally.whole,
            before,
            settled,
            peak,
            after,
            ended_early: course.is_interrupted(),
            failed_too_often: course.has_failed_too_often(),
            abandoned: tally.abandoned,
            blocked_threads: tally.blocked,
            cpu_user: totals.cpu_user,
            cpu_system: totals.cpu_system,
            time_waits: totals.time_waits,
            resets: totals.resets,
            retransmissions: totals.retransmissions,
            own_network: soak.own_network,
            linger: soak.linger,
            cpus: soak.cpus.clone(),
            seed,
        }
    }

    /// Returns the number of pairs per second.
    pub fn pairs_per_second(&self) -> f64 {
        self.pairs as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Returns the CPU time of this process per pair; zero if there was none.
    pub fn cpu_per_pair(&self) -> Duration {
        let nanos = (self.cpu_user + self.cpu_system).as_nanos() / u128::from(self.pairs).max(1);
        if self.pairs > 0 { Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX)) } else { Duration::ZERO }
    }

    /// Whether there are no [`complaints`](Report::complaints). [`notes`](Report::notes) can still say what was not judged.
    pub fn is_clean(&self) -> bool {
        self.complaints().is_empty()
    }

    /// Returns what went wrong or is unknown, a sentence each.
    ///
    /// Sockets and TIME_WAIT are judged only if nothing else used the network namespace.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = self.complaints_of_pairs();
        complaints.extend(self.unknown());
        complaints.extend(self.left_behind());
        if self.own_network {
            complaints.extend(self.left_in_the_network());
        }
        complaints
    }

    /// Returns what limits the verdict, a sentence each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.own_network {
            notes.push("sockets and TIME_WAIT are not judged: others share this network namespace".to_owned());
        } else if let Some(count @ 1..) = self.time_waits.filter(|_| self.linger != Linger::Reset) {
            notes.push(format!("{count} sockets entered TIME_WAIT: closing with FIN leaves one a pair for a minute"));
        }
        notes
    }

    fn complaints_of_pairs(&self) -> Vec<String> {
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
        complaints
    }

    /// What could not be counted is not zero.
    fn unknown(&self) -> Vec<String> {
        let both = self.before.named().into_iter().zip(self.after.named());
        let unknown = both.filter(|((_, before), (_, after))| before.is_none() || after.is_none());
        let mut names: Vec<&str> = unknown.map(|((name, _), _)| name).collect();
        if self.time_waits.is_none() && !names.contains(&"TIME_WAIT") {
            names.push("TIME_WAIT");
        }
        names.into_iter().map(|name| format!("{name} could not be counted: /proc does not tell")).collect()
    }

    fn left_behind(&self) -> Vec<String> {
        let mut complaints = Vec::new();
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

    fn left_in_the_network(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let sockets = more(self.after.sockets, self.before.sockets);
        if sockets > 0 {
            complaints.push(format!("{sockets} TCP sockets more are in use than before"));
        }
        let entered = self.time_waits.unwrap_or_default();
        if self.linger == Linger::Reset && entered > 0 {
            complaints.push(format!("{entered} sockets entered TIME_WAIT; a reset leaves none"));
        } else if entered > self.pairs + self.failures.values().sum::<u64>() {
            complaints.push(format!("{entered} sockets entered TIME_WAIT, more than one a pair"));
        }
        complaints
    }
}

fn more(after: Option<u64>, before: Option<u64>) -> u64 {
    after.zip(before).map_or(0, |(after, before)| after.saturating_sub(before))
}

#[cfg(test)]
mod tests {
    use super::super::course::Plan;
    use super::*;

    fn clean() -> Report {
        let held = ResourceUsage { descriptors: Some(9), memory: Some(50 << 20), sockets: Some(2), time_wait: Some(0) };
        Report {
            engine: Backend::Uring,
            pairs: 100,
            failures: BTreeMap::new(),
            first_failure: None,
            elapsed: Duration::from_secs(2),
            make: Series::new(),
            body: Series::new(),
            close: Series::new(),
            whole: Series::new(),
            before: held,
            settled: held,
            peak: held,
            after: held,
            ended_early: false,
            failed_too_often: false,
            abandoned: 0,
            blocked_threads: 0,
            cpu_user: Duration::from_micros(200),
            cpu_system: Duration::from_micros(900),
            time_waits: Some(0),
            resets: Some(100),
            retransmissions: Some(0),
            own_network: true,
            linger: Linger::Reset,
            cpus: Vec::new(),
            seed: 1,
        }
    }

    #[test]
    fn a_leak_a_failure_and_nothing_at_all_are_complained_of() {
        assert!(clean().is_clean());
        assert_eq!((clean().pairs_per_second(), clean().cpu_per_pair()), (50.0, Duration::from_micros(11)));
        assert_eq!(Report { pairs: 0, ..clean() }.cpu_per_pair(), Duration::ZERO);

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

    #[test]
    fn what_could_not_be_counted_is_complained_of() {
        let mut report = clean();
        report.after.descriptors = None;
        report.before.memory = None;
        (report.before.sockets, report.time_waits) = (None, None);
        let unknown = |name| format!("{name} could not be counted: /proc does not tell");
        assert_eq!(report.complaints(), ["descriptors", "memory", "sockets", "TIME_WAIT"].map(unknown));
    }

    #[test]
    fn the_network_is_judged_only_if_nothing_else_uses_it() {
        let mut report = clean();
        assert_eq!(report.notes(), [""; 0]);
        report.after.sockets = Some(5);
        report.time_waits = Some(101);
        let expected =
            ["3 TCP sockets more are in use than before", "101 sockets entered TIME_WAIT; a reset leaves none"];
        assert_eq!(report.complaints(), expected);
        report.own_network = false;
        assert_eq!(report.complaints(), [""; 0]);
        assert_eq!(report.notes(), ["sockets and TIME_WAIT are not judged: others share this network namespace"]);
    }

    #[test]
    fn a_graceful_close_may_leave_one_time_wait_a_pair() {
        let mut report = Report { linger: Linger::Graceful, time_waits: Some(100), ..clean() };
        assert_eq!(report.complaints(), [""; 0]);
        assert!(report.notes()[0].starts_with("100 sockets entered TIME_WAIT: "), "{report:?}");
        report.time_waits = Some(101);
        assert_eq!(report.complaints(), ["101 sockets entered TIME_WAIT, more than one a pair"]);
        report.failures.insert("body".to_owned(), 1); // a pair, too
        assert_eq!(report.complaints(), ["1 pairs failed; the first said: nothing"]);
    }

    #[test]
    fn growth_is_tolerated_up_to_sixteen_mebibytes() {
        let mut growth = clean();
        growth.after.memory = Some(66 << 20);
        assert!(growth.is_clean());
        growth.after.memory = Some((66 << 20) + 1);
        assert_eq!(growth.complaints(), ["16 MiB of memory more are resident than after the first tenth"]);
    }

    #[test]
    fn bodies_and_threads_that_do_not_end_are_told_of() {
        let stuck = Report { abandoned: 2, blocked_threads: 3, ..clean() };
        assert!(!stuck.is_clean());
        let [bodies, threads] = [0, 1].map(|place| stuck.complaints()[place].clone());
        assert!(bodies.starts_with("2 bodies were abandoned: ") && threads.starts_with("3 threads are blocked "));
    }

    #[test]
    fn pairs_that_failed_were_made_all_the_same() {
        for pairs in [0, 2, 3] {
            let failures = BTreeMap::from([("body".to_owned(), 2), ("connect".to_owned(), 1)]);
            let failed = Report { pairs, failures, ..clean() };
            assert_eq!(failed.complaints(), ["3 pairs failed; the first said: nothing"]);
        }
    }

    #[test]
    fn a_soak_lasts_until_its_threads_end_or_are_given_up() {
        let (pairs, duration, rate, max_failures, max_failure_rate) = (None, None, None, None, None);
        let course = Course::new(Plan { pairs, duration, rate, max_failures, max_failure_rate, seed: 1 });
        while course.elapsed().is_zero() {} // the clock goes on
        let elapsed = |blocked| {
            let tally = Tally { blocked, ..Tally::default() };
            let usages = [ResourceUsage::default(); 4];
            Report::of(&Soak::new(), tally, &course, usages, Totals::now(), 1).elapsed
        };
        assert_eq!(elapsed(0), Duration::ZERO); // no thread has begun
        assert!(elapsed(1) > Duration::ZERO);
    }
}

//! Hands out the pairs of a soak to its threads, and decides when it ends.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::{LOOK_EVERY, PairInfo, Progress, ResourceUsage};

/// How long bodies may run after the soak was told to end.
const GRACE: Duration = Duration::from_millis(400);

/// The failure rate is judged after this many pairs.
const MIN_PAIRS_FOR_A_RATE: u64 = 100;

/// The options of a soak.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) pairs: Option<u64>,
    pub(super) duration: Option<Duration>,
    pub(super) rate: Option<f64>,
    pub(super) max_failures: Option<u64>,
    pub(super) max_failure_rate: Option<f64>,
    pub(super) seed: u64,
}

/// Hands out pairs until all have begun, or the soak is stopped.
pub(super) struct Course {
    plan: Plan,
    begin: Instant,
    begun: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    /// Nanoseconds from the beginning until the last thread that has ended did.
    ended: AtomicU64,
    stopped: OnceLock<Instant>,
    interrupted: AtomicBool,
    failed_too_often: AtomicBool,
}

impl Course {
    pub(super) fn new(plan: Plan) -> Course {
        Course {
            plan,
            begin: Instant::now(),
            begun: AtomicU64::new(0),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            stopped: OnceLock::new(),
            interrupted: AtomicBool::new(false),
            failed_too_often: AtomicBool::new(false),
        }
    }

    /// Returns the next pair and how long after the beginning it is due; `None` when all have begun.
    pub(super) fn next(&self) -> Option<(PairInfo, Option<Duration>)> {
        if self.is_stopped() {
            return None;
        }
        let number = self.begun.fetch_add(1, Relaxed);
        if self.plan.pairs.is_some_and(|pairs| number >= pairs) {
            return None;
        }
        let due = self.plan.rate.map(|rate| Duration::try_from_secs_f64(number as f64 / rate).unwrap_or(Duration::MAX));
        let begins = due.unwrap_or_else(|| self.begin.elapsed());
        // The first pair is made, however late its thread begins.
        if number > 0 && self.plan.duration.is_some_and(|duration| begins >= duration) {
            return None;
        }
        let seed = fastrand::Rng::with_seed(self.plan.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).u64(..);
        Some((PairInfo { number, seed }, due))
    }

    /// Waits until a pair is due. Returns the planned moment, or `None` if the soak is stopped before.
    pub(super) async fn wait_until(&self, due: Duration) -> Option<Instant> {
        let planned = self.begin.checked_add(due); // `None` if it is later than an `Instant` can be
        while planned.is_none_or(|planned| Instant::now() < planned) {
            if self.is_stopped() {
                return None;
            }
            let look = Instant::now() + LOOK_EVERY;
            tokio::time::sleep_until(planned.map_or(look, |planned| planned.min(look)).into()).await;
        }
        planned
    }

    pub(super) fn count_done(&self) {
        self.done.fetch_add(1, Relaxed);
    }

    /// Counts a failed pair, and stops the soak if too many have failed.
    pub(super) fn count_failed(&self) {
        let failed = self.failed.fetch_add(1, Relaxed) + 1;
        let ended = failed + self.done.load(Relaxed);
        let are_too_many = self.plan.max_failures.is_some_and(|max| failed > max);
        let rate = failed as f64 / ended as f64;
        let is_too_often = ended >= MIN_PAIRS_FOR_A_RATE && self.plan.max_failure_rate.is_some_and(|max| rate > max);
        if are_too_many || is_too_often {
            self.failed_too_often.store(true, Relaxed);
            self.stop();
        }
    }

    /// Lets no further pair begin. Bodies have [`GRACE`] to end.
    pub(super) fn stop(&self) {
        self.stopped.get_or_init(Instant::now);
    }

    pub(super) fn interrupt(&self) {
        self.interrupted.store(true, Relaxed);
        self.stop();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.get().is_some()
    }

    /// Returns how long ago bodies should have ended; `None` while they may go on.
    pub(super) fn overdue(&self) -> Option<Duration> {
        self.stopped.get()?.elapsed().checked_sub(GRACE)
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Relaxed)
    }

    pub(super) fn has_failed_too_often(&self) -> bool {
        self.failed_too_often.load(Relaxed)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Notes that a thread has ended. The watcher finds out up to a tenth of a second later.
    pub(super) fn a_thread_has_ended(&self) {
        self.ended.fetch_max(self.elapsed().as_nanos().try_into().unwrap_or(u64::MAX), Relaxed);
    }

    /// Returns how long it took until all threads had ended.
    pub(super) fn took(&self) -> Duration {
        Duration::from_nanos(self.ended.load(Relaxed))
    }

    pub(super) fn progress(&self, usage: ResourceUsage) -> Progress {
        let (pairs, failures) = (self.done.load(Relaxed), self.failed.load(Relaxed));
        Progress { pairs, failures, elapsed: self.elapsed(), usage }
    }

    /// Whether a tenth of the pairs or of the time is over.
    pub(super) fn is_tenth(&self, progress: Progress) -> bool {
        self.plan.pairs.is_some_and(|pairs| progress.pairs >= pairs / 10)
            || self.plan.duration.is_some_and(|duration| progress.elapsed >= duration / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(max_failures: Option<u64>, max_failure_rate: Option<f64>) -> Course {
        let (pairs, duration, rate, seed) = (None, None, None, 1);
        Course::new(Plan { pairs, duration, rate, max_failures, max_failure_rate, seed })
    }

    #[test]
    fn one_failure_more_than_allowed_stops_it() {
        let course = course(Some(2), None);
        for is_stopped in [false, false, true] {
            course.count_failed();
            assert_eq!((course.is_stopped(), course.has_failed_too_often()), (is_stopped, is_stopped));
        }
        assert!(course.next().is_none() && !course.is_interrupted());
    }

    #[test]
    fn what_comes_after_the_last_thread_does_not_count() {
        let course = course(None, None);
        course.a_thread_has_ended();
        let took = course.took();
        while course.elapsed() <= took {} // the clock goes on
        assert_eq!(course.took(), took);
        course.a_thread_has_ended();
        assert!(course.took() > took);
    }

    #[test]
    fn a_failure_rate_is_judged_after_a_hundred_pairs() {
        let course = course(None, Some(0.02));
        (0..2).for_each(|_| course.count_failed());
        (0..97).for_each(|_| course.count_done());
        assert!(!course.is_stopped()); // 2 of 99
        course.count_failed(); // 3 of 100
        assert!(course.is_stopped());
    }
}

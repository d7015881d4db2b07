//! The pairs that a thread works on, and its results. The thread writes them; the watching thread reads them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Backend;
use crate::measure::Series;

use super::course::Course;

/// How long a pair may overrun its deadline before its thread counts as blocked.
const BLOCKED_AFTER: Duration = Duration::from_secs(2);

/// How long a stopped thread may be silent before it counts as blocked.
const SILENT: Duration = Duration::from_millis(400);

/// The stage of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Make,
    /// What the body says it is doing; see [`doing`](super::doing).
    Body(&'static str),
    Close,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Make => f.write_str("it was being made"),
            Stage::Body(doing) => write!(f, "its body was {doing}"),
            Stage::Close => f.write_str("it was being closed"),
        }
    }
}

pub(super) struct Ledger {
    course: Arc<Course>,
    timeout: Duration,
    page: Mutex<Page>,
}

struct Page {
    tally: Tally,
    in_hand: BTreeMap<u64, (Stage, Instant)>,
    /// Time of the thread's last activity.
    moved: Instant,
    /// All pairs are closed; only the runtime has to end.
    is_ending: bool,
    /// The thread is blocked: its further work does not count.
    is_given_up: bool,
}

impl Ledger {
    pub(super) fn new(course: &Arc<Course>, timeout: Duration) -> Ledger {
        let page = Page {
            tally: Tally::default(),
            in_hand: BTreeMap::new(),
            moved: Instant::now(),
            is_ending: false,
            is_given_up: false,
        };
        Ledger { course: Arc::clone(course), timeout, page: Mutex::new(page) }
    }

    fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn made_by(&self, engine: Backend) {
        self.page().tally.engine = Some(engine);
    }

    /// Begins a pair.
    pub(super) fn take(&self, number: u64) -> Hand<'_> {
        let begin = Instant::now();
        let mut page = self.page();
        page.in_hand.insert(number, (Stage::Make, begin));
        page.moved = begin;
        Hand { ledger: self, number, begin, has_ended: false }
    }

    pub(super) fn go_to(&self, number: u64, stage: Stage) {
        let mut page = self.page();
        page.moved = Instant::now();
        if let Some((at, _)) = page.in_hand.get_mut(&number) {
            *at = stage;
        }
    }

    /// Adds the time of a close, and of the whole pair.
    pub(super) fn closed(&self, close: Duration, whole: Duration) {
        let mut page = self.page();
        page.tally.close.add(close);
        page.tally.whole.add(whole);
        page.moved = Instant::now();
    }

    /// Notes that only the runtime has to end.
    pub(super) fn is_ending(&self) {
        let mut page = self.page();
        (page.is_ending, page.moved) = (true, Instant::now());
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.page().is_given_up
    }

    pub(super) fn take_tally(&self) -> Tally {
        std::mem::take(&mut self.page().tally)
    }

    /// Gives a blocked thread up: counts its open pairs as failed or abandoned, and nothing after that. False if it is not
    /// blocked.
    pub(super) fn give_up_if_blocked(&self) -> bool {
        let mut page = self.page();
        if !page.is_blocked(self.timeout, self.course.overdue()) {
            return false;
        }
        page.is_given_up = true;
        page.tally.blocked += 1;
        for (number, (stage, begin)) in std::mem::take(&mut page.in_hand) {
            if begin.elapsed() > self.timeout {
                let why = format!("{}, and blocks its thread", late(number, self.timeout, stage));
                page.tally.fail("pair_timeout", why);
                self.course.count_failed();
            } else {
                page.tally.abandoned += 1;
            }
        }
        true
    }
}

impl Page {
    fn is_blocked(&self, timeout: Duration, overdue: Option<Duration>) -> bool {
        let silent = self.moved.elapsed();
        let oldest = self.in_hand.values().map(|(_, begin)| begin.elapsed()).max();
        oldest.is_some_and(|age| age > timeout.saturating_add(BLOCKED_AFTER))
            || (self.is_ending && silent > BLOCKED_AFTER)
            || (overdue.is_some_and(|overdue| overdue > SILENT) && silent > SILENT)
    }
}

fn late(number: u64, timeout: Duration, stage: Stage) -> String {
    format!("pair {number} was not through after {timeout:?}: {stage}")
}

/// A pair that a thread works on. Dropping it without a result means that it was abandoned, or its body panicked.
pub(super) struct Hand<'a> {
    ledger: &'a Ledger,
    number: u64,
    begin: Instant,
    has_ended: bool,
}

impl Hand<'_> {
    /// Returns the time left for the pair.
    pub(super) fn left(&self) -> Duration {
        self.ledger.timeout.saturating_sub(self.begin.elapsed())
    }

    pub(super) fn go_to(&self, stage: Stage) {
        self.ledger.go_to(self.number, stage);
    }

    /// Adds the times of making the pair, and of its body.
    pub(super) fn took(&self, make: Duration, body: Duration) {
        let mut page = self.ledger.page();
        page.tally.make.add(make);
        page.tally.body.add(body);
    }

    pub(super) fn done(mut self) {
        self.end(|tally, course| {
            tally.pairs += 1;
            course.count_done();
        });
    }

    pub(super) fn failed(mut self, step: &str, why: &str) {
        let why = format!("pair {}: {why}", self.number);
        self.end(|tally, course| {
            tally.fail(step, why);
            course.count_failed();
        });
    }

    /// Counts the pair as failed because its time is up.
    pub(super) fn late(mut self) {
        let stage = self.ledger.page().in_hand.get(&self.number).map_or(Stage::Make, |(stage, _)| *stage);
        let why = late(self.number, self.ledger.timeout, stage);
        self.end(|tally, course| {
            tally.fail("pair_timeout", why);
            course.count_failed();
        });
    }

    fn end(&mut self, note: impl FnOnce(&mut Tally, &Course)) {
        self.has_ended = true;
        let mut page = self.ledger.page();
        page.moved = Instant::now();
        page.in_hand.remove(&self.number);
        if !page.is_given_up {
            note(&mut page.tally, &self.ledger.course);
        }
    }
}

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let why = format!("pair {}: its body panicked", self.number);
        self.end(|tally, course| {
            if thread::panicking() {
                tally.fail("panic", why);
                course.count_failed();
            } else {
                tally.abandoned += 1;
            }
        });
    }
}

/// The results of a thread.
pub(super) struct Tally {
    pub(super) engine: Option<Backend>,
    pub(super) pairs: u64,
    pub(super) failures: BTreeMap<String, u64>,
    pub(super) first_failure: Option<String>,
    /// Bodies that had not ended in time when the soak ended.
    pub(super) abandoned: u64,
    /// Threads that were given up.
    pub(super) blocked: u64,
    pub(super) make: Series,
    pub(super) body: Series,
    pub(super) close: Series,
    pub(super) whole: Series,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            engine: None,
            pairs: 0,
            failures: BTreeMap::new(),
            first_failure: None,
            abandoned: 0,
            blocked: 0,
            make: Series::new(),
            body: Series::new(),
            close: Series::new(),
            whole: Series::new(),
        }
    }
}

impl Tally {
    fn fail(&mut self, step: &str, why: String) {
        *self.failures.entry(step.to_owned()).or_default() += 1;
        self.first_failure.get_or_insert(why);
    }

    pub(super) fn add(&mut self, more: Tally) {
        self.engine = self.engine.or(more.engine);
        self.pairs += more.pairs;
        for (step, count) in more.failures {
            *self.failures.entry(step).or_default() += count;
        }
        self.first_failure = self.first_failure.take().or(more.first_failure);
        self.abandoned += more.abandoned;
        self.blocked += more.blocked;
        self.make.merge(&more.make);
        self.body.merge(&more.body);
        self.close.merge(&more.close);
        self.whole.merge(&more.whole);
    }
}

//! A thread that soaks: a factory, a runtime, and tasks that make, use and close pairs until the course is over.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};

use crate::hazards::memlock::patiently;
use crate::measure::{Error, Series};
use crate::{Backend, PairFactory, PairOptions, PairSocket};

use super::{Facts, LOOK_EVERY, Progress, Report, Turn};

/// What all threads have in common: what is left to do.
pub(super) struct Course {
    begin: Instant,
    pairs: Option<u64>,
    duration: Option<Duration>,
    rate: Option<f64>,
    seed: u64,
    begun: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    over: AtomicBool,
    interrupted: AtomicBool,
}

impl Course {
    pub(super) fn new(
        begin: Instant,
        pairs: Option<u64>,
        duration: Option<Duration>,
        rate: Option<f64>,
        seed: u64,
    ) -> Course {
        let (begun, done, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let (over, interrupted) = (AtomicBool::new(false), AtomicBool::new(false));
        Course { begin, pairs, duration, rate, seed, begun, done, failed, over, interrupted }
    }

    /// The next pair, and how long after the beginning it is due; none when all have begun.
    fn next(&self) -> Option<(Turn, Option<Duration>)> {
        if self.over.load(Relaxed) {
            return None;
        }
        let number = self.begun.fetch_add(1, Relaxed);
        if self.pairs.is_some_and(|pairs| number >= pairs) {
            return None;
        }
        let due = self.rate.map(|rate| Duration::try_from_secs_f64(number as f64 / rate).unwrap_or(Duration::MAX));
        let begins = due.unwrap_or_else(|| self.begin.elapsed());
        if self.duration.is_some_and(|duration| begins >= duration) {
            return None;
        }
        let seed = fastrand::Rng::with_seed(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).u64(..);
        Some((Turn { number, seed }, due))
    }

    /// Waits until a pair is due. Returns when that was; none where the course is over before.
    async fn wait_until(&self, due: Duration) -> Option<Instant> {
        let planned = self.begin.checked_add(due); // none where that is later than any clock will tell
        while planned.is_none_or(|planned| Instant::now() < planned) {
            if self.over.load(Relaxed) {
                return None;
            }
            let look = Instant::now() + LOOK_EVERY;
            tokio::time::sleep_until(planned.map_or(look, |planned| planned.min(look)).into()).await;
        }
        planned
    }

    pub(super) fn end(&self) {
        self.over.store(true, Relaxed);
    }

    pub(super) fn interrupt(&self) {
        self.interrupted.store(true, Relaxed);
        self.end();
    }

    pub(super) fn progress(&self, facts: Facts) -> Progress {
        let (pairs, failures) = (self.done.load(Relaxed), self.failed.load(Relaxed));
        Progress { pairs, failures, elapsed: self.begin.elapsed(), facts }
    }

    /// Whether a tenth of the pairs or of the time is through.
    pub(super) fn is_tenth(&self, progress: Progress) -> bool {
        self.pairs.is_some_and(|pairs| progress.pairs >= pairs / 10)
            || self.duration.is_some_and(|duration| progress.elapsed >= duration / 10)
    }
}

/// What one thread is to do.
pub(super) struct Worker {
    pub(super) options: PairOptions,
    pub(super) concurrency: usize,
    pub(super) live: usize,
    pub(super) timeout: Duration,
    pub(super) course: Arc<Course>,
}

impl Worker {
    /// Until the course is over. Where this thread cannot begin, it is over for all.
    pub(super) fn run<S, B>(self, body: B) -> Result<Tally, Error>
    where
        S: PairSocket + 'static,
        B: AsyncFn(&mut S, &mut S, Turn) -> io::Result<()> + 'static,
    {
        let course = Arc::clone(&self.course);
        let outcome = self.soak(body);
        if outcome.is_err() {
            course.end();
        }
        outcome
    }

    fn soak<S, B>(self, body: B) -> Result<Tally, Error>
    where
        S: PairSocket + 'static,
        B: AsyncFn(&mut S, &mut S, Turn) -> io::Result<()> + 'static,
    {
        let options = if S::NEEDS_RING { self.options.clone().backend(Backend::Uring) } else { self.options.clone() };
        let factory = options.factory()?;
        let tally = RefCell::new(Tally { engine: Some(factory.backend()), ..Tally::default() });
        let (concurrency, live) = (self.concurrency, RefCell::new(VecDeque::new()));
        let task = Rc::new(Task { factory, worker: self, body, tally, live });
        // Tasks are there only for what is done at once; one needs none.
        let all = async {
            let mut tasks = JoinSet::new();
            for _ in 0..concurrency {
                tasks.spawn_local(Task::go_on(Rc::clone(&task)));
            }
            while let Some(ended) = tasks.join_next().await {
                if ended.is_err() {
                    task.failed("panic", "a body panicked".to_owned());
                    tasks.spawn_local(Task::go_on(Rc::clone(&task))); // in its place
                }
            }
            task.close_those_held();
        };
        block_on(S::NEEDS_RING, all)?;
        Ok(task.tally.take())
    }
}

/// In a runtime that the streams can live in: tokio-uring's for those that need a ring, where it is compiled in.
#[cfg_attr(not(feature = "tokio-uring"), allow(unused_variables))]
fn block_on(on_a_ring: bool, future: impl Future<Output = ()>) -> Result<(), Error> {
    #[cfg(feature = "tokio-uring")]
    if on_a_ring {
        let runtime = patiently(|| tokio_uring::Runtime::new(&tokio_uring::builder())).map_err(Error::Start)?;
        runtime.block_on(future);
        return Ok(());
    }
    tokio_runtime()?.block_on(LocalSet::new().run_until(future));
    Ok(())
}

fn tokio_runtime() -> Result<tokio::runtime::Runtime, Error> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    patiently(|| builder.enable_io().enable_time().build()).map_err(Error::Start)
}

/// Opens what the first runtime of a process leaves open for good, and would look like a leak of its soak: two sockets, where anyone
/// in the build asks for tokio's feature `signal`. There is one of tokio's in each of tokio-uring's, too.
pub(super) fn open_for_good() -> Result<(), Error> {
    tokio_runtime().map(drop)
}

/// What the tasks of a thread share.
struct Task<S, B> {
    factory: PairFactory,
    worker: Worker,
    body: B,
    tally: RefCell<Tally>,
    live: RefCell<VecDeque<(S, S)>>,
}

impl<S, B> Task<S, B>
where
    S: PairSocket + 'static,
    B: AsyncFn(&mut S, &mut S, Turn) -> io::Result<()> + 'static,
{
    async fn go_on(self: Rc<Self>) {
        while let Some((turn, due)) = self.worker.course.next() {
            let planned = match due {
                Some(due) => self.worker.course.wait_until(due).await,
                None => Some(Instant::now()),
            };
            let Some(planned) = planned else { return };
            self.take(turn, planned).await;
        }
    }

    /// Makes a pair, runs the body with it, and closes it or the one that has been held longest.
    async fn take(&self, turn: Turn, planned: Instant) {
        let (mut accepted, mut connected) = match self.factory.pair::<S>().await {
            Ok(pair) => pair,
            Err(error) => return self.failed(step_of(&error), error.to_string()),
        };
        let made = Instant::now();
        let run = (self.body)(&mut accepted, &mut connected, turn);
        let outcome = tokio::time::timeout(self.worker.timeout, run).await;
        let used = Instant::now();
        {
            let mut tally = self.tally.borrow_mut();
            tally.make.add(made.saturating_duration_since(planned));
            tally.body.add(used - made);
        }
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return self.failed("body", error.to_string()),
            Err(_) => return self.failed("body", format!("it was not through after {:?}", self.worker.timeout)),
        }
        let to_close = self.hold((accepted, connected));
        if let Some(pair) = to_close {
            self.close(pair);
        }
        self.tally.borrow_mut().pairs += 1;
        self.worker.course.done.fetch_add(1, Relaxed);
    }

    /// Puts a pair with those that are held open. Returns the one to be closed, where that makes one too many.
    fn hold(&self, pair: (S, S)) -> Option<(S, S)> {
        let mut live = self.live.borrow_mut();
        live.push_back(pair);
        if live.len() > self.worker.live { live.pop_front() } else { None }
    }

    fn close(&self, (accepted, connected): (S, S)) {
        let begin = Instant::now();
        drop(accepted);
        drop(connected);
        self.tally.borrow_mut().close.add(begin.elapsed());
    }

    fn close_those_held(&self) {
        let held = self.live.take();
        held.into_iter().for_each(|pair| self.close(pair));
    }

    fn failed(&self, step: &str, why: String) {
        let mut tally = self.tally.borrow_mut();
        *tally.failures.entry(step.to_owned()).or_default() += 1;
        tally.first_failure.get_or_insert(why);
        self.worker.course.failed.fetch_add(1, Relaxed);
    }
}

/// The name of a step as reports have it: `set_option`.
fn step_of(error: &crate::Error) -> &'static str {
    use crate::Step::*;
    match error.step() {
        Options => "options",
        Ring => "ring",
        Socket => "socket",
        Bind => "bind",
        Listen => "listen",
        Connect => "connect",
        Accept => "accept",
        Verify => "verify",
        SetOption => "set_option",
        Convert => "convert",
        Timeout => "timeout",
    }
}

/// What a thread has done.
pub(super) struct Tally {
    engine: Option<Backend>,
    pairs: u64,
    failures: BTreeMap<String, u64>,
    first_failure: Option<String>,
    make: Series,
    body: Series,
    close: Series,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            engine: None,
            pairs: 0,
            failures: BTreeMap::new(),
            first_failure: None,
            make: Series::new(),
            body: Series::new(),
            close: Series::new(),
        }
    }
}

impl Tally {
    pub(super) fn add(&mut self, more: Tally) {
        self.engine = self.engine.or(more.engine);
        self.pairs += more.pairs;
        for (step, count) in more.failures {
            *self.failures.entry(step).or_default() += count;
        }
        self.first_failure = self.first_failure.take().or(more.first_failure);
        self.make.merge(&more.make);
        self.body.merge(&more.body);
        self.close.merge(&more.close);
    }

    pub(super) fn report(self, course: &Course, [before, settled, peak, after]: [Facts; 4], seed: u64) -> Report {
        Report {
            engine: self.engine.unwrap_or_default(),
            pairs: self.pairs,
            failures: self.failures,
            first_failure: self.first_failure,
            elapsed: course.begin.elapsed(),
            make: self.make,
            body: self.body,
            close: self.close,
            before,
            settled,
            peak,
            after,
            ended_early: course.interrupted.load(Relaxed),
            seed,
        }
    }
}

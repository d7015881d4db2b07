//! A thread that soaks: a factory, a runtime, and tasks that make, use and close pairs until the course is over.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};
use tokio::time::timeout;

use crate::hazards::memlock::patiently;
use crate::measure::{Error, pin};
use crate::{Backend, PairFactory, PairOptions, PairSocket, abort};

use super::course::Course;
use super::ledger::{Ledger, Stage};
use super::{LOOK_EVERY, PairInfo};

tokio::task_local! {
    /// The number of the pair that a body works on, and the ledger of its thread.
    static IN_HAND: (Arc<Ledger>, u64);
}

/// Says what a body is doing from here on: `reading at the accepted end`. If its pair takes too long, the report names it.
///
/// Called anywhere else than in the task of a body, it does nothing.
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # fn main() -> Result<(), ringpair::measure::Error> {
/// use std::time::Duration;
/// use ringpair::measure::soak::{Soak, doing};
/// use tokio::io::AsyncReadExt;
/// use tokio::net::TcpStream;
///
/// let body = async |accepted: &mut TcpStream, _: &mut TcpStream, _| {
///     doing("waiting for bytes that never come");
///     accepted.read_u8().await.map(drop)
/// };
/// let report = Soak::new().pairs(1).pair_timeout(Duration::from_millis(300)).run(body)?;
/// let first = report.first_failure.unwrap();
/// assert_eq!(first, "pair 0 was not through after 300ms: its body was waiting for bytes that never come");
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
pub fn doing(what: &'static str) {
    // An error means that no body runs here.
    let _ = IN_HAND.try_with(|(ledger, number)| ledger.go_to(*number, Stage::Body(what)));
}

/// What one thread is to do.
pub(super) struct Worker {
    pub(super) options: PairOptions,
    pub(super) concurrency: usize,
    pub(super) live: usize,
    /// The CPU that the thread is pinned to.
    pub(super) cpu: Option<usize>,
    pub(super) course: Arc<Course>,
    pub(super) ledger: Arc<Ledger>,
}

impl Worker {
    /// Soaks until the course is over. If this thread cannot begin, the course is over for all.
    pub(super) fn run<S, B>(self, body: B) -> Result<(), Error>
    where
        S: PairSocket + 'static,
        B: AsyncFn(&mut S, &mut S, PairInfo) -> io::Result<()> + 'static,
    {
        let course = Arc::clone(&self.course);
        let outcome = self.soak(body);
        course.a_thread_has_ended();
        if outcome.is_err() {
            course.stop();
        }
        outcome
    }

    fn soak<S, B>(self, body: B) -> Result<(), Error>
    where
        S: PairSocket + 'static,
        B: AsyncFn(&mut S, &mut S, PairInfo) -> io::Result<()> + 'static,
    {
        if let Some(cpu) = self.cpu {
            pin(&[cpu]).map_err(Error::Start)?;
        }
        let options = if S::NEEDS_RING { self.options.clone().backend(Backend::Uring) } else { self.options.clone() };
        let factory = options.factory()?;
        self.ledger.made_by(factory.backend());
        let task = Rc::new(Task { factory, worker: self, body, live: RefCell::new(VecDeque::new()) });
        block_on(S::NEEDS_RING, task.go_on_all())
    }
}

/// Runs the future in the runtime of its streams: tokio-uring's if they need a ring, else tokio's.
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
struct Task<S: PairSocket, B> {
    factory: PairFactory,
    worker: Worker,
    body: B,
    live: RefCell<VecDeque<InHand<S>>>,
}

impl<S, B> Task<S, B>
where
    S: PairSocket + 'static,
    B: AsyncFn(&mut S, &mut S, PairInfo) -> io::Result<()> + 'static,
{
    /// Runs as many tasks as pairs may be in hand at once, until all are through or those that are left are abandoned.
    async fn go_on_all(self: Rc<Self>) {
        let mut tasks = JoinSet::new();
        for _ in 0..self.worker.concurrency {
            tasks.spawn_local(Rc::clone(&self).go_on());
        }
        loop {
            match timeout(LOOK_EVERY, tasks.join_next()).await {
                Ok(None) => break,
                Ok(Some(Err(_))) => drop(tasks.spawn_local(Rc::clone(&self).go_on())), // a body has panicked
                Ok(Some(Ok(()))) | Err(_) => {}
            }
            if self.worker.course.overdue().is_some() {
                tasks.shutdown().await;
            }
        }
        self.live.take().into_iter().for_each(|pair| self.close(pair));
        self.worker.ledger.is_ending();
    }

    async fn go_on(self: Rc<Self>) {
        while let Some((turn, due)) = self.worker.course.next() {
            let planned = match due {
                Some(due) => self.worker.course.wait_until(due).await,
                None => Some(Instant::now()),
            };
            let Some(planned) = planned else { return };
            self.take(turn, planned).await;
            if self.worker.ledger.is_given_up() {
                return;
            }
        }
    }

    /// Makes a pair, runs the body with it, and closes it or the one that has been held longest.
    async fn take(&self, turn: PairInfo, planned: Instant) {
        let hand = self.worker.ledger.take(turn.number);
        let mut pair = match timeout(hand.left(), self.factory.pair::<S>()).await {
            Ok(Ok((accepted, connected))) => InHand { accepted, connected, took: Duration::ZERO, is_sound: false },
            Ok(Err(error)) => return hand.failed(step_of(&error), &error.to_string()),
            Err(_) => return hand.late(),
        };
        hand.go_to(Stage::Body("running"));
        let made = Instant::now();
        let body = (self.body)(&mut pair.accepted, &mut pair.connected, turn);
        let body = IN_HAND.scope((Arc::clone(&self.worker.ledger), turn.number), body);
        let outcome = timeout(hand.left(), body).await;
        let (make, body) = (made.saturating_duration_since(planned), made.elapsed());
        hand.took(make, body);
        pair.took = make + body;
        match outcome {
            Ok(Ok(())) => pair.is_sound = true,
            Ok(Err(error)) => return hand.failed("body", &error.to_string()),
            Err(_) => return hand.late(),
        }
        hand.go_to(Stage::Close);
        let to_close = self.hold(pair);
        if let Some(pair) = to_close {
            self.close(pair);
        }
        hand.done();
    }

    /// Puts a pair with those that are held open. Returns the one to close if that makes one too many.
    fn hold(&self, pair: InHand<S>) -> Option<InHand<S>> {
        let mut live = self.live.borrow_mut();
        live.push_back(pair);
        if live.len() > self.worker.live { live.pop_front() } else { None }
    }

    fn close(&self, pair: InHand<S>) {
        let (begin, before) = (Instant::now(), pair.took);
        drop(pair);
        let close = begin.elapsed();
        self.worker.ledger.closed(close, before + close);
    }
}

/// A pair, closed when it is dropped, the accepted end first.
struct InHand<S: PairSocket> {
    accepted: S,
    connected: S,
    /// To make it, and its body.
    took: Duration,
    /// The body has ended well.
    is_sound: bool,
}

/// A body that did not end well can leave operations pending at both ends: only a reset ends those.
impl<S: PairSocket> Drop for InHand<S> {
    fn drop(&mut self) {
        if !self.is_sound {
            let _ = abort(&self.accepted); // on error, the close that follows is all that is left to do
            let _ = abort(&self.connected);
        }
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

//! Starts the threads of a soak, watches them, and joins them.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::PairSocket;
use crate::measure::Error;

use super::course::Course;
use super::ledger::{Ledger, Tally};
use super::worker::Worker;
use super::{PairInfo, Soak};

type Running = JoinHandle<Result<(), Error>>;

/// The running threads. Dropping it stops the soak, and waits until each thread has ended or is given up.
pub(super) struct Workers {
    threads: Vec<(Running, Arc<Ledger>)>,
    /// The work of threads that were given up.
    given_up: Tally,
    course: Arc<Course>,
}

impl Workers {
    /// Starts all threads. Each wakes the calling thread when it ends.
    pub(super) fn start<S, B>(soak: &Soak, body: B, course: &Arc<Course>) -> Result<Workers, Error>
    where
        S: PairSocket + 'static,
        B: AsyncFn(&mut S, &mut S, PairInfo) -> io::Result<()> + Clone + Send + 'static,
    {
        let mut workers = Workers { threads: Vec::new(), given_up: Tally::default(), course: Arc::clone(course) };
        for number in 0..soak.threads.get() {
            let ledger = Arc::new(Ledger::new(course, soak.pair_timeout));
            let worker = Worker {
                options: soak.options.clone(),
                concurrency: soak.concurrency.get(),
                cpu: soak.cpus.get(number % soak.cpus.len().max(1)).copied(),
                live: soak.live.div_ceil(soak.threads.get()),
                course: Arc::clone(course),
                ledger: Arc::clone(&ledger),
            };
            let (body, watcher) = (body.clone(), thread::current());
            let started = thread::Builder::new().name(format!("soak-{number}")).spawn(move || {
                let outcome = worker.run::<S, B>(body);
                watcher.unpark();
                outcome
            });
            workers.threads.push((started.map_err(Error::Start)?, ledger));
        }
        Ok(workers)
    }

    /// Whether all threads have ended. Gives up those that are blocked.
    pub(super) fn are_through(&mut self) -> bool {
        let given_up = &mut self.given_up;
        self.threads.retain(|(thread, ledger)| {
            let is_given_up = !thread.is_finished() && ledger.give_up_if_blocked();
            if is_given_up {
                given_up.add(ledger.take_tally());
            }
            !is_given_up
        });
        self.threads.iter().all(|(thread, _)| thread.is_finished())
    }

    /// Joins all threads, and adds up their work.
    pub(super) fn tally(mut self) -> Result<Tally, Error> {
        let mut tally = std::mem::take(&mut self.given_up);
        let mut refused = None;
        while let Some((thread, ledger)) = self.threads.pop() {
            match thread.join() {
                Ok(Ok(())) => tally.add(ledger.take_tally()),
                Ok(Err(error)) => refused = refused.or(Some(error)),
                Err(panic) => resume_unwind(panic),
            }
        }
        refused.map_or(Ok(tally), Err)
    }
}

/// Runs also if the watching thread panics: nothing else would stop the threads.
impl Drop for Workers {
    fn drop(&mut self) {
        self.course.stop();
        while !self.are_through() {
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}

//! The threads of a soak, from the first to the last.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::PairSocket;
use crate::measure::Error;

use super::worker::{Course, Tally, Worker};
use super::{Soak, Turn};

/// Dropped, they begin no more pairs, and have ended.
pub(super) struct Crew {
    threads: Vec<JoinHandle<Result<Tally, Error>>>,
    course: Arc<Course>,
}

impl Crew {
    /// Starts all. Each wakes the calling thread when it has ended.
    pub(super) fn start<S, B>(soak: &Soak, body: B, course: &Arc<Course>) -> Result<Crew, Error>
    where
        S: PairSocket + 'static,
        B: AsyncFn(&mut S, &mut S, Turn) -> io::Result<()> + Clone + Send + 'static,
    {
        let mut crew = Crew { threads: Vec::new(), course: Arc::clone(course) };
        for number in 0..soak.threads.get() {
            let worker = Worker {
                options: soak.options.clone(),
                concurrency: soak.concurrency.get(),
                live: soak.live.div_ceil(soak.threads.get()),
                timeout: soak.timeout,
                course: Arc::clone(course),
            };
            let (body, watcher) = (body.clone(), thread::current());
            let started = thread::Builder::new().name(format!("soak-{number}")).spawn(move || {
                let tally = worker.run::<S, B>(body);
                watcher.unpark();
                tally
            });
            crew.threads.push(started.map_err(Error::Start)?);
        }
        Ok(crew)
    }

    pub(super) fn is_through(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for all, and adds up what they have done.
    pub(super) fn tally(mut self) -> Result<Tally, Error> {
        let mut tally = Tally::default();
        let mut refused = None;
        while let Some(thread) = self.threads.pop() {
            match thread.join() {
                Ok(Ok(more)) => tally.add(more),
                Ok(Err(error)) => refused = refused.or(Some(error)),
                Err(panic) => resume_unwind(panic),
            }
        }
        refused.map_or(Ok(tally), Err)
    }
}

/// Also where whoever watches them panics: nobody would end them then.
impl Drop for Crew {
    fn drop(&mut self) {
        self.course.end();
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

//! Two threads against one: how many pairs they make and close in the same time.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

const WARM_UP: usize = 100;

/// Pairs made in one spell, by one thread and by two.
pub(crate) struct Counts {
    pub(crate) one: usize,
    pub(crate) two: usize,
}

impl Counts {
    pub(crate) fn two_over_one(&self) -> f64 {
        self.two as f64 / self.one as f64
    }
}

/// Counts the pairs of one thread and of two. The order alternates with the round.
///
/// `open` runs once in each thread; what it returns makes and closes one pair. The calling thread waits meanwhile, so
/// the kernel treats the process as multi-threaded in both cases.
pub(crate) fn one_and_two_threads<M: FnMut()>(round: usize, spell: Duration, open: impl Fn() -> M + Sync) -> Counts {
    let on = |threads: usize| -> usize {
        let barrier = Barrier::new(threads);
        let run = || count_in_a_spell(&barrier, spell, open());
        thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).sum()
        })
    };
    if round % 2 == 0 {
        let one = on(1);
        Counts { one, two: on(2) }
    } else {
        let two = on(2);
        Counts { one: on(1), two }
    }
}

fn count_in_a_spell(barrier: &Barrier, spell: Duration, mut make: impl FnMut()) -> usize {
    (0..WARM_UP).for_each(|_| make());
    barrier.wait();
    let begin = Instant::now();
    let mut made = 0;
    while begin.elapsed() < spell {
        make();
        made += 1;
    }
    made
}

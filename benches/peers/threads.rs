//! One factory shared by two threads, over the same factory used by one.

use std::net::TcpStream;
use std::time::Duration;

use crate::common::floor::Floor;
use crate::common::spell::{Counts, one_and_two_threads};
use crate::rivals::factory;

const SPELL: Duration = Duration::from_millis(50);

/// The lowest ratio that meets the goal.
pub(crate) const GOAL: f64 = 1.7;

/// Below this ratio of the floor, the host has no two CPUs to give, and the goal cannot be judged.
pub(crate) const FLOOR_AT_LEAST: f64 = 1.8;

/// Counts of each round.
pub(crate) struct Threads {
    pub(crate) factory: Vec<Counts>,
    /// The floor, with a listener for each thread: the most that the host gives.
    pub(crate) floor: Vec<Counts>,
}

/// Pairs are `std` streams made by blocking calls and dropped at once.
pub(crate) fn measure(rounds: usize) -> Threads {
    let shared = factory();
    let mut threads = Threads { factory: Vec::new(), floor: Vec::new() };
    for round in 0..rounds {
        threads.factory.push(one_and_two_threads(round, SPELL, || {
            || drop(shared.pair_blocking::<TcpStream>().unwrap()) // the fields drop in order: the accepted end first
        }));
        threads.floor.push(one_and_two_threads(round, SPELL, || {
            let floor = Floor::open().unwrap();
            move || drop(floor.pair().unwrap())
        }));
    }
    threads
}

/// Median pairs per second.
pub(crate) fn per_second(counts: &[Counts], threads: impl Fn(&Counts) -> usize) -> f64 {
    let per_second: Vec<f64> = counts.iter().map(|count| threads(count) as f64 / SPELL.as_secs_f64()).collect();
    crate::turns::median(&per_second)
}

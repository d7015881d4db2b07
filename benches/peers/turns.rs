//! Turns of all rivals in rounds, so that a drift of the host affects all alike.

use std::time::Instant;

use crate::common::Spread;
use crate::rivals::Turn;

/// A rival that is set up, and the microseconds per pair in each of its turns.
pub(crate) struct Runner {
    pub(crate) name: &'static str,
    pub(crate) pairs: usize,
    turn: Turn,
    pub(crate) micros: Vec<f64>,
}

impl Runner {
    /// Takes a short turn that does not count.
    pub(crate) fn warmed_up(name: &'static str, pairs: usize, mut turn: Turn) -> Runner {
        turn((pairs / 8).max(1));
        Runner { name, pairs, turn, micros: Vec::new() }
    }

    fn take_turn(&mut self) {
        let begin = Instant::now();
        (self.turn)(self.pairs);
        self.micros.push(begin.elapsed().as_secs_f64() * 1e6 / self.pairs as f64);
    }
}

/// Each round begins with another runner, and every second round goes backwards: the neighbours change too.
pub(crate) fn take_turns(runners: &mut [Runner], rounds: usize) {
    let count = runners.len();
    for round in 0..rounds {
        for place in 0..count {
            let place = if round % 2 == 0 { place } else { count - 1 - place };
            runners[(round + place) % count].take_turn();
        }
    }
}

/// The ratio to a yardstick, taken within each round.
pub(crate) fn ratio(own: &[f64], yardstick: &[f64]) -> Spread {
    Spread::of(own.iter().zip(yardstick).map(|(own, yardstick)| own / yardstick))
}

/// The median of the last third of the turns over that of the first.
pub(crate) fn drift(micros: &[f64]) -> f64 {
    let third = micros.len().div_ceil(3);
    median(&micros[micros.len() - third..]) / median(&micros[..third])
}

pub(crate) fn median(values: &[f64]) -> f64 {
    Spread::of(values.iter().copied()).median
}

//! Progress: one line on a terminal, or a line of JSON each second.

use std::io::{self, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ringpair::measure::soak::Progress;

use super::document::Second;
use crate::interrupt::Interrupt;
use crate::output::print;

/// The planned end of a soak.
#[derive(Clone, Copy)]
pub(super) enum Goal {
    Pairs(u64),
    Time(Duration),
}

pub(super) struct Teller {
    interrupt: Interrupt,
    goal: Goal,
    /// A progress bar on a terminal; nothing elsewhere. `None` if lines of JSON are printed instead.
    bar: Option<ProgressBar>,
    seconds: u64,
    refused: Option<io::Error>,
}

impl Teller {
    pub(super) fn new(interrupt: Interrupt, goal: Goal, json_lines: bool) -> Teller {
        let bar = if json_lines { None } else { Some(bar(goal)) };
        Teller { interrupt, goal, bar, seconds: 0, refused: None }
    }

    /// Reports the progress. Returns whether to continue.
    pub(super) fn tell(&mut self, progress: Progress) -> bool {
        match &self.bar {
            Some(bar) => {
                bar.set_position(match self.goal {
                    Goal::Pairs(_) => progress.pairs + progress.failures,
                    Goal::Time(_) => progress.elapsed.as_millis() as u64,
                });
                bar.set_message(Second::of(&progress).to_string());
            }
            None if progress.elapsed.as_secs() > self.seconds => {
                self.seconds = progress.elapsed.as_secs();
                let line = serde_json::to_string(&Second::of(&progress)).map_err(io::Error::from);
                self.refused = line.and_then(|line| print(&line)).err();
            }
            None => {}
        }
        self.refused.is_none() && self.interrupt.cause().is_none()
    }

    /// Keeps the line on the terminal, and moves to the next.
    pub(super) fn end(&self) {
        let Some(bar) = self.bar.as_ref().filter(|bar| !bar.is_hidden()) else { return };
        bar.abandon();
        let _ = writeln!(io::stderr()); // only for looks
    }

    /// Returns why a line could not be printed.
    pub(super) fn refused(&mut self) -> Option<io::Error> {
        self.refused.take()
    }

    /// Says on stderr what interrupted the soak. Returns whether standard output has no reader.
    pub(super) fn say(&mut self) -> bool {
        self.interrupt.say()
    }
}

fn bar(goal: Goal) -> ProgressBar {
    let (length, template) = match goal {
        Goal::Pairs(pairs) => (pairs, "{wide_bar} of {len}, {eta} left: {msg}".to_owned()),
        Goal::Time(time) => (time.as_millis() as u64, format!("{{wide_bar}} of {time:?}, {{eta}} left: {{msg}}")),
    };
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr_with_hz(5)).with_style(style)
}

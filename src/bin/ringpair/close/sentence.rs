//! The answer in one sentence: what reset and FIN cost, and which is faster.

use ringpair::measure::close::{CloseMode, Report};

use super::Told;
use super::table::{counted_by, middle, whole_p50};
use crate::numbers::micros;

/// What the sentence says.
struct Answer {
    reset: Option<Closed>,
    fin: Option<Closed>,
    /// The time of reset over that of fin, for each call and order.
    ratios: Vec<f64>,
    /// Whether the counters include other connections of the host.
    is_shared: bool,
    fits: bool,
}

/// What closing in one mode took.
#[derive(Clone, Copy)]
struct Closed {
    nanos: u64,
    pairs: u64,
    time_wait: u64,
}

pub(super) fn of(told: &Told) -> String {
    let report = &told.report;
    let of_reset = report.cells.iter().filter(|cell| cell.mode == CloseMode::Reset);
    told_of(&Answer {
        reset: closed(report, CloseMode::Reset),
        fin: closed(report, CloseMode::Fin),
        ratios: of_reset.filter_map(|cell| report.ratio_to_fin(cell, |cell| &cell.whole)).collect(),
        is_shared: !told.netns,
        fits: report.fits(),
    })
}

/// `None` if no pair was closed in this mode.
fn closed(report: &Report, mode: CloseMode) -> Option<Closed> {
    let (pairs, counted, _) = counted_by(report, mode);
    let nanos = middle(report, mode, whole_p50)?;
    Some(Closed { nanos, pairs, time_wait: counted.time_waits() })
}

fn told_of(answer: &Answer) -> String {
    let parts = match (answer.reset, answer.fin) {
        (Some(reset), Some(fin)) => vec![
            part("reset", reset, " to close both ends", answer),
            part("fin", fin, "", answer),
            comparison(reset, fin, &answer.ratios),
        ],
        (Some(reset), None) => {
            vec![part("reset", reset, " to close both ends", answer), "fin was not measured".to_owned()]
        }
        (None, Some(fin)) => vec![part("fin", fin, " to close both ends", answer), "reset was not measured".to_owned()],
        (None, None) => vec!["neither reset nor fin was measured".to_owned()],
    };
    let mut text = parts.join("; ");
    if answer.is_shared && (answer.reset.is_some() || answer.fin.is_some()) {
        text.push_str("; TIME_WAIT unknown, since the counters are shared with the host");
    }
    if !answer.fits {
        text.push_str("; but do not trust this: some reads or counters are not as they must be");
    }
    text
}

fn part(name: &str, closed: Closed, what: &str, answer: &Answer) -> String {
    let time_wait = if answer.is_shared { String::new() } else { format!(", {}", time_wait(closed)) };
    format!("{name}: {} µs{what}{time_wait}", micros(closed.nanos))
}

fn time_wait(closed: Closed) -> String {
    match (closed.time_wait, closed.pairs) {
        (0, _) => "no TIME_WAIT".to_owned(),
        (count, pairs) if count == pairs => "one TIME_WAIT".to_owned(),
        (count, pairs) => format!("{:.3} TIME_WAIT per pair", count as f64 / pairs as f64),
    }
}

/// Says which is faster only if every call and order says the same, and the difference can be seen.
fn comparison(reset: Closed, fin: Closed, ratios: &[f64]) -> String {
    let agree = ratios.iter().all(|ratio| *ratio < 1.0) || ratios.iter().all(|ratio| *ratio > 1.0);
    let (faster, factor) = match fin.nanos as f64 / reset.nanos.max(1) as f64 {
        factor if factor >= 1.0 => ("reset", factor),
        factor => ("fin", 1.0 / factor),
    };
    match agree && !ratios.is_empty() && factor >= 1.05 {
        true => format!("{faster} is {factor:.1} times as fast"),
        false => "too close to tell which is faster".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        Answer {
            reset: Some(Closed { nanos: 2_800, pairs: 400, time_wait: 0 }),
            fin: Some(Closed { nanos: 4_600, pairs: 400, time_wait: 400 }),
            ratios: vec![0.6, 0.61, 0.63, 0.59],
            is_shared: false,
            fits: true,
        }
    }

    #[test]
    fn the_answer_is_one_sentence() {
        let told = told_of(&answer());
        assert_eq!(
            told,
            "reset: 2.8 µs to close both ends, no TIME_WAIT; fin: 4.6 µs, one TIME_WAIT; reset is 1.6 times as fast"
        );
    }

    #[test]
    fn a_faster_fin_is_told_as_well() {
        let answer = Answer {
            reset: Some(Closed { nanos: 9_200, pairs: 400, time_wait: 0 }),
            ratios: vec![2.0, 1.9],
            ..answer()
        };
        assert!(told_of(&answer).ends_with("; fin is 2.0 times as fast"), "{}", told_of(&answer));
    }

    #[test]
    fn what_was_not_measured_is_not_compared() {
        let without_fin = Answer { fin: None, ratios: vec![], ..answer() };
        assert_eq!(told_of(&without_fin), "reset: 2.8 µs to close both ends, no TIME_WAIT; fin was not measured");
        let without_reset = Answer { reset: None, ratios: vec![], ..answer() };
        assert_eq!(told_of(&without_reset), "fin: 4.6 µs to close both ends, one TIME_WAIT; reset was not measured");
        let neither = Answer { reset: None, fin: None, ratios: vec![], is_shared: true, fits: true };
        assert_eq!(told_of(&neither), "neither reset nor fin was measured");
    }

    #[test]
    fn shared_counters_tell_nothing_of_time_wait() {
        let told = told_of(&Answer { is_shared: true, ..answer() });
        assert_eq!(
            told,
            "reset: 2.8 µs to close both ends; fin: 4.6 µs; reset is 1.6 times as fast; \
             TIME_WAIT unknown, since the counters are shared with the host"
        );
    }

    #[test]
    fn figures_that_do_not_fit_are_not_to_be_trusted() {
        let told = told_of(&Answer { fits: false, ..answer() });
        assert!(told.ends_with("; but do not trust this: some reads or counters are not as they must be"), "{told}");
    }

    #[test]
    fn cells_that_disagree_are_too_close_to_tell() {
        for ratios in [vec![0.6, 1.2], vec![1.0, 0.9], vec![]] {
            let told = told_of(&Answer { ratios, ..answer() });
            assert!(told.ends_with("; too close to tell which is faster"), "{told}");
        }
        let fin = Some(Closed { nanos: 2_900, pairs: 400, time_wait: 400 });
        let told = told_of(&Answer { fin, ratios: vec![0.96, 0.97], ..answer() });
        assert!(told.ends_with("; too close to tell which is faster"), "{told}");
    }

    #[test]
    fn time_wait_is_what_the_kernel_counted() {
        let fin = Some(Closed { nanos: 4_600, pairs: 400, time_wait: 390 });
        let told = told_of(&Answer { fin, ..answer() });
        assert!(told.contains("fin: 4.6 µs, 0.975 TIME_WAIT per pair;"), "{told}");
    }
}

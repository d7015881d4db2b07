//! The report as text: the answer, a row per close mode, and what does not fit. No table is wider than 60 columns.

use std::fmt::Write;

use ringpair::Backend;
use ringpair::measure::close::{Cell, CloseMode, Report};
use ringpair::measure::{Counters, Series};

use super::{Pick, SERIES, Told, sentence};
use crate::numbers::{grouped, micros};
use crate::screen::wrapped;

/// How the report looks.
pub(super) struct Look {
    pub(super) width: usize,
    pub(super) has_colour: bool,
    /// Whether every cell and every counter is shown.
    pub(super) is_whole: bool,
}

pub(super) fn of(told: &Told, look: &Look) -> String {
    let report = &told.report;
    let mut parts = vec![answer(told, look), by_mode(told)];
    if look.is_whole {
        parts.extend([by_cell(report, 50.0), by_cell(report, 99.0), counters(report)]);
    }
    parts.push(wrapped(&verdict(told), look.width));
    if modes(report).contains(&CloseMode::Wait) {
        parts.push(wrapped(WAIT, look.width));
    }
    parts.push(wrapped(&circumstances(told), look.width));
    if !look.is_whole {
        parts.push(wrapped("--all shows every call, order and counter.", look.width));
    }
    parts.join("\n\n")
}

/// Returns the sentence, in red if something does not fit.
fn answer(told: &Told, look: &Look) -> String {
    let text = wrapped(&sentence::of(told), look.width);
    if look.has_colour && !told.report.fits() { format!("\x1b[31m{text}\x1b[0m") } else { text }
}

pub(super) fn engine_of(report: &Report) -> &'static str {
    match report.engine {
        Backend::Epoll => "epoll",
        _ => "uring",
    }
}

fn circumstances(told: &Told) -> String {
    let report = &told.report;
    let kernel = report.host.kernel_release.as_deref().unwrap_or("of an unknown release");
    let through = match report.engine {
        Backend::Epoll => "epoll, and not through io_uring; nor is any end closed through it",
        _ => "io_uring",
    };
    let early = if report.ended_early { ", ended early" } else { "" };
    let on = told.cpus.suffix();
    format!(
        "{} pairs for each way, call and order{early}; seed {}; Linux {kernel}{on}. Pairs are made through {through}. {}.",
        grouped(report.pairs as u64),
        report.seed,
        counters_of(told)
    )
}

/// Says which connections the counters count.
pub(super) fn counters_of(told: &Told) -> &'static str {
    match told.netns {
        true => "Counters are those of a network namespace of its own",
        false => "Counters are shared with the host: other connections of its network namespace count too",
    }
}

// --- tables

/// A row per mode: the median of its cells.
fn by_mode(told: &Told) -> String {
    let report = &told.report;
    let mut lines = vec![
        "              first   peer   both   both   both".to_owned(),
        "              close  reads   ends   ends   ends TIME_WAIT".to_owned(),
        "way          p50 µs p50 µs p50 µs p99 µs  / fin  per pair".to_owned(),
    ];
    let time =
        |mode, percent, of: Pick| middle(report, mode, |cell| percentile(of(cell), percent)).map_or_else(none, micros);
    for mode in modes(report) {
        let [(_, first), (_, peer), _, (_, whole)] = SERIES;
        let times = [(first, 50.0), (peer, 50.0), (whole, 50.0), (whole, 99.0)].map(|(of, part)| time(mode, part, of));
        let over_fin = middle_ratio(report, mode, whole).map_or_else(none, ratio);
        let time_wait = if told.netns { time_wait_of(report, mode) } else { "unknown".to_owned() };
        let times: String = times.iter().map(|time| format!(" {time:>6}")).collect();
        lines.push(format!("{mode:12}{times} {over_fin:>6} {time_wait:>9}"));
    }
    lines.join("\n")
}

pub(super) fn time_wait_of(report: &Report, mode: CloseMode) -> String {
    let (pairs, counted, _) = counted_by(report, mode);
    a_pair(counted.time_waits(), pairs)
}

/// A row per cell, with one percentile of each series.
fn by_cell(report: &Report, percent: f64) -> String {
    let mut lines = vec![
        format!("{:31}  first   peer second   both", format!("p{percent} in µs")),
        "way          call     first end  close  reads  close   ends".to_owned(),
    ];
    for cell in &report.cells {
        let times = SERIES.map(|(_, series)| percentile(series(cell), percent).map_or_else(none, micros));
        let times: String = times.iter().map(|time| format!(" {time:>6}")).collect();
        lines.push(format!("{:12} {:8} {:9}{times}", cell.mode, cell.call, cell.order));
    }
    lines.join("\n")
}

/// What the kernel counted per pair.
fn counters(report: &Report) -> String {
    let mut lines = vec![
        "per pair     TIME_WAIT TIME_WAIT resets   ends   zero unread".to_owned(),
        "way            entered  was full   sent  reset linger   data".to_owned(),
    ];
    for mode in modes(report) {
        let (pairs, counted, _) = counted_by(report, mode);
        let [time_wait, full, others @ ..] = counted.named().map(|(_, count)| a_pair(count, pairs));
        let others: String = others.iter().map(|count| format!(" {count:>6}")).collect();
        lines.push(format!("{mode:12} {time_wait:>9} {full:>9}{others}"));
    }
    lines.join("\n")
}

fn none() -> String {
    "-".to_owned()
}

/// `None` if the sample is too small: no value would lie beyond the percentile.
pub(super) fn percentile(series: &Series, percent: f64) -> Option<u64> {
    let needed = if percent > 50.0 { (100.0 / (100.0 - percent)).round() as u64 } else { 1 };
    (series.count() >= needed).then(|| series.percentile(percent))
}

pub(super) fn whole_p50(cell: &Cell) -> Option<u64> {
    percentile(&cell.whole, 50.0)
}

/// Returns the median over a mode's cells, so that one disturbed cell does not decide.
pub(super) fn middle(report: &Report, mode: CloseMode, of: impl Fn(&Cell) -> Option<u64>) -> Option<u64> {
    let mut values: Vec<u64> = report.cells.iter().filter(|cell| cell.mode == mode).filter_map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

// --- words

/// Lists what does not fit.
fn verdict(told: &Told) -> String {
    if told.report.fits() {
        return "Every read and every counter is as it must be.".to_owned();
    }
    let misfits = told.report.cells.iter().filter(|cell| !cell.fits()).map(|cell| misfit(cell, told.netns));
    misfits.collect::<Vec<_>>().join("\n\n")
}

/// Explains the figures of `wait`.
pub(super) const WAIT: &str = "wait: close returns when the other end's kernel has acknowledged the FIN, which the kernel \
    delays by up to 40 ms if nothing else is to be sent. A cell of wait closes 100 pairs at most.";

/// Formats a ratio with two decimals, or none if it is large.
pub(super) fn ratio(ratio: f64) -> String {
    if ratio < 100.0 { format!("{ratio:.2}") } else { grouped(ratio.round() as u64) }
}

/// Returns the modes of a report, each once.
pub(super) fn modes(report: &Report) -> Vec<CloseMode> {
    let mut modes: Vec<CloseMode> = report.cells.iter().map(|cell| cell.mode).collect();
    modes.dedup();
    modes
}

/// Returns the median of the ratios of a mode's cells.
pub(super) fn middle_ratio(report: &Report, mode: CloseMode, series: Pick) -> Option<f64> {
    let cells = report.cells.iter().filter(|cell| cell.mode == mode);
    let mut ratios: Vec<f64> = cells.filter_map(|cell| report.ratio_to_fin(cell, series)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

/// Returns the pairs that a mode has closed, what the kernel counted, and what it must count.
pub(super) fn counted_by(report: &Report, mode: CloseMode) -> (u64, Counters, Counters) {
    let mut sum = (0, Counters::default(), Counters::default());
    for cell in report.cells.iter().filter(|cell| cell.mode == mode) {
        sum.0 += cell.pairs;
        sum.1 += cell.counted;
        sum.2 += cell.expected;
    }
    sum
}

fn a_pair(count: u64, pairs: u64) -> String {
    match (count, pairs) {
        (_, 0) => "-".to_owned(),
        (count, pairs) if count % pairs == 0 => (count / pairs).to_string(),
        (count, pairs) => format!("{:.3}", count as f64 / pairs as f64),
    }
}

pub(super) fn misfit(cell: &Cell, netns: bool) -> String {
    let mut text = format!("{} by {}, the {} end first, does not fit:", cell.mode, cell.call, cell.order);
    for (name, counted, expected) in cell.misfits() {
        let _ = write!(text, "\n  {name} went up by {counted}, not {expected}");
    }
    if let Some(what) = &cell.first_surprise {
        let (surprises, ending) = (cell.surprises, cell.mode.ending());
        let _ = write!(text, "\n  {surprises} reads did not return {ending}; the first returned {what}");
    }
    if !netns && !cell.misfits().is_empty() {
        text.push_str("\n  These counters are shared with the host: --netns measures without its other connections.");
    }
    text
}

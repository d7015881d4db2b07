//! A report for people: a hundred columns at most.

use std::fmt::Write;

use ringpair::Backend;
use ringpair::measure::close::{Cell, Report, Way};
use ringpair::measure::{Counters, Series};

use super::{Pick, SERIES, Told};

pub(super) fn of(told: &Told) -> String {
    let report = &told.report;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}\n{}\n", heading(report), counters_of(told));
    let _ = writeln!(text, "{:33}{:>16}{:>16}{:>16}{:>16}", "", "first close", "peer reads", "second close", "whole");
    let _ = write!(text, "{:13}{:10}{:10}", "way", "call", "first end");
    let _ = writeln!(text, "{0}{0}{0}{0}", format_args!("{:>8}{:>8}", "p50", "p99"));
    for cell in &report.cells {
        let _ = write!(text, "{:13}{:10}{:10}", cell.way, cell.call, cell.order);
        for (_, series) in SERIES {
            let _ = write!(text, "{:>8}{:>8}", micros(series(cell), 50.0), micros(series(cell), 99.0));
        }
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&summary(told));
    text
}

pub(super) fn engine_of(report: &Report) -> &'static str {
    match report.engine {
        Backend::Epoll => "epoll",
        _ => "uring",
    }
}

fn heading(report: &Report) -> String {
    let kernel = report.host.kernel_release.as_deref().unwrap_or("of an unknown release");
    let through = match report.engine {
        Backend::Epoll => "epoll, and not through io_uring; nor is any end closed through it",
        _ => "io_uring",
    };
    let early = if report.ended_early { ", ended early" } else { "" };
    format!(
        "What closing costs, in microseconds: {} pairs a line{early}; seed {}\n\
         Linux {kernel}\nPairs are made through {through}",
        report.pairs, report.seed
    )
}

/// Whose connections the counters count.
pub(super) fn counters_of(told: &Told) -> &'static str {
    match told.netns {
        true => "Counters are those of a network namespace of its own",
        false => "Counters are shared with the host: other connections of its network namespace count too",
    }
}

fn micros(series: &Series, percent: f64) -> String {
    match series.count() {
        0 => "-".to_owned(),
        _ => match series.percentile(percent) as f64 / 1000.0 {
            short if short < 1000.0 => format!("{short:.1}"),
            long => format!("{long:.0}"),
        },
    }
}

/// A line for each way: ratios, what the kernel has counted for each pair, and whether that is what it must be.
fn summary(told: &Told) -> String {
    let report = &told.report;
    let mut text = format!(
        "{:13}{:>7}{:>7}{:>7}  {:>7}{:>7}{:>7}{:>7}{:>7}{:>7}  {}\n",
        "over fin", "first", "peer", "whole", "TW", "TWover", "RSTs", "estab", "data", "unread", "fits"
    );
    for way in ways(report) {
        let ratio = |series| middle_ratio(report, way, series).map_or_else(|| "-".to_owned(), ratio);
        let [first, peer, _, whole] = SERIES.map(|(_, series)| ratio(series));
        let _ = write!(text, "{way:13}{first:>7}{peer:>7}{whole:>7}  ");
        let (pairs, counted, _) = counted_by(report, way);
        for (_, count) in counted.named() {
            let _ = write!(text, "{:>7}", a_pair(count, pairs));
        }
        let fits = report.cells.iter().filter(|cell| cell.way == way).all(Cell::fits);
        let _ = writeln!(text, "  {}", if fits { "yes" } else { "NO" });
    }
    let _ = write!(
        text,
        "Medians over those of fin, the middle one of its cells. A pair: TIME_WAIT entered, and not for\n\
         want of room; resets sent; ends reset; closed with zero linger; closed with data unread."
    );
    if ways(report).contains(&Way::Wait) {
        let _ = write!(text, "\n\n{WAIT}");
    }
    for cell in report.cells.iter().filter(|cell| !cell.fits()) {
        let _ = write!(text, "\n\n{}", misfit(cell, told.netns));
    }
    text
}

/// What the figures of `wait` show.
pub(super) const WAIT: &str = "\
wait: close returns when the other end's kernel has acknowledged the FIN, which the kernel delays by
up to 40 ms if nothing else is to be sent. A line of wait closes 100 pairs at most.";

/// A ratio in seven columns at most.
pub(super) fn ratio(ratio: f64) -> String {
    if ratio < 100.0 { format!("{ratio:.2}") } else { format!("{ratio:.0}") }
}

/// The ways of a report, each once.
pub(super) fn ways(report: &Report) -> Vec<Way> {
    let mut ways: Vec<Way> = report.cells.iter().map(|cell| cell.way).collect();
    ways.dedup();
    ways
}

/// The middle one of the ratios of a way's cells, so that one that was disturbed does not speak for all.
pub(super) fn middle_ratio(report: &Report, way: Way, series: Pick) -> Option<f64> {
    let cells = report.cells.iter().filter(|cell| cell.way == way);
    let mut ratios: Vec<f64> = cells.filter_map(|cell| report.ratio_to_fin(cell, series)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

/// How many pairs a way has closed, what the kernel counted, and what it had to.
pub(super) fn counted_by(report: &Report, way: Way) -> (u64, Counters, Counters) {
    let mut sum = (0, Counters::default(), Counters::default());
    for cell in report.cells.iter().filter(|cell| cell.way == way) {
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
    let mut text = format!("{} by {}, the {} end first, does not fit:", cell.way, cell.call, cell.order);
    for (name, counted, expected) in cell.misfits() {
        let _ = write!(text, "\n  {name} went up by {counted}, not {expected}");
    }
    if let Some(what) = &cell.first_surprise {
        let (surprises, ending) = (cell.surprises, cell.way.ending());
        let _ = write!(text, "\n  {surprises} reads did not return {ending}; the first returned {what}");
    }
    if !netns && !cell.misfits().is_empty() {
        text.push_str("\n  These counters are shared with the host: --netns measures without its other connections.");
    }
    text
}

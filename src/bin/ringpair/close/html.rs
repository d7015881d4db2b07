//! The report as one HTML page without scripts or external files, for light and dark mode.

use std::fmt::{Display, Write};

use ringpair::measure::close::{Cell, CloseMode, Report};
use serde_json::Value;

use super::chart::{self, Bar, Curve};
use super::table::{
    WAIT, counters_of, engine_of, middle, middle_ratio, misfit, modes, percentile, ratio, time_wait_of, whole_p50,
};
use super::{Pick, SERIES, Told, sentence};
use crate::numbers::grouped;

/// The title of each series' chart.
const TITLES: [&str; 4] =
    ["Close of the first end", "Until the other end's read returns", "Close of the second end", "Whole teardown"];

pub(super) fn of(told: &Told) -> String {
    let report = &told.report;
    let mut page = String::from(HEAD);
    for part in [answer(told), facts(told), verdict(told), bars(told), curves(report), figures(report), host(report)] {
        page.push_str(&part);
    }
    page.push_str("</main>\n</body>\n</html>");
    page
}

const HEAD: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    "<title>ringpair close: what closing costs</title>\n<style>\n",
    include_str!("page.css"),
    "</style>\n</head>\n<body>\n<main>\n"
);

fn answer(told: &Told) -> String {
    format!("<h1>{}</h1>\n", escaped(sentence::of(told)))
}

fn facts(told: &Told) -> String {
    let report = &told.report;
    let kernel = report.host.kernel_release.as_deref().unwrap_or("of an unknown release");
    let engine = match engine_of(report) {
        "epoll" => "epoll, and not through io_uring; nor was any end closed through it",
        _ => "io_uring",
    };
    let early = if report.ended_early { ", ended early" } else { "" };
    let on = told.cpus.suffix();
    format!(
        "<p>{} pairs for each way, call and order{early}; seed {}; Linux {}{on}; ringpair {}. Pairs were made through {engine}. {}.</p>\n",
        grouped(report.pairs as u64),
        report.seed,
        escaped(kernel),
        env!("CARGO_PKG_VERSION"),
        counters_of(told),
    )
}

fn verdict(told: &Told) -> String {
    let report = &told.report;
    if report.fits() {
        return "<p class=\"yes\">Every read and every counter is as it must be.</p>\n".to_owned();
    }
    let misfits = report.cells.iter().filter(|cell| !cell.fits()).map(|cell| misfit(cell, told.netns));
    let misfits: String = misfits.map(|text| format!("<pre>{}</pre>\n", escaped(text))).collect();
    format!("<p class=\"no\">Some reads or counters are not as they must be:</p>\n{misfits}")
}

fn bars(told: &Told) -> String {
    let report = &told.report;
    let bars: Vec<Bar> = modes(report).into_iter().map(|mode| bar(told, mode)).collect();
    let wait = if modes(report).contains(&CloseMode::Wait) { format!("<p>{WAIT}</p>\n") } else { String::new() };
    format!("<h2>Whole teardown</h2>\n{}{wait}", chart::bars(&bars))
}

fn bar(told: &Told, mode: CloseMode) -> Bar {
    let report = &told.report;
    let time_wait = match told.netns {
        true => format!("{} TIME_WAIT", time_wait_of(report, mode)),
        false => "TIME_WAIT unknown".to_owned(),
    };
    let over_fin = middle_ratio(report, mode, |cell| &cell.whole);
    Bar { mode, nanos: middle(report, mode, whole_p50), over_fin, time_wait }
}

/// Draws the cells by close(2), accepted end first, which every engine has.
fn curves(report: &Report) -> String {
    let mut text = String::from("<h2>Percentiles</h2>\n<p>By close(2), the accepted end first; microseconds.</p>\n");
    text.push_str(&chart::legend(&modes(report)));
    text.push_str("<div class=\"charts\">\n");
    for ((_, series), title) in SERIES.into_iter().zip(TITLES) {
        let of_mode =
            |mode| report.cells.iter().find(|cell| cell.mode == mode).map(|cell| Curve { mode, series: series(cell) });
        let curves: Vec<Curve<'_>> = modes(report).into_iter().filter_map(of_mode).collect();
        let _ = writeln!(text, "<figure><figcaption>{title}</figcaption>\n{}</figure>", chart::curves(&curves));
    }
    text.push_str("</div>\n");
    text
}

fn figures(report: &Report) -> String {
    let rows = report.cells.iter().flat_map(|cell| SERIES.map(|(name, series)| row(report, cell, name, series)));
    let head =
        ["way", "call", "first end", "series", "count", "min", "p50", "p90", "p99", "p99.9", "max", "p50 over fin"];
    format!("<details><summary>All figures, in nanoseconds</summary>\n{}</details>\n", table(&head, rows))
}

fn row(report: &Report, cell: &Cell, name: &str, of: Pick) -> Vec<String> {
    let series = of(cell);
    let mut row = vec![cell.mode.to_string(), cell.call.to_string(), cell.order.to_string(), name.to_owned()];
    let percentiles = [50.0, 90.0, 99.0, 99.9].map(|percent| percentile(series, percent));
    let numbers = [series.count(), series.min()].map(Some).into_iter().chain(percentiles);
    let numbers = numbers.chain([Some(series.max())]);
    row.extend(numbers.map(|number| number.map_or_else(|| "-".to_owned(), grouped)));
    row.push(report.ratio_to_fin(cell, of).map(ratio).unwrap_or_default());
    row
}

/// Lists what is known of the host.
fn host(report: &Report) -> String {
    let facts = serde_json::to_value(&report.host).unwrap_or_default();
    let known = facts.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let rows = known.map(|(name, value)| vec![name.replace('_', " "), plain(value)]);
    format!("<details open><summary>The host</summary>\n{}</details>\n", table(&["fact", "value"], rows))
}

/// Formats a value without quotation marks and brackets.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(" to "),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect::<Vec<_>>().join(", ")
        }
        Value::Null => "none".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
    }
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: Vec<String>, tag: &str| {
        let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let head = line(head.iter().map(ToString::to_string).collect(), "th");
    let rows: String = rows.map(|row| line(row, "td")).collect();
    format!("<div class=\"wide\"><table>\n<thead>{head}</thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n")
}

fn escaped(text: impl Display) -> String {
    text.to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_calls_itself_cannot_become_markup() {
        assert_eq!(escaped("6.1<script>&\""), "6.1&lt;script&gt;&amp;&quot;");
    }
}

//! Histograms in the text format of HdrHistogram's plotter: a line per percentile.

use std::fmt::Write;

use ringpair::measure::Series;
use ringpair::measure::close::{Call, Cell, Order};

/// Lines per halving of the distance to 100 %.
const TICKS: u32 = 5;

/// Returns a name like `reset-close-accepted-whole.hgrm`.
pub(super) fn file_name(cell: &Cell, series: &str) -> String {
    let call = match cell.call {
        Call::Uring => "uring",
        _ => "close",
    };
    let order = match cell.order {
        Order::ConnectedFirst => "connected",
        _ => "accepted",
    };
    format!("{}-{call}-{order}-{series}.hgrm", cell.mode)
}

/// Formats a histogram of nanoseconds.
pub(super) fn of(series: &Series) -> String {
    let mut text = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let histogram = series.histogram();
    let mut so_far = 0;
    for step in histogram.iter_quantiles(TICKS) {
        so_far += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64, step.quantile_iterated_to());
        // Writing to a String cannot fail. The last line, at 100 %, has no last column: that would be infinite.
        let _ = write!(text, "{value:12.3} {quantile:.12} {so_far:10}");
        let _ = if quantile < 1.0 { writeln!(text, " {:14.2}", 1.0 / (1.0 - quantile)) } else { writeln!(text) };
    }
    let (mean, deviation) = if histogram.is_empty() { (0.0, 0.0) } else { (histogram.mean(), histogram.stdev()) };
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(text, "#[Max     = {:12.3}, Total count    = {:12}]", series.max() as f64, series.count());
    let buckets = f64::from(histogram.buckets());
    let _ = writeln!(text, "#[Buckets = {buckets:12}, SubBuckets     = {:12}]", 2048);
    text
}

//! The report as comma-separated values: a line per series of a cell, times in nanoseconds.

use ringpair::measure::close::Report;

use super::SERIES;

const HEADER: &str =
    "way,call,order,series,count,min_ns,p50_ns,p90_ns,p99_ns,p99_9_ns,max_ns,mean_ns,p50_over_fin,fits,engine";

/// No field contains a comma or a quotation mark.
pub(super) fn of(report: &Report) -> String {
    let mut lines = vec![HEADER.to_owned()];
    for cell in &report.cells {
        for (name, of) in SERIES {
            let series = of(cell);
            let [p50, p90, p99, p99_9] = [50.0, 90.0, 99.0, 99.9].map(|percent| series.percentile(percent));
            let ratio = report.ratio_to_fin(cell, of).map(|ratio| format!("{ratio:.3}")).unwrap_or_default();
            lines.push(format!(
                "{},{},{},{name},{},{},{p50},{p90},{p99},{p99_9},{},{:.1},{ratio},{},{}",
                cell.mode,
                cell.call,
                cell.order,
                series.count(),
                series.min(),
                series.max(),
                series.mean(),
                cell.fits(),
                super::table::engine_of(report),
            ));
        }
    }
    lines.join("\n")
}

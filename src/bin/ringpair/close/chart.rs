//! Charts as SVG: bars for medians, curves for percentiles.

use std::fmt::Write;

use ringpair::measure::Series;
use ringpair::measure::close::CloseMode;

use super::table::ratio;
use crate::numbers::{grouped, micros};

/// The percentiles of one mode.
pub(super) struct Curve<'a> {
    pub(super) mode: CloseMode,
    pub(super) series: &'a Series,
}

/// Returns colour and dashes: reset and FIN in colours that the colour-blind can tell apart, the others grey with dashes.
fn stroke(mode: CloseMode) -> (&'static str, &'static str) {
    match mode {
        CloseMode::Reset => ("#d5642a", "none"),
        CloseMode::Fin => ("#2f7fc1", "none"),
        CloseMode::Shutdown => (GREY, "none"),
        CloseMode::Wait => (GREY, "6 3"),
        CloseMode::Abort => (GREY, "2 3"),
        CloseMode::ResetUnread => (GREY, "8 3 2 3"),
        _ => (GREY, "3 6"),
    }
}

const GREY: &str = "#8a939b";

pub(super) fn legend(modes: &[CloseMode]) -> String {
    let entry = |mode: &CloseMode| {
        let (colour, dash) = stroke(*mode);
        format!(
            "<li><svg viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path d=\"M0 4H24\" stroke=\"{colour}\" stroke-width=\"3\" \
             stroke-dasharray=\"{dash}\"/></svg>{mode}</li>\n"
        )
    };
    format!("<ul class=\"legend\">\n{}</ul>\n", modes.iter().map(entry).collect::<String>())
}

// --- bars

const WIDTH: f64 = 640.0;
const NAMES: f64 = 100.0;
const LABELS: f64 = 300.0;
const BAR: f64 = 26.0;

/// Bars longer than this many times the shortest are cut off: the others would be too short to compare.
const LONG: f64 = 10.0;

/// The median of one mode.
pub(super) struct Bar {
    pub(super) mode: CloseMode,
    pub(super) nanos: Option<u64>,
    pub(super) over_fin: Option<f64>,
    pub(super) time_wait: String,
}

/// Draws a bar per mode, in microseconds; none if it closed no pair. An arrow marks a bar that is cut off.
pub(super) fn bars(bars: &[Bar]) -> String {
    let shortest = bars.iter().filter_map(|bar| bar.nanos).min().unwrap_or(1).max(1);
    let is_long = |nanos: u64| nanos as f64 > LONG * shortest as f64;
    let longest = bars.iter().filter_map(|bar| bar.nanos).filter(|nanos| !is_long(*nanos)).max().unwrap_or(1).max(1);
    let x = |nanos: u64| NAMES + (nanos as f64 / longest as f64).min(1.1) * (WIDTH - NAMES - LABELS);
    let bottom = BAR * bars.len() as f64;
    let height = bottom + 40.0;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" style=\"max-width:{WIDTH}px\" role=\"img\">\n");
    svg.push_str(&scale(longest, bottom, x)); // first, so that bars hide its lines
    for (place, bar) in bars.iter().enumerate() {
        let top = BAR * place as f64 + 4.0;
        let middle = top + BAR / 2.0;
        let (mode, (colour, _)) = (bar.mode, stroke(bar.mode));
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<text class=\"name\" x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{mode}</text>",
            NAMES - 8.0
        );
        let Some(nanos) = bar.nanos else { continue };
        let (end, arrow) = (x(nanos), if is_long(nanos) { "→ " } else { "" });
        let _ = writeln!(
            svg,
            "<rect x=\"{NAMES}\" y=\"{top}\" width=\"{:.1}\" height=\"{}\" rx=\"2\" fill=\"{colour}\"/>\
             <text class=\"name\" x=\"{:.1}\" y=\"{middle}\">{arrow}{}</text>",
            end - NAMES,
            BAR - 8.0,
            end + 6.0,
            label(bar, nanos),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn label(bar: &Bar, nanos: u64) -> String {
    let over_fin = bar.over_fin.map(|over_fin| format!(", {} of fin", ratio(over_fin))).unwrap_or_default();
    format!("{} µs{over_fin}, {}", micros(nanos), bar.time_wait)
}

/// Draws the axis below the bars: 0, half of the longest whole bar, and that bar.
fn scale(longest: u64, bottom: f64, x: impl Fn(u64) -> f64) -> String {
    let mark = |nanos: u64| {
        let (x, label) = (x(nanos), if nanos == 0 { "0".to_owned() } else { micros(nanos) });
        format!(
            "<path class=\"grid\" d=\"M{x:.1} 0V{bottom}\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>\n",
            bottom + 16.0
        )
    };
    let marks: String = [0, longest / 2, longest].map(mark).concat();
    let title = "µs to close both ends (median)";
    let (middle, y) = (x(longest / 2), bottom + 34.0);
    format!("{marks}<text x=\"{middle:.1}\" y=\"{y}\" text-anchor=\"middle\">{title}</text>\n")
}

// --- curves

const LEFT: f64 = 56.0;
const RIGHT: f64 = 500.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 236.0;

/// The marks of the percentile axis, which is logarithmic in the distance to 100 %.
const MARKS: [f64; 5] = [0.0, 90.0, 99.0, 99.9, 99.99];

/// Draws percentiles on the x axis, finer towards 100 %, and microseconds on a logarithmic y axis.
pub(super) fn curves(curves: &[Curve<'_>]) -> String {
    let told: Vec<&Curve<'_>> = curves.iter().filter(|curve| curve.series.count() > 0).collect();
    let smallest = told.iter().map(|curve| curve.series.min()).min().unwrap_or(1_000);
    let largest = told.iter().map(|curve| curve.series.max()).max().unwrap_or(1_000_000);
    let (low, high) = (exponent(smallest).floor(), exponent(largest).ceil());
    let y = |nanos: u64| BOTTOM - (exponent(nanos) - low) / (high - low).max(1.0) * (BOTTOM - TOP);

    let mut svg = String::from("<svg viewBox=\"0 0 520 284\" role=\"img\">\n");
    for decade in low as i32..=high as i32 {
        let nanos = 10f64.powi(decade) as u64;
        let label = if decade < 3 { format!("{}", nanos as f64 / 1000.0) } else { grouped(nanos / 1000) };
        let (y, at) = (y(nanos), LEFT - 6.0);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text x=\"{at}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            y + 4.0
        );
    }
    svg.push_str(&titles());
    let supported = told.iter().map(|curve| supported(curve.series)).fold(0.0, f64::max);
    let across = |percent| LEFT + tens(percent) / tens(supported).max(1.0) * (RIGHT - LEFT - 12.0);
    for mark in MARKS.into_iter().filter(|mark| *mark <= supported) {
        let x = across(mark);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{mark} %</text>",
            BOTTOM + 18.0
        );
    }
    for curve in told {
        let (colour, dash) = stroke(curve.mode);
        let last = self::supported(curve.series);
        let mut path = String::new();
        for step in curve.series.histogram().iter_quantiles(10) {
            let percent = step.quantile_iterated_to() * 100.0;
            if percent > last && !path.is_empty() {
                break;
            }
            let percent = percent.min(last);
            let command = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", across(percent), y(step.value_iterated_to()));
        }
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"><title>{}</title></path>",
            curve.mode
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Draws the titles of both axes.
fn titles() -> String {
    let (middle, below) = ((LEFT + RIGHT) / 2.0, BOTTOM + 40.0);
    format!(
        "<text x=\"4\" y=\"14\">µs, each line ten times the one below</text>\
         <text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">percentile of pairs</text>\n"
    )
}

/// Returns the highest percentile that the sample supports: one value lies beyond it.
fn supported(series: &Series) -> f64 {
    (100.0 - 100.0 / series.count().max(1) as f64).clamp(0.0, MARKS[MARKS.len() - 1])
}

fn exponent(nanos: u64) -> f64 {
    (nanos.max(1) as f64).log10()
}

/// Returns how often the distance to 100 % was divided by ten.
fn tens(percent: f64) -> f64 {
    -((100.0 - percent) / 100.0).log10()
}

//! Charts as SVG, drawn by hand: bars for ratios, curves for percentiles.

use std::fmt::Write;

use ringpair::measure::Series;
use ringpair::measure::close::Way;

use super::table::ratio;

/// One way's percentiles.
pub(super) struct Curve<'a> {
    pub(super) way: Way,
    pub(super) series: &'a Series,
}

/// Colours and dashes that can be told apart in light and in dark, and without seeing red or green.
fn stroke(way: Way) -> (&'static str, &'static str) {
    match way {
        Way::Reset => ("#d5642a", "none"),
        Way::Fin => ("#2f7fc1", "none"),
        Way::Shutdown => ("#1f9e77", "none"),
        Way::Wait => ("#7a6fd0", "6 3"),
        Way::Abort => ("#c25f9a", "none"),
        Way::ResetUnread => ("#d5642a", "2 3"),
        _ => ("#2f7fc1", "2 3"),
    }
}

pub(super) fn legend(ways: &[Way]) -> String {
    let entry = |way: &Way| {
        let (colour, dash) = stroke(*way);
        format!(
            "<li><svg viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path d=\"M0 4H24\" stroke=\"{colour}\" stroke-width=\"3\" \
             stroke-dasharray=\"{dash}\"/></svg>{way}</li>\n"
        )
    };
    format!("<ul class=\"legend\">\n{}</ul>\n", ways.iter().map(entry).collect::<String>())
}

// --- bars

const WIDTH: f64 = 520.0;
const NAMES: f64 = 100.0;
const BAR: f64 = 26.0;

/// A ratio from which on a bar is cut off: it would make all others too short to compare.
const LONG: f64 = 10.0;

/// A bar for each way; none if it has no ratio. The dashed line is 1, fin itself. Bars beyond [`LONG`] end at the border.
pub(super) fn bars(bars: &[(Way, Option<f64>)]) -> String {
    let most = bars.iter().filter_map(|(_, ratio)| *ratio).filter(|ratio| *ratio < LONG).fold(1.0, f64::max);
    let x = |ratio: f64| NAMES + (ratio / most).min(1.1) * (WIDTH - NAMES - 90.0);
    let height = BAR * bars.len() as f64;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" style=\"max-width:{WIDTH}px\" role=\"img\">\n");
    for (place, (way, ratio)) in bars.iter().enumerate() {
        let (top, middle) = (BAR * place as f64 + 4.0, BAR * place as f64 + BAR / 2.0 + 4.0);
        // Writing to a String cannot fail.
        let _ =
            writeln!(svg, "<text class=\"name\" x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{way}</text>", NAMES - 8.0);
        let Some(ratio) = *ratio else { continue };
        let (colour, _) = stroke(*way);
        let _ = writeln!(
            svg,
            "<rect x=\"{NAMES}\" y=\"{top}\" width=\"{:.1}\" height=\"{}\" rx=\"2\" fill=\"{colour}\"/>\
             <text class=\"name\" x=\"{:.1}\" y=\"{middle}\">{}</text>",
            x(ratio) - NAMES,
            BAR - 8.0,
            x(ratio) + 6.0,
            told(ratio),
        );
    }
    let _ = writeln!(svg, "<path class=\"one\" d=\"M{0:.1} 0V{height}\"/>\n</svg>", x(1.0));
    svg
}

// --- curves

const LEFT: f64 = 56.0;
const RIGHT: f64 = 500.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 236.0;

/// Where the axis has its marks: as far apart as their distances from 100 % are tens of each other.
const MARKS: [f64; 5] = [0.0, 90.0, 99.0, 99.9, 99.99];

/// Percentiles to the right, towards 100 % ever finer; microseconds up, each line ten times the one below.
pub(super) fn curves(curves: &[Curve<'_>]) -> String {
    let told: Vec<&Curve<'_>> = curves.iter().filter(|curve| curve.series.count() > 0).collect();
    let least = told.iter().map(|curve| curve.series.least()).min().unwrap_or(1_000);
    let greatest = told.iter().map(|curve| curve.series.greatest()).max().unwrap_or(1_000_000);
    let (low, high) = (exponent(least).floor(), exponent(greatest).ceil());
    let y = |nanos: u64| BOTTOM - (exponent(nanos) - low) / (high - low).max(1.0) * (BOTTOM - TOP);

    let mut svg = String::from("<svg viewBox=\"0 0 520 264\" role=\"img\">\n");
    for decade in low as i32..=high as i32 {
        let nanos = 10f64.powi(decade) as u64;
        let label = if decade < 3 { format!("{}", nanos as f64 / 1000.0) } else { (nanos / 1000).to_string() };
        let (y, at) = (y(nanos), LEFT - 6.0);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text x=\"{at}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            y + 4.0
        );
    }
    for mark in MARKS {
        let x = across(mark);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{mark} %</text>",
            BOTTOM + 18.0
        );
    }
    for curve in told {
        let (colour, dash) = stroke(curve.way);
        // The greatest value stands where all the others are below it, not at 100 %, which is infinitely far away.
        let last = (100.0 - 100.0 / curve.series.count() as f64).clamp(0.0, MARKS[MARKS.len() - 1]);
        let mut path = String::new();
        for step in curve.series.histogram().iter_quantiles(10) {
            let percent = (step.quantile_iterated_to() * 100.0).min(last);
            let command = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", across(percent), y(step.value_iterated_to()));
        }
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"><title>{}</title></path>",
            curve.way
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn told(value: f64) -> String {
    if value < LONG { ratio(value) } else { format!("→ {}", ratio(value)) }
}

fn exponent(nanos: u64) -> f64 {
    (nanos.max(1) as f64).log10()
}

fn across(percent: f64) -> f64 {
    let tens = -((100.0 - percent) / 100.0).log10();
    LEFT + tens / 4.0 * (RIGHT - LEFT - 12.0)
}

//! All values of one measured quantity, in a histogram.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Significant digits of a value.
const DIGITS: u8 = 3;

/// An hour. Longer times count as this.
const MAX: u64 = 3_600_000_000_000;

/// The values of one quantity, in nanoseconds, in an HdrHistogram with three significant digits.
///
/// ```
/// use ringpair::measure::Series;
///
/// let mut here = Series::from_counts([(100, 98), (250, 1)]);
/// let elsewhere = Series::from_counts([(900, 1)]);
/// here.merge(&elsewhere);
/// assert_eq!((here.count(), here.min(), here.max()), (100, 100, 900));
/// assert_eq!((here.percentile(50.0), here.percentile(99.0)), (100, 250));
/// assert_eq!(here.mean(), 109.5);
/// assert!(Series::from_counts(here.counts()).counts().eq(here.counts())); // without loss
/// ```
/// Implements `serde::Serialize` with the feature `cli`: `count`, `min_ns`, `p50_ns`, `p90_ns`, `p99_ns`, `p99_9_ns`, `max_ns`
/// and `mean_ns`, all zero if nothing was measured.
#[derive(Clone)]
pub struct Series {
    histogram: Histogram<u64>,
}

impl Series {
    pub(super) fn new() -> Series {
        // It grows on demand. Only a wrong number of digits is refused, and 3 is valid.
        let histogram = Histogram::new(DIGITS).unwrap_or_else(|error| unreachable!("{error}"));
        Series { histogram }
    }

    pub(super) fn add(&mut self, value: Duration) {
        self.add_many(u64::try_from(value.as_nanos()).unwrap_or(MAX), 1);
    }

    /// Creates a series from values and their [counts](Series::counts).
    pub fn from_counts(counts: impl IntoIterator<Item = (u64, u64)>) -> Series {
        let mut series = Series::new();
        counts.into_iter().for_each(|(value, count)| series.add_many(value, count));
        series
    }

    /// Returns each value, in three digits, with its count. [`from_counts`](Series::from_counts) makes the same series of them.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()))
    }

    /// Adds all values of another series.
    pub fn merge(&mut self, other: &Series) {
        other.counts().for_each(|(value, count)| self.add_many(value, count));
    }

    fn add_many(&mut self, nanos: u64, count: u64) {
        let nanos = nanos.min(MAX);
        // A value that the histogram cannot hold is refused; it can hold far more than `MAX`.
        let added = self.histogram.record_n(nanos, count);
        added.unwrap_or_else(|_| self.histogram.saturating_record_n(nanos, count));
    }

    /// Returns the number of values.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Returns the smallest value.
    pub fn min(&self) -> u64 {
        self.histogram.min()
    }

    /// Returns the value that `percent` of all values do not exceed, from 0 to 100.
    pub fn percentile(&self, percent: f64) -> u64 {
        self.histogram.value_at_percentile(percent)
    }

    /// Returns the largest value.
    pub fn max(&self) -> u64 {
        self.histogram.max()
    }

    /// Returns the arithmetic mean.
    pub fn mean(&self) -> f64 {
        self.histogram.mean()
    }

    /// Returns the histogram.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Series")
            .field("count", &self.count())
            .field("min", &self.min())
            .field("p50", &self.percentile(50.0))
            .field("max", &self.max())
            .finish()
    }
}

#[cfg(feature = "cli")]
impl serde::Serialize for Series {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut series = serializer.serialize_struct("Series", 8)?;
        series.serialize_field("count", &self.count())?;
        series.serialize_field("min_ns", &self.min())?;
        series.serialize_field("p50_ns", &self.percentile(50.0))?;
        series.serialize_field("p90_ns", &self.percentile(90.0))?;
        series.serialize_field("p99_ns", &self.percentile(99.0))?;
        series.serialize_field("p99_9_ns", &self.percentile(99.9))?;
        series.serialize_field("max_ns", &self.max())?;
        series.serialize_field("mean_ns", &self.mean())?;
        series.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_counts_and_agrees_in_three_digits() {
        let mut series = Series::new();
        for micros in 1..=1000 {
            series.add(Duration::from_micros(micros));
        }
        assert_eq!(series.count(), 1000);
        for (percent, nanos) in [(50.0, 500_000), (90.0, 900_000), (99.0, 990_000), (100.0, 1_000_000)] {
            let told = series.percentile(percent);
            assert!(told.abs_diff(nanos) <= nanos / 1000, "{percent}: {told}");
        }
        series.add(Duration::MAX); // far beyond what a histogram holds
        assert_eq!(series.count(), 1001);
    }

    #[test]
    fn counts_are_added_without_loss() {
        let (mut whole, mut parts) = (Series::new(), [Series::new(), Series::new()]);
        for number in 0..10_000u64 {
            let value = Duration::from_nanos(number * number * number);
            whole.add(value);
            parts[number as usize % 2].add(value);
        }
        let mut sum = Series::from_counts(parts[0].counts());
        sum.merge(&Series::from_counts(parts[1].counts()));
        assert!(sum.counts().eq(whole.counts()));
        assert_eq!((sum.count(), sum.min(), sum.max()), (whole.count(), whole.min(), whole.max()));
    }

    #[test]
    fn figures_are_those_of_the_values() {
        let mut series = Series::from_counts([(100, 98), (250, 1)]);
        series.merge(&Series::from_counts([(900, 1)]));
        assert_eq!((series.count(), series.min(), series.max()), (100, 100, 900));
        assert_eq!((series.percentile(50.0), series.percentile(99.0)), (100, 250));
        assert_eq!(series.mean(), 109.5);
        assert_eq!(series.histogram().len(), 100);
        assert!(series.counts().eq([(100, 98), (250, 1), (900, 1)]));
        assert_eq!(format!("{series:?}"), "Series { count: 100, min: 100, p50: 100, max: 900 }");
    }

    #[test]
    fn an_empty_series_is_zero_throughout() {
        let series = Series::new();
        assert_eq!((series.count(), series.min(), series.percentile(99.0), series.max()), (0, 0, 0, 0));
    }
}

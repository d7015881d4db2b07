//! The report as JSON, for programs and `ringpair merge`; `schemas/soak.json` describes it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use ringpair::Backend;
use ringpair::measure::Series;
use ringpair::measure::soak::{Progress, Report, ResourceUsage};
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::shard::Shard;

/// The version of `schemas/soak.json`. It changes with the fields, and with the sentences of [`gaps`](super::parts).
pub(super) const SCHEMA: u64 = 3;

/// The report of one shard or of several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) kind: Kind,
    pub(super) schema: u64,
    pub(super) version: String,
    pub(super) clean: bool,
    pub(super) complaints: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) engine: Engine,
    pub(super) pairs: u64,
    #[serde(deserialize_with = "each_once")]
    pub(super) failures: BTreeMap<String, u64>,
    #[serde(deserialize_with = "Option::deserialize")] // null, but not left out
    pub(super) first_failure: Option<String>,
    pub(super) elapsed_seconds: f64,
    pub(super) pairs_per_second: f64,
    pub(super) make: Values,
    pub(super) body: Values,
    pub(super) close: Values,
    pub(super) whole: Values,
    pub(super) cpu: Cpu,
    pub(super) counted: Counted,
    pub(super) before: ResourceUsage,
    pub(super) settled: ResourceUsage,
    pub(super) peak: ResourceUsage,
    pub(super) after: ResourceUsage,
    pub(super) ended_early: bool,
    pub(super) seed: u64,
    pub(super) pinned_cpus: Vec<usize>,
    pub(super) netns: bool,
    pub(super) shards: Vec<Shard>,
}

/// The kind of a line of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Second,
    Report,
}

/// The engine that made the pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Engine {
    Uring,
    Epoll,
    /// Both engines made some of them.
    #[serde(rename = "uring and epoll")]
    Both,
}

/// The figures of a series and, if requested, its histogram for `ringpair merge`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Values {
    pub(super) count: u64,
    pub(super) min_ns: u64,
    pub(super) p50_ns: u64,
    pub(super) p90_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) p99_9_ns: u64,
    pub(super) max_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) counts_by_ns: Option<Vec<(u64, u64)>>,
}

/// CPU time of the process, for both ends of all pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cpu {
    pub(super) user_us: u64,
    pub(super) system_us: u64,
    /// `None` if no pair was made, used and closed.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) us_per_pair: Option<f64>,
}

/// Counters of the network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counted {
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) time_waits: Option<u64>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) resets: Option<u64>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) retransmissions: Option<u64>,
}

impl Cpu {
    fn of(user: Duration, system: Duration, pairs: u64) -> Cpu {
        let micros = |time: Duration| time.as_micros().try_into().unwrap_or(u64::MAX);
        Cpu { user_us: micros(user), system_us: micros(system), us_per_pair: None }.shared_by(pairs)
    }

    /// Returns the same time, for this number of pairs.
    pub(super) fn shared_by(self, pairs: u64) -> Cpu {
        let whole = self.user_us as f64 + self.system_us as f64;
        Cpu { us_per_pair: (pairs > 0).then(|| whole / pairs as f64), ..self }
    }
}

impl Document {
    pub(super) fn of(report: &Report, shard: Option<Shard>, histograms: bool) -> Document {
        let complaints = report.complaints();
        Document {
            kind: Kind::Report,
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            clean: complaints.is_empty(),
            complaints,
            notes: report.notes(),
            engine: if report.engine == Backend::Epoll { Engine::Epoll } else { Engine::Uring },
            pairs: report.pairs,
            failures: report.failures.clone(),
            first_failure: report.first_failure.clone(),
            elapsed_seconds: report.elapsed.as_secs_f64(),
            pairs_per_second: report.pairs_per_second(),
            make: Values::of(&report.make, histograms),
            body: Values::of(&report.body, histograms),
            close: Values::of(&report.close, histograms),
            whole: Values::of(&report.whole, histograms),
            cpu: Cpu::of(report.cpu_user, report.cpu_system, report.pairs),
            counted: Counted {
                time_waits: report.time_waits,
                resets: report.resets,
                retransmissions: report.retransmissions,
            },
            before: report.before,
            settled: report.settled,
            peak: report.peak,
            after: report.after,
            ended_early: report.ended_early,
            seed: report.seed,
            pinned_cpus: report.cpus.clone(),
            netns: report.own_network,
            shards: shard.into_iter().collect(),
        }
    }
}

impl Values {
    pub(super) fn of(series: &Series, histogram: bool) -> Values {
        Values {
            count: series.count(),
            min_ns: series.min(),
            p50_ns: series.percentile(50.0),
            p90_ns: series.percentile(90.0),
            p99_ns: series.percentile(99.0),
            p99_9_ns: series.percentile(99.9),
            max_ns: series.max(),
            counts_by_ns: histogram.then(|| series.counts().collect()),
        }
    }

    /// Returns the histogram's values; empty if it was not requested.
    pub(super) fn series(&self) -> Series {
        Series::from_counts(self.counts_by_ns.iter().flatten().copied())
    }
}

/// A map without duplicate keys: of two counts of one step, neither is credible.
fn each_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, u64>, D::Error> {
    struct Once;

    impl<'de> Visitor<'de> for Once {
        type Value = BTreeMap<String, u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a count for each step")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut counts = BTreeMap::new();
            while let Some((step, count)) = map.next_entry::<String, u64>()? {
                if counts.insert(step.clone(), count).is_some() {
                    return Err(A::Error::custom(format!("`{step}` is there twice")));
                }
            }
            Ok(counts)
        }
    }

    deserializer.deserialize_map(Once)
}

/// The progress of a soak, once a second.
#[derive(Serialize)]
pub(super) struct Second {
    kind: Kind,
    schema: u64,
    elapsed_seconds: f64,
    pairs: u64,
    failures: u64,
    #[serde(flatten)]
    usage: ResourceUsage,
}

impl Second {
    pub(super) fn of(progress: &Progress) -> Second {
        Second {
            kind: Kind::Second,
            schema: SCHEMA,
            elapsed_seconds: progress.elapsed.as_secs_f64(),
            pairs: progress.pairs,
            failures: progress.failures,
            usage: progress.usage,
        }
    }
}

impl fmt::Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let a_second = self.pairs as f64 / self.elapsed_seconds.max(f64::MIN_POSITIVE);
        let time_wait = self.usage.time_wait.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let (pairs, failures) = (self.pairs, self.failures);
        write!(f, "{pairs} pairs, {a_second:.0} a second, {failures} failed, {time_wait} in TIME_WAIT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_progress_has_the_rate_so_far() {
        let line = |pairs, elapsed_seconds, time_wait| {
            let mut usage = ResourceUsage::default();
            usage.time_wait = time_wait;
            Second { kind: Kind::Second, schema: SCHEMA, elapsed_seconds, pairs, failures: 2, usage }.to_string()
        };
        assert_eq!(line(300, 2.0, Some(7)), "300 pairs, 150 a second, 2 failed, 7 in TIME_WAIT");
        assert_eq!(line(0, 0.0, None), "0 pairs, 0 a second, 2 failed, ? in TIME_WAIT");
    }

    #[test]
    fn cpu_time_is_shared_by_the_pairs_if_there_are_any() {
        let cpu = Cpu::of(Duration::from_micros(30), Duration::from_micros(10), 0);
        assert_eq!((cpu.user_us, cpu.system_us, cpu.us_per_pair), (30, 10, None));
        assert_eq!(cpu.shared_by(16).us_per_pair, Some(2.5));
    }
}

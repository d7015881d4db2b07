//! A report for programs, and for [`merge`](super::merge) to add up. `schemas/soak.json` says what is in it.

use std::collections::BTreeMap;
use std::fmt;

use ringpair::Backend;
use ringpair::measure::Series;
use ringpair::measure::soak::{Facts, Progress, Report};
use serde::{Deserialize, Serialize};

use super::shard::Shard;

/// A report, of one shard or of several.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) kind: Kind,
    pub(super) version: String,
    pub(super) clean: bool,
    pub(super) complaints: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) engine: String,
    pub(super) pairs: u64,
    pub(super) failures: BTreeMap<String, u64>,
    pub(super) first_failure: Option<String>,
    pub(super) elapsed_seconds: f64,
    pub(super) pairs_per_second: f64,
    pub(super) make: Values,
    pub(super) body: Values,
    pub(super) close: Values,
    pub(super) before: Facts,
    pub(super) settled: Facts,
    pub(super) peak: Facts,
    pub(super) after: Facts,
    pub(super) ended_early: bool,
    pub(super) seed: u64,
    pub(super) netns: bool,
    pub(super) shards: Vec<Shard>,
}

/// What a line of JSON is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Second,
    Report,
}

/// A series, in nanoseconds: what people ask for, and every value with its count, for adding up.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Values {
    pub(super) count: u64,
    pub(super) least: u64,
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    pub(super) p99_9: u64,
    pub(super) greatest: u64,
    pub(super) counts: Vec<(u64, u64)>,
}

impl Document {
    pub(super) fn of(report: &Report, shard: Option<Shard>) -> Document {
        let complaints = report.complaints();
        Document {
            kind: Kind::Report,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            clean: complaints.is_empty(),
            complaints,
            notes: report.notes(),
            engine: if report.engine == Backend::Epoll { "epoll" } else { "uring" }.to_owned(),
            pairs: report.pairs,
            failures: report.failures.clone(),
            first_failure: report.first_failure.clone(),
            elapsed_seconds: report.elapsed.as_secs_f64(),
            pairs_per_second: report.pairs_per_second(),
            make: Values::of(&report.make),
            body: Values::of(&report.body),
            close: Values::of(&report.close),
            before: report.before,
            settled: report.settled,
            peak: report.peak,
            after: report.after,
            ended_early: report.ended_early,
            seed: report.seed,
            netns: report.own_network,
            shards: shard.into_iter().collect(),
        }
    }
}

impl Values {
    pub(super) fn of(series: &Series) -> Values {
        Values {
            count: series.count(),
            least: series.least(),
            p50: series.percentile(50.0),
            p90: series.percentile(90.0),
            p99: series.percentile(99.0),
            p99_9: series.percentile(99.9),
            greatest: series.greatest(),
            counts: series.counts().collect(),
        }
    }

    pub(super) fn series(&self) -> Series {
        Series::from_counts(self.counts.iter().copied())
    }
}

/// How far it has come, each second.
#[derive(Serialize)]
pub(super) struct Second {
    kind: Kind,
    elapsed_seconds: f64,
    pairs: u64,
    failures: u64,
    #[serde(flatten)]
    facts: Facts,
}

impl Second {
    pub(super) fn of(progress: &Progress) -> Second {
        Second {
            kind: Kind::Second,
            elapsed_seconds: progress.elapsed.as_secs_f64(),
            pairs: progress.pairs,
            failures: progress.failures,
            facts: progress.facts,
        }
    }
}

impl fmt::Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let a_second = self.pairs as f64 / self.elapsed_seconds.max(f64::MIN_POSITIVE);
        let time_wait = self.facts.time_wait.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let (pairs, failures) = (self.pairs, self.failures);
        write!(f, "{pairs} pairs, {a_second:.0} a second, {failures} failed, {time_wait} in TIME_WAIT")
    }
}

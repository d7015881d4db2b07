//! One consistent report, ready to be added up.

use super::super::document::{Document, Values};
use super::super::shard::Shard;
use super::flaw::Flaw;
use super::gaps::gaps;

/// The report of a shard, a whole soak or a sum. Its histograms are present and match its figures.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The report. Its complaints name their shards; those about gaps are removed.
    pub(in crate::soak) document: Document,
    /// Its shards, sorted, at least one. A soak that is not shared is [`Shard::WHOLE`].
    pub(super) shards: Vec<Shard>,
}

impl Part {
    pub(super) fn of(mut document: Document) -> Result<Part, Flaw> {
        fits("make", &document.make)?;
        fits("body", &document.body)?;
        fits("close", &document.close)?;
        fits("whole", &document.whole)?;
        if document.clean != document.complaints.is_empty() {
            return Err(contradiction("whether it is clean is not what its complaints say"));
        }
        let mut shards = document.shards.clone();
        if shards.is_empty() {
            shards.push(Shard::WHOLE);
        }
        shards.sort();
        document.complaints = complaints_of(&document, &shards);
        agrees(&document)?;
        Ok(Part { document, shards })
    }
}

fn contradiction(what: impl Into<String>) -> Flaw {
    Flaw::Contradiction(what.into())
}

/// Whether a series has a histogram that matches its figures.
fn fits(name: &'static str, values: &Values) -> Result<(), Flaw> {
    let counts = values.counts_by_ns.as_deref().ok_or(Flaw::NoHistogram(name))?;
    // The sum first: it is what a histogram would not tell if it overflowed.
    let sum = counts.iter().try_fold(0, |sum: u64, bucket| sum.checked_add(bucket.1));
    match sum == Some(values.count) && Values::of(&values.series(), true) == *values {
        true => Ok(()),
        false => Err(contradiction(format!("its figures of `{name}` are not those of its histogram"))),
    }
}

/// Whether pairs, failures and complaints are consistent.
fn agrees(document: &Document) -> Result<(), Flaw> {
    let failures = document.failures.values();
    let failed = failures.clone().try_fold(0, |sum: u64, count| sum.checked_add(*count));
    let all = failed.and_then(|failed| failed.checked_add(document.pairs));
    let all = all.ok_or_else(|| contradiction("it counts more pairs than a report can hold"))?;
    if failures.clone().any(|count| *count == 0) {
        return Err(contradiction("it names a step at which no pair failed"));
    }
    if document.complaints.is_empty() && (all == 0 || all > document.pairs) {
        return Err(contradiction(match all {
            0 => "it has no pairs, and does not complain of it".to_owned(),
            _ => format!("{} pairs failed, and it does not complain of them", all - document.pairs),
        }));
    }
    for (name, number) in
        [("elapsed_seconds", document.elapsed_seconds), ("pairs_per_second", document.pairs_per_second)]
    {
        if !(number.is_finite() && number >= 0.0) {
            return Err(contradiction(format!("its `{name}` is {number}")));
        }
    }
    for (name, values) in [("make", &document.make), ("body", &document.body)] {
        if values.count < document.pairs {
            return Err(contradiction(format!(
                "of {} pairs it has {} values of `{name}`",
                document.pairs, values.count
            )));
        }
    }
    match (document.whole.count, document.close.count) {
        (whole, close) if whole == close => Ok(()),
        (whole, close) => Err(contradiction(format!("of {close} values of `close` it has {whole} of `whole`"))),
    }
}

/// Returns the complaints of soaks, each with its shard. Complaints about gaps are left out: the next sum has its own.
fn complaints_of(document: &Document, shards: &[Shard]) -> Vec<String> {
    let of_a_sum = gaps(shards);
    let whose = match shards {
        [shard] if *shard != Shard::WHOLE => format!("shard {shard}: "),
        _ => String::new(),
    };
    let complaints = document.complaints.iter().filter(|complaint| !of_a_sum.contains(complaint));
    complaints.map(|complaint| format!("{whose}{}", complaint.strip_prefix(&whose).unwrap_or(complaint))).collect()
}

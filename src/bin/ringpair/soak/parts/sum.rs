//! The sum of parts, in any order and any grouping.

use std::collections::{BTreeMap, BTreeSet};

use ringpair::measure::Series;
use ringpair::measure::soak::ResourceUsage;

use super::super::document::{Counted, Cpu, Document, Engine, Values};
use super::super::shard::Shard;
use super::flaw::Misfit;
use super::gaps::gaps;
use super::part::Part;

/// Adds up parts. An error has the number of the first part that does not fit, from 0. `None` if there are no parts.
pub(crate) fn sum(parts: &[Part]) -> Result<Option<Document>, (usize, Misfit)> {
    let Some((first, others)) = parts.split_first() else { return Ok(None) };
    let mut sum = Sum::of(first);
    for (place, more) in (1..).zip(others) {
        sum = sum.with(more).map_err(|misfit| (place, misfit))?;
    }
    // Shards have a seed each; the sum tells that of the first one.
    let seed = parts.iter().map(|part| (part.shards[0], part.document.seed)).min().map(|(_, seed)| seed);
    sum.document.seed = seed.unwrap_or(sum.document.seed);
    Ok(Some(sum.report()))
}

/// The sum so far. [`report`](Sum::report) sets what depends on all parts.
struct Sum {
    document: Document,
    shards: Vec<Shard>,
    make: Series,
    body: Series,
    close: Series,
    whole: Series,
}

impl Sum {
    fn of(part: &Part) -> Sum {
        let (document, shards) = (part.document.clone(), part.shards.clone());
        let [make, body, close, whole] =
            [&document.make, &document.body, &document.close, &document.whole].map(Values::series);
        Sum { document, shards, make, body, close, whole }
    }

    /// Names every field, so that a new one is not forgotten.
    fn with(mut self, more: &Part) -> Result<Sum, Misfit> {
        let (own, other) = (self.document, &more.document);
        if own.version != other.version {
            return Err(Misfit::Versions { first: own.version, other: other.version.clone() });
        }
        self.shards.extend(&more.shards);
        merge("make", &mut self.make, &other.make)?;
        merge("body", &mut self.body, &other.body)?;
        merge("close", &mut self.close, &other.close)?;
        merge("whole", &mut self.whole, &other.whole)?;
        self.document = Document {
            kind: own.kind,
            schema: own.schema,
            version: own.version,
            clean: own.clean,
            complaints: extended(own.complaints, &other.complaints),
            notes: extended(own.notes, &other.notes),
            engine: if own.engine == other.engine { own.engine } else { Engine::Both },
            pairs: total("pairs", own.pairs, other.pairs)?,
            failures: failures(own.failures, &other.failures)?,
            first_failure: own.first_failure.into_iter().chain(other.first_failure.clone()).min(),
            elapsed_seconds: own.elapsed_seconds.max(other.elapsed_seconds),
            pairs_per_second: rates(own.pairs_per_second, other.pairs_per_second)?,
            make: own.make,
            body: own.body,
            close: own.close,
            whole: own.whole,
            cpu: cpu(own.cpu, other.cpu)?,
            counted: counted(own.counted, other.counted)?,
            before: usage(own.before, other.before)?,
            settled: usage(own.settled, other.settled)?,
            peak: usage(own.peak, other.peak)?,
            after: usage(own.after, other.after)?,
            ended_early: own.ended_early || other.ended_early,
            seed: own.seed,
            pinned_cpus: either(own.pinned_cpus, &other.pinned_cpus),
            netns: own.netns && other.netns,
            shards: own.shards,
        };
        Ok(self)
    }

    /// Returns the report on all parts, with sentences about their shards.
    fn report(mut self) -> Document {
        self.shards.sort();
        let mut complaints = self.document.complaints;
        complaints.sort_by_cached_key(|complaint| (shard_of(complaint), complaint.clone()));
        complaints.extend(gaps(&self.shards));
        let notes: BTreeSet<String> = self.document.notes.into_iter().collect(); // many shards have the same
        Document {
            clean: complaints.is_empty(),
            complaints,
            notes: notes.into_iter().collect(),
            make: Values::of(&self.make, true),
            body: Values::of(&self.body, true),
            close: Values::of(&self.close, true),
            whole: Values::of(&self.whole, true),
            cpu: self.document.cpu.shared_by(self.document.pairs),
            shards: if self.shards == [Shard::WHOLE] { Vec::new() } else { self.shards },
            ..self.document
        }
    }
}

/// Returns the shard that a complaint begins with.
fn shard_of(complaint: &str) -> Option<Shard> {
    complaint.strip_prefix("shard ")?.split_once(": ")?.0.parse().ok()
}

fn total(what: &'static str, own: u64, more: u64) -> Result<u64, Misfit> {
    own.checked_add(more).ok_or(Misfit::Overflow(what))
}

fn failures(mut own: BTreeMap<String, u64>, more: &BTreeMap<String, u64>) -> Result<BTreeMap<String, u64>, Misfit> {
    for (step, count) in more {
        let sum = own.entry(step.clone()).or_default();
        *sum = total("failures", *sum, *count)?;
    }
    Ok(own)
}

fn rates(own: f64, more: f64) -> Result<f64, Misfit> {
    Some(own + more).filter(|sum| sum.is_finite()).ok_or(Misfit::Overflow("pairs_per_second"))
}

fn merge(what: &'static str, own: &mut Series, more: &Values) -> Result<(), Misfit> {
    total(what, own.count(), more.count)?;
    own.merge(&more.series());
    Ok(())
}

/// Returns the items of both lists, each once.
fn either(own: Vec<usize>, more: &[usize]) -> Vec<usize> {
    let all: BTreeSet<usize> = own.into_iter().chain(more.iter().copied()).collect();
    all.into_iter().collect()
}

fn extended(mut own: Vec<String>, more: &[String]) -> Vec<String> {
    own.extend_from_slice(more);
    own
}

/// Adds up times; [`report`](Sum::report) sets the time per pair.
fn cpu(own: Cpu, more: Cpu) -> Result<Cpu, Misfit> {
    Ok(Cpu {
        user_us: total("user_us", own.user_us, more.user_us)?,
        system_us: total("system_us", own.system_us, more.system_us)?,
        us_per_pair: own.us_per_pair,
    })
}

fn counted(own: Counted, more: Counted) -> Result<Counted, Misfit> {
    Ok(Counted {
        time_waits: add("time_waits", own.time_waits, more.time_waits)?,
        resets: add("resets", own.resets, more.resets)?,
        retransmissions: add("retransmissions", own.retransmissions, more.retransmissions)?,
    })
}

/// Adds up counts that both machines know.
fn add(what: &'static str, own: Option<u64>, more: Option<u64>) -> Result<Option<u64>, Misfit> {
    own.zip(more).map(|(own, more)| total(what, own, more)).transpose()
}

fn usage(own: ResourceUsage, more: ResourceUsage) -> Result<ResourceUsage, Misfit> {
    let mut sum = own;
    sum.descriptors = add("descriptors", own.descriptors, more.descriptors)?;
    sum.memory = add("memory_bytes", own.memory, more.memory)?;
    sum.sockets = add("sockets", own.sockets, more.sockets)?;
    sum.time_wait = add("time_wait", own.time_wait, more.time_wait)?;
    Ok(sum)
}

use std::collections::BTreeMap;

use ringpair::measure::Series;
use ringpair::measure::soak::ResourceUsage;

use super::super::document::{Counted, Cpu, Document, Engine, Kind, SCHEMA, Values};
use super::super::shard::Shard;
use super::flaw::Misfit;
use super::{Part, parts_in, sum};

mod flaws;
mod gaps;
mod splits;

/// What became of one pair: how long it took, and the step at which it failed.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    nanos: u64,
    failed_at: Option<&'static str>,
}

/// The report on these pairs.
fn report(outcomes: &[Outcome], shard: Option<Shard>) -> Document {
    let mut failures = BTreeMap::new();
    for step in outcomes.iter().filter_map(|outcome| outcome.failed_at) {
        *failures.entry(step.to_owned()).or_default() += 1;
    }
    let pairs = outcomes.iter().filter(|outcome| outcome.failed_at.is_none()).count() as u64;
    let mut complaints = Vec::new();
    if !failures.is_empty() {
        complaints.push(format!("{} pairs failed", outcomes.len() as u64 - pairs));
    }
    if outcomes.is_empty() {
        complaints.push("not one pair was made".to_owned());
    }
    let values =
        |times| Values::of(&Series::from_counts(outcomes.iter().map(|outcome| (outcome.nanos * times, 1))), true);
    let held = usage([9, 50 << 20, 3, 0]);
    Document {
        kind: Kind::Report,
        schema: SCHEMA,
        version: "0.1.0".to_owned(),
        clean: complaints.is_empty(),
        complaints,
        notes: Vec::new(),
        engine: Engine::Uring,
        pairs,
        first_failure: failures.keys().next().map(|step| format!("{step} failed")),
        failures,
        elapsed_seconds: 2.0,
        pairs_per_second: pairs as f64 / 2.0,
        make: values(1),
        body: values(2),
        close: values(3),
        whole: values(6),
        cpu: Cpu { user_us: 3, system_us: 17, us_per_pair: None }.shared_by(pairs),
        counted: Counted { time_waits: Some(0), resets: Some(pairs), retransmissions: Some(0) },
        before: held,
        settled: held,
        peak: held,
        after: held,
        ended_early: false,
        seed: 7,
        pinned_cpus: Vec::new(),
        netns: false,
        shards: shard.into_iter().collect(),
    }
}

fn usage([descriptors, memory, sockets, time_wait]: [u64; 4]) -> ResourceUsage {
    let mut usage = ResourceUsage::default();
    usage.descriptors = Some(descriptors);
    usage.memory = Some(memory);
    usage.sockets = Some(sockets);
    usage.time_wait = Some(time_wait);
    usage
}

fn good(count: usize, shard: Option<Shard>) -> Document {
    report(&vec![Outcome { nanos: 1_000, failed_at: None }; count], shard)
}

fn shard(text: &str) -> Option<Shard> {
    Some(text.parse().unwrap_or_else(|why| panic!("{why}")))
}

/// A report as a file has it.
fn text(document: &Document) -> String {
    serde_json::to_string(document).unwrap_or_else(|error| panic!("{error}"))
}

fn read(text: &str) -> Vec<Part> {
    parts_in(text.as_bytes()).unwrap_or_else(|flaw| panic!("{flaw}"))
}

fn merged<'a>(documents: impl IntoIterator<Item = &'a Document>) -> Document {
    let parts = read(&documents.into_iter().map(text).collect::<String>());
    sum(&parts).ok().flatten().unwrap_or_else(|| panic!("{parts:?}"))
}

#[test]
fn what_one_shard_says_the_sum_says() {
    let mut parts = [good(1, shard("0/2")), good(1, shard("1/2"))];
    assert!(merged(&parts).clean);
    parts[1].complaints = vec!["a leak".to_owned()];
    parts[1].clean = false;
    parts[1].ended_early = true;
    parts[1].engine = Engine::Epoll;
    parts[0].netns = true;
    (parts[0].elapsed_seconds, parts[1].elapsed_seconds) = (3.0, 4.0);
    (parts[0].pairs_per_second, parts[1].pairs_per_second) = (1.5, 2.5);
    (parts[0].seed, parts[1].seed) = (9, 8);
    for order in [[0, 1], [1, 0]] {
        let sum = merged(order.map(|index| &parts[index]));
        assert_eq!(sum.complaints, ["shard 1/2: a leak"]);
        assert_eq!((sum.clean, sum.ended_early, sum.netns, sum.engine), (false, true, false, Engine::Both));
        assert_eq!((sum.elapsed_seconds, sum.pairs_per_second, sum.seed), (4.0, 4.0, 9));
        assert_eq!(merged([&sum]).complaints, ["shard 1/2: a leak"]);
    }
    (parts[0].pinned_cpus, parts[1].pinned_cpus) = (vec![2, 0], vec![2, 1]);
    assert_eq!(merged(&parts).pinned_cpus, [0, 1, 2]);
    parts[0].notes = vec!["b".to_owned(), "a".to_owned()];
    parts[1].notes = vec!["b".to_owned()];
    assert_eq!(merged(&parts).notes, ["a", "b"]);
    parts[0].after.time_wait = None;
    parts[1].counted.time_waits = None;
    let sum = merged(&parts);
    assert_eq!((sum.after.time_wait, sum.after.sockets), (None, Some(6)));
    assert_eq!(sum.counted, Counted { time_waits: None, resets: Some(2), retransmissions: Some(0) });
    assert_eq!(sum.cpu, Cpu { user_us: 6, system_us: 34, us_per_pair: Some(20.0) });
}

#[test]
fn complaints_are_in_the_order_of_their_shards() {
    let mut parts: Vec<_> = (0..12).map(|index| good(1, shard(&format!("{index}/12")))).collect();
    for index in [11, 2] {
        parts[index].complaints = vec!["b".to_owned(), "a".to_owned()];
        parts[index].clean = false;
    }
    let told = ["shard 2/12: a", "shard 2/12: b", "shard 11/12: a", "shard 11/12: b"];
    assert_eq!(merged(&parts).complaints, told);
}

#[test]
fn a_complaint_of_a_whole_soak_names_no_shard() {
    let mut whole = good(1, None);
    whole.complaints = vec!["a leak".to_owned()];
    whole.clean = false;
    assert_eq!(merged([&whole]).complaints, ["a leak"]);
}

#[test]
fn a_sum_that_is_too_large_is_refused() {
    let with = |change: &dyn Fn(&mut Document)| {
        let mut parts = [good(1, shard("0/2")), good(1, shard("1/2"))];
        parts.iter_mut().for_each(change);
        sum(&read(&parts.iter().map(text).collect::<String>())).unwrap_err()
    };
    let many = |part: &mut Document| {
        part.failures.insert("body".to_owned(), u64::MAX - 5);
        part.complaints.push("many failed".to_owned());
        part.clean = false;
    };
    let series = || Values::of(&Series::from_counts([(5, u64::MAX - 5)]), true);
    for (misfit, what) in [
        (with(&many), "failures"),
        (with(&|part| part.pairs_per_second = f64::MAX), "pairs_per_second"),
        (with(&|part| part.make = series()), "make"),
        (with(&|part| part.body = series()), "body"),
        (with(&|part| (part.close, part.whole) = (series(), series())), "close"),
        (with(&|part| (part.make, part.body, part.pairs) = (series(), series(), u64::MAX - 5)), "make"),
        (with(&|part| part.peak.memory = Some(u64::MAX)), "memory_bytes"),
        (with(&|part| part.after.descriptors = Some(u64::MAX)), "descriptors"),
        (with(&|part| part.before.sockets = Some(u64::MAX)), "sockets"),
        (with(&|part| part.settled.time_wait = Some(u64::MAX)), "time_wait"),
        (with(&|part| part.cpu = Cpu { user_us: u64::MAX, ..part.cpu }.shared_by(part.pairs)), "user_us"),
        (with(&|part| part.cpu = Cpu { system_us: u64::MAX, ..part.cpu }.shared_by(part.pairs)), "system_us"),
        (with(&|part| part.counted.time_waits = Some(u64::MAX)), "time_waits"),
        (with(&|part| part.counted.resets = Some(u64::MAX)), "resets"),
        (with(&|part| part.counted.retransmissions = Some(u64::MAX)), "retransmissions"),
    ] {
        assert_eq!(misfit, (1, Misfit::Overflow(what)));
        assert_eq!(misfit.1.to_string(), format!("with it, `{what}` is more than a report can hold"));
    }
}

#[test]
fn versions_do_not_mix() {
    let mut other = good(1, shard("1/2"));
    other.version = "0.2.0".to_owned();
    let (place, misfit) = sum(&read(&(text(&good(1, shard("0/2"))) + &text(&other)))).unwrap_err();
    let told = "it is by ringpair 0.2.0, and the first report by 0.1.0; one version makes all shards";
    assert_eq!((place, misfit.to_string().as_str()), (1, told));
}

#[test]
fn the_sum_of_nothing_is_none() {
    assert_eq!(sum(&[]), Ok(None));
}

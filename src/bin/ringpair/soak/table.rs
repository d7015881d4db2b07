//! A report for people: a hundred columns at most.

use std::fmt::Write;

use super::document::{Document, Engine, Values};
use crate::output::escaped;

/// How many shards are named.
const SHARDS: usize = 8;

pub(super) fn of(document: &Document) -> String {
    let through = match document.engine {
        Engine::Uring => "io_uring",
        Engine::Epoll => "epoll, and not through io_uring",
        Engine::Both => "io_uring by some shards, and through epoll by others",
    };
    let network = match document.netns {
        true => "a network namespace of its own",
        false => "a network namespace that others share: its sockets and TIME_WAIT are theirs too",
    };
    let mut text = format!(
        "{} pairs in {:.1} s, {:.0} a second{}; seed {}\nPairs are made through {through}\nin {network}\n\n",
        document.pairs,
        document.elapsed_seconds,
        document.pairs_per_second,
        if document.ended_early { ", ended early" } else { "" },
        document.seed,
    );
    if !document.shards.is_empty() {
        let shards: Vec<String> = document.shards.iter().take(SHARDS).map(ToString::to_string).collect();
        let more = match document.shards.len() - shards.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let _ = writeln!(text, "shards {}{more}\n", shards.join(" ")); // writing to a String cannot fail
    }
    let _ = writeln!(
        text,
        "{:12}{:>10}{:>10}{:>10}{:>10}{:>10}{:>12}",
        "microseconds", "p50", "p90", "p99", "p99.9", "greatest", "count"
    );
    for (name, values) in [("make", &document.make), ("body", &document.body), ("close", &document.close)] {
        let _ = writeln!(text, "{}", row(name, values));
    }
    let _ = writeln!(text, "\n{:12}{:>12}{:>10}{:>10}{:>10}", "", "descriptors", "sockets", "TIME_WAIT", "MiB");
    for (name, facts) in [
        ("before", document.before),
        ("first tenth", document.settled),
        ("most", document.peak),
        ("after", document.after),
    ] {
        let [descriptors, sockets, time_wait] = [facts.descriptors, facts.sockets, facts.time_wait].map(number);
        let memory =
            facts.memory.map_or_else(|| "?".to_owned(), |bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20)));
        let _ = writeln!(text, "{name:12}{descriptors:>12}{sockets:>10}{time_wait:>10}{memory:>10}");
    }
    for (step, count) in &document.failures {
        let _ = writeln!(text, "\n{count} failed at: {}", escaped(step));
    }
    document.notes.iter().for_each(|note| text.push_str(&format!("\nnote: {}\n", escaped(note))));
    match (document.complaints.as_slice(), document.notes.as_slice()) {
        ([], []) => text.push_str("\nclean: nothing failed, and nothing was left behind"),
        ([], _) => text.push_str("\nnothing failed, and nothing that was judged was left behind"),
        (complaints, _) => {
            text.push_str("\nNOT CLEAN");
            complaints.iter().for_each(|complaint| text.push_str(&format!("\n  {}", escaped(complaint))));
        }
    }
    text
}

fn row(name: &str, values: &Values) -> String {
    let mut row = format!("{name:12}");
    for nanos in [values.p50_ns, values.p90_ns, values.p99_ns, values.p99_9_ns, values.max_ns] {
        let _ = write!(row, "{:>10.1}", nanos as f64 / 1000.0);
    }
    let _ = write!(row, "{:>12}", values.count);
    row
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "?".to_owned(), |number| number.to_string())
}

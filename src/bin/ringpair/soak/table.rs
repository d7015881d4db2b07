//! The report as text, at most 80 columns wide. The answer comes first.

use std::fmt::Write;

use super::document::{Counted, Cpu, Document, Engine, Values};
use super::shard::Shard;
use crate::cpus::Cpus;
use crate::numbers::{grouped, micros};
use crate::output::escaped;
use crate::screen;

/// The maximum number of shards that are listed.
const SHARDS: usize = 8;

pub(super) fn of(document: &Document) -> String {
    let wrapped = |text: String| screen::wrapped(&text, screen::width());
    let mut text = format!("{}\n\n{}", wrapped(head(document)), tables(document));
    for (step, count) in &document.failures {
        let _ = writeln!(text, "\n{} failed at: {}", grouped(*count), escaped(step)); // writing to a String cannot fail
    }
    text + &wrapped(verdict(document))
}

fn head(document: &Document) -> String {
    let through = match document.engine {
        Engine::Uring => "io_uring",
        Engine::Epoll => "epoll, and not through io_uring",
        Engine::Both => "io_uring by some shards, and through epoll by others",
    };
    let network = match document.netns {
        true => "a network namespace of its own",
        false => "a network namespace that others share: its sockets and TIME_WAIT are theirs too",
    };
    let shards = match document.shards.as_slice() {
        [] => String::new(),
        shards => format!("\nshards {}", named(shards)),
    };
    let answer = answer(document);
    let on = Cpus(document.pinned_cpus.clone()).suffix();
    format!("{answer}\n\nPairs are made through {through}{on}\nin {network}\nseed {}{shards}", document.seed)
}

fn named(shards: &[Shard]) -> String {
    let first: Vec<String> = shards.iter().take(SHARDS).map(ToString::to_string).collect();
    let more = match shards.len() - first.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    first.join(" ") + &more
}

fn tables(document: &Document) -> String {
    let mut text = line("", ["p50 µs", "p90 µs", "p99 µs", "p99.9 µs", "max µs", "count"]) + "\n";
    let rows =
        [("make", &document.make), ("body", &document.body), ("close", &document.close), ("whole", &document.whole)];
    for (name, values) in rows {
        text += &(row(name, values) + "\n");
    }
    let _ = writeln!(text, "\n{:12}{:>12}{:>10}{:>10}{:>10}", "", "descriptors", "sockets", "TIME_WAIT", "MiB");
    for (name, usage) in [
        ("before", document.before),
        ("first tenth", document.settled),
        ("peak", document.peak),
        ("after", document.after),
    ] {
        let [descriptors, sockets, time_wait] = [usage.descriptors, usage.sockets, usage.time_wait].map(number);
        let memory =
            usage.memory.map_or_else(|| "?".to_owned(), |bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20)));
        let _ = writeln!(text, "{name:12}{descriptors:>12}{sockets:>10}{time_wait:>10}{memory:>10}");
    }
    text + "\n" + &screen::wrapped(&costs(document), screen::width()) + "\n"
}

/// CPU time per pair, and counters of the network namespace.
fn costs(document: &Document) -> String {
    let Counted { resets, retransmissions, .. } = document.counted;
    let cpu = match document.cpu.us_per_pair {
        Some(_) => {
            let Cpu { user_us, system_us, .. } = document.cpu;
            let a_pair = |micros: u64| self::micros((micros as f64 * 1000.0 / document.pairs as f64).round() as u64);
            let [user, system, both] = [user_us, system_us, user_us.saturating_add(system_us)].map(a_pair);
            format!("CPU: {both} µs a pair, {user} in user mode, {system} in the kernel\n")
        }
        None => String::new(),
    };
    let whose = if document.netns { "" } else { ", other programs' included" };
    let (resets, retransmissions) = (number(resets), number(retransmissions));
    format!("{cpu}TCP: {resets} resets sent, {retransmissions} segments retransmitted{whose}\n")
}

/// Texts from reports are indented, so that they cannot look like a verdict.
fn verdict(document: &Document) -> String {
    let mut text = String::new();
    document.notes.iter().for_each(|note| text.push_str(&format!("\n  note: {}\n", escaped(note))));
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

/// The answer: rate, time per pair, and verdict.
fn answer(document: &Document) -> String {
    let verdict = match (document.complaints.as_slice(), document.notes.as_slice()) {
        ([], []) => "clean",
        ([], _) => "nothing failed",
        _ => "NOT CLEAN",
    };
    let rate = grouped(document.pairs_per_second.round() as u64);
    let [p50, p99] = [document.whole.p50_ns, document.whole.p99_ns].map(micros);
    let took = format!("a pair takes {p50} µs (p50), {p99} µs (p99)");
    format!(
        "{} pairs in {:.1} s, {rate} a second{}; {}{verdict}",
        grouped(document.pairs),
        document.elapsed_seconds,
        if document.ended_early { ", ended early" } else { "" },
        if document.whole.count > 0 { format!("{took}; ") } else { String::new() },
    )
}

fn row(name: &str, values: &Values) -> String {
    let times = [values.p50_ns, values.p90_ns, values.p99_ns, values.p99_9_ns, values.max_ns].map(micros);
    let [p50, p90, p99, p99_9, max] = &times;
    line(name, [p50, p90, p99, p99_9, max, &grouped(values.count)])
}

/// Sixty columns, unless a number is longer than its column.
fn line(name: &str, cells: [&str; 6]) -> String {
    cells.iter().fold(format!("{name:6}"), |line, cell| format!("{line} {cell:>8}"))
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "?".to_owned(), grouped)
}

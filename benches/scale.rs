//! Does a pair cost the same with many pairs alive, on two threads, and after many others?
//!
//! *Live.* A factory makes 9,500 pairs one by one and holds them all: the time of the last thousand over that of the
//! first. Goal: at most 1.15. Closing is not included. The first pass does not count, because the descriptor table
//! grows in it.
//!
//! *Threads.* Pairs that two threads, each with its own factory, make and close in a quarter of a second, over the
//! pairs of one thread. Goal: at least 1.80. `peers` has the row for one shared factory.
//!
//! *Graceful.* A factory makes and closes 200,000 pairs with FIN, in windows of 10,000: the slowest window over the
//! median one. Goal: at most 1.50, and no error, EADDRNOTAVAIL in particular. This part comes last and runs once,
//! because it leaves as many sockets in TIME_WAIT as the kernel allows, for a minute. The report prints that number and
//! how many more the kernel dropped (TCPTimeWaitOverflow): without them, a low ratio proves nothing.
//!
//! For the first two, plain system calls (the floor) do the same in turn. If the floor falls short too, the kernel or
//! the host is the reason: busy processors, or two threads of one core. Both parts are repeated; the report prints
//! median, min and max, and the median decides whether the goal is met. All pairs are `std` streams made by blocking
//! calls, so no runtime is in the figures. The accepted end is closed first.
//!
//! *Not measured.* More than two threads, memory, closing by itself.
//!
//! `cargo bench --bench scale -- [--json] [--rounds N]`
#![allow(clippy::unwrap_used)] // a panic ends the benchmark

mod common;

use std::fs;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::floor::Floor;
use common::report::{Json, Table, object, print};
use common::spell::one_and_two_threads;
use common::{Arguments, Spread, give_up, host, time_wait};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ringpair::{Linger, PairFactory, PairOptions};

const LIVE: usize = 9_500;
const THOUSAND: usize = 1_000;
const LIVE_AT_MOST: f64 = 1.15;

const SPELL: Duration = Duration::from_millis(250);
const THREADS_AT_LEAST: f64 = 1.8;

const WINDOWS: usize = 20;
const WINDOW: usize = 10_000;
const GRACEFUL_AT_MOST: f64 = 1.5;

/// For the live pairs, with some to spare for listeners, rings and the program itself.
const DESCRIPTORS: u64 = 2 * LIVE as u64 + 64;

fn main() {
    let arguments = Arguments::of("scale", &[("--rounds", 15)]);
    if let Err(error) = raise_descriptor_limit() {
        give_up("scale", &error);
    }
    let factory = PairOptions::new().factory().unwrap_or_else(|error| give_up("scale", &error));
    let report = measure(factory, arguments.size("--rounds"));
    match arguments.json {
        true => print(&report.json()),
        false => print(&report.table()),
    }
    if report.graceful.is_err() {
        std::process::exit(1);
    }
}

fn raise_descriptor_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if hard < DESCRIPTORS {
        let why =
            format!("{LIVE} live pairs need {DESCRIPTORS} descriptors, and the hard limit is {hard}; see ulimit -Hn");
        return Err(io::Error::other(why));
    }
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

fn measure(factory: PairFactory, rounds: usize) -> Report {
    let floor = Floor::open().unwrap();
    let (mut live, mut live_floor) = (Vec::new(), Vec::new());
    last_over_first(|| pair(&factory));
    for _ in 0..rounds {
        live.push(last_over_first(|| pair(&factory)));
        live_floor.push(last_over_first(|| floor.pair().unwrap()));
    }
    let (mut threads, mut threads_floor) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        threads.push(two_threads_over_one(round));
        threads_floor.push(two_plain_threads_over_one(round));
    }
    Report {
        rounds,
        live: Spread::of(live),
        live_floor: Spread::of(live_floor),
        threads: Spread::of(threads),
        threads_floor: Spread::of(threads_floor),
        graceful: graceful_windows(),
    }
}

type Pair = (TcpStream, TcpStream);

/// Fields of a tuple are dropped in order: the accepted end goes first.
fn pair(factory: &PairFactory) -> Pair {
    factory.pair_blocking().unwrap()
}

/// Makes and holds the live pairs. Returns the time of the last thousand over that of the first.
fn last_over_first<P>(make: impl Fn() -> P) -> f64 {
    let mut held = Vec::with_capacity(LIVE);
    let mut more = |count| {
        let begin = Instant::now();
        held.extend((0..count).map(|_| make()));
        begin.elapsed().as_secs_f64()
    };
    let first = more(THOUSAND);
    more(LIVE - 2 * THOUSAND);
    more(THOUSAND) / first
}

fn two_threads_over_one(round: usize) -> f64 {
    let open = || {
        let factory = PairOptions::new().factory().unwrap();
        move || drop(pair(&factory))
    };
    one_and_two_threads(round, SPELL, open).two_over_one()
}

fn two_plain_threads_over_one(round: usize) -> f64 {
    let open = || {
        let floor = Floor::open().unwrap();
        move || drop(floor.pair().unwrap())
    };
    one_and_two_threads(round, SPELL, open).two_over_one()
}

/// Microseconds per pair in each window, and the sockets in TIME_WAIT afterwards.
struct Graceful {
    windows: Vec<f64>,
    time_wait: u64,
    overflow: u64,
    listeners: u64,
}

fn graceful_windows() -> ringpair::Result<Graceful> {
    let overflow = time_wait_overflow();
    let factory = PairOptions::new().linger(Linger::Graceful).factory()?;
    let mut windows = Vec::new();
    for _ in 0..WINDOWS {
        let begin = Instant::now();
        for _ in 0..WINDOW {
            drop(factory.pair_blocking::<TcpStream>()?);
        }
        windows.push(begin.elapsed().as_secs_f64() * 1e6 / WINDOW as f64);
    }
    let listeners = factory.stats().listeners;
    Ok(Graceful { windows, time_wait: time_wait(), overflow: time_wait_overflow() - overflow, listeners })
}

/// Number of sockets that the kernel dropped from TIME_WAIT because of `tcp_max_tw_buckets`.
fn time_wait_overflow() -> u64 {
    let netstat = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut counters = names.split_whitespace().zip(values.split_whitespace());
    counters.find(|(name, _)| *name == "TCPTimeWaitOverflow").and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

struct Report {
    rounds: usize,
    live: Spread,
    live_floor: Spread,
    threads: Spread,
    threads_floor: Spread,
    graceful: ringpair::Result<Graceful>,
}

impl Graceful {
    fn spread(&self) -> Spread {
        Spread::of(self.windows.iter().copied())
    }

    fn worst_over_median(&self) -> f64 {
        self.spread().max / self.spread().median
    }
}

impl Report {
    fn live_met(&self) -> bool {
        self.live.median <= LIVE_AT_MOST
    }

    fn threads_met(&self) -> bool {
        self.threads.median >= THREADS_AT_LEAST
    }

    fn graceful_met(&self) -> bool {
        self.graceful.as_ref().is_ok_and(|graceful| graceful.worst_over_median() <= GRACEFUL_AT_MOST)
    }

    fn table(&self) -> String {
        let mut table = Table::new(["", "median", "min", "max", "goal", ""]);
        let mut row = |name: &str, figures: [String; 3], wanted: String, met: bool| {
            let verdict = if met { "met" } else { "missed" };
            table.row(name, figures.into_iter().chain([wanted, verdict.into()]));
        };
        row("last over first thousand of 9,500 live", self.live.cells(), at_most(LIVE_AT_MOST), self.live_met());
        row("two threads over one", self.threads.cells(), at_least(THREADS_AT_LEAST), self.threads_met());
        let worst =
            self.graceful.as_ref().map_or("-".into(), |graceful| format!("{:.2}", graceful.worst_over_median()));
        let worst = [worst, String::new(), String::new()];
        row("worst over median of 20 graceful windows", worst, at_most(GRACEFUL_AT_MOST), self.graceful_met());
        table.row("the floor: last over first thousand", self.live_floor.cells());
        table.row("the floor: two threads over one", self.threads_floor.cells());
        format!("{}; {} rounds\n\n{table}\n{}", host(), self.rounds, self.graceful_in_words())
    }

    fn graceful_in_words(&self) -> String {
        match &self.graceful {
            Err(error) => format!("graceful pairs: {error}"),
            Ok(graceful) => {
                let Spread { median, min, max, .. } = graceful.spread();
                format!(
                    "{} graceful pairs without an error: {median:.1} µs per pair in the median window, {min:.1} in\n\
                     the best, {max:.1} in the worst; {} listeners; {} sockets in TIME_WAIT, {} more dropped",
                    WINDOWS * WINDOW,
                    graceful.listeners,
                    graceful.time_wait,
                    graceful.overflow
                )
            }
        }
    }

    fn json(&self) -> Json {
        let repeated = |own: &Spread, floor: &Spread, wanted: f64, met: bool| {
            let (wanted, met) = (Json::Number(wanted), Json::Flag(met));
            object([("ratio", own.json()), ("floor", floor.json()), ("wanted", wanted), ("met", met)])
        };
        let live = repeated(&self.live, &self.live_floor, LIVE_AT_MOST, self.live_met());
        let threads = repeated(&self.threads, &self.threads_floor, THREADS_AT_LEAST, self.threads_met());
        object([
            ("bench", Json::Text("scale".into())),
            ("host", Json::Text(host())),
            ("rounds", Json::Count(self.rounds as u64)),
            ("live_last_over_first", live),
            ("two_threads_over_one", threads),
            ("graceful", self.graceful_json()),
        ])
    }

    fn graceful_json(&self) -> Json {
        match &self.graceful {
            Err(error) => object([("error", Json::Text(error.to_string())), ("met", Json::Flag(false))]),
            Ok(graceful) => object([
                ("worst_over_median", Json::Number(graceful.worst_over_median())),
                ("wanted", Json::Number(GRACEFUL_AT_MOST)),
                ("met", Json::Flag(self.graceful_met())),
                ("pairs", Json::Count((WINDOWS * WINDOW) as u64)),
                ("us_per_pair", Json::List(graceful.windows.iter().map(|micros| Json::Number(*micros)).collect())),
                ("listeners", Json::Count(graceful.listeners)),
                ("time_wait", Json::Count(graceful.time_wait)),
                ("time_wait_overflow", Json::Count(graceful.overflow)),
            ]),
        }
    }
}

fn at_most(wanted: f64) -> String {
    format!("<= {wanted:.2}")
}

fn at_least(wanted: f64) -> String {
    format!(">= {wanted:.2}")
}

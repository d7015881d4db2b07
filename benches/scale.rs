//! Whether a pair costs the same however many there are: live at once, made on two threads, or made in a row.
//!
//! *Live.* A factory makes 9,500 pairs, one by one, and holds them all: what the last thousand cost to make over the
//! first thousand. Wanted: at most 1.15. Closing is not in it. One pass is not counted: the descriptor table grows in
//! it.
//!
//! *Threads.* How many pairs two threads, each with a factory of its own, make and close in a quarter of a second, over
//! how many one thread makes. Wanted: at least 1.80. The main thread waits meanwhile, in both cases, so the kernel
//! takes the process for a threaded one in both.
//!
//! *Graceful.* A factory makes and closes 200,000 pairs that close with FIN, in windows of 10,000: the slowest window
//! over the median one. Wanted: at most 1.50, and no error, EADDRNOTAVAIL least of all. This comes last and once,
//! because it leaves as many sockets in TIME_WAIT as the kernel admits, for a minute. The report tells how many these
//! are, and how many more the kernel did not keep (TCPTimeWaitOverflow): without that, a low number proves nothing.
//!
//! Beside the first two the floor, plain system calls, does the same turn by turn. What its figure falls short of is
//! the kernel's part or the host's: processors that others use too, or that are two threads of one core. Both are
//! repeated, and told as median, least and greatest; a figure is met by its median. Pairs are made by blocking calls,
//! as `std` streams, so that no runtime is in the figures; the accepted end is closed first.
//!
//! *What is not measured.* More threads than two, threads that share a factory, memory, closing by itself.
//!
//! `cargo bench --bench scale -- [--json] [--rounds N]`
#![allow(clippy::unwrap_used)] // here a panic is the report

mod common;

use std::fs;
use std::io;
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use common::floor::{Floor, Plain};
use common::report::{Json, Table, object, print};
use common::{Arguments, Spread, give_up, host, time_wait};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ringpair::{Linger, PairFactory, PairOptions};

const LIVE: usize = 9_500;
const THOUSAND: usize = 1_000;
const LIVE_AT_MOST: f64 = 1.15;

const THREADS: usize = 2;
const SPELL: Duration = Duration::from_millis(250);
const THREADS_AT_LEAST: f64 = 1.8;

const WINDOWS: usize = 20;
const WINDOW: usize = 10_000;
const GRACEFUL_AT_MOST: f64 = 1.5;

/// For the live pairs, and some for listeners, rings and the program itself.
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
        threads.push(many_over_one(round, pairs_in_a_spell));
        threads_floor.push(many_over_one(round, plain_pairs_in_a_spell));
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

/// Makes and holds the live pairs: the time of the last thousand over that of the first.
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

/// How many times as many pairs several threads make. Who goes first changes with the round.
fn many_over_one(round: usize, spell: fn(&Barrier) -> usize) -> f64 {
    let on = |threads| {
        let barrier = Barrier::new(threads);
        thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| spell(&barrier))).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        }) as f64
    };
    if round % 2 == 0 {
        let one = on(1);
        on(THREADS) / one
    } else {
        on(THREADS) / on(1)
    }
}

fn pairs_in_a_spell(barrier: &Barrier) -> usize {
    let factory = PairOptions::new().factory().unwrap();
    count_in_a_spell(barrier, || pair(&factory))
}

fn plain_pairs_in_a_spell(barrier: &Barrier) -> usize {
    let floor = Floor::open().unwrap();
    count_in_a_spell(barrier, || -> Plain { floor.pair().unwrap() })
}

fn count_in_a_spell<P>(barrier: &Barrier, make: impl Fn() -> P) -> usize {
    (0..100).for_each(|_| drop(make())); // not counted
    barrier.wait();
    let begin = Instant::now();
    let mut made = 0;
    while begin.elapsed() < SPELL {
        drop(make());
        made += 1;
    }
    made
}

/// Microseconds a pair in each window, and what became of the sockets in TIME_WAIT.
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

/// How many sockets the kernel has not kept in TIME_WAIT, as there were too many: `tcp_max_tw_buckets`.
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
        self.spread().greatest / self.spread().median
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
        let mut table = Table::new(["", "median", "least", "greatest", "wanted", ""]);
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
                let Spread { median, least, greatest } = graceful.spread();
                format!(
                    "{} graceful pairs without an error: {median:.1} µs a pair in the median window, {least:.1} in\n\
                     the best, {greatest:.1} in the worst; {} listeners; {} sockets in TIME_WAIT, {} more not kept",
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

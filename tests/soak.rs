//! However many pairs were made and closed, by factory, in batches and one-shot, bytes arrive both ways. Descriptors, sockets and
//! memory are as before. Each graceful pair leaves one TIME_WAIT, and a resetting pair none.
//!
//! `cargo test` makes a few pairs in each way. `ci/soak` makes a million in all, RINGPAIR_SOAK_PAIRS in each way, and compares the
//! time of the last tenth with that of the first, from RINGPAIR_SOAK_REPORT. No clock decides here.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use common::{alone_in_a_network, descriptors, eventually, netstat, on_every_engine, sockstat};
use ringpair::{Linger, PairOptions};

type Pair = (TcpStream, TcpStream);

/// Pairs in each way, unless RINGPAIR_SOAK_PAIRS says otherwise.
const FEW: usize = 1_000;
/// Pairs in a batch.
const BATCH: usize = 64;

/// Parts of a soak, of which the last is compared with the first.
const TENTHS: usize = 10;
/// Parts of a tenth, of which the median counts: what else the machine does in some of them says nothing about us.
const SLICES: usize = 20;

/// How many KiB more may be resident after the last tenth than after the first: some pages of the C library's and the
/// kernel's. In a long soak it is less than four bytes a pair.
const SLACK: u64 = 256;

/// One-shots take two ports each, and where one closes with FIN, a port is not free for a minute. Beyond so many, the
/// kernel leaves the TIME_WAIT out, and counts that it has.
const FEW_TIME_WAITS: u64 = 1_000;

fn a_factory_is_as_it_was_after_pairs_that_reset(options: PairOptions) {
    soak_a_factory("factory", Linger::Reset, options);
}

fn a_factory_is_as_it_was_after_graceful_pairs(options: PairOptions) {
    soak_a_factory("factory", Linger::Graceful, options);
}

fn a_factory_is_as_it_was_after_batches_that_reset(options: PairOptions) {
    soak_a_factory("batches", Linger::Reset, options);
}

fn a_factory_is_as_it_was_after_graceful_batches(options: PairOptions) {
    soak_a_factory("batches", Linger::Graceful, options);
}

fn a_thread_is_as_it_was_after_one_shots_that_reset(options: PairOptions) {
    soak_one_shots(Linger::Reset, options);
}

fn a_thread_is_as_it_was_after_graceful_one_shots(options: PairOptions) {
    soak_one_shots(Linger::Graceful, options);
}

fn soak_a_factory(way: &str, linger: Linger, options: PairOptions) {
    alone_in_a_network(|| {
        let factory = options.linger(linger).factory().unwrap();
        let made = match way {
            "batches" => soak(way, linger, |pairs| *pairs = factory.pairs_blocking(BATCH).unwrap()),
            _ => soak(way, linger, |pairs| pairs.push(factory.pair_blocking().unwrap())),
        };
        assert_eq!((factory.stats().pairs, factory.stats().strangers), (made, 0));
    });
}

fn soak_one_shots(linger: Linger, options: PairOptions) {
    alone_in_a_network(|| {
        fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", FEW_TIME_WAITS.to_string()).unwrap();
        let options = options.linger(linger);
        soak("one-shots", linger, |pairs| pairs.push(options.make_pair_blocking().unwrap()));
    });
}

/// Makes pairs, serves each and closes it. Returns how many they were.
fn soak(way: &str, linger: Linger, make: impl FnMut(&mut Vec<Pair>)) -> u64 {
    let count = std::env::var("RINGPAIR_SOAK_PAIRS").map_or(FEW, |pairs| pairs.parse().unwrap());
    let mut soak = Soak { linger, make, clock: Clock::start(), pairs: Vec::with_capacity(BATCH), made: 0 };
    soak.turn(); // what is opened once is open from here on

    // The room for what is measured is there, and touched, before memory is looked at.
    let mut tenths: [Vec<Duration>; TENTHS] = std::array::from_fn(|_| vec![Duration::MAX; count / TENTHS + BATCH]);
    let mut marks = vec![Mark::now()];
    for tenth in &mut tenths {
        tenth.clear();
        let end = soak.made + (count / TENTHS) as u64;
        while soak.made < end {
            tenth.push(soak.turn());
        }
        let mark = Mark::now();
        marks.push(mark);
        mark.assert_like(&marks[0]);
    }
    let [_, first, .., last] = marks[..] else { panic!("there are no two tenths") };
    assert!(last.resident <= first.resident + SLACK, "memory has grown: {marks:#?}");
    let time_waits = TimeWaits::now();
    time_waits.assert_left_by(linger, soak.made);

    if let Some(report) = std::env::var_os("RINGPAIR_SOAK_REPORT") {
        let engine = common::test_name();
        let line = format!(
            "{} {way} {linger:?}: {} pairs; {}; {}; {}; {}\n",
            engine.split(':').next().unwrap(),
            soak.made,
            told(&marks),
            time_waits.told(),
            pace("slowest hundredth", 99, &tenths),
            pace("median", 50, &tenths),
        );
        fs::OpenOptions::new().append(true).open(report).unwrap().write_all(line.as_bytes()).unwrap();
    }
    soak.made
}

struct Soak<F> {
    linger: Linger,
    make: F,
    clock: Clock,
    pairs: Vec<Pair>,
    made: u64,
}

impl<F: FnMut(&mut Vec<Pair>)> Soak<F> {
    /// Makes a pair or a batch, serves each and closes it. Returns how long that took, for each pair.
    fn turn(&mut self) -> Duration {
        let begin = self.clock.now();
        (self.make)(&mut self.pairs);
        let count = self.pairs.len() as u32;
        for pair in self.pairs.drain(..) {
            self.made += 1;
            serve_and_close(pair, self.linger, self.made);
        }
        self.clock.now().saturating_sub(begin) / count
    }
}

/// Sends a token of its own each way and closes one end, in turns; the other end reads the end or the reset.
fn serve_and_close((accepted, connected): Pair, linger: Linger, token: u64) {
    let (mut first, mut second) = if token % 2 == 0 { (accepted, connected) } else { (connected, accepted) };
    send(&mut first, &mut second, token.to_be_bytes());
    send(&mut second, &mut first, token.to_be_bytes());
    drop(first);
    match (linger, second.read(&mut [0])) {
        (Linger::Graceful, read) => assert_eq!(read.unwrap(), 0),
        (_, read) => assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset),
    }
}

fn send(from: &mut TcpStream, to: &mut TcpStream, token: [u8; 8]) {
    from.write_all(&token).unwrap();
    let mut read = [0; 8];
    to.read_exact(&mut read).unwrap();
    assert_eq!(read, token);
}

/// Tells how much time has passed, without that in which this thread could have run, and another one did.
struct Clock {
    started: Instant,
    /// Where the kernel counts the latter; it need not.
    waited: Option<fs::File>,
}

impl Clock {
    fn start() -> Clock {
        Clock { started: Instant::now(), waited: fs::File::open("/proc/thread-self/schedstat").ok() }
    }

    fn now(&self) -> Duration {
        let mut text = [0; 64];
        let waited = self.waited.as_ref().map_or(0, |file| {
            let length = file.read_at(&mut text, 0).unwrap();
            let text = std::str::from_utf8(&text[..length]).unwrap();
            text.split(' ').nth(1).unwrap().parse().unwrap()
        });
        self.started.elapsed().saturating_sub(Duration::from_nanos(waited))
    }
}

/// What this process has, and this network.
#[derive(Clone, Copy, Debug)]
struct Mark {
    descriptors: usize,
    sockets: u64,
    /// These two the kernel counts for all networks together.
    orphans: u64,
    pages: u64,
    /// KiB of memory.
    resident: u64,
}

impl Mark {
    fn now() -> Mark {
        let [sockets, orphans, pages] = ["inuse", "orphan", "mem"].map(sockstat);
        Mark { descriptors: descriptors(), sockets, orphans, pages, resident: resident() }
    }

    /// No descriptor more, and no socket: not even an orphan, as in this network those are in use too.
    fn assert_like(&self, before: &Mark) {
        assert_eq!(self.descriptors, before.descriptors, "{before:#?}, {self:#?}");
        eventually("no more sockets are in use than before", || sockstat("inuse") == before.sockets);
    }
}

fn told(marks: &[Mark]) -> String {
    let [before, first, .., last] = marks else { panic!("there are no two tenths") };
    format!(
        "descriptors {} to {}; sockets {} to {}, orphans {} to {}, pages {} to {}; resident {} to {} KiB",
        before.descriptors,
        last.descriptors,
        before.sockets,
        last.sockets,
        before.orphans,
        last.orphans,
        before.pages,
        last.pages,
        first.resident,
        last.resident,
    )
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

/// What sockets that closed with FIN first have left behind.
#[derive(Debug)]
struct TimeWaits {
    /// So many have been begun,
    begun: u64,
    /// so many the kernel has left out, as there were enough already,
    left_out: u64,
    /// and so many are waiting still.
    waiting: u64,
}

impl TimeWaits {
    fn now() -> TimeWaits {
        let [counted, left_out] = ["TW", "TCPTimeWaitOverflow"].map(|what| netstat("TcpExt", what));
        let waiting = sockstat("tw");
        let begun = if counts_who_begins() { counted } else { counted + waiting };
        TimeWaits { begun, left_out, waiting }
    }

    /// One for each pair, or none at all.
    fn assert_left_by(&self, linger: Linger, pairs: u64) {
        let expected = if linger == Linger::Graceful { pairs } else { 0 };
        assert_eq!(self.begun + self.left_out, expected, "{self:?}");
    }

    fn told(&self) -> String {
        format!("TIME_WAIT {} begun, {} left out, {} waiting", self.begun, self.left_out, self.waiting)
    }
}

/// Since Linux 5.18 `TW` counts who enters TIME_WAIT; before, who leaves it.
fn counts_who_begins() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(5), Some(18))
}

/// How long the last tenth takes, and the first: so many of a hundred turns take no longer.
fn pace(what: &str, percent: usize, tenths: &[Vec<Duration>; TENTHS]) -> String {
    let of = |tenth: &[Duration]| {
        let slices = tenth.chunks(tenth.len().div_ceil(SLICES));
        place(slices.map(|slice| place(slice.to_vec(), percent)).collect(), 50).as_secs_f64() * 1e6
    };
    let (first, last) = (of(&tenths[0]), of(&tenths[TENTHS - 1]));
    format!("{what} {first:.0} to {last:.0} µs, ratio {:.2}", last / first)
}

fn place(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort();
    times[times.len() * percent / 100]
}

on_every_engine!(
    a_factory_is_as_it_was_after_pairs_that_reset,
    a_factory_is_as_it_was_after_graceful_pairs,
    a_factory_is_as_it_was_after_batches_that_reset,
    a_factory_is_as_it_was_after_graceful_batches,
    a_thread_is_as_it_was_after_one_shots_that_reset,
    a_thread_is_as_it_was_after_graceful_one_shots,
);

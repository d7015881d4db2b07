//! Futures are begun, polled, dropped, aborted, made to panic or left to a runtime that ends, in any order: nothing stays open,
//! every pair is ours, the counts add up, and every future that was not dropped completes.
//!
//! Schedules are random. `RINGPAIR_SCHEDULES` sets how many are played, `RINGPAIR_SEED` the first. A failure prints the seed
//! of its schedule. `ci/schedules` plays 10,000.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/mod.rs"]
mod common;
mod steps;
mod world;

use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use common::{
    alone_in_a_network, alone_with_late_handshakes, descriptors, eventually, note, on_every_engine, sockstat,
};
use ringpair::PairOptions;
use steps::{Dice, Kind, Step};
use world::{Counted, Wanted, World};

/// The default of `RINGPAIR_SCHEDULES`.
const SCHEDULES: u64 = 300;
/// One schedule in this many drops all packets for a while. Each switch takes a process.
const DARK: u64 = 100;
/// A schedule that takes longer is stuck.
const LIMIT: Duration = Duration::from_secs(60);

/// How many schedules have been played.
static PLAYED: AtomicU64 = AtomicU64::new(0);
/// The seed of the current schedule.
static SEED: AtomicU64 = AtomicU64::new(0);

fn random_schedules(options: PairOptions) {
    alone_in_a_network(|| play_all(1, |schedules| play_alone(&options, &schedules)));
}

fn random_schedules_with_late_handshakes(options: PairOptions) {
    alone_with_late_handshakes(|| play_all(1, |schedules| play_alone(&options, &schedules)));
}

fn random_schedules_of_two_threads(options: PairOptions) {
    alone_in_a_network(|| play_all(2, |schedules| play_together(&options, &schedules)));
}

fn random_schedules_of_two_threads_with_late_handshakes(options: PairOptions) {
    alone_with_late_handshakes(|| play_all(2, |schedules| play_together(&options, &schedules)));
}

/// The schedule of one thread, or of two that share factories.
type Schedules = Vec<(Kind, Vec<Step>)>;

fn play_all(threads: usize, play: impl Fn(Schedules)) {
    let count = from_the_environment("RINGPAIR_SCHEDULES");
    // By default every run plays the same schedules.
    let seed = if count.is_some() { any_seed() } else { 1 };
    let seed = from_the_environment("RINGPAIR_SEED").unwrap_or(seed);
    let count = count.unwrap_or(SCHEDULES);
    note(&format!("{count} schedules, RINGPAIR_SEED={seed}"));
    no_time_wait();
    silence_wanted_panics();
    std::thread::spawn(move || end_if_stuck(threads));
    for seed in (0..count).map(|number| seed.wrapping_add(number)) {
        SEED.store(seed, Relaxed);
        let played = catch_unwind(AssertUnwindSafe(|| play(schedules(seed, threads))));
        played.unwrap_or_else(|_| panic!("{}", how_to_replay(threads)));
        PLAYED.fetch_add(1, Relaxed);
    }
}

fn schedules(seed: u64, threads: usize) -> Schedules {
    let mut dice = Dice::new(seed);
    let dark = threads == 1 && seed % DARK == 0;
    (0..threads).map(|_| (steps::kind(&mut dice, dark), steps::schedule(&mut dice, dark))).collect()
}

fn play_alone(options: &PairOptions, schedules: &Schedules) {
    drop(options.make_pair_blocking::<TcpStream>().unwrap()); // opens this thread's engine
    drop(World::new(options, Kind::Tokio, Vec::new())); // opens what a process opens only once
    let (open, in_use) = (descriptors(), sockstat("inuse"));
    for (kind, steps) in schedules {
        play(World::new(options, *kind, Vec::new()), steps);
    }
    drop(options.make_pair_blocking::<TcpStream>().unwrap()); // its engine may have gone to another thread
    assert_eq!(descriptors(), open);
    eventually("no socket is in use", || sockstat("inuse") == in_use);
}

/// A runtime for each thread, and factories that they share.
fn play_together(options: &PairOptions, schedules: &Schedules) {
    let (open, in_use) = (descriptors(), sockstat("inuse"));
    let shared = [true, false].map(|graceful| Counted::open(options, graceful, false)).to_vec();
    std::thread::scope(|scope| {
        for (kind, steps) in schedules {
            let shared = shared.clone();
            scope.spawn(move || play(World::new(options, *kind, shared), steps));
        }
    });
    shared.iter().for_each(|counted| counted.assert_adds_up(false));
    drop(shared);
    eventually("a thread that has ended leaves nothing open", || descriptors() == open);
    eventually("no socket is in use", || sockstat("inuse") == in_use);
}

fn play(mut world: World, steps: &[Step]) {
    for (number, step) in steps.iter().enumerate() {
        let played = catch_unwind(AssertUnwindSafe(|| world.play(step)));
        played.unwrap_or_else(|_| panic!("at step {number}, {step:?}"));
    }
    world.end();
}

fn how_to_replay(threads: usize) -> String {
    let seed = SEED.load(Relaxed);
    let mut text = format!("to play this schedule first: RINGPAIR_SEED={seed} RINGPAIR_SCHEDULES=1\n");
    for (kind, steps) in schedules(seed, threads) {
        text += &format!("in {kind:?}:\n");
        steps.iter().enumerate().for_each(|(number, step)| text += &format!("{number:5} {step:?}\n"));
    }
    text
}

fn from_the_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

fn any_seed() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64
}

/// Prevents TIME_WAIT: so many pairs close with FIN here that each bind would search long for a port.
fn no_time_wait() {
    std::fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", "0").unwrap();
}

fn silence_wanted_panics() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.payload().is::<Wanted>() {
            told(panic);
        }
    }));
}

/// A watchdog thread, because a stuck thread cannot report itself.
fn end_if_stuck(threads: usize) {
    loop {
        let played = PLAYED.load(Relaxed);
        std::thread::sleep(LIMIT);
        if PLAYED.load(Relaxed) == played {
            eprintln!("stuck; {}", how_to_replay(threads));
            std::process::abort();
        }
    }
}

/// Whether tokio-uring runtimes work here.
#[cfg(feature = "tokio-uring")]
fn has_ring() -> bool {
    static HAS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *HAS.get_or_init(|| ringpair::PairOptions::new().backend(ringpair::Backend::Uring).factory().is_ok())
}

on_every_engine!(
    random_schedules,
    random_schedules_with_late_handshakes,
    random_schedules_of_two_threads,
    random_schedules_of_two_threads_with_late_handshakes,
);

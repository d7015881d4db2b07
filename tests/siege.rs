//! Strangers connect to every listening port as fast as they can. No stranger is handed out, and no byte of a stranger arrives.
//! Pairs are made at a third of the undisturbed rate at least, in factories at 0.6 of it.
//!
//! `cargo test` makes a few pairs in each way. `ci/strangers` makes RINGPAIR_SIEGE_PAIRS, and also asserts the rate.
#![allow(clippy::unwrap_used)]

mod attackers;
mod common;

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use attackers::{Attackers, FULL_HOPS, Order, Toll, attack_if_told, is_through};
use common::{alone, alone_in_a_network, eventually, netstat, on_every_engine};
use ringpair::{PairFactory, PairOptions, Result, Step};
use socket2::{Domain, Socket, Type};

type Pair = (TcpStream, TcpStream);

const ATTACKERS: usize = 2;

/// Pairs made between two time measurements.
const SPELL: usize = 250;
/// Pairs in a batch.
const BATCH: usize = 50;
/// The default of RINGPAIR_SIEGE_PAIRS.
const FEW: usize = 4 * SPELL;

/// A siege without a connected stranger is extended by this factor.
const MORE_ROUNDS_AT_MOST: usize = 50;

/// The maximum factor by which strangers may slow pairs down.
const SLOWER_AT_MOST: f64 = 3.0;
/// The minimum rate of factories and batches among strangers, relative to the rate while these rest.
const OF_QUIET_AT_LEAST: f64 = 0.6;

/// The ports of the one-shots' network. A one-shot listens for microseconds only, so strangers cannot look for it; but if
/// they try the few ports all the time, some hit it.
const PORTS: std::ops::RangeInclusive<u16> = 40_000..=40_031;

fn one_shots_are_ours_among_strangers(options: PairOptions) {
    under_siege("one-shot", || {
        let ports = format!("{} {}", PORTS.start(), PORTS.end());
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", ports).unwrap();
        let mut siege = Siege::new(Order::Ports(PORTS), None);
        siege.hold(|| vec![options.make_pair_blocking().unwrap()]);
        siege.assert_strangers_came();
        siege
    });
}

fn factory_pairs_are_ours_among_strangers(options: PairOptions) {
    besiege_a_factory("factory", options, None, OF_QUIET_AT_LEAST, make_one);
}

fn batches_are_ours_among_strangers(options: PairOptions) {
    besiege_a_factory("batch", options, None, OF_QUIET_AT_LEAST, make_a_batch);
}

/// These strangers send with our hop count, so they pass the gate.
fn factory_pairs_are_ours_among_strangers_that_pass(options: PairOptions) {
    besiege_a_factory("factory, no gate", options, Some(FULL_HOPS), 0.0, make_one);
}

fn batches_are_ours_among_strangers_that_pass(options: PairOptions) {
    besiege_a_factory("batch, no gate", options, Some(FULL_HOPS), 0.0, make_a_batch);
}

fn make_one(factory: &PairFactory) -> Vec<Pair> {
    vec![factory.pair_blocking().unwrap()]
}

fn make_a_batch(factory: &PairFactory) -> Vec<Pair> {
    factory.pairs_blocking(BATCH).unwrap()
}

fn besiege_a_factory(
    way: &str,
    options: PairOptions,
    hops: Option<u32>,
    of_quiet: f64,
    make: impl Fn(&PairFactory) -> Vec<Pair>,
) {
    under_siege(way, || {
        let (factory, mut siege) = (options.factory().unwrap(), Siege::new(Order::Everything, hops));
        siege.of_quiet = of_quiet;
        siege.hold(|| make(&factory));
        siege.assert_strangers_are_counted(&factory);
        siege
    });
}

fn pairs_on_other_addresses_are_ours_among_strangers(options: PairOptions) {
    alone_in_a_network(|| {
        attack_if_told();
        for address in [IpAddr::from(Ipv4Addr::new(127, 0, 0, 2)), Ipv6Addr::LOCALHOST.into()] {
            let options = options.clone().address(address);
            let (factory, mut siege) = (options.factory().unwrap(), Siege::new(Order::Everything, None));
            siege.rounds = 2;
            siege.hold(|| {
                let mut pairs = factory.pairs_blocking(BATCH).unwrap();
                pairs.push(factory.pair_blocking().unwrap());
                pairs.push(options.make_pair_blocking().unwrap());
                pairs
            });
            siege.assert_strangers_came();
            assert!(factory.stats().strangers > 0, "{:?}", factory.stats());
        }
    });
}

fn strangers_that_refill_the_backlog_delay_no_call_too_long(options: PairOptions) {
    alone_in_a_network(|| {
        attack_if_told();
        let options = options.timeout(Duration::from_millis(100));
        let factory = options.factory().unwrap();
        let mut attackers = Attackers::new(ATTACKERS, Some(FULL_HOPS));
        attackers.tell(&Order::Hoard);
        eventually("strangers come", || factory.stats().strangers > 0);
        for _ in 0..FEW {
            assert_in_time(|| factory.pair_blocking());
            assert_in_time(|| options.make_pair_blocking());
        }
        attackers.tell(&Order::Rest);
        assert_is_our_own(factory.pair_blocking().unwrap());
        assert_is_our_own(options.make_pair_blocking().unwrap());
    });
}

#[test]
fn a_stranger_reset_before_it_looks_has_connected() {
    // Alone, because a child that another test starts would keep the listener open for a moment.
    alone(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let stranger = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        stranger.set_nonblocking(true).unwrap();
        let _ = stranger.connect(&target.into()); // in progress
        let accepted = Socket::from(listener.accept().unwrap().0);
        accepted.set_linger(Some(Duration::ZERO)).unwrap();
        drop((accepted, listener));
        assert_eq!(is_through(&stranger, target), Some(true));
        let unconnected = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert_eq!(is_through(&unconnected, target), None);
    });
}

/// Runs a siege in a network of its own, and prints the result if RINGPAIR_SIEGE_PAIRS is set.
fn under_siege(way: &str, siege: impl FnOnce() -> Siege) {
    alone_in_a_network(|| {
        attack_if_told();
        let siege = siege();
        if let Some(report) = std::env::var_os("RINGPAIR_SIEGE_REPORT") {
            let engine = common::test_name();
            let line = format!("{} {way}: {}\n", engine.split(':').next().unwrap(), siege.told());
            fs::OpenOptions::new().append(true).open(report).unwrap().write_all(line.as_bytes()).unwrap();
            siege.assert_pace();
        }
    });
}

/// Pairs made without and among strangers, in turn.
struct Siege {
    attackers: Attackers,
    order: Order,
    /// The minimum rate among strangers, relative to the rate while they rest.
    of_quiet: f64,
    rounds: usize,
    /// Durations: while the strangers rest, while they attack another listener, and while they attack ours.
    quiet: Vec<Duration>,
    peace: Vec<Duration>,
    war: Vec<Duration>,
    /// What happened while they attacked us.
    pairs: u64,
    toll: Toll,
    counters: Counters,
    /// The strangers that the factory counted. One-shots count none.
    strangers: u64,
}

impl Siege {
    fn new(order: Order, hops: Option<u32>) -> Siege {
        let pairs = std::env::var("RINGPAIR_SIEGE_PAIRS").map_or(FEW, |pairs| pairs.parse().unwrap());
        let (quiet, peace, war) = (Vec::new(), Vec::new(), Vec::new());
        let (toll, counters) = (Toll::default(), Counters::default());
        let (attackers, rounds) = (Attackers::new(ATTACKERS, hops), pairs.div_ceil(SPELL));
        Siege { attackers, order, of_quiet: 0.0, rounds, quiet, peace, war, pairs: 0, toll, counters, strangers: 0 }
    }

    /// The undisturbed rate is measured while the same processes attack another listener, so that their CPU time does not count.
    ///
    /// Continues until a stranger has connected: hitting a listener that exists for microseconds is chance.
    fn hold(&mut self, mut make: impl FnMut() -> Vec<Pair>) {
        let most = self.rounds * MORE_ROUNDS_AT_MOST;
        while self.war.len() < self.rounds || (self.toll.completed == 0 && self.war.len() < most) {
            let quiet = spell(&mut make).1;
            self.quiet.push(quiet);

            let decoy = TcpListener::bind("127.0.0.1:0").unwrap();
            self.attackers.tell(&Order::One(decoy.local_addr().unwrap()));
            let peace = spell(&mut make).1;
            self.peace.push(peace);
            let toll = self.attackers.tell(&Order::Rest);
            drop(decoy);

            let counters = Counters::now();
            self.attackers.tell(&self.order);
            let (pairs, war) = spell(&mut make);
            self.war.push(war);
            self.toll += self.attackers.tell(&Order::Rest).since(toll);
            self.counters += Counters::now().since(counters);
            self.pairs += pairs;
        }
        assert_eq!(self.toll.received, 0, "strangers got bytes to read: {:?}", self.toll);
    }

    fn assert_strangers_came(&self) {
        assert!(self.toll.completed > 0, "{:?}", self.toll);
    }

    /// Accepted strangers are counted. Others are reset with their listener, or never connect.
    fn assert_strangers_are_counted(&mut self, factory: &PairFactory) {
        self.assert_strangers_came();
        let stats = factory.stats();
        self.strangers = stats.strangers;
        let told = self.told();
        assert!(stats.strangers > 0, "{told}; {stats:?}");
        assert!(stats.strangers <= self.toll.completed + self.toll.unsettled, "{told}; {stats:?}");
        assert!(stats.pairs >= self.pairs, "{told}; {stats:?}");
    }

    /// Our connects beyond one per pair.
    fn made_again(&self) -> i64 {
        self.counters.connects as i64 - self.toll.attempts as i64 - self.pairs as i64
    }

    /// Connections in a backlog that became neither a pair nor a stranger.
    fn neither(&self) -> i64 {
        self.counters.arrivals as i64 - self.pairs as i64 - self.strangers as i64
    }

    fn assert_pace(&self) {
        let slower = median(&self.war) / median(&self.peace);
        assert!(slower <= SLOWER_AT_MOST, "{}", self.told());
        let of_quiet = median(&self.quiet) / median(&self.war);
        assert!(of_quiet >= self.of_quiet, "{}", self.told());
    }

    fn told(&self) -> String {
        let pace = |other: &[Duration]| median(other) / median(&self.war);
        format!(
            "{} pairs; {} strangers attempted, {} came through, {} counted; {} connects made again, {} connections \
             neither; {} dropped at a full backlog; pace {:.2} of peace, {:.2} of quiet",
            self.pairs,
            self.toll.attempts,
            self.toll.completed,
            self.strangers,
            self.made_again(),
            self.neither(),
            self.counters.dropped,
            pace(&self.peace),
            pace(&self.quiet)
        )
    }
}

/// Returns how many pairs were made, and how long making and closing them took. Checks the pairs outside of that time.
fn spell(make: &mut impl FnMut() -> Vec<Pair>) -> (u64, Duration) {
    let (mut made, mut spent) = (0, Duration::ZERO);
    while made < SPELL {
        let begin = Instant::now();
        let pairs = make();
        spent += begin.elapsed();
        made += pairs.len();
        pairs.into_iter().for_each(assert_is_our_own);
    }
    (made as u64, spent)
}

fn median(spells: &[Duration]) -> f64 {
    let mut sorted = spells.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2].as_secs_f64()
}

/// What the kernel has counted in this network.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    /// Connects that sent a SYN.
    connects: u64,
    /// Connections that came to a listener's backlog and found room.
    arrivals: u64,
    /// SYNs, and last steps of a handshake, that found none.
    dropped: u64,
}

impl Counters {
    fn now() -> Counters {
        let [connects, arrivals] = ["ActiveOpens", "PassiveOpens"].map(|what| netstat("Tcp", what));
        Counters { connects, arrivals, dropped: netstat("TcpExt", "ListenDrops") }
    }

    fn since(self, before: Counters) -> Counters {
        Counters {
            connects: self.connects - before.connects,
            arrivals: self.arrivals - before.arrivals,
            dropped: self.dropped - before.dropped,
        }
    }
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, more: Counters) {
        self.connects += more.connects;
        self.arrivals += more.arrivals;
        self.dropped += more.dropped;
    }
}

/// Makes a pair, or fails at the deadline with the number of strangers. True if it failed.
fn assert_in_time(make: impl FnOnce() -> Result<Pair>) -> bool {
    let begin = Instant::now();
    let made = make();
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    match made {
        Ok(pair) => assert_is_our_own(pair),
        Err(error) => {
            let why = error.source().map(ToString::to_string).unwrap_or_default();
            assert_eq!(error.step(), Step::Timeout, "{why}");
            assert!(why.contains("strangers have been turned away from the listener so far"), "{why}");
            return true;
        }
    }
    false
}

/// Each end gets a secret token from the other end, and no byte before or after it.
fn assert_is_our_own((mut accepted, mut connected): Pair) {
    let [there, back] = ["there", "back"].map(|way| RandomState::new().hash_one(way).to_be_bytes());
    accepted.write_all(&there).unwrap();
    accepted.shutdown(Shutdown::Write).unwrap();
    let mut read = Vec::new();
    connected.read_to_end(&mut read).unwrap();
    assert_eq!(read, there);

    connected.write_all(&back).unwrap();
    drop(connected);
    read.clear();
    assert_eq!(accepted.read_to_end(&mut read).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(read, back);
}

on_every_engine!(
    one_shots_are_ours_among_strangers,
    factory_pairs_are_ours_among_strangers,
    batches_are_ours_among_strangers,
    factory_pairs_are_ours_among_strangers_that_pass,
    batches_are_ours_among_strangers_that_pass,
    pairs_on_other_addresses_are_ours_among_strangers,
    strangers_that_refill_the_backlog_delay_no_call_too_long,
);

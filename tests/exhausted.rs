//! Ports, locked memory and descriptors run out: a factory continues with fresh ports, and calls wait for the other resources.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod calls;
mod common;

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::time::Duration;

use calls::{CALLS, Pair, assert_is_our_own, poll_once, without_hanging};
use common::{
    alone_in_a_network, alone_with_late_handshakes, assert_descriptors_become, descriptors, eventually,
    leave_all_descriptors, leave_descriptors, on_every_engine, on_the_ring_alone, run, runtime, skip, slow_down_lo,
};
use futures_util::future::join_all;
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Uid, setresuid};
use ringpair::{PairFactory, PairOptions, Step};

/// Four times the ports: connections of one listener can use each port once.
const LIVE: usize = 400;

fn single_pairs_go_on_past_the_ports(options: PairOptions) {
    with_a_hundred_ports(|| {
        let factory = options.factory().unwrap();
        let pairs: Vec<Pair> = (0..LIVE).map(|_| factory.pair_blocking().unwrap()).collect();
        pairs.into_iter().for_each(assert_is_our_own);
    });
}

fn batches_go_on_past_the_ports(options: PairOptions) {
    with_a_hundred_ports(|| {
        let factory = options.factory().unwrap();
        let pairs: Vec<Pair> = (0..LIVE / 40).flat_map(|_| factory.pairs_blocking(40).unwrap()).collect();
        assert_eq!(pairs.len(), LIVE);
        pairs.into_iter().for_each(assert_is_our_own);
    });
}

fn a_batch_goes_on_past_the_ports(options: PairOptions) {
    with_a_hundred_ports(|| {
        let pairs: Vec<Pair> = options.factory().unwrap().pairs_blocking(LIVE).unwrap();
        pairs.into_iter().for_each(assert_is_our_own);
    });
}

fn all_calls_of_a_factory_go_on_past_the_ports(options: PairOptions) {
    with_a_hundred_ports(|| {
        let factory = options.factory().unwrap();
        let mut pairs = Vec::new();
        for (name, call) in CALLS.into_iter().filter(|(name, _)| !name.starts_with("make_pair")).cycle() {
            pairs.extend(call(&options, &factory).expect(name));
            if pairs.len() >= LIVE {
                break;
            }
        }
        pairs.into_iter().for_each(assert_is_our_own);
    });
}

fn with_a_hundred_ports(body: impl FnOnce()) {
    alone_in_a_network(|| {
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40099").unwrap();
        leave_all_descriptors();
        body();
    });
}

/// Eight rings fit into the locked memory, and twenty calls are under way at once.
fn threads_take_turns_when_rings_fill_the_locked_memory(options: PairOptions) {
    with_little_locked_memory(|| {
        let factory = options.factory().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..5).for_each(|_| assert_is_our_own(factory.pair_blocking().unwrap())));
            }
        });
        assert_eq!(factory.stats().pairs, 100);
    });
}

fn tasks_take_turns_when_rings_fill_the_locked_memory(options: PairOptions) {
    with_little_locked_memory(|| {
        let factory = options.factory().unwrap();
        for _ in 0..3 {
            let pairs = runtime().block_on(join_all((0..20).map(|_| factory.pair())));
            pairs.into_iter().for_each(|pair| assert_is_our_own(pair.unwrap()));
        }
    });
}

/// What an ordinary user could lock before Linux 5.16.
const LITTLE: u64 = 64 << 10;

/// Runs `body` as a user without privileges, on a link so slow that calls that begin at the same time are all under way.
fn with_little_locked_memory(body: impl FnOnce()) {
    alone_with_late_handshakes(|| {
        if !slow_down_lo("2mbit") {
            return;
        }
        // A user of its own, because locked memory is counted per user.
        let user = Uid::from_raw(10_000 + std::process::id() % 50_000);
        if let Err(errno) = setresuid(user, user, user) {
            return skip(&format!("this process cannot become another user: {errno}"));
        }
        set_dumpable(true).unwrap(); // otherwise /proc/self still belongs to root
        limit_locked_memory(0);
        match common::on_the_ring().factory() {
            Ok(_) => return skip("this kernel does not count what a ring locks"),
            Err(error) => assert_eq!(error.step(), Step::Ring, "{error:?}"),
        }
        limit_locked_memory(LITTLE);
        body();
    });
}

fn limit_locked_memory(bytes: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap();
    assert!(bytes <= hard, "no more than {hard} bytes can be locked here");
    setrlimit(Resource::RLIMIT_MEMLOCK, bytes, hard).unwrap();
}

fn async_calls_wait_for_descriptors_of_other_calls(options: PairOptions) {
    while_packets_are_lost(&options, |factory| {
        let runtime = runtime();
        let _inside = runtime.enter();
        let mut first = Box::pin(factory.pair());
        assert!(poll_once(&mut first).is_pending());
        leave_descriptors(0);
        let mut others: Vec<_> = (0..9).map(|_| Box::pin(factory.pair())).collect();
        for other in &mut others {
            let polled = poll_once(other);
            assert!(polled.is_pending(), "{polled:?}");
        }
        leave_all_descriptors();
        lose_no_packets();
        others.push(first);
        let pairs = runtime.block_on(join_all(others));
        pairs.into_iter().for_each(|pair| assert_is_our_own(pair.unwrap()));
    });
}

fn blocking_calls_wait_for_descriptors_of_other_calls(options: PairOptions) {
    while_packets_are_lost(&options, |factory| {
        let begin = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (sender, started) = channel();
            let make = |sender: std::sync::mpsc::Sender<File>| {
                sender.send(File::open("/proc/thread-self/stat").unwrap()).unwrap();
                while !begin.load(Relaxed) {
                    std::thread::yield_now();
                }
                assert_is_our_own(factory.pair_blocking().unwrap());
            };
            let runtime = runtime();
            let mut first = Box::pin(factory.pair());
            {
                let _inside = runtime.enter();
                assert!(poll_once(&mut first).is_pending());
            }
            for _ in 0..9 {
                let sender = sender.clone();
                scope.spawn(move || make(sender));
            }
            let mut others: Vec<File> = started.iter().take(9).collect();
            leave_descriptors(0);
            begin.store(true, Relaxed);
            eventually("all others wait", || others.iter_mut().all(is_asleep_or_gone));
            leave_all_descriptors();
            lose_no_packets();
            assert_is_our_own(runtime.block_on(first).unwrap());
        });
        assert_eq!(factory.stats().pairs, 1 + 10, "one of them before packets were lost");
    });
}

/// Whether a thread sleeps, by its open `/proc/thread-self/stat`, because no descriptor is free.
fn is_asleep_or_gone(stat: &mut File) -> bool {
    let mut text = String::new();
    stat.rewind().unwrap();
    let read = stat.read_to_string(&mut text);
    read.is_err() || text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'))
}

/// Runs `body` with a factory whose handshakes are lost. The reactor's thread is running by then.
fn while_packets_are_lost(options: &PairOptions, body: impl FnOnce(Arc<PairFactory>) + Send + 'static) {
    alone_in_a_network(|| {
        let factory = Arc::new(options.clone().timeout(Duration::from_secs(15)).factory().unwrap());
        factory.pair_blocking().map(assert_is_our_own).unwrap();
        run("tc", &["qdisc", "add", "dev", "lo", "root", "blackhole"]);
        let brief = options.clone().timeout(Duration::from_millis(50));
        let open = descriptors();
        let late = runtime().block_on(brief.make_pair::<std::net::TcpStream>()).unwrap_err();
        assert_eq!(late.step(), Step::Timeout);
        assert_descriptors_become(open..=open); // the reactor may hold the runtime's last waker, and so the runtime, a little longer
        without_hanging("a call", move || body(factory));
    });
}

fn lose_no_packets() {
    run("tc", &["qdisc", "del", "dev", "lo", "root"]);
}

on_every_engine!(
    single_pairs_go_on_past_the_ports,
    batches_go_on_past_the_ports,
    a_batch_goes_on_past_the_ports,
    all_calls_of_a_factory_go_on_past_the_ports,
    async_calls_wait_for_descriptors_of_other_calls,
    blocking_calls_wait_for_descriptors_of_other_calls,
);

on_the_ring_alone!(
    threads_take_turns_when_rings_fill_the_locked_memory,
    tasks_take_turns_when_rings_fill_the_locked_memory,
);

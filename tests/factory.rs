//! A factory makes any number of good pairs, changes its listener in time, refuses what is impossible, and counts.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use common::{alone, descriptors, descriptors_of_a_factory, leave_descriptors, limit_descriptors, on_every_engine};
use nix::errno::Errno;
use ringpair::{Backend, End, Linger, PairFactory, PairOptions, Step};

fn assert_is_a_pair((accepted, connected): &(TcpStream, TcpStream)) {
    assert_eq!(accepted.peer_addr().unwrap(), connected.local_addr().unwrap());
    assert_eq!(connected.peer_addr().unwrap(), accepted.local_addr().unwrap());
}

fn assert_adds_up(factory: &PairFactory, pairs: u64) {
    let stats = factory.stats();
    assert_eq!((stats.pairs, stats.strangers), (pairs, 0), "{stats:?}");
    assert_eq!(stats.inline + stats.parked, pairs, "{stats:?}");
}

fn a_factory_turns_to_a_fresh_listener_in_time(options: PairOptions) {
    let factory = options.factory().unwrap();
    let mut listeners = HashSet::new();
    for _ in 0..5_000 {
        let (mut accepted, mut connected) = factory.pair_blocking::<TcpStream>().unwrap();
        listeners.insert(accepted.local_addr().unwrap());
        assert_is_a_pair(&(accepted.try_clone().unwrap(), connected.try_clone().unwrap()));
        accepted.write_all(b"x").unwrap();
        connected.read_exact(&mut [0]).unwrap();
    }
    assert_adds_up(&factory, 5_000);
    assert!(factory.stats().listeners >= 3, "{:?}", factory.stats());
    assert!(listeners.len() >= 2, "the ports of three listeners: {listeners:?}"); // a port may come up again
}

fn listeners_of_the_past_cost_a_factory_no_descriptor(options: PairOptions) {
    alone(|| {
        let before = descriptors();
        let factory = options.linger(Linger::Graceful).factory().unwrap();
        let kept = descriptors_of_a_factory(factory.backend());
        assert_eq!(descriptors(), before + kept);
        for _ in 0..50 {
            factory.pairs_blocking::<OwnedFd>(100).unwrap();
        }
        assert!(factory.stats().listeners >= 3);
        assert_eq!(descriptors(), before + kept);
        drop(factory);
        assert_eq!(descriptors(), before);
    });
}

fn a_batch_has_as_many_pairs_as_asked_for(options: PairOptions) {
    let factory = options.factory().unwrap();
    let mut made = 0;
    for count in [0, 1, 15, 16, 17, 64, 65, 400] {
        let pairs = factory.pairs_blocking::<TcpStream>(count).unwrap();
        assert_eq!(pairs.len(), count);
        pairs.iter().for_each(assert_is_a_pair);
        made += count as u64;
        assert_adds_up(&factory, made);
    }
    common::runtime().block_on(async {
        for count in [0, 1, 15, 16, 17, 64, 65, 400] {
            let pairs = factory.pairs::<TcpStream>(count).await.unwrap();
            assert_eq!(pairs.len(), count);
            pairs.iter().for_each(assert_is_a_pair);
            made += count as u64;
            assert_adds_up(&factory, made);
        }
    });
}

fn a_batch_beyond_the_descriptors_opens_nothing(options: PairOptions) {
    alone(|| {
        let runtime = common::runtime();
        // Would see the first pair, if one were made.
        let options = options.configure(|_: End, _| panic!("a pair was made"));
        let factory = options.factory().unwrap();
        leave_descriptors(200);
        let before = descriptors();
        for count in [101, 1_000_000, usize::MAX / 2, usize::MAX] {
            assert_refused(factory.pairs_blocking::<TcpStream>(count));
            assert_refused(runtime.block_on(factory.pairs::<TcpStream>(count)));
        }
        assert_eq!(descriptors(), before);
        limit_descriptors(0);
        assert_refused(factory.pairs_blocking::<TcpStream>(1));
        assert_eq!(factory.pairs_blocking::<TcpStream>(0).unwrap().len(), 0);
        assert_eq!(factory.stats().pairs, 0);
        drop(runtime);
    });
}

fn assert_refused<T: std::fmt::Debug>(outcome: ringpair::Result<T>) {
    let error = outcome.unwrap_err();
    assert_eq!((error.step(), error.raw_os_error()), (Step::Socket, Some(Errno::EMFILE as i32)));
}

fn a_batch_that_just_fits_the_descriptors_is_made(options: PairOptions) {
    alone(|| {
        let factory = options.factory().unwrap();
        leave_descriptors(200);
        assert_eq!(factory.pairs_blocking::<TcpStream>(100).unwrap().len(), 100);
        assert_refused(factory.pairs_blocking::<TcpStream>(101));
        let held = factory.pairs_blocking::<TcpStream>(99).unwrap();
        let last = factory.pair_blocking::<TcpStream>().unwrap();
        assert_refused(factory.pair_blocking::<TcpStream>());
        drop(last);
        assert_refused(factory.pairs_blocking::<TcpStream>(2));
        factory.pair_blocking::<TcpStream>().unwrap();
        drop(held);
        assert_eq!(factory.pairs_blocking::<TcpStream>(100).unwrap().len(), 100);
    });
}

fn pairs_outlive_their_factory(options: PairOptions) {
    let factory = options.factory().unwrap();
    let pairs = factory.pairs_blocking::<TcpStream>(10).unwrap();
    drop(factory);
    for (mut accepted, mut connected) in pairs {
        connected.write_all(b"ping").unwrap();
        accepted.read_exact(&mut [0; 4]).unwrap();
        accepted.write_all(b"pong").unwrap();
        connected.read_exact(&mut [0; 4]).unwrap();
        drop(accepted);
        assert_eq!(connected.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

fn a_fresh_factory_has_one_listener_and_nothing_else_to_tell(options: PairOptions) {
    let stats = options.factory().unwrap().stats();
    assert_eq!((stats.pairs, stats.inline, stats.parked), (0, 0, 0));
    assert_eq!((stats.strangers, stats.listeners), (0, 1));
}

fn a_stranger_is_reset_and_counted_and_no_pair_is_made_with_it(options: PairOptions) {
    let factory = options.factory().unwrap();
    let (accepted, _connected) = factory.pair_blocking::<TcpStream>().unwrap();
    let door = accepted.local_addr().unwrap();
    let mut strangers: Vec<_> = (0..5).map(|_| TcpStream::connect(door).unwrap()).collect();
    for pair in factory.pairs_blocking::<TcpStream>(40).unwrap() {
        assert_is_a_pair(&pair);
        assert!(strangers.iter().all(|stranger| stranger.local_addr().unwrap() != pair.0.peer_addr().unwrap()));
    }
    strangers.push(TcpStream::connect(door).unwrap());
    assert_eq!((factory.stats().strangers, factory.stats().pairs), (6, 41));
    for mut stranger in strangers {
        assert_eq!(stranger.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

/// What people print when a test of theirs fails must not fail in turn, and should tell what they chose.
fn public_types_can_be_printed(options: PairOptions) {
    let options = options.linger(Linger::Graceful).configure(|_, _| Ok(()));
    let factory = options.factory().unwrap();
    factory.pair_blocking::<TcpStream>().unwrap();
    for (printed, tells) in [
        (format!("{options:?}"), "Graceful"),
        (format!("{options:#?}"), "127.0.0.1"),
        (format!("{factory:?}"), "PairFactory"),
        (format!("{:?}", factory.stats()), "pairs: 1"),
        (format!("{:?}", [End::Accepted, End::Connected]), "Connected"),
        (format!("{:?}", Step::Verify), "Verify"),
        (format!("{:?}", factory.stream::<TcpStream>(17)), "17"),
        (format!("{:?}", options.address([10, 0, 0, 1].into()).factory().unwrap_err()), "10.0.0.1"),
    ] {
        assert!(printed.contains(tells), "{printed}");
    }
}

on_every_engine!(
    a_factory_turns_to_a_fresh_listener_in_time,
    listeners_of_the_past_cost_a_factory_no_descriptor,
    a_batch_has_as_many_pairs_as_asked_for,
    a_batch_beyond_the_descriptors_opens_nothing,
    a_batch_that_just_fits_the_descriptors_is_made,
    pairs_outlive_their_factory,
    a_fresh_factory_has_one_listener_and_nothing_else_to_tell,
    a_stranger_is_reset_and_counted_and_no_pair_is_made_with_it,
    public_types_can_be_printed,
);

#[test]
fn a_factory_tells_the_engine_in_use_and_never_auto() {
    if common::ring_is_there() {
        assert_eq!(PairOptions::new().factory().unwrap().backend(), Backend::Uring);
        assert_eq!(common::on_the_ring().factory().unwrap().backend(), Backend::Uring);
    }
}

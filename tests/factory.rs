//! A factory makes any number of good pairs, changes its listener in time, refuses what is impossible, and counts.
#![allow(clippy::unwrap_used)]

mod common;
mod every_runtime;

use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;

use common::{alone, descriptors, descriptors_of_a_factory, leave_descriptors, limit_descriptors, on_every_engine};
use every_runtime::{
    Runtime, assert_becomes, assert_is_a_pair, assert_is_reset, assert_serves, descriptors_once_used, local,
    on_every_runtime, pause, peer,
};
use nix::errno::Errno;
use ringpair::{Backend, End, Linger, PairFactory, PairOptions, Step};

fn assert_adds_up(factory: &PairFactory, pairs: u64) {
    let stats = factory.stats();
    assert_eq!((stats.pairs, stats.strangers), (pairs, 0), "{stats:?}");
    assert_eq!(stats.inline + stats.parked, pairs, "{stats:?}");
}

fn a_factory_turns_to_a_fresh_listener_in_time<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        let factory = options.factory().unwrap();
        let mut listeners = HashSet::new();
        for made in 0..5_000 {
            let mut pair = R::pair(&factory).await.unwrap();
            listeners.insert(local(&pair.0));
            assert_is_a_pair(&pair);
            if made % 50 == 0 {
                assert_serves::<R>(&mut pair).await;
            }
        }
        assert_adds_up(&factory, 5_000);
        assert!(factory.stats().listeners >= 3, "{:?}", factory.stats());
        assert!(listeners.len() >= 2, "the ports of three listeners: {listeners:?}"); // a port may come up again
    });
}

fn listeners_of_the_past_cost_a_factory_no_descriptor<R: Runtime>(options: PairOptions) {
    alone(|| {
        R::block_on(async {
            let before = descriptors_once_used::<R>(&options).await;
            let factory = options.linger(Linger::Graceful).factory().unwrap();
            let kept = descriptors_of_a_factory(factory.backend());
            assert_eq!(descriptors(), before + kept);
            for _ in 0..50 {
                drop(R::pairs(&factory, 100).await.unwrap());
                assert_becomes::<R>(before + kept..=before + kept).await;
            }
            assert!(factory.stats().listeners >= 3);
            drop(factory);
            assert_eq!(descriptors(), before);
        });
    });
}

fn a_batch_has_as_many_pairs_as_asked_for<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        let factory = options.factory().unwrap();
        let mut made = 0;
        for count in [0, 1, 15, 16, 17, 64, 65, 200] {
            let pairs = R::pairs(&factory, count).await.unwrap();
            assert_eq!(pairs.len(), count);
            pairs.iter().for_each(assert_is_a_pair);
            made += count as u64;
            assert_adds_up(&factory, made);
        }
    });
}

fn a_batch_beyond_the_descriptors_opens_nothing<R: Runtime>(options: PairOptions) {
    alone(|| {
        R::block_on(async {
            descriptors_once_used::<R>(&options).await;
            // Would see the first pair, if one were made.
            let options = options.configure(|_: End, _| panic!("a pair was made"));
            let factory = options.factory().unwrap();
            leave_descriptors(200);
            let before = descriptors();
            for count in [101, 1_000_000, usize::MAX / 2, usize::MAX] {
                assert_refused(R::pairs(&factory, count).await);
            }
            assert_eq!(descriptors(), before);
            limit_descriptors(0);
            assert_refused(R::pairs(&factory, 1).await);
            assert_eq!(R::pairs(&factory, 0).await.unwrap().len(), 0);
            assert_eq!(factory.stats().pairs, 0);
        });
    });
}

fn assert_refused<T>(outcome: ringpair::Result<T>) {
    let error = outcome.map(drop).unwrap_err();
    assert_eq!((error.step(), error.raw_os_error()), (Step::Socket, Some(Errno::EMFILE as i32)));
}

fn a_batch_that_just_fits_the_descriptors_is_made<R: Runtime>(options: PairOptions) {
    alone(|| {
        R::block_on(async {
            descriptors_once_used::<R>(&options).await;
            let factory = options.factory().unwrap();
            leave_descriptors(200);
            let before = descriptors();
            assert_eq!(R::pairs(&factory, 100).await.unwrap().len(), 100);
            await_room_for_two().await;
            assert_becomes::<R>(before..=before).await;
            assert_refused(R::pairs(&factory, 101).await);
            let held = R::pairs(&factory, 99).await.unwrap();
            let last = R::pair(&factory).await.unwrap();
            assert_refused(R::pair(&factory).await);
            drop(last);
            await_room_for_two().await;
            assert_refused(R::pairs(&factory, 2).await);
            R::pair(&factory).await.unwrap();
            drop(held);
            await_room_for_two().await;
            assert_becomes::<R>(before..=before).await;
            assert_eq!(R::pairs(&factory, 100).await.unwrap().len(), 100);
        });
    });
}

/// Waits until two more descriptors can be opened: monoio closes its streams by its ring, when its task waits.
async fn await_room_for_two() {
    let open = || File::open("/dev/null");
    for _ in 0..10_000 {
        if open().and_then(|first| open().map(|second| (first, second))).is_ok() {
            return;
        }
        pause().await;
    }
    panic!("a dropped pair is not closed");
}

fn pairs_outlive_their_factory<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        let factory = options.factory().unwrap();
        let pairs = R::pairs(&factory, 10).await.unwrap();
        drop(factory);
        for mut pair in pairs {
            assert_serves::<R>(&mut pair).await;
            let (accepted, mut connected) = pair;
            drop(accepted);
            assert_is_reset::<R>(&mut connected).await;
        }
    });
}

fn a_fresh_factory_has_one_listener_and_nothing_else_to_tell(options: PairOptions) {
    let stats = options.factory().unwrap().stats();
    assert_eq!((stats.pairs, stats.inline, stats.parked), (0, 0, 0));
    assert_eq!((stats.strangers, stats.listeners), (0, 1));
}

fn a_stranger_is_reset_and_counted_and_no_pair_is_made_with_it<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        let factory = options.factory().unwrap();
        let (accepted, _connected) = R::pair(&factory).await.unwrap();
        let door = local(&accepted);
        let mut strangers: Vec<_> = (0..5).map(|_| TcpStream::connect(door).unwrap()).collect();
        for pair in R::pairs(&factory, 40).await.unwrap() {
            assert_is_a_pair(&pair);
            assert!(strangers.iter().all(|stranger| local(stranger) != peer(&pair.0)));
        }
        strangers.push(TcpStream::connect(door).unwrap());
        assert_eq!((factory.stats().strangers, factory.stats().pairs), (6, 41));
        for mut stranger in strangers {
            assert_eq!(stranger.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    });
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

on_every_runtime!(
    a_factory_turns_to_a_fresh_listener_in_time,
    listeners_of_the_past_cost_a_factory_no_descriptor,
    a_batch_has_as_many_pairs_as_asked_for,
    a_batch_beyond_the_descriptors_opens_nothing,
    a_batch_that_just_fits_the_descriptors_is_made,
    pairs_outlive_their_factory,
    a_stranger_is_reset_and_counted_and_no_pair_is_made_with_it,
);

/// These make no stream that matters.
mod without_a_runtime {
    use super::*;

    on_every_engine!(a_fresh_factory_has_one_listener_and_nothing_else_to_tell, public_types_can_be_printed);
}

#[test]
fn a_factory_tells_the_engine_in_use_and_never_auto() {
    if common::ring_is_there() {
        assert_eq!(PairOptions::new().factory().unwrap().backend(), Backend::Uring);
        assert_eq!(common::on_the_ring().factory().unwrap().backend(), Backend::Uring);
    }
}

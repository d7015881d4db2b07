//! What a process keeps between pairs works in both processes after a fork, and a child takes nothing from its parent.
#![allow(clippy::unwrap_used)]
#![allow(unsafe_code)] // forks a process whose other thread only waits

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{alone, descriptors, on_every_engine};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use ringpair::{PairFactory, PairOptions};

/// Runs `act` in a child, whose exit status shows whether it succeeded.
fn in_a_child(act: impl FnOnce()) -> Pid {
    // SAFETY: the other threads of this process wait for this one, and hold no lock that the child needs.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let went_well = catch_unwind(AssertUnwindSafe(act)).is_ok();
            // SAFETY: ends the process, and accesses no memory.
            unsafe { nix::libc::_exit(i32::from(!went_well)) }
        }
    }
}

fn assert_went_well(child: Pid) {
    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
}

fn assert_is_a_pair((mut accepted, mut connected): (TcpStream, TcpStream)) {
    let token = std::process::id().to_be_bytes();
    let mut read = token.map(|byte| !byte);
    accepted.write_all(&token).unwrap();
    connected.read_exact(&mut read).unwrap();
    assert_eq!(read, token);
}

/// Makes single pairs, and a batch larger than one submission.
fn assert_serves(factory: &PairFactory) {
    for _ in 0..50 {
        assert_is_a_pair(factory.pair_blocking().unwrap());
    }
    for _ in 0..3 {
        factory.pairs_blocking(40).unwrap().into_iter().for_each(assert_is_a_pair);
    }
}

fn a_child_that_drops_a_factory_leaves_the_parents_intact(options: PairOptions) {
    alone(|| {
        let factory = options.factory().unwrap();
        assert_is_a_pair(factory.pair_blocking().unwrap());
        let before = descriptors();
        let mut factory = Some(factory);
        for _ in 0..3 {
            let children = [(); 2].map(|()| {
                in_a_child(|| {
                    drop(factory.take());
                    assert!(descriptors() < before);
                })
            });
            children.into_iter().for_each(assert_went_well);
            assert_serves(factory.as_ref().unwrap());
        }
        let stats = factory.as_ref().unwrap().stats();
        assert_eq!((stats.pairs, stats.strangers, stats.listeners), (1 + 3 * 170, 0, 1));
        assert_eq!(descriptors(), before);
    });
}

fn a_factory_works_in_a_process_and_its_child_at_once(options: PairOptions) {
    alone(|| {
        let factory = options.factory().unwrap();
        assert_is_a_pair(factory.pair_blocking().unwrap());
        let before = descriptors();
        let child = in_a_child(|| {
            assert_serves(&factory);
            assert_eq!(descriptors(), before, "the child keeps as much as its parent");
            assert_eq!(factory.stats().strangers, 0);
        });
        assert_serves(&factory);
        assert_went_well(child);
        assert_serves(&factory);
        let stats = factory.stats();
        assert_eq!((stats.pairs, stats.strangers, stats.listeners), (1 + 2 * 170, 0, 1));
    });
}

/// The thread keeps its engine between one-shots.
fn one_shots_work_in_a_process_and_its_child_at_once(options: PairOptions) {
    alone(|| {
        let make = || (0..50).for_each(|_| assert_is_a_pair(options.make_pair_blocking().unwrap()));
        make();
        let before = descriptors();
        let child = in_a_child(|| {
            make();
            assert_eq!(descriptors(), before);
        });
        make();
        assert_went_well(child);
        make();
        assert_eq!(descriptors(), before);
    });
}

fn a_stranger_at_the_parents_listener_is_counted_there(options: PairOptions) {
    alone(|| {
        let factory = options.factory().unwrap();
        let (accepted, _) = factory.pair_blocking::<TcpStream>().unwrap();
        let mut stranger = TcpStream::connect(accepted.local_addr().unwrap()).unwrap();
        assert_went_well(in_a_child(|| {
            assert_eq!(factory.stats().strangers, 0);
            assert_serves(&factory);
        }));
        assert_eq!(factory.stats().strangers, 1);
        assert_eq!(stranger.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    });
}

on_every_engine!(
    a_child_that_drops_a_factory_leaves_the_parents_intact,
    a_factory_works_in_a_process_and_its_child_at_once,
    one_shots_work_in_a_process_and_its_child_at_once,
    a_stranger_at_the_parents_listener_is_counted_there,
);

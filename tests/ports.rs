//! One-shots that close with FIN can be made without end, even when every port for listeners is in TIME_WAIT.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};

use common::{alone_in_a_network, on_every_engine, sockstat};
use ringpair::{Linger, PairOptions, Step};

/// A hundred ports for connects, including the first, and a hundred for listeners.
const FIRST: u16 = 40_000;
const PORTS: u16 = 200;
const MANY: u64 = 1000;

fn few_ports_from(first: u16) {
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", format!("{first} {}", first + PORTS - 1)).unwrap();
}

/// More connections are in TIME_WAIT than there are ports, though not all: a new one may replace an old one.
fn assert_in_time_wait() {
    let count = sockstat("tw");
    assert!(count > u64::from(PORTS), "{count}");
}

/// Makes a pair that leaves a TIME_WAIT, and returns the listener's port.
fn graceful(options: &PairOptions) -> ringpair::Result<u16> {
    let (accepted, connected) = options.make_pair_blocking::<TcpStream>()?;
    let port = accepted.local_addr().unwrap().port();
    drop(accepted);
    drop(connected);
    Ok(port)
}

fn outlast_the_ports_from(first: u16, options: PairOptions) {
    alone_in_a_network(|| {
        few_ports_from(first);
        let options = options.linger(Linger::Graceful);
        let ports: Vec<u16> = (0..MANY).map(|_| graceful(&options).unwrap()).collect();
        assert_in_time_wait();
        assert!(ports.iter().all(|port| (first..first + PORTS).contains(port)), "{ports:?}");
        let of_connects: HashSet<u16> = ports.iter().copied().filter(|port| port % 2 == first % 2).collect();
        assert!(of_connects.len() <= 1, "one is enough to notice: {of_connects:?}");
    });
}

fn one_shots_outlast_the_ports_for_listeners(options: PairOptions) {
    outlast_the_ports_from(FIRST, options);
}

fn one_shots_outlast_a_range_that_begins_odd(options: PairOptions) {
    outlast_the_ports_from(FIRST + 1, options);
}

/// Listeners of `std` use up the lower half of the ports for listeners, where half of the kernel's searches begin.
fn one_shots_avoid_ports_that_others_left_in_time_wait(options: PairOptions) {
    alone_in_a_network(|| {
        let low = (32_769..32_769 + 14_116).step_by(2);
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "32768 60999").unwrap();
        for port in low.clone() {
            let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
            let connected = TcpStream::connect(("127.0.0.1", port)).unwrap();
            drop(listener.accept().unwrap());
            drop(connected);
        }
        let mut ports =
            (0..MANY).map(|_| options.make_pair_blocking::<TcpStream>().unwrap().0.local_addr().unwrap().port());
        assert!(ports.any(|port| low.clone().any(|low| low == port)), "the kernel has chosen all");
    });
}

fn factories_outlast_the_ports_for_listeners(options: PairOptions) {
    alone_in_a_network(|| {
        few_ports_from(FIRST);
        let options = options.linger(Linger::Graceful);
        for _ in 0..MANY {
            let (accepted, connected) = options.factory().unwrap().pair_blocking::<TcpStream>().unwrap();
            drop(accepted);
            drop(connected);
        }
        assert_in_time_wait();
    });
}

fn threads_share_the_last_ports(options: PairOptions) {
    alone_in_a_network(|| {
        few_ports_from(FIRST);
        let options = options.linger(Linger::Graceful);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..MANY / 4).for_each(|_| assert_ne!(graceful(&options).unwrap(), 0)));
            }
        });
        assert_in_time_wait();
    });
}

/// The kernel never chooses reserved ports, and neither may listeners that name their port.
fn a_reserved_port_is_never_used(options: PairOptions) {
    alone_in_a_network(|| {
        few_ports_from(FIRST);
        fs::write("/proc/sys/net/ipv4/ip_local_reserved_ports", "40001-40089,40151").unwrap();
        let options = options.linger(Linger::Graceful);
        for _ in 0..MANY {
            let port = graceful(&options).unwrap();
            assert!(!(40_001..=40_089).contains(&port) && port != 40_151, "{port} is reserved");
        }
    });
}

/// Without `SO_REUSEADDR`, or with ports in use by listeners, no port is left.
fn ports_in_use_are_an_error(options: PairOptions) {
    alone_in_a_network(|| {
        few_ports_from(FIRST);
        let listeners: Vec<TcpListener> =
            (FIRST..FIRST + PORTS).map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap()).collect();
        let error = graceful(&options).unwrap_err();
        assert_eq!((error.step(), error.kind()), (Step::Bind, ErrorKind::AddrInUse));
        drop(listeners);
        graceful(&options).unwrap();

        let options = options.linger(Linger::Graceful).reuse_address(false);
        let refused = (0..MANY).find_map(|_| graceful(&options).err()).unwrap();
        assert!(matches!(refused.step(), Step::Bind | Step::Connect), "{refused:?}");
    });
}

on_every_engine!(
    one_shots_outlast_the_ports_for_listeners,
    one_shots_outlast_a_range_that_begins_odd,
    one_shots_avoid_ports_that_others_left_in_time_wait,
    factories_outlast_the_ports_for_listeners,
    threads_share_the_last_ports,
    a_reserved_port_is_never_used,
    ports_in_use_are_an_error,
);

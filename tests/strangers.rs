//! Connections of other processes are reset and counted. They are never handed out, and cannot hold up a pair.
#![allow(clippy::unwrap_used)]

mod attackers;
mod calls;
mod common;
mod every_runtime;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::time::Duration;

use attackers::{FULL_HOPS, is_through, send_with_hops};
use calls::assert_is_our_own;
use common::{
    alone, alone_in_a_network, alone_with_late_handshakes, descriptors, descriptors_of_more_makers, eventually,
    is_asleep, netstat, on_every_engine, run,
};
use every_runtime::{Runtime, assert_becomes, assert_serves, descriptors_once_used, local, on_every_runtime, pause};
use nix::libc::{IP_MINTTL, IPPROTO_IP, IPPROTO_IPV6, IPV6_MINHOPCOUNT};
use ringpair::{Linger, PairFactory, PairOptions, PairSocket, Step};
use socket2::{Domain, SockRef, Socket, Type};

/// Less than the second after which the kernel tries a dropped handshake again: a pair that is made in this time has not
/// waited for that.
const NO_SECOND_TRY: Duration = Duration::from_millis(900);

fn a_stranger_who_came_first_is_reset_and_counted<R: Runtime>(options: PairOptions) {
    alone(|| {
        R::block_on(async {
            for linger in [Linger::Reset, Linger::Graceful] {
                let factory = options.clone().linger(linger).factory().unwrap();
                let listener = listener_of(&factory);
                let mut strangers: Vec<_> = (0..5).map(|_| TcpStream::connect(listener).unwrap()).collect();
                strangers.iter_mut().for_each(|stranger| stranger.write_all(b"let me in").unwrap());
                assert_serves::<R>(&mut R::pair(&factory).await.unwrap()).await;
                assert_eq!(factory.stats().strangers, 5);
                for mut stranger in strangers {
                    assert_eq!(stranger.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
                }
            }
        });
    });
}

fn a_stranger_who_has_left_already_is_counted_too<R: Runtime>(options: PairOptions) {
    alone(|| {
        R::block_on(async {
            let factory = options.factory().unwrap();
            for _ in 0..3 {
                let stranger = TcpStream::connect(listener_of(&factory)).unwrap();
                ringpair::abort(&stranger).unwrap();
            }
            assert_serves::<R>(&mut R::pair(&factory).await.unwrap()).await;
            assert_eq!(factory.stats().strangers, 3);
        });
    });
}

/// A stranger that resets its connection frees its port, and our next connect may get that port.
fn a_stranger_that_left_is_not_taken_for_our_connect<R: Runtime>(options: PairOptions) {
    alone_in_a_network(|| {
        R::block_on(async {
            let factory = options.factory().unwrap();
            let listener = listener_of(&factory);
            std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40001").unwrap();
            // Of two in a batch one is given each of these ports, in whatever order.
            let cases = [(40000, 1), (40000, 1), (40000, 2), (40001, 2), (40000, 2), (40001, 2)];
            for (strangers, (port, count)) in (1..).zip(cases) {
                let stranger = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                stranger.set_linger(Some(Duration::ZERO)).unwrap();
                stranger.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
                stranger.connect(&listener.into()).unwrap();
                drop(stranger);
                let mut pairs = match count {
                    1 => vec![R::pair(&factory).await.unwrap()],
                    _ => R::pairs(&factory, count).await.unwrap(),
                };
                let from_there = pairs.iter().any(|(_, connected)| local(connected).port() == port);
                assert!(from_there, "they came from elsewhere, and this proves nothing");
                for pair in &mut pairs {
                    assert_serves::<R>(pair).await;
                }
                assert_eq!(factory.stats().strangers, strangers);
                let ports = pairs.iter().map(|(_, connected)| local(connected).port()).collect::<Vec<_>>();
                drop(pairs);
                closed::<R>(&ports).await;
            }
        });
    });
}

/// Waits until no socket has these ports: monoio closes its streams by its ring, when its task waits.
async fn closed<R: Runtime>(ports: &[u16]) {
    let begin = std::time::Instant::now();
    while begin.elapsed() < Duration::from_secs(20) {
        if !ports.iter().any(|port| is_in_use(*port)) {
            return;
        }
        pause().await;
    }
    panic!("a dropped end keeps one of the ports {ports:?}");
}

/// A stranger that closes with FIN frees its port after a while, but its connection still waits at our listener. Our late connect
/// from the same port must not be taken for it.
fn a_stranger_on_our_port_is_not_taken_for_our_connect(options: PairOptions) {
    alone_in_a_network(|| {
        // One port for the listener, one for the connecting end.
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40001").unwrap();
        std::fs::write("/proc/sys/net/ipv4/tcp_fin_timeout", "1").unwrap();
        let factory = options.factory().unwrap();
        let pair = factory.pair_blocking::<TcpStream>().unwrap();
        let (listener, port) = (pair.0.local_addr().unwrap(), pair.1.local_addr().unwrap());
        drop(pair);
        let mut stranger = TcpStream::connect(listener).unwrap();
        assert_eq!(stranger.local_addr().unwrap(), port);
        stranger.write_all(b"let me in").unwrap();
        drop(stranger);
        eventually("its own side has forgotten it", || !is_in_use(port.port()));

        run("tc", &["qdisc", "add", "dev", "lo", "root", "blackhole"]);
        let thread = AtomicI32::new(0);
        let pair = std::thread::scope(|scope| {
            let making = scope.spawn(|| {
                thread.store(nix::unistd::gettid().as_raw(), Relaxed);
                factory.pair_blocking::<TcpStream>()
            });
            eventually("the pair is waited for", || is_asleep(thread.load(Relaxed)));
            run("tc", &["qdisc", "del", "dev", "lo", "root"]);
            making.join().unwrap().unwrap()
        });
        assert_eq!(pair.1.local_addr().unwrap(), port, "it came from elsewhere, and this proves nothing");
        assert_is_our_own(pair);
        assert_eq!(factory.stats().strangers, 1);
    });
}

fn the_last_stranger_is_counted_by_stats<R: Runtime>(options: PairOptions) {
    alone(|| {
        R::block_on(async {
            let factory = options.factory().unwrap();
            let mut stranger = TcpStream::connect(listener_of(&factory)).unwrap();
            let before = descriptors();
            assert_eq!(factory.stats().strangers, 1);
            assert_eq!(stranger.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert_eq!(descriptors(), before);
            assert_serves::<R>(&mut R::pair(&factory).await.unwrap()).await;
        });
    });
}

/// From eight strangers in one attempt on, the factory's listeners take only its own connects.
fn a_crowd_of_strangers_is_kept_out_by_a_gate<R: Runtime>(options: PairOptions) {
    alone(|| {
        R::block_on(async {
            for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
                assert_keeps_a_crowd_out::<R>(&options.clone().address(address)).await;
            }
        });
    });
}

async fn assert_keeps_a_crowd_out<R: Runtime>(options: &PairOptions) {
    let factory = options.factory().unwrap();
    let listener = listener_of(&factory);
    let few: Vec<_> = (0..7).map(|_| TcpStream::connect(listener).unwrap()).collect();
    assert_serves::<R>(&mut R::pair(&factory).await.unwrap()).await;
    assert_eq!((factory.stats().strangers, factory.stats().listeners), (7, 1));

    let crowd: Vec<_> = (0..100).map(|_| TcpStream::connect(listener).unwrap()).collect();
    assert_serves::<R>(&mut R::pair(&factory).await.unwrap()).await;
    assert_eq!((factory.stats().strangers, factory.stats().listeners), (107, 2));
    for mut stranger in few.into_iter().chain(crowd) {
        assert_eq!(stranger.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    let listener = listener_of(&factory);
    let kept_out = begin_to_connect(listener, None);
    let passes = begin_to_connect(listener, Some(FULL_HOPS));
    assert_serves::<R>(&mut R::pair(&factory).await.unwrap()).await;
    for mut pair in R::pairs(&factory, 40).await.unwrap() {
        assert_serves::<R>(&mut pair).await;
    }
    assert_eq!((factory.stats().strangers, factory.stats().listeners), (108, 2));
    assert_eq!(is_through(&kept_out, listener), Some(false));
    assert_eq!(is_through(&passes, listener), Some(true)); // and has been reset since
}

fn a_pair_from_behind_the_gate_is_like_any_other<R: Runtime>(options: PairOptions) {
    alone(|| {
        R::block_on(async {
            for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
                let factory = options.clone().address(address).factory().unwrap();
                let usual = R::pair(&factory).await.unwrap();
                let listener = listener_of(&factory);
                let _crowd: Vec<_> = (0..50).map(|_| TcpStream::connect(listener).unwrap()).collect();
                let mut behind_the_gate = R::pair(&factory).await.unwrap();
                assert_eq!(factory.stats().listeners, 2, "there is no gate");
                assert_eq!(hops_of(&behind_the_gate), hops_of(&usual));
                assert_serves::<R>(&mut behind_the_gate).await;
            }
        });
    });
}

/// The hop count that each end sends with, and the least that it takes.
fn hops_of<S: PairSocket>((accepted, connected): &(S, S)) -> [(u32, Vec<u8>); 2] {
    [accepted, connected].map(|end| match local(end) {
        SocketAddr::V4(_) => (SockRef::from(&end.fd()).ttl_v4().unwrap(), option_of(end, IPPROTO_IP, IP_MINTTL)),
        SocketAddr::V6(_) => {
            (SockRef::from(&end.fd()).unicast_hops_v6().unwrap(), option_of(end, IPPROTO_IPV6, IPV6_MINHOPCOUNT))
        }
    })
}

#[allow(unsafe_code)] // neither nix nor socket2 knows these options
fn option_of(end: &impl PairSocket, level: i32, name: i32) -> Vec<u8> {
    let (mut value, mut length) = ([0xAA_u8; 4], 4);
    // SAFETY: `value` has `length` bytes.
    let answer =
        unsafe { nix::libc::getsockopt(end.fd().as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length) };
    assert_eq!(answer, 0);
    value.to_vec()
}

fn a_backlog_full_of_strangers_does_not_hold_up_a_pair<R: Runtime>(options: PairOptions) {
    let is_full = |listener| eventually("the backlog is full", || waiting_at(listener) == FULL);
    alone_in_a_network(|| R::block_on(assert_goes_on_past_a_full_backlog::<R>(&options, FULL, is_full)));
}

fn a_backlog_full_of_strangers_does_not_hold_up_a_late_pair<R: Runtime>(options: PairOptions) {
    // Here some are still on their way when the pair begins, and are refused.
    alone_with_late_handshakes(|| R::block_on(assert_goes_on_past_a_full_backlog::<R>(&options, 200, |_| {})));
}

/// At least `crowd` strangers get in each time. They pass the gate, and from the second round on the kernel resets them.
async fn assert_goes_on_past_a_full_backlog<R: Runtime>(options: &PairOptions, crowd: u64, wait: impl Fn(SocketAddr)) {
    let factory = options.clone().timeout(NO_SECOND_TRY).factory().unwrap();
    descriptors_once_used::<R>(options).await;
    for round in 1..=3 {
        let listener = listener_of(&factory);
        let strangers = fill_the_backlog(listener);
        wait(listener);
        let before = descriptors();
        assert_serves::<R>(&mut R::pair(&factory).await.unwrap()).await;
        let stats = factory.stats();
        let let_in = netstat("Tcp", "PassiveOpens");
        assert!(stats.strangers >= crowd && stats.pairs + stats.strangers <= let_in, "round {round}: {stats:?}");
        assert_becomes::<R>(before..=before).await;
        drop(strangers);
    }
    let _strangers = fill_the_backlog(listener_of(&factory));
    for mut pair in R::pairs(&factory, 100).await.unwrap() {
        assert_serves::<R>(&mut pair).await;
    }
}

fn a_late_pair_reports_how_many_strangers_came<R: Runtime>(options: PairOptions) {
    alone_in_a_network(|| {
        R::block_on(async {
            let factory = options.timeout(Duration::from_millis(20)).factory().unwrap();
            let listener = listener_in_time::<R>(&factory).await;
            let strangers: Vec<_> = (0..5).map(|_| TcpStream::connect(listener).unwrap()).collect();
            run("tc", &["qdisc", "add", "dev", "lo", "root", "blackhole"]);
            let late = R::pair(&factory).await.map(drop).unwrap_err();
            assert_eq!(late.step(), Step::Timeout);
            let why = late.source().unwrap().to_string();
            assert!(why.ends_with("; 5 strangers have been turned away from the listener so far"), "{why}");
            run("tc", &["qdisc", "del", "dev", "lo", "root"]);
            assert_eq!(factory.stats().strangers, 5);
            drop(strangers);
            listener_in_time::<R>(&factory).await;
        });
    });
}

/// Makes pairs until one is in time, and returns the address of its listener.
async fn listener_in_time<R: Runtime>(factory: &PairFactory) -> SocketAddr {
    for _ in 0..1000 {
        if let Ok((accepted, _)) = R::pair(factory).await {
            return local(&accepted);
        }
    }
    panic!("no pair is in time");
}

fn a_flood_of_strangers_is_kept_out(options: PairOptions) {
    alone(|| {
        let factory = Arc::new(options.factory().unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let flood = {
            let (factory, stop) = (Arc::clone(&factory), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut listener = listener_of(&factory);
                while !stop.load(Relaxed) {
                    match TcpStream::connect_timeout(&listener, Duration::from_millis(20)) {
                        Ok(mut stranger) => drop(stranger.write_all(b"a stranger's bytes")),
                        Err(_) => listener = listener_of(&factory),
                    }
                }
            })
        };
        while factory.stats().strangers == 0 {
            std::thread::yield_now();
        }
        for _ in 0..2000 {
            assert_is_our_own(factory.pair_blocking().unwrap());
        }
        for _ in 0..5 {
            factory.pairs_blocking(400).unwrap().into_iter().for_each(assert_is_our_own);
        }
        stop.store(true, Relaxed);
        flood.join().unwrap();
    });
}

fn several_threads_lose_no_pair_in_a_flood_of_strangers(options: PairOptions) {
    alone_in_a_network(|| {
        let factory = options.factory().unwrap();
        let stop = AtomicBool::new(false);
        let before = descriptors();
        std::thread::scope(|scope| {
            // From an address of their own, so that the flood does not use up the ports that the pairs come from.
            let flood = |from| {
                let mut listener = listener_of(&factory);
                while !stop.load(Relaxed) {
                    let stranger = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                    stranger.set_linger(Some(Duration::ZERO)).unwrap();
                    stranger.bind(&SocketAddr::from(([127, 0, 0, from], 0)).into()).unwrap();
                    if stranger.connect_timeout(&listener.into(), Duration::from_millis(20)).is_err() {
                        listener = listener_of(&factory);
                    }
                }
            };
            scope.spawn(move || flood(2));
            scope.spawn(move || flood(3));
            let makers = [(); 3].map(|()| {
                scope.spawn(|| {
                    for _ in 0..200 {
                        assert_is_our_own(factory.pair_blocking().unwrap());
                        factory.pairs_blocking(3).unwrap().into_iter().for_each(assert_is_our_own);
                    }
                })
            });
            makers.into_iter().for_each(|maker| maker.join().unwrap());
            stop.store(true, Relaxed);
        });
        let stats = factory.stats();
        assert!(stats.strangers > 0 && stats.pairs >= 3 * 200 * 4, "{stats:?}");
        let kept = before..=before + descriptors_of_more_makers(factory.backend());
        assert!(kept.contains(&descriptors()), "{} and not {kept:?}", descriptors());
    });
}

fn listener_of(factory: &PairFactory) -> SocketAddr {
    factory.pair_blocking::<TcpStream>().unwrap().0.local_addr().unwrap()
}

/// So many connections wait at a listener when the kernel takes no more.
const FULL: u64 = 257;

/// How many wait at a listener, as `/proc/net/tcp` shows it.
fn waiting_at(listener: SocketAddr) -> u64 {
    let tcp = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{:04X}", listener.port());
    let mut listeners = tcp.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listener = listeners.find(|columns| columns[1].ends_with(&local) && columns[3] == "0A").unwrap();
    u64::from_str_radix(listener[4].split_once(':').unwrap().1, 16).unwrap()
}

/// Whether a socket of this network, if only in TIME_WAIT or on the way there, has this port for its own.
fn is_in_use(port: u16) -> bool {
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let is_its_own =
        |line: &str| line.split_whitespace().nth(1).is_some_and(|own| own.ends_with(&format!(":{port:04X}")));
    sockets.lines().any(is_its_own)
}

/// A stranger that sends with this hop count. Its connect is under way, whether or not it will ever be through.
fn begin_to_connect(listener: SocketAddr, hops: Option<u32>) -> Socket {
    let stranger = Socket::new(Domain::for_address(listener), Type::STREAM, None).unwrap();
    stranger.set_nonblocking(true).unwrap();
    if let Some(hops) = hops {
        send_with_hops(&stranger, listener, hops);
    }
    drop(stranger.connect(&listener.into()));
    stranger
}

/// Strangers who pass the gate, if there is one.
fn fill_the_backlog(listener: SocketAddr) -> Vec<Socket> {
    (0..400).map(|_| begin_to_connect(listener, Some(FULL_HOPS))).collect()
}

on_every_runtime!(
    a_stranger_who_came_first_is_reset_and_counted,
    a_stranger_who_has_left_already_is_counted_too,
    a_stranger_that_left_is_not_taken_for_our_connect,
    the_last_stranger_is_counted_by_stats,
    a_crowd_of_strangers_is_kept_out_by_a_gate,
    a_pair_from_behind_the_gate_is_like_any_other,
    a_backlog_full_of_strangers_does_not_hold_up_a_pair,
    a_backlog_full_of_strangers_does_not_hold_up_a_late_pair,
    a_late_pair_reports_how_many_strangers_came,
);

/// Pairs that other threads make, which block, beside the one that attacks or looks on.
mod threads {
    use super::*;

    on_every_engine!(
        a_stranger_on_our_port_is_not_taken_for_our_connect,
        a_flood_of_strangers_is_kept_out,
        several_threads_lose_no_pair_in_a_flood_of_strangers,
    );
}

//! Firewalls that reject, drop, redirect or flood packets on `lo`: a call fails with the kernel's error or makes a pair of its
//! own, and never hands out a stranger.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unsafe_code)] // TCP_LINGER2 has no safe wrapper

mod calls;
mod common;

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use calls::{CALLS, Pair, assert_is_our_own, without_hanging};
use common::{
    DESCRIPTORS_OF_A_THREAD, alone_in_a_network, alone_with_late_handshakes, assert_descriptors_become, descriptors,
    eventually, netstat, on_every_engine, run, skip, slow_down_lo,
};
use nix::libc;
use ringpair::{Error, PairFactory, PairOptions, Step};
use socket2::{Domain, Socket, Type};

/// Matches the first packet of a connection.
const SYN: &str = "tcp flags & (syn|ack) == syn";

/// Much longer than a hang: a call that waits for this deadline fails the test.
const AN_HOUR: Duration = Duration::from_secs(3600);

/// Less than the second after which the kernel resends a SYN.
const NO_SECOND_SYN: Duration = Duration::from_millis(300);

fn a_rejected_connect_fails_at_once_with_its_errno(options: PairOptions) {
    behind_a_firewall(|| {
        for (family, address) in families() {
            for verdict in ["reject", "reject with tcp reset"] {
                assert_refused_while(family, verdict, &options.clone().address(address));
            }
        }
    });
}

fn assert_refused_while(family: &str, verdict: &str, options: &PairOptions) {
    let options = options.clone().timeout(AN_HOUR);
    let factory = Arc::new(options.factory().unwrap());
    factory.pair_blocking().map(assert_is_our_own).unwrap();
    let before = descriptors();

    filter(family, "output", &format!("{SYN} {verdict}"));
    for (name, call) in CALLS {
        let what = format!("{name} with {family} {verdict}");
        let (options, factory) = (options.clone(), Arc::clone(&factory));
        let error = without_hanging(&what, move || call(&options, &factory)).expect_err(&what);
        assert_eq!(
            (error.step(), error.raw_os_error()),
            (Step::Connect, Some(libc::ECONNREFUSED)),
            "{what}: {error:?}"
        );
    }
    remove_all_rules();
    assert_serves(&options, &factory, before);
}

fn a_dropped_connect_fails_at_the_deadline(options: PairOptions) {
    behind_a_firewall(|| {
        for (family, address) in families() {
            let options = options.clone().address(address);
            let impatient = options.clone().timeout(NO_SECOND_SYN);
            let factory = impatient.factory().unwrap();
            eventually("a pair is in time", || factory.pair_blocking::<TcpStream>().is_ok());
            let before = descriptors();

            filter(family, "output", &format!("{SYN} drop"));
            for (name, call) in CALLS {
                let error = call(&impatient, &factory).expect_err(name);
                assert_eq!(error.step(), Step::Timeout, "{name}: {error:?}");
                assert!(cause(&error).contains("the connect has not completed"), "{name}: {error:?}");
            }
            remove_all_rules();
            eventually("a pair is in time", || factory.pair_blocking().map(assert_is_our_own).is_ok());
            assert_eq!(factory.stats().strangers, 0);
            assert_descriptors_become(0..=before + DESCRIPTORS_OF_A_THREAD);
        }
    });
}

/// The stranger's connection comes from the port that our rejected connect is given, and it waits in the backlog.
fn a_rejected_connect_never_hands_out_a_stranger(options: PairOptions) {
    behind_a_firewall(|| {
        // One port for the listener, and one for all connects.
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40001").unwrap();
        let of_a_factory = CALLS.into_iter().filter(|(name, _)| ["pair_blocking", "pair", "stream"].contains(name));
        for (name, call) in of_a_factory {
            let factory = Arc::new(options.clone().timeout(AN_HOUR).factory().unwrap());
            leave_a_dead_connection_at(listener_of(&factory));
            filter("ip", "output", &format!("{SYN} reject"));
            let error = {
                let (options, factory) = (options.clone(), Arc::clone(&factory));
                without_hanging(name, move || call(&options, &factory)).expect_err("a stranger is handed out")
            };
            assert_eq!((error.step(), error.raw_os_error()), (Step::Connect, Some(libc::ECONNREFUSED)), "{error:?}");
            remove_all_rules();
            factory.pair_blocking().map(assert_is_our_own).unwrap();
            assert!(factory.stats().strangers <= 1);
        }
    });
}

/// Closes with FIN and drops its own side, so that its port is free while its connection waits to be accepted.
fn leave_a_dead_connection_at(listener: SocketAddr) {
    let mut stranger = TcpStream::connect(listener).unwrap();
    let port = stranger.local_addr().unwrap().port();
    let seconds: libc::c_int = 1;
    // SAFETY: the kernel reads one int that outlives the call.
    let set = unsafe {
        libc::setsockopt(stranger.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_LINGER2, (&raw const seconds).cast(), 4)
    };
    assert_eq!(set, 0);
    stranger.write_all(b"evil").unwrap();
    drop(stranger);
    eventually("its own side has forgotten it", || !tcp_sockets().iter().any(|socket| socket.local == port));
}

/// Address translation hides the redirection: `getpeername` of the connected end returns our listener.
fn a_redirected_connect_is_never_handed_out(options: PairOptions) {
    behind_a_firewall(|| {
        for (family, address) in families() {
            let options = options.clone().address(address).timeout(NO_SECOND_SYN);
            let factory = options.factory().unwrap();
            eventually("a pair is in time", || factory.pair_blocking::<TcpStream>().is_ok());
            let elsewhere = TcpListener::bind((address, 0)).unwrap();
            let port = elsewhere.local_addr().unwrap().port();

            let redirect = format!("tcp dport != {port} redirect to :{port}");
            if !add_rule(family, "type nat hook output priority -100", &redirect) {
                return skip("this kernel redirects no connections");
            }
            for (name, call) in CALLS {
                let error = call(&options, &factory).expect_err(name);
                let steps = [Step::Timeout, Step::Verify, Step::Connect];
                assert!(steps.contains(&error.step()), "{name}: {error:?}");
                assert!(
                    !cause(&error).contains("the connect has not completed"),
                    "{name}: it has completed; {error:?}"
                );
            }
            elsewhere.set_nonblocking(true).unwrap();
            elsewhere.accept().expect("the connect arrives at the other listener");
            remove_all_rules();
            eventually("a pair is in time", || factory.pair_blocking().map(assert_is_our_own).is_ok());
        }
    });
}

/// With `tcp_abort_on_overflow`, a connection whose last packet finds the backlog full is reset, though its SYN was answered.
fn a_connect_reset_by_a_full_backlog_is_tried_again(options: PairOptions) {
    alone_in_a_network(|| {
        if !slow_down_lo("1gbit") {
            return;
        }
        run("tc", &["qdisc", "del", "dev", "lo", "root"]);
        fs::write("/proc/sys/net/ipv4/tcp_abort_on_overflow", "1").unwrap();
        let _ = fs::write("/proc/sys/net/core/somaxconn", "16"); // older kernels do not have it here; there are enough strangers anyway
        for (name, call) in CALLS.into_iter().filter(|(name, _)| !name.starts_with("make_pair")) {
            let factory = Arc::new(options.factory().unwrap());
            let listener = listener_of(&factory);
            // The SYNs are delayed until all are sent, and arrive before their answers.
            slow_down_to("1kbit", "add");
            let crowd: Vec<Socket> = (0..400).map(|_| begin_to_connect(listener, None)).collect();
            let before = tcp_sockets().iter().filter(|socket| socket.has_sent_syn).count();
            let overflows = netstat("TcpExt", "ListenOverflows");
            let pairs = std::thread::scope(|scope| {
                let making = scope.spawn(|| call(&options, &factory));
                eventually("our SYN waits, too", || {
                    tcp_sockets().iter().filter(|socket| socket.has_sent_syn).count() > before
                });
                slow_down_to("1gbit", "change");
                making.join().unwrap()
            });
            run("tc", &["qdisc", "del", "dev", "lo", "root"]);
            pairs.expect(name).into_iter().for_each(assert_is_our_own);
            assert!(netstat("TcpExt", "ListenOverflows") > overflows, "{name}: the backlog did not overflow");
            drop(crowd);
        }
    });
}

fn slow_down_to(rate: &str, how: &str) {
    run("tc", &["qdisc", how, "dev", "lo", "root", "tbf", "rate", rate, "burst", "1540", "limit", "1000000"]);
}

/// The same with a batch, of which some connections fit into the backlog.
fn a_batch_is_made_where_the_backlog_resets_some_of_it(options: PairOptions) {
    alone_with_late_handshakes(|| {
        fs::write("/proc/sys/net/ipv4/tcp_abort_on_overflow", "1").unwrap();
        for room in [1, 10, 20] {
            let factory = Arc::new(options.factory().unwrap());
            let listener = listener_of(&factory);
            let crowd: Vec<_> = (0..BACKLOG - room).map(|_| TcpStream::connect(listener).unwrap()).collect();
            let pairs = {
                let factory = Arc::clone(&factory);
                without_hanging("pairs_blocking", move || factory.pairs_blocking(100))
            };
            pairs.unwrap().into_iter().for_each(assert_is_our_own);
            drop(crowd);
        }
    });
}

/// The kernel drops the SYNs of a listener that has too many half-open connections, and sends ours again after a second.
fn a_flood_of_half_open_connections_delays_no_pair(options: PairOptions) {
    behind_a_firewall(|| {
        for (name, value) in [
            ("tcp_syncookies", "0"),
            ("tcp_max_syn_backlog", "64"),
            ("tcp_no_metrics_save", "1"), // known peers would be accepted
            ("tcp_synack_retries", "0"),  // so that the retransmissions that are counted are ours
        ] {
            fs::write(format!("/proc/sys/net/ipv4/{name}"), value).unwrap();
        }
        filter("ip", "input", "ip daddr 127.0.0.2 drop");
        for (name, call) in CALLS.into_iter().filter(|(name, _)| !name.starts_with("make_pair")) {
            let factory = options.clone().timeout(Duration::from_secs(20)).factory().unwrap();
            let listener = listener_of(&factory);
            fill_with_half_open_connections(listener);
            call(&options, &factory).expect(name).into_iter().for_each(assert_is_our_own);
            assert_eq!(netstat("TcpExt", "TCPSynRetrans"), 0, "{name}: {:?}", factory.stats());
        }
    });
}

/// Sends SYNs from an address that never receives an answer, until the listener drops one.
fn fill_with_half_open_connections(listener: SocketAddr) {
    let dropped = netstat("TcpExt", "ListenDrops");
    let from = Ipv4Addr::new(127, 0, 0, 2);
    eventually("the listener drops a SYN", || {
        drop(begin_to_connect(listener, Some(from))); // closed at once, so that it sends no second SYN
        netstat("TcpExt", "ListenDrops") > dropped
    });
    let half_open =
        tcp_sockets().iter().filter(|socket| socket.local == listener.port() && socket.is_half_open).count();
    assert!(half_open > 40, "{half_open}");
}

/// A listener's backlog holds this many connections.
const BACKLOG: usize = 257;

fn begin_to_connect(listener: SocketAddr, from: Option<Ipv4Addr>) -> Socket {
    let stranger = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    stranger.set_nonblocking(true).unwrap();
    if let Some(from) = from {
        stranger.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    }
    let _ = stranger.connect(&listener.into()); // in progress, and may never complete
    stranger
}

fn assert_serves(options: &PairOptions, factory: &PairFactory, before: usize) {
    for (name, call) in CALLS {
        call(options, factory).expect(name).into_iter().for_each(assert_is_our_own);
    }
    assert_eq!(factory.stats().strangers, 0);
    assert_descriptors_become(0..=before + DESCRIPTORS_OF_A_THREAD);
}

fn listener_of(factory: &PairFactory) -> SocketAddr {
    let (accepted, _connected): Pair = factory.pair_blocking().unwrap();
    accepted.local_addr().unwrap()
}

fn cause(error: &Error) -> String {
    error.source().unwrap().to_string()
}

/// Runs `body` in a network namespace of its own where rules can be set.
fn behind_a_firewall(body: impl FnOnce()) {
    if Command::new("nft").arg("--version").output().is_err() {
        return skip("nft is missing (Debian's package nftables)");
    }
    alone_in_a_network(|| {
        if !Command::new("nft").args(["list", "ruleset"]).output().unwrap().status.success() {
            return skip("nft is not allowed to set rules here");
        }
        body();
    });
}

/// The families of nft, each with its loopback address.
fn families() -> Vec<(&'static str, IpAddr)> {
    let all = [("ip", IpAddr::from(Ipv4Addr::LOCALHOST)), ("ip6", Ipv6Addr::LOCALHOST.into())];
    all.into_iter().filter(|(_, address)| TcpListener::bind((*address, 0)).is_ok()).collect()
}

fn filter(family: &str, hook: &str, rule: &str) {
    assert!(add_rule(family, &format!("type filter hook {hook} priority 0"), rule), "nft refuses {rule}");
}

fn add_rule(family: &str, chain: &str, rule: &str) -> bool {
    let rules = format!("add table {family} t; add chain {family} t c {{ {chain}; }}; add rule {family} t c {rule}");
    Command::new("nft").arg(rules).output().unwrap().status.success()
}

fn remove_all_rules() {
    run("nft", &["flush", "ruleset"]);
}

struct TcpSocket {
    local: u16,
    is_half_open: bool,
    has_sent_syn: bool,
}

/// The IPv4 sockets of this network namespace, those in TIME_WAIT and half-open ones included.
fn tcp_sockets() -> Vec<TcpSocket> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let parse = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let port = columns[1].rsplit(':').next().unwrap();
        let local = u16::from_str_radix(port, 16).unwrap();
        TcpSocket { local, is_half_open: columns[3] == "03", has_sent_syn: columns[3] == "02" }
    };
    table.lines().skip(1).map(parse).collect()
}

on_every_engine!(
    a_rejected_connect_fails_at_once_with_its_errno,
    a_dropped_connect_fails_at_the_deadline,
    a_rejected_connect_never_hands_out_a_stranger,
    a_redirected_connect_is_never_handed_out,
    a_connect_reset_by_a_full_backlog_is_tried_again,
    a_batch_is_made_where_the_backlog_resets_some_of_it,
    a_flood_of_half_open_connections_delays_no_pair,
);

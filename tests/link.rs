//! Live pairs that are broken on purpose: what each end sees, and how they recover.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpStream};
use std::sync::mpsc::channel;
use std::time::Duration;

use common::{alone_in_a_network, netstat, on_every_engine};
use ringpair::{Linger, PairOptions, link};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

/// How long a test looks for bytes that must not arrive. No outcome depends on it: they never do.
const A_MOMENT: Duration = Duration::from_millis(30);

fn graceful_pair(options: &PairOptions) -> (TcpStream, TcpStream) {
    options.clone().linger(Linger::Graceful).make_pair_blocking().unwrap()
}

fn assert_hears_nothing(end: &mut TcpStream) {
    end.set_read_timeout(Some(A_MOMENT)).unwrap();
    assert_eq!(end.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    end.set_read_timeout(None).unwrap();
}

fn assert_reads(end: &mut TcpStream, expected: &[u8]) {
    let mut read = vec![0; expected.len()];
    end.read_exact(&mut read).unwrap();
    assert_eq!(read, expected);
}

fn a_partitioned_pair_loses_nothing(options: PairOptions) {
    let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(127, 0, 0, 9).into(), Ipv6Addr::LOCALHOST.into()];
    for address in addresses {
        if address == IpAddr::V6(Ipv6Addr::LOCALHOST) && std::net::TcpListener::bind((address, 0)).is_err() {
            common::skip("there is no IPv6 here");
            continue;
        }
        let (mut accepted, mut connected) = graceful_pair(&options.clone().address(address));
        for round in [b"one", b"two"] {
            link::partition(&accepted, &connected).unwrap();
            connected.write_all(round).unwrap();
            accepted.write_all(round).unwrap();
            assert_hears_nothing(&mut accepted);
            assert_hears_nothing(&mut connected);
            link::heal(&accepted, &connected).unwrap();
            assert_reads(&mut accepted, round);
            assert_reads(&mut connected, round);
        }
    }
}

fn a_deaf_end_still_sends(options: PairOptions) {
    let (mut accepted, mut connected) = graceful_pair(&options);
    link::deafen(&accepted).unwrap();
    accepted.write_all(b"ping").unwrap();
    assert_reads(&mut connected, b"ping");
    connected.write_all(b"pong").unwrap();
    assert_hears_nothing(&mut accepted);
    link::hear(&accepted).unwrap();
    assert_reads(&mut accepted, b"pong");
}

fn a_lost_fin_leaves_the_connection_half_open(options: PairOptions) {
    let (accepted, mut connected) = graceful_pair(&options);
    link::deafen(&connected).unwrap();
    drop(accepted);
    assert_hears_nothing(&mut connected);
    link::hear(&connected).unwrap();
    assert_eq!(connected.read(&mut [0]).unwrap(), 0); // the kernel sends the FIN again
}

fn a_lost_reset_is_noticed_at_the_next_write(options: PairOptions) {
    let (accepted, mut connected) = graceful_pair(&options);
    link::deafen(&connected).unwrap();
    ringpair::abort(&accepted).unwrap();
    assert_hears_nothing(&mut connected);
    link::hear(&connected).unwrap();
    assert_hears_nothing(&mut connected); // a reset is sent once
    connected.write_all(b"anyone there?").unwrap();
    assert_eq!(connected.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn a_vanished_peer_times_out_a_writer(options: PairOptions) {
    let (accepted, mut connected) = graceful_pair(&options);
    SockRef::from(&connected).set_tcp_user_timeout(Some(Duration::from_millis(300))).unwrap();
    link::partition(&accepted, &connected).unwrap();
    connected.write_all(b"anyone there?").unwrap();
    assert_eq!(connected.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
}

fn a_vanished_peer_times_out_a_reader_with_keepalive(options: PairOptions) {
    let (accepted, mut connected) = graceful_pair(&options);
    let second = Duration::from_secs(1);
    let keepalive = TcpKeepalive::new().with_time(second).with_interval(second).with_retries(1);
    SockRef::from(&connected).set_tcp_keepalive(&keepalive).unwrap();
    link::partition(&accepted, &connected).unwrap();
    assert_eq!(connected.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
}

fn a_blocked_reader_does_not_keep_a_pair_from_being_broken(options: PairOptions) {
    let (accepted, connected) = graceful_pair(&options);
    let (sender, received) = channel();
    let mut reader = accepted.try_clone().unwrap();
    let thread = std::thread::spawn(move || {
        let mut read = [0; 4];
        reader.read_exact(&mut read).unwrap();
        sender.send(read).unwrap();
    });
    link::partition(&accepted, &connected).unwrap();
    (&connected).write_all(b"ping").unwrap();
    received.recv_timeout(A_MOMENT).unwrap_err();
    link::heal(&accepted, &connected).unwrap();
    assert_eq!(&received.recv().unwrap(), b"ping");
    thread.join().unwrap();
}

fn drops_counts_what_does_not_arrive(options: PairOptions) {
    alone_in_a_network(|| {
        let (accepted, connected) = graceful_pair(&options);
        let before = link::drops().unwrap();
        assert_eq!(before, netstat("TcpExt", "TCPMinTTLDrop"));
        link::deafen(&accepted).unwrap();
        (&connected).write_all(b"ping").unwrap();
        common::eventually("a dropped packet is counted", || link::drops().unwrap() > before);
    });
}

/// The other transfer is as large, begins later, and ends first.
fn a_throttled_end_is_overtaken(options: PairOptions) {
    const BYTES: usize = 2 << 20;
    let (done, finished) = channel();
    for (name, rate) in [("throttled", Some(1 << 20)), ("free", None)] {
        let (accepted, connected) = graceful_pair(&options);
        link::throttle(&connected, rate).unwrap();
        std::thread::spawn(move || {
            (&connected).write_all(&vec![1; BYTES]).unwrap();
            connected.shutdown(Shutdown::Write).unwrap();
        });
        let done = done.clone();
        std::thread::spawn(move || {
            let mut read = Vec::new();
            (&accepted).read_to_end(&mut read).unwrap();
            done.send((name, read.len())).unwrap();
        });
    }
    assert_eq!([finished.recv().unwrap(), finished.recv().unwrap()], [("free", BYTES), ("throttled", BYTES)]);
}

fn a_throttle_can_be_taken_away(options: PairOptions) {
    let (mut accepted, mut connected) = graceful_pair(&options);
    link::throttle(&connected, Some(1)).unwrap();
    link::throttle(&connected, None).unwrap();
    let writer = std::thread::spawn(move || connected.write_all(&vec![1; 1 << 20]).unwrap());
    let mut read = Vec::new();
    accepted.read_to_end(&mut read).unwrap();
    assert_eq!(read.len(), 1 << 20);
    writer.join().unwrap();
    let (accepted, _connected) = graceful_pair(&options);
    let error = link::throttle(&accepted, Some(0)).unwrap_err();
    assert_eq!(error.to_string(), "the rate is 0 bytes per second; use link::partition");
}

fn a_clogged_end_takes_no_more(options: PairOptions) {
    let (mut accepted, mut connected) = graceful_pair(&options);
    let bytes = link::clog(&connected).unwrap();
    assert!(bytes > 0);
    connected.set_nonblocking(true).unwrap();
    assert_eq!(connected.write(b"more").unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(link::clog(&connected).unwrap(), 0);
    connected.shutdown(Shutdown::Write).unwrap();
    let mut read = Vec::new();
    accepted.read_to_end(&mut read).unwrap();
    assert!(read.len() == bytes && read.iter().all(|byte| *byte == 0));
}

#[test]
fn an_end_whose_peer_reads_cannot_be_clogged() {
    if !common::ring_is_there() {
        return;
    }
    let (mut accepted, connected) = graceful_pair(&PairOptions::new());
    let reader = std::thread::spawn(move || while accepted.read(&mut [0; 65536]).unwrap() > 0 {});
    let error = link::clog(&connected).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(error.to_string(), "after 5s the peer still takes bytes: it reads them");
    drop(connected);
    reader.join().unwrap();
}

fn an_end_that_was_reset_cannot_be_clogged(options: PairOptions) {
    let (accepted, connected) = options.linger(Linger::Reset).make_pair_blocking::<TcpStream>().unwrap();
    drop(accepted);
    assert_eq!(link::clog(&connected).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn a_mocket_can_be_cut_off_and_aborted(options: PairOptions) {
    let options = ringpair::mocket::MocketOptions::new().pair(options.linger(Linger::Graceful));
    let (mut mocket, mut peer) = options.make_pair_blocking::<TcpStream>().unwrap();
    link::partition(&mocket, &peer).unwrap();
    mocket.write_all(b"ping").unwrap();
    assert_hears_nothing(&mut peer);
    link::heal(&mocket, &peer).unwrap();
    assert_reads(&mut peer, b"ping");
    ringpair::abort(&mocket).unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_socket_that_is_not_tcp_is_refused_by_name() {
    let (one, other) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
    let error = link::partition(&one, &other).unwrap_err();
    assert!(error.to_string().starts_with("setting IP_MINTTL failed: "), "{error}");
}

#[test]
fn an_ipv6_socket_with_an_ipv4_connection_is_deaf_too() {
    if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return common::skip("there is no IPv6 here");
    }
    let listener = std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let mut connected = TcpStream::connect((Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port())).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    link::deafen(&accepted).unwrap();
    connected.write_all(b"ping").unwrap();
    assert_hears_nothing(&mut accepted);
    link::hear(&accepted).unwrap();
    assert_reads(&mut accepted, b"ping");
}

on_every_engine!(
    a_partitioned_pair_loses_nothing,
    a_deaf_end_still_sends,
    a_lost_fin_leaves_the_connection_half_open,
    a_lost_reset_is_noticed_at_the_next_write,
    a_vanished_peer_times_out_a_writer,
    a_vanished_peer_times_out_a_reader_with_keepalive,
    a_blocked_reader_does_not_keep_a_pair_from_being_broken,
    drops_counts_what_does_not_arrive,
    a_throttled_end_is_overtaken,
    a_throttle_can_be_taken_away,
    a_clogged_end_takes_no_more,
    an_end_that_was_reset_cannot_be_clogged,
    a_mocket_can_be_cut_off_and_aborted,
);

#[cfg(feature = "tokio-uring")]
#[test]
fn a_pending_read_of_tokio_uring_outlasts_a_partition() {
    use tokio_uring::net::TcpStream;

    if !common::ring_is_there() {
        return;
    }
    tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap().block_on(async {
        let (accepted, connected) = PairOptions::graceful().make_pair::<TcpStream>().await.unwrap();
        let accepted = std::rc::Rc::new(accepted);
        let reading = tokio_uring::spawn({
            let accepted = accepted.clone();
            async move { accepted.read(vec![0; 4]).await }
        });
        tokio::task::yield_now().await;
        link::partition(&*accepted, &connected).unwrap();
        connected.write_all(b"ping".to_vec()).await.0.unwrap();
        link::heal(&*accepted, &connected).unwrap();
        let (count, bytes) = reading.await.unwrap();
        assert_eq!(&bytes[..count.unwrap()], b"ping");
    });
}

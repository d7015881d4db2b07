//! Each linger closes as documented, by the other end's read and by the kernel's counters. `abort` resets at once, even
//! while operations or duplicates hold the socket.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::time::Duration;

use common::{alone_in_a_network, eventually, is_asleep, netstat, on_every_engine, sockstat};
use nix::errno::Errno;
use ringpair::{Linger, PairFactory, PairOptions, abort};

const PAIRS: usize = 20;

/// The kernel's counters of this network namespace.
#[derive(Debug, PartialEq, Clone, Copy)]
struct Counted {
    time_wait: u64,
    /// Closed by zero linger or by `abort`.
    aborted: u64,
    /// Closed with unread data.
    aborted_unread: u64,
    resets_sent: u64,
}

fn counted() -> Counted {
    Counted {
        time_wait: sockstat("tw"),
        aborted: netstat("TcpExt", "TCPAbortOnData"),
        aborted_unread: netstat("TcpExt", "TCPAbortOnClose"),
        resets_sent: netstat("Tcp", "OutRsts"),
    }
}

const NOTHING: Counted = Counted { time_wait: 0, aborted: 0, aborted_unread: 0, resets_sent: 0 };

/// Makes pairs as (the end that closes first, the other end). Accepted and connected ends close first in turn.
fn pairs_by_closing_end(factory: &PairFactory) -> Vec<(TcpStream, TcpStream)> {
    let pairs = factory.pairs_blocking(PAIRS).unwrap().into_iter().enumerate();
    let by_turns = |(number, (accepted, connected))| {
        if number % 2 == 0 { (accepted, connected) } else { (connected, accepted) }
    };
    pairs.map(by_turns).collect()
}

fn dropping_either_end_resets_the_other(options: PairOptions) {
    let factory = options.factory().unwrap();
    for (closing, mut left) in pairs_by_closing_end(&factory) {
        drop(closing);
        assert_eq!(left.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(left.write(&[0]).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
    let (accepted, mut connected) = options.make_pair_blocking::<TcpStream>().unwrap();
    drop(accepted);
    assert_eq!(connected.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let (mut accepted, connected) = options.make_pair_blocking::<TcpStream>().unwrap();
    drop(connected);
    assert_eq!(accepted.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn a_reset_leaves_no_time_wait_and_counts_as_an_abort(options: PairOptions) {
    alone_in_a_network(|| {
        let factory = options.linger(Linger::Reset).factory().unwrap();
        for (closing, mut left) in pairs_by_closing_end(&factory) {
            drop(closing);
            assert_eq!(left.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
        let each = PAIRS as u64;
        assert_eq!(counted(), Counted { aborted: each, resets_sent: each, ..NOTHING });
    });
}

fn bytes_that_arrived_before_a_reset_are_read_before_it(options: PairOptions) {
    let (mut accepted, mut connected) = options.linger(Linger::Reset).make_pair_blocking::<TcpStream>().unwrap();
    accepted.write_all(b"last words").unwrap();
    connected.peek(&mut [0]).unwrap(); // waits until they have arrived
    drop(accepted);
    let mut read = Vec::new();
    let end = connected.read_to_end(&mut read);
    assert_eq!(read, b"last words");
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn a_fin_is_read_as_end_of_file_and_leaves_a_time_wait(options: PairOptions) {
    alone_in_a_network(|| assert_ends_with_fin(&options.linger(Linger::Graceful).factory().unwrap()));
}

fn a_waiting_close_ends_with_a_fin(options: PairOptions) {
    alone_in_a_network(|| {
        assert_ends_with_fin(&options.linger(Linger::Wait(Duration::from_secs(5))).factory().unwrap());
    });
}

fn assert_ends_with_fin(factory: &PairFactory) {
    for (mut closing, mut left) in pairs_by_closing_end(factory) {
        closing.write_all(b"last words").unwrap();
        drop(closing);
        let mut read = Vec::new();
        left.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"last words");
    }
    eventually("each pair has left a TIME_WAIT", || sockstat("tw") == PAIRS as u64);
    assert_eq!(counted(), Counted { time_wait: PAIRS as u64, ..NOTHING });
}

/// More than fits into the buffers: part of it stays unsent while the other end does not read.
const MORE_THAN_FITS: usize = 4 << 20;

fn close_waits_for_delivery_only_under_linger_wait(options: PairOptions) {
    alone_in_a_network(|| {
        let options = options.recv_buffer_size(4096);
        let (accepted, connected) = options.clone().linger(Linger::Graceful).make_pair_blocking().unwrap();
        let name = fill(&accepted);
        drop(accepted);
        // Still unsent, so the close did not wait for delivery.
        assert!(unsent(name) > 0);
        drop::<TcpStream>(connected);

        let wait = Linger::Wait(Duration::from_secs(60));
        let (accepted, mut connected) = options.linger(wait).make_pair_blocking::<TcpStream>().unwrap();
        let name = fill(&accepted);
        assert!(unsent(name) > 0);
        let reader = std::thread::spawn(move || std::io::copy(&mut connected, &mut std::io::sink()).unwrap());
        // In a thread that never used a ring: on Linux 6.18, ring teardown interrupts a waiting close in such a thread.
        std::thread::spawn(move || drop(accepted)).join().unwrap();
        assert_eq!(unsent(name), 0);
        assert!(reader.join().unwrap() > 0);
    });
}

/// Writes until the socket is full. Returns its local and peer address.
fn fill(stream: &TcpStream) -> (SocketAddr, SocketAddr) {
    stream.set_nonblocking(true).unwrap();
    let mut stream = stream;
    let mut written = 0;
    let full = loop {
        match stream.write(&[7; 65536]) {
            Ok(count) => written += count,
            Err(error) => break error,
        }
        assert!(written < 64 * MORE_THAN_FITS);
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    (stream.local_addr().unwrap(), stream.peer_addr().unwrap())
}

/// Returns how many bytes of a socket, possibly closed, are not acknowledged: `/proc/net/tcp`.
fn unsent((local, peer): (SocketAddr, SocketAddr)) -> u64 {
    let ends = format!(": 0100007F:{:04X} 0100007F:{:04X} ", local.port(), peer.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let Some(line) = table.lines().find(|line| line.contains(&ends)) else { return 0 };
    let queue = line.split_whitespace().nth(4).unwrap().split(':').next().unwrap();
    u64::from_str_radix(queue, 16).unwrap()
}

fn abort_resets_even_if_a_duplicate_is_open(options: PairOptions) {
    let factory = options.factory().unwrap();
    for (ours, mut other) in pairs_by_closing_end(&factory) {
        let duplicate = ours.try_clone().unwrap();
        let another = ours.try_clone().unwrap();
        drop(another); // sends nothing
        other.set_nonblocking(true).unwrap();
        assert_eq!(other.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        other.set_nonblocking(false).unwrap();
        abort(&ours).unwrap();
        assert_eq!(other.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(duplicate.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
    }
}

fn abort_resets_under_every_linger_and_leaves_no_time_wait(options: PairOptions) {
    alone_in_a_network(|| {
        let mut aborted = 0;
        for linger in [Linger::Reset, Linger::Graceful, Linger::Wait(Duration::from_secs(5))] {
            let factory = options.clone().linger(linger).factory().unwrap();
            for (ours, mut other) in pairs_by_closing_end(&factory) {
                abort(&ours).unwrap();
                abort(&ours).unwrap(); // the second time there is nothing to reset
                assert_eq!(other.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
                aborted += 1;
            }
        }
        let counted = counted();
        assert_eq!((counted.time_wait, counted.resets_sent), (0, aborted));
    });
}

fn abort_wakes_a_blocked_reader(options: PairOptions) {
    let (accepted, mut connected) = options.make_pair_blocking::<TcpStream>().unwrap();
    let accepted = Arc::new(accepted);
    let reading = Arc::clone(&accepted);
    let reader = Arc::new(AtomicI32::new(0));
    let report = Arc::clone(&reader);
    let read = std::thread::spawn(move || {
        report.store(nix::unistd::gettid().as_raw(), SeqCst);
        (&*reading).read(&mut [0])
    });
    // From here on, the thread can sleep only in the read.
    eventually("the reader sleeps in its read", || is_asleep(reader.load(SeqCst)));
    abort(&*accepted).unwrap();
    let read = read.join().unwrap();
    assert!(!matches!(read, Ok(1..)), "{read:?}");
    assert_eq!(connected.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn abort_takes_every_kind_of_stream(options: PairOptions) {
    let (accepted, connected) = options.make_pair_blocking::<OwnedFd>().unwrap();
    abort(&accepted).unwrap();
    let mut connected = TcpStream::from(connected);
    assert_eq!(connected.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let (accepted, connected) = options.make_pair_blocking::<socket2::Socket>().unwrap();
    abort(&connected).unwrap();
    let mut accepted = TcpStream::from(accepted);
    assert_eq!(accepted.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

on_every_engine!(
    dropping_either_end_resets_the_other,
    a_reset_leaves_no_time_wait_and_counts_as_an_abort,
    bytes_that_arrived_before_a_reset_are_read_before_it,
    a_fin_is_read_as_end_of_file_and_leaves_a_time_wait,
    a_waiting_close_ends_with_a_fin,
    close_waits_for_delivery_only_under_linger_wait,
    abort_resets_even_if_a_duplicate_is_open,
    abort_resets_under_every_linger_and_leaves_no_time_wait,
    abort_wakes_a_blocked_reader,
    abort_takes_every_kind_of_stream,
);

#[test]
fn abort_of_a_file_is_refused() {
    let file = OwnedFd::from(File::open("/dev/null").unwrap());
    assert_eq!(abort(&file).unwrap_err().raw_os_error(), Some(Errno::ENOTSOCK as i32));
}

#[cfg(feature = "tokio-uring")]
mod on_tokio_uring_streams {
    use std::rc::Rc;

    use super::*;

    /// Returns both ends and a read on the accepted end. The read is pending in the kernel.
    async fn reading()
    -> (Rc<tokio_uring::net::TcpStream>, tokio_uring::net::TcpStream, tokio::task::JoinHandle<std::io::Result<usize>>)
    {
        let (accepted, connected) = ringpair::make_socket_pair().await.unwrap();
        let accepted = Rc::new(accepted);
        let reading = Rc::clone(&accepted);
        let read = tokio_uring::spawn(async move { reading.read(vec![0; 1]).await.0 });
        tokio::task::yield_now().await;
        // Entries are submitted in order: the write has completed, so the read was submitted too.
        accepted.write_all(b"x".to_vec()).await.0.unwrap();
        assert!(!read.is_finished());
        (accepted, connected, read)
    }

    async fn assert_has_been_reset(end: &tokio_uring::net::TcpStream) {
        // A byte that arrived before the reset is read first.
        let mut read = end.read(vec![0; 8]).await.0;
        if let Ok(1) = read {
            read = end.read(vec![0; 8]).await.0;
        }
        assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn abort_ends_a_pending_read_and_resets_the_other_end() {
        if !common::ring_is_there() {
            return;
        }
        let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
        runtime.block_on(async {
            for _ in 0..PAIRS {
                let (accepted, connected, read) = reading().await;
                abort(&*accepted).unwrap();
                let read = read.await.unwrap();
                assert!(!matches!(read, Ok(1..)), "{read:?}");
                assert_has_been_reset(&connected).await;
            }
        });
    }

    #[test]
    fn an_abort_by_the_other_end_fails_a_pending_read() {
        if !common::ring_is_there() {
            return;
        }
        let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
        runtime.block_on(async {
            for _ in 0..PAIRS {
                let (_accepted, connected, read) = reading().await;
                abort(&connected).unwrap();
                assert_eq!(read.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
            }
        });
    }

    #[test]
    fn dropping_either_end_resets_the_other() {
        if !common::ring_is_there() {
            return;
        }
        for accepted_closes in [true, false] {
            let read = ringpair::with_pair(async |accepted, connected| {
                let (closing, left) = if accepted_closes { (accepted, connected) } else { (connected, accepted) };
                drop(closing);
                left.read(vec![0; 1]).await.0
            });
            assert_eq!(read.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    }
}

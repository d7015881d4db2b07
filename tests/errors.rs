//! Every error names its step and its cause once, with a remedy if one is known, and keeps both as an `io::Error`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::error::Error as _;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use common::{alone, alone_in_a_network, descriptors, every_way_in, leave_descriptors, on_every_engine, run, skip};
use nix::errno::Errno;
use ringpair::{Error, Linger, PairOptions, PairSocket, Step};

#[test]
fn every_step_has_its_text() {
    let table = [
        (Step::Options, "invalid options"),
        (Step::Ring, "io_uring or epoll failed"),
        (Step::Socket, "opening a socket failed"),
        (Step::Bind, "bind failed"),
        (Step::Listen, "listen failed"),
        (Step::Connect, "connect failed"),
        (Step::Accept, "accept failed"),
        (Step::Verify, "address check failed"),
        (Step::SetOption, "setting a socket option failed"),
        (Step::Convert, "conversion to the stream type failed"),
        (Step::Timeout, "timed out"),
    ];
    for (step, text) in table {
        assert_eq!(step.to_string(), text, "{step:?}");
    }
}

/// The errors that need no process or network of their own. The tests below and those in `src/error.rs` cover the others.
fn every_error_has_its_text(options: PairOptions) {
    let refused = |options: PairOptions| options.factory().unwrap_err();
    let failed = |errno: Errno| {
        let options = options.clone().configure(move |_, _| Err(errno.into()));
        options.make_pair_blocking::<TcpStream>().unwrap_err()
    };
    let full = options.factory().unwrap().pairs_blocking::<TcpStream>(usize::MAX).unwrap_err();
    let unfit = options.make_pair_blocking::<Unfit>().err().unwrap();
    let table = [
        (
            refused(options.clone().address([8, 8, 8, 8].into())),
            "invalid options: 8.8.8.8 is not a loopback address (127.0.0.0/8 or ::1)",
            None,
        ),
        (refused(options.clone().timeout(Duration::ZERO)), "invalid options: the timeout is zero", None),
        (
            refused(options.clone().linger(Linger::Wait(Duration::from_millis(1500)))),
            "invalid options: Linger::Wait takes whole seconds from 1 to 4294967, not 1.5s",
            None,
        ),
        (
            refused(options.clone().recv_buffer_size(0)),
            "invalid options: the receive buffer size must be from 1 to 2147483647 bytes, not 0",
            None,
        ),
        (
            refused(options.clone().send_buffer_size(1 << 31)),
            "invalid options: the send buffer size must be from 1 to 2147483647 bytes, not 2147483648",
            None,
        ),
        (
            full,
            "opening a socket failed: Too many open files (os error 24)",
            Some("raise `ulimit -n`, the limit of open descriptors; each pair takes two"),
        ),
        (failed(Errno::ENOPROTOOPT), "setting a socket option failed: Protocol not available (os error 92)", None),
        (unfit, "conversion to the stream type failed: unfit", None),
    ];
    for (error, text, remedy) in table {
        assert_eq!(error.to_string(), text);
        let shown = remedy.map_or(text.to_owned(), |remedy| format!("{text} (remedy: {remedy})"));
        assert_eq!(format!("{error:?}"), shown);
        let converted = io::Error::from(error);
        assert_eq!(converted.to_string(), text);
    }
}

/// A stream type whose conversion always fails.
enum Unfit {}

impl PairSocket for Unfit {
    fn from_fd(_: OwnedFd) -> io::Result<Self> {
        Err(io::Error::other(Reason(io::Error::other("no reason"))))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

#[derive(Debug)]
struct Reason(io::Error);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unfit")
    }
}

impl std::error::Error for Reason {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Checks what holds for every error, and returns it.
fn assert_is(error: Error, step: Step, kind: ErrorKind) -> Error {
    assert_eq!((error.step(), error.kind()), (step, kind), "{error:?}");
    let cause = error.source().unwrap().downcast_ref::<io::Error>().expect("the cause is an io::Error");
    assert_eq!((cause.kind(), cause.raw_os_error()), (kind, error.raw_os_error()));

    let (text, errno) = (format!("{step}: {cause}"), error.raw_os_error());
    assert_eq!(error.to_string(), text);
    assert!(format!("{error:?}").starts_with(&text), "{error:?}");
    let as_error: &dyn std::error::Error = &error;
    assert!(as_error.source().is_none(), "{:?}", as_error.source());

    let converted = io::Error::from(error);
    assert_eq!((converted.kind(), converted.to_string()), (kind, text));
    assert!(converted.source().is_none(), "{:?}", converted.source());
    let error = converted.into_inner().unwrap().downcast::<Error>().unwrap();
    assert_eq!((error.step(), error.raw_os_error()), (step, errno));
    *error
}

fn assert_errno(error: Error, step: Step, errno: Errno) {
    let kind = io::Error::from(errno).kind();
    let error = assert_is(error, step, kind);
    assert_eq!(error.raw_os_error(), Some(errno as i32));
    assert_eq!(error.source().unwrap().to_string(), io::Error::from(errno).to_string());
}

fn assert_remedy(error: &Error, remedy: &str) {
    assert_eq!(format!("{error:?}"), format!("{error} (remedy: {remedy})"));
}

/// What an error reporter prints, line by line.
fn chain(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect()
}

fn a_printed_chain_names_each_cause_once(options: PairOptions) {
    let error = options.clone().configure(|_, _| Err(io::Error::other("the test says no")));
    let error = error.make_pair_blocking::<TcpStream>().unwrap_err();
    assert_eq!(chain(&error), ["setting a socket option failed: the test says no"]);
    assert_eq!(chain(&io::Error::from(error)), ["setting a socket option failed: the test says no"]);

    let error = options.make_pair_blocking::<Unfit>().err().unwrap();
    assert_eq!(chain(&error), ["conversion to the stream type failed: unfit", "no reason"]);
    assert_eq!(chain(&io::Error::from(error)), ["conversion to the stream type failed: unfit", "no reason"]);
}

fn an_error_converts_to_an_io_error(options: PairOptions) {
    fn pair(options: &PairOptions) -> io::Result<(TcpStream, TcpStream)> {
        Ok(options.make_pair_blocking()?)
    }
    pair(&options).unwrap();
    assert_eq!(pair(&options.timeout(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
}

fn invalid_options_are_an_options_error(options: PairOptions) {
    let error = options.timeout(Duration::ZERO).factory().unwrap_err();
    let error = assert_is(error, Step::Options, ErrorKind::InvalidInput);
    assert_eq!(error.raw_os_error(), None);
}

#[test]
fn a_ring_that_cannot_be_opened_is_a_ring_error() {
    if !common::ring_is_there() {
        return;
    }
    alone(|| {
        let runtime = common::runtime();
        leave_descriptors(0);
        let before = open_descriptors();
        for (way, pair) in every_way_in::<TcpStream>(&runtime, &common::on_the_ring()) {
            let error = pair.expect_err(way);
            assert_errno(error, Step::Ring, Errno::EMFILE);
        }
        assert_eq!(open_descriptors(), before);
    });
}

/// Counts descriptors without opening one, by the size of the folder (Linux 6.2).
fn open_descriptors() -> u64 {
    std::fs::metadata("/proc/self/fd").unwrap().len()
}

/// A factory has its engine and listener already: the connecting end takes one descriptor, the accepted end another.
fn a_factory_names_the_end_that_lacks_a_descriptor(options: PairOptions) {
    alone(|| {
        let runtime = common::runtime();
        for (left, step) in [(0, Step::Socket), (1, Step::Accept)] {
            let factory = options.factory().unwrap();
            leave_descriptors(left);
            let before = open_descriptors();
            for _ in 0..3 {
                assert_errno(factory.pair_blocking::<TcpStream>().unwrap_err(), step, Errno::EMFILE);
                assert_errno(runtime.block_on(factory.pair::<TcpStream>()).unwrap_err(), step, Errno::EMFILE);
            }
            assert_eq!(open_descriptors(), before);
            common::leave_all_descriptors();
            factory.pair_blocking::<TcpStream>().unwrap();
        }
        drop(runtime);
    });
}

/// The order is: the thread's ring, the listener, the connecting end, the accepted end.
#[test]
fn a_one_shot_names_the_step_that_lacks_a_descriptor() {
    if !common::ring_is_there() {
        return;
    }
    alone(|| {
        for (left, step) in [(0, Step::Ring), (1, Step::Socket), (2, Step::Socket), (3, Step::Accept)] {
            leave_descriptors(left);
            let before = open_descriptors();
            // A failed call keeps no ring, so each call is a first one.
            for _ in 0..3 {
                assert_errno(common::on_the_ring().make_pair_blocking::<TcpStream>().unwrap_err(), step, Errno::EMFILE);
                assert_eq!(open_descriptors(), before);
            }
            common::leave_all_descriptors();
        }
        leave_descriptors(4);
        common::on_the_ring().make_pair_blocking::<TcpStream>().unwrap();
    });
}

fn a_missing_address_is_a_bind_error(options: PairOptions) {
    alone_in_a_network(|| {
        if std::fs::write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "1").is_err() {
            return skip("IPv6 cannot be disabled here");
        }
        let (runtime, before) = (common::runtime(), descriptors());
        let options = options.address(Ipv6Addr::LOCALHOST.into());
        for (way, pair) in every_way_in::<TcpStream>(&runtime, &options) {
            let error = pair.expect_err(way);
            assert_remedy(
                &error,
                "check `ip address show lo`; `::1` is missing if IPv6 is disabled, and every address if `lo` is down",
            );
            assert_errno(error, Step::Bind, Errno::EADDRNOTAVAIL);
        }
        assert_eq!(descriptors(), before);
    });
}

fn no_free_port_fails_at_bind_or_connect(options: PairOptions) {
    alone_in_a_network(|| {
        if std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "20000 20000").is_err() {
            return skip("the port range cannot be set here");
        }
        let runtime = common::runtime();
        let factory = options.factory().unwrap();
        let before = descriptors();
        // The listener has the only port, so the connect finds none.
        let error = factory.pair_blocking::<TcpStream>().unwrap_err();
        assert_remedy(
            &error,
            "all local ports are in use, or the one that was chosen; `Linger::Reset` leaves no TIME_WAIT",
        );
        assert_errno(error, Step::Connect, Errno::EADDRNOTAVAIL);
        assert_errno(factory.pairs_blocking::<TcpStream>(50).unwrap_err(), Step::Connect, Errno::EADDRNOTAVAIL);
        assert_eq!(descriptors(), before);
        drop(factory);
        for (way, pair) in every_way_in::<TcpStream>(&runtime, &options) {
            assert_errno(pair.expect_err(way), Step::Connect, Errno::EADDRNOTAVAIL);
        }
        let _taken = TcpListener::bind("127.0.0.1:20000").unwrap();
        for (way, pair) in every_way_in::<TcpStream>(&runtime, &options) {
            let error = pair.expect_err(way);
            assert_remedy(
                &error,
                "all local ports are in use, or the one that was chosen; `Linger::Reset` leaves no TIME_WAIT",
            );
            assert_errno(error, Step::Bind, Errno::EADDRINUSE);
        }
    });
}

fn an_option_the_kernel_refuses_is_a_set_option_error(options: PairOptions) {
    let options = options.configure(|_, socket| socket.set_only_v6(true));
    assert_errno(options.make_pair_blocking::<TcpStream>().unwrap_err(), Step::SetOption, Errno::ENOPROTOOPT);
}

fn a_lost_handshake_is_a_timeout_that_names_the_step(options: PairOptions) {
    alone_in_a_network(|| {
        let options = options.timeout(Duration::from_millis(30));
        let factory = options.factory().unwrap();
        run("ip", &["link", "set", "lo", "down"]); // drops all packets
        let runtime = common::runtime();
        let before = descriptors();
        for (way, pair) in every_way_in::<TcpStream>(&runtime, &options) {
            assert_timeout(pair.expect_err(way));
        }
        assert_timeout(factory.pair_blocking::<TcpStream>().unwrap_err());
        assert_timeout(factory.pairs_blocking::<TcpStream>(50).unwrap_err());
        assert_eq!(descriptors(), before);
        run("ip", &["link", "set", "lo", "up"]);
        assert_eq!(factory.pairs_blocking::<TcpStream>(50).unwrap().len(), 50);
        assert_eq!(factory.stats().strangers, 0);
    });
}

fn assert_timeout(error: Error) {
    let error = assert_is(error, Step::Timeout, ErrorKind::TimedOut);
    assert_eq!(error.raw_os_error(), None);
    assert_eq!(error.source().unwrap().to_string(), "after 30ms the connect has not completed");
}

on_every_engine!(
    every_error_has_its_text,
    a_printed_chain_names_each_cause_once,
    an_error_converts_to_an_io_error,
    invalid_options_are_an_options_error,
    a_factory_names_the_end_that_lacks_a_descriptor,
    a_missing_address_is_a_bind_error,
    no_free_port_fails_at_bind_or_connect,
    an_option_the_kernel_refuses_is_a_set_option_error,
    a_lost_handshake_is_a_timeout_that_names_the_step,
);

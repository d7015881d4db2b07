//! Owes: an error tells its step in words, its cause behind it, once each, and stays what it is as an `io::Error`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::time::Duration;

use common::{alone, alone_in_a_network, descriptors, every_way_in, leave_descriptors, on_every_engine, run, skip};
use nix::errno::Errno;
use ringpair::{Error, PairOptions, Step};

const TEXTS: [(Step, &str); 11] = [
    (Step::Options, "what was asked for cannot be had here"),
    (Step::Ring, "the io_uring, or the epoll in its place, could not be used"),
    (Step::Socket, "a socket could not be opened"),
    (Step::Bind, "the listener could not be bound to its loopback address"),
    (Step::Listen, "the listener could not listen"),
    (Step::Connect, "the connect failed"),
    (Step::Accept, "the accept failed"),
    (Step::Verify, "the ends could not be asked for their addresses"),
    (Step::SetOption, "a socket option could not be set"),
    (Step::Convert, "the socket could not be turned into the stream asked for"),
    (Step::Timeout, "the pair was not made in time"),
];

#[test]
fn what_unwrap_shows_has_the_cause_and_the_remedy_where_one_is_known() {
    let shown = |error: Error| format!("{error:?}");
    let factory = PairOptions::new().factory().unwrap();
    assert_eq!(
        shown(factory.pairs_blocking::<TcpStream>(usize::MAX).unwrap_err()),
        "Error { step: Socket, source: Os { code: 24, kind: Uncategorized, message: \"Too many open files\" }, remedy: \
         `ulimit -n` limits the descriptors of a process, and a pair takes two }"
    );
    let elsewhere = PairOptions::new().address([192, 0, 2, 1].into()).factory().unwrap_err();
    assert!(
        shown(elsewhere)
            .starts_with("Error { step: Options, source: Custom { kind: InvalidInput, error: \"192.0.2.1 is")
    );
}

#[test]
fn every_step_has_its_text() {
    for (step, text) in TEXTS {
        assert_eq!(step.to_string(), text, "{step:?}");
    }
}

/// Everything that is to be said of any error, and the step and the kind that are to be those of this one.
fn assert_is(error: Error, step: Step, kind: ErrorKind) -> Error {
    assert_eq!((error.step(), error.kind()), (step, kind), "{:?}", error.source());
    let (_, text) = TEXTS.into_iter().find(|(known, _)| *known == step).unwrap();
    assert_eq!(error.to_string(), text);

    let cause = error.source().unwrap().downcast_ref::<io::Error>().expect("the cause is an io::Error");
    assert!(!error.to_string().contains(&cause.to_string()), "the text repeats its cause: {error}");
    assert_eq!((cause.kind(), cause.raw_os_error()), (kind, error.raw_os_error()));
    let as_error: &dyn std::error::Error = &error;
    assert_eq!(as_error.source().unwrap().to_string(), cause.to_string());

    let (cause, errno) = (cause.to_string(), error.raw_os_error());
    let converted = io::Error::from(error);
    assert_eq!(converted.kind(), kind);
    assert_eq!(converted.to_string(), text);
    assert_eq!(converted.source().unwrap().to_string(), cause);
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

/// The whole chain as a reporter prints it: each part once.
fn the_chain_of_an_error_says_each_thing_once(options: PairOptions) {
    let options = options.configure(|_, _| Err(io::Error::other("the test says no")));
    let error = io::Error::from(options.make_pair_blocking::<TcpStream>().unwrap_err());
    let mut chain = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        chain.push(cause.to_string());
        next = cause.source();
    }
    assert_eq!(chain, ["a socket option could not be set", "the test says no"]);
}

/// Errors go through `?` where `io::Result` is the currency.
fn an_error_passes_as_an_io_error(options: PairOptions) {
    fn pair(options: &PairOptions) -> io::Result<(TcpStream, TcpStream)> {
        Ok(options.make_pair_blocking()?)
    }
    pair(&options).unwrap();
    assert_eq!(pair(&options.timeout(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
}

fn refused_options_are_an_options_error(options: PairOptions) {
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

/// As [`descriptors`], where there is none left to ask with: Linux 6.2 and later tell by the folder's size.
fn open_descriptors() -> u64 {
    std::fs::metadata("/proc/self/fd").unwrap().len()
}

/// With a factory's ring and listener there, the first end needs one more descriptor and the second end another one.
fn an_end_that_has_no_descriptor_is_a_socket_or_an_accept_error(options: PairOptions) {
    alone(|| {
        let runtime = common::runtime();
        for (left, step) in [(0, Step::Socket), (1, Step::Accept)] {
            let factory = options.factory().unwrap();
            leave_descriptors(left);
            let before = open_descriptors();
            for _ in 0..3 {
                assert_errno(factory.pair_blocking::<TcpStream>().unwrap_err(), step, Errno::EMFILE);
                #[cfg(any(feature = "tokio-uring", feature = "epoll"))]
                assert_errno(runtime.block_on(factory.pair::<TcpStream>()).unwrap_err(), step, Errno::EMFILE);
            }
            assert_eq!(open_descriptors(), before);
            common::leave_all_descriptors();
            factory.pair_blocking::<TcpStream>().unwrap();
        }
        drop(runtime);
    });
}

/// The listener, the connecting end, the accepted end; before them the thread's ring, where it is an engine that has one.
#[test]
fn a_one_shot_that_lacks_a_descriptor_tells_at_which_step_and_leaves_nothing_open() {
    if !common::ring_is_there() {
        return;
    }
    alone(|| {
        for (left, step) in [(0, Step::Ring), (1, Step::Socket), (2, Step::Socket), (3, Step::Accept)] {
            leave_descriptors(left);
            let before = open_descriptors();
            // A thread that fails keeps no ring, so it is a first call each time.
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

fn an_address_that_is_not_there_is_a_bind_error(options: PairOptions) {
    alone_in_a_network(|| {
        if std::fs::write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "1").is_err() {
            return skip("there is no IPv6 here that could be turned off");
        }
        let (runtime, before) = (common::runtime(), descriptors());
        let options = options.address(Ipv6Addr::LOCALHOST.into());
        for (way, pair) in every_way_in::<TcpStream>(&runtime, &options) {
            let error = pair.expect_err(way);
            assert!(format!("{error:?}").contains("remedy: `ip address show lo` tells"), "{error:?}");
            assert_errno(error, Step::Bind, Errno::EADDRNOTAVAIL);
        }
        assert_eq!(descriptors(), before);
    });
}

fn a_listener_that_finds_no_port_is_a_bind_error_and_a_connect_that_finds_none_a_connect_error(options: PairOptions) {
    alone_in_a_network(|| {
        if std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "20000 20000").is_err() {
            return skip("the range of ports cannot be set here");
        }
        let runtime = common::runtime();
        let factory = options.factory().unwrap();
        let before = descriptors();
        // The one port is the listener's, and there is none for the connect.
        assert_errno(factory.pair_blocking::<TcpStream>().unwrap_err(), Step::Connect, Errno::EADDRNOTAVAIL);
        assert_errno(factory.pairs_blocking::<TcpStream>(50).unwrap_err(), Step::Connect, Errno::EADDRNOTAVAIL);
        assert_eq!(descriptors(), before);
        drop(factory);
        for (way, pair) in every_way_in::<TcpStream>(&runtime, &options) {
            assert_errno(pair.expect_err(way), Step::Connect, Errno::EADDRNOTAVAIL);
        }
        let _taken = TcpListener::bind("127.0.0.1:20000").unwrap();
        for (way, pair) in every_way_in::<TcpStream>(&runtime, &options) {
            let error = pair.expect_err(way);
            assert!(format!("{error:?}").contains("remedy: the local ports are used up"), "{error:?}");
            assert_errno(error, Step::Bind, Errno::EADDRINUSE);
        }
    });
}

fn an_option_that_cannot_be_set_is_a_set_option_error(options: PairOptions) {
    let options = options.configure(|_, socket| socket.set_only_v6(true));
    assert_errno(options.make_pair_blocking::<TcpStream>().unwrap_err(), Step::SetOption, Errno::ENOPROTOOPT);
}

fn a_handshake_that_gets_lost_is_a_timeout_that_tells_how_long_was_waited_and_for_what(options: PairOptions) {
    alone_in_a_network(|| {
        let options = options.timeout(Duration::from_millis(30));
        let factory = options.factory().unwrap();
        run("ip", &["link", "set", "lo", "down"]); // packets are dropped from now on
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
    assert_eq!(error.source().unwrap().to_string(), "after 30ms the connect is not through");
}

on_every_engine!(
    the_chain_of_an_error_says_each_thing_once,
    an_error_passes_as_an_io_error,
    refused_options_are_an_options_error,
    an_end_that_has_no_descriptor_is_a_socket_or_an_accept_error,
    an_address_that_is_not_there_is_a_bind_error,
    a_listener_that_finds_no_port_is_a_bind_error_and_a_connect_that_finds_none_a_connect_error,
    an_option_that_cannot_be_set_is_a_set_option_error,
    a_handshake_that_gets_lost_is_a_timeout_that_tells_how_long_was_waited_and_for_what,
);

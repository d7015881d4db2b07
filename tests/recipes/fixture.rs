//! A pair as a fixture of rstest: each test, and each case, gets one of its own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use ringpair::{Linger, PairOptions};
use rstest::{fixture, rstest};

type Pair = (TcpStream, TcpStream);

#[fixture]
fn pair(#[default(Ipv4Addr::LOCALHOST)] address: Ipv4Addr) -> Pair {
    PairOptions::new().address(address.into()).linger(Linger::Graceful).make_pair_blocking().unwrap()
}

#[rstest]
fn a_byte_goes_through(#[from(pair)] (mut accepted, mut connected): Pair) {
    accepted.write_all(b"x").unwrap();
    let mut byte = [0];
    connected.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"x");
}

#[rstest]
fn an_end_that_is_dropped_ends_the_other(
    #[values("", "some", "more than one byte")] text: &str,
    #[from(pair)] (mut accepted, connected): Pair,
) {
    { connected }.write_all(text.as_bytes()).unwrap();
    assert_eq!(std::io::read_to_string(&mut accepted).unwrap(), text);
}

#[rstest]
fn a_test_may_choose(#[with(Ipv4Addr::new(127, 0, 0, 2))] pair: Pair) {
    assert_eq!(pair.0.local_addr().unwrap().ip(), Ipv4Addr::new(127, 0, 0, 2));
}

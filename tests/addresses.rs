//! Both ends of a pair have each other's address, and the one that was chosen; a one-shot leaves no listener.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use common::{eventually, every_way, on_every_engine, skip};
use ringpair::PairOptions;
use socket2::{Domain, SockRef, Socket, Type};

fn both_ends_have_the_address_that_was_chosen(options: PairOptions) {
    assert_lie_at(&options, Ipv4Addr::LOCALHOST.into()); // unless asked
    for address in [[127, 0, 0, 1], [127, 1, 2, 3], [127, 255, 255, 254]] {
        assert_lie_at(&options.clone().address(address.into()), address.into());
    }
}

fn a_pair_lies_at_the_loopback_address_of_ipv6_too(options: PairOptions) {
    let address = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if let Err(error) = TcpListener::bind(SocketAddr::new(address, 0)) {
        return skip(&format!("::1 cannot be bound here: {error}"));
    }
    assert_lie_at(&options.address(address), address);
}

fn assert_lie_at(options: &PairOptions, address: IpAddr) {
    for (way, pair) in every_way::<TcpStream>(options) {
        let (accepted, connected) = pair.unwrap();
        let (at_accepted, at_connected) = (accepted.local_addr().unwrap(), connected.local_addr().unwrap());
        assert_eq!((at_accepted.ip(), at_connected.ip()), (address, address), "{way}");
        assert_ne!(at_accepted, at_connected, "{way}");
        assert_eq!(accepted.peer_addr().unwrap(), at_connected, "{way}");
        assert_eq!(connected.peer_addr().unwrap(), at_accepted, "{way}");
    }
}

/// Of the two ends only the accepted one has a port that a listener chose: all that one listener accepts share it.
fn the_accepted_ends_of_a_factory_come_first(options: PairOptions) {
    let factory = options.factory().unwrap();
    let mut pairs = factory.pairs_blocking::<TcpStream>(40).unwrap();
    pairs.extend((0..10).map(|_| factory.pair_blocking().unwrap()));
    let runtime = common::runtime();
    runtime.block_on(async {
        use futures_util::StreamExt;

        pairs.extend(factory.pairs(40).await.unwrap());
        pairs.push(factory.pair().await.unwrap());
        pairs.extend(factory.stream(10).map(Result::unwrap).collect::<Vec<_>>().await);
    });
    drop(runtime);
    assert_eq!(factory.stats().listeners, 1);
    let accepted: HashSet<_> = pairs.iter().map(|(accepted, _)| accepted.local_addr().unwrap()).collect();
    let connected: HashSet<_> = pairs.iter().map(|(_, connected)| connected.local_addr().unwrap()).collect();
    assert_eq!((accepted.len(), connected.len()), (1, pairs.len()));
}

/// A one-shot's listener is gone, but the accepted end has `SO_REUSEADDR` from it, and the connected end has not.
fn the_accepted_end_comes_first_whichever_call_made_it(options: PairOptions) {
    for (way, pair) in every_way::<TcpStream>(&options.reuse_address(true)) {
        let (accepted, connected) = pair.unwrap();
        assert!(SockRef::from(&accepted).reuse_address().unwrap(), "{way}");
        assert!(!SockRef::from(&connected).reuse_address().unwrap(), "{way}");
    }
}

fn a_listener_reuses_its_address_as_asked_and_never_its_port(options: PairOptions) {
    for reuse in [None, Some(true), Some(false)] {
        let options = reuse.map_or(options.clone(), |reuse| options.clone().reuse_address(reuse));
        for (way, pair) in every_way::<TcpStream>(&options) {
            let (accepted, connected) = pair.unwrap();
            assert_eq!(SockRef::from(&accepted).reuse_address().unwrap(), reuse.unwrap_or(true), "{way}");
            assert!(!SockRef::from(&accepted).reuse_port().unwrap(), "{way}");
            assert!(!SockRef::from(&connected).reuse_port().unwrap(), "{way}");
        }
    }
}

fn a_one_shot_stops_listening_before_its_pair_is_handed_out(options: PairOptions) {
    for (way, pair) in every_way::<TcpStream>(&options) {
        let (accepted, _connected) = pair.unwrap();
        // The factories of the other ways are gone by now, and their listeners with them.
        assert_nobody_listens_at(accepted.local_addr().unwrap(), way);
    }
    let factory = options.factory().unwrap();
    let (accepted, _connected) = factory.pair_blocking::<TcpStream>().unwrap();
    // What is asserted above can fail: a factory that is kept listens.
    TcpStream::connect(accepted.local_addr().unwrap()).unwrap();
    drop(factory);
    assert_nobody_listens_at(accepted.local_addr().unwrap(), "a dropped factory");
}

/// As long as the accepted end is open, the kernel gives its port to no other listener that asks for any port. But a child that
/// another test has just forked, to ask for a ring, has all descriptors of this process for as long as it lives.
fn assert_nobody_listens_at(address: SocketAddr, way: &str) {
    eventually(&format!("the port is closed: {way}"), || {
        // From another address: else the kernel might choose this very port and connect the socket to itself.
        let stranger = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        stranger.bind(&SocketAddr::from(([127, 9, 9, 9], 0)).into()).unwrap();
        match stranger.connect(&address.into()) {
            Ok(()) => false,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{way}");
                true
            }
        }
    });
}

on_every_engine!(
    both_ends_have_the_address_that_was_chosen,
    a_pair_lies_at_the_loopback_address_of_ipv6_too,
    the_accepted_ends_of_a_factory_come_first,
    the_accepted_end_comes_first_whichever_call_made_it,
    a_listener_reuses_its_address_as_asked_and_never_its_port,
    a_one_shot_stops_listening_before_its_pair_is_handed_out,
);

#[cfg(feature = "tokio-uring")]
mod with_the_default_options {
    use ringpair::{make_socket_pair, with_pair};

    use super::*;

    #[test]
    fn make_socket_pair_and_with_pair_connect_both_ends() {
        if !common::ring_is_there() {
            return;
        }
        let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
        runtime.block_on(async {
            let (accepted, connected) = make_socket_pair().await.unwrap();
            assert_joined(&accepted, &connected).await;
        });
        drop(runtime);
        with_pair(async |accepted, connected| assert_joined(&accepted, &connected).await).unwrap();
    }

    async fn assert_joined(accepted: &tokio_uring::net::TcpStream, connected: &tokio_uring::net::TcpStream) {
        for (from, to) in [(accepted, connected), (connected, accepted)] {
            from.write_all(b"ping".to_vec()).await.0.unwrap();
            let (read, bytes) = to.read(vec![0; 8]).await;
            assert_eq!(&bytes[..read.unwrap()], b"ping");
        }
    }
}

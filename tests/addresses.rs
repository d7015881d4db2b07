//! Both ends of a pair have each other's address, and the one that was chosen; a one-shot leaves no listener.
#![allow(clippy::unwrap_used)]

mod common;
mod every_runtime;

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use common::{eventually, skip};
use every_runtime::{Runtime, assert_is_a_pair, every_way_of, local, on_every_runtime};
use futures_util::StreamExt;
use ringpair::{PairOptions, PairSocket};
use socket2::{Domain, SockRef, Socket, Type};

fn both_ends_have_the_address_that_was_chosen<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        assert_lie_at::<R>(&options, Ipv4Addr::LOCALHOST.into()).await; // unless asked
        for address in [[127, 0, 0, 1], [127, 1, 2, 3], [127, 255, 255, 254]] {
            assert_lie_at::<R>(&options.clone().address(address.into()), address.into()).await;
        }
    });
}

fn a_pair_lies_at_the_loopback_address_of_ipv6_too<R: Runtime>(options: PairOptions) {
    let address = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if let Err(error) = TcpListener::bind(SocketAddr::new(address, 0)) {
        return skip(&format!("::1 cannot be bound here: {error}"));
    }
    R::block_on(assert_lie_at::<R>(&options.address(address), address));
}

async fn assert_lie_at<R: Runtime>(options: &PairOptions, address: IpAddr) {
    for (way, pair) in every_way_of::<R>(options).await {
        let pair = pair.unwrap();
        let (at_accepted, at_connected) = (local(&pair.0), local(&pair.1));
        assert_eq!((at_accepted.ip(), at_connected.ip()), (address, address), "{way}");
        assert_ne!(at_accepted, at_connected, "{way}");
        assert_is_a_pair(&pair);
    }
}

/// Of the two ends only the accepted one has a port that a listener chose: all that one listener accepts share it.
fn the_accepted_ends_of_a_factory_come_first<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        let factory = options.factory().unwrap();
        let mut pairs = factory.pairs_blocking::<R::Stream>(40).unwrap();
        pairs.push(factory.pair_blocking().unwrap());
        pairs.extend(R::pairs(&factory, 40).await.unwrap());
        for _ in 0..10 {
            pairs.push(R::pair(&factory).await.unwrap());
        }
        if R::IS_ASYNC {
            pairs.extend(factory.stream(10).map(Result::unwrap).collect::<Vec<_>>().await);
        }
        assert_eq!(factory.stats().listeners, 1);
        let accepted: HashSet<_> = pairs.iter().map(|(accepted, _)| local(accepted)).collect();
        let connected: HashSet<_> = pairs.iter().map(|(_, connected)| local(connected)).collect();
        assert_eq!((accepted.len(), connected.len()), (1, pairs.len()));
    });
}

/// A one-shot's listener is gone, but the accepted end has `SO_REUSEADDR` from it, and the connected end has not.
fn the_accepted_end_comes_first_whichever_call_made_it<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        for (way, pair) in every_way_of::<R>(&options.reuse_address(true)).await {
            let (accepted, connected) = pair.unwrap();
            assert!(SockRef::from(&accepted.fd()).reuse_address().unwrap(), "{way}");
            assert!(!SockRef::from(&connected.fd()).reuse_address().unwrap(), "{way}");
        }
    });
}

fn a_listener_reuses_its_address_as_asked_and_never_its_port<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        for reuse in [None, Some(true), Some(false)] {
            let options = reuse.map_or(options.clone(), |reuse| options.clone().reuse_address(reuse));
            for (way, pair) in every_way_of::<R>(&options).await {
                let (accepted, connected) = pair.unwrap();
                let reuses = SockRef::from(&accepted.fd()).reuse_address().unwrap();
                assert_eq!(reuses, reuse.unwrap_or(true), "{way}");
                assert!(!SockRef::from(&accepted.fd()).reuse_port().unwrap(), "{way}");
                assert!(!SockRef::from(&connected.fd()).reuse_port().unwrap(), "{way}");
            }
        }
    });
}

fn a_one_shot_stops_listening_before_its_pair_is_handed_out<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        for (way, pair) in every_way_of::<R>(&options).await {
            let (accepted, _connected) = pair.unwrap();
            // The factories of the other ways are gone by now, and their listeners with them.
            assert_nobody_listens_at(local(&accepted), way);
        }
        let factory = options.factory().unwrap();
        let (accepted, _connected) = R::pair(&factory).await.unwrap();
        // What is asserted above can fail: a factory that is kept listens.
        TcpStream::connect(local(&accepted)).unwrap();
        drop(factory);
        assert_nobody_listens_at(local(&accepted), "a dropped factory");
    });
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

on_every_runtime!(
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

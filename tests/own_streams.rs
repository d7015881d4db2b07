//! Each runtime's own streams: in the mode that it needs, closed as asked, and refused elsewhere by an error that says where.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod every_runtime;

use std::io::ErrorKind;

use common::{alone_with_late_handshakes, flags_of};
use every_runtime::{Runtime, assert_is_reset, assert_serves, every_way_of, on_every_runtime};
use futures_util::future::join_all;
use nix::libc::{O_CLOEXEC, O_NONBLOCK};
use ringpair::{Linger, PairOptions};

fn every_call_makes_its_streams<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        for (way, pair) in every_way_of::<R>(&options).await {
            assert_serves::<R>(&mut pair.expect(way)).await;
        }
        for mut pair in R::pairs(&options.factory().unwrap(), 40).await.unwrap() {
            assert_serves::<R>(&mut pair).await;
        }
    });
}

fn late_pairs_are_its_streams_too<R: Runtime>(options: PairOptions) {
    alone_with_late_handshakes(|| {
        R::block_on(async {
            let factory = options.factory().unwrap();
            while factory.stats().parked < 50 {
                for pair in join_all((0..20).map(|_| R::pair(&factory))).await {
                    assert_serves::<R>(&mut pair.unwrap()).await;
                }
                assert_serves::<R>(&mut R::one_shot(&options).await.unwrap()).await;
                assert!(factory.stats().pairs < 100_000, "pairs are not late here");
            }
        });
    });
}

fn a_dropped_end_resets_or_ends_the_other<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        for (linger, reads) in [(Linger::Reset, Err(ErrorKind::ConnectionReset)), (Linger::Graceful, Ok(Vec::new()))] {
            let (accepted, mut connected) = R::one_shot(&options.clone().linger(linger)).await.unwrap();
            drop(accepted);
            assert_eq!(R::read(&mut connected).await.map_err(|error| error.kind()), reads);
        }
    });
}

fn abort_resets_at_once<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        let (accepted, mut connected) = R::one_shot(&options.linger(Linger::Graceful)).await.unwrap();
        ringpair::abort(&accepted).unwrap();
        assert_is_reset::<R>(&mut connected).await;
    });
}

fn its_streams_have_the_mode_that_it_needs<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        for (way, pair) in every_way_of::<R>(&options).await {
            let (accepted, connected) = pair.unwrap();
            for flags in [&accepted, &connected].map(flags_of) {
                assert_ne!(flags & O_CLOEXEC, 0, "{way}");
                if let Some(nonblocking) = R::IS_NONBLOCKING {
                    assert_eq!(flags & O_NONBLOCK != 0, nonblocking, "{way}");
                }
            }
        }
    });
}

on_every_runtime!(
    every_call_makes_its_streams,
    late_pairs_are_its_streams_too,
    a_dropped_end_resets_or_ends_the_other,
    abort_resets_at_once,
    its_streams_have_the_mode_that_it_needs,
);

/// Streams of the standard library are made anywhere, and so are smol's, whose reactor is a thread of its own, and tokio-uring's,
/// which panic when they are used: see below.
#[cfg(any(feature = "tokio", feature = "compio", feature = "monoio"))]
mod outside {
    use super::*;
    use common::{alone, assert_descriptors_become, descriptors};
    use every_runtime::on_runtime;
    use ringpair::Step;

    fn outside_its_runtime_an_error_names_the_call<R: Runtime>(options: PairOptions) {
        let Some(expected) = R::OUTSIDE else { return };
        alone(|| {
            let factory = options.factory().unwrap();
            drop(options.make_pair_blocking::<std::net::TcpStream>().unwrap()); // the thread keeps what it needs
            let before = descriptors();
            for made in [factory.pair_blocking::<R::Stream>(), options.make_pair_blocking::<R::Stream>()] {
                let error = made.map(drop).unwrap_err();
                assert_eq!(error.step(), Step::Convert);
                for part in [expected, "pair_blocking::<std::net::TcpStream>()"] {
                    assert!(error.to_string().contains(part), "{error}");
                }
            }
            assert_descriptors_become(before..=before);
        });
    }

    #[cfg(feature = "tokio")]
    on_runtime!(of_tokio, on_every_engine, crate::every_runtime::Tokio<0>: outside_its_runtime_an_error_names_the_call);
    #[cfg(feature = "compio")]
    on_runtime!(of_compio, on_every_engine, crate::every_runtime::Compio: outside_its_runtime_an_error_names_the_call);
    #[cfg(feature = "monoio")]
    on_runtime!(of_monoio, on_every_engine, crate::every_runtime::Monoio<true>: outside_its_runtime_an_error_names_the_call);
}

#[cfg(feature = "tokio")]
#[test]
fn futures_of_tokio_streams_are_send() {
    use tokio::net::TcpStream;

    fn assert_send<T: Send>(_: T) {}
    let options = PairOptions::new();
    assert_send(ringpair::pair::<TcpStream>());
    assert_send(options.make_pair::<TcpStream>());
    assert_send(options.make_pair_with(|fd| TcpStream::from_std(fd.into())));
    if let Ok(factory) = options.factory() {
        assert_send(factory.pair::<TcpStream>());
        assert_send(factory.pairs::<TcpStream>(1));
        assert_send(factory.stream::<TcpStream>(1));
        assert_send(factory.pair_with(|fd| TcpStream::from_std(fd.into())));
    }
}

#[cfg(feature = "tokio-uring")]
mod of_tokio_uring {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// The table of problems quotes the panic.
    #[test]
    fn in_a_tokio_runtime_its_streams_panic_at_first_use() {
        if !common::ring_is_there() {
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_accepted, connected) = runtime.block_on(ringpair::make_socket_pair()).unwrap();
        let read = AssertUnwindSafe(|| drop(runtime.block_on(connected.read(vec![0]))));
        let write = AssertUnwindSafe(|| drop(runtime.block_on(connected.write_all(vec![0]))));
        for (panic, expected) in [catch_unwind(read), catch_unwind(write)].into_iter().zip(PANICS) {
            let panic = panic.unwrap_err();
            let says = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            assert_eq!(says, Some(expected));
            assert!(include_str!("../README.md").contains(expected));
        }
    }

    const PANICS: [&str; 2] = ["Not in a runtime context", "Could not submit op; not in runtime context"];

    #[cfg(feature = "epoll")]
    #[test]
    fn its_streams_are_refused_on_epoll() {
        use ringpair::Step;

        let options = common::on_epoll();
        let refused = [
            options.make_pair_blocking::<tokio_uring::net::TcpStream>(),
            options.factory().unwrap().pair_blocking(),
            futures_executor::block_on(options.make_pair()),
        ];
        for error in refused.map(|made| made.map(drop).unwrap_err()) {
            assert_eq!((error.step(), error.kind()), (Step::Options, ErrorKind::Unsupported));
        }
    }
}

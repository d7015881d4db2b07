//! Both ends have every option, `configure` has the last word, and invalid options are refused before anything is opened.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use common::{
    alone, descriptors, every_way, every_way_in, flags_of, flags_of_number, limit_descriptors, on_every_engine,
};
use nix::libc::{O_CLOEXEC, O_NONBLOCK};
use nix::sys::socket::{getsockopt, sockopt};
#[cfg(not(feature = "epoll"))]
use ringpair::Backend;
use ringpair::{End, Linger, PairFactory, PairOptions, PairSocket, SockRef, Step};

/// What was asked for on one end, as the kernel has it.
fn assert_on_both_ends<T: PartialEq + std::fmt::Debug>(
    options: &PairOptions,
    expected: T,
    ask: impl Fn(SockRef<'_>) -> T,
) {
    for (way, pair) in every_way::<TcpStream>(options) {
        let (accepted, connected) = pair.unwrap();
        assert_eq!(ask(SockRef::from(&accepted)), expected, "the accepted end of {way}, {options:?}");
        assert_eq!(ask(SockRef::from(&connected)), expected, "the connected end of {way}, {options:?}");
    }
}

/// `SO_LINGER` as it is: on or off, and the seconds, which must be 0 if it is off.
fn linger_of(socket: SockRef<'_>) -> (i32, i32) {
    let linger = getsockopt(&socket.as_fd(), sockopt::Linger).unwrap();
    (linger.l_onoff, linger.l_linger)
}

fn both_ends_linger_as_asked_and_reset_unless_asked(options: PairOptions) {
    assert_on_both_ends(&options, (1, 0), linger_of);
    assert_on_both_ends(&options.clone().linger(Linger::Reset), (1, 0), linger_of);
    assert_on_both_ends(&options.clone().linger(Linger::Graceful), (0, 0), linger_of);
    for seconds in [1, 7, 4_294_967] {
        let wait = Linger::Wait(Duration::from_secs(seconds as u64));
        assert_on_both_ends(&options.clone().linger(wait), (1, seconds), linger_of);
    }
}

fn nodelay_is_as_asked_on_both_ends_and_off_unless_asked(options: PairOptions) {
    let nodelay = |socket: SockRef<'_>| socket.tcp_nodelay().unwrap();
    assert_on_both_ends(&options, false, nodelay);
    assert_on_both_ends(&options.clone().nodelay(true), true, nodelay);
    assert_on_both_ends(&options.clone().nodelay(false), false, nodelay);
    assert_on_both_ends(&options.nodelay(true).nodelay(false), false, nodelay);
}

fn buffers_have_the_size_that_was_asked_for_on_both_ends(options: PairOptions) {
    let recv = |socket: SockRef<'_>| socket.recv_buffer_size().unwrap();
    let send = |socket: SockRef<'_>| socket.send_buffer_size().unwrap();
    // The kernel doubles what it is asked for, and has a least and a greatest size, which a plain socket tells.
    let plain = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    assert_on_both_ends(&options.clone().recv_buffer_size(10_000), 20_000, recv);
    assert_on_both_ends(&options.clone().send_buffer_size(10_000), 20_000, send);
    for bytes in [1, 50_000, i32::MAX as usize] {
        let reference = plain();
        reference.set_recv_buffer_size(bytes).unwrap();
        reference.set_send_buffer_size(bytes).unwrap();
        let (received, sent) = (recv(SockRef::from(&reference)), send(SockRef::from(&reference)));
        assert_on_both_ends(&options.clone().recv_buffer_size(bytes), received, recv);
        assert_on_both_ends(&options.clone().send_buffer_size(bytes), sent, send);
        let both = options.clone().recv_buffer_size(bytes).send_buffer_size(bytes);
        assert_on_both_ends(&both, (received, sent), |socket| {
            (socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap())
        });
    }
}

fn both_ends_are_blocking_and_closed_on_exec(options: PairOptions) {
    fn assert_mode<S: PairSocket>(options: &PairOptions) {
        for (way, pair) in every_way::<S>(options) {
            let (accepted, connected) = pair.unwrap();
            for flags in [flags_of(&accepted), flags_of(&connected)] {
                assert_eq!(flags & O_NONBLOCK, 0, "{way} of {}", std::any::type_name::<S>());
                assert_eq!(flags & O_CLOEXEC, O_CLOEXEC, "{way} of {}", std::any::type_name::<S>());
            }
        }
    }
    assert_mode::<OwnedFd>(&options);
    assert_mode::<TcpStream>(&options);
    assert_mode::<socket2::Socket>(&options);
}

/// A child of the test must not inherit the listener, or connects to it would succeed forever.
fn whatever_is_open_while_a_pair_is_made_is_closed_on_exec(options: PairOptions) {
    alone(|| {
        let before = descriptor_numbers();
        let open = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&open);
        let options = options.configure(move |_, _| {
            seen.lock()
                .unwrap()
                .extend(descriptor_numbers().into_iter().map(|number| (number, flags_of_number(number))));
            Ok(())
        });
        let factory = options.factory().unwrap();
        factory.pair_blocking::<TcpStream>().unwrap();
        options.make_pair_blocking::<TcpStream>().unwrap();
        let open = open.lock().unwrap();
        let ours = open.iter().filter(|(number, _)| !before.contains(number));
        let kept: Vec<_> = ours.filter(|(_, flags)| flags & O_CLOEXEC == 0).collect();
        assert!(kept.is_empty(), "{kept:?}");
        assert!(open.len() > 4 * 2, "nothing was seen: {open:?}");
    });
}

fn descriptor_numbers() -> Vec<i32> {
    let listed = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers: Vec<i32> = listed.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    // All but the one that listed them, which is closed by now.
    numbers.into_iter().filter(|number| std::fs::exists(format!("/proc/self/fd/{number}")).unwrap()).collect()
}

type Seen = Arc<Mutex<Vec<(End, Option<SocketAddr>, Option<SocketAddr>)>>>;

fn configure_is_called_for_the_accepted_end_first(options: PairOptions) {
    let seen = Seen::default();
    let notes = Arc::clone(&seen);
    let options = options.configure(move |end, socket| {
        let (local, peer) = (socket.local_addr()?.as_socket(), socket.peer_addr()?.as_socket());
        notes.lock().unwrap().push((end, local, peer));
        Ok(())
    });
    let made = every_way::<TcpStream>(&options);
    let calls = seen.lock().unwrap();
    let mut calls = calls.chunks(2);
    for (way, pair) in &made {
        let (accepted, connected) = pair.as_ref().unwrap();
        let (at_accepted, at_connected) = (accepted.local_addr().ok(), connected.local_addr().ok());
        let expected = [(End::Accepted, at_accepted, at_connected), (End::Connected, at_connected, at_accepted)];
        // Of a batch of two, the last is in our hands.
        let of_this_way = calls.by_ref().nth(usize::from(way.starts_with("pairs")));
        assert_eq!(of_this_way.unwrap(), expected, "{way}");
    }
    assert_eq!(calls.next(), None);
}

fn configure_finds_all_other_options_set_and_has_the_last_word(options: PairOptions) {
    let options = options.linger(Linger::Graceful).nodelay(true).recv_buffer_size(10_000).configure(|_, socket| {
        assert_eq!(socket.linger()?, None);
        assert!(socket.tcp_nodelay()?);
        assert_eq!(socket.recv_buffer_size()?, 20_000);
        socket.set_linger(Some(Duration::from_secs(3)))?;
        socket.set_recv_buffer_size(20_000)?;
        socket.set_tcp_nodelay(false)
    });
    assert_on_both_ends(&options, ((1, 3), 40_000, false), |socket| {
        let (size, nodelay) = (socket.recv_buffer_size().unwrap(), socket.tcp_nodelay().unwrap());
        (linger_of(socket), size, nodelay)
    });
}

/// No lock is held and nothing of the thread's is borrowed while the caller's code runs.
fn configure_may_make_pairs_with_the_same_factory(options: PairOptions) {
    let factory = Arc::new(OnceLock::<PairFactory>::new());
    let (itself, one_shots, depth) = (Arc::downgrade(&factory), options.clone(), AtomicUsize::new(0));
    let options = options.configure(move |_, _| {
        one_shots.make_pair_blocking::<TcpStream>().unwrap();
        if depth.fetch_add(1, SeqCst) < 3 {
            itself.upgrade().unwrap().get().unwrap().pair_blocking::<TcpStream>().unwrap();
        }
        Ok(())
    });
    let factory = factory.get_or_init(|| options.factory().unwrap());
    assert_eq!(factory.pairs_blocking::<TcpStream>(10).unwrap().len(), 10);
    assert_eq!(factory.stats().pairs, 10 + 3);
    options.make_pair_blocking::<TcpStream>().unwrap();
}

fn an_error_of_configure_is_returned_and_closes_all(options: PairOptions) {
    alone(|| {
        let runtime = common::runtime();
        let before = descriptors();
        for end in [End::Accepted, End::Connected] {
            let options = options.clone().configure(move |at, _| match at == end {
                true => Err(io::Error::new(ErrorKind::QuotaExceeded, "the test says no")),
                false => Ok(()),
            });
            for (way, pair) in every_way_in::<TcpStream>(&runtime, &options) {
                let error = pair.unwrap_err();
                assert_eq!((error.step(), error.kind()), (Step::SetOption, ErrorKind::QuotaExceeded), "{way}");
                assert_eq!(error.source().unwrap().to_string(), "the test says no", "{way}");
                assert_eq!(error.raw_os_error(), None, "{way}");
            }
            assert_eq!(descriptors(), before);
        }
    });
}

/// All or nothing: what was made before the error is closed too, and the factory makes pairs again.
fn an_error_of_configure_closes_the_whole_batch(options: PairOptions) {
    alone(|| {
        let calls = Arc::new(Mutex::new(0));
        let counter = Arc::clone(&calls);
        let options = options.configure(move |_, socket| {
            let mut calls = counter.lock().unwrap();
            *calls += 1;
            if *calls == 141 { Err(socket.set_only_v6(true).unwrap_err()) } else { Ok(()) }
        });
        let factory = options.factory().unwrap();
        let before = descriptors();
        let error = factory.pairs_blocking::<TcpStream>(100).unwrap_err();
        assert_eq!(error.step(), Step::SetOption);
        assert_eq!(*calls.lock().unwrap(), 141);
        assert!(error.raw_os_error().is_some());
        assert_eq!(descriptors(), before);
        assert_eq!(factory.pairs_blocking::<TcpStream>(100).unwrap().len(), 100);
        assert_eq!(descriptors(), before);
    });
}

fn a_panic_in_configure_leaves_nothing_open(options: PairOptions) {
    struct OurPanic;
    alone(|| {
        let armed = Arc::new(Mutex::new(None));
        let trigger = Arc::clone(&armed);
        let options = options.configure(move |end, _| {
            let panics = *trigger.lock().unwrap() == Some(end);
            if panics {
                resume_unwind(Box::new(OurPanic)); // no message, no backtrace
            }
            Ok(())
        });
        let runtime = common::runtime();
        let factory = options.factory().unwrap();
        let before = descriptors();
        for end in [End::Accepted, End::Connected] {
            *armed.lock().unwrap() = Some(end);
            let assert_unwinds = |way: &str, make: &dyn Fn()| {
                let panic = catch_unwind(AssertUnwindSafe(make)).unwrap_err();
                assert!(panic.is::<OurPanic>(), "{way}");
                assert_eq!(descriptors(), before, "{way}");
            };
            assert_unwinds("make_pair_blocking", &|| drop(options.make_pair_blocking::<TcpStream>()));
            assert_unwinds("pair_blocking", &|| drop(factory.pair_blocking::<TcpStream>()));
            assert_unwinds("pairs_blocking", &|| drop(factory.pairs_blocking::<TcpStream>(50)));
            {
                use futures_util::StreamExt;

                assert_unwinds("make_pair", &|| drop(runtime.block_on(options.make_pair::<TcpStream>())));
                assert_unwinds("pair", &|| drop(runtime.block_on(factory.pair::<TcpStream>())));
                assert_unwinds("pairs", &|| drop(runtime.block_on(factory.pairs::<TcpStream>(50))));
                assert_unwinds("stream", &|| drop(runtime.block_on(factory.stream::<TcpStream>(50).next())));
                let mut stream = factory.stream::<TcpStream>(50);
                catch_unwind(AssertUnwindSafe(|| drop(runtime.block_on(stream.next())))).unwrap_err();
                *armed.lock().unwrap() = None;
                runtime.block_on(stream.next()).unwrap().unwrap(); // and goes on
            }
            *armed.lock().unwrap() = None;
            assert_eq!(factory.pairs_blocking::<TcpStream>(10).unwrap().len(), 10);
            factory.pair_blocking::<TcpStream>().unwrap();
            assert_eq!(descriptors(), before);
        }
        drop(runtime);
    });
}

fn options_that_cannot_be_are_refused_before_anything_is_opened(options: PairOptions) {
    alone(|| {
        let runtime = common::runtime();
        let before = descriptors();
        // Whoever tried to open anything from here on would get EMFILE, and report another step.
        limit_descriptors(0);
        for (what, refused) in refusals(&options) {
            for (way, pair) in every_way_in::<TcpStream>(&runtime, &refused) {
                let error = pair.unwrap_err();
                assert_eq!(error.step(), Step::Options, "{what} by {way}: {:?}", error.source());
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{what} by {way}");
                assert_eq!(error.raw_os_error(), None, "{what} by {way}");
                let why = error.source().unwrap().to_string();
                assert!(why.contains(what), "{what} by {way}: {why}");
            }
        }
        // What is asserted above can fail: options that can be do get as far as the limit.
        for (way, pair) in every_way_in::<TcpStream>(&runtime, &options) {
            assert_ne!(pair.unwrap_err().step(), Step::Options, "{way}");
        }
        limit_descriptors(1000);
        assert_eq!(descriptors(), before);
    });
}

/// Each with what its refusal must say.
fn refusals(options: &PairOptions) -> Vec<(&'static str, PairOptions)> {
    let mut refusals = Vec::new();
    for address in [
        "0.0.0.0",
        "10.0.0.1",
        "126.255.255.255",
        "128.0.0.0",
        "192.0.2.1",
        "255.255.255.255", // not in 127.0.0.0/8
        "::",
        "::2",
        "::ffff:127.0.0.1",
        "::7f00:1",
        "fe80::1",
        "2001:db8::1",
    ] {
        refusals.push((address, options.clone().address(address.parse().unwrap())));
    }
    refusals.push(("zero", options.clone().timeout(Duration::ZERO)));
    for (shown, wait) in [
        ("0ns", Duration::ZERO),
        ("1ns", Duration::from_nanos(1)),
        ("999ms", Duration::from_millis(999)),
        ("1.5s", Duration::from_millis(1500)),
        ("2147483648s", Duration::from_secs(1 << 31)),
        ("18446744073709551615", Duration::MAX),
    ] {
        refusals.push((shown, options.clone().linger(Linger::Wait(wait))));
    }
    for (shown, bytes) in [("not 0", 0), ("2147483648", 1 << 31), ("18446744073709551615", usize::MAX)] {
        refusals.push((shown, options.clone().recv_buffer_size(bytes)));
        refusals.push((shown, options.clone().send_buffer_size(bytes)));
    }
    refusals
}

fn an_option_that_was_refused_can_be_set_anew(options: PairOptions) {
    let options = options.timeout(Duration::ZERO).recv_buffer_size(0).address([10, 0, 0, 1].into());
    let options = options.timeout(Duration::MAX).recv_buffer_size(4096).address([127, 0, 0, 1].into());
    for (way, pair) in every_way::<TcpStream>(&options) {
        pair.unwrap_or_else(|error| panic!("{way}: {error}"));
    }
}

on_every_engine!(
    both_ends_linger_as_asked_and_reset_unless_asked,
    nodelay_is_as_asked_on_both_ends_and_off_unless_asked,
    buffers_have_the_size_that_was_asked_for_on_both_ends,
    both_ends_are_blocking_and_closed_on_exec,
    whatever_is_open_while_a_pair_is_made_is_closed_on_exec,
    configure_is_called_for_the_accepted_end_first,
    configure_finds_all_other_options_set_and_has_the_last_word,
    configure_may_make_pairs_with_the_same_factory,
    an_error_of_configure_is_returned_and_closes_all,
    an_error_of_configure_closes_the_whole_batch,
    a_panic_in_configure_leaves_nothing_open,
    options_that_cannot_be_are_refused_before_anything_is_opened,
    an_option_that_was_refused_can_be_set_anew,
);

#[cfg(not(feature = "epoll"))]
#[test]
fn the_epoll_engine_is_refused_without_its_feature() {
    alone(|| {
        let runtime = common::runtime();
        let before = descriptors();
        limit_descriptors(0);
        for (way, pair) in every_way_in::<TcpStream>(&runtime, &PairOptions::new().backend(Backend::Epoll)) {
            let error = pair.unwrap_err();
            assert_eq!((error.step(), error.kind()), (Step::Options, ErrorKind::Unsupported), "{way}");
        }
        limit_descriptors(1000);
        assert_eq!(descriptors(), before);
    });
}

#[cfg(feature = "tokio-uring")]
#[test]
fn tokio_uring_streams_come_blocking_and_closed_on_exec() {
    if !common::ring_is_there() {
        return;
    }
    let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
    runtime.block_on(async {
        let made = common::every_async_way::<tokio_uring::net::TcpStream>(&common::on_the_ring()).await;
        for (way, pair) in made {
            let (accepted, connected) = pair.unwrap();
            for flags in [flags_of(&accepted), flags_of(&connected)] {
                assert_eq!((flags & O_NONBLOCK, flags & O_CLOEXEC), (0, O_CLOEXEC), "{way}");
            }
        }
    });
}

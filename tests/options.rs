//! Both ends have every option, `configure` has the last word, and invalid options are refused before anything is opened.
#![allow(clippy::unwrap_used)]

mod common;
mod every_runtime;

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use common::{
    alone, descriptors, every_way, flags_of, flags_of_number, leave_all_descriptors, limit_descriptors, on_every_engine,
};
use every_runtime::{
    Runtime, assert_becomes, descriptors_once_used, every_way_of, local, on_every_async_runtime, on_every_runtime,
};
use futures_util::{FutureExt, StreamExt};
use nix::libc::{O_CLOEXEC, O_NONBLOCK};
use nix::sys::socket::{getsockopt, sockopt};
#[cfg(not(feature = "epoll"))]
use ringpair::Backend;
use ringpair::{End, Linger, PairFactory, PairOptions, PairSocket, SockRef, Step};

/// What was asked for on one end, as the kernel has it.
async fn assert_on_both_ends<R: Runtime, T: PartialEq + std::fmt::Debug>(
    options: &PairOptions,
    expected: T,
    ask: impl Fn(SockRef<'_>) -> T,
) {
    for (way, pair) in every_way_of::<R>(options).await {
        let (accepted, connected) = pair.unwrap();
        assert_eq!(ask(SockRef::from(&accepted.fd())), expected, "the accepted end of {way}, {options:?}");
        assert_eq!(ask(SockRef::from(&connected.fd())), expected, "the connected end of {way}, {options:?}");
    }
}

/// `SO_LINGER` as it is: on or off, and the seconds, which must be 0 if it is off.
fn linger_of(socket: SockRef<'_>) -> (i32, i32) {
    let linger = getsockopt(&socket.as_fd(), sockopt::Linger).unwrap();
    (linger.l_onoff, linger.l_linger)
}

fn both_ends_linger_as_asked_and_reset_unless_asked<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        assert_on_both_ends::<R, _>(&options, (1, 0), linger_of).await;
        assert_on_both_ends::<R, _>(&options.clone().linger(Linger::Reset), (1, 0), linger_of).await;
        assert_on_both_ends::<R, _>(&options.clone().linger(Linger::Graceful), (0, 0), linger_of).await;
        for seconds in [1, 7, 4_294_967] {
            let wait = Linger::Wait(Duration::from_secs(seconds as u64));
            assert_on_both_ends::<R, _>(&options.clone().linger(wait), (1, seconds), linger_of).await;
        }
    });
}

fn nodelay_is_as_asked_on_both_ends_and_off_unless_asked<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        let nodelay = |socket: SockRef<'_>| socket.tcp_nodelay().unwrap();
        assert_on_both_ends::<R, _>(&options, false, nodelay).await;
        assert_on_both_ends::<R, _>(&options.clone().nodelay(true), true, nodelay).await;
        assert_on_both_ends::<R, _>(&options.clone().nodelay(false), false, nodelay).await;
        assert_on_both_ends::<R, _>(&options.nodelay(true).nodelay(false), false, nodelay).await;
    });
}

fn buffers_have_the_size_that_was_asked_for_on_both_ends<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        let recv = |socket: SockRef<'_>| socket.recv_buffer_size().unwrap();
        let send = |socket: SockRef<'_>| socket.send_buffer_size().unwrap();
        // The kernel doubles what it is asked for, and has a least and a greatest size, which a plain socket tells.
        let plain = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        assert_on_both_ends::<R, _>(&options.clone().recv_buffer_size(10_000), 20_000, recv).await;
        assert_on_both_ends::<R, _>(&options.clone().send_buffer_size(10_000), 20_000, send).await;
        for bytes in [1, 50_000, i32::MAX as usize] {
            let reference = plain();
            reference.set_recv_buffer_size(bytes).unwrap();
            reference.set_send_buffer_size(bytes).unwrap();
            let (received, sent) = (recv(SockRef::from(&reference)), send(SockRef::from(&reference)));
            assert_on_both_ends::<R, _>(&options.clone().recv_buffer_size(bytes), received, recv).await;
            assert_on_both_ends::<R, _>(&options.clone().send_buffer_size(bytes), sent, send).await;
            let both = options.clone().recv_buffer_size(bytes).send_buffer_size(bytes);
            assert_on_both_ends::<R, _>(&both, (received, sent), |socket| {
                (socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap())
            })
            .await;
        }
    });
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
fn whatever_is_open_while_a_pair_is_made_is_closed_on_exec<R: Runtime>(options: PairOptions) {
    alone(|| {
        R::block_on(async {
            descriptors_once_used::<R>(&options).await;
            let before = descriptor_numbers();
            let open = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&open);
            let options = options.configure(move |_, _| {
                let all = descriptor_numbers().into_iter().map(|number| (number, flags_of_number(number)));
                seen.lock().unwrap().extend(all);
                Ok(())
            });
            let factory = options.factory().unwrap();
            R::pair(&factory).await.unwrap();
            R::one_shot(&options).await.unwrap();
            let open = open.lock().unwrap();
            let ours = open.iter().filter(|(number, _)| !before.contains(number));
            let kept: Vec<_> = ours.filter(|(_, flags)| flags & O_CLOEXEC == 0).collect();
            assert!(kept.is_empty(), "{kept:?}");
            assert!(open.len() > 4 * 2, "nothing was seen: {open:?}");
        });
    });
}

fn descriptor_numbers() -> Vec<i32> {
    let listed = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers: Vec<i32> = listed.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    // All but the one that listed them, which is closed by now.
    numbers.into_iter().filter(|number| std::fs::exists(format!("/proc/self/fd/{number}")).unwrap()).collect()
}

type Seen = Arc<Mutex<Vec<(End, Option<SocketAddr>, Option<SocketAddr>)>>>;

fn configure_is_called_for_the_accepted_end_first<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        let seen = Seen::default();
        let notes = Arc::clone(&seen);
        let options = options.configure(move |end, socket| {
            let (local, peer) = (socket.local_addr()?.as_socket(), socket.peer_addr()?.as_socket());
            notes.lock().unwrap().push((end, local, peer));
            Ok(())
        });
        let made = every_way_of::<R>(&options).await;
        let calls = seen.lock().unwrap();
        let mut calls = calls.chunks(2);
        for (way, pair) in &made {
            let (accepted, connected) = pair.as_ref().unwrap();
            let (at_accepted, at_connected) = (Some(local(accepted)), Some(local(connected)));
            let expected = [(End::Accepted, at_accepted, at_connected), (End::Connected, at_connected, at_accepted)];
            // Of a batch of two, the last is in our hands.
            let of_this_way = calls.by_ref().nth(usize::from(way.starts_with("pairs")));
            assert_eq!(of_this_way.unwrap(), expected, "{way}");
        }
        assert_eq!(calls.next(), None);
    });
}

fn configure_finds_all_other_options_set_and_has_the_last_word<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        let options = options.linger(Linger::Graceful).nodelay(true).recv_buffer_size(10_000).configure(|_, socket| {
            assert_eq!(socket.linger()?, None);
            assert!(socket.tcp_nodelay()?);
            assert_eq!(socket.recv_buffer_size()?, 20_000);
            socket.set_linger(Some(Duration::from_secs(3)))?;
            socket.set_recv_buffer_size(20_000)?;
            socket.set_tcp_nodelay(false)
        });
        assert_on_both_ends::<R, _>(&options, ((1, 3), 40_000, false), |socket| {
            let (size, nodelay) = (socket.recv_buffer_size().unwrap(), socket.tcp_nodelay().unwrap());
            (linger_of(socket), size, nodelay)
        })
        .await;
    });
}

/// No lock is held and nothing of the thread's is borrowed while the caller's code runs.
fn configure_may_make_pairs_with_the_same_factory<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        let factory = Arc::new(OnceLock::<PairFactory>::new());
        let (itself, one_shots, depth) = (Arc::downgrade(&factory), options.clone(), AtomicUsize::new(0));
        let options = options.configure(move |_, _| {
            one_shots.make_pair_blocking::<R::Stream>().unwrap();
            if depth.fetch_add(1, SeqCst) < 3 {
                itself.upgrade().unwrap().get().unwrap().pair_blocking::<R::Stream>().unwrap();
            }
            Ok(())
        });
        let factory = factory.get_or_init(|| options.factory().unwrap());
        assert_eq!(R::pairs(factory, 10).await.unwrap().len(), 10);
        assert_eq!(factory.stats().pairs, 10 + 3);
        R::one_shot(&options).await.unwrap();
    });
}

fn an_error_of_configure_is_returned_and_closes_all<R: Runtime>(options: PairOptions) {
    alone(|| {
        R::block_on(async {
            let before = descriptors_once_used::<R>(&options).await;
            for end in [End::Accepted, End::Connected] {
                let options = options.clone().configure(move |at, _| match at == end {
                    true => Err(io::Error::new(ErrorKind::QuotaExceeded, "the test says no")),
                    false => Ok(()),
                });
                for (way, pair) in every_way_of::<R>(&options).await {
                    let error = pair.map(drop).unwrap_err();
                    assert_eq!((error.step(), error.kind()), (Step::SetOption, ErrorKind::QuotaExceeded), "{way}");
                    assert_eq!(error.source().unwrap().to_string(), "the test says no", "{way}");
                    assert_eq!(error.raw_os_error(), None, "{way}");
                }
                assert_eq!(descriptors(), before);
            }
        });
    });
}

/// All or nothing: what was made before the error is closed too, and the factory makes pairs again.
fn an_error_of_configure_closes_the_whole_batch<R: Runtime>(options: PairOptions) {
    alone(|| {
        R::block_on(async {
            descriptors_once_used::<R>(&options).await;
            let calls = Arc::new(Mutex::new(0));
            let counter = Arc::clone(&calls);
            let options = options.configure(move |_, socket| {
                let mut calls = counter.lock().unwrap();
                *calls += 1;
                if *calls == 141 { Err(socket.set_only_v6(true).unwrap_err()) } else { Ok(()) }
            });
            let factory = options.factory().unwrap();
            let before = descriptors();
            let error = R::pairs(&factory, 100).await.map(drop).unwrap_err();
            assert_eq!(error.step(), Step::SetOption);
            assert_eq!(*calls.lock().unwrap(), 141);
            assert!(error.raw_os_error().is_some());
            assert_becomes::<R>(before..=before).await;
            assert_eq!(R::pairs(&factory, 100).await.unwrap().len(), 100);
            assert_becomes::<R>(before..=before).await;
        });
    });
}

fn a_panic_in_configure_leaves_nothing_open<R: Runtime>(options: PairOptions) {
    alone(|| {
        R::block_on(async {
            descriptors_once_used::<R>(&options).await;
            let armed = Arc::new(Mutex::new(None));
            let trigger = Arc::clone(&armed);
            let options = options.configure(move |end, _| {
                let panics = *trigger.lock().unwrap() == Some(end);
                if panics {
                    resume_unwind(Box::new(OurPanic)); // no message, no backtrace
                }
                Ok(())
            });
            let factory = options.factory().unwrap();
            let before = descriptors();
            for end in [End::Accepted, End::Connected] {
                *armed.lock().unwrap() = Some(end);
                assert_unwinds("make_pair_blocking", async { drop(options.make_pair_blocking::<R::Stream>()) }).await;
                assert_unwinds("pair_blocking", async { drop(factory.pair_blocking::<R::Stream>()) }).await;
                assert_unwinds("pairs_blocking", async { drop(factory.pairs_blocking::<R::Stream>(50)) }).await;
                assert_unwinds("make_pair", async { drop(R::one_shot(&options).await) }).await;
                assert_unwinds("pair", async { drop(R::pair(&factory).await) }).await;
                assert_unwinds("pairs", async { drop(R::pairs(&factory, 50).await) }).await;
                assert_becomes::<R>(before..=before).await;
                *armed.lock().unwrap() = None;
                assert_eq!(R::pairs(&factory, 10).await.unwrap().len(), 10);
                R::pair(&factory).await.unwrap();
                assert_becomes::<R>(before..=before).await;
            }
        });
    });
}

fn a_stream_goes_on_after_a_panic_in_configure<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        let panics = AtomicBool::new(true);
        let options = options.configure(move |_, _| match panics.swap(false, SeqCst) {
            true => resume_unwind(Box::new(OurPanic)),
            false => Ok(()),
        });
        let factory = options.factory().unwrap();
        let mut stream = factory.stream::<R::Stream>(50);
        assert_unwinds("stream", async { drop(stream.next().await) }).await;
        stream.next().await.unwrap().unwrap();
    });
}

struct OurPanic;

async fn assert_unwinds(way: &str, call: impl Future<Output = ()>) {
    let panic = AssertUnwindSafe(call).catch_unwind().await.unwrap_err();
    assert!(panic.is::<OurPanic>(), "{way}");
}

fn options_that_cannot_be_are_refused_before_anything_is_opened<R: Runtime>(options: PairOptions) {
    alone(|| {
        R::block_on(async {
            let before = descriptors_once_used::<R>(&options).await;
            // A call that opens anything from here on gets EMFILE, and reports another step.
            limit_descriptors(0);
            for (what, refused) in refusals(&options) {
                for (way, pair) in every_way_of::<R>(&refused).await {
                    let error = pair.map(drop).unwrap_err();
                    assert_eq!(error.step(), Step::Options, "{what} by {way}: {:?}", error.source());
                    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{what} by {way}");
                    assert_eq!(error.raw_os_error(), None, "{what} by {way}");
                    let why = error.source().unwrap().to_string();
                    assert!(why.contains(what), "{what} by {way}: {why}");
                }
            }
            limit_descriptors(1000);
            assert_eq!(descriptors(), before);
            limit_descriptors(0);
            // What is asserted above can fail: options that can be do get as far as the limit.
            for (way, pair) in every_way_of::<R>(&options).await {
                assert_ne!(pair.map(drop).unwrap_err().step(), Step::Options, "{way}");
            }
            leave_all_descriptors(); // so that a failure can be reported
            assert!(descriptors() <= before, "fewer: a thread can lose the listener it keeps");
        });
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

fn an_option_that_was_refused_can_be_set_anew<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        let options = options.timeout(Duration::ZERO).recv_buffer_size(0).address([10, 0, 0, 1].into());
        let options = options.timeout(Duration::MAX).recv_buffer_size(4096).address([127, 0, 0, 1].into());
        for (way, pair) in every_way_of::<R>(&options).await {
            pair.unwrap_or_else(|error| panic!("{way}: {error}"));
        }
    });
}

on_every_runtime!(
    both_ends_linger_as_asked_and_reset_unless_asked,
    nodelay_is_as_asked_on_both_ends_and_off_unless_asked,
    buffers_have_the_size_that_was_asked_for_on_both_ends,
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

/// A stream of pairs is polled, so calls that block have none.
mod awaited {
    use super::*;

    on_every_async_runtime!(a_stream_goes_on_after_a_panic_in_configure);
}

/// Of each stream type that needs no runtime.
mod without_a_runtime {
    use super::*;

    on_every_engine!(both_ends_are_blocking_and_closed_on_exec);
}

#[cfg(not(feature = "epoll"))]
#[test]
fn the_epoll_engine_is_refused_without_its_feature() {
    alone(|| {
        let runtime = common::runtime();
        let before = descriptors();
        limit_descriptors(0);
        for (way, pair) in common::every_way_in::<TcpStream>(&runtime, &PairOptions::new().backend(Backend::Epoll)) {
            let error = pair.unwrap_err();
            assert_eq!((error.step(), error.kind()), (Step::Options, ErrorKind::Unsupported), "{way}");
        }
        limit_descriptors(1000);
        assert_eq!(descriptors(), before);
    });
}

//! If the kernel refuses a call of a pair, the error has the step and the errno and comes in time. Descriptors are as before,
//! and the next pair is made once the cause is gone.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::{
    alone, alone_in_a_network, assert_descriptors_become, descriptors, descriptors_of_more_makers, eventually,
    in_a_thread, is_asleep, on_every_engine, on_the_ring_alone, refuse, run,
};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ringpair::{Error, PairOptions, Step};

/// The step at which a one-shot fails with 0, 1, 2… free descriptors: the engine needs one, then the listener, the connecting
/// socket and the accepted one.
fn ends_of_a_one_shot() -> impl Iterator<Item = (usize, Option<Step>)> {
    let pair = [Some(Step::Socket), Some(Step::Socket), Some(Step::Accept), None, None];
    [Some(Step::Ring)].into_iter().chain(pair).enumerate()
}

fn a_one_shot_without_descriptors_names_the_step(options: PairOptions) {
    alone(|| {
        for (spare, expected) in ends_of_a_one_shot() {
            // In a thread of its own, because the thread keeps its ring after a pair.
            let options = options.clone();
            in_a_thread(move || {
                let before = descriptors();
                let made = with_spare_descriptors(spare, || options.make_pair_blocking::<TcpStream>());
                assert_ends_with(made.as_ref().err(), expected, spare);
                if made.is_err() {
                    assert_eq!(descriptors(), before, "{spare} to spare");
                }
                drop(made);
                options.make_pair_blocking::<TcpStream>().unwrap();
            });
        }
    });
}

fn a_factory_without_descriptors_names_the_step_and_goes_on(options: PairOptions) {
    alone(|| {
        for (spare, expected) in [Some(Step::Ring), Some(Step::Socket), None].into_iter().enumerate() {
            let before = descriptors();
            let made = with_spare_descriptors(spare, || options.factory());
            assert_ends_with(made.as_ref().err(), expected, spare);
            drop(made);
            assert_eq!(descriptors(), before, "{spare} to spare");
        }
        let factory = options.factory().unwrap();
        let before = descriptors();
        for (spare, expected) in [Some(Step::Socket), Some(Step::Accept), None].into_iter().enumerate() {
            for _ in 0..3 {
                let made = with_spare_descriptors(spare, || factory.pair_blocking::<TcpStream>());
                assert_ends_with(made.as_ref().err(), expected, spare);
                drop(made);
                assert_eq!(descriptors(), before, "{spare} to spare");
            }
            factory.pair_blocking::<TcpStream>().unwrap();
        }
        for spare in 0..20 {
            let made = with_spare_descriptors(spare, || factory.pairs_blocking::<TcpStream>(10));
            assert_ends_with(made.as_ref().err(), Some(Step::Socket), spare);
            assert_eq!(descriptors(), before, "{spare} to spare");
        }
        factory.pairs_blocking::<TcpStream>(10).unwrap();
        assert_eq!(factory.stats().strangers, 0, "an abandoned connection is no stranger");
    });
}

fn an_async_call_without_descriptors_names_the_step(options: PairOptions) {
    alone(|| {
        for (spare, expected) in ends_of_a_one_shot() {
            let options = options.clone();
            in_a_thread(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let before = descriptors();
                let made = with_spare_descriptors(spare, || runtime.block_on(options.make_pair::<TcpStream>()));
                assert_ends_with(made.as_ref().err(), expected, spare);
                if made.is_err() {
                    assert_eq!(descriptors(), before, "{spare} to spare");
                }
                runtime.block_on(options.make_pair::<TcpStream>()).unwrap();
            });
        }
    });
}

/// Without the number of open descriptors in /proc, a batch fails while it opens them.
fn a_batch_without_descriptors_names_the_step(options: PairOptions) {
    alone_in_a_network(|| {
        let factory = options.factory().unwrap();
        let before = descriptors();
        run("mount", &["-t", "tmpfs", "none", "/proc"]);
        let made = |spare| with_spare_descriptors(spare, || factory.pairs_blocking::<TcpStream>(16));
        let errors: Vec<_> = (0..40).map(|spare| made(spare).err()).collect();
        run("umount", &["/proc"]);
        for (spare, error) in errors.iter().enumerate() {
            let expected = match spare {
                0..16 => Some(Step::Socket),
                16..32 => Some(Step::Accept),
                _ => None,
            };
            assert_ends_with(error.as_ref(), expected, spare);
        }
        assert_eq!(descriptors(), before);
        factory.pairs_blocking::<TcpStream>(16).unwrap();
        assert_eq!(factory.stats().strangers, 0);
    });
}

/// The limit is on descriptor numbers, and may have been lowered after they were opened.
fn descriptors_beyond_the_limit_take_none_from_a_batch(options: PairOptions) {
    alone(|| {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        if soft < 400 {
            return common::skip("this process may open fewer than 400 descriptors");
        }
        let mut open: Vec<File> = (0..300).map(|_| File::open("/dev/null").unwrap()).collect();
        open.drain(..200);
        let factory = options.factory().unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
        assert_eq!(factory.pairs_blocking::<TcpStream>(10).unwrap().len(), 10);
        let error = factory.pairs_blocking::<TcpStream>(40).unwrap_err();
        assert_is(error, Step::Socket, Errno::EMFILE);
        assert_eq!(factory.stats().pairs, 10);
    });
}

/// A fresh gated listener needs no further descriptor.
fn many_strangers_take_no_descriptor_from_a_pair(options: PairOptions) {
    alone_in_a_network(|| {
        for (spare, expected) in [(2, None), (1, Some(Step::Accept)), (0, Some(Step::Socket))] {
            let factory = options.factory().unwrap();
            let (accepted, connected) = factory.pair_blocking::<TcpStream>().unwrap();
            let listener = accepted.local_addr().unwrap();
            drop((accepted, connected));
            let crowd: Vec<_> = (0..100).map(|_| TcpStream::connect(listener).unwrap()).collect();
            let before = descriptors();
            let made = with_spare_descriptors(spare, || factory.pair_blocking::<TcpStream>());
            assert_ends_with(made.as_ref().err(), expected, spare);
            drop(made);
            assert_eq!(descriptors(), before, "{spare} to spare");
            factory.pair_blocking::<TcpStream>().unwrap();
            drop(crowd);
        }
    });
}

fn a_refused_ring_is_an_error_with_its_errno(options: PairOptions) {
    alone(|| {
        for errno in [Errno::ENOSYS, Errno::EPERM, Errno::EACCES, Errno::EOPNOTSUPP, Errno::EINVAL, Errno::ENOMEM] {
            let options = options.clone();
            in_a_thread(move || {
                let before = descriptors();
                refuse(nix::libc::SYS_io_uring_setup, errno);
                assert_is(options.make_pair_blocking::<TcpStream>().unwrap_err(), Step::Ring, errno);
                assert_is(options.factory().unwrap_err(), Step::Ring, errno);
                assert_eq!(descriptors(), before);
            });
        }
    });
}

fn a_refused_submission_is_an_error_with_its_errno(options: PairOptions) {
    alone(|| {
        for errno in [Errno::EPERM, Errno::ENOSYS, Errno::EAGAIN, Errno::EBUSY, Errno::EBADF] {
            let options = options.clone();
            in_a_thread(move || {
                let before = descriptors();
                let factory = options.factory().unwrap();
                refuse(nix::libc::SYS_io_uring_enter, errno);
                let kept = descriptors();
                for _ in 0..3 {
                    assert_is(factory.pair_blocking::<TcpStream>().unwrap_err(), Step::Ring, errno);
                    assert_is(factory.pairs_blocking::<TcpStream>(40).unwrap_err(), Step::Ring, errno);
                    assert!(descriptors() <= kept);
                }
                assert_is(options.make_pair_blocking::<TcpStream>().unwrap_err(), Step::Ring, errno);
                assert!(descriptors() <= kept);
                drop(factory);
                assert_eq!(descriptors(), before);
            });
        }
    });
}

fn a_factory_works_again_after_a_refused_submission(options: PairOptions) {
    alone(|| {
        let before = descriptors();
        let factory = options.factory().unwrap();
        let listener = factory.pair_blocking::<TcpStream>().unwrap().0.local_addr().unwrap();
        let strangers = [(); 3].map(|()| TcpStream::connect(listener).unwrap());
        in_a_thread(|| {
            refuse(nix::libc::SYS_io_uring_enter, Errno::EPERM);
            assert_is(factory.pair_blocking::<TcpStream>().unwrap_err(), Step::Ring, Errno::EPERM);
        });
        factory.pair_blocking::<TcpStream>().unwrap();
        factory.pairs_blocking::<TcpStream>(100).unwrap();
        for mut stranger in strangers {
            assert_eq!(stranger.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
        assert_eq!(factory.stats().strangers, 3);
        drop(factory);
        assert_eq!(descriptors(), before);
    });
}

/// Each call has a ring to itself.
fn a_refused_submission_disturbs_no_other_call(options: PairOptions) {
    alone_in_a_network(|| {
        let factory = Arc::new(options.timeout(Duration::from_secs(3600)).factory().unwrap());
        run("tc", &["qdisc", "add", "dev", "lo", "root", "blackhole"]);
        let (tell, told) = mpsc::channel();
        for _ in 0..2 {
            let (factory, tell) = (Arc::clone(&factory), tell.clone());
            let thread = Arc::new(AtomicI32::new(0));
            let waiter = Arc::clone(&thread);
            std::thread::spawn(move || {
                waiter.store(nix::unistd::gettid().as_raw(), SeqCst);
                tell.send(factory.pair_blocking::<TcpStream>().map(drop)).unwrap();
            });
            eventually("it waits", || is_asleep(thread.load(SeqCst)));
        }
        in_a_thread(|| {
            refuse(nix::libc::SYS_io_uring_enter, Errno::EPERM);
            assert_is(factory.pair_blocking::<TcpStream>().unwrap_err(), Step::Ring, Errno::EPERM);
        });
        run("tc", &["qdisc", "del", "dev", "lo", "root"]);
        for _ in 0..2 {
            told.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
        }
        factory.pair_blocking::<TcpStream>().unwrap();
    });
}

fn a_ring_that_refuses_is_closed_with_its_listener(options: PairOptions) {
    alone(|| {
        let factory = options.factory().unwrap();
        let listener = factory.pair_blocking::<TcpStream>().unwrap().0.local_addr().unwrap();
        let before = descriptors();
        refuse(nix::libc::SYS_io_uring_setup, Errno::ENOMEM);
        refuse(nix::libc::SYS_io_uring_enter, Errno::EBADFD);
        assert_is(factory.pairs_blocking::<TcpStream>(20).unwrap_err(), Step::Ring, Errno::EBADFD);
        assert!(descriptors() <= before - 3, "the ring, its listener and its spare socket");
        assert_eq!(TcpStream::connect(listener).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_is(factory.pair_blocking::<TcpStream>().unwrap_err(), Step::Ring, Errno::ENOMEM);
        assert!(descriptors() <= before - 3);
    });
}

fn each_refused_system_call_is_an_error_of_its_step(options: PairOptions) {
    use nix::libc;
    let calls = [
        (libc::SYS_socket, Step::Socket, Errno::ENOBUFS),
        (libc::SYS_setsockopt, Step::SetOption, Errno::ENOPROTOOPT),
        (libc::SYS_bind, Step::Bind, Errno::EADDRINUSE),
        (libc::SYS_listen, Step::Listen, Errno::EADDRINUSE),
        (libc::SYS_getsockname, Step::Verify, Errno::ENOBUFS),
    ];
    alone(|| {
        for (call, step, errno) in calls {
            let options = options.clone();
            in_a_thread(move || {
                let before = descriptors();
                refuse(call, errno);
                assert_is(options.make_pair_blocking::<TcpStream>().unwrap_err(), step, errno);
                assert_is(options.factory().unwrap_err(), step, errno);
                assert_eq!(descriptors(), before);
            });
        }
    });
}

fn a_refused_connect_is_an_error_that_leaves_nothing_open(options: PairOptions) {
    alone_in_a_network(|| {
        let factory = options.factory().unwrap();
        // The rule for local addresses gets a lower priority, so that a rule that blocks them comes first.
        run("ip", &["rule", "add", "pref", "10", "lookup", "local"]);
        run("ip", &["rule", "del", "pref", "0"]);
        run("ip", &["rule", "add", "pref", "5", "to", "127.0.0.0/8", "prohibit"]);
        let before = descriptors();
        for _ in 0..3 {
            assert_is(factory.pair_blocking::<TcpStream>().unwrap_err(), Step::Connect, Errno::EACCES);
            assert_is(factory.pairs_blocking::<TcpStream>(100).unwrap_err(), Step::Connect, Errno::EACCES);
            assert_eq!(descriptors(), before);
        }
        run("ip", &["rule", "del", "pref", "5"]);
        factory.pair_blocking::<TcpStream>().unwrap();
        let stats = factory.stats();
        assert_eq!((stats.pairs, stats.strangers), (1, 0));
    });
}

fn missing_ports_are_an_error_of_their_step(options: PairOptions) {
    alone_in_a_network(|| {
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40009").unwrap();
        let factory = options.clone().linger(ringpair::Linger::Graceful).factory().unwrap();
        let mut live = Vec::new();
        let error = loop {
            match factory.pair_blocking::<TcpStream>() {
                Ok(pair) => live.push(pair),
                Err(error) => break error,
            }
            assert!(live.len() <= 10 * 10);
        };
        assert!(matches!(error.step(), Step::Connect | Step::Bind), "{error:?}");
        assert!(matches!(error.raw_os_error(), Some(99 | 98)), "{error:?}"); // EADDRNOTAVAIL, EADDRINUSE
        live.iter().for_each(|(accepted, _)| ringpair::abort(accepted).unwrap());
        drop(live);
        factory.pair_blocking::<TcpStream>().unwrap();
    });
}

fn a_lost_handshake_ends_at_the_deadline(options: PairOptions) {
    alone_in_a_network(|| {
        let options = options.timeout(Duration::from_millis(20));
        let factory = options.factory().unwrap();
        run("tc", &["qdisc", "add", "dev", "lo", "root", "blackhole"]);
        let before = descriptors();
        for _ in 0..3 {
            assert_is_late(factory.pair_blocking::<TcpStream>().unwrap_err());
            assert_is_late(factory.pairs_blocking::<TcpStream>(100).unwrap_err());
            assert_eq!(descriptors(), before);
        }
        in_a_thread({
            let options = options.clone();
            move || assert_is_late(options.make_pair_blocking::<TcpStream>().unwrap_err())
        });
        assert_eq!(descriptors(), before);
        for paused in [false, true] {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().start_paused(paused).build().unwrap();
            let factory = &factory;
            runtime.block_on(async {
                for _ in 0..3 {
                    assert_is_late(factory.pair::<TcpStream>().await.unwrap_err());
                    assert_is_late(factory.pairs::<TcpStream>(100).await.unwrap_err());
                }
                let many = futures_util::future::join_all((0..20).map(|_| factory.pair::<TcpStream>())).await;
                many.into_iter().for_each(|made| assert_is_late(made.unwrap_err()));
            });
            drop(runtime);
            assert_descriptors_become(before..=before + descriptors_of_more_makers(factory.backend()));
        }
        run("tc", &["qdisc", "del", "dev", "lo", "root"]);
        factory.pair_blocking::<TcpStream>().unwrap();
        let stats = factory.stats();
        assert_eq!((stats.pairs, stats.strangers), (1, 0));
    });
}

fn assert_is_late(error: Error) {
    assert_eq!((error.step(), error.kind()), (Step::Timeout, ErrorKind::TimedOut));
    assert_eq!(error.source().unwrap().to_string(), "after 20ms the connect has not completed");
}

fn assert_is(error: Error, step: Step, errno: Errno) {
    assert_eq!((error.step(), error.raw_os_error()), (step, Some(errno as i32)), "{error:?}");
}

fn assert_ends_with(error: Option<&Error>, step: Option<Step>, spare: usize) {
    let found = error.map(|error| (error.step(), error.raw_os_error()));
    assert_eq!(found, step.map(|step| (step, Some(Errno::EMFILE as i32))), "{spare} to spare");
}

/// Runs `act` while this process can open just `spare` more descriptors.
fn with_spare_descriptors<R>(spare: usize, act: impl FnOnce() -> R) -> R {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 256, hard).unwrap();
    let mut occupied = Vec::new();
    while let Ok(null) = File::open("/dev/null") {
        occupied.push(null);
    }
    occupied.truncate(occupied.len() - spare);
    let result = act();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    result
}

on_every_engine!(
    a_one_shot_without_descriptors_names_the_step,
    a_factory_without_descriptors_names_the_step_and_goes_on,
    a_batch_without_descriptors_names_the_step,
    descriptors_beyond_the_limit_take_none_from_a_batch,
    many_strangers_take_no_descriptor_from_a_pair,
    each_refused_system_call_is_an_error_of_its_step,
    a_refused_connect_is_an_error_that_leaves_nothing_open,
    missing_ports_are_an_error_of_their_step,
    a_lost_handshake_ends_at_the_deadline,
);
on_the_ring_alone!(
    a_refused_ring_is_an_error_with_its_errno,
    a_refused_submission_is_an_error_with_its_errno,
    a_factory_works_again_after_a_refused_submission,
    a_refused_submission_disturbs_no_other_call,
    a_ring_that_refuses_is_closed_with_its_listener,
);
mod with_a_runtime {
    use super::*;
    on_every_engine!(an_async_call_without_descriptors_names_the_step);
}

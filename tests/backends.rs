//! `Auto` takes the ring, falls back to epoll only if the ring is absent, and follows the environment. The factory reports its
//! engine. A stream that needs a ring is only made by a ring.
#![cfg(feature = "epoll")]
#![allow(clippy::unwrap_used)]

mod common;

use std::net::TcpStream;

use common::{DESCRIPTORS_OF_A_THREAD, alone_with, descriptors, in_a_thread, kill_callers_of, refuse, ring_is_there};
use nix::errno::Errno;
use nix::libc::{SYS_clone, SYS_clone3, SYS_io_uring_setup, SYS_reboot};
use nix::sys::signal::{SigHandler, Signal, signal};
use ringpair::{Backend, PairOptions, Step};

const ABSENCE: [Errno; 4] = [Errno::ENOSYS, Errno::EPERM, Errno::EACCES, Errno::EOPNOTSUPP];

fn backend_of(options: &PairOptions) -> Backend {
    options.factory().unwrap().backend()
}

fn in_a_thread_without_a_ring(errno: Errno, act: impl FnOnce() + Send) {
    let asked = PairOptions::new().backend(Backend::Uring).factory();
    if asked.is_err_and(|error| error.raw_os_error().is_none()) {
        return common::skip("a filter that kills is in force, and another one cannot have it answer instead");
    }
    in_a_thread(|| {
        refuse(SYS_io_uring_setup, errno);
        act();
    });
}

#[test]
fn auto_takes_the_ring_if_there_is_one() {
    alone_with(&[], || {
        if ring_is_there() {
            assert_eq!(backend_of(&PairOptions::new()), Backend::Uring);
        }
    });
}

/// A thread keeps its engines.
#[test]
fn auto_takes_the_ring_even_after_epoll_was_chosen() {
    alone_with(&[], || {
        if ring_is_there() {
            PairOptions::new().backend(Backend::Epoll).make_pair_blocking::<TcpStream>().unwrap();
            let before = descriptors();
            PairOptions::new().make_pair_blocking::<TcpStream>().unwrap();
            assert_eq!(descriptors(), before + DESCRIPTORS_OF_A_THREAD, "no ring has been opened");
            PairOptions::new().make_pair_blocking::<TcpStream>().unwrap();
            assert_eq!(descriptors(), before + DESCRIPTORS_OF_A_THREAD);
        }
    });
}

#[test]
fn auto_falls_back_to_epoll_if_the_ring_is_absent() {
    alone_with(&[], || {
        for errno in ABSENCE {
            in_a_thread_without_a_ring(errno, || {
                let options = PairOptions::new();
                let factory = options.factory().unwrap();
                assert_eq!(factory.backend(), Backend::Epoll);
                factory.pair_blocking::<TcpStream>().unwrap();
                factory.pairs_blocking::<TcpStream>(100).unwrap();
                options.make_pair_blocking::<TcpStream>().unwrap();
                common::runtime().block_on(async {
                    options.make_pair::<TcpStream>().await.unwrap();
                    factory.pair::<TcpStream>().await.unwrap();
                });
            });
        }
    });
}

#[test]
fn auto_falls_back_to_epoll_if_ring_setup_kills() {
    alone_with(&[], || {
        kill_callers_of(SYS_io_uring_setup);
        let before = descriptors();
        assert_eq!(backend_of(&PairOptions::new()), Backend::Epoll);
        PairOptions::new().make_pair_blocking::<TcpStream>().unwrap();
        let error = PairOptions::new().backend(Backend::Uring).factory().unwrap_err();
        assert_eq!((error.step(), error.kind()), (Step::Ring, std::io::ErrorKind::Unsupported));
        assert!(error.source().unwrap().to_string().contains("seccomp"));
        assert!(!ringpair::ring_or_skip("a test"));
        #[cfg(feature = "tokio-uring")]
        std::thread::spawn(|| assert_eq!(ringpair::with_pair(async |_, _| ()).unwrap_err().step(), Step::Ring))
            .join()
            .unwrap();
        assert_eq!(descriptors(), before + DESCRIPTORS_OF_A_THREAD);
    });
}

fn have_a_harmless_filter() {
    refuse(SYS_reboot, Errno::EPERM);
}

fn assert_only_epoll_is_there() {
    let options = PairOptions::new();
    assert_eq!(backend_of(&options), Backend::Epoll);
    options.make_pair_blocking::<TcpStream>().unwrap();
    assert_eq!(options.backend(Backend::Uring).factory().unwrap_err().kind(), std::io::ErrorKind::Unsupported);
}

#[test]
fn a_filter_that_kills_counts_after_a_harmless_one() {
    alone_with(&[], || {
        have_a_harmless_filter();
        PairOptions::new().make_pair_blocking::<TcpStream>().unwrap();
        in_a_thread(|| {
            kill_callers_of(SYS_io_uring_setup);
            assert_only_epoll_is_there();
        });
        in_a_thread(|| {
            PairOptions::new().factory().unwrap();
            kill_callers_of(SYS_io_uring_setup);
            assert_only_epoll_is_there();
        });
    });
}

#[test]
fn a_filter_that_kills_concerns_only_its_thread() {
    alone_with(&[], || {
        if !ring_is_there() {
            return;
        }
        in_a_thread(|| {
            kill_callers_of(SYS_io_uring_setup);
            assert_only_epoll_is_there();
        });
        in_a_thread(|| {
            have_a_harmless_filter();
            assert_eq!(backend_of(&PairOptions::new()), Backend::Uring);
            assert_eq!(backend_of(&PairOptions::new().backend(Backend::Uring)), Backend::Uring);
        });
        in_a_thread(|| {
            kill_callers_of(SYS_io_uring_setup);
            assert_only_epoll_is_there();
        });
    });
}

#[test]
#[allow(unsafe_code)] // ignores a signal
fn a_filter_that_kills_is_found_with_sigchld_ignored() {
    alone_with(&[], || {
        // SAFETY: no handler is set, and this process belongs to the test.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.unwrap();
        let has_a_ring = ring_is_there();
        in_a_thread(|| {
            have_a_harmless_filter();
            let expected = if has_a_ring { Backend::Uring } else { Backend::Epoll };
            assert_eq!(backend_of(&PairOptions::new()), expected);
        });
        in_a_thread(|| {
            kill_callers_of(SYS_io_uring_setup);
            assert_only_epoll_is_there();
        });
    });
}

#[test]
fn a_filter_that_kills_is_found_without_a_descriptor() {
    alone_with(&[], || {
        kill_callers_of(SYS_io_uring_setup);
        common::leave_descriptors(1);
        let error = PairOptions::new().backend(Backend::Uring).make_pair_blocking::<TcpStream>().unwrap_err();
        common::leave_all_descriptors();
        assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    });
}

#[test]
fn auto_takes_epoll_if_no_process_can_try_a_filter() {
    alone_with(&[], || {
        in_a_thread(|| {
            kill_callers_of(SYS_io_uring_setup);
            [SYS_clone, SYS_clone3].into_iter().for_each(|call| refuse(call, Errno::EAGAIN));
            assert_eq!(backend_of(&PairOptions::new()), Backend::Epoll);
            PairOptions::new().make_pair_blocking::<TcpStream>().unwrap();
        });
    });
}

#[test]
fn inherited_filters_are_checked_once_per_process() {
    common::alone_in_a_container(|| {
        let ask = || in_a_thread(|| drop(PairOptions::new().factory().unwrap()));
        ask();
        let before = common::newest_task();
        (0..20).for_each(|_| ask());
        assert_eq!(common::newest_task() - before, 20, "a number for each thread, and for each child");
    });
}

#[test]
fn auto_does_not_hide_a_failed_ring() {
    alone_with(&[], || {
        for errno in [Errno::ENOMEM, Errno::EMFILE, Errno::EINVAL, Errno::EFAULT] {
            in_a_thread_without_a_ring(errno, || {
                for error in [
                    PairOptions::new().factory().unwrap_err(),
                    PairOptions::new().make_pair_blocking::<TcpStream>().unwrap_err(),
                ] {
                    assert_eq!((error.step(), error.raw_os_error()), (Step::Ring, Some(errno as i32)));
                }
            });
        }
    });
}

#[test]
fn a_chosen_ring_is_not_replaced() {
    alone_with(&[], || {
        for errno in ABSENCE {
            in_a_thread_without_a_ring(errno, || {
                let error = PairOptions::new().backend(Backend::Uring).make_pair_blocking::<TcpStream>().unwrap_err();
                assert_eq!((error.step(), error.raw_os_error()), (Step::Ring, Some(errno as i32)));
            });
        }
    });
}

#[test]
fn a_required_ring_is_not_replaced() {
    alone_with(&[("RINGPAIR_REQUIRE_URING", "1")], || {
        in_a_thread_without_a_ring(Errno::EPERM, || {
            let error = PairOptions::new().factory().unwrap_err();
            assert_eq!((error.step(), error.raw_os_error()), (Step::Ring, Some(Errno::EPERM as i32)));
            assert!(format!("{error:?}").contains("remedy: run `ringpair doctor`"), "{error:?}");
            std::panic::catch_unwind(|| ringpair::ring_or_skip("a test")).unwrap_err();
        });
        assert_eq!(backend_of(&PairOptions::new().backend(Backend::Epoll)), Backend::Epoll, "epoll was chosen");
    });
}

#[test]
fn the_environment_decides_only_for_auto() {
    alone_with(&[("RINGPAIR_BACKEND", "epoll")], || {
        assert_eq!(backend_of(&PairOptions::new()), Backend::Epoll);
        if ring_is_there() {
            assert_eq!(backend_of(&PairOptions::new().backend(Backend::Uring)), Backend::Uring);
        }
    });
}

#[test]
fn the_environment_can_forbid_to_fall_back() {
    alone_with(&[("RINGPAIR_BACKEND", "uring")], || {
        in_a_thread_without_a_ring(Errno::ENOSYS, || {
            let error = PairOptions::new().factory().unwrap_err();
            assert_eq!((error.step(), error.raw_os_error()), (Step::Ring, Some(Errno::ENOSYS as i32)));
        });
    });
}

#[test]
fn an_engine_that_the_environment_misspells_is_refused() {
    alone_with(&[("RINGPAIR_BACKEND", "kqueue")], || {
        let before = descriptors();
        let error = PairOptions::new().factory().unwrap_err();
        assert_eq!((error.step(), error.kind()), (Step::Options, std::io::ErrorKind::InvalidInput));
        assert_eq!(error.source().unwrap().to_string(), r#"RINGPAIR_BACKEND is "kqueue"; it takes uring or epoll"#);
        assert_eq!(descriptors(), before);
    });
}

/// Runs `body` for one value in a process of its own, because the variable is read once per process.
fn alone_with_requirement(value: &str, body: impl FnOnce()) {
    const NAME: &str = "RINGPAIR_REQUIRE_URING";
    alone_with(&[(NAME, value)], || {
        if std::env::var_os(NAME).is_some_and(|found| found == value) {
            body();
        }
    });
}

#[test]
fn every_spelling_of_yes_requires_a_ring() {
    for (value, is_required) in
        [("1", true), ("true", true), ("YES", true), ("On", true), ("0", false), ("False", false)]
            .into_iter()
            .chain([("no", false), ("oFF", false)])
    {
        alone_with_requirement(value, || {
            in_a_thread_without_a_ring(Errno::EPERM, || {
                assert_eq!(PairOptions::new().factory().is_err(), is_required, "{value}");
            });
        });
    }
}

#[test]
fn an_invalid_requirement_is_refused() {
    for value in ["maybe", "", "2", " 1"] {
        alone_with_requirement(value, || {
            let before = descriptors();
            let error = PairOptions::new().factory().unwrap_err();
            assert_eq!((error.step(), error.kind()), (Step::Options, std::io::ErrorKind::InvalidInput));
            let takes = "it takes 1, true, yes, on, 0, false, no or off";
            assert_eq!(error.source().unwrap().to_string(), format!("RINGPAIR_REQUIRE_URING is {value:?}; {takes}"));
            std::panic::catch_unwind(|| ringpair::ring_or_skip("a test")).unwrap_err();
            assert_eq!(descriptors(), before);
            PairOptions::new().backend(Backend::Epoll).factory().unwrap(); // the variable concerns `Auto` only
        });
    }
}

#[test]
fn a_missing_ring_is_skipped_and_a_failed_one_is_not() {
    alone_with(&[], || {
        in_a_thread_without_a_ring(Errno::EPERM, || assert!(!ringpair::ring_or_skip("a test")));
        in_a_thread_without_a_ring(Errno::EMFILE, || {
            std::panic::catch_unwind(|| ringpair::ring_or_skip("a test")).unwrap_err();
        });
    });
}

#[cfg(feature = "tokio-uring")]
#[test]
fn epoll_refuses_a_ring_stream_before_anything_is_opened() {
    type Stream = tokio_uring::net::TcpStream;
    alone_with(&[], || {
        let options = PairOptions::new().backend(Backend::Epoll);
        let factory = options.factory().unwrap();
        let runtime = common::runtime();
        let before = descriptors();
        let mut errors = vec![
            factory.pair_blocking::<Stream>().err(),
            factory.pairs_blocking::<Stream>(3).err(),
            options.make_pair_blocking::<Stream>().err(),
        ];
        runtime.block_on(async {
            errors.push(factory.pair::<Stream>().await.err());
            errors.push(factory.pairs::<Stream>(3).await.err());
            errors.push(options.make_pair::<Stream>().await.err());
        });
        for error in errors.into_iter().map(Option::unwrap) {
            assert_eq!((error.step(), error.kind()), (Step::Options, std::io::ErrorKind::Unsupported));
        }
        assert_eq!(descriptors(), before);
        // If the ring is absent, the error says that instead.
        in_a_thread_without_a_ring(Errno::EPERM, || {
            let error = PairOptions::new().make_pair_blocking::<Stream>().err().unwrap();
            assert_eq!((error.step(), error.raw_os_error()), (Step::Ring, Some(Errno::EPERM as i32)));
        });
    });
}

//! Promises of types: `Send`, sizes, allocations.
#![allow(unsafe_code)] // a global allocator is unsafe by its trait
#![allow(clippy::unwrap_used)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use common::{alone_with_late_handshakes, eventually, on_every_engine, ring_is_there};
use ringpair::{Error, PairFactory, PairOptions, PairSocket};

/// Counts allocations per thread, so that concurrent tests do not affect each other.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count_one() {
    // While a thread ends, its counter is gone.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed to the system's allocator unchanged; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the same.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_one();
        // SAFETY: the same.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.get()
}

fn allocations_of<T>(act: impl FnOnce() -> T) -> (u64, T) {
    let before = allocations();
    let result = act();
    (allocations() - before, result)
}

#[test]
fn the_counter_counts() {
    let (count, kept) = allocations_of(|| vec![Box::new(1), Box::new(2)]);
    assert_eq!((count, kept.len()), (3, 2));
    assert_eq!(allocations_of(|| 1 + 1).0, 0);
}

fn a_warm_factory_makes_pairs_without_allocations(options: PairOptions) {
    let factory = options.factory().unwrap();
    (0..10).for_each(|_| drop(factory.pair_blocking::<OwnedFd>().unwrap()));
    // Enough pairs for a fresh listener.
    let (count, ()) = allocations_of(|| (0..3000).for_each(|_| drop(factory.pair_blocking::<OwnedFd>().unwrap())));
    let stats = factory.stats();
    assert!(stats.listeners > 1);
    assert_eq!(count, 0, "{stats:?}");
}

/// Even the first late pair of a factory.
fn a_late_pair_is_made_without_an_allocation(options: PairOptions) {
    alone_with_late_handshakes(|| {
        let factory = options.factory().unwrap();
        let steer = |to: &str| std::fs::write("/sys/class/net/lo/queues/rx-0/rps_cpus", to).unwrap();
        steer("0");
        (0..10).for_each(|_| drop(factory.pair_blocking::<OwnedFd>().unwrap()));
        steer("2");
        // The other CPU may need some time.
        eventually("ten pairs are late", || {
            let (count, pair) = allocations_of(|| factory.pair_blocking::<OwnedFd>().unwrap());
            drop(pair);
            assert_eq!(count, 0, "{:?}", factory.stats());
            factory.stats().parked >= 10
        });
    });
}

fn a_one_shot_allocates_nothing_after_the_first_of_its_thread(options: PairOptions) {
    (0..10).for_each(|_| drop(options.make_pair_blocking::<OwnedFd>().unwrap()));
    let (count, ()) = allocations_of(|| (0..200).for_each(|_| drop(options.make_pair_blocking::<OwnedFd>().unwrap())));
    assert_eq!(count, 0);
}

/// The returned list, and one more for the descriptors. Before Linux 6.2, also a few to list the open descriptors.
fn allocations_of_a_batch() -> u64 {
    if std::fs::metadata("/proc/self/fd").unwrap().len() > 0 { 2 } else { 32 }
}

fn a_batch_allocates_its_list_and_nothing_for_each_pair(options: PairOptions) {
    let factory = options.factory().unwrap();
    factory.pairs_blocking::<OwnedFd>(64).unwrap();
    for count in [64, 400] {
        let (allocated, pairs) = allocations_of(|| factory.pairs_blocking::<OwnedFd>(count).unwrap());
        assert_eq!(pairs.len(), count);
        assert!(allocated <= allocations_of_a_batch(), "{allocated} for {count} pairs");
    }
}

on_every_engine!(
    a_warm_factory_makes_pairs_without_allocations,
    a_late_pair_is_made_without_an_allocation,
    a_one_shot_allocates_nothing_after_the_first_of_its_thread,
    a_batch_allocates_its_list_and_nothing_for_each_pair,
);

/// `Asked::<T>::IS_SEND` is the inherent constant if `T` is `Send`, and the trait's constant otherwise.
struct Asked<T>(PhantomData<T>);

trait UnlessKnownBetter {
    const IS_SEND: bool = false;
    const IS_SYNC: bool = false;
}

impl<T> UnlessKnownBetter for Asked<T> {}

#[allow(dead_code)]
impl<T: Send> Asked<T> {
    const IS_SEND: bool = true;
}

#[allow(dead_code)]
impl<T: Sync> Asked<T> {
    const IS_SYNC: bool = true;
}

#[test]
fn factories_options_and_errors_are_send_and_sync() {
    fn assert_send_and_sync<T: Send + Sync + 'static>() {}
    assert_send_and_sync::<PairFactory>();
    assert_send_and_sync::<PairOptions>();
    assert_send_and_sync::<Error>();
    assert_send_and_sync::<ringpair::FactoryStats>();
    const { assert!(!Asked::<std::rc::Rc<()>>::IS_SEND && !Asked::<Cell<()>>::IS_SYNC) } // false for types that are not
    const { assert!(Asked::<PairFactory>::IS_SEND && Asked::<PairFactory>::IS_SYNC) }
}

/// Every call returns an `Error` in its `Result`, and clippy's `result_large_err` warns at 128 bytes. Options are moved by every
/// setter, and cloned into every factory.
#[test]
fn options_and_errors_stay_small() {
    assert!(size_of::<Error>() <= 24, "{}", size_of::<Error>());
    assert!(size_of::<PairOptions>() <= 128, "{}", size_of::<PairOptions>());
    assert_eq!(size_of::<Option<Error>>(), size_of::<Error>());
}

/// A stream type that is not `Send`.
struct NotSend(OwnedFd, PhantomData<*const ()>);

impl PairSocket for NotSend {
    fn from_fd(fd: OwnedFd) -> std::io::Result<Self> {
        Ok(NotSend(fd, PhantomData))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[test]
fn a_stream_type_need_not_be_send() {
    if ring_is_there() {
        common::on_the_ring().make_pair_blocking::<NotSend>().unwrap();
    }
}

#[cfg(feature = "tokio-uring")]
mod asynchronous {
    use std::net::TcpStream;

    use ringpair::PairStream;

    use super::*;

    #[test]
    fn futures_of_pairs_go_to_other_threads() {
        fn assert_send<T: Send>(_: &T) {}
        if !ring_is_there() {
            return;
        }
        let (options, factory) = (PairOptions::new(), common::on_the_ring().factory().unwrap());
        assert_send(&options.make_pair::<TcpStream>());
        assert_send(&factory.pair::<TcpStream>());
        assert_send(&factory.pairs::<TcpStream>(3));
        assert_send(&factory.stream::<TcpStream>(3));
        const { assert!(Asked::<PairStream<'static, TcpStream>>::IS_SEND) }
    }

    /// tokio-uring's streams belong to the runtime of their thread, and must not leave it.
    #[test]
    fn a_pair_of_tokio_uring_streams_stays_on_its_thread() {
        type Stream = tokio_uring::net::TcpStream;
        const { assert!(!Asked::<(Stream, Stream)>::IS_SEND && !Asked::<(Stream, Stream)>::IS_SYNC) }
        const { assert!(Asked::<(TcpStream, TcpStream)>::IS_SEND) }
    }

    /// A future is part of each future that awaits it, and is moved into its task: a soak test has thousands.
    #[test]
    fn futures_of_pairs_stay_small() {
        if !ring_is_there() {
            return;
        }
        let (options, factory) = (PairOptions::new(), common::on_the_ring().factory().unwrap());
        for (what, size, bound) in [
            ("make_pair", size_of_val(&options.make_pair::<OwnedFd>()), 512),
            ("make_socket_pair", size_of_val(&ringpair::make_socket_pair()), 640),
            ("pair", size_of_val(&factory.pair::<OwnedFd>()), 384),
            ("pairs", size_of_val(&factory.pairs::<OwnedFd>(3)), 384),
            ("stream", size_of_val(&factory.stream::<OwnedFd>(3)), 320),
        ] {
            assert!(size <= bound, "{what}: {size} bytes");
        }
    }

    /// Returns how many pairs were complete when the submission returned. Waiting for a pair may allocate.
    fn inline(factory: &PairFactory) -> u64 {
        factory.stats().inline
    }

    fn an_async_pair_of_a_warm_factory_allocates_nothing(options: PairOptions) {
        let factory = options.factory().unwrap();
        common::runtime().block_on(async {
            factory.pair::<OwnedFd>().await.unwrap();
            options.make_pair::<OwnedFd>().await.unwrap();
            let mut pairs_seen = 0;
            for _ in 0..500 {
                let (inline_before, before) = (inline(&factory), allocations());
                let pair = factory.pair::<OwnedFd>().await.unwrap();
                let count = allocations() - before;
                if inline(&factory) > inline_before {
                    pairs_seen += 1;
                    assert_eq!(count, 0);
                }
                drop(pair);
            }
            assert!(pairs_seen > 0, "no pair was complete when the submission returned");
        });
    }

    on_every_engine!(an_async_pair_of_a_warm_factory_allocates_nothing);

    #[test]
    fn a_tokio_uring_pair_allocates_only_its_streams() {
        if !ring_is_there() {
            return;
        }
        let factory = common::on_the_ring().factory().unwrap();
        tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap().block_on(async {
            drop(factory.pair::<tokio_uring::net::TcpStream>().await.unwrap());
            let mut pairs_seen = 0;
            for _ in 0..500 {
                let (accepted, connected) = factory.pair_blocking::<TcpStream>().unwrap();
                let convert = || [accepted, connected].map(tokio_uring::net::TcpStream::from_std);
                let (conversion, converted) = allocations_of(convert);
                drop(converted);
                let (inline_before, before) = (inline(&factory), allocations());
                let pair = factory.pair::<tokio_uring::net::TcpStream>().await.unwrap();
                let count = allocations() - before;
                if inline(&factory) > inline_before {
                    pairs_seen += 1;
                    assert!(count <= conversion, "{count} > {conversion}");
                }
                drop(pair);
            }
            assert!(pairs_seen > 0, "no pair was complete when the submission returned");
        });
    }
}

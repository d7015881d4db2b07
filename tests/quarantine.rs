//! The kernel never writes to freed memory, whatever is dropped and when.
//!
//! Sanitizers do not see writes of the kernel. Here every freed block is filled with a pattern and kept for a while; a later
//! write breaks the pattern.
#![allow(unsafe_code)] // an allocator, and one deliberate write to freed memory
#![allow(clippy::unwrap_used)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::future::Future;
use std::hint::spin_loop;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};

use common::{alone, alone_in_a_network, alone_with_late_handshakes, on_the_ring_alone, refuse, run};
use nix::errno::Errno;
use ringpair::{PairFactory, PairOptions};
use socket2::{Domain, Socket, Type};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// How many bytes are kept before the oldest blocks are checked a last time, and freed.
const BYTES: usize = 64 << 20;
const BLOCKS: usize = 1 << 18;

/// The pattern in freed blocks: neither a pointer nor an address family. As a length it is positive, because the kernel does
/// not write if a length is negative.
const PATTERN: u8 = 0x5A;

#[global_allocator]
static QUARANTINE: Quarantine = Quarantine {
    locked: AtomicBool::new(false),
    kept: UnsafeCell::new(Kept {
        blocks: [Block::NONE; BLOCKS],
        first: 0,
        count: 0,
        bytes: 0,
        freed: 0,
        live: 0,
        broken: None,
    }),
};

struct Quarantine {
    /// A lock that never allocates, and that works while a thread ends.
    locked: AtomicBool,
    kept: UnsafeCell<Kept>,
}

// SAFETY: only `with` accesses `kept`, under the lock.
unsafe impl Sync for Quarantine {}

/// Freed blocks, a ring of them: the oldest is at `first`.
struct Kept {
    blocks: [Block; BLOCKS],
    first: usize,
    count: usize,
    bytes: usize,
    /// How many blocks have been freed.
    freed: u64,
    /// How many blocks are allocated.
    live: i64,
    /// The first block that was written to.
    broken: Option<Broken>,
}

#[derive(Clone, Copy)]
struct Block {
    start: *mut u8,
    layout: Layout,
}

#[derive(Clone, Copy)]
struct Broken {
    size: usize,
    offset: usize,
    /// The bytes there, in place of the pattern.
    found: [u8; 16],
}

impl Block {
    const NONE: Block = Block { start: std::ptr::null_mut(), layout: Layout::new::<()>() };

    fn fill(self) {
        // SAFETY: its owner has freed it, and it has not been returned to the system.
        unsafe { self.start.write_bytes(PATTERN, self.layout.size()) };
    }

    fn broken(self) -> Option<Broken> {
        let size = self.layout.size();
        // SAFETY: the block has this size and is still ours. Volatile, because the kernel may write to it.
        let byte = |offset: usize| unsafe { self.start.add(offset).read_volatile() };
        let offset = (0..size).find(|&offset| byte(offset) != PATTERN)?;
        let found = std::array::from_fn(|place| if offset + place < size { byte(offset + place) } else { PATTERN });
        Some(Broken { size, offset, found })
    }
}

impl Kept {
    fn keep(&mut self, block: Block) {
        block.fill();
        self.freed += 1;
        self.live -= 1;
        while self.count > 0 && (self.count == BLOCKS || self.bytes + block.layout.size() > BYTES) {
            self.let_the_oldest_go();
        }
        self.blocks[(self.first + self.count) % BLOCKS] = block;
        self.count += 1;
        self.bytes += block.layout.size();
    }

    fn let_the_oldest_go(&mut self) {
        let block = self.blocks[self.first];
        self.first = (self.first + 1) % BLOCKS;
        self.count -= 1;
        self.bytes -= block.layout.size();
        self.broken = self.broken.or_else(|| block.broken());
        // SAFETY: it came from `System` with this layout, and no code uses it.
        unsafe { System.dealloc(block.start, block.layout) };
    }

    fn look_at_all(&mut self) -> Option<Broken> {
        let all = (0..self.count).map(|number| self.blocks[(self.first + number) % BLOCKS]);
        self.broken = self.broken.or_else(|| { all }.find_map(Block::broken));
        self.broken
    }
}

impl Quarantine {
    /// `act` must not allocate.
    fn with<R>(&self, act: impl FnOnce(&mut Kept) -> R) -> R {
        while self.locked.swap(true, Ordering::Acquire) {
            spin_loop();
            std::thread::yield_now(); // the lock's owner may need this CPU
        }
        // SAFETY: the lock is held, so no other thread accesses `kept`.
        let result = act(unsafe { &mut *self.kept.get() });
        self.locked.store(false, Ordering::Release);
        result
    }
}

// SAFETY: all blocks come from the system; freed blocks are kept, and returned to the system later with their layout.
unsafe impl GlobalAlloc for Quarantine {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.with(|kept| kept.live += 1);
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        self.with(|kept| kept.keep(Block { start, layout }));
    }
}

/// Fails if freed memory has been written to.
fn assert_untouched() {
    let (freed, broken) = QUARANTINE.with(|kept| (kept.freed, kept.look_at_all()));
    if let Some(Broken { size, offset, found }) = broken {
        panic!("{size} bytes that were freed have been written to: from byte {offset} on they are {found:02x?}");
    }
    assert!(freed > 100, "only {freed} blocks have been freed");
}

#[test]
fn a_write_to_freed_memory_is_detected() {
    alone(|| {
        assert_untouched();
        let (read_end, write_end) = nix::unistd::pipe().unwrap();
        nix::unistd::write(&write_end, b"kernel").unwrap();
        let start = Box::leak(Box::new([0u8; 136])).as_mut_ptr();
        // SAFETY: it was leaked from a box in the line before.
        drop(unsafe { Box::from_raw(start.cast::<[u8; 136]>()) });
        // SAFETY: the quarantine keeps freed blocks, and few are freed before the end of this test.
        let freed = unsafe { std::slice::from_raw_parts_mut(start.add(100), 6) };
        assert_eq!(nix::unistd::read(&read_end, freed).unwrap(), 6);
        let broken = QUARANTINE.with(|kept| kept.look_at_all()).unwrap();
        assert_eq!((broken.size, broken.offset, &broken.found[..7]), (136, 100, b"kernelZ".as_slice()));
    });
}

/// The kernel has no reference to operations that it refused.
fn a_refused_submission_leaves_nothing_allocated(options: PairOptions) {
    alone(|| {
        let live = || QUARANTINE.with(|kept| kept.live);
        let barred = std::thread::spawn(move || {
            refuse(nix::libc::SYS_io_uring_enter, Errno::EPERM);
            let fail = || {
                let factory = options.factory().unwrap();
                factory.pair_blocking::<TcpStream>().unwrap_err();
                factory.pairs_blocking::<TcpStream>(40).unwrap_err();
            };
            fail(); // the first call of a process allocates more, and keeps it
            let before = live();
            (0..100).for_each(|_| fail());
            assert_eq!(live(), before);
        });
        barred.join().unwrap();
    });
}

/// How many futures were dropped while in progress.
static UNDER_WAY: AtomicU64 = AtomicU64::new(0);

/// Polls a future at most `max` times, waits a little, and drops it.
async fn poll_and_drop<F: Future<Output = ringpair::Result<T>>, T>(making: F, max: usize, dawdle: usize) {
    let mut making = Box::pin(making); // so that its frame is on the heap
    for number in 0..max {
        if number > 0 {
            tokio::task::yield_now().await;
        }
        if let Poll::Ready(made) = making.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            made.unwrap();
            return;
        }
    }
    // Packets are processed meanwhile, on the other CPU, so each drop meets another state.
    (0..dawdle).for_each(|_| spin_loop());
    UNDER_WAY.fetch_add(u64::from(max > 0), Ordering::Relaxed);
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs `round` with increasing numbers until 200 futures were dropped while in progress.
fn play(mut round: impl FnMut(usize)) {
    alone_with_late_handshakes(|| {
        let mut rounds = 0;
        while UNDER_WAY.load(Ordering::Relaxed) < 200 {
            assert!(rounds < 100_000, "pairs are not late here");
            round(rounds);
            rounds += 1;
        }
        assert_untouched();
    });
}

/// Returns the same sequence in each run, with few similar neighbours.
fn dawdle(number: usize) -> usize {
    number.wrapping_mul(7919) % 2000
}

fn futures_can_be_dropped_at_any_point(options: PairOptions) {
    let kept = std::cell::OnceCell::new();
    play(|round| {
        let (factory, runtime) = kept.get_or_init(|| (options.factory().unwrap(), runtime()));
        runtime.block_on(async {
            for max in 0..6 {
                let dawdle = dawdle(6 * round + max);
                poll_and_drop(factory.pair::<TcpStream>(), max, dawdle).await;
                poll_and_drop(factory.pairs::<TcpStream>(40), max, dawdle).await;
                poll_and_drop(options.make_pair::<TcpStream>(), max, dawdle).await;
            }
        });
    });
}

/// Cancelled accepts can still return strangers, which connect on the other CPU at the same time.
fn futures_can_be_dropped_while_strangers_connect(options: PairOptions) {
    alone_with_late_handshakes(|| {
        let runtime = runtime();
        for round in 0..40 {
            for (number, (making, listener)) in submitted_without_packets(&runtime, &options).into_iter().enumerate() {
                let _strangers = [(); ACCEPTS].map(|()| begin_to_connect(listener));
                (0..dawdle(16 * round + number)).for_each(|_| spin_loop());
                drop(making);
            }
        }
        assert_untouched();
    });
}

fn factories_can_be_dropped_during_attempts(options: PairOptions) {
    let kept = std::cell::OnceCell::new();
    play(|round| {
        let runtime = kept.get_or_init(runtime);
        let factory = Arc::new(options.factory().unwrap());
        let tasks = [40, 1].map(|count| begin(runtime, &factory, count));
        runtime.block_on(tokio::task::yield_now());
        drop(factory);
        (0..dawdle(round)).for_each(|_| spin_loop());
        tasks.iter().for_each(JoinHandle::abort);
        for task in tasks {
            UNDER_WAY.fetch_add(u64::from(runtime.block_on(task).is_err()), Ordering::Relaxed);
        }
    });
}

fn runtimes_can_be_dropped_during_attempts(options: PairOptions) {
    let kept = std::cell::OnceCell::new();
    play(|round| {
        let factory = kept.get_or_init(|| Arc::new(options.factory().unwrap()));
        let (runtime, options) = (runtime(), options.clone());
        let tasks = [40, 1].map(|count| begin(&runtime, factory, count));
        runtime.spawn(async move { options.make_pair::<TcpStream>().await.map(drop) });
        runtime.block_on(tokio::task::yield_now());
        (0..dawdle(round)).for_each(|_| spin_loop());
        let under_way = tasks.iter().filter(|task| !task.is_finished()).count();
        UNDER_WAY.fetch_add(under_way as u64, Ordering::Relaxed);
        drop(runtime);
    });
}

/// A thread's engine for one-shots goes with the thread.
fn threads_can_end_during_attempts(options: PairOptions) {
    play(|round| {
        let options = options.clone();
        let thread = std::thread::spawn(move || {
            runtime().block_on(async {
                let many = (0..8).map(|_| poll_and_drop(options.make_pair::<TcpStream>(), 1, dawdle(round)));
                futures_util::future::join_all(many).await;
            });
        });
        thread.join().unwrap();
    });
}

/// The kernel completes a thread's operations when that thread enters it: here, during a drop in another thread.
fn futures_can_be_dropped_by_another_thread(options: PairOptions) {
    alone_in_a_network(|| {
        let (to_drop, dropping) = mpsc::channel::<(Making, SocketAddr)>();
        let (tell, dropped) = mpsc::channel();
        let begins = Arc::new(AtomicBool::new(false));
        let begun = Arc::clone(&begins);
        let dropper = std::thread::spawn(move || {
            for (making, listener) in dropping {
                let strangers = [(); ACCEPTS].map(|()| begin_to_connect(listener));
                begins.store(true, Ordering::Release);
                drop(making);
                tell.send(strangers).unwrap();
            }
        });
        let runtime = runtime();
        for round in 0..5 {
            for (number, submitted) in submitted_without_packets(&runtime, &options).into_iter().enumerate() {
                to_drop.send(submitted).unwrap();
                while !begun.swap(false, Ordering::Acquire) {
                    spin_loop(); // without entering the kernel, which would accept the strangers
                }
                (0..dawdle(16 * round + number) / 10).for_each(|_| spin_loop());
                while dropped.try_recv().is_err() {
                    std::thread::yield_now();
                }
            }
        }
        drop(to_drop);
        dropper.join().unwrap();
        assert_untouched();
    });
}

/// The number of accepts submitted at once.
const ACCEPTS: usize = 16;

type Making = Pin<Box<dyn Future<Output = ringpair::Result<Vec<(TcpStream, TcpStream)>>> + Send>>;

/// Attempts in progress, with their listeners' addresses. Only their accepts are pending, because all connects were lost.
fn submitted_without_packets(runtime: &Runtime, options: &PairOptions) -> [(Making, SocketAddr); 16] {
    let factories = [(); 16].map(|()| Arc::new(options.factory().unwrap()));
    let found = factories.map(|factory| (runtime.block_on(listener_of(&factory)), factory));
    run("tc", &["qdisc", "add", "dev", "lo", "root", "blackhole"]);
    let submitted = found.map(|(listener, factory)| (runtime.block_on(submit(factory, ACCEPTS)), listener));
    run("tc", &["qdisc", "del", "dev", "lo", "root"]);
    submitted
}

/// The future owns the factory.
async fn submit(factory: Arc<PairFactory>, count: usize) -> Making {
    let mut making: Making = Box::pin(async move { factory.pairs(count).await });
    assert!(making.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    making
}

fn begin(runtime: &Runtime, factory: &Arc<PairFactory>, count: usize) -> JoinHandle<()> {
    let factory = Arc::clone(factory);
    runtime.spawn(async move { drop(factory.pairs::<TcpStream>(count).await.unwrap()) })
}

/// Returns the address of the factory's listener.
async fn listener_of(factory: &PairFactory) -> SocketAddr {
    factory.pair::<TcpStream>().await.unwrap().1.peer_addr().unwrap()
}

/// Starts the connect of a stranger.
fn begin_to_connect(listener: SocketAddr) -> Socket {
    let stranger = Socket::new(Domain::for_address(listener), Type::STREAM, None).unwrap();
    stranger.set_nonblocking(true).unwrap();
    let _ = stranger.connect(&listener.into()); // EINPROGRESS
    stranger
}

// The epoll engine gives the kernel no memory to write to.
on_the_ring_alone!(
    a_refused_submission_leaves_nothing_allocated,
    futures_can_be_dropped_at_any_point,
    futures_can_be_dropped_while_strangers_connect,
    futures_can_be_dropped_by_another_thread,
    factories_can_be_dropped_during_attempts,
    runtimes_can_be_dropped_during_attempts,
    threads_can_end_during_attempts,
);

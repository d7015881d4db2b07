//! The world of a schedule: a runtime, some factories, and futures in all states.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::StreamExt;
use ringpair::{Backend, Linger, PairFactory, PairOptions, PairSocket, Result};
use socket2::{Domain, Socket, Type};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::common::{
    DESCRIPTORS_OF_A_THREAD, descriptors, descriptors_of_a_factory, descriptors_of_more_makers, eventually, run,
};
use crate::steps::{Kind, Step, Way};

/// Long enough to be reached only if a wake is lost.
const NEVER: Duration = Duration::from_secs(40);
/// Short enough to expire at any point.
const SOON: Duration = Duration::from_micros(300);

/// Whether this network drops all packets.
static IS_DARK: AtomicBool = AtomicBool::new(false);

fn is_dark() -> bool {
    IS_DARK.load(Relaxed)
}

type Making = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A panic that a schedule asked for.
pub(crate) struct Wanted;

thread_local! {
    static CONFIGURE: Cell<u32> = const { Cell::new(0) };
    static FROM_FD: Cell<u32> = const { Cell::new(0) };
}

fn count_down(calls_left: &'static std::thread::LocalKey<Cell<u32>>) {
    match calls_left.get() {
        0 => {}
        1 => {
            calls_left.set(0);
            panic_any(Wanted);
        }
        calls => calls_left.set(calls - 1),
    }
}

/// A stream whose conversion may panic.
struct Line(TcpStream);

impl PairSocket for Line {
    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        count_down(&FROM_FD);
        Ok(Line(fd.into()))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A factory, and what it should have counted.
pub(crate) struct Counted {
    factory: PairFactory,
    hasty: bool,
    made: AtomicU64,
    strangers: AtomicU64,
}

impl Counted {
    pub(crate) fn open(options: &PairOptions, graceful: bool, hasty: bool) -> Arc<Counted> {
        let linger = if graceful { Linger::Graceful } else { Linger::Reset };
        let timeout = if hasty { SOON } else { NEVER };
        let factory = options.clone().linger(linger).timeout(timeout).factory().unwrap();
        Arc::new(Counted { factory, hasty, made: AtomicU64::new(0), strangers: AtomicU64::new(0) })
    }

    /// Takes over pairs, and checks that each is ours. A hasty factory may have timed out.
    fn take(&self, made: Result<Vec<(Line, Line)>>) {
        match made {
            Ok(pairs) => {
                self.made.fetch_add(pairs.len() as u64, Relaxed);
                pairs.into_iter().for_each(assert_is_our_own);
            }
            Err(error) => assert!(self.hasty && error.kind() == ErrorKind::TimedOut, "{error:?}"),
        }
    }

    async fn make(self: Arc<Self>, way: Way, options: PairOptions) {
        match way {
            Way::Pair => self.take(self.factory.pair().await.map(|pair| vec![pair])),
            Way::Pairs(count) => self.take(self.factory.pairs(count).await),
            Way::Stream(count) => {
                let mut stream = self.factory.stream(count);
                while let Some(pair) = stream.next().await {
                    self.take(pair.map(|pair| vec![pair]));
                }
            }
            Way::OneShot => {
                drop(self);
                assert_is_our_own(options.timeout(NEVER).make_pair().await.unwrap());
            }
        }
    }

    /// Once no call is in progress, all strangers have been turned away and counted.
    pub(crate) fn assert_adds_up(&self, exact: bool) {
        let stats = self.factory.stats();
        assert_eq!((stats.pairs, stats.inline + stats.parked), (self.made.load(Relaxed), stats.pairs), "{stats:?}");
        let strangers = self.strangers.load(Relaxed);
        let all = if exact { stats.strangers == strangers } else { stats.strangers <= strangers };
        assert!(all, "{strangers} strangers came: {stats:?}");
    }
}

pub(crate) struct World {
    backend: Backend,
    options: PairOptions,
    kind: Kind,
    runtime: Option<Runtime>,
    factories: Vec<Arc<Counted>>,
    makings: Vec<Making>,
    tasks: Vec<JoinHandle<()>>,
    strangers: Vec<TcpStream>,
    was_dark: bool,
    /// Whether no other thread uses the same factories.
    alone: bool,
    /// Whether no runtime thread has used them either. A thread that closes a listener may reset a stranger that it did not
    /// count.
    exact: bool,
    /// The descriptors open before this world.
    open: usize,
}

impl World {
    pub(crate) fn new(options: &PairOptions, kind: Kind, shared: Vec<Arc<Counted>>) -> World {
        let options = options.clone().configure(|_, _| {
            count_down(&CONFIGURE);
            Ok(())
        });
        let backend = options.factory().unwrap().backend();
        let mut world = World {
            backend,
            options,
            kind,
            runtime: None,
            alone: shared.is_empty(),
            exact: shared.is_empty(),
            factories: shared,
            makings: Vec::new(),
            tasks: Vec::new(),
            strangers: Vec::new(),
            was_dark: false,
            open: 0,
        };
        if world.alone {
            of_a_runtime(kind); // measured while no call is in progress
            world.open = descriptors();
        }
        world.start_anew(kind);
        world
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    pub(crate) fn play(&mut self, step: &Step) {
        match *step {
            Step::OpenFactory { graceful, hasty } => {
                self.factories.push(Counted::open(&self.options, graceful, hasty));
            }
            Step::DropFactory(which) => drop(take(&mut self.factories, which)),
            Step::Begin { factory, way } => {
                if let Some(factory) = choose(&self.factories, factory) {
                    self.makings.push(Box::pin(Arc::clone(factory).make(way, self.options.clone())));
                }
            }
            Step::Poll(which) => self.poll(which, Waker::noop()),
            Step::PollOwning { polled, owned } => {
                let owned = Arc::new(Owning(Mutex::new(take(&mut self.makings, owned))));
                self.poll(polled, &Waker::from(owned));
            }
            Step::Drop(which) => drop(take(&mut self.makings, which)),
            Step::Spawn(which) => {
                if let Some(making) = take(&mut self.makings, which) {
                    self.tasks.push(self.runtime().handle.spawn(making));
                }
            }
            Step::Abort(which) => {
                if let Some(task) = choose(&self.tasks, which) {
                    task.abort();
                }
            }
            Step::Turn => self.runtime().turn(),
            Step::Block { factory, count } => self.block(factory, count),
            Step::BlockOneShot if !is_dark() => {
                caught(|| self.options.make_pair_blocking().map(assert_is_our_own).unwrap());
            }
            Step::Stranger { factory } => self.let_a_stranger_come(factory),
            Step::Stats { factory } => {
                if let Some(counted) = choose(&self.factories, factory) {
                    let stats = counted.factory.stats();
                    assert!(stats.strangers <= counted.strangers.load(Relaxed), "{stats:?}");
                }
            }
            Step::PanicInConfigure(calls) => CONFIGURE.set(calls),
            Step::PanicInFromFd(calls) => FROM_FD.set(calls),
            Step::NextRuntime(kind) => self.start_anew(kind),
            Step::DropAll => self.drop_all(),
            Step::Blackhole(is_on) if self.alone => self.darken(is_on),
            Step::BlockOneShot | Step::Blackhole(_) => {}
        }
    }

    /// Completes everything that was not dropped. Then drops everything, and checks the counts.
    pub(crate) fn end(mut self) {
        CONFIGURE.set(0);
        FROM_FD.set(0);
        self.darken(false);
        if self.was_dark {
            self.drop_all(); // a SYN that was dropped would be resent only after a second
        }
        let handle = self.runtime().handle.clone();
        self.tasks.extend(self.makings.drain(..).map(|making| handle.spawn(making)));
        drop(handle); // it keeps the runtime's descriptors open
        for task in std::mem::take(&mut self.tasks) {
            let done = self.runtime().block_on(async { tokio::time::timeout(NEVER / 2, task).await });
            match done.expect("a future that was not dropped never completes") {
                Err(error) if error.is_panic() => assert_was_wanted(error.into_panic()),
                _ => {}
            }
        }
        self.drop_all();
        if self.alone {
            self.factories.iter().for_each(|counted| counted.assert_adds_up(self.exact));
        }
    }

    fn poll(&mut self, which: usize, waker: &Waker) {
        if self.makings.is_empty() {
            return;
        }
        let place = which % self.makings.len();
        let handle = self.runtime().handle.clone();
        let inside = handle.enter();
        let polled = caught(|| self.makings[place].as_mut().poll(&mut Context::from_waker(waker)));
        drop(inside);
        if polled != Some(Poll::Pending) {
            drop(self.makings.swap_remove(place));
        }
    }

    fn block(&self, factory: usize, count: usize) {
        let Some(counted) = choose(&self.factories, factory).filter(|_| !is_dark()) else { return };
        caught(|| match count {
            1 => counted.take(counted.factory.pair_blocking().map(|pair| vec![pair])),
            _ => counted.take(counted.factory.pairs_blocking(count)),
        });
    }

    /// Connects a stranger to the listener in use, and waits until it has arrived.
    fn let_a_stranger_come(&mut self, factory: usize) {
        let Some(counted) = choose(&self.factories, factory).filter(|_| !is_dark()) else { return };
        let Some(Ok((accepted, connected))) = caught(|| counted.factory.pair_blocking::<Line>()) else { return };
        counted.made.fetch_add(1, Relaxed);
        let listener = accepted.0.local_addr().unwrap();
        drop((accepted, connected));
        counted.strangers.fetch_add(1, Relaxed); // before another thread can turn it away
        match connect_through_a_gate(listener) {
            Ok(stranger) => {
                eventually("a stranger arrives", || has_arrived(&stranger, listener));
                self.strangers.push(stranger);
            }
            Err(error) => assert!(!self.exact, "the listener in use accepts no connection: {error}"),
        }
    }

    /// Continues in another runtime. The tasks of this runtime are dropped.
    fn start_anew(&mut self, kind: Kind) {
        self.kind = kind;
        self.exact &= !matches!(kind, Kind::TokioOfTwoThreads);
        self.runtime = None;
        self.tasks.clear();
        self.runtime = Some(Runtime::start(kind));
    }

    fn drop_all(&mut self) {
        self.makings.clear();
        self.tasks.iter().for_each(JoinHandle::abort);
        for task in std::mem::take(&mut self.tasks) {
            if let Err(error) = self.runtime().block_on(task) {
                if error.is_panic() {
                    assert_was_wanted(error.into_panic());
                }
            }
        }
        self.strangers.clear();
        if let Kind::TokioOfTwoThreads = self.kind {
            self.start_anew(self.kind); // its threads keep an engine each until they end
        }
        if self.alone {
            let of_factories = descriptors_of_a_factory(self.backend) * self.factories.len();
            let all = self.open + of_a_runtime(self.kind) + of_factories;
            // A one-shot that began in this thread takes its engine to the thread that finishes it.
            let least = if self.exact { all } else { all - DESCRIPTORS_OF_A_THREAD };
            let most = all + descriptors_of_more_makers(self.backend) * self.factories.len();
            assert!((least..=most).contains(&descriptors()), "{} and not {least} to {most} open", descriptors());
        }
    }

    fn darken(&mut self, is_on: bool) {
        if is_dark() != is_on {
            run("tc", &["qdisc", if is_on { "add" } else { "del" }, "dev", "lo", "root", "blackhole"]);
            IS_DARK.store(is_on, Relaxed);
            self.was_dark = true;
        }
    }
}

struct Runtime {
    handle: Handle,
    kept: Kept,
}

enum Kept {
    Tokio(tokio::runtime::Runtime),
    #[cfg(feature = "tokio-uring")]
    TokioUring(tokio_uring::Runtime),
}

impl Runtime {
    fn start(kind: Kind) -> Runtime {
        let kept = match kind {
            #[cfg(feature = "tokio-uring")]
            Kind::TokioUring if crate::has_ring() => {
                let mut runtime = None;
                // Without CAP_IPC_LOCK, memory of earlier rings may not be released yet.
                eventually("there is memory for a ring", || {
                    runtime = tokio_uring::Runtime::new(tokio_uring::builder().entries(8)).ok();
                    runtime.is_some()
                });
                Kept::TokioUring(runtime.unwrap())
            }
            Kind::TokioOfTwoThreads => {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                Kept::Tokio(builder.worker_threads(1).enable_all().build().unwrap())
            }
            _ => Kept::Tokio(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()),
        };
        let handle = kept.block_on(async { Handle::current() });
        Runtime { handle, kept }
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.kept.block_on(future)
    }

    fn turn(&self) {
        self.block_on(async {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        });
    }
}

/// How many descriptors such a runtime has open.
fn of_a_runtime(kind: Kind) -> usize {
    static MEASURED: OnceLock<[usize; 3]> = OnceLock::new();
    let measure = |kind| {
        drop(Runtime::start(kind)); // the first runtime of a process opens more, and keeps it
        let before = descriptors();
        let _runtime = Runtime::start(kind);
        descriptors() - before
    };
    MEASURED.get_or_init(|| [Kind::Tokio, Kind::TokioOfTwoThreads, Kind::TokioUring].map(measure))[kind as usize]
}

impl Kept {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        match self {
            Kept::Tokio(runtime) => runtime.block_on(future),
            #[cfg(feature = "tokio-uring")]
            Kept::TokioUring(runtime) => runtime.block_on(future),
        }
    }
}

/// A waker that owns a future, as in executors that drop a task with its last waker.
struct Owning(Mutex<Option<Making>>);

impl Wake for Owning {
    fn wake(self: Arc<Self>) {
        let owned = self.0.lock().unwrap().take();
        drop(owned);
    }
}

fn choose<T>(among: &[T], which: usize) -> Option<&T> {
    among.get(which % among.len().max(1))
}

fn take<T>(among: &mut Vec<T>, which: usize) -> Option<T> {
    (!among.is_empty()).then(|| among.swap_remove(which % among.len()))
}

/// `None` if it panicked as scheduled.
fn caught<T>(act: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(act)).map_err(assert_was_wanted).ok()
}

fn assert_was_wanted(panic: Box<dyn Any + Send>) {
    if !panic.is::<Wanted>() {
        resume_unwind(panic);
    }
}

/// Connects a stranger that passes the gate.
fn connect_through_a_gate(listener: SocketAddr) -> io::Result<TcpStream> {
    let stranger = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    stranger.set_ttl_v4(255)?;
    stranger.connect(&listener.into())?;
    Ok(stranger.into())
}

/// Whether the kernel has the other end of this connection, or had it and has reset it.
fn has_arrived(stranger: &TcpStream, listener: SocketAddr) -> bool {
    let hex = |port: u16| format!("0100007F:{port:04X}");
    let other_end = format!("{} {} 01 ", hex(listener.port()), hex(stranger.local_addr().unwrap().port()));
    let is_reset = || {
        stranger.set_nonblocking(true).unwrap();
        !matches!(stranger.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&other_end) || is_reset()
}

/// Each end gets a token from the other end, and nothing before it. Without packets no token arrives.
fn assert_is_our_own((mut accepted, mut connected): (Line, Line)) {
    assert_eq!(accepted.0.peer_addr().unwrap(), connected.0.local_addr().unwrap());
    assert_eq!(connected.0.peer_addr().unwrap(), accepted.0.local_addr().unwrap());
    if is_dark() {
        return;
    }
    let token = accepted.0.peer_addr().unwrap().port().to_be_bytes();
    accepted.0.write_all(&token).unwrap();
    connected.0.write_all(&token).unwrap();
    for end in [&mut accepted.0, &mut connected.0] {
        let mut read = [0; 2];
        end.read_exact(&mut read).unwrap();
        assert_eq!(read, token);
    }
}

//! Makes, uses and closes pairs, by the thousand or by the hour, and reports failures, times and what is left open.
//!
//! ```
//! # #[cfg(feature = "tokio")]
//! # fn main() -> Result<(), ringpair::measure::Error> {
//! use ringpair::measure::soak::Soak;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::TcpStream;
//!
//! let report = Soak::new().pairs(200).concurrency(4).run(async |accepted: &mut TcpStream, connected: &mut TcpStream, _| {
//!     connected.write_all(b"ping").await?;
//!     let mut read = [0; 4];
//!     accepted.read_exact(&mut read).await?;
//!     assert_eq!(&read, b"ping");
//!     Ok(())
//! })?;
//! assert!(report.is_clean(), "{:?}", report.complaints());
//! assert_eq!(report.make.count(), 200);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "tokio"))]
//! # fn main() {}
//! ```
//!
//! Each thread has its own factory and runtime: tokio-uring for streams that need a ring, otherwise tokio with IO and time
//! enabled. A task makes a pair, runs the body, and closes the pair, the accepted end first. If pairs are
//! [held open](Soak::live), it closes the oldest of those instead.
//!
//! With a [rate](Soak::rate), pairs begin at planned times. A late pair is timed from its planned time, so that a stall shows in
//! every pair that it delays (no coordinated omission).
//!
//! Nothing hangs. A pair that exceeds its [deadline](Soak::pair_timeout) is reset, and a thread that a body blocks is given up.
//! Leaks of descriptors and memory are judged for this process. Sockets and TIME_WAIT belong to the network namespace, and are
//! judged only if [nothing else uses it](Soak::own_network).

mod course;
mod ledger;
mod report;
mod resource_usage;
mod totals;
mod worker;
mod workers;

use std::io;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};

use crate::measure::Error;
use crate::measure::cpus::unavailable;
use crate::{Backend, Linger, PairOptions, PairSocket};

use self::course::{Course, Plan};
pub use self::report::Report;
pub use self::resource_usage::ResourceUsage;
use self::totals::Totals;
pub use self::worker::doing;
use self::worker::open_for_good;
use self::workers::Workers;

/// The interval between two readings of the resource usage.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The longest time that the kernel may take to close sockets after the last call.
const SETTLED_BY: Duration = Duration::from_millis(500);

/// Descriptors per thread, apart from those of its pairs: a ring, a listener, a runtime, and a reserve.
const FOR_A_THREAD: usize = 16;

/// The options of a soak.
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # fn main() -> Result<(), ringpair::measure::Error> {
/// use std::net::Ipv4Addr;
/// use std::time::Duration;
/// use ringpair::measure::soak::Soak;
/// use ringpair::{Backend, Linger};
/// use tokio::net::TcpStream;
///
/// let soak = Soak::new().threads(2).concurrency(4).live(10).rate(2000.0).duration(Duration::from_secs(60));
/// let soak = soak.address(Ipv4Addr::new(127, 1, 2, 3).into()).linger(Linger::Reset).backend(Backend::Auto).pair_timeout(Duration::from_secs(5)).seed(7);
/// assert!(soak.descriptors_needed() >= 2 * (2 * 4 + 10));
///
/// let body = async |_: &mut TcpStream, _: &mut TcpStream, _| Ok(());
/// let report = soak.run_while(body, |progress| progress.pairs < 20)?; // long before the minute is over
/// assert!(report.ended_early && report.pairs >= 20);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
pub struct Soak {
    options: PairOptions,
    linger: Linger,
    pairs: Option<u64>,
    duration: Option<Duration>,
    concurrency: NonZeroUsize,
    threads: NonZeroUsize,
    cpus: Vec<usize>,
    live: usize,
    rate: Option<f64>,
    pair_timeout: Duration,
    max_failures: Option<u64>,
    max_failure_rate: Option<f64>,
    own_network: bool,
    seed: Option<u64>,
}

/// The pair that a body works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PairInfo {
    /// Its number, from 0, over all threads.
    pub number: u64,
    /// Its own seed, drawn from the soak's.
    pub seed: u64,
}

/// The progress of a soak.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Number of pairs whose body has ended well.
    pub pairs: u64,
    /// Number of pairs that failed.
    pub failures: u64,
    /// Time since the beginning.
    pub elapsed: Duration,
    /// The resources in use now.
    pub usage: ResourceUsage,
}

impl Soak {
    /// Returns the defaults: 10,000 pairs, one at a time, in one thread, reset on close, 30 s per pair, a random seed.
    pub fn new() -> Soak {
        Soak {
            options: PairOptions::new(),
            linger: Linger::Reset,
            pairs: None,
            duration: None,
            concurrency: NonZeroUsize::MIN,
            threads: NonZeroUsize::MIN,
            cpus: Vec::new(),
            live: 0,
            rate: None,
            pair_timeout: Duration::from_secs(30),
            max_failures: None,
            max_failure_rate: None,
            own_network: false,
            seed: None,
        }
    }

    /// Sets the number of pairs, over all threads.
    pub fn pairs(mut self, pairs: u64) -> Soak {
        self.pairs = Some(pairs);
        self
    }

    /// Sets for how long pairs are begun. If the number of pairs is also set, the soak ends at the first limit.
    pub fn duration(mut self, duration: Duration) -> Soak {
        self.duration = Some(duration);
        self
    }

    /// Sets how many pairs a thread works on at once, at least 1.
    pub fn concurrency(mut self, tasks: usize) -> Soak {
        self.concurrency = NonZeroUsize::new(tasks).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// Sets the number of threads, at least 1. Each has its own factory and runtime.
    pub fn threads(mut self, threads: usize) -> Soak {
        self.threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// Pins each thread to one of these CPUs, in turn. Default: no pinning.
    pub fn pin(mut self, cpus: impl IntoIterator<Item = usize>) -> Soak {
        self.cpus = cpus.into_iter().collect();
        self
    }

    /// Sets how many pairs, over all threads, are held open between their body and their close.
    pub fn live(mut self, pairs: usize) -> Soak {
        self.live = pairs;
        self
    }

    /// Sets how many pairs begin per second, over all threads. Default: no limit.
    pub fn rate(mut self, pairs_per_second: f64) -> Soak {
        self.rate = Some(pairs_per_second);
        self
    }

    /// Sets how pairs close; see [`PairOptions::linger`].
    pub fn linger(mut self, linger: Linger) -> Soak {
        self.linger = linger;
        self.options = self.options.linger(linger);
        self
    }

    /// Sets the address of both ends; see [`PairOptions::address`].
    pub fn address(mut self, address: IpAddr) -> Soak {
        self.options = self.options.address(address);
        self
    }

    /// Sets the engine that makes the pairs.
    pub fn backend(mut self, backend: Backend) -> Soak {
        self.options = self.options.backend(backend);
        self
    }

    /// Sets the time limit of a pair, from its connect to the end of its close. A pair that takes longer is reset and counted
    /// as failed; the report says what it was [`doing`]. A thread that is blocked for longer is given up.
    pub fn pair_timeout(mut self, timeout: Duration) -> Soak {
        self.pair_timeout = timeout;
        self
    }

    /// Ends the soak when more pairs than this have failed.
    pub fn max_failures(mut self, failures: u64) -> Soak {
        self.max_failures = Some(failures);
        self
    }

    /// Ends the soak when the share of failed pairs exceeds this, from 0 to 1. Judged from the hundredth pair on.
    pub fn max_failure_rate(mut self, rate: f64) -> Soak {
        self.max_failure_rate = Some(rate);
        self
    }

    /// Says that nothing else uses this network namespace, so that its sockets and TIME_WAIT are judged. Default: `false`.
    pub fn own_network(mut self, is_own: bool) -> Soak {
        self.own_network = is_own;
        self
    }

    /// Sets the seed that the bodies' seeds are drawn from.
    pub fn seed(mut self, seed: u64) -> Soak {
        self.seed = Some(seed);
        self
    }

    /// Returns how many descriptors the soak needs, including listeners, rings and runtimes.
    pub fn descriptors_needed(&self) -> usize {
        let (threads, concurrency) = (self.threads.get(), self.concurrency.get());
        let at_once = concurrency.saturating_mul(2).saturating_add(FOR_A_THREAD).saturating_mul(threads);
        // A thread holds its share, rounded up.
        at_once.saturating_add(self.live.div_ceil(threads).saturating_mul(threads).saturating_mul(2))
    }

    /// Runs the soak. Blocks the calling thread, which must not be in a runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if an option is invalid, a CPU is not available, or the process may not open enough descriptors;
    /// [`Error::Pair`] if a factory cannot be made; [`Error::Start`] if a thread or its runtime cannot be started. A pair that
    /// fails is not an error; see [`Report::complaints`].
    pub fn run<S, B>(&self, body: B) -> Result<Report, Error>
    where
        S: PairSocket + 'static,
        B: AsyncFn(&mut S, &mut S, PairInfo) -> io::Result<()> + Clone + Send + 'static,
    {
        self.run_while(body, |_| true)
    }

    /// Runs the soak until `go_on` returns false. It is called ten times a second.
    ///
    /// Then no further pair begins, and bodies have 0.4 s to end. After that they are abandoned, and so are threads that they
    /// block: [`Report::abandoned`], [`Report::blocked_threads`].
    ///
    /// # Errors
    ///
    /// See [`run`](Soak::run).
    pub fn run_while<S, B>(&self, body: B, mut go_on: impl FnMut(Progress) -> bool) -> Result<Report, Error>
    where
        S: PairSocket + 'static,
        B: AsyncFn(&mut S, &mut S, PairInfo) -> io::Result<()> + Clone + Send + 'static,
    {
        self.check()?;
        open_for_good()?;
        let plan = self.plan();
        let (before, totals) = (ResourceUsage::now(), Totals::now());
        let course = Arc::new(Course::new(plan));
        let mut workers = Workers::start::<S, B>(self, body, &course)?;

        let (mut peak, mut settled) = (before, None);
        while !workers.are_through() {
            let usage = ResourceUsage::now();
            peak = peak.max(usage);
            let progress = course.progress(usage);
            if course.is_tenth(progress) {
                settled.get_or_insert(usage);
            }
            if !course.is_stopped() && !go_on(progress) {
                course.interrupt();
            }
            thread::park_timeout(LOOK_EVERY);
        }
        let tally = workers.tally()?;
        let after = self.after(before);
        let usage = [before, settled.unwrap_or(peak), peak.max(after), after];
        Ok(Report::of(self, tally, &course, usage, Totals::now().since(totals), plan.seed))
    }

    /// Returns the final usage. The kernel closes the last sockets, and those of a ring, shortly after the last call.
    fn after(&self, before: ResourceUsage) -> ResourceUsage {
        let begin = Instant::now();
        loop {
            let after = ResourceUsage::now();
            let is_settled = !self.own_network || after.sockets <= before.sockets;
            if is_settled || begin.elapsed() > SETTLED_BY {
                return after;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn plan(&self) -> Plan {
        Plan {
            pairs: self.pairs.or(if self.duration.is_some() { None } else { Some(10_000) }),
            duration: self.duration,
            rate: self.rate,
            max_failures: self.max_failures,
            max_failure_rate: self.max_failure_rate,
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::Options(why));
        if self.pairs == Some(0) {
            return refuse("a soak of no pairs shows nothing; ask for 1 or more".to_owned());
        }
        if self.duration.is_some_and(|duration| duration.is_zero()) {
            return refuse("a soak of no time shows nothing".to_owned());
        }
        if self.rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            return refuse("a rate is a number of pairs in a second, and greater than zero".to_owned());
        }
        if self.pair_timeout.is_zero() {
            return refuse("a timeout of zero leaves no time for a pair".to_owned());
        }
        if self.max_failure_rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
            return refuse("a failure rate is a part of all pairs, from 0 to 1".to_owned());
        }
        if tokio::runtime::Handle::try_current().is_ok() {
            return refuse("a soak waits in the thread that calls it, and this one is in a runtime".to_owned());
        }
        if let Some(why) = unavailable(&self.cpus).map_err(Error::Start)? {
            return refuse(why);
        }
        let held = ResourceUsage::now().descriptors.unwrap_or(0) as usize;
        let needed = self.descriptors_needed().saturating_add(held);
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|errno| Error::Start(errno.into()))?;
        if usize::try_from(limit).is_ok_and(|limit| limit < needed) {
            return refuse(format!(
                "it needs {needed} descriptors, and this process may have {limit} (RLIMIT_NOFILE, `ulimit -n`)"
            ));
        }
        Ok(())
    }
}

impl Default for Soak {
    fn default() -> Soak {
        Soak::new()
    }
}

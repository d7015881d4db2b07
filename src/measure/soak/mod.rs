//! Does it go on for long? Pairs made, used and closed, by the thousand or by the hour, and what is left afterwards.
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
//! Each thread has a factory and a runtime of its own: a tokio-uring one for streams that live on a ring, else a plain
//! tokio one with IO and time enabled. Each of its tasks makes a pair, runs the body with it and closes it, the accepted end
//! first, or, where pairs are to be held open, puts it behind those that are, and closes the one that has been there longest.
//!
//! With a [rate](Soak::rate) pairs begin at planned moments. What comes late is counted from when it should have begun: a
//! stall then shows in all the pairs that it held up, and not only in the one that met it.
//!
//! Nothing hangs. A pair has a [deadline](Soak::pair_timeout): one that takes longer is reset, and a thread that a body blocks
//! is given up. Leaks are judged by figures of this process; sockets and TIME_WAIT belong to the network namespace, and are
//! judged only if [nothing else uses it](Soak::own_network).

mod course;
mod facts;
mod ledger;
mod report;
mod usage;
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
pub use self::facts::Facts;
pub use self::report::Report;
use self::usage::Usage;
pub use self::worker::doing;
use self::worker::open_for_good;
use self::workers::Workers;

/// How often it is looked what the process holds.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long the kernel may take to close what has been let go of.
const SETTLED_BY: Duration = Duration::from_millis(500);

/// Descriptors that a thread needs beside those of its pairs: a ring, a listener, a runtime, and some to spare.
const FOR_A_THREAD: usize = 16;

/// What is to be soaked, and for how long.
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

/// Which pair a body has in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// Its number, counted from 0 in all threads together.
    pub number: u64,
    /// A seed of its own, drawn from the soak's.
    pub seed: u64,
}

/// How far a soak has come.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Pairs closed, or put with those that are held open.
    pub pairs: u64,
    /// Pairs that failed.
    pub failures: u64,
    /// Since the beginning.
    pub elapsed: Duration,
    /// What the process holds now.
    pub facts: Facts,
}

impl Soak {
    /// Ten thousand pairs, one at a time, in one thread, reset on close; half a minute for each; a seed drawn at random.
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

    /// How many pairs, in all threads together.
    pub fn pairs(mut self, pairs: u64) -> Soak {
        self.pairs = Some(pairs);
        self
    }

    /// For how long pairs are begun. With a number of pairs too, whichever comes first.
    pub fn duration(mut self, duration: Duration) -> Soak {
        self.duration = Some(duration);
        self
    }

    /// How many pairs a thread has in hand at once; 1 at least.
    pub fn concurrency(mut self, tasks: usize) -> Soak {
        self.concurrency = NonZeroUsize::new(tasks).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// How many threads, each with a factory and a runtime of its own; 1 at least.
    pub fn threads(mut self, threads: usize) -> Soak {
        self.threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// Pins each thread to one of these CPUs, in turn. Default: none, and threads run where the kernel puts them.
    pub fn pin(mut self, cpus: impl IntoIterator<Item = usize>) -> Soak {
        self.cpus = cpus.into_iter().collect();
        self
    }

    /// How many pairs are held open, in all threads together, after their body and before their close.
    pub fn live(mut self, pairs: usize) -> Soak {
        self.live = pairs;
        self
    }

    /// Sets how many pairs are begun per second, in all threads together. Default: no limit.
    pub fn rate(mut self, pairs_per_second: f64) -> Soak {
        self.rate = Some(pairs_per_second);
        self
    }

    /// What closing does; see [`PairOptions::linger`].
    pub fn linger(mut self, linger: Linger) -> Soak {
        self.linger = linger;
        self.options = self.options.linger(linger);
        self
    }

    /// The address of both ends; see [`PairOptions::address`].
    pub fn address(mut self, address: IpAddr) -> Soak {
        self.options = self.options.address(address);
        self
    }

    /// The engine that makes the pairs.
    pub fn backend(mut self, backend: Backend) -> Soak {
        self.options = self.options.backend(backend);
        self
    }

    /// How long a pair may take, from the beginning of its connect to the end of its close. One that takes longer is reset and
    /// counted as failed; the report says what it was [`doing`]. A thread that a body or a close blocks for longer is given up.
    pub fn pair_timeout(mut self, timeout: Duration) -> Soak {
        self.pair_timeout = timeout;
        self
    }

    /// Ends the soak when more than so many pairs have failed.
    pub fn max_failures(mut self, failures: u64) -> Soak {
        self.max_failures = Some(failures);
        self
    }

    /// Ends the soak when more than this part of all pairs has failed, from 0 to 1. The first hundred pairs are not judged.
    pub fn max_failure_rate(mut self, rate: f64) -> Soak {
        self.max_failure_rate = Some(rate);
        self
    }

    /// Whether nothing else uses this network namespace. Its sockets and TIME_WAIT are then judged too; default: `false`.
    pub fn own_network(mut self, is_own: bool) -> Soak {
        self.own_network = is_own;
        self
    }

    /// Where the seeds of the bodies are drawn from.
    pub fn seed(mut self, seed: u64) -> Soak {
        self.seed = Some(seed);
        self
    }

    /// How many descriptors it needs, the one with the listener and the like among them.
    pub fn descriptors_needed(&self) -> usize {
        let (threads, concurrency) = (self.threads.get(), self.concurrency.get());
        let at_once = concurrency.saturating_mul(2).saturating_add(FOR_A_THREAD).saturating_mul(threads);
        // A thread holds its share, rounded up.
        at_once.saturating_add(self.live.div_ceil(threads).saturating_mul(threads).saturating_mul(2))
    }

    /// Soaks. Waits in the calling thread, which must not be in a runtime of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] where that cannot be soaked here: a CPU that is not available, or too few descriptors, with their number;
    /// [`Error::Pair`] where a factory cannot be set up; [`Error::Start`] where a thread or its runtime cannot be started. A pair that
    /// fails is no error but a complaint; see [`Report::complaints`].
    pub fn run<S, B>(&self, body: B) -> Result<Report, Error>
    where
        S: PairSocket + 'static,
        B: AsyncFn(&mut S, &mut S, Turn) -> io::Result<()> + Clone + Send + 'static,
    {
        self.run_while(body, |_| true)
    }

    /// The same, as long as `go_on` says so; it is asked ten times a second.
    ///
    /// When `go_on` returns false, no further pair begins, and bodies have 0.4 s to end. Those that have not ended then are
    /// abandoned, and so are threads that they block: [`Report::abandoned`], [`Report::blocked_threads`].
    ///
    /// # Errors
    ///
    /// As [`run`](Soak::run).
    pub fn run_while<S, B>(&self, body: B, mut go_on: impl FnMut(Progress) -> bool) -> Result<Report, Error>
    where
        S: PairSocket + 'static,
        B: AsyncFn(&mut S, &mut S, Turn) -> io::Result<()> + Clone + Send + 'static,
    {
        self.check()?;
        open_for_good()?;
        let plan = self.plan();
        let (before, usage) = (Facts::now(), Usage::now());
        let course = Arc::new(Course::new(plan));
        let mut workers = Workers::start::<S, B>(self, body, &course)?;

        let (mut peak, mut settled) = (before, None);
        while !workers.are_through() {
            let facts = Facts::now();
            peak = peak.at_most(facts);
            let progress = course.progress(facts);
            if course.is_tenth(progress) {
                settled.get_or_insert(facts);
            }
            if !course.is_stopped() && !go_on(progress) {
                course.interrupt();
            }
            thread::park_timeout(LOOK_EVERY);
        }
        let tally = workers.tally()?;
        let after = self.after(before);
        let facts = [before, settled.unwrap_or(peak), peak.at_most(after), after];
        Ok(Report::of(self, tally, &course, facts, Usage::now().since(usage), plan.seed))
    }

    /// Returns what is left. The kernel closes the last sockets, and those of a ring, a moment after the last call.
    fn after(&self, before: Facts) -> Facts {
        let begin = Instant::now();
        loop {
            let after = Facts::now();
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
        let held = Facts::now().descriptors.unwrap_or(0) as usize;
        let needed = self.descriptors_needed().saturating_add(held);
        let (most, _) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|errno| Error::Start(errno.into()))?;
        if usize::try_from(most).is_ok_and(|most| most < needed) {
            return refuse(format!(
                "it needs {needed} descriptors, and this process may have {most} (RLIMIT_NOFILE, `ulimit -n`)"
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

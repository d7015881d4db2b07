//! The calls of a factory, async and blocking side by side.

mod batch;
mod stats;

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;

use self::batch::Batch;
pub use self::stats::FactoryStats;
use crate::attempt::Attempt;
use crate::error::Result;
#[cfg(doc)]
use crate::error::Step;
use crate::finish::finish;
use crate::hazards::fork::PerProcess;
use crate::hazards::memlock::patiently;
use crate::lease::{Acquire, Lease};
use crate::maker::{Maker, Purpose};
use crate::options::{Backend, Choice, PairOptions, Plan, needs_the_ring};
use crate::pool::{Count, Pool};
use crate::stream::PairStream;
use crate::streams::PairSocket;
use crate::wait::Deadline;

/// Makes many pairs, with engines and listeners that it keeps between calls.
///
/// ```
/// use std::net::TcpStream;
/// use ringpair::PairOptions;
///
/// # fn main() -> ringpair::Result<()> {
/// let factory = PairOptions::new().factory()?;
/// for (accepted, connected) in factory.pairs_blocking::<TcpStream>(100)? {
///     assert_eq!(accepted.peer_addr().unwrap(), connected.local_addr().unwrap());
/// }
/// assert_eq!(factory.stats().pairs, 100);
/// # Ok(())
/// # }
/// ```
///
/// **Threads.** A factory and its futures are `Send` and `Sync`. A call has an engine, a listener and a spare socket to itself
/// while it makes pairs: three descriptors, and two pages of locked memory for a ring. Between calls the factory keeps at most
/// one such set per CPU. At most 64 are in use at once; further calls wait within their [timeout](PairOptions::timeout), first
/// come first served.
///
/// **Ports.** After 2,048 pairs, or if a connect finds no free port, a call opens a fresh listener. Pairs outlive the factory.
///
/// **Strangers.** Every pair is verified. Connections from other processes are reset and counted; if many come, the factory's
/// listeners accept only connections of its own.
///
/// **Fork.** After `fork(2)` the factory works in both processes, even if other threads were in a call. The child opens its own
/// engines and listeners and leaves the parent's alone. Pending futures cannot be used in the child.
pub struct PairFactory {
    pub(crate) plan: Plan,
    /// The engine in use; never `UringOrEpoll`.
    pub(crate) choice: Choice,
    backend: Backend,
    pool: PerProcess<Pool<Maker>>,
}

impl PairOptions {
    /// Creates a factory, and opens one engine and one listener.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ringpair::{PairOptions, Step};
    ///
    /// let error = PairOptions::new().timeout(Duration::ZERO).factory().unwrap_err();
    /// assert_eq!(error.step(), Step::Options); // reported here, not by the first pair
    /// ```
    ///
    /// # Errors
    ///
    /// [`Step::Options`] before anything is opened; [`Step::Ring`] if there is no engine; [`Step::Socket`],
    /// [`Step::SetOption`], [`Step::Bind`], [`Step::Listen`] and [`Step::Verify`] if the listener cannot be opened.
    ///
    /// # Source
    ///
    /// `io_uring_setup(2)`, with `IORING_SETUP_COOP_TASKRUN` if the kernel knows it (Linux 5.19); `listen(2)`. With the epoll
    /// engine, `epoll_create1(2)`.
    pub fn factory(&self) -> Result<PairFactory> {
        let plan = self.plan()?;
        let pool = Pool::new();
        let mut maker = patiently(|| Maker::open(&plan, plan.choice, Purpose::Factory))?;
        let (choice, backend) = (maker.engine.choice(), maker.engine.backend());
        pool.add(Count::Listeners, std::mem::take(&mut maker.tally).listeners);
        pool.reserve();
        pool.put(maker);
        Ok(PairFactory { plan, choice, backend, pool: PerProcess::new(pool) })
    }
}

impl PairFactory {
    /// Makes one pair.
    ///
    /// Works in any executor. The future is `Send`, never waits inside the kernel, and can be dropped at any point.
    ///
    /// ```
    /// # #[cfg(feature = "tokio")]
    /// # fn main() -> ringpair::Result<()> {
    /// use ringpair::PairOptions;
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// use tokio::net::TcpStream;
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(async {
    /// let factory = PairOptions::new().factory()?;
    /// let (mut accepted, mut connected) = factory.pair::<TcpStream>().await?;
    /// connected.write_all(b"ping").await.unwrap();
    /// let mut read = [0; 4];
    /// accepted.read_exact(&mut read).await.unwrap();
    /// assert_eq!(&read, b"ping");
    /// # Ok(())
    /// # })
    /// # }
    /// # #[cfg(not(feature = "tokio"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// As [`pair_blocking`](PairFactory::pair_blocking).
    pub async fn pair<S: PairSocket>(&self) -> Result<(S, S)> {
        self.make(self.deadline_for::<S>()?, S::from_fd).await
    }

    /// Makes one pair, without a runtime.
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use ringpair::PairOptions;
    ///
    /// let factory = PairOptions::new().factory().unwrap();
    /// std::thread::scope(|scope| {
    ///     for _ in 0..2 {
    ///         scope.spawn(|| factory.pair_blocking::<TcpStream>().unwrap());
    ///     }
    /// });
    /// assert_eq!(factory.stats().pairs, 2);
    /// ```
    ///
    /// # Errors
    ///
    /// [`Step::Options`] for a stream that needs a ring, if the factory uses epoll; otherwise [`Step::Socket`],
    /// [`Step::SetOption`], [`Step::Connect`], [`Step::Accept`], [`Step::Verify`], [`Step::Convert`] and [`Step::Timeout`], each
    /// with the kernel's errno; [`Step::Ring`] if a submission is refused; and those of [`PairOptions::factory`] if an engine
    /// or a listener had to be opened. After an error the factory still works, and keeps no more descriptors than before.
    ///
    /// # Source
    ///
    /// `io_uring_enter(2)`, `IORING_OP_ACCEPT` and `IORING_OP_CONNECT` (Linux 5.5), and `IORING_OP_SOCKET` if the kernel knows
    /// it (Linux 5.19); to wait, `poll(2)` on the ring's descriptor. With the epoll engine, `connect(2)`, `accept4(2)`, and
    /// `poll(2)` on an `epoll(7)`.
    pub fn pair_blocking<S: PairSocket>(&self) -> Result<(S, S)> {
        self.make_blocking(self.deadline_for::<S>()?, S::from_fd)
    }

    /// Makes one pair of any stream type: `convert` makes a stream from each descriptor. No feature needed.
    ///
    /// See [`PairOptions::make_pair_with`] for how to write `convert`.
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use ringpair::PairOptions;
    ///
    /// # fn main() -> ringpair::Result<()> {
    /// # futures_executor::block_on(async {
    /// let factory = PairOptions::new().factory()?;
    /// let (accepted, connected) = factory.pair_with(|fd| Ok(TcpStream::from(fd))).await?;
    /// assert_eq!(accepted.peer_addr().unwrap(), connected.local_addr().unwrap());
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Step::Convert`] with the error of `convert`; both ends are closed then. Otherwise as
    /// [`pair_blocking`](PairFactory::pair_blocking).
    pub async fn pair_with<T>(&self, convert: impl FnMut(OwnedFd) -> io::Result<T>) -> Result<(T, T)> {
        self.make(self.deadline(), convert).await
    }

    /// Makes one pair of any stream, as [`pair_with`](PairFactory::pair_with), without a runtime.
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use ringpair::PairOptions;
    ///
    /// let factory = PairOptions::new().factory().unwrap();
    /// let (accepted, connected) = factory.pair_blocking_with(|fd| Ok(TcpStream::from(fd))).unwrap();
    /// assert_eq!(accepted.peer_addr().unwrap(), connected.local_addr().unwrap());
    /// ```
    ///
    /// # Errors
    ///
    /// As [`pair_with`](PairFactory::pair_with).
    ///
    /// # Source
    ///
    /// As [`pair_blocking`](PairFactory::pair_blocking).
    pub fn pair_blocking_with<T>(&self, convert: impl FnMut(OwnedFd) -> io::Result<T>) -> Result<(T, T)> {
        self.make_blocking(self.deadline(), convert)
    }

    /// Makes `count` pairs, up to 32 in one submission.
    ///
    /// All or nothing: on an error, and when the future is dropped, every pair made so far is closed.
    ///
    /// ```
    /// # fn main() -> ringpair::Result<()> {
    /// use std::net::TcpStream;
    /// use ringpair::PairOptions;
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(async {
    /// let factory = PairOptions::new().factory()?;
    /// let pairs = factory.pairs::<TcpStream>(40).await?;
    /// assert_eq!((pairs.len(), factory.stats().pairs), (40, 40));
    ///
    /// drop(factory.pairs::<TcpStream>(40)); // never polled: nothing is made
    /// assert_eq!(factory.stats().pairs, 40);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`pairs_blocking`](PairFactory::pairs_blocking).
    pub async fn pairs<S: PairSocket>(&self, count: usize) -> Result<Vec<(S, S)>> {
        let mut batch = Batch::of(count)?;
        if count > 0 {
            let mut attempt = self.attempt(self.deadline_for::<S>()?).await?;
            while batch.begin_next(&mut attempt)? {
                poll_fn(|context| attempt.poll(context)).await?;
                batch.take(&mut attempt)?;
            }
        }
        self.hand_out_all(batch)
    }

    /// Makes `count` pairs, up to 32 in one submission, without a runtime.
    ///
    /// All or nothing: on an error every pair made so far is closed. `count == 0` returns an empty `Vec`.
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use ringpair::PairOptions;
    ///
    /// let factory = PairOptions::new().factory().unwrap();
    /// assert_eq!(factory.pairs_blocking::<TcpStream>(40).unwrap().len(), 40);
    ///
    /// let error = factory.pairs_blocking::<TcpStream>(usize::MAX).unwrap_err();
    /// assert_eq!(error.raw_os_error(), Some(24)); // EMFILE, before anything is opened
    /// assert_eq!(factory.stats().pairs, 40);
    /// ```
    ///
    /// # Errors
    ///
    /// [`Step::Socket`] with `EMFILE` if the process cannot open `2 * count` descriptors; nothing is opened in that case.
    /// [`Step::Timeout`] if one submission takes longer than [`PairOptions::timeout`]. Otherwise as
    /// [`pair_blocking`](PairFactory::pair_blocking).
    ///
    /// # Source
    ///
    /// As [`pair_blocking`](PairFactory::pair_blocking).
    pub fn pairs_blocking<S: PairSocket>(&self, count: usize) -> Result<Vec<(S, S)>> {
        let mut batch = Batch::of(count)?;
        if count > 0 {
            let mut attempt = self.attempt_blocking(self.deadline_for::<S>()?)?;
            while batch.begin_next(&mut attempt)? {
                attempt.finish_blocking()?;
                batch.take(&mut attempt)?;
            }
        }
        self.hand_out_all(batch)
    }

    /// Makes `count` pairs one by one, each when the stream is polled for it. The stream ends after an error.
    ///
    /// ```
    /// # fn main() -> ringpair::Result<()> {
    /// use std::net::TcpStream;
    /// use futures_util::StreamExt;
    /// use ringpair::PairOptions;
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(async {
    /// let factory = PairOptions::new().factory()?;
    /// let mut pairs = factory.stream::<TcpStream>(1000);
    /// let (accepted, connected) = pairs.next().await.unwrap()?;
    /// assert_eq!(accepted.peer_addr().unwrap(), connected.local_addr().unwrap());
    /// assert_eq!(factory.stats().pairs, 1); // the others are made on demand
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of each item are those of [`pair`](PairFactory::pair).
    pub fn stream<S: PairSocket>(&self, count: usize) -> PairStream<'_, S> {
        PairStream::new(self, count)
    }

    /// Returns the pool of this process. Only here a factory checks for a fork.
    pub(crate) fn pool(&self) -> &Pool<Maker> {
        self.pool.get(|parents| {
            parents.take_all().for_each(Maker::close_copy);
            let pool = Pool::new();
            for count in [Count::Inline, Count::Parked, Count::Strangers, Count::Listeners] {
                pool.add(count, parents.sum(count));
            }
            pool
        })
    }

    async fn make<T>(&self, deadline: Deadline, convert: impl FnMut(OwnedFd) -> io::Result<T>) -> Result<(T, T)> {
        let mut attempt = self.attempt(deadline).await?;
        attempt.begin(1)?;
        poll_fn(|context| attempt.poll(context)).await?;
        self.hand_out_one(attempt, convert)
    }

    fn make_blocking<T>(&self, deadline: Deadline, convert: impl FnMut(OwnedFd) -> io::Result<T>) -> Result<(T, T)> {
        let mut attempt = self.attempt_blocking(deadline)?;
        attempt.begin(1)?;
        attempt.finish_blocking()?;
        self.hand_out_one(attempt, convert)
    }

    async fn attempt(&self, mut deadline: Deadline) -> Result<Attempt<'_>> {
        let pool = self.pool();
        let lease = match Lease::of_an_idle_maker(pool) {
            Some(lease) => lease,
            None => {
                let mut acquire = Acquire::new(pool, self.choice);
                poll_fn(|context| acquire.poll(&self.plan, &mut deadline, context)).await?
            }
        };
        Ok(Attempt::new(&self.plan, lease, deadline))
    }

    fn attempt_blocking(&self, mut deadline: Deadline) -> Result<Attempt<'_>> {
        let pool = self.pool();
        let lease = match Lease::of_an_idle_maker(pool) {
            Some(lease) => lease,
            None => Acquire::new(pool, self.choice).block(&self.plan, &mut deadline)?,
        };
        Ok(Attempt::new(&self.plan, lease, deadline))
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.plan.timeout)
    }

    /// Returns the deadline of a call, if the factory can make such streams.
    pub(crate) fn deadline_for<S: PairSocket>(&self) -> Result<Deadline> {
        match S::NEEDS_RING && self.backend == Backend::Epoll {
            true => Err(needs_the_ring()),
            false => Ok(self.deadline()),
        }
    }

    pub(crate) fn hand_out_one<T>(
        &self,
        mut attempt: Attempt<'_>,
        convert: impl FnMut(OwnedFd) -> io::Result<T>,
    ) -> Result<(T, T)> {
        let (ends, made) = attempt.take_pair()?;
        let pool = attempt.pool();
        drop(attempt); // before the caller's code runs, which may use the factory
        let pair = finish(&self.plan, self.backend, ends, convert)?;
        if let Some(pool) = pool {
            made.count(pool);
        }
        Ok(pair)
    }

    fn hand_out_all<S: PairSocket>(&self, batch: Batch) -> Result<Vec<(S, S)>> {
        let mut pairs = Vec::with_capacity(batch.ends.len());
        for ends in batch.ends {
            pairs.push(finish(&self.plan, self.backend, ends, S::from_fd)?);
        }
        batch.made.count(self.pool());
        Ok(pairs)
    }
}

/// In a forked child, closes the copies of the parent's descriptors.
impl Drop for PairFactory {
    fn drop(&mut self) {
        self.pool();
    }
}

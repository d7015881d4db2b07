//! A listener and an engine kept between pairs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nix::errno::Errno;

use crate::descriptors::can_open;
use crate::error::{Result, Step};
use crate::hub::Hub;
use crate::making::{Making, Tally, delivered, finish};
use crate::options::{Backend, PairOptions, needs_the_ring};
use crate::patience::patiently;
use crate::rendezvous::Ends;
use crate::source::Source;
use crate::streams::PairSocket;

/// Makes many pairs, with a listener and an engine that are kept between them.
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
/// It keeps three descriptors, the ring, the listener and a socket for the next pair to connect with, and turns to a fresh
/// listener in time, so that pairs that close with FIN cost the same however many there are. Pairs outlive the factory.
///
/// After `fork(2)` a factory is of use on both sides: the child's opens an engine and a listener of its own when it is used first,
/// and leaves the parent's alone. As everywhere, fork while no other thread is in a call; and as tokio's runtimes are of no use in a
/// child, nor are futures that wait in one.
///
/// A factory and its futures are `Send` and `Sync`: any number of tasks and threads can share one, and blocking calls may
/// go on beside async ones. Threads that each have a factory of their own are faster, as they share no lock.
///
/// Every pair is verified: whoever else connects to the listener is turned away by a reset, and counted. Where a crowd of them
/// waits there, the factory turns to a fresh listener.
pub struct PairFactory {
    source: Source,
    inline: AtomicU64,
    parked: AtomicU64,
}

/// What a factory has done so far; see [`PairFactory::stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FactoryStats {
    /// Pairs made and handed out.
    pub pairs: u64,
    /// Of those, pairs that were through when the submission returned.
    pub inline: u64,
    /// Of those, pairs that the caller had to wait for.
    pub parked: u64,
    /// Connections to the listener that were none of ours, and were reset.
    pub strangers: u64,
    /// Listeners opened, the one in use among them.
    pub listeners: u64,
}

impl PairOptions {
    /// Sets up an engine and a listener to make many pairs with.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ringpair::{PairOptions, Step};
    ///
    /// let error = PairOptions::new().timeout(Duration::ZERO).factory().unwrap_err();
    /// assert_eq!(error.step(), Step::Options); // told here, and not by the first pair
    /// ```
    ///
    /// # Errors
    ///
    /// [`Step::Options`] before anything is opened; [`Step::Ring`] where there is no engine to be had; [`Step::Socket`],
    /// [`Step::SetOption`], [`Step::Bind`], [`Step::Listen`] and [`Step::Verify`] from the opening of the listener.
    ///
    /// # Source
    ///
    /// `io_uring_setup(2)`, with `IORING_SETUP_COOP_TASKRUN` where it is known (Linux 5.19); `listen(2)`. By the epoll engine,
    /// `epoll_create1(2)` and `timerfd_create(2)`.
    pub fn factory(&self) -> Result<PairFactory> {
        let plan = self.plan()?;
        let hub = patiently(|| Hub::open(plan.choice, true)).map_err(Step::Ring.failed())?;
        let source = Source::lasting(plan, hub);
        source.prepare()?;
        Ok(PairFactory { source, inline: AtomicU64::new(0), parked: AtomicU64::new(0) })
    }
}

impl PairFactory {
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
    /// [`Step::Options`] for a stream that needs a ring from a factory that has none; otherwise
    /// [`Step::Socket`], [`Step::SetOption`], [`Step::Connect`], [`Step::Accept`], [`Step::Verify`], [`Step::Convert`] and
    /// [`Step::Timeout`], each with what the kernel said; [`Step::Ring`] where it takes no submission; and those of
    /// [`PairOptions::factory`] where a fresh listener was due. The factory stays of use, and keeps no more descriptors
    /// than before.
    ///
    /// # Source
    ///
    /// `io_uring_enter(2)`, `IORING_OP_ACCEPT` and `IORING_OP_CONNECT` (Linux 5.5), and `IORING_OP_SOCKET` where it is known (Linux
    /// 5.19); to wait, `poll(2)` on the ring's descriptor. By the epoll engine, `connect(2)`, `accept4(2)`, and `poll(2)` on an
    /// `epoll(7)`.
    pub fn pair_blocking<S: PairSocket>(&self) -> Result<(S, S)> {
        let mut ends = None;
        let tally = self.begin::<S>(1)?.wait(|both| ends = Some(both))?;
        self.finish_one(ends, tally)
    }

    /// Makes `count` pairs, without a runtime, up to 32 in one submission.
    ///
    /// All or nothing: on an error every pair made so far is closed. None are asked for: none are made.
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
    /// [`Step::Socket`] with `EMFILE` where `2 * count` descriptors are not to be had; nothing is opened in that case.
    /// [`Step::Timeout`] where one submission takes longer than [`PairOptions::timeout`]. Otherwise as
    /// [`pair_blocking`](PairFactory::pair_blocking).
    ///
    /// # Source
    ///
    /// As [`pair_blocking`](PairFactory::pair_blocking).
    pub fn pairs_blocking<S: PairSocket>(&self, count: usize) -> Result<Vec<(S, S)>> {
        let mut made = Batch::of(count, self.room())?;
        while let Some(chunk) = made.next_chunk() {
            let tally = self.begin::<S>(chunk)?.wait(|ends| made.ends.push(ends))?;
            made.tally += tally;
        }
        self.finish_all(made)
    }

    /// The engine in use, never `Auto`.
    ///
    /// ```
    /// use ringpair::{Backend, PairOptions};
    ///
    /// let factory = PairOptions::new().factory().unwrap();
    /// assert_ne!(factory.backend(), Backend::Auto);
    /// ```
    pub fn backend(&self) -> Backend {
        self.hub().backend()
    }

    /// What the factory has done so far. Strangers who wait at the listener at this moment are turned away first, and
    /// counted, so that none is missed; while pairs are in the making, these turn them away.
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use ringpair::PairOptions;
    ///
    /// let factory = PairOptions::new().factory().unwrap();
    /// let (accepted, _connected) = factory.pair_blocking::<TcpStream>().unwrap();
    /// let _stranger = TcpStream::connect(accepted.local_addr().unwrap()).unwrap();
    ///
    /// let stats = factory.stats();
    /// assert_eq!((stats.pairs, stats.strangers, stats.listeners), (1, 1, 1));
    /// assert_eq!(stats.inline + stats.parked, stats.pairs);
    /// ```
    pub fn stats(&self) -> FactoryStats {
        let (inline, parked) = (self.inline.load(Relaxed), self.parked.load(Relaxed));
        FactoryStats {
            pairs: inline + parked,
            inline,
            parked,
            strangers: self.source.sweep(),
            listeners: self.source.listeners_opened(),
        }
    }

    /// How many pairs may be started at once.
    pub(crate) fn room(&self) -> usize {
        self.source.room()
    }

    pub(crate) fn hub(&self) -> Arc<Hub> {
        self.source.hub()
    }

    pub(crate) fn begin<S: PairSocket>(&self, count: usize) -> Result<Making<'_>> {
        if S::NEEDS_RING && self.source.nonblocking {
            return Err(needs_the_ring());
        }
        Making::begin(&self.source, count)
    }

    pub(crate) fn finish_one<S: PairSocket>(&self, ends: Option<Ends>, tally: Tally) -> Result<(S, S)> {
        let pair = finish(&self.source, delivered(ends)?)?;
        self.count(tally);
        Ok(pair)
    }

    pub(crate) fn finish_all<S: PairSocket>(&self, made: Batch) -> Result<Vec<(S, S)>> {
        let mut pairs = Vec::with_capacity(made.ends.len()); // collecting would have it grow
        for ends in made.ends {
            pairs.push(finish(&self.source, ends)?);
        }
        self.count(made.tally);
        Ok(pairs)
    }

    fn count(&self, tally: Tally) {
        self.inline.fetch_add(tally.inline as u64, Relaxed);
        self.parked.fetch_add(tally.parked as u64, Relaxed);
    }
}

impl fmt::Debug for PairFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairFactory")
            .field("backend", &self.backend())
            .field("inline", &self.inline)
            .field("parked", &self.parked)
            .finish_non_exhaustive()
    }
}

/// Pairs made so far of those that were asked for.
pub(crate) struct Batch {
    pub(crate) ends: Vec<Ends>,
    pub(crate) tally: Tally,
    count: usize,
    /// So many are made at once, at most.
    most: usize,
}

impl Batch {
    /// Refuses at once what the descriptors left cannot make.
    pub(crate) fn of(count: usize, most: usize) -> Result<Batch> {
        if count > 0 && !can_open(count.saturating_mul(2))? {
            return Err(Step::Socket.failed()(Errno::EMFILE));
        }
        Ok(Batch { ends: Vec::with_capacity(count), tally: Tally::default(), count, most })
    }

    /// How many to make next; none when all are there.
    pub(crate) fn next_chunk(&self) -> Option<usize> {
        let left = self.count - self.ends.len();
        (left > 0).then(|| left.min(self.most))
    }
}

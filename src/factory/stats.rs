//! What a factory uses, and has done so far.

use std::fmt;

use super::PairFactory;
use crate::options::Backend;
use crate::pool::Count;

/// Counts of a factory; see [`PairFactory::stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FactoryStats {
    /// Pairs made and handed out.
    pub pairs: u64,
    /// Of those, pairs that were complete when the submission returned.
    pub inline: u64,
    /// Of those, pairs that the call had to wait for.
    pub parked: u64,
    /// Connections of other processes to a listener, accepted and reset.
    pub strangers: u64,
    /// Ports listened at, including those in use.
    pub listeners: u64,
}

impl PairFactory {
    /// Returns the engine in use, never `Auto`.
    ///
    /// ```
    /// use ringpair::{Backend, PairOptions};
    ///
    /// let factory = PairOptions::new().factory().unwrap();
    /// assert_ne!(factory.backend(), Backend::Auto);
    /// ```
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Returns what the factory has done so far.
    ///
    /// First turns away strangers that wait at idle listeners, and counts them. Strangers at the listener of a call in progress
    /// are counted when the call ends.
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
        let pool = self.pool();
        pool.for_each_idle(|maker| {
            maker.turn_away_waiting();
            pool.add(Count::Strangers, std::mem::take(&mut maker.tally.strangers));
        });
        let (inline, parked) = (pool.sum(Count::Inline), pool.sum(Count::Parked));
        FactoryStats {
            pairs: inline + parked,
            inline,
            parked,
            strangers: pool.sum(Count::Strangers),
            listeners: pool.sum(Count::Listeners),
        }
    }
}

impl fmt::Debug for PairFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |count| self.pool().sum(count);
        f.debug_struct("PairFactory")
            .field("backend", &self.backend)
            .field("inline", &sum(Count::Inline))
            .field("parked", &sum(Count::Parked))
            .finish_non_exhaustive()
    }
}

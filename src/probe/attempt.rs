//! What the probe tries, one thing at a time, and how each of them went.

use std::fmt;

/// Something that [`probe`](crate::probe()) tries.
///
/// Its `Display` is the name that manual pages have for it: `io_uring_setup`, `IORING_OP_CONNECT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
#[repr(u8)]
pub enum Attempt {
    /// Opening an epoll, by `epoll_create1(2)`.
    EpollCreate,
    /// Opening TCP sockets, by `socket(2)`.
    Socket,
    /// Setting their options, by `setsockopt(2)`.
    SetOption,
    /// Binding one of them to a free port of 127.0.0.1, by `bind(2)`.
    Bind,
    /// Asking for that port, by `getsockname(2)`.
    LocalAddress,
    /// Listening on it, by `listen(2)`.
    Listen,
    /// Connecting to it, by `connect(2)`.
    Connect,
    /// Accepting the connection, by `accept4(2)`.
    Accept,
    /// Asking each end for its peer, by `getpeername(2)`: it must be the other end.
    PeerAddress,
    /// Making a ring, with the flags that the ring engine uses.
    RingSetup,
    /// Asking the ring for its opcodes. A refusal is no hindrance; being killed for it is.
    RingRegister,
    /// Submitting to the ring.
    RingEnter,
    /// Connecting through the ring.
    RingConnect,
    /// Accepting through the ring.
    RingAccept,
    /// Cancelling through the ring.
    RingCancel,
    /// Writing through the ring. Used by streams of tokio-uring, not to make pairs.
    RingWrite,
    /// Reading through the ring, likewise.
    RingRead,
    /// Closing through the ring, likewise.
    RingClose,
    /// Making a ring without flags.
    FlagsNone,
    /// Making a ring with `IORING_SETUP_COOP_TASKRUN` (Linux 5.19).
    FlagCoopTaskrun,
    /// Making a ring with `IORING_SETUP_SINGLE_ISSUER` (Linux 6.0).
    FlagSingleIssuer,
    /// Making a ring with `IORING_SETUP_DEFER_TASKRUN`, which asks for `SINGLE_ISSUER` too (Linux 6.1).
    FlagDeferTaskrun,
    /// Making a pair with the default options: what [`Backend::Auto`](crate::Backend::Auto) does here.
    Pair,
    /// The same on `::1`.
    PairOnIpv6,
    /// Making a pair with [`Backend::Epoll`](crate::Backend::Epoll). Tried only if there is no pair otherwise.
    PairByEpoll,
}

use Attempt::*;

impl Attempt {
    /// Pairs by plain system calls, in the order in which they are tried.
    pub(super) const PLAIN: [Attempt; 8] =
        [Socket, SetOption, Bind, LocalAddress, Listen, Connect, Accept, PeerAddress];
    /// What is done with a ring, likewise.
    pub(super) const RING: [Attempt; 9] =
        [RingSetup, RingRegister, RingEnter, RingConnect, RingAccept, RingCancel, RingWrite, RingRead, RingClose];
    /// The part of it that makes pairs.
    pub(super) const RING_PAIR: [Attempt; 6] =
        [RingSetup, RingRegister, RingEnter, RingConnect, RingAccept, RingCancel];
    /// Set-up flags, likewise.
    pub(super) const FLAGS: [Attempt; 4] = [FlagsNone, FlagCoopTaskrun, FlagSingleIssuer, FlagDeferTaskrun];
    /// Pairs as callers make them.
    pub(super) const PAIRS: [Attempt; 3] = [Pair, PairOnIpv6, PairByEpoll];
    const COUNT: usize = PairByEpoll as usize + 1;

    /// Single system calls and operations.
    pub(super) fn parts() -> impl Iterator<Item = Attempt> {
        [EpollCreate].into_iter().chain(Self::PLAIN).chain(Self::RING).chain(Self::FLAGS)
    }

    /// Everything that is tried.
    pub(super) fn all() -> impl Iterator<Item = Attempt> {
        Self::parts().chain(Self::PAIRS)
    }

    pub(super) fn from_number(number: u8) -> Option<Attempt> {
        Self::all().find(|attempt| *attempt as u8 == number)
    }

    fn name(self) -> &'static str {
        match self {
            Socket => "socket",
            SetOption => "setsockopt",
            Bind => "bind",
            LocalAddress => "getsockname",
            Listen => "listen",
            Connect => "connect",
            Accept => "accept4",
            PeerAddress => "getpeername",
            EpollCreate => "epoll_create1",
            RingSetup => "io_uring_setup",
            RingRegister => "io_uring_register",
            RingEnter => "io_uring_enter",
            RingConnect => "IORING_OP_CONNECT",
            RingAccept => "IORING_OP_ACCEPT",
            RingWrite => "IORING_OP_WRITE",
            RingRead => "IORING_OP_READ",
            RingClose => "IORING_OP_CLOSE",
            RingCancel => "IORING_OP_ASYNC_CANCEL",
            FlagsNone => "io_uring_setup without flags",
            FlagCoopTaskrun => "IORING_SETUP_COOP_TASKRUN",
            FlagSingleIssuer => "IORING_SETUP_SINGLE_ISSUER",
            FlagDeferTaskrun => "IORING_SETUP_DEFER_TASKRUN",
            Pair => "a pair",
            PairOnIpv6 => "a pair on ::1",
            PairByEpoll => "a pair by epoll",
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How an [`Attempt`] went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(serde::Serialize), serde(tag = "outcome", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Outcome {
    /// It was not tried, because something before it did not work.
    #[default]
    Untried,
    /// It worked.
    Worked,
    /// The kernel, or whoever answers in its place, said no.
    Refused {
        /// What it said.
        errno: i32,
    },
    /// It was not through in time.
    Late,
    /// It worked, and the peer of an end is not the other end.
    Mismatched,
    /// The process that tried it died of it.
    Died {
        /// The signal; `None` if other code of this program reaped the process, or a filter refuses to.
        signal: Option<i32>,
    },
}

/// The outcome of every attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tried([Outcome; Attempt::COUNT]);

impl Tried {
    pub(super) fn nothing() -> Tried {
        Tried([Outcome::Untried; Attempt::COUNT])
    }

    pub(super) fn outcome(&self, attempt: Attempt) -> Outcome {
        self.0[attempt as usize]
    }

    pub(super) fn set(&mut self, attempt: Attempt, outcome: Outcome) {
        self.0[attempt as usize] = outcome;
    }

    pub(super) fn worked(&self, attempt: Attempt) -> bool {
        self.outcome(attempt) == Outcome::Worked
    }

    /// The first of these that was not tried.
    pub(super) fn first_untried(&self, mut of: impl Iterator<Item = Attempt>) -> Option<Attempt> {
        of.find(|attempt| self.outcome(*attempt) == Outcome::Untried)
    }

    /// The first of these that was tried and did not work.
    pub(super) fn first_failure(&self, of: &[Attempt]) -> Option<(Attempt, Outcome)> {
        let outcomes = of.iter().map(|attempt| (*attempt, self.outcome(*attempt)));
        outcomes.into_iter().find(|(_, outcome)| !matches!(outcome, Outcome::Worked | Outcome::Untried))
    }
}

#[cfg(feature = "cli")]
impl serde::Serialize for Tried {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Attempt::all().map(|attempt| (attempt, self.outcome(attempt))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attempt_has_a_number_of_its_own() {
        let numbers: Vec<usize> = Attempt::all().map(|attempt| attempt as usize).collect();
        assert_eq!(numbers, (0..Attempt::COUNT).collect::<Vec<_>>());
        for attempt in Attempt::all() {
            assert_eq!(Attempt::from_number(attempt as u8), Some(attempt));
        }
        assert_eq!(Attempt::from_number(Attempt::COUNT as u8), None);
    }
}

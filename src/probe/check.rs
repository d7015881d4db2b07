//! The checks of the probe, and their outcomes.

use std::fmt;

/// One check of [`probe`](crate::probe()): a system call, a ring operation, or a pair.
///
/// `Display` is the name in manual pages: `io_uring_setup`, `IORING_OP_CONNECT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
#[repr(u8)]
pub enum Check {
    /// Opening an epoll, by `epoll_create1(2)`.
    EpollCreate,
    /// Opening TCP sockets, by `socket(2)`.
    Socket,
    /// Setting their options, by `setsockopt(2)`.
    SetOption,
    /// Binding a socket to a free port of 127.0.0.1, by `bind(2)`.
    Bind,
    /// Reading that port, by `getsockname(2)`.
    LocalAddress,
    /// Listening on it, by `listen(2)`.
    Listen,
    /// Connecting to the listener, by `connect(2)`.
    Connect,
    /// Accepting the connection, by `accept4(2)`.
    Accept,
    /// Reading the peer of each end, which must be the other end, by `getpeername(2)`.
    PeerAddress,
    /// Making a ring, with the flags that the ring engine uses.
    RingSetup,
    /// Reading the opcodes that the ring supports. Pairs need no answer, but a filter must not kill the caller.
    RingRegister,
    /// Submitting to the ring.
    RingEnter,
    /// Connecting through the ring.
    RingConnect,
    /// Accepting through the ring.
    RingAccept,
    /// Cancelling through the ring.
    RingCancel,
    /// Writing through the ring: needed by tokio-uring's streams, not for making pairs.
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
    /// Making a pair on `::1`.
    PairOnIpv6,
    /// Making a pair with [`Backend::Epoll`](crate::Backend::Epoll). Only tried if no pair was made otherwise.
    PairByEpoll,
}

use Check::*;

impl Check {
    /// The plain system calls of a pair, in order.
    pub(super) const PLAIN: [Check; 8] = [Socket, SetOption, Bind, LocalAddress, Listen, Connect, Accept, PeerAddress];
    /// The operations of a ring, in order.
    pub(super) const RING: [Check; 9] =
        [RingSetup, RingRegister, RingEnter, RingConnect, RingAccept, RingCancel, RingWrite, RingRead, RingClose];
    /// Those of them that make pairs.
    pub(super) const RING_PAIR: [Check; 6] = [RingSetup, RingRegister, RingEnter, RingConnect, RingAccept, RingCancel];
    /// Set-up flags, in order.
    pub(super) const FLAGS: [Check; 4] = [FlagsNone, FlagCoopTaskrun, FlagSingleIssuer, FlagDeferTaskrun];
    /// Pairs as callers make them.
    pub(super) const PAIRS: [Check; 3] = [Pair, PairOnIpv6, PairByEpoll];
    const COUNT: usize = PairByEpoll as usize + 1;

    /// Single system calls and operations.
    pub(super) fn parts() -> impl Iterator<Item = Check> {
        [EpollCreate].into_iter().chain(Self::PLAIN).chain(Self::RING).chain(Self::FLAGS)
    }

    /// All checks.
    pub(super) fn all() -> impl Iterator<Item = Check> {
        Self::parts().chain(Self::PAIRS)
    }

    pub(super) fn from_number(number: u8) -> Option<Check> {
        Self::all().find(|check| *check as u8 == number)
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

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The outcome of a [`Check`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(serde::Serialize), serde(tag = "outcome", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Outcome {
    /// Not tried, because an earlier check failed.
    #[default]
    Untried,
    /// It worked.
    Worked,
    /// The kernel, a filter or a sandbox returned an error.
    Refused {
        /// The errno.
        errno: i32,
    },
    /// It did not complete in time.
    Late,
    /// It worked, but the peer of an end is not the other end.
    Mismatched,
    /// It ended the process that tried it.
    Died {
        /// The signal; `None` if other code of this program reaped the process, or a filter bars reaping it.
        signal: Option<i32>,
    },
}

/// The outcome of every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tried([Outcome; Check::COUNT]);

impl Tried {
    pub(super) fn nothing() -> Tried {
        Tried([Outcome::Untried; Check::COUNT])
    }

    pub(super) fn outcome(&self, check: Check) -> Outcome {
        self.0[check as usize]
    }

    pub(super) fn set(&mut self, check: Check, outcome: Outcome) {
        self.0[check as usize] = outcome;
    }

    pub(super) fn worked(&self, check: Check) -> bool {
        self.outcome(check) == Outcome::Worked
    }

    /// The first of these that was not tried.
    pub(super) fn first_untried(&self, mut of: impl Iterator<Item = Check>) -> Option<Check> {
        of.find(|check| self.outcome(*check) == Outcome::Untried)
    }

    /// The first of these that was tried and did not work.
    pub(super) fn first_failure(&self, of: &[Check]) -> Option<(Check, Outcome)> {
        let outcomes = of.iter().map(|check| (*check, self.outcome(*check)));
        outcomes.into_iter().find(|(_, outcome)| !matches!(outcome, Outcome::Worked | Outcome::Untried))
    }
}

#[cfg(feature = "cli")]
impl serde::Serialize for Tried {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Check::all().map(|check| (check, self.outcome(check))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_number_of_its_own() {
        let numbers: Vec<usize> = Check::all().map(|check| check as usize).collect();
        assert_eq!(numbers, (0..Check::COUNT).collect::<Vec<_>>());
        for check in Check::all() {
            assert_eq!(Check::from_number(check as u8), Some(check));
        }
        assert_eq!(Check::from_number(Check::COUNT as u8), None);
    }
}

//! The ways in which a connection can be closed, and what each must show.

use std::fmt;
use std::str::FromStr;

use crate::measure::Counters;

/// How the first end of a pair is closed, and what is set for it beforehand.
///
/// ```
/// use ringpair::measure::close::{Ending, Way};
///
/// let way: Way = "fin-unread".parse().unwrap();
/// assert_eq!((way, way.name()), (Way::FinUnread, "fin-unread"));
/// assert!(way.leaves_data_unread()); // which is why
/// assert_eq!(way.ending(), Ending::Reset); // the other end is reset, and
/// assert_eq!(way.counters().abort_on_close, 1); // the kernel counts it
/// assert_eq!("nicely".parse::<Way>().unwrap_err().split(';').next(), Some("there is no way `nicely`"));
/// ```
///
/// # Source
///
/// `SO_LINGER` of `socket(7)`, `shutdown(2)`, `connect(2)` for `AF_UNSPEC`, `tcp(7)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Way {
    /// Zero linger: closing sends RST.
    Reset,
    /// No linger: closing sends FIN, the other end then does, and the first is in TIME_WAIT.
    Fin,
    /// Both ends are shut for writing and read to the end; closing has nothing left to send.
    Shutdown,
    /// `SO_LINGER` with seconds: closing sends FIN, and waits until what was sent is acknowledged.
    ///
    /// The other end's kernel delays the acknowledgement of a FIN by up to 40 ms (`TCPDelayedACKs` counts it) unless that end sends
    /// or closes meanwhile, which it does not do here. So a cell of this way closes [100 pairs](Way::MOST_WAITS) at most.
    Wait,
    /// Connected to nowhere (`AF_UNSPEC`), which sends RST, and closed after that; see [`abort`](crate::abort).
    Abort,
    /// Zero linger, with data from the other end unread.
    ResetUnread,
    /// No linger, with data from the other end unread: closing still sends RST.
    FinUnread,
}

impl Way {
    /// All of them.
    pub const ALL: [Way; 7] =
        [Way::Reset, Way::Fin, Way::Shutdown, Way::Wait, Way::Abort, Way::ResetUnread, Way::FinUnread];

    /// How many pairs a cell of [`Way::Wait`] closes at most.
    pub const MOST_WAITS: usize = 100;

    /// Returns how many of `pairs` a cell of this way closes.
    pub(super) fn share_of(self, pairs: usize) -> usize {
        if self == Way::Wait { pairs.min(Way::MOST_WAITS) } else { pairs }
    }

    /// As it is called on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Way::Reset => "reset",
            Way::Fin => "fin",
            Way::Shutdown => "shutdown",
            Way::Wait => "wait",
            Way::Abort => "abort",
            Way::ResetUnread => "reset-unread",
            Way::FinUnread => "fin-unread",
        }
    }

    /// What the other end's pending read must return.
    pub fn ending(self) -> Ending {
        match self {
            Way::Fin | Way::Shutdown | Way::Wait => Ending::EndOfFile,
            Way::Reset | Way::Abort | Way::ResetUnread | Way::FinUnread => Ending::Reset,
        }
    }

    /// Whether a read is pending at the other end. If it is on a ring of the same thread, its completion counts as a signal, which
    /// interrupts a close that waits.
    pub(super) fn reads_meanwhile(self) -> bool {
        self != Way::Wait
    }

    /// Whether data must lie unread at the first end.
    pub fn leaves_data_unread(self) -> bool {
        matches!(self, Way::ResetUnread | Way::FinUnread)
    }

    /// What the kernel must count for each pair. Where TIME_WAIT is full, what it must hold may be in its overflow instead.
    pub fn counters(self) -> Counters {
        let reset = Counters { out_rsts: 1, estab_resets: 2, ..Counters::default() };
        match self {
            Way::Fin | Way::Shutdown | Way::Wait => Counters { time_wait: 1, ..Counters::default() },
            Way::Reset => Counters { abort_on_data: 1, ..reset },
            Way::Abort => reset,
            Way::ResetUnread | Way::FinUnread => Counters { abort_on_close: 1, ..reset },
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// By the name of one of them; the error lists all.
impl FromStr for Way {
    type Err = String;

    fn from_str(name: &str) -> Result<Way, String> {
        Way::ALL.into_iter().find(|way| way.name() == name).ok_or_else(|| {
            let all = Way::ALL.map(Way::name).join(", ");
            format!("there is no way `{name}`; the ways are {all}")
        })
    }
}

/// The call that an end is closed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Call {
    /// `close(2)`.
    Close,
    /// `IORING_OP_CLOSE` (Linux 5.6), submitted and completed by one `io_uring_enter(2)`.
    Uring,
}

impl Call {
    pub(super) const ALL: [Call; 2] = [Call::Close, Call::Uring];
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Call::Close => "close(2)",
            Call::Uring => "io_uring",
        })
    }
}

/// Which end is closed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Order {
    /// The accepted end, as a server does that ends a conversation.
    AcceptedFirst,
    /// The connected end, as a client does.
    ConnectedFirst,
}

impl Order {
    pub(super) const ALL: [Order; 2] = [Order::AcceptedFirst, Order::ConnectedFirst];
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Order::AcceptedFirst => "accepted",
            Order::ConnectedFirst => "connected",
        })
    }
}

/// What a read returned that was pending while the other end was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Ending {
    /// Nothing: the end of the stream.
    EndOfFile,
    /// `ECONNRESET`.
    Reset,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Ending::EndOfFile => "end of file",
            Ending::Reset => "ECONNRESET",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_known_by_its_name_and_another_name_lists_all() {
        for way in Way::ALL {
            assert_eq!(way.name().parse(), Ok(way));
        }
        let error = "slam".parse::<Way>().unwrap_err();
        assert!(
            error.contains("`slam`") && error.contains("reset, fin, shutdown, wait, abort, reset-unread, fin-unread")
        );
    }

    #[test]
    fn a_way_leaves_time_wait_behind_or_resets_and_never_both() {
        for way in Way::ALL {
            let counters = way.counters();
            assert_eq!(way.ending() == Ending::EndOfFile, counters.time_wait == 1, "{way}");
            assert_eq!(way.ending() == Ending::Reset, counters.out_rsts == 1, "{way}");
        }
    }
}

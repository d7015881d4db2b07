//! The ways to close a connection, and what each must show.

use std::fmt;
use std::str::FromStr;

use crate::measure::Counters;

/// How the first end of a pair is closed, and what is set on both ends before that.
///
/// ```
/// use ringpair::measure::close::{CloseMode, Ending};
///
/// let mode: CloseMode = "fin-unread".parse().unwrap();
/// assert_eq!((mode, mode.name()), (CloseMode::FinUnread, "fin-unread"));
/// assert!(mode.leaves_data_unread()); // so
/// assert_eq!(mode.ending(), Ending::Reset); // the other end is reset,
/// assert_eq!(mode.counters().abort_on_close, 1); // and the kernel counts it
/// assert_eq!("nicely".parse::<CloseMode>().unwrap_err().split(';').next(), Some("there is no way `nicely`"));
/// ```
///
/// # Source
///
/// `SO_LINGER` of `socket(7)`, `shutdown(2)`, `connect(2)` for `AF_UNSPEC`, `tcp(7)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum CloseMode {
    /// Zero linger: closing sends RST.
    Reset,
    /// No linger: closing sends FIN, then the other end sends its own, and the first end enters TIME_WAIT.
    Fin,
    /// Both ends are shut down for writing and read to the end; closing sends nothing more.
    Shutdown,
    /// `SO_LINGER` with seconds: closing sends FIN, and waits until the other end's kernel has acknowledged everything.
    ///
    /// The kernel delays the acknowledgement of a FIN by up to 40 ms (`TCPDelayedACKs`) unless that end sends or closes
    /// meanwhile, which it does not do here. So a cell of this mode closes at most [100 pairs](CloseMode::MAX_WAITS).
    Wait,
    /// Disconnected by `connect(AF_UNSPEC)`, which sends RST, then closed; see [`abort`](crate::abort).
    Abort,
    /// Zero linger, with unread data from the other end.
    ResetUnread,
    /// No linger, with unread data from the other end: closing still sends RST.
    FinUnread,
}

impl CloseMode {
    /// All modes.
    pub const ALL: [CloseMode; 7] = [
        CloseMode::Reset,
        CloseMode::Fin,
        CloseMode::Shutdown,
        CloseMode::Wait,
        CloseMode::Abort,
        CloseMode::ResetUnread,
        CloseMode::FinUnread,
    ];

    /// The maximum number of pairs that a cell of [`CloseMode::Wait`] closes.
    pub const MAX_WAITS: usize = 100;

    /// Returns how many of `pairs` a cell of this mode closes.
    pub(super) fn share_of(self, pairs: usize) -> usize {
        if self == CloseMode::Wait { pairs.min(CloseMode::MAX_WAITS) } else { pairs }
    }

    /// Returns its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            CloseMode::Reset => "reset",
            CloseMode::Fin => "fin",
            CloseMode::Shutdown => "shutdown",
            CloseMode::Wait => "wait",
            CloseMode::Abort => "abort",
            CloseMode::ResetUnread => "reset-unread",
            CloseMode::FinUnread => "fin-unread",
        }
    }

    /// Returns what the other end's pending read must return.
    pub fn ending(self) -> Ending {
        match self {
            CloseMode::Fin | CloseMode::Shutdown | CloseMode::Wait => Ending::EndOfFile,
            CloseMode::Reset | CloseMode::Abort | CloseMode::ResetUnread | CloseMode::FinUnread => Ending::Reset,
        }
    }

    /// Whether a read is pending at the other end. On a ring of the same thread, its completion would interrupt a close that
    /// waits.
    pub(super) fn reads_meanwhile(self) -> bool {
        self != CloseMode::Wait
    }

    /// Whether the first end closes with unread data.
    pub fn leaves_data_unread(self) -> bool {
        matches!(self, CloseMode::ResetUnread | CloseMode::FinUnread)
    }

    /// Returns what the kernel must count per pair. If the TIME_WAIT table is full, it counts an overflow instead.
    pub fn counters(self) -> Counters {
        let reset = Counters { out_rsts: 1, estab_resets: 2, ..Counters::default() };
        match self {
            CloseMode::Fin | CloseMode::Shutdown | CloseMode::Wait => Counters { time_wait: 1, ..Counters::default() },
            CloseMode::Reset => Counters { abort_on_data: 1, ..reset },
            CloseMode::Abort => reset,
            CloseMode::ResetUnread | CloseMode::FinUnread => Counters { abort_on_close: 1, ..reset },
        }
    }
}

impl fmt::Display for CloseMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Parses a name. The error lists all names.
impl FromStr for CloseMode {
    type Err = String;

    fn from_str(name: &str) -> Result<CloseMode, String> {
        CloseMode::ALL.into_iter().find(|mode| mode.name() == name).ok_or_else(|| {
            let all = CloseMode::ALL.map(CloseMode::name).join(", ");
            format!("there is no way `{name}`; the ways are {all}")
        })
    }
}

/// The call that closes an end.
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
    /// The accepted end, like a server that ends a conversation.
    AcceptedFirst,
    /// The connected end, like a client.
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

/// What a read returned that was pending when the other end closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Ending {
    /// 0 bytes: end of file.
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
    fn a_name_parses_and_a_wrong_one_lists_all() {
        for mode in CloseMode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
        }
        let error = "slam".parse::<CloseMode>().unwrap_err();
        assert!(
            error.contains("`slam`") && error.contains("reset, fin, shutdown, wait, abort, reset-unread, fin-unread")
        );
    }

    #[test]
    fn a_mode_leaves_time_wait_or_resets() {
        for mode in CloseMode::ALL {
            let counters = mode.counters();
            assert_eq!(mode.ending() == Ending::EndOfFile, counters.time_wait == 1, "{mode}");
            assert_eq!(mode.ending() == Ending::Reset, counters.out_rsts == 1, "{mode}");
        }
    }
}

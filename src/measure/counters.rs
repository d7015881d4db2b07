//! The kernel's counters of how connections ended.

use std::io::Result;
use std::ops::{AddAssign, Mul, Sub};

use crate::netstat::{in_table, missing, read};
use crate::probe::is_kernel_before;

/// The kernel's counts of how connections ended, in this thread's network namespace.
///
/// [Subtract](Sub) two readings for what happened in between, connections of other programs in that namespace included.
///
/// ```
/// use std::net::TcpStream;
/// use ringpair::{PairOptions, measure::Counters};
///
/// let before = Counters::read().unwrap();
/// drop(PairOptions::new().make_pair_blocking::<TcpStream>().unwrap()); // resets
/// let counted = Counters::read().unwrap() - before;
/// assert!(counted.out_rsts >= 1 && counted.abort_on_data >= 1); // other programs may add more
/// assert_eq!(counted.named()[2], ("out_rsts", counted.out_rsts));
/// assert_eq!(counted.time_waits(), counted.time_wait + counted.time_wait_overflow);
/// ```
///
/// # Source
///
/// The tables `Tcp` of `/proc/net/snmp` and `TcpExt` of `/proc/net/netstat`, whose names the kernel's
/// `networking/snmp_counter` explains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Counters {
    /// Sockets that have entered TIME_WAIT: `TW`, and `TWKilled` for those with a short timeout. Before Linux 5.18 the kernel
    /// counts sockets when they leave, and as `TWRecycled` if a new connection takes their place; so those in TIME_WAIT are
    /// added (`tw` of `/proc/net/sockstat`).
    pub time_wait: u64,
    /// Sockets that did not enter TIME_WAIT because it was full: `TCPTimeWaitOverflow`; see `tcp_max_tw_buckets`.
    pub time_wait_overflow: u64,
    /// Resets sent: `OutRsts`.
    pub out_rsts: u64,
    /// Sockets that went from ESTABLISHED or CLOSE_WAIT directly to CLOSED: `EstabResets`. Both ends of a reset count.
    pub estab_resets: u64,
    /// Sockets closed with zero linger: `TCPAbortOnData`.
    pub abort_on_data: u64,
    /// Sockets closed with unread data: `TCPAbortOnClose`.
    pub abort_on_close: u64,
}

impl Counters {
    /// Reads the counters.
    ///
    /// # Errors
    ///
    /// If `/proc` is missing, or lacks a counter.
    pub fn read() -> Result<Counters> {
        let sockstat = if is_kernel_before(COUNTS_ON_ENTRY) { Some(read("sockstat")?) } else { None };
        Counters::of(&read("snmp")?, &read("netstat")?, sockstat.as_deref())
    }

    /// Parses the tables. `sockstat` is needed if the kernel counts sockets when they leave TIME_WAIT.
    fn of(snmp: &str, netstat: &str, sockstat: Option<&str>) -> Result<Counters> {
        let tcp = |name| in_table(snmp, "Tcp:", name);
        let ext = |name| in_table(netstat, "TcpExt:", name);
        Ok(Counters {
            time_wait: match sockstat {
                Some(sockstat) => entered_time_wait(netstat, sockstat)?,
                None => ext("TW")? + ext("TWKilled")?,
            },
            time_wait_overflow: ext("TCPTimeWaitOverflow")?,
            out_rsts: tcp("OutRsts")?,
            estab_resets: tcp("EstabResets")?,
            abort_on_data: ext("TCPAbortOnData")?,
            abort_on_close: ext("TCPAbortOnClose")?,
        })
    }

    /// Sockets that have entered TIME_WAIT, and those that should have entered it and found it full.
    pub fn time_waits(&self) -> u64 {
        self.time_wait + self.time_wait_overflow
    }

    /// Returns the counters with their names, in the order above.
    pub fn named(&self) -> [(&'static str, u64); 6] {
        [
            ("time_wait", self.time_wait),
            ("time_wait_overflow", self.time_wait_overflow),
            ("out_rsts", self.out_rsts),
            ("estab_resets", self.estab_resets),
            ("abort_on_data", self.abort_on_data),
            ("abort_on_close", self.abort_on_close),
        ]
    }

    fn each(self, other: Counters, what: impl Fn(u64, u64) -> u64) -> Counters {
        Counters {
            time_wait: what(self.time_wait, other.time_wait),
            time_wait_overflow: what(self.time_wait_overflow, other.time_wait_overflow),
            out_rsts: what(self.out_rsts, other.out_rsts),
            estab_resets: what(self.estab_resets, other.estab_resets),
            abort_on_data: what(self.abort_on_data, other.abort_on_data),
            abort_on_close: what(self.abort_on_close, other.abort_on_close),
        }
    }
}

/// The counts since an earlier reading.
impl Sub for Counters {
    type Output = Counters;

    fn sub(self, earlier: Counters) -> Counters {
        self.each(earlier, u64::saturating_sub)
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, more: Counters) {
        *self = self.each(more, u64::saturating_add);
    }
}

/// The counts of repeated work.
impl Mul<u64> for Counters {
    type Output = Counters;

    fn mul(self, times: u64) -> Counters {
        self.each(self, |count, _| count.saturating_mul(times))
    }
}

/// The first Linux that counts a socket when it enters TIME_WAIT.
const COUNTS_ON_ENTRY: (u32, u32) = (5, 18);

/// Returns the sockets that have left TIME_WAIT, plus those in it.
fn entered_time_wait(netstat: &str, sockstat: &str) -> Result<u64> {
    let left = ["TW", "TWKilled", "TWRecycled"].map(|name| in_table(netstat, "TcpExt:", name));
    let there = sockstat.lines().find_map(|line| line.strip_prefix("TCP:")).and_then(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word != "tw");
        words.nth(1)?.parse().ok()
    });
    left.into_iter().try_fold(there.ok_or_else(|| missing("TCP:", "tw"))?, |sum: u64, count| Ok(sum + count?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use socket2::SockRef;

    use super::*;

    const SNMP: &str = "Ip: Forwarding\nIp: 1\nTcp: RtoMin MaxConn EstabResets OutRsts\nTcp: 200 -1 7 42\n";

    #[test]
    fn each_counter_is_read_from_its_column() {
        let netstat = "TcpExt: TW TWRecycled TWKilled TCPAbortOnData TCPAbortOnClose TCPTimeWaitOverflow\n\
                       TcpExt: 100 20 3 5 6 8\n";
        let read = |sockstat| Counters::of(SNMP, netstat, sockstat).unwrap().named().map(|(_, count)| count);
        assert_eq!(read(None), [103, 8, 42, 7, 5, 6]);
        assert_eq!(read(Some("TCP: inuse 5 orphan 0 tw 4 alloc 6 mem 0\n")), [127, 8, 42, 7, 5, 6]);
    }

    #[test]
    fn a_reset_is_counted_by_this_kernel() {
        let before = Counters::read().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        SockRef::from(&connected).set_linger(Some(Duration::ZERO)).unwrap();
        drop(connected);
        let counted = Counters::read().unwrap() - before;
        assert!(counted.out_rsts >= 1 && counted.abort_on_data >= 1, "{counted:?}"); // of others there may be more
    }

    #[test]
    fn sockets_that_left_time_wait_are_counted_with_the_others() {
        let netstat = "TcpExt: TW TWRecycled TWKilled\nTcpExt: 1000 200 30\n";
        let sockstat = "sockets: used 12\nTCP: inuse 5 orphan 0 tw 4 alloc 6 mem 0\nUDP: inuse 0 mem 0\n";
        assert_eq!(entered_time_wait(netstat, sockstat).unwrap(), 1234);
        let error = entered_time_wait(netstat, "sockets: used 12\n").unwrap_err();
        assert_eq!(error.to_string(), "there is no TCP: tw in /proc/net");
    }

    #[test]
    fn each_is_subtracted_added_and_multiplied_by_itself() {
        let one = Counters { time_wait: 1, out_rsts: 2, ..Counters::default() };
        let mut sum = one * 3;
        sum += one;
        assert_eq!(sum, one * 4);
        assert_eq!(sum - one * 3, one);
        assert_eq!(one - sum, Counters::default());
    }
}

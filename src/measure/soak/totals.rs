//! Running totals of the kernel: CPU time of this process, and events of its network namespace.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::measure::Counters;
use crate::netstat;

/// Totals up to a moment, or between two. `None` if `/proc` does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) cpu_user: Duration,
    pub(super) cpu_system: Duration,
    pub(super) time_waits: Option<u64>,
    pub(super) resets: Option<u64>,
    pub(super) retransmissions: Option<u64>,
}

impl Totals {
    pub(super) fn now() -> Totals {
        let counters = Counters::read().ok();
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
        let time = |of: fn(&nix::sys::resource::Usage) -> TimeVal| usage.as_ref().map(of).map_or(Duration::ZERO, span);
        Totals {
            cpu_user: time(nix::sys::resource::Usage::user_time),
            cpu_system: time(nix::sys::resource::Usage::system_time),
            time_waits: counters.map(|counters| counters.time_waits()),
            resets: counters.map(|counters| counters.out_rsts),
            retransmissions: netstat::read("snmp")
                .and_then(|snmp| netstat::in_table(&snmp, "Tcp:", "RetransSegs"))
                .ok(),
        }
    }

    /// Returns the difference to an earlier moment.
    pub(super) fn since(self, earlier: Totals) -> Totals {
        let between = |now: Option<u64>, then: Option<u64>| now.zip(then).map(|(now, then)| now.saturating_sub(then));
        Totals {
            cpu_user: self.cpu_user.saturating_sub(earlier.cpu_user),
            cpu_system: self.cpu_system.saturating_sub(earlier.cpu_system),
            time_waits: between(self.time_waits, earlier.time_waits),
            resets: between(self.resets, earlier.resets),
            retransmissions: between(self.retransmissions, earlier.retransmissions),
        }
    }
}

fn span(time: TimeVal) -> Duration {
    Duration::from_micros(time.num_microseconds().try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_this_process_is_counted() {
        let before = Totals::now();
        assert!(
            before.resets.is_some() && before.retransmissions.is_some() && before.time_waits.is_some(),
            "{before:?}"
        );
        let used = || {
            let since = Totals::now().since(before);
            since.cpu_user + since.cpu_system
        };
        while used() < Duration::from_millis(20) {} // reading /proc is work
        assert_eq!(before.since(Totals::now()).cpu_user, Duration::ZERO);
    }

    #[test]
    fn what_one_moment_does_not_know_is_unknown_between() {
        let (known, unknown) = (Totals { resets: Some(5), ..Totals::default() }, Totals::default());
        assert_eq!((known.since(unknown).resets, unknown.since(known).resets), (None, None));
        assert_eq!(Totals { resets: Some(7), ..Totals::default() }.since(known).resets, Some(2));
    }
}

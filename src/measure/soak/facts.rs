//! What a process holds at a moment.

use std::fs;

use crate::hazards::descriptors::open_descriptors;
use crate::netstat;

/// What this process holds, and what its network namespace does; `None` where `/proc` does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct Facts {
    /// Descriptors that are open: `/proc/self/fd`.
    pub descriptors: Option<u64>,
    /// Bytes of memory that are resident: `VmRSS` of `/proc/self/status`.
    #[cfg_attr(feature = "cli", serde(rename = "memory_bytes"))]
    pub memory: Option<u64>,
    /// TCP sockets of the network namespace, closed ones that still send among them: `inuse` of `/proc/net/sockstat`.
    pub sockets: Option<u64>,
    /// Sockets of the network namespace that are in TIME_WAIT.
    pub time_wait: Option<u64>,
}

impl Facts {
    pub(super) fn now() -> Facts {
        let sockstat = netstat::read("sockstat").unwrap_or_default();
        let in_tcp = |name| number_after(sockstat.lines().find(|line| line.starts_with("TCP:"))?, name);
        Facts {
            descriptors: open_descriptors().map(|open| open as u64),
            memory: resident(),
            sockets: in_tcp("inuse"), // `orphan` is of the whole host
            time_wait: in_tcp("tw"),
        }
    }

    /// Each with its name.
    pub(super) fn named(self) -> [(&'static str, Option<u64>); 4] {
        [
            ("descriptors", self.descriptors),
            ("memory", self.memory),
            ("sockets", self.sockets),
            ("TIME_WAIT", self.time_wait),
        ]
    }

    /// The greater one of each.
    pub(super) fn at_most(self, other: Facts) -> Facts {
        Facts {
            descriptors: self.descriptors.max(other.descriptors),
            memory: self.memory.max(other.memory),
            sockets: self.sockets.max(other.sockets),
            time_wait: self.time_wait.max(other.time_wait),
        }
    }
}

fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(number_after(line, "VmRSS:")? * 1024)
}

/// `inuse 5`: the number after the name.
fn number_after(line: &str, name: &str) -> Option<u64> {
    line.split_whitespace().skip_while(|word| *word != name).nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_told_on_linux() {
        let facts = Facts::now();
        assert!(facts.descriptors >= Some(3) && facts.memory > Some(100_000), "{facts:?}");
        assert!(facts.sockets.is_some() && facts.time_wait.is_some(), "{facts:?}");
    }

    #[test]
    fn a_number_stands_after_its_name() {
        assert_eq!(number_after("TCP: inuse 5 orphan 0 tw 3", "tw"), Some(3));
        assert_eq!(number_after("TCP: inuse 5", "tw"), None);
    }
}

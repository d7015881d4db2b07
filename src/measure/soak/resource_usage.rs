//! The resources that a process uses at one moment.

use std::fs;

use crate::hazards::descriptors::open_descriptors;
use crate::netstat;

/// The resources that this process and its network namespace use; `None` if `/proc` does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct ResourceUsage {
    /// Open descriptors: `/proc/self/fd`.
    pub descriptors: Option<u64>,
    /// Resident memory, in bytes: `VmRSS` of `/proc/self/status`.
    #[cfg_attr(feature = "cli", serde(rename = "memory_bytes"))]
    pub memory: Option<u64>,
    /// TCP sockets of the network namespace, including closed ones that still send: `inuse` of `/proc/net/sockstat`.
    pub sockets: Option<u64>,
    /// Sockets of the network namespace in TIME_WAIT.
    pub time_wait: Option<u64>,
}

impl ResourceUsage {
    pub(super) fn now() -> ResourceUsage {
        let sockstat = netstat::read("sockstat").unwrap_or_default();
        let in_tcp = |name| number_after(sockstat.lines().find(|line| line.starts_with("TCP:"))?, name);
        ResourceUsage {
            descriptors: open_descriptors().map(|open| open as u64),
            memory: resident(),
            sockets: in_tcp("inuse"), // `orphan` is of the whole host
            time_wait: in_tcp("tw"),
        }
    }

    /// Returns the figures with their names.
    pub(super) fn named(self) -> [(&'static str, Option<u64>); 4] {
        [
            ("descriptors", self.descriptors),
            ("memory", self.memory),
            ("sockets", self.sockets),
            ("TIME_WAIT", self.time_wait),
        ]
    }

    /// Returns the larger of each figure.
    pub(super) fn max(self, other: ResourceUsage) -> ResourceUsage {
        ResourceUsage {
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

/// Returns the number after a name: 5 in `inuse 5`.
fn number_after(line: &str, name: &str) -> Option<u64> {
    line.split_whitespace().skip_while(|word| *word != name).nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_tells_every_figure() {
        let usage = ResourceUsage::now();
        assert!(usage.descriptors >= Some(3) && usage.memory > Some(100_000), "{usage:?}");
        assert!(usage.sockets.is_some() && usage.time_wait.is_some(), "{usage:?}");
    }

    #[test]
    fn a_number_stands_after_its_name() {
        assert_eq!(number_after("TCP: inuse 5 orphan 0 tw 3", "tw"), Some(3));
        assert_eq!(number_after("TCP: inuse 5", "tw"), None);
    }
}

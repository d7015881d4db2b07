//! Counters of the kernel's network stack, from `/proc/net`.

use std::fs;
use std::io::{Error, ErrorKind, Result};

/// Reads a file of this thread's network namespace; before Linux 3.17, of the process's.
pub(crate) fn read(name: &str) -> Result<String> {
    fs::read_to_string(format!("/proc/thread-self/net/{name}"))
        .or_else(|_| fs::read_to_string(format!("/proc/net/{name}")))
}

/// Returns a counter of a table in two lines, the names above the numbers.
pub(crate) fn in_table(text: &str, table: &str, name: &str) -> Result<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with(table));
    let (names, numbers) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let place = names.split_whitespace().position(|found| found == name);
    let number = place.and_then(|place| numbers.split_whitespace().nth(place));
    number.and_then(|number| number.parse().ok()).ok_or_else(|| missing(table, name))
}

/// Returns the error for a counter that this kernel does not have.
pub(crate) fn missing(table: &str, name: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("there is no {table} {name} in /proc/net"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNMP: &str = "Ip: Forwarding\nIp: 1\nTcp: RtoMin MaxConn EstabResets OutRsts\nTcp: 200 -1 7 42\n";

    #[test]
    fn a_counter_is_found_by_its_name() {
        assert_eq!(in_table(SNMP, "Tcp:", "EstabResets").unwrap(), 7);
        assert_eq!(in_table(SNMP, "Tcp:", "OutRsts").unwrap(), 42);
    }

    #[test]
    fn a_missing_counter_is_named_in_the_error() {
        for (table, name) in [("Tcp:", "OutBursts"), ("Tcp:", "MaxConn"), ("TcpExt:", "TW")] {
            let error = in_table(SNMP, table, name).unwrap_err();
            assert_eq!(error.to_string(), format!("there is no {table} {name} in /proc/net"));
        }
    }
}

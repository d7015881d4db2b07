//! `--pin`: the CPUs that threads are pinned to.

use std::io;
use std::str::FromStr;

use ringpair::measure::available_cpus;

use crate::output::about;
use crate::values;

/// CPUs in the order in which they were named, each available to this process. None: threads are not pinned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpus(pub(crate) Vec<usize>);

const A_LIST: &str = "expected CPU numbers and ranges, for example 0, 0,2 or 0-3";

impl Cpus {
    /// `, on CPU 0` or `, on CPUs 0,2-3`; nothing if there are none.
    pub(crate) fn suffix(&self) -> String {
        match self.0.as_slice() {
            [] => String::new(),
            [cpu] => format!(", on CPU {cpu}"),
            cpus => format!(", on CPUs {}", ranges(cpus)),
        }
    }

    /// Lets this thread run on these alone, and on any if there are none.
    pub(crate) fn pin(&self) -> io::Result<()> {
        if self.0.is_empty() { Ok(()) } else { ringpair::measure::pin(&self.0).map_err(about("--pin")) }
    }
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Cpus, String> {
        let cpus = listed(text, MAX).ok_or(A_LIST)?;
        let available = available_cpus().map_err(|error| format!("which CPUs are available is unknown: {error}"))?;
        match cpus.iter().find(|cpu| !available.contains(cpu)) {
            Some(cpu) => Err(format!("CPU {cpu} is not available here; available: {}", ranges(&available))),
            None => Ok(Cpus(cpus)),
        }
    }
}

/// The maximum CPU number. A larger number is a mistake.
const MAX: usize = 1 << 16;

/// The numbers of a list like `0,2-3`. `None` if it is none, or a number is too large.
fn listed(text: &str, max: usize) -> Option<Vec<usize>> {
    let number = |text: &str| values::digits(text).filter(|number| *number < max);
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (number(first)?, number(last)?);
        cpus.extend((first <= last).then_some(first..=last)?);
    }
    Some(cpus)
}

/// Writes numbers, in order, as a list like `0,2-3`.
fn ranges(cpus: &[usize]) -> String {
    let runs = cpus.chunk_by(|one, next| one + 1 == *next);
    let texts = runs.filter_map(|run| match run {
        [] => None,
        [one] => Some(one.to_string()),
        [first, .., last] => Some(format!("{first}-{last}")),
    });
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_numbers_and_ranges() {
        for (text, cpus) in [("0", &[0][..]), ("0,2", &[0, 2]), ("0-3", &[0, 1, 2, 3]), ("5,1-2,1", &[5, 1, 2, 1])] {
            assert_eq!(listed(text, MAX).as_deref(), Some(cpus), "{text}");
        }
        for text in ["", ",", "0,", "-1", "1-", "3-1", "+1", "0x1", "1 2", "a", "1-2-3", "65536", "0-99999999999"] {
            assert_eq!(listed(text, MAX), None, "{text}");
        }
    }

    #[test]
    fn numbers_in_a_row_are_a_range() {
        for (cpus, text) in [(&[0][..], "0"), (&[0, 1], "0-1"), (&[0, 2, 3, 4, 9], "0,2-4,9"), (&[], "")] {
            assert_eq!(ranges(cpus), text);
        }
    }

    #[test]
    fn a_cpu_that_is_not_available_is_refused() {
        let error = "65535".parse::<Cpus>().unwrap_err();
        assert!(error.starts_with("CPU 65535 is not available here; available: "), "{error}");
        assert_eq!("x".parse::<Cpus>(), Err(A_LIST.to_owned()));
    }
}

//! Applies before large batches: checks that the process may open enough descriptors.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

use crate::error::{Result, Step};

/// Whether this process may open `count` more descriptors. True without `/proc`: then the attempt fails instead.
pub(crate) fn can_open(count: usize) -> Result<bool> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).map_err(Step::Socket.failed())?;
    // The kernel's own limit, fs.nr_open, has 32 bits.
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(i32::MAX as usize);
    let fits = |open: usize| count <= limit.saturating_sub(open);
    // The limit is on descriptor numbers. It may have been lowered: descriptors above it do not count.
    Ok(fits(descriptors_open(limit.saturating_sub(count)).unwrap_or(0)) || listed_below(limit).is_some_and(fits))
}

/// Returns how many descriptors are open; `None` without /proc.
pub(crate) fn open_descriptors() -> Option<usize> {
    counted().or_else(listed)
}

/// Returns how many descriptors are open, or a cheaper upper bound if that is at most `enough`: a process with very many should
/// not list them for each batch.
fn descriptors_open(enough: usize) -> Option<usize> {
    counted().or_else(|| table_size().filter(|size| *size <= enough)).or_else(listed)
}

const OPEN: &str = "/proc/self/fd";

/// Since Linux 6.2 the size of the directory is the number of descriptors; before, it is zero, and they must be listed.
fn counted() -> Option<usize> {
    let count = fs::metadata(OPEN).ok()?.len();
    usize::try_from(count).ok().filter(|count| *count > 0)
}

fn listed() -> Option<usize> {
    listed_below(usize::MAX)
}

/// Counts open descriptors with smaller numbers.
fn listed_below(limit: usize) -> Option<usize> {
    let is_below = |entry: &fs::DirEntry| {
        let number = entry.file_name().to_str().and_then(|name| name.parse::<usize>().ok());
        number.is_none_or(|number| number < limit)
    };
    let below = fs::read_dir(OPEN).ok()?.filter(|entry| entry.as_ref().map_or(true, is_below)).count();
    below.checked_sub(1) // without the descriptor that listed them
}

/// Returns the size of the kernel's table, which bounds the number of open descriptors.
fn table_size() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("FDSize:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_size_bounds_the_open_descriptors() {
        let mut files = Vec::new();
        for _ in 0..300 {
            let listed = fs::read_dir("/proc/self/fd").unwrap().count();
            assert!(table_size().unwrap() + 1 >= listed); // plus the descriptor that lists them
            files.push(fs::File::open("/dev/null").unwrap());
        }
    }
}

//! Applies before large batches: whether this process may open so many descriptors.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

use crate::error::{Result, Step};

/// Whether this process may open `count` more descriptors. True without /proc: then the attempt finds out.
pub(crate) fn can_open(count: usize) -> Result<bool> {
    let (most, _) = getrlimit(Resource::RLIMIT_NOFILE).map_err(Step::Socket.failed())?;
    // The kernel's own bound, fs.nr_open, is a number of 32 bits.
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(i32::MAX as usize);
    let fits = |open: usize| count <= most.saturating_sub(open);
    // The limit is one of descriptor numbers and may have been lowered: open ones beyond it take no room.
    Ok(fits(descriptors_open(most.saturating_sub(count)).unwrap_or(0)) || listed_below(most).is_some_and(fits))
}

/// Returns how many descriptors are open; `None` without /proc.
pub(crate) fn open_descriptors() -> Option<usize> {
    counted().or_else(listed)
}

/// Returns how many descriptors are open, or an upper bound if that is quicker and no more than `enough`: a process with very
/// many should not list them for each batch.
fn descriptors_open(enough: usize) -> Option<usize> {
    counted().or_else(|| table_size().filter(|size| *size <= enough)).or_else(listed)
}

const OPEN: &str = "/proc/self/fd";

/// Since Linux 6.2 the folder's size is the number of descriptors; before, it is zero, and they must be listed.
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
    below.checked_sub(1) // the one that lists them is no longer open
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
    fn no_more_descriptors_are_open_than_there_is_room_for() {
        let mut files = Vec::new();
        for _ in 0..300 {
            let listed = fs::read_dir("/proc/self/fd").unwrap().count();
            assert!(table_size().unwrap() + 1 >= listed); // with the one that lists them
            files.push(fs::File::open("/dev/null").unwrap());
        }
    }
}

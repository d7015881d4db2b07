//! How many descriptors this process has open, and whether it may open more.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

use crate::error::{Result, Step};

/// Whether this process may open `count` more descriptors. Where /proc does not tell how many are open, that is found out later.
pub(crate) fn can_open(count: usize) -> Result<bool> {
    let (most, _) = getrlimit(Resource::RLIMIT_NOFILE).map_err(Step::Socket.failed())?;
    // The kernel's own bound, fs.nr_open, is a number of 32 bits.
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(i32::MAX as usize);
    let fits = |open: usize| count <= most.saturating_sub(open);
    // Not all that are open need be in the way: the limit is one of numbers, and may have been lowered since.
    Ok(fits(descriptors_open(most.saturating_sub(count)).unwrap_or(0)) || listed_below(most).is_some_and(fits))
}

/// How many descriptors are open; `None` where /proc does not tell.
pub(crate) fn open_descriptors() -> Option<usize> {
    counted().or_else(listed)
}

/// How many descriptors are open; where that takes long to find out, and can be no more than `enough`, how many at most: not
/// each batch of a process that has very many has to list them, as long as its table says that they are few enough.
fn descriptors_open(enough: usize) -> Option<usize> {
    counted().or_else(|| table_size().filter(|size| *size <= enough)).or_else(listed)
}

const OPEN: &str = "/proc/self/fd";

/// From Linux 6.2 on the folder's size is the number of descriptors; before, it is zero, and they must be listed.
fn counted() -> Option<usize> {
    let count = fs::metadata(OPEN).ok()?.len();
    usize::try_from(count).ok().filter(|count| *count > 0)
}

fn listed() -> Option<usize> {
    listed_below(usize::MAX)
}

/// How many descriptors with smaller numbers are open.
fn listed_below(limit: usize) -> Option<usize> {
    let is_below = |entry: &fs::DirEntry| {
        let number = entry.file_name().to_str().and_then(|name| name.parse::<usize>().ok());
        number.is_none_or(|number| number < limit)
    };
    let below = fs::read_dir(OPEN).ok()?.filter(|entry| entry.as_ref().map_or(true, is_below)).count();
    below.checked_sub(1) // the one that lists them is no longer open
}

/// How many descriptors there is room for before the kernel has to make more: as many at most are open.
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

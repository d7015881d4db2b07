//! Applies when TIME_WAIT has filled the ports that `bind(2)` chooses from.
//!
//! The kernel uses every second port of `net.ipv4.ip_local_port_range` for `bind(2)` and the others for `connect(2)`. A pair
//! whose accepted end closes with FIN leaves the listener's port in TIME_WAIT for a minute. When all ports for `bind(2)` are in
//! TIME_WAIT, each call searches them in vain *(6 ms instead of 0.05)* and then takes a port meant for `connect(2)`. Listeners
//! of `std` and tokio set SO_REUSEADDR before they bind, which uses up the lower half of the ports first.
//!
//! With SO_REUSEADDR and an explicit number, a socket can listen at a port in TIME_WAIT. So after the kernel has chosen a port
//! meant for `connect(2)`, or has searched long while many ports are in TIME_WAIT, listeners name their port for a minute.

use std::convert::Infallible;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::iter;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::fork::ProcessLocal;

/// How long a port is in TIME_WAIT.
const MINUTE: Duration = Duration::from_secs(60);

/// How many ports are tried by name before the kernel chooses. A named port may be in use.
const TRIES: usize = 16;

/// The duration of a search over a thousand ports. All traced calls take this long, so fault tests ignore it.
const LONG: Duration = if cfg!(ringpair_faults) { Duration::MAX } else { Duration::from_micros(50) };

/// The minimum time between two checks of why a search took long.
const SOON: Duration = Duration::from_secs(1);

/// Each process has its own: a fork can leave its parent's locked.
static KNOWN: ProcessLocal<Mutex<Known>> = ProcessLocal::new();

/// Copies for the common path, which takes no lock: whether ports are named, and whether the range begins with an odd port.
static SCARCE: AtomicBool = AtomicBool::new(false);
static BEGINS_ODD: AtomicBool = AtomicBool::new(false);

#[derive(Default)]
struct Known {
    range: Option<Range>,
    scarce_until: Option<Instant>,
    /// When the reason for a long search was last checked.
    looked: Option<Instant>,
}

/// The ports that the kernel chooses from.
#[derive(Debug, PartialEq)]
struct Range {
    first: u16,
    last: u16,
    reserved: Vec<(u16, u16)>,
}

/// Returns a few ports to listen at despite TIME_WAIT. Empty while the kernel has free ports.
pub(crate) fn named() -> impl Iterator<Item = u16> {
    let scarce = are_named() && lock(known()).is_still_scarce();
    iter::repeat_with(|| lock(known()).range.as_ref()?.any()).take(if scarce { TRIES } else { 0 }).flatten()
}

/// Whether listeners name their ports now.
pub(crate) fn are_named() -> bool {
    SCARCE.load(Relaxed)
}

/// Notes which port the kernel has chosen for a listener, and how long its search took.
pub(crate) fn chosen(port: u16, took: Duration) {
    let known = known(); // allocated by the first listener, so that no later one allocates
    if is_for_connects(port, BEGINS_ODD.load(Relaxed)) {
        lock(known).check_scarcity(|range| is_for_connects(port, range.begins_odd()));
    } else if took >= LONG {
        lock(known).explain_long_search();
    }
}

/// Notes that the kernel found no free port.
pub(crate) fn none_left() {
    lock(known()).check_scarcity(|_| true);
}

/// Returns the first and the last port that the kernel chooses from in this network namespace.
pub(crate) fn range() -> Option<(u16, u16)> {
    Range::in_force().map(|range| (range.first, range.last))
}

/// Returns how many ports of the range are reserved: `net.ipv4.ip_local_reserved_ports`.
pub(crate) fn reserved() -> Option<u32> {
    let mut range = Range::in_force()?;
    range.exclude_reserved();
    let is_reserved = |port: &u16| range.reserved.iter().any(|(first, last)| (first..=last).contains(&port));
    Some((range.first..=range.last).filter(is_reserved).count() as u32)
}

fn is_for_connects(port: u16, begins_odd: bool) -> bool {
    (port % 2 == 1) == begins_odd
}

/// Returns how many connections of this network namespace are in TIME_WAIT.
pub(crate) fn in_time_wait() -> Option<u64> {
    let mut buffer = [0; 512];
    let counters = beginning_of("/proc/thread-self/net/sockstat", &mut buffer)?;
    let mut words = counters.lines().find(|line| line.starts_with("TCP:"))?.split_whitespace();
    words.find(|word| *word == "tw")?;
    words.next()?.parse().ok()
}

/// Reads the beginning of a file without an allocation, because making a pair must not allocate.
fn beginning_of<'a>(path: &str, buffer: &'a mut [u8; 512]) -> Option<&'a str> {
    let length = fs::File::open(path).ok()?.read(buffer).ok()?;
    std::str::from_utf8(&buffer[..length]).ok()
}

fn known() -> &'static Mutex<Known> {
    let make = || Ok::<_, Infallible>(Mutex::default());
    let Ok(known) = KNOWN.get_or_make(make, |_| {}); // the parent's may be locked, and is left alone
    known
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    fn is_still_scarce(&mut self) -> bool {
        self.scarce_until = self.scarce_until.filter(|until| Instant::now() < *until);
        SCARCE.store(self.scarce_until.is_some(), Relaxed);
        self.scarce_until.is_some()
    }

    fn explain_long_search(&mut self) {
        if self.looked.is_none_or(|looked| looked.elapsed() >= SOON) {
            self.looked = Some(Instant::now());
            let a_quarter = |range: &Range| in_time_wait().is_some_and(|many| many >= range.listener_ports() / 4);
            self.check_scarcity(a_quarter);
        }
    }

    fn check_scarcity(&mut self, is_scarce: impl FnOnce(&Range) -> bool) {
        self.range = Range::in_force();
        self.scarce_until = None;
        if let Some(range) = self.range.as_mut().filter(|range| is_scarce(range)) {
            range.exclude_reserved();
            self.scarce_until = Some(Instant::now() + MINUTE);
        }
        SCARCE.store(self.scarce_until.is_some(), Relaxed);
        BEGINS_ODD.store(self.range.as_ref().is_some_and(Range::begins_odd), Relaxed);
    }
}

impl Range {
    /// Reads the range of this network namespace, reserved ports included. `None` without `/proc`.
    fn in_force() -> Option<Range> {
        Range::of(beginning_of("/proc/sys/net/ipv4/ip_local_port_range", &mut [0; 512])?)
    }

    fn of(text: &str) -> Option<Range> {
        let (first, last) = text.split_once(char::is_whitespace)?;
        Some(Range { first: first.trim().parse().ok()?, last: last.trim().parse().ok()?, reserved: Vec::new() })
    }

    fn exclude_reserved(&mut self) {
        let (path, mut buffer) = ("/proc/sys/net/ipv4/ip_local_reserved_ports", [0; 512]);
        match beginning_of(path, &mut buffer) {
            Some(text) if text.len() < 512 => self.exclude(text),
            _ => self.exclude(&fs::read_to_string(path).unwrap_or_default()),
        }
    }

    fn exclude(&mut self, text: &str) {
        let reserved = text.trim().split(',').filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        self.reserved = reserved.collect();
    }

    fn begins_odd(&self) -> bool {
        self.first % 2 == 1
    }

    fn listener_ports(&self) -> u64 {
        self.last.saturating_sub(self.first).div_ceil(2).into()
    }

    /// Returns a random port of those that the kernel uses for listeners.
    fn any(&self) -> Option<u16> {
        let random = RandomState::new().hash_one(()).checked_rem(self.listener_ports())?;
        let port = self.first + 1 + 2 * u16::try_from(random).ok()?;
        self.reserved.iter().all(|(first, last)| !(*first..=*last).contains(&port)).then_some(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports_of(range: &Range) -> Vec<u16> {
        let mut ports: Vec<u16> = (0..1000).filter_map(|_| range.any()).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    #[test]
    fn every_second_port_is_named_unless_reserved() {
        let range = |text| Range::of(text).unwrap();
        assert_eq!(ports_of(&range("32768\t32775\n")), [32769, 32771, 32773, 32775]);
        assert_eq!(ports_of(&range("32769\t32775\n")), [32770, 32772, 32774]);
        assert_eq!(ports_of(&range("32768\t32769\n")), [32769]);
        assert_eq!(ports_of(&range("65534\t65535\n")), [65535]);
        assert_eq!(ports_of(&range("32768\t32768\n")), [0; 0]);
        assert_eq!(ports_of(&range("32769\t32768\n")), [0; 0]);
        let mut range = range("32768\t32781\n");
        range.exclude("\n");
        assert_eq!(ports_of(&range).len(), 7);
        range.exclude("8080,32771,32775-32777\n");
        assert_eq!(ports_of(&range), [32769, 32773, 32779, 32781]);
    }

    #[test]
    fn a_lock_that_a_fork_left_held_blocks_no_child() {
        let parents = Mutex::default();
        std::mem::forget(parents.lock());
        KNOWN.inherit(parents);
        chosen(1, LONG);
        chosen(2, LONG);
        assert!(lock(known()).looked.is_some() || lock(known()).range.is_some());
    }

    #[test]
    fn an_invalid_range_is_none() {
        for text in ["", "32768", "32768 x", "-1 5", "0 70000"] {
            assert_eq!(Range::of(text), None, "{text:?}");
        }
    }
}

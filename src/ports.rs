//! Which port a fresh listener gets: the kernel chooses, until TIME_WAIT has filled what it chooses from.
//!
//! Of `net.ipv4.ip_local_port_range` the kernel gives every second port to `bind(2)`, and those in between to `connect(2)`. A
//! pair with a listener of its own whose accepted end closes with FIN leaves the listener's port in TIME_WAIT, for a minute.
//! When all of one half are, each `bind(2)` searches through it in vain *(a one-shot takes 6 ms instead of 0.05)* and takes one of
//! the other half, until there is none for anybody. Listeners of `std` and tokio, which have SO_REUSEADDR before they are bound, fill the
//! lower half of their half first, and then every second search begins there. But a port in TIME_WAIT can be listened on
//! again, with SO_REUSEADDR and by name. So whoever is given a port of the wrong half, or has waited long for one where many are in
//! TIME_WAIT, names those of the right half for a minute. (Not always: whoever else has bound the same port, likewise by name
//! and with SO_REUSEADDR, and does not listen yet, would find it taken.)

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::iter;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a port is in TIME_WAIT.
const MINUTE: Duration = Duration::from_secs(60);

/// How many ports are named before the kernel is asked after all. Taken are those that somebody listens on or connects from.
const TRIES: usize = 16;

/// What a search takes that has to look at a thousand ports or more. Others take it too where the processor is taken from us,
/// and all of them where calls are traced so that tests can make them fail.
const LONG: Duration = if cfg!(ringpair_faults) { Duration::MAX } else { Duration::from_micros(50) };

/// How soon after a long search that had another reason the next one is looked into.
const SOON: Duration = Duration::from_secs(1);

/// What this process knows.
static KNOWN: Mutex<Known> = Mutex::new(Known { range: None, crowded_until: None, looked: None });

/// What each listener asks, without a lock that all threads would share: whether ports are named, and whether the range that is
/// known begins with an odd port.
static CROWDED: AtomicBool = AtomicBool::new(false);
static BEGINS_ODD: AtomicBool = AtomicBool::new(false);

struct Known {
    range: Option<Range>,
    crowded_until: Option<Instant>,
    /// When a long search was last looked into.
    looked: Option<Instant>,
}

/// Where the kernel takes ports from.
#[derive(Debug, PartialEq)]
struct Range {
    first: u16,
    last: u16,
    /// Those that it leaves out.
    reserved: Vec<(u16, u16)>,
}

/// A few ports to listen on in spite of TIME_WAIT, one after the other. None where the kernel still has some to choose from.
pub(crate) fn named() -> impl Iterator<Item = u16> {
    let crowded = CROWDED.load(Relaxed) && known().is_crowded_still();
    iter::repeat_with(|| known().range.as_ref()?.any()).take(if crowded { TRIES } else { 0 }).flatten()
}

/// Learns from the port that the kernel has chosen for a listener, and from how long it has searched.
pub(crate) fn chosen(port: u16, took: Duration) {
    if is_for_connects(port, BEGINS_ODD.load(Relaxed)) {
        known().look_whether_crowded(|range| is_for_connects(port, range.begins_odd()));
    } else if took >= LONG {
        known().look_into_a_long_search();
    }
}

/// Learns that the kernel had none to choose from.
pub(crate) fn none_left() {
    known().look_whether_crowded(|_| true);
}

/// The first and the last port given to a socket that asks for any, in this network namespace.
pub(crate) fn range() -> Option<(u16, u16)> {
    Range::in_force().map(|range| (range.first, range.last))
}

fn is_for_connects(port: u16, begins_odd: bool) -> bool {
    (port % 2 == 1) == begins_odd
}

/// How many connections of this network namespace are in TIME_WAIT.
fn in_time_wait() -> Option<u64> {
    let mut buffer = [0; 512];
    let counters = beginning_of("/proc/thread-self/net/sockstat", &mut buffer)?;
    let mut words = counters.lines().find(|line| line.starts_with("TCP:"))?.split_whitespace();
    words.find(|word| *word == "tw")?;
    words.next()?.parse().ok()
}

/// What a file begins with, without an allocation: a pair makes none, whatever holds it up.
fn beginning_of<'a>(path: &str, buffer: &'a mut [u8; 512]) -> Option<&'a str> {
    let length = fs::File::open(path).ok()?.read(buffer).ok()?;
    std::str::from_utf8(&buffer[..length]).ok()
}

fn known() -> MutexGuard<'static, Known> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    fn is_crowded_still(&mut self) -> bool {
        self.crowded_until = self.crowded_until.filter(|until| Instant::now() < *until);
        CROWDED.store(self.crowded_until.is_some(), Relaxed);
        self.crowded_until.is_some()
    }

    fn look_into_a_long_search(&mut self) {
        if self.looked.is_none_or(|looked| looked.elapsed() >= SOON) {
            self.looked = Some(Instant::now());
            let a_quarter = |range: &Range| in_time_wait().is_some_and(|many| many >= range.many_for_listeners() / 4);
            self.look_whether_crowded(a_quarter);
        }
    }

    fn look_whether_crowded(&mut self, is_crowded: impl FnOnce(&Range) -> bool) {
        self.range = Range::in_force();
        self.crowded_until = None;
        if let Some(range) = self.range.as_mut().filter(|range| is_crowded(range)) {
            range.leave_out_the_reserved();
            self.crowded_until = Some(Instant::now() + MINUTE);
        }
        CROWDED.store(self.crowded_until.is_some(), Relaxed);
        BEGINS_ODD.store(self.range.as_ref().is_some_and(Range::begins_odd), Relaxed);
    }
}

impl Range {
    /// That of this network namespace, the reserved ones among them; `None` where /proc does not tell.
    fn in_force() -> Option<Range> {
        Range::of(beginning_of("/proc/sys/net/ipv4/ip_local_port_range", &mut [0; 512])?)
    }

    fn of(text: &str) -> Option<Range> {
        let (first, last) = text.split_once(char::is_whitespace)?;
        Some(Range { first: first.trim().parse().ok()?, last: last.trim().parse().ok()?, reserved: Vec::new() })
    }

    fn leave_out_the_reserved(&mut self) {
        let (path, mut buffer) = ("/proc/sys/net/ipv4/ip_local_reserved_ports", [0; 512]);
        match beginning_of(path, &mut buffer) {
            Some(text) if text.len() < 512 => self.leave_out(text),
            _ => self.leave_out(&fs::read_to_string(path).unwrap_or_default()),
        }
    }

    fn leave_out(&mut self, text: &str) {
        let reserved = text.trim().split(',').filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        self.reserved = reserved.collect();
    }

    fn begins_odd(&self) -> bool {
        self.first % 2 == 1
    }

    fn many_for_listeners(&self) -> u64 {
        self.last.saturating_sub(self.first).div_ceil(2).into()
    }

    /// Any port that the kernel would choose for a listener.
    fn any(&self) -> Option<u16> {
        let random = RandomState::new().hash_one(()).checked_rem(self.many_for_listeners())?;
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
    fn every_second_port_of_the_range_is_named_unless_it_is_reserved() {
        let range = |text| Range::of(text).unwrap();
        assert_eq!(ports_of(&range("32768\t32775\n")), [32769, 32771, 32773, 32775]);
        assert_eq!(ports_of(&range("32769\t32775\n")), [32770, 32772, 32774]);
        assert_eq!(ports_of(&range("32768\t32769\n")), [32769]);
        assert_eq!(ports_of(&range("65534\t65535\n")), [65535]);
        assert_eq!(ports_of(&range("32768\t32768\n")), [0; 0]);
        assert_eq!(ports_of(&range("32769\t32768\n")), [0; 0]);
        let mut range = range("32768\t32781\n");
        range.leave_out("\n");
        assert_eq!(ports_of(&range).len(), 7);
        range.leave_out("8080,32771,32775-32777\n");
        assert_eq!(ports_of(&range), [32769, 32773, 32779, 32781]);
    }

    #[test]
    fn what_is_no_range_is_none() {
        for text in ["", "32768", "32768 x", "-1 5", "0 70000"] {
            assert_eq!(Range::of(text), None, "{text:?}");
        }
    }
}

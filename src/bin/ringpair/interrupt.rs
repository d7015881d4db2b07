//! Interruption by a signal, or by a reader that has left. What was done so far is still reported.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use signal_hook::flag;

/// The interval between two checks for the reader of standard output.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Detects signals that ask to stop, and the loss of standard output's reader.
pub(crate) struct Interrupt {
    /// The number of the last signal; 0 for none.
    signal: Arc<AtomicUsize>,
    looked: Instant,
    reader_is_gone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Signal(Signal),
    ReaderIsGone,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Signal(signal) => f.write_str(signal.as_str()),
            Cause::ReaderIsGone => f.write_str("the reader of standard output, which has gone away"),
        }
    }
}

impl Interrupt {
    /// Catches SIGINT, SIGTERM and SIGHUP, except those that this process was started to ignore, as `nohup` does. A second
    /// SIGINT or SIGTERM ends the program at once; a terminal that goes away can send SIGHUP twice.
    pub(crate) fn catch() -> io::Result<Interrupt> {
        let (signal, is_caught) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let ignored = ignored();
        let all = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
        let signals: Vec<Signal> = all.into_iter().filter(|signal| ignored & bit(*signal) == 0).collect();
        // Held back until all is in place: a signal that finds half of it would be swallowed.
        let before = signals.iter().copied().collect::<SigSet>().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let registered = signals.into_iter().try_for_each(|caught| {
            let number = caught as i32;
            if caught != Signal::SIGHUP {
                flag::register_conditional_default(number, Arc::clone(&is_caught))?;
            }
            flag::register(number, Arc::clone(&is_caught))?;
            flag::register_usize(number, Arc::clone(&signal), number as usize).map(drop)
        });
        before.thread_set_mask()?;
        registered.map(|()| Interrupt { signal, looked: Instant::now(), reader_is_gone: false })
    }

    /// Returns why to stop, if at all. Checks for the reader of standard output once a second.
    pub(crate) fn cause(&mut self) -> Option<Cause> {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            self.reader_is_gone |= reader_is_gone();
        }
        let signal = Signal::try_from(self.signal.load(Relaxed) as i32).ok();
        signal.map(Cause::Signal).or(self.reader_is_gone.then_some(Cause::ReaderIsGone))
    }

    /// Says on stderr what ended the run. Returns whether standard output has no reader.
    pub(crate) fn say(&mut self) -> bool {
        let cause = self.cause();
        if let Some(cause) = cause {
            let _ = writeln!(io::stderr(), "Interrupted by {cause}"); // no other place is left to say it
        }
        cause == Some(Cause::ReaderIsGone)
    }
}

/// Whether standard output is a pipe or a socket that nothing reads.
fn reader_is_gone() -> bool {
    let stdout = io::stdout();
    let mut polled = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    let is_polled = poll(&mut polled, PollTimeout::ZERO).is_ok_and(|count| count > 0);
    is_polled && polled[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
}

/// The signals that this process ignores: `SigIgn` of `/proc/self/status`.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

fn bit(signal: Signal) -> u64 {
    1 << (signal as i32 - 1)
}

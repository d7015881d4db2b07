//! The records that checks write, and how they are read.

use std::io;

use nix::errno::Errno;

use super::check::{Check, Outcome, Tried};
use super::child::{ChildEnding, Log, Record};
use super::opcodes::Opcodes;
use crate::error::{Error, Step};
use crate::options::Backend;

/// The results of all checks.
pub(super) struct Findings {
    pub(super) tried: Tried,
    pub(super) opcodes: Option<Opcodes>,
    pub(super) loopback_up: Option<bool>,
    /// The outcome of a pair with the default options; `None` if it was not tried, or did not end.
    pub(super) made: Option<PairOutcome>,
    /// The errno of starting a child, if that failed. The remaining checks did not run.
    pub(super) no_child: Option<i32>,
}

/// The outcome of making a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PairOutcome {
    By(Backend),
    Failed { step: Step, errno: i32 },
}

/// Kinds of record. The first byte is the kind, the second the check; the last four are the value.
const BEGUN: u8 = 1;
const ENDED: u8 = 2;
const OPCODES: u8 = 3;
/// The second byte is a place in [`BACKENDS`].
const MADE: u8 = 4;
/// The second byte is a place in [`STEPS`].
const FAILED: u8 = 5;
const LOOPBACK: u8 = 6;

const BACKENDS: [Backend; 2] = [Backend::Uring, Backend::Epoll];
const STEPS: [Step; 11] = [
    Step::Options,
    Step::Ring,
    Step::Socket,
    Step::Bind,
    Step::Listen,
    Step::Connect,
    Step::Accept,
    Step::Verify,
    Step::SetOption,
    Step::Convert,
    Step::Timeout,
];

/// The value of an check that worked, with addresses that do not match. No errno is negative.
const MISMATCHED: i32 = -1;

impl Log {
    /// Runs a check, and logs its begin and its end.
    pub(super) fn check<T>(&self, check: Check, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.begun(check);
        let outcome = act();
        self.ended(check, outcome.as_ref().map_or_else(errno_of, |_| 0));
        outcome
    }

    pub(super) fn begun(&self, check: Check) {
        self.send(record(BEGUN, check as u8, 0));
    }

    /// Logs how a check ended: 0, or an errno.
    pub(super) fn ended(&self, check: Check, errno: i32) {
        self.send(record(ENDED, check as u8, errno));
    }

    pub(super) fn mismatched(&self, check: Check) {
        self.ended(check, MISMATCHED);
    }

    pub(super) fn opcodes(&self, known: Opcodes) {
        self.send(record(OPCODES, 0, known.to_bits()));
    }

    /// Logs whether `lo` is up.
    pub(super) fn loopback(&self, is_up: bool) {
        self.send(record(LOOPBACK, 0, is_up.into()));
    }

    /// Logs which engine made a pair.
    pub(super) fn made(&self, backend: Backend) {
        self.send(record(MADE, place_in(&BACKENDS, backend), 0));
    }

    /// Logs why no pair was made.
    pub(super) fn failed(&self, error: &Error) {
        self.send(record(FAILED, place_in(&STEPS, error.step()), errno_of(error.cause())));
    }
}

fn place_in<T: PartialEq>(all: &[T], one: T) -> u8 {
    all.iter().position(|other| *other == one).map_or(u8::MAX, |place| place as u8)
}

fn record(kind: u8, check: u8, value: i32) -> Record {
    let [a, b, c, d] = value.to_le_bytes();
    [kind, check, 0, 0, a, b, c, d]
}

/// Returns the errno of an error. If no system call reported it, the errno of its kind.
pub(super) fn errno_of(error: &io::Error) -> i32 {
    let ours = match error.kind() {
        io::ErrorKind::TimedOut => Errno::ETIMEDOUT,
        io::ErrorKind::Unsupported => Errno::EOPNOTSUPP,
        _ => Errno::EIO,
    };
    error.raw_os_error().unwrap_or(ours as i32)
}

impl Findings {
    pub(super) fn none() -> Findings {
        Findings { tried: Tried::nothing(), opcodes: None, loopback_up: None, made: None, no_child: None }
    }

    /// Reads the records of some checks, which ran in this order.
    pub(super) fn add(&mut self, of: impl Iterator<Item = Check>, records: &[Record], ending: ChildEnding) {
        let mut begun = None;
        for &[kind, number, _, _, a, b, c, d] in records {
            let value = i32::from_le_bytes([a, b, c, d]);
            let place = usize::from(number);
            match kind {
                BEGUN => begun = Check::from_number(number),
                ENDED => {
                    if let Some(check) = Check::from_number(number) {
                        self.tried.set(check, outcome_of(value));
                        begun = begun.filter(|begun| *begun != check);
                    }
                }
                OPCODES => self.opcodes = Some(Opcodes::from_bits(value)),
                LOOPBACK => self.loopback_up = Some(value != 0),
                MADE => self.made = BACKENDS.get(place).map(|backend| PairOutcome::By(*backend)),
                FAILED => self.made = STEPS.get(place).map(|step| PairOutcome::Failed { step: *step, errno: value }),
                _ => {}
            }
        }
        // A child that ended between two checks was about to begin the next one.
        let next = (ending != ChildEnding::Completed).then(|| self.tried.first_untried(of)).flatten();
        if let Some(check) = begun.or(next) {
            self.tried.set(check, end_of_what_was_begun(ending));
        }
    }
}

fn outcome_of(errno: i32) -> Outcome {
    match errno {
        0 => Outcome::Worked,
        MISMATCHED => Outcome::Mismatched,
        late if late == Errno::ETIMEDOUT as i32 => Outcome::Late,
        errno => Outcome::Refused { errno },
    }
}

fn end_of_what_was_begun(ending: ChildEnding) -> Outcome {
    match ending {
        ChildEnding::Overdue => Outcome::Late,
        ChildEnding::Killed(signal) => Outcome::Died { signal: Some(signal) },
        ChildEnding::Lost | ChildEnding::Completed => Outcome::Died { signal: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(records: &[Record], ending: ChildEnding) -> Findings {
        let mut findings = Findings::none();
        findings.add(Check::PLAIN.into_iter(), records, ending);
        findings
    }

    #[test]
    fn a_child_that_ends_is_blamed_on_the_check_it_had_begun() {
        let worked = [record(BEGUN, Check::Socket as u8, 0), record(ENDED, Check::Socket as u8, 0)];
        let open = [worked[0], worked[1], record(BEGUN, Check::RingSetup as u8, 0)];
        for (ending, outcome) in [
            (ChildEnding::Killed(31), Outcome::Died { signal: Some(31) }),
            (ChildEnding::Lost, Outcome::Died { signal: None }),
            (ChildEnding::Overdue, Outcome::Late),
        ] {
            let tried = read(&open, ending).tried;
            assert_eq!(tried.outcome(Check::Socket), Outcome::Worked);
            assert_eq!(tried.outcome(Check::RingSetup), outcome);
            assert_eq!(tried.outcome(Check::RingEnter), Outcome::Untried);
            // Without an open check, the next one is blamed.
            let tried = read(&worked, ending).tried;
            assert_eq!((tried.outcome(Check::Socket), tried.outcome(Check::SetOption)), (Outcome::Worked, outcome));
        }
    }

    #[test]
    fn an_errno_is_a_refusal_and_a_timeout_is_late() {
        let errors = [
            (io::Error::from(Errno::EPERM), Outcome::Refused { errno: 1 }),
            (io::Error::from(Errno::ETIMEDOUT), Outcome::Late),
            (io::ErrorKind::TimedOut.into(), Outcome::Late),
            (io::ErrorKind::Unsupported.into(), Outcome::Refused { errno: Errno::EOPNOTSUPP as i32 }),
            (io::ErrorKind::Other.into(), Outcome::Refused { errno: Errno::EIO as i32 }),
        ];
        for (error, outcome) in errors {
            assert_eq!(outcome_of(errno_of(&error)), outcome, "{error}");
        }
    }

    #[test]
    fn opcodes_survive_the_log() {
        let mut known = Opcodes::from_bits(0);
        known.accept = true;
        known.recv = true;
        let findings = read(&[record(OPCODES, 0, known.to_bits())], ChildEnding::Completed);
        assert_eq!(findings.opcodes, Some(known));
    }

    #[test]
    fn the_outcome_of_a_pair_survives_the_log() {
        for backend in BACKENDS {
            let findings = read(&[record(MADE, place_in(&BACKENDS, backend), 0)], ChildEnding::Completed);
            assert_eq!(findings.made, Some(PairOutcome::By(backend)));
        }
        for step in STEPS {
            let log = Log::new();
            log.failed(&step.failed()(Errno::EPERM));
            let findings = read(&log.records(), ChildEnding::Completed);
            assert_eq!(findings.made, Some(PairOutcome::Failed { step, errno: 1 }));
        }
    }

    #[test]
    fn garbage_is_ignored() {
        let findings = read(&[[9; 8], record(ENDED, 200, 0), record(BEGUN, 200, 0)], ChildEnding::Completed);
        assert_eq!((findings.tried, findings.made), (Tried::nothing(), None));
    }
}

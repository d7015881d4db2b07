//! What is told of each attempt, and how that is read.

use std::io;

use nix::errno::Errno;

use super::attempt::{Attempt, Outcome, Tried};
use super::child::{Ending, Record, Report};
use super::opcodes::Opcodes;
use crate::error::{Error, Step};
use crate::options::Backend;

/// What came of all attempts.
pub(super) struct Findings {
    pub(super) tried: Tried,
    pub(super) opcodes: Option<Opcodes>,
    pub(super) loopback_up: Option<bool>,
    /// What came of a pair with the default options; `None` if that was not tried, or not brought to an end.
    pub(super) made: Option<Made>,
    /// Why there was no child, so that nothing was tried at all.
    pub(super) no_child: Option<i32>,
}

/// What making a pair came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    By(Backend),
    Failed { step: Step, errno: i32 },
}

/// Kinds of record. The first byte is the kind, the second the attempt; the last four are the value.
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

/// The value of an attempt that worked, with addresses that do not match. No errno is negative.
const MISMATCHED: i32 = -1;

impl Report {
    /// Tells that this is tried now, tries it, and tells how it ended.
    pub(super) fn attempt<T>(&self, attempt: Attempt, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.begun(attempt);
        let outcome = act();
        self.ended(attempt, outcome.as_ref().map_or_else(errno_of, |_| 0));
        outcome
    }

    pub(super) fn begun(&self, attempt: Attempt) {
        self.send(record(BEGUN, attempt as u8, 0));
    }

    /// Tells how something ended: 0, or an errno.
    pub(super) fn ended(&self, attempt: Attempt, errno: i32) {
        self.send(record(ENDED, attempt as u8, errno));
    }

    pub(super) fn mismatched(&self, attempt: Attempt) {
        self.ended(attempt, MISMATCHED);
    }

    pub(super) fn opcodes(&self, known: Opcodes) {
        self.send(record(OPCODES, 0, known.to_bits()));
    }

    /// Tells whether `lo` is up.
    pub(super) fn loopback(&self, is_up: bool) {
        self.send(record(LOOPBACK, 0, is_up.into()));
    }

    /// Tells what made a pair.
    pub(super) fn made(&self, backend: Backend) {
        self.send(record(MADE, place_in(&BACKENDS, backend), 0));
    }

    /// Tells why no pair was made.
    pub(super) fn failed(&self, error: &Error) {
        self.send(record(FAILED, place_in(&STEPS, error.step()), errno_of(error.cause())));
    }
}

fn place_in<T: PartialEq>(all: &[T], one: T) -> u8 {
    all.iter().position(|other| *other == one).map_or(u8::MAX, |place| place as u8)
}

fn record(kind: u8, attempt: u8, value: i32) -> Record {
    let [a, b, c, d] = value.to_le_bytes();
    [kind, attempt, 0, 0, a, b, c, d]
}

/// The errno of an error, or the one of its kind if no system call reported it.
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

    /// Reads what was told of some attempts, which were tried in this order.
    pub(super) fn add(&mut self, of: impl Iterator<Item = Attempt>, records: &[Record], ending: Ending) {
        let mut begun = None;
        for &[kind, number, _, _, a, b, c, d] in records {
            let value = i32::from_le_bytes([a, b, c, d]);
            let place = usize::from(number);
            match kind {
                BEGUN => begun = Attempt::from_number(number),
                ENDED => {
                    if let Some(attempt) = Attempt::from_number(number) {
                        self.tried.set(attempt, outcome_of(value));
                        begun = begun.filter(|begun| *begun != attempt);
                    }
                }
                OPCODES => self.opcodes = Some(Opcodes::from_bits(value)),
                LOOPBACK => self.loopback_up = Some(value != 0),
                MADE => self.made = BACKENDS.get(place).map(|backend| Made::By(*backend)),
                FAILED => self.made = STEPS.get(place).map(|step| Made::Failed { step: *step, errno: value }),
                _ => {}
            }
        }
        // A child that came to its end between two attempts was on its way to the next one.
        let on_its_way = (ending != Ending::Through).then(|| self.tried.first_untried(of)).flatten();
        if let Some(attempt) = begun.or(on_its_way) {
            self.tried.set(attempt, end_of_what_was_begun(ending));
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

fn end_of_what_was_begun(ending: Ending) -> Outcome {
    match ending {
        Ending::Overdue => Outcome::Late,
        Ending::Killed(signal) => Outcome::Died { signal: Some(signal) },
        Ending::Lost | Ending::Through => Outcome::Died { signal: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(records: &[Record], ending: Ending) -> Findings {
        let mut findings = Findings::none();
        findings.add(Attempt::PLAIN.into_iter(), records, ending);
        findings
    }

    #[test]
    fn a_child_ended_in_what_it_had_begun() {
        let worked = [record(BEGUN, Attempt::Socket as u8, 0), record(ENDED, Attempt::Socket as u8, 0)];
        let open = [worked[0], worked[1], record(BEGUN, Attempt::RingSetup as u8, 0)];
        for (ending, outcome) in [
            (Ending::Killed(31), Outcome::Died { signal: Some(31) }),
            (Ending::Lost, Outcome::Died { signal: None }),
            (Ending::Overdue, Outcome::Late),
        ] {
            let tried = read(&open, ending).tried;
            assert_eq!(tried.outcome(Attempt::Socket), Outcome::Worked);
            assert_eq!(tried.outcome(Attempt::RingSetup), outcome);
            assert_eq!(tried.outcome(Attempt::RingEnter), Outcome::Untried);
            // What had ended already is not blamed; what was to come next is.
            let tried = read(&worked, ending).tried;
            assert_eq!((tried.outcome(Attempt::Socket), tried.outcome(Attempt::SetOption)), (Outcome::Worked, outcome));
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
    fn opcodes_come_through_the_pipe_as_they_were() {
        let mut known = Opcodes::from_bits(0);
        known.accept = true;
        known.recv = true;
        let findings = read(&[record(OPCODES, 0, known.to_bits())], Ending::Through);
        assert_eq!(findings.opcodes, Some(known));
    }

    #[test]
    fn a_pair_that_was_made_or_failed_is_read_as_it_was() {
        for backend in BACKENDS {
            let findings = read(&[record(MADE, place_in(&BACKENDS, backend), 0)], Ending::Through);
            assert_eq!(findings.made, Some(Made::By(backend)));
        }
        for step in STEPS {
            let report = Report::new();
            report.failed(&step.failed()(Errno::EPERM));
            let findings = read(&report.records(), Ending::Through);
            assert_eq!(findings.made, Some(Made::Failed { step, errno: 1 }));
        }
    }

    #[test]
    fn garbage_is_not_taken_for_a_finding() {
        let findings = read(&[[9; 8], record(ENDED, 200, 0), record(BEGUN, 200, 0)], Ending::Through);
        assert_eq!((findings.tried, findings.made), (Tried::nothing(), None));
    }
}

//! What the child tells of each thing that it tries, and how that is read.

use std::io;

use nix::errno::Errno;

use super::attempt::{Attempt, Outcome, Tried};
use super::child::{Ending, Record, Report};
use super::opcodes::Opcodes;

/// What came of it.
pub(super) struct Findings {
    pub(super) tried: Tried,
    pub(super) opcodes: Option<Opcodes>,
    /// Why there was no child, so that nothing was tried at all.
    pub(super) no_child: Option<i32>,
}

/// Kinds of record. The first byte is the kind, the second the attempt; the last four are the value.
const BEGUN: u8 = 1;
const ENDED: u8 = 2;
const OPCODES: u8 = 3;

impl Report {
    /// Tells that this is tried now, tries it, and tells how it ended.
    pub(super) fn attempt<T>(&self, attempt: Attempt, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.send(record(BEGUN, attempt as u8, 0));
        let outcome = act();
        self.ended(attempt, outcome.as_ref().map_or_else(errno_of, |_| 0));
        outcome
    }

    /// Tells how something ended: 0, or an errno.
    pub(super) fn ended(&self, attempt: Attempt, errno: i32) {
        self.send(record(ENDED, attempt as u8, errno));
    }

    pub(super) fn opcodes(&self, known: Opcodes) {
        self.send(record(OPCODES, 0, known.to_bits()));
    }
}

fn record(kind: u8, attempt: u8, value: i32) -> Record {
    let [a, b, c, d] = value.to_le_bytes();
    [kind, attempt, 0, 0, a, b, c, d]
}

/// The errno of an error; `ETIMEDOUT` where a wait of ours ran out.
pub(super) fn errno_of(error: &io::Error) -> i32 {
    let ours = if error.kind() == io::ErrorKind::TimedOut { Errno::ETIMEDOUT } else { Errno::EIO };
    error.raw_os_error().unwrap_or(ours as i32)
}

impl Findings {
    pub(super) fn read(records: &[Record], ending: Ending) -> Findings {
        let mut findings = Findings { tried: Tried::nothing(), opcodes: None, no_child: None };
        let mut begun = None;
        for &[kind, number, _, _, a, b, c, d] in records {
            let value = i32::from_le_bytes([a, b, c, d]);
            match (kind, Attempt::from_number(number)) {
                (BEGUN, attempt) => begun = attempt,
                (ENDED, Some(attempt)) => {
                    findings.tried.set(attempt, outcome_of(value));
                    begun = begun.filter(|begun| *begun != attempt);
                }
                (OPCODES, _) => findings.opcodes = Some(Opcodes::from_bits(value)),
                _ => {}
            }
        }
        // A child that came to its end between two attempts was on its way to the next one.
        let on_its_way = (ending != Ending::Through).then(|| findings.tried.first_untried()).flatten();
        if let Some(attempt) = begun.or(on_its_way) {
            findings.tried.set(attempt, end_of_what_was_begun(ending));
        }
        findings
    }
}

fn outcome_of(errno: i32) -> Outcome {
    match errno {
        0 => Outcome::Worked,
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

    #[test]
    fn what_was_begun_and_not_ended_is_what_the_child_ended_in() {
        let worked = [record(BEGUN, Attempt::Socket as u8, 0), record(ENDED, Attempt::Socket as u8, 0)];
        let open = [worked[0], worked[1], record(BEGUN, Attempt::RingSetup as u8, 0)];
        for (ending, outcome) in [
            (Ending::Killed(31), Outcome::Died { signal: Some(31) }),
            (Ending::Lost, Outcome::Died { signal: None }),
            (Ending::Overdue, Outcome::Late),
        ] {
            let tried = Findings::read(&open, ending).tried;
            assert_eq!(tried.outcome(Attempt::Socket), Outcome::Worked);
            assert_eq!(tried.outcome(Attempt::RingSetup), outcome);
            assert_eq!(tried.outcome(Attempt::RingEnter), Outcome::Untried);
            // What had ended already is not blamed; what was to come next is.
            let tried = Findings::read(&worked, ending).tried;
            assert_eq!((tried.outcome(Attempt::Socket), tried.outcome(Attempt::Bind)), (Outcome::Worked, outcome));
        }
    }

    #[test]
    fn an_errno_is_a_refusal_and_a_wait_that_ran_out_is_late() {
        let errors = [
            (io::Error::from(Errno::EPERM), Outcome::Refused { errno: 1 }),
            (io::Error::from(Errno::ETIMEDOUT), Outcome::Late),
            (io::ErrorKind::TimedOut.into(), Outcome::Late),
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
        let findings = Findings::read(&[record(OPCODES, 0, known.to_bits())], Ending::Through);
        assert_eq!(findings.opcodes, Some(known));
    }

    #[test]
    fn garbage_is_not_taken_for_a_finding() {
        let findings = Findings::read(&[[9; 8], record(ENDED, 200, 0), record(BEGUN, 200, 0)], Ending::Through);
        assert_eq!(findings.tried, Tried::nothing());
    }
}

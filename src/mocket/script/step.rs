//! What is to be read or written next, or to happen instead.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::Duration;

use crate::mocket::mismatch::Line;

#[derive(Clone, Debug)]
pub(super) enum ReadStep {
    /// The bytes, and how many of them have been read.
    Bytes(Vec<u8>, usize),
    EndOfFile,
    Fails(Failure),
    Reset,
    /// Belongs to the step after it.
    Late(Duration),
}

#[derive(Clone, Debug)]
pub(super) enum WriteStep {
    /// The bytes, and how many of them have been written.
    Bytes(Vec<u8>, usize),
    Until(u8),
    /// Takes everything, also nothing; only a shutdown ends it.
    Anything,
    Shutdown,
    Fails(Failure),
    Reset,
    /// Belongs to the step after it.
    Late(Duration),
}

/// The part of the next step of a direction. A delay belongs to the step after it.
pub(super) fn next_part<S: Step>(steps: &VecDeque<(u64, S)>) -> Option<u64> {
    steps.iter().find(|(_, step)| !step.is_delay()).map(|(part, _)| *part)
}

/// The part of the first step that the other direction has to wait for.
pub(super) fn owed_part<S: Step>(steps: &VecDeque<(u64, S)>) -> Option<u64> {
    steps.iter().find(|(_, step)| step.is_owed()).map(|(part, _)| *part)
}

/// Takes the first step if the condition holds for it.
pub(super) fn pop_if<S>(steps: &mut VecDeque<(u64, S)>, condition: impl FnOnce(&S) -> bool) -> bool {
    steps.front().is_some_and(|(_, step)| condition(step)) && steps.pop_front().is_some()
}

/// What the steps of both directions have in common.
pub(super) trait Step {
    fn is_delay(&self) -> bool;

    /// Whether the script is not used up while this step is left.
    fn is_owed(&self) -> bool {
        !self.is_delay()
    }

    /// How it is shown when it is left over; moves `offset` on to where the next one begins.
    fn line(&self, offset: &mut u64) -> Option<Line>;
}

impl Step for ReadStep {
    fn is_delay(&self) -> bool {
        matches!(self, ReadStep::Late(_))
    }

    fn line(&self, offset: &mut u64) -> Option<Line> {
        let line = Line::new("to read");
        Some(match self {
            ReadStep::Bytes(bytes, read) => {
                let (bytes, begin) = (&bytes[*read..], *offset);
                *offset += bytes.len() as u64;
                line.bytes(bytes).note(bytes_at(bytes.len(), begin))
            }
            ReadStep::EndOfFile => line.note("the end of file"),
            ReadStep::Fails(failure) => line.note(format!("an error: {}", io::Error::from(failure.clone()))),
            ReadStep::Reset => line.note("a reset"),
            ReadStep::Late(_) => return None,
        })
    }
}

impl Step for WriteStep {
    fn is_delay(&self) -> bool {
        matches!(self, WriteStep::Late(_))
    }

    fn is_owed(&self) -> bool {
        !matches!(self, WriteStep::Late(_) | WriteStep::Anything)
    }

    fn line(&self, offset: &mut u64) -> Option<Line> {
        let line = Line::new("to write");
        Some(match self {
            WriteStep::Bytes(bytes, written) => {
                let (bytes, begin) = (&bytes[*written..], *offset);
                *offset += bytes.len() as u64;
                line.bytes(bytes).note(bytes_at(bytes.len(), begin))
            }
            WriteStep::Until(byte) => line.note(format!("anything until \"{}\"", [*byte].escape_ascii())),
            WriteStep::Shutdown => line.note("a shutdown"),
            WriteStep::Fails(failure) => line.note(format!("an error: {}", io::Error::from(failure.clone()))),
            WriteStep::Reset => line.note("a reset"),
            WriteStep::Late(_) | WriteStep::Anything => return None,
        })
    }
}

fn bytes_at(count: usize, offset: u64) -> String {
    format!("{count} {} at offset {offset}", if count == 1 { "byte" } else { "bytes" })
}

/// An `io::Error` that can be returned more than once.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    Errno(i32),
    Kind(ErrorKind),
    Said(ErrorKind, String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.raw_os_error() {
            Some(errno) => Failure::Errno(errno),
            None if error.get_ref().is_some() => Failure::Said(error.kind(), error.to_string()),
            None => Failure::Kind(error.kind()),
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> io::Error {
        match failure {
            Failure::Errno(errno) => io::Error::from_raw_os_error(errno),
            Failure::Kind(kind) => kind.into(),
            Failure::Said(kind, text) => io::Error::new(kind, text),
        }
    }
}

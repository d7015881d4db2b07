//! Telling how the code diverges from the script.

use super::step::Step;
use super::{Script, Turn};
use crate::mocket::mismatch::{Line, Mismatch, MismatchKind};

impl Script {
    pub(super) fn fail(&mut self, mismatch: Mismatch) -> Turn {
        self.failed = Some(mismatch.clone());
        Turn::Fails(mismatch.into())
    }

    pub(super) fn different(&self, offered: &[u8], at: usize, expected: &[u8]) -> Mismatch {
        let expected = self.line("expected", offered, at).bytes(expected);
        let head = "what was written is not what the script expects";
        self.marked(MismatchKind::Different, head, expected, offered, at)
    }

    pub(super) fn too_long(&self, offered: &[u8], at: usize) -> Mismatch {
        let expected = self.line("expected", offered, at).note("and no more");
        let head = format!("{} more than the script expects", written(offered.len() - at));
        self.marked(MismatchKind::TooLong, &head, expected, offered, at)
    }

    pub(super) fn not_shut_down(&self, offered: &[u8], at: usize) -> Mismatch {
        let expected = self.line("expected", offered, at).note("and a shutdown");
        let head = format!("{} where the script expects a shutdown", written(offered.len() - at));
        self.marked(MismatchKind::NotShutDown, &head, expected, offered, at)
    }

    pub(super) fn written_early(&self, offered: &[u8], at: usize) -> Mismatch {
        let offset = self.written + at as u64;
        let head = format!(
            "{}, at offset {offset}, before its turn: what is to be read comes first",
            written(offered.len() - at)
        );
        let mut lines = vec![self.line("came", offered, at).bytes(&offered[at..])];
        lines.extend(self.first_read());
        Mismatch::with_lines(MismatchKind::WrittenEarly, offset, head, lines).came_with(&offered[at..])
    }

    pub(super) fn read_early(&self) -> Mismatch {
        let head = format!("a read, at offset {}, before its turn: this is to be written first", self.read);
        Mismatch::with_lines(MismatchKind::ReadEarly, self.read, head, self.first_write())
    }

    pub(super) fn nothing_provided(&self) -> Mismatch {
        let head = format!("a read, at offset {}, waited for bytes that no handle provided", self.read);
        Mismatch::with_lines(MismatchKind::NothingProvided, self.read, head, Vec::new())
    }

    pub(super) fn shut_down_early(&self, first: Vec<Line>) -> Mismatch {
        let head = format!("a shutdown, at offset {}, before its turn: this comes first", self.written);
        Mismatch::with_lines(MismatchKind::ShutDownEarly, self.written, head, first)
    }

    pub(super) fn marked(&self, kind: MismatchKind, head: &str, expected: Line, offered: &[u8], at: usize) -> Mismatch {
        let came = self.line("came", offered, at).bytes(&offered[at..]);
        Mismatch::at(kind, self.written + at as u64, head, expected, came)
    }

    /// A line that shows what both sides agree on, up to this place of what was offered.
    pub(super) fn line(&self, label: &'static str, offered: &[u8], at: usize) -> Line {
        Line::new(label).after(&[&self.recent[..], &offered[..at]].concat(), self.written + at as u64)
    }

    /// What is to be read before anything else, if anything is.
    pub(super) fn first_read(&self) -> Vec<Line> {
        let mut offset = self.read;
        self.reads.iter().find_map(|(_, step)| step.line(&mut offset)).into_iter().collect()
    }

    /// What is to be written before anything else, if anything is.
    pub(super) fn first_write(&self) -> Vec<Line> {
        let mut offset = self.written;
        self.writes.iter().find_map(|(_, step)| step.line(&mut offset)).into_iter().collect()
    }
}

/// `3 bytes were written`.
fn written(count: usize) -> String {
    if count == 1 { "1 byte was written".to_owned() } else { format!("{count} bytes were written") }
}

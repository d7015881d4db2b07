//! Replaying a script: the answer to each call of the code.

use std::io;

use nix::errno::Errno;

use super::step::{ReadStep, Step, WriteStep, next_part, owed_part, pop_if};
use super::{Script, Turn};
use crate::mocket::mismatch::{BEFORE, Mismatch, MismatchKind};

/// The most bytes of a script that one async read gets, however large its buffer is.
const AT_ONCE: usize = 1 << 16;

/// Playing it.
impl Script {
    /// Adds the steps of another script after those of this one. Its sizes are ignored.
    ///
    /// ```
    /// # use ringpair::mocket::Script;
    /// let mut script = Script::new().provide("once");
    /// script.append(Script::new().provide("twice"));
    /// assert_eq!(script.verify().unwrap_err().to_string().lines().count(), 3); // a head, and a line for each
    /// ```
    pub fn append(&mut self, other: Script) {
        let base = self.part + u64::from(self.is_ordered);
        self.reads.extend(other.reads.into_iter().map(|(part, step)| (base + part, step)));
        self.writes.extend(other.writes.into_iter().map(|(part, step)| (base + part, step)));
        self.part = base + other.part;
    }

    /// The code wants to read into `buffer`.
    pub fn read(&mut self, buffer: &mut [u8]) -> Turn {
        if let Some(error) = self.failure() {
            return Turn::Fails(error);
        }
        if buffer.is_empty() {
            return Turn::Moved(0);
        }
        if self.was_reset {
            return Turn::EndOfFile;
        }
        if self.reads_must_wait() {
            return Turn::NotYet;
        }
        match self.reads.front() {
            None if self.reads_have_ended => Turn::EndOfFile,
            None if self.passes_through => Turn::PassThrough { at_most: self.read_sizes.next() },
            None if self.is_held_open => Turn::NotYet,
            None => Turn::EndOfFile,
            Some((_, ReadStep::Late(late))) => Turn::Wait(*late),
            Some((_, ReadStep::Bytes(..))) => self.give(buffer),
            Some((_, ReadStep::EndOfFile)) => {
                self.reads.pop_front();
                self.reads_have_ended = true;
                Turn::EndOfFile
            }
            Some((_, ReadStep::Fails(failure))) => {
                let failure = failure.clone();
                self.reads.pop_front();
                Turn::Fails(failure.into())
            }
            Some((_, ReadStep::Reset)) => self.be_reset(),
        }
    }

    /// Fills the buffer from the first step; if steps are joined, also from those after it whose turn has come.
    fn give(&mut self, buffer: &mut [u8]) -> Turn {
        let size = self.read_sizes.next().min(buffer.len());
        let mut given = 0;
        while let Some((_, ReadStep::Bytes(bytes, read))) = self.reads.front_mut() {
            let some = (size - given).min(bytes.len() - *read);
            buffer[given..given + some].copy_from_slice(&bytes[*read..*read + some]);
            given += some;
            *read += some;
            if *read < bytes.len() {
                break;
            }
            self.reads.pop_front();
            if !self.coalesces || self.reads_must_wait() {
                break;
            }
        }
        self.read_passed(given);
        Turn::Moved(given)
    }

    /// How many bytes of its buffer the next read needs: those that the script has ready, and at least one.
    pub(in crate::mocket) fn ready_to_read(&mut self, at_most: usize) -> usize {
        let at_most = at_most.min(self.read_sizes.next()).min(AT_ONCE);
        let mut ready = 0;
        for (_, step) in self.reads.iter().skip_while(|(_, step)| step.is_delay()) {
            match step {
                ReadStep::Bytes(bytes, read) => ready += bytes.len() - read,
                _ => break,
            }
            if !self.coalesces || ready >= at_most {
                break;
            }
        }
        ready.max(1).min(at_most)
    }

    /// The code has `offered` to write.
    pub fn write(&mut self, offered: &[u8]) -> Turn {
        if let Some(error) = self.failure() {
            return Turn::Fails(error);
        }
        if offered.is_empty() {
            return Turn::Moved(0);
        }
        if self.writes_have_ended {
            return Turn::Fails(Errno::EPIPE.into());
        }
        match self.writes.front() {
            None if self.passes_through => Turn::PassThrough { at_most: self.write_sizes.next() },
            None => self.fail(self.too_long(offered, 0)),
            Some((_, WriteStep::Bytes(..) | WriteStep::Until(_) | WriteStep::Anything)) => match self.take(offered) {
                Ok(size) => Turn::Moved(size),
                Err(mismatch) => self.fail(mismatch),
            },
            Some(_) if self.writes_must_wait() => self.fail(self.written_early(offered, 0)),
            Some((_, WriteStep::Late(late))) => Turn::Wait(*late),
            Some((_, WriteStep::Reset)) => self.be_reset(),
            Some((_, WriteStep::Fails(_))) => self.write_fails(),
            Some((_, WriteStep::Shutdown)) => self.fail(self.not_shut_down(offered, 0)),
        }
    }

    /// The code shuts down its writing side.
    pub fn shutdown(&mut self) -> Turn {
        if let Some(error) = self.failure() {
            return Turn::Fails(error);
        }
        if self.was_reset {
            return Turn::Fails(Errno::ENOTCONN.into());
        }
        if matches!(self.writes.get(1), Some((_, WriteStep::Shutdown))) {
            pop_if(&mut self.writes, |step| matches!(step, WriteStep::Anything));
        }
        match self.writes.front() {
            None | Some((_, WriteStep::Anything)) if self.writes_have_ended || !self.passes_through => {
                self.writes_have_ended = true;
                Turn::Moved(0)
            }
            None | Some((_, WriteStep::Anything)) => Turn::PassThrough { at_most: usize::MAX },
            Some(_) if self.writes_must_wait() => self.fail(self.shut_down_early(self.first_read())),
            Some((_, WriteStep::Late(late))) => Turn::Wait(*late),
            Some((_, WriteStep::Reset)) => {
                self.be_reset();
                Turn::Fails(Errno::ENOTCONN.into())
            }
            Some((_, WriteStep::Fails(_))) => self.write_fails(),
            Some((_, WriteStep::Shutdown)) => {
                self.writes.pop_front();
                self.writes_have_ended = true;
                Turn::Moved(0)
            }
            Some((_, WriteStep::Bytes(..) | WriteStep::Until(_))) => {
                self.fail(self.shut_down_early(self.first_write()))
            }
        }
    }

    fn write_fails(&mut self) -> Turn {
        match self.writes.pop_front() {
            Some((_, WriteStep::Fails(failure))) => Turn::Fails(failure.into()),
            _ => Turn::Moved(0),
        }
    }

    /// Reports that the delay of a read is over.
    pub fn read_delay_is_over(&mut self) {
        pop_if(&mut self.reads, ReadStep::is_delay);
    }

    /// Reports that the delay of a write or a shutdown is over.
    pub fn write_delay_is_over(&mut self) {
        pop_if(&mut self.writes, WriteStep::is_delay);
    }

    /// Reports that this many bytes were read from the socket.
    pub fn read_passed(&mut self, size: usize) {
        self.read += size as u64;
        self.read_sizes.forget();
    }

    /// Reports that these bytes were written to the socket.
    pub fn write_passed(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        self.recent.extend_from_slice(&bytes[bytes.len().saturating_sub(BEFORE)..]);
        self.recent.drain(..self.recent.len().saturating_sub(BEFORE));
        self.write_sizes.forget();
    }

    /// Turns a read that would wait forever into a mismatch, and returns it as the error for the caller.
    ///
    /// ```
    /// # use ringpair::mocket::{MismatchKind, Script, Turn};
    /// let mut script = Script::new().expect("ping").then().provide("pong");
    /// if let Turn::NotYet = script.read(&mut [0; 8]) {
    ///     script.refuse_early_read();
    /// }
    /// assert_eq!(script.verify().unwrap_err().kind(), MismatchKind::ReadEarly);
    /// ```
    pub fn refuse_early_read(&mut self) -> io::Error {
        let mismatch = match self.reads_must_wait() {
            true => self.read_early(),
            false => self.nothing_provided(),
        };
        self.failed.get_or_insert(mismatch).clone().into()
    }

    /// Checks that the script is used up, and that there was no mismatch.
    ///
    /// # Errors
    ///
    /// The first [`Mismatch`], even if the code ignored it; without one, what is left over. Delays do not count.
    pub fn verify(&self) -> Result<(), Mismatch> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let mut lines = Vec::new();
        let mut offset = self.read;
        for (_, step) in &self.reads {
            lines.extend(step.line(&mut offset));
        }
        let mut offset = self.written;
        for (_, step) in &self.writes {
            lines.extend(step.line(&mut offset));
        }
        if lines.is_empty() {
            return Ok(());
        }
        let is_read = owed_part(&self.reads).is_some();
        let offset = if is_read { self.read } else { self.written };
        Err(Mismatch::with_lines(MismatchKind::LeftOver, offset, "the script is not used up".to_owned(), lines))
    }

    /// The error of every call once there was a mismatch, or the pair was cut off.
    fn failure(&self) -> Option<io::Error> {
        match &self.failed {
            Some(mismatch) => Some(mismatch.clone().into()),
            None => self.is_cut_off.then(|| Errno::ECONNRESET.into()),
        }
    }

    /// The next read step comes after something that must be written first.
    pub(in crate::mocket) fn reads_must_wait(&self) -> bool {
        matches!((next_part(&self.reads), owed_part(&self.writes)), (Some(reads), Some(writes)) if reads > writes)
    }

    fn writes_must_wait(&self) -> bool {
        matches!((owed_part(&self.reads), next_part(&self.writes)), (Some(reads), Some(writes)) if writes > reads)
    }

    /// Whichever call comes first, a read or a write, fails.
    fn be_reset(&mut self) -> Turn {
        let (reads, writes) = (&mut self.reads, &mut self.writes);
        while pop_if(reads, ReadStep::is_delay) {}
        while pop_if(writes, WriteStep::is_delay) {}
        pop_if(reads, |step| matches!(step, ReadStep::Reset));
        pop_if(writes, |step| matches!(step, WriteStep::Reset));
        (self.was_reset, self.writes_have_ended) = (true, true);
        Turn::Fails(Errno::ECONNRESET.into())
    }
}

/// What a stage asks and tells besides.
impl Script {
    pub(in crate::mocket) fn hold_open(&mut self) {
        self.is_held_open = true;
    }

    /// Returns whether it was held open.
    pub(in crate::mocket) fn let_go(&mut self) -> bool {
        std::mem::take(&mut self.is_held_open)
    }

    pub(in crate::mocket) fn waits_for_handles(&self) -> bool {
        self.is_held_open && self.reads.is_empty() && !self.reads_have_ended && self.failure().is_none()
    }

    /// The other end of a pair has failed, perhaps by a mismatch.
    pub(in crate::mocket) fn cut_off(&mut self, mismatch: Option<Mismatch>) {
        self.is_cut_off = true;
        self.failed = self.failed.take().or(mismatch);
    }

    pub(in crate::mocket) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    pub(in crate::mocket) fn mismatch(&self) -> Option<Mismatch> {
        self.failed.clone()
    }

    pub(in crate::mocket) fn captured(&self) -> &[u8] {
        &self.captured
    }

    pub(in crate::mocket) fn limits_sizes(&self) -> bool {
        [&self.read_sizes, &self.write_sizes].iter().any(|sizes| sizes.max.is_some() || sizes.state.is_some())
    }
}

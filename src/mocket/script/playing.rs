//! Playing a script: what each call of the code is answered.

use std::io;

use nix::errno::Errno;

use super::step::{ReadStep, Step, WriteStep, first_part, pop_if};
use super::{Script, Turn};
use crate::mocket::mismatch::{BEFORE, Mismatch, MismatchKind};

/// Playing it.
impl Script {
    /// Adds the steps of another script after those of this one. Its sizes and what it has played count for nothing.
    ///
    /// ```
    /// # use ringpair::mocket::Script;
    /// let mut script = Script::new().provide("once");
    /// script.append(Script::new().provide("twice"));
    /// assert_eq!(script.verify().unwrap_err().to_string().lines().count(), 3); // a head, and a line for each
    /// ```
    pub fn append(&mut self, other: Script) {
        let base = self.part;
        self.reads.extend(other.reads.into_iter().map(|(part, step)| (base + part, step)));
        self.writes.extend(other.writes.into_iter().map(|(part, step)| (base + part, step)));
        self.part += other.part;
    }

    /// The code wants to read into `buffer`.
    pub fn read(&mut self, buffer: &mut [u8]) -> Turn {
        if let Some(failed) = &self.failed {
            return Turn::Fails(failed.clone().into());
        }
        if buffer.is_empty() {
            return Turn::Moved(0);
        }
        if self.reads_must_wait() {
            return Turn::NotYet;
        }
        let at_most = self.read_sizes.next();
        match self.reads.front_mut() {
            None if self.reads_have_ended || !self.passes_through => Turn::EndOfFile,
            None => Turn::PassThrough { at_most },
            Some((_, ReadStep::Late(late))) => Turn::Wait(*late),
            Some((_, ReadStep::Bytes(bytes, read))) => {
                let size = at_most.min(buffer.len()).min(bytes.len() - *read);
                buffer[..size].copy_from_slice(&bytes[*read..*read + size]);
                *read += size;
                if *read == bytes.len() {
                    self.reads.pop_front();
                }
                self.read_passed(size);
                Turn::Moved(size)
            }
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

    /// The code has `offered` to write.
    pub fn write(&mut self, offered: &[u8]) -> Turn {
        if let Some(failed) = &self.failed {
            return Turn::Fails(failed.clone().into());
        }
        if offered.is_empty() {
            return Turn::Moved(0);
        }
        match self.writes.front() {
            None if self.writes_have_ended => return Turn::Fails(Errno::EPIPE.into()),
            None if self.passes_through => return Turn::PassThrough { at_most: self.write_sizes.next() },
            None => return self.fail(self.too_long(offered, 0)),
            Some(_) if self.writes_must_wait() => {
                return self.fail(self.written_early(offered, 0));
            }
            Some((_, WriteStep::Late(late))) => return Turn::Wait(*late),
            Some((_, WriteStep::Reset)) => return self.be_reset(),
            Some((_, WriteStep::Fails(failure))) => {
                let failure = failure.clone();
                self.writes.pop_front();
                return Turn::Fails(failure.into());
            }
            Some((_, WriteStep::Shutdown)) => return self.fail(self.not_shut_down(offered, 0)),
            Some((_, WriteStep::Bytes(..) | WriteStep::Until(_))) => {}
        }
        match self.compare(offered) {
            Ok(equal) => {
                let size = equal.min(self.write_sizes.next());
                self.use_up(&offered[..size]);
                self.write_passed(&offered[..size]);
                Turn::Moved(size)
            }
            Err(mismatch) => self.fail(mismatch),
        }
    }

    /// The code shuts down its writing side.
    pub fn shutdown(&mut self) -> Turn {
        if let Some(failed) = &self.failed {
            return Turn::Fails(failed.clone().into());
        }
        match self.writes.front() {
            None if self.writes_have_ended || !self.passes_through => {
                self.writes_have_ended = true;
                Turn::Moved(0)
            }
            None => Turn::PassThrough { at_most: usize::MAX },
            Some(_) if self.writes_must_wait() => self.fail(self.shut_down_early(self.first_read())),
            Some((_, WriteStep::Late(late))) => Turn::Wait(*late),
            Some((_, WriteStep::Reset)) => {
                self.be_reset();
                Turn::Fails(Errno::ENOTCONN.into())
            }
            Some((_, WriteStep::Fails(failure))) => {
                let failure = failure.clone();
                self.writes.pop_front();
                Turn::Fails(failure.into())
            }
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

    /// The delay that a read was told of is over.
    pub fn read_delay_is_over(&mut self) {
        pop_if(&mut self.reads, ReadStep::is_delay);
    }

    /// The delay that a write or a shutdown was told of is over.
    pub fn write_delay_is_over(&mut self) {
        pop_if(&mut self.writes, WriteStep::is_delay);
    }

    /// So many bytes were read from the socket.
    pub fn read_passed(&mut self, size: usize) {
        self.read += size as u64;
        self.read_sizes.forget();
    }

    /// These bytes were written to the socket.
    pub fn write_passed(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        self.recent.extend_from_slice(&bytes[bytes.len().saturating_sub(BEFORE)..]);
        self.recent.drain(..self.recent.len().saturating_sub(BEFORE));
        self.write_sizes.forget();
    }

    /// Turns a read that would wait forever into a mismatch: the error for the caller.
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
        let head = format!("a read, at offset {}, before its turn: this is to be written first", self.read);
        let mismatch = Mismatch::with_lines(MismatchKind::ReadEarly, self.read, head, self.first_write());
        self.failed.get_or_insert(mismatch).clone().into()
    }

    /// Checks that the script is used up, and that code and script have not parted on the way.
    ///
    /// # Errors
    ///
    /// The first [`Mismatch`] that there was, also where the code swallowed it; otherwise what is left over. A delay that
    /// nobody waited for is not.
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
        let is_read = self.reads.iter().any(|(_, step)| !step.is_delay());
        let offset = if is_read { self.read } else { self.written };
        Err(Mismatch::with_lines(MismatchKind::LeftOver, offset, "the script is not used up".to_owned(), lines))
    }

    /// What is to be read next stands behind something that is to be written.
    fn reads_must_wait(&self) -> bool {
        matches!((first_part(&self.reads), first_part(&self.writes)), (Some(reads), Some(writes)) if reads > writes)
    }

    fn writes_must_wait(&self) -> bool {
        matches!((first_part(&self.reads), first_part(&self.writes)), (Some(reads), Some(writes)) if writes > reads)
    }

    /// Whoever comes first, reader or writer, is told.
    fn be_reset(&mut self) -> Turn {
        let (reads, writes) = (&mut self.reads, &mut self.writes);
        while pop_if(reads, ReadStep::is_delay) {}
        while pop_if(writes, WriteStep::is_delay) {}
        pop_if(reads, |step| matches!(step, ReadStep::Reset));
        pop_if(writes, |step| matches!(step, WriteStep::Reset));
        (self.reads_have_ended, self.writes_have_ended) = (true, true);
        Turn::Fails(Errno::ECONNRESET.into())
    }

    /// How much of `offered` may be taken, by the script alone: at least one byte.
    fn compare(&self, offered: &[u8]) -> Result<usize, Mismatch> {
        let mut equal = 0;
        for (part, step) in &self.writes {
            let rest = &offered[equal..];
            if rest.is_empty() {
                return Ok(equal);
            }
            if first_part(&self.reads).is_some_and(|first| *part > first) {
                return Err(self.written_early(offered, equal));
            }
            match step {
                WriteStep::Bytes(bytes, written) => {
                    let expected = &bytes[*written..];
                    let size = expected.len().min(rest.len());
                    let same = expected.iter().zip(rest).take_while(|(expected, came)| expected == came).count();
                    if same < size {
                        return Err(self.different(offered, equal + same, &expected[same..]));
                    }
                    equal += size;
                }
                WriteStep::Until(byte) => {
                    equal += rest.iter().position(|came| came == byte).map_or(rest.len(), |at| at + 1);
                }
                WriteStep::Shutdown => return Err(self.not_shut_down(offered, equal)),
                WriteStep::Fails(_) | WriteStep::Reset | WriteStep::Late(_) => return Ok(equal),
            }
        }
        if equal < offered.len() { Err(self.too_long(offered, equal)) } else { Ok(equal) }
    }

    /// Takes from the steps what `compare` has found to be equal.
    fn use_up(&mut self, mut bytes: &[u8]) {
        while let (Some((_, step)), false) = (self.writes.front_mut(), bytes.is_empty()) {
            let (size, is_through) = match step {
                WriteStep::Bytes(expected, written) => {
                    let size = bytes.len().min(expected.len() - *written);
                    *written += size;
                    (size, *written == expected.len())
                }
                WriteStep::Until(byte) => match bytes.iter().position(|came| came == byte) {
                    Some(at) => (at + 1, true),
                    None => (bytes.len(), false),
                },
                _ => return,
            };
            bytes = &bytes[size..];
            if is_through {
                self.writes.pop_front();
            }
        }
    }
}

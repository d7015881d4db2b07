//! Comparing what the code offers to write with what the script expects.
//!
//! An offer is compared as a whole, even if the write may move only a part of it. [`Look`] remembers how far, so that code
//! that goes on where a short write ended causes no second comparison of the rest: by single bytes, the work stays linear.

use std::collections::VecDeque;

use super::Script;
use super::step::{WriteStep, owed_part};
use crate::mocket::mismatch::Mismatch;

/// How far the offers of the code were compared beyond the bytes that were taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// The offset up to which they were compared.
    end: u64,
    /// The step there, from the first one that is left, and how many of its bytes were compared.
    step: usize,
    at: usize,
    /// The offsets at which it left the `Until` steps that it passed.
    left_until: VecDeque<u64>,
}

impl Look {
    /// These bytes are those of a step that has so many in all.
    fn pass(&mut self, same: usize, all: usize) -> usize {
        self.at += same;
        if self.at == all {
            (self.step, self.at) = (self.step + 1, 0);
        }
        same
    }

    /// The step takes anything up to `end`, which may be still to come.
    fn pass_until(&mut self, end: Option<usize>, all: usize, offset: u64) -> usize {
        if let Some(end) = end {
            self.step += 1;
            self.left_until.push_back(offset + end as u64);
        }
        end.unwrap_or(all)
    }
}

impl Script {
    /// Compares all of `offered`, and takes as much of it as this write may move: at least one byte.
    pub(super) fn take(&mut self, offered: &[u8]) -> Result<usize, Mismatch> {
        let has_looked = self.look.end > self.written;
        let equal = match self.look_ahead(offered) {
            // The code may have changed its offer, so that an `Until` ends elsewhere.
            Err(_) if has_looked => self.look_ahead(offered)?,
            outcome => outcome?,
        };
        let size = equal.min(self.write_sizes.next());
        let size = self.use_up(offered, size)?;
        self.captured.extend_from_slice(&offered[..size]);
        self.write_passed(&offered[..size]);
        Ok(size)
    }

    /// Returns how many bytes of `offered` the script may take. Does not compare what an earlier offer was compared for; after
    /// a mismatch, the next call compares everything.
    fn look_ahead(&mut self, offered: &[u8]) -> Result<usize, Mismatch> {
        let mut look = std::mem::take(&mut self.look);
        if look.end <= self.written {
            look = self.look_from_here();
        }
        let first_read = owed_part(&self.reads);
        let mut equal = usize::try_from(look.end - self.written).unwrap_or(usize::MAX).min(offered.len());
        while let rest @ [_, ..] = &offered[equal..] {
            let Some((part, step)) = self.writes.get(look.step) else { return Err(self.too_long(offered, equal)) };
            if first_read.is_some_and(|first| *part > first) {
                return Err(self.written_early(offered, equal));
            }
            equal += match step {
                WriteStep::Bytes(bytes, _) => {
                    let expected = &bytes[look.at..];
                    let same = common_prefix(expected, rest);
                    if same < expected.len().min(rest.len()) {
                        return Err(self.different(offered, equal + same, &expected[same..]));
                    }
                    look.pass(same, bytes.len())
                }
                WriteStep::Until(byte) => look.pass_until(end_at(*byte, rest), rest.len(), self.written + equal as u64),
                WriteStep::Anything => rest.len(),
                WriteStep::Shutdown => return Err(self.not_shut_down(offered, equal)),
                WriteStep::Fails(_) | WriteStep::Reset | WriteStep::Late(_) => break,
            };
        }
        look.end = look.end.max(self.written + equal as u64);
        self.look = look;
        Ok(equal)
    }

    fn look_from_here(&self) -> Look {
        let at = match self.writes.front() {
            Some((_, WriteStep::Bytes(_, written))) => *written,
            _ => 0,
        };
        Look { end: self.written, step: 0, at, left_until: VecDeque::new() }
    }

    /// Takes up to `size` bytes from the steps, and returns how many. They are compared again: this offer may differ from the
    /// one that was looked at.
    fn use_up(&mut self, offered: &[u8], size: usize) -> Result<usize, Mismatch> {
        let first_read = owed_part(&self.reads);
        let mut used = 0;
        while used < size {
            let came = &offered[used..size];
            let Some((part, step)) = self.writes.front_mut() else { break };
            if first_read.is_some_and(|first| *part > first) {
                break;
            }
            let is_through = match step {
                WriteStep::Bytes(bytes, written) => {
                    let expected = &bytes[*written..];
                    let same = common_prefix(expected, came);
                    if same < expected.len().min(came.len()) {
                        let expected = expected[same..].to_vec();
                        return Err(self.different(offered, used + same, &expected));
                    }
                    *written += same;
                    used += same;
                    *written == bytes.len()
                }
                WriteStep::Until(byte) => {
                    let end = end_at(*byte, came);
                    used += end.unwrap_or(came.len());
                    end.is_some()
                }
                WriteStep::Anything => {
                    used = size;
                    false
                }
                _ => break,
            };
            self.used(used, is_through);
        }
        Ok(used)
    }

    /// Some bytes of this write were used: by the first step, which may be through now.
    fn used(&mut self, used: usize, is_through: bool) {
        let here = self.written + used as u64;
        let is_until = matches!(self.writes.front(), Some((_, WriteStep::Until(_))));
        let leaves_at = self.look.left_until.front().copied();
        if is_until && is_through && leaves_at == Some(here) {
            self.look.left_until.pop_front();
        } else if is_until && (is_through || leaves_at.is_some_and(|end| end <= here)) {
            self.look = Look::default(); // the code has changed its offer: look at all of it again
        }
        if is_through {
            self.writes.pop_front();
            self.look.step = self.look.step.saturating_sub(1);
        }
    }
}

/// How many bytes at the beginning are the same.
fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    let size = one.len().min(other.len());
    #[cfg(test)]
    super::tests::count(size);
    if one[..size] == other[..size] {
        return size;
    }
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// How many bytes there are up to this one and with it.
fn end_at(byte: u8, bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().position(|came| *came == byte).map(|at| at + 1);
    #[cfg(test)]
    super::tests::count(end.unwrap_or(bytes.len()));
    end
}

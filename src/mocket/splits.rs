//! Every way to cut some bytes, for code that reads what comes in pieces.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

use super::Script;

/// Every way to cut some bytes: whole, at each point, and on request at several points at once.
///
/// Code that decodes a stream must not depend on where a read ends. This runs a test body once for each place where it can:
///
/// ```
/// use std::io::Read;
/// use ringpair::mocket::{Mocket, Splits};
///
/// let runs = Splits::of(b"\x03abc").run(|split| {
///     let mut stream = Mocket::scripted(split.provide());
///     let mut length = [0];
///     stream.read_exact(&mut length).unwrap();
///     let mut frame = vec![0; length[0].into()];
///     stream.read_exact(&mut frame).unwrap(); // `read` would be found out when it is cut at byte 2
///     assert_eq!(frame, b"abc");
/// });
/// assert_eq!(runs, 4); // whole, and cut at bytes 1, 2 and 3
/// ```
///
/// It is an iterator, too, for a body that is async or has a `?`.
#[derive(Clone, Debug)]
pub struct Splits<'a> {
    bytes: &'a [u8],
    at_most: usize,
    /// Where the next split cuts; `None` after the last one.
    next: Option<Vec<usize>>,
}

/// One way to cut some bytes; [`Splits`] makes all of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Split<'a> {
    pieces: Vec<&'a [u8]>,
    cuts: Vec<usize>,
}

impl<'a> Splits<'a> {
    /// Cuts these bytes at one point at most.
    pub fn of(bytes: &'a (impl AsRef<[u8]> + ?Sized)) -> Splits<'a> {
        Splits { bytes: bytes.as_ref(), at_most: 1, next: Some(Vec::new()) }
    }

    /// Cuts them at this many points at most. `n` bytes have about `n` to the power of `count` splits; with `count >= n - 1`,
    /// it is every way there is.
    ///
    /// ```
    /// # use ringpair::mocket::Splits;
    /// let all: Vec<String> = Splits::of("abc").cuts(2).map(|split| split.to_string()).collect();
    /// assert_eq!(all, [r#""abc""#, r#""a" "bc""#, r#""ab" "c""#, r#""a" "b" "c""#]);
    /// ```
    pub fn cuts(mut self, count: usize) -> Self {
        self.at_most = count;
        self
    }

    /// Runs the body once for each split, and returns how often that was.
    ///
    /// # Panics
    ///
    /// If the body panics. The message names the split, and says what the body's panic said.
    pub fn run(self, mut body: impl FnMut(&Split<'a>)) -> usize {
        let mut runs = 0;
        for split in self {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(&split))) {
                let said = panic.downcast_ref::<&str>().copied();
                match said.or_else(|| panic.downcast_ref::<String>().map(String::as_str)) {
                    Some(said) => panic!("{split:?}: {said}"),
                    None => panic_any(panic),
                }
            }
            runs += 1;
        }
        runs
    }

    /// The cuts after these: the last one that can moves on by one byte; after all of a count, there is one cut more.
    fn after(&self, mut cuts: Vec<usize>) -> Option<Vec<usize>> {
        let count = cuts.len();
        let end = self.bytes.len();
        if let Some(moves) = (0..count).rev().find(|place| cuts[*place] + count - place < end) {
            let first = cuts[moves] + 1;
            cuts.truncate(moves);
            cuts.extend(first..first + count - moves);
            return Some(cuts);
        }
        let has_more = count < self.at_most && count + 1 < end;
        has_more.then(|| (1..=count + 1).collect())
    }
}

impl<'a> Iterator for Splits<'a> {
    type Item = Split<'a>;

    fn next(&mut self) -> Option<Split<'a>> {
        let cuts = self.next.take()?;
        self.next = self.after(cuts.clone());
        let mut pieces = Vec::with_capacity(cuts.len() + 1);
        let mut begin = 0;
        for end in cuts.iter().copied().chain([self.bytes.len()]) {
            pieces.push(&self.bytes[begin..end]);
            begin = end;
        }
        Some(Split { pieces, cuts })
    }
}

impl<'a> Split<'a> {
    /// Returns the pieces, none of them empty if there are bytes at all.
    pub fn pieces(&self) -> &[&'a [u8]] {
        &self.pieces
    }

    /// Returns where it cuts: the number of bytes before each cut.
    pub fn cuts(&self) -> &[usize] {
        &self.cuts
    }

    /// Returns a script that provides each piece to a read of its own.
    pub fn provide(&self) -> Script {
        self.pieces.iter().fold(Script::new(), Script::provide)
    }
}

/// The pieces, quoted.
impl fmt::Display for Split<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted: Vec<String> = self.pieces.iter().map(|piece| format!("\"{}\"", piece.escape_ascii())).collect();
        f.write_str(&quoted.join(" "))
    }
}

/// `cut at byte 3`, `cut at bytes 3 and 5`, or `not cut`.
impl fmt::Debug for Split<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<String> = self.cuts.iter().map(usize::to_string).collect();
        match places.len() {
            0 => f.write_str("not cut"),
            1 => write!(f, "cut at byte {}", places[0]),
            _ => write!(f, "cut at bytes {}", places.join(" and ")),
        }
    }
}

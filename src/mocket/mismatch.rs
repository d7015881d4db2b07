//! Where the code diverges from the script: what was expected, what came, and at which byte.

use std::fmt;
use std::io::{self, ErrorKind};

/// Bytes shown before the place where the code diverges.
pub(super) const BEFORE: usize = 8;
/// Bytes shown from there on.
const AFTER: usize = 16;
/// Steps shown of a script that is not used up.
const STEPS: usize = 8;

/// How the code diverged from the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MismatchKind {
    /// A byte was written that is not the one expected.
    Different,
    /// One call wrote more than is expected, or something while nothing is expected.
    TooLong,
    /// Something was written before a read that comes first.
    WrittenEarly,
    /// A read came before a write that comes first.
    ReadEarly,
    /// A read of a mocket that its handles hold open waited longer than its patience.
    NothingProvided,
    /// Something was written instead of the expected shutdown.
    NotShutDown,
    /// The writing side was shut down before a step that comes first.
    ShutDownEarly,
    /// The script is not used up.
    LeftOver,
    /// A client of [`serve_all`](super::serve_all) connected more often than there are scripts.
    UnexpectedConnection,
}

/// How and where the code diverged from the script: the offset, what was expected, what came, and a few bytes around it, as hex
/// and escaped text.
///
/// ```
/// use std::io::Write;
/// use ringpair::mocket::{Mocket, MismatchKind, Script};
///
/// let mut mocket = Mocket::scripted(Script::new().expect("HELO there"));
/// mocket.write_all(b"HELO").unwrap();
/// mocket.write_all(b" you").unwrap_err();
///
/// let mismatch = mocket.verify().unwrap_err();
/// assert_eq!((mismatch.kind(), mismatch.offset()), (MismatchKind::Different, 5));
/// assert_eq!((mismatch.expected(), mismatch.came()), (&b"there"[..], &b"you"[..]));
/// assert_eq!(mismatch.to_string(), r#"what was written is not what the script expects, at offset 5
///   expected  48 45 4c 4f 20 74 68 65 72 65  "HELO there"
///   came      48 45 4c 4f 20 79 6f 75  "HELO you"
///                            ^^"#);
/// ```
///
/// The code under test gets it inside an `io::Error` of kind `InvalidData`, and again from every later call, so that code that
/// ignores the first error does not hide it. `{:?}` shows the same text as `{}`, because `unwrap` prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Mismatch {
    kind: MismatchKind,
    offset: u64,
    head: String,
    expected: Vec<u8>,
    came: Vec<u8>,
    lines: Vec<Line>,
    /// Whether the byte where the first two lines differ is marked.
    is_marked: bool,
}

/// Bytes of one side, or what stands in their place.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Line {
    label: &'static str,
    /// What both sides have in common, at most [`BEFORE`] bytes of it, and whether there was more.
    before: Vec<u8>,
    is_cut_before: bool,
    after: Vec<u8>,
    is_cut_after: bool,
    note: String,
}

impl Line {
    pub(super) fn new(label: &'static str) -> Line {
        let (before, after) = (Vec::new(), Vec::new());
        Line { label, before, is_cut_before: false, after, is_cut_after: false, note: String::new() }
    }

    /// After these, of which there may be more than are shown.
    pub(super) fn after(mut self, before: &[u8], all: u64) -> Line {
        self.before = before[before.len().saturating_sub(BEFORE)..].to_vec();
        self.is_cut_before = self.before.len() as u64 != all;
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Line {
        self.is_cut_after = bytes.len() > AFTER;
        self.after = bytes[..bytes.len().min(AFTER)].to_vec();
        self
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Line {
        self.note = note.into();
        self
    }

    /// How many characters stand before the byte where the sides differ.
    fn mark(&self) -> usize {
        2 + WIDTH + 3 * self.before.len() + if self.is_cut_before { 3 } else { 0 }
    }
}

/// Of a label and the space after it.
const WIDTH: usize = 10;

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:<width$}", self.label, width = WIDTH)?;
        let shown = [&self.before[..], &self.after[..]].concat();
        let mut parts = Vec::new();
        if !shown.is_empty() {
            let mut bytes: Vec<String> = shown.iter().map(|byte| format!("{byte:02x}")).collect();
            if self.is_cut_before {
                bytes.insert(0, "..".to_owned());
            }
            if self.is_cut_after {
                bytes.push("..".to_owned());
            }
            parts.push(bytes.join(" "));
            parts.push(format!("\"{}\"", shown.escape_ascii()));
        }
        if !self.note.is_empty() {
            parts.push(self.note.clone());
        }
        f.write_str(&parts.join("  "))
    }
}

impl Mismatch {
    /// A mismatch that is marked where `expected` and `came` differ.
    pub(super) fn at(kind: MismatchKind, offset: u64, head: &str, expected: Line, came: Line) -> Mismatch {
        Mismatch {
            kind,
            offset,
            head: format!("{head}, at offset {offset}"),
            expected: expected.after.clone(),
            came: came.after.clone(),
            lines: vec![expected, came],
            is_marked: true,
        }
    }

    /// A mismatch without two sides to compare.
    pub(super) fn with_lines(kind: MismatchKind, offset: u64, head: String, mut lines: Vec<Line>) -> Mismatch {
        let more = lines.len().saturating_sub(STEPS);
        lines.truncate(STEPS);
        if more > 0 {
            lines.push(Line::new("").note(format!("and {more} more")));
        }
        Mismatch { kind, offset, head, expected: Vec::new(), came: Vec::new(), lines, is_marked: false }
    }

    /// The same, with what came.
    pub(super) fn came_with(mut self, came: &[u8]) -> Mismatch {
        self.came = came[..came.len().min(AFTER)].to_vec();
        self
    }

    /// The same, as the other end of a pair of mockets shows it.
    pub(super) fn at_the_other_end(mut self) -> Mismatch {
        self.head.insert_str(0, "at the other end: ");
        self
    }

    /// Returns how the code diverged from the script.
    pub fn kind(&self) -> MismatchKind {
        self.kind
    }

    /// Returns the number of bytes of that direction before the mismatch, including those that passed through to the socket.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the first sixteen bytes that were expected from there on; empty if no bytes were.
    pub fn expected(&self) -> &[u8] {
        &self.expected
    }

    /// Returns the first sixteen bytes that came instead; empty if no bytes did.
    pub fn came(&self) -> &[u8] {
        &self.came
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head)?;
        for line in &self.lines {
            write!(f, "\n{line}")?;
        }
        match self.lines.first() {
            Some(line) if self.is_marked => write!(f, "\n{:width$}^^", "", width = line.mark()),
            _ => Ok(()),
        }
    }
}

/// As `Display`: it is what `unwrap` prints.
impl fmt::Debug for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Mismatch {}

/// Of kind `InvalidData`, which no code takes for a reason to try again.
impl From<Mismatch> for io::Error {
    fn from(mismatch: Mismatch) -> io::Error {
        io::Error::new(ErrorKind::InvalidData, mismatch)
    }
}

//! Why reports cannot be added up.

use std::{fmt, io};

use super::super::document::SCHEMA;

/// What is wrong with a file of reports.
#[derive(Debug)]
pub(crate) enum Flaw {
    Unreadable(io::Error),
    Empty,
    /// The JSON is cut off.
    CutOff,
    /// No report follows the lines of progress.
    Unfinished,
    NotJson(serde_json::Error),
    NotAnObject,
    /// The report is another command's.
    Close,
    NoKind,
    Kind(String),
    Schema(Option<u64>),
    Field {
        name: Option<String>,
        why: String,
    },
    NoHistogram(&'static str),
    Contradiction(String),
}

impl Flaw {
    pub(super) fn of_json(error: serde_json::Error) -> Flaw {
        match error.classify() {
            serde_json::error::Category::Io => Flaw::Unreadable(error.into()),
            serde_json::error::Category::Eof => Flaw::CutOff,
            _ => Flaw::NotJson(error),
        }
    }

    /// An error about a field. serde_json names a missing or unknown field; otherwise it is the last field before the error.
    pub(super) fn of_field(object: &str, error: &serde_json::Error) -> Flaw {
        let (line, column) = (error.line(), error.column());
        let why = error.to_string();
        let why = why.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&why).to_owned();
        let is_named = [" field `", "missing field"].iter().any(|words| why.contains(words));
        let name = if is_named { None } else { name_before(object, line, column) };
        Flaw::Field { name, why }
    }
}

/// Returns the name of the last field before a position.
fn name_before(object: &str, line: usize, column: usize) -> Option<String> {
    let lines = object.split_inclusive('\n').take(line.checked_sub(1)?);
    let before = object.get(..lines.map(str::len).sum::<usize>() + column)?;
    let (before, _) = before.rsplit_once("\":")?;
    Some(before.rsplit_once('"')?.1.to_owned())
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Unreadable(error) => error.fmt(f),
            Flaw::Empty => f.write_str("it is empty; was the soak killed?"),
            Flaw::CutOff => f.write_str("it is cut off in the middle of a report; was the soak killed?"),
            Flaw::Unfinished => {
                f.write_str("it ends with lines of progress and without a report; was the soak killed?")
            }
            Flaw::NotJson(error) => write!(f, "it is not JSON: {error}"),
            Flaw::NotAnObject => f.write_str("it is no report of a soak: its JSON is not an object"),
            Flaw::Close => f.write_str("it is a report of `ringpair close`, not of a soak"),
            Flaw::NoKind => f.write_str("it is no report of a soak: it has no `kind`"),
            Flaw::Kind(kind) => write!(f, "it is no report of a soak: its kind is `{kind}`"),
            Flaw::Schema(None) => write!(f, "it has no `schema`; this ringpair reads reports of schema {SCHEMA}"),
            Flaw::Schema(Some(schema)) => {
                write!(f, "it is of schema {schema}; this ringpair reads reports of schema {SCHEMA}")
            }
            Flaw::Field { name: Some(name), why } => write!(f, "it is no report of a soak: in `{name}`: {why}"),
            Flaw::Field { name: None, why } => write!(f, "it is no report of a soak: {why}"),
            Flaw::NoHistogram(series) => {
                write!(f, "it has no histogram of `{series}`; soak with --histograms to add reports up")
            }
            Flaw::Contradiction(what) => write!(f, "it contradicts itself: {what}"),
        }
    }
}

/// Why valid reports cannot be added up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    Versions { first: String, other: String },
    Overflow(&'static str),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::Versions { first, other } => {
                write!(f, "it is by ringpair {other}, and the first report by {first}; one version makes all shards")
            }
            Misfit::Overflow(what) => write!(f, "with it, `{what}` is more than a report can hold"),
        }
    }
}

//! Parses reports: one, several in a row, or lines of progress followed by a report.

use std::io::{BufReader, Read};

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

use super::super::document::{Document, SCHEMA};
use super::flaw::Flaw;
use super::part::Part;

/// Parses all reports of an input, at least one.
pub(crate) fn parts_in(input: impl Read) -> Result<Vec<Part>, Flaw> {
    let (mut parts, mut is_finished) = (Vec::new(), true);
    // One at a time: hours of progress need no memory.
    let values = serde_json::Deserializer::from_reader(BufReader::new(input)).into_iter::<Box<RawValue>>();
    for value in values {
        let part = part_of(value.map_err(Flaw::of_json)?.get())?;
        is_finished = part.is_some();
        parts.extend(part);
    }
    match (is_finished, parts.is_empty()) {
        (false, _) => Err(Flaw::Unfinished),
        (true, true) => Err(Flaw::Empty),
        (true, false) => Ok(parts),
    }
}

/// The fields that identify an object of ours.
#[derive(Deserialize)]
struct Head {
    kind: Option<String>,
    schema: Option<u64>,
    cells: Option<IgnoredAny>,
}

/// Returns the part of a report; `None` for a line of progress.
fn part_of(text: &str) -> Result<Option<Part>, Flaw> {
    if !text.starts_with('{') {
        return Err(Flaw::NotAnObject);
    }
    let head: Head = parsed(text)?;
    match (head.kind.as_deref(), head.cells) {
        (Some("second"), _) => return Ok(None),
        (Some("report"), _) => {}
        (Some("close"), _) | (None, Some(_)) => return Err(Flaw::Close),
        (Some(kind), _) => return Err(Flaw::Kind(kind.to_owned())),
        (None, None) => return Err(Flaw::NoKind),
    }
    match head.schema {
        Some(SCHEMA) => Part::of(parsed::<Document>(text)?).map(Some),
        other => Err(Flaw::Schema(other)),
    }
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, Flaw> {
    serde_json::from_str(text).map_err(|error| Flaw::of_field(text, &error))
}

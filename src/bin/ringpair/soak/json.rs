//! Indented JSON with one bucket of a histogram per line.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

pub(super) fn indented(document: &impl Serialize) -> io::Result<String> {
    let mut bytes = Vec::new();
    document.serialize(&mut Serializer::with_formatter(&mut bytes, Lines::default()))?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// Indents like serde_json, but keeps an array within an array on one line.
#[derive(Default)]
struct Lines<'a> {
    pretty: PrettyFormatter<'a>,
    arrays: usize,
}

impl Lines<'_> {
    fn is_in_line(&self) -> bool {
        self.arrays > 1
    }
}

impl Formatter for Lines<'_> {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.arrays += 1;
        if self.is_in_line() { writer.write_all(b"[") } else { self.pretty.begin_array(writer) }
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let end = if self.is_in_line() { writer.write_all(b"]") } else { self.pretty.end_array(writer) };
        self.arrays -= 1;
        end
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        match (self.is_in_line(), first) {
            (false, _) => self.pretty.begin_array_value(writer, first),
            (true, true) => Ok(()),
            (true, false) => writer.write_all(b", "),
        }
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.is_in_line() { Ok(()) } else { self.pretty.end_array_value(writer) }
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.pretty.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_object_value(writer)
    }

    /// JSON escapes the control characters of ASCII. Others could also control a terminal.
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for letter in fragment.chars() {
            match letter.escape_debug().next() {
                Some('\\') if !matches!(letter, '\'' | '"' | '\\') => {
                    letter.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(writer, "\\u{unit:04x}"))?;
                }
                _ => write!(writer, "{letter}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_bucket_is_on_one_line() {
        let text = indented(&json!({"a": [[1, 2], [3, 4]], "b": [], "c": [1], "d": {"e": null}})).unwrap_or_default();
        let lines = "{\n  \"a\": [\n    [1, 2],\n    [3, 4]\n  ],\n  \"b\": [],\n  \"c\": [\n    1\n  ],\n  \"d\": {\n    \"e\": null\n  }\n}";
        assert_eq!(text, lines);
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_printed() {
        let document = json!({"a\u{9b}": "\u{1b}[2J\u{7f}\u{9b}2J\u{202e}\u{e0001} ä€\"'\\"});
        let text = indented(&document).unwrap_or_default();
        assert!(
            text.chars().all(|letter| letter == '\n' || letter.escape_debug().count() == 1 || "\"'\\".contains(letter)),
            "{text:?}"
        );
        assert!(
            text.contains(r#" ä€\"'\\""#) && serde_json::from_str::<Value>(&text).is_ok_and(|back| back == document)
        );
    }
}

//! The width and the colours of standard output.

use std::io::{self, IsTerminal as _};

use console::Term;

/// The width of texts in a pipe, and the maximum on a terminal: longer lines are hard to read.
const WIDTH: usize = 80;

/// Returns the width of texts, in columns.
pub(crate) fn width() -> usize {
    match Term::stdout().size_checked() {
        Some((_, columns)) if columns > 0 => usize::from(columns).min(WIDTH),
        _ => WIDTH,
    }
}

/// Whether standard output is a terminal that wants colour (<https://no-color.org>: set to anything but nothing).
pub(crate) fn takes_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Breaks lines between words, and keeps their indentation. A word longer than a line stays whole.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    text.lines().map(|line| wrapped_line(line, width)).collect::<Vec<_>>().join("\n")
}

fn wrapped_line(line: &str, width: usize) -> String {
    let indent = &line[..line.len() - line.trim_start().len()];
    let (mut text, mut used) = (indent.to_owned(), indent.len());
    for (at, word) in line.split_whitespace().enumerate() {
        let length = word.chars().count();
        if at > 0 && used + 1 + length > width {
            text.push('\n');
            text.push_str(indent);
            used = indent.len();
        } else if at > 0 {
            text.push(' ');
            used += 1;
        }
        text.push_str(word);
        used += length;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_keep_their_indent() {
        assert_eq!(wrapped("one two three\n  four five", 9), "one two\nthree\n  four\n  five");
        assert_eq!(wrapped("µs µs µs", 5), "µs µs\nµs");
        assert_eq!(wrapped("a unbreakable b", 4), "a\nunbreakable\nb");
    }
}

//! Tables and JSON on standard output.

use std::fmt;
use std::io::{self, ErrorKind, Write};

/// Writes to standard output. A closed pipe is not an error.
pub(crate) fn print(report: &impl fmt::Display) {
    let mut out = io::stdout().lock();
    match writeln!(out, "{report}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => eprintln!("standard output: {error}"),
        _ => {}
    }
}

/// Rows of cells. The first column is aligned to the left, the others to the right.
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    pub(crate) fn new<const N: usize>(heads: [&str; N]) -> Table {
        Table(vec![heads.map(String::from).to_vec()])
    }

    pub(crate) fn row(&mut self, name: &str, figures: impl IntoIterator<Item = String>) {
        self.0.push(std::iter::once(name.to_string()).chain(figures).collect());
    }

    fn width(&self, column: usize) -> usize {
        self.0.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.0 {
            let cells = row.iter().enumerate().map(|(column, cell)| match (column, self.width(column)) {
                (0, width) => format!("{cell:<width$}"),
                (_, width) => format!("  {cell:>width$}"),
            });
            writeln!(f, "{}", cells.collect::<String>().trim_end())?;
        }
        Ok(())
    }
}

/// The subset of JSON that the reports need.
pub(crate) enum Json {
    #[allow(dead_code)] // each benchmark compiles its own copy, and `peers` has no flags
    Flag(bool),
    Count(u64),
    /// Finite.
    Number(f64),
    /// Printable ASCII.
    Text(String),
    List(Vec<Json>),
    Object(Vec<(&'static str, Json)>),
}

pub(crate) fn object<const N: usize>(members: [(&'static str, Json); N]) -> Json {
    Json::Object(members.into())
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Flag(flag) => write!(f, "{flag}"),
            Json::Count(count) => write!(f, "{count}"),
            Json::Number(number) => write!(f, "{number:.4}"),
            Json::Text(text) => write!(f, "{text:?}"), // for printable ASCII, Rust escapes as JSON does
            Json::List(items) => {
                f.write_str("[")?;
                separated(f, items, |f, item| item.fmt(f))?;
                f.write_str("]")
            }
            Json::Object(members) => {
                f.write_str("{")?;
                separated(f, members, |f, (name, value)| write!(f, "\"{name}\": {value}"))?;
                f.write_str("}")
            }
        }
    }
}

fn separated<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    mut write: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write(f, item)?;
    }
    Ok(())
}

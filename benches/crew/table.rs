//! Tables on the standard output.

use std::fmt::Display;
use std::io::{self, Write};

const LABEL_WIDTH: usize = 46;
const CELL_WIDTH: usize = 13;

/// Writes the head of a table: what it is about, and what its columns are.
///
/// # Errors
///
/// Nobody reads the output any more.
pub(crate) fn head(title: &str, columns: &[&str]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out)?;
    write!(out, "{title:<LABEL_WIDTH$}")?;
    for column in columns {
        write!(out, " {column:>CELL_WIDTH$}")?;
    }
    writeln!(out)
}

/// Writes one row.
///
/// # Errors
///
/// Nobody reads the output any more.
pub(crate) fn row(label: &str, cells: &[&dyn Display]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{label:<LABEL_WIDTH$}")?;
    for cell in cells {
        write!(out, " {:>CELL_WIDTH$}", cell.to_string())?;
    }
    writeln!(out)
}

/// A line between tables.
///
/// # Errors
///
/// Nobody reads the output any more.
pub(crate) fn note(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// A number with one decimal.
pub(crate) fn one(number: f64) -> String {
    format!("{number:.1}")
}

/// How many times `floor` fits into `ours`.
pub(crate) fn ratio(ours: f64, floor: f64) -> String {
    if floor > 0.0 { format!("{:.2} x", ours / floor) } else { "-".to_owned() }
}

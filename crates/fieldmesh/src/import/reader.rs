//! The rows of a csv or json-lines file, one at a time, inflated where the file is gzip.
//!
//! A broken row is refused and reading goes on at the next line, so a refused row never takes a
//! good one with it. No more than one row is held, and no row is larger than [`ROW_SIZE_MAX`].

use std::io::{ErrorKind, Read};

use super::csv_row::{self, Parsed, Spread};
use super::row::{Cells, Row, RowFault, RowPlace};
use super::window::Window;
use super::{expression, json_row};

/// The largest row, in bytes of the inflated file.
pub const ROW_SIZE_MAX: usize = 1024 * 1024;
/// The largest number of columns.
pub const COLUMNS_MAX: usize = 1_024;

/// Why a file cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be read from its disk.
    #[error("the file cannot be read")]
    Read(#[source] std::io::Error),
    /// The file is gzip by its first bytes, but damaged or cut off.
    #[error("the file is damaged gzip")]
    Inflate(#[source] std::io::Error),
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The file is not text.
    #[error("the file is not text in UTF-8; csv or json lines are needed")]
    NotText,
    /// The file is UTF-16, as some spreadsheets write it.
    #[error("the file is UTF-16; save it as UTF-8")]
    Utf16,
    /// The file is one JSON array.
    #[error("the file is a JSON array; write one object per line")]
    JsonArray,
    /// The first line is no header of a csv file.
    #[error("the file is no csv: {reason}; its first line is {line:?}")]
    NotCsv {
        /// What is wrong with the first line.
        reason: String,
        /// The beginning of the first line.
        line: String,
    },
}

impl FileError {
    /// The inflater reports damage as invalid input or as an end that comes too early.
    pub(super) fn from_read(cause: std::io::Error) -> Self {
        match cause.kind() {
            ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                Self::Inflate(cause)
            }
            _ => Self::Read(cause),
        }
    }
}

/// Reads rows.
pub struct Reader {
    window: Window,
    format: Format,
    rows: u64,
}

/// What kind of file it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// Csv with these columns.
    Csv {
        /// The names of the header.
        columns: Vec<String>,
    },
    /// One JSON object per line.
    JsonLines,
}

impl Reader {
    /// Looks at the beginning of a file and reads the header of a csv file.
    ///
    /// Neither the name of the file nor its ending matters. A byte order mark is skipped.
    ///
    /// # Errors
    ///
    /// The file is neither csv with a header nor json lines; the text says what it seems to be.
    pub fn open(source: impl Read + Send + 'static) -> Result<Self, FileError> {
        let mut window = Window::open(source)?;
        window.reach(3)?;
        match window.bytes() {
            [0xef, 0xbb, 0xbf, ..] => window.take(3),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Err(FileError::Utf16),
            _ => {}
        }
        skip_blank_lines(&mut window)?;
        let mut visible = window.bytes().iter().filter(|byte| !byte.is_ascii_whitespace());
        let format = match (visible.next(), visible.next()) {
            (None, _) => return Err(FileError::Empty),
            (Some(b'{'), _) => Format::JsonLines,
            (Some(b'['), Some(b'{' | b']')) => return Err(FileError::JsonArray),
            (Some(_), _) => Format::Csv { columns: header(&mut window)? },
        };
        Ok(Self { window, format, rows: 0 })
    }

    /// What kind of file it is.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// How many rows were read, refused ones included.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    fn next_row(&mut self) -> Result<Option<Result<Row, RowFault>>, FileError> {
        skip_blank_lines(&mut self.window)?;
        if self.window.bytes().is_empty() {
            return Ok(None);
        }
        self.rows += 1;
        let place = RowPlace { number: self.rows, line: self.window.line() };
        let cells = match &self.format {
            Format::Csv { columns } => csv_cells(&mut self.window, columns.len())?,
            Format::JsonLines => json_cells(&mut self.window)?,
        };
        Ok(Some(match cells {
            Ok(cells) => Ok(Row { place, cells }),
            Err(reason) => Err(RowFault::whole(place, reason)),
        }))
    }
}

impl Iterator for Reader {
    type Item = Result<Result<Row, RowFault>, FileError>;

    /// The next row; a [`FileError`] is the last item.
    fn next(&mut self) -> Option<Self::Item> {
        match self.next_row() {
            Ok(row) => row.map(Ok),
            Err(error) => {
                self.window = Window::ended();
                Some(Err(error))
            }
        }
    }
}

fn too_large() -> String {
    format!("the row is larger than {ROW_SIZE_MAX} bytes")
}

/// Skips lines of nothing but spaces; a line too long to tell is left to the row's own check.
fn skip_blank_lines(window: &mut Window) -> Result<(), FileError> {
    while let Some(length) = window.line_length(ROW_SIZE_MAX)? {
        if length == 0 || !window.bytes()[..length].trim_ascii().is_empty() {
            break;
        }
        window.take(length);
    }
    Ok(())
}

fn csv_cells(window: &mut Window, columns: usize) -> Result<Result<Cells, String>, FileError> {
    let refused = loop {
        match csv_row::parse(window.bytes(), window.at_end(), columns) {
            Parsed::Unfinished if window.bytes().len() <= ROW_SIZE_MAX => window.grow()?,
            Parsed::Unfinished if window.line_length(ROW_SIZE_MAX)?.is_some() => {
                break csv_row::UNCLOSED.to_owned();
            }
            Parsed::Unfinished => break too_large(),
            Parsed::Broken(reason) => break reason.to_owned(),
            Parsed::Record { length, .. } if length > ROW_SIZE_MAX => break too_large(),
            Parsed::Record { cells, spread, .. } if cells.len() != columns => {
                let hint = match spread {
                    Spread::OneLine => "",
                    Spread::SeveralLines => " over several lines (is a closing quote missing?)",
                };
                break format!("the row has {} cells{hint}, the header has {columns}", cells.len());
            }
            Parsed::Record { cells, length, .. } => {
                window.take(length);
                let texts: Result<Vec<_>, _> = cells.into_iter().map(String::from_utf8).collect();
                let not_text = |_| "the row is not UTF-8".to_owned();
                return Ok(texts.map(Cells::Texts).map_err(not_text));
            }
        }
    };
    // Only one line is given up: what follows may be good rows that a lone quote seems to swallow.
    window.skip_line()?;
    Ok(Err(refused))
}

fn json_cells(window: &mut Window) -> Result<Result<Cells, String>, FileError> {
    let Some(length) = window.line_length(ROW_SIZE_MAX)? else {
        window.skip_line()?;
        return Ok(Err(too_large()));
    };
    let cells = json_row::parse(&window.bytes()[..length]);
    window.take(length);
    Ok(cells.map(Cells::Fields).map_err(|fault| fault.to_string()))
}

/// Reads the first line, which must look like the names of columns.
fn header(window: &mut Window) -> Result<Vec<String>, FileError> {
    let Some(length) = window.line_length(ROW_SIZE_MAX)? else { return Err(FileError::NotText) };
    let line = &window.bytes()[..length];
    let Ok(text) = std::str::from_utf8(line) else { return Err(FileError::NotText) };
    let text = text.trim_end_matches(['\r', '\n']);
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(FileError::NotText);
    }
    let not_csv = |reason: String| FileError::NotCsv { reason, line: expression::excerpt(text) };
    let cells = match csv_row::parse(line, true, 0) {
        Parsed::Record { cells, .. } => cells,
        Parsed::Broken(reason) => return Err(not_csv(reason.into())),
        Parsed::Unfinished => return Err(not_csv(csv_row::UNCLOSED.into())),
    };
    let mut columns: Vec<String> = Vec::with_capacity(cells.len().min(COLUMNS_MAX));
    for cell in cells {
        let name = String::from_utf8_lossy(&cell).trim().to_owned();
        if let Some(reason) = name_fault(&name, &columns) {
            return Err(not_csv(reason));
        }
        columns.push(name);
    }
    if let [only] = columns.as_slice()
        && let Some(reason) = lone_column_fault(only)
    {
        return Err(not_csv(reason));
    }
    window.take(length);
    Ok(columns)
}

/// Why a cell of the header cannot be the name of a column.
fn name_fault(name: &str, columns: &[String]) -> Option<String> {
    let position = columns.len() + 1;
    if name.is_empty() {
        Some(format!("column {position} has no name"))
    } else if expression::is_number(name) {
        Some(format!("column {position} is called {name}, so the header seems to be missing"))
    } else if columns.iter().any(|known| known == name) {
        Some(format!("two columns are called {name:?}"))
    } else if position > COLUMNS_MAX {
        Some(format!("it has more than {COLUMNS_MAX} columns"))
    } else {
        None
    }
}

/// One column alone is more often another kind of text than a table.
fn lone_column_fault(name: &str) -> Option<String> {
    if name.contains([';', '\t', '|']) {
        return Some("the columns must be separated by commas".into());
    }
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
    let is_name = name.starts_with(char::is_alphabetic) && name.chars().all(plain);
    (!is_name).then(|| "there is only one column, and it has no plain name".into())
}

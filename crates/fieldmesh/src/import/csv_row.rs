//! One record of a csv file by RFC 4180, strictly: what another reader might take differently is
//! broken here.

/// A record, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// The cells, and how many bytes and lines the record takes with its line end.
    Record {
        /// The bytes of the cells without their quotes.
        cells: Vec<Vec<u8>>,
        /// The bytes it takes.
        length: usize,
        /// Whether it has quoted line feeds, so that it takes several lines.
        spread: Spread,
    },
    /// The record goes on behind the bytes given.
    Unfinished,
    /// The quoting is broken.
    Broken(&'static str),
}

/// How many lines a record takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spread {
    OneLine,
    SeveralLines,
}

/// The reason given where a quoted cell has no end.
pub(super) const UNCLOSED: &str = "a quoted cell has no closing quote";
const STRAY: &str = "a quote stands inside a cell that is not quoted; put the cell in quotes and \
                     double the quotes in it";
const TRAILING: &str = "text follows the closing quote of a cell";

/// Reads one record from the start of `bytes`; `at_end` says that the file has no more.
pub(super) fn parse(bytes: &[u8], at_end: bool, columns_expected: usize) -> Parsed {
    let mut cells = Vec::with_capacity(columns_expected.min(1_024));
    let mut spread = Spread::OneLine;
    let mut at = 0;
    loop {
        let cell = match bytes.get(at) {
            Some(b'"') => match quoted(&bytes[at..]) {
                Ok(Some((cell, length))) => {
                    if cell.contains(&b'\n') {
                        spread = Spread::SeveralLines;
                    }
                    at += length;
                    cell
                }
                Ok(None) if at_end => return Parsed::Broken(UNCLOSED),
                Ok(None) => return Parsed::Unfinished,
                Err(reason) => return Parsed::Broken(reason),
            },
            _ => {
                let rest = &bytes[at..];
                let stop = |byte: &u8| matches!(byte, b',' | b'\n' | b'"');
                let length = rest.iter().position(stop).unwrap_or(rest.len());
                if rest.get(length) == Some(&b'"') {
                    return Parsed::Broken(STRAY);
                }
                at += length;
                rest[..length].to_vec()
            }
        };
        cells.push(cell);
        match &bytes[at..] {
            [b',', ..] => at += 1,
            [b'\r', b'\n', ..] => return Parsed::Record { cells, length: at + 2, spread },
            [b'\n', ..] => {
                strip_return(&mut cells, bytes[at.saturating_sub(1)]);
                return Parsed::Record { cells, length: at + 1, spread };
            }
            [] | [b'\r'] if !at_end => return Parsed::Unfinished,
            rest @ ([] | [b'\r']) => {
                let last = bytes.get(at.wrapping_sub(1)).copied().unwrap_or_default();
                strip_return(&mut cells, last);
                return Parsed::Record { cells, length: at + rest.len(), spread };
            }
            _ => return Parsed::Broken(TRAILING),
        }
    }
}

/// The carriage return before a line feed belongs to the line end, not to an unquoted cell.
fn strip_return(cells: &mut [Vec<u8>], byte_before: u8) {
    if byte_before == b'\r'
        && let Some(cell) = cells.last_mut()
    {
        cell.pop_if(|byte| *byte == b'\r');
    }
}

/// The cell and how many bytes it takes with its quotes; none if its end is not in sight.
fn quoted(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let mut cell = Vec::new();
    let mut at = 1;
    loop {
        let rest = &bytes[at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'"') else { return Ok(None) };
        cell.extend_from_slice(&rest[..end]);
        at += end + 1;
        match bytes.get(at) {
            Some(b'"') => {
                cell.push(b'"');
                at += 1;
            }
            None | Some(b',' | b'\n' | b'\r') => return Ok(Some((cell, at))),
            Some(_) => return Err(TRAILING),
        }
    }
}

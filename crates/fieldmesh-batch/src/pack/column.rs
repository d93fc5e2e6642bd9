//! One field of many changes, side by side.
//!
//! ```text
//! numbers      as in `numbers`
//! floats       the number of decimals, then whole numbers; or 255, then eight bytes each
//! bytes        1, length, bytes: all are these; or 0, the lengths, then all bytes
//! ```

use super::decimal;
use super::numbers::{put_numbers, take_numbers};
use super::reader::{Reader, put_sized};
use super::values::{Content, Matter};

const NOT_DECIMAL: u8 = 255;
const EACH: u8 = 0;
const ALL_THE_SAME: u8 = 1;

/// Appends the contents of values that are made of `matter`.
pub(super) fn put(bytes: &mut Vec<u8>, matter: Matter, contents: &[Content<'_>]) {
    match matter {
        Matter::Empty | Matter::Made => {}
        Matter::Number => put_numbers(bytes, &all(contents, Content::number)),
        Matter::Float => put_floats(bytes, &all(contents, Content::float)),
        Matter::Characters | Matter::Bytes => {
            let contents = all(contents, Content::bytes);
            if !put_once(bytes, &contents) {
                let lengths: Vec<i64> = contents.iter().map(|it| it.len() as i64).collect();
                put_numbers(bytes, &lengths);
                contents.iter().for_each(|content| bytes.extend_from_slice(content));
            }
        }
    }
}

fn all<'a, T>(contents: &[Content<'a>], part: impl Fn(&Content<'a>) -> Option<T>) -> Vec<T> {
    contents.iter().filter_map(part).collect()
}

/// Reads `count` contents, which the caller has bounded.
pub(super) fn take<'a>(
    reader: &mut Reader<'a>,
    matter: Matter,
    count: usize,
) -> Option<Vec<Content<'a>>> {
    match matter {
        Matter::Empty | Matter::Made => Some(vec![Content::EMPTY; count]),
        Matter::Number => {
            Some(take_numbers(reader, count)?.into_iter().map(Content::Number).collect())
        }
        Matter::Float => take_floats(reader, count),
        Matter::Characters | Matter::Bytes => {
            if let Some(all) = take_once(reader)? {
                return Some(vec![Content::Bytes(all); count]);
            }
            let lengths = take_numbers(reader, count)?.into_iter();
            let mut bytes =
                |length: i64| reader.take(usize::try_from(length).ok()?).map(Content::Bytes);
            lengths.map(&mut bytes).collect()
        }
    }
}

/// Appends byte strings whose lengths are known.
pub(super) fn put_known(bytes: &mut Vec<u8>, contents: &[&[u8]]) {
    if !put_once(bytes, contents) {
        contents.iter().for_each(|content| bytes.extend_from_slice(content));
    }
}

/// Reads byte strings of these lengths.
pub(super) fn take_known<'a>(reader: &mut Reader<'a>, lengths: &[usize]) -> Option<Vec<&'a [u8]>> {
    if let Some(all) = take_once(reader)? {
        let is_as_long = lengths.iter().all(|length| *length == all.len());
        return is_as_long.then(|| vec![all; lengths.len()]);
    }
    lengths.iter().map(|length| reader.take(*length)).collect()
}

/// Says whether all are the same; if so, appends that.
fn put_once(bytes: &mut Vec<u8>, contents: &[&[u8]]) -> bool {
    match contents {
        [first, rest @ ..] if rest.iter().all(|other| other == first) => {
            bytes.push(ALL_THE_SAME);
            put_sized(bytes, first);
            true
        }
        _ => {
            bytes.push(EACH);
            false
        }
    }
}

fn take_once<'a>(reader: &mut Reader<'a>) -> Option<Option<&'a [u8]>> {
    match reader.byte()? {
        EACH => Some(None),
        ALL_THE_SAME => reader.sized().map(Some),
        _ => None,
    }
}

fn put_floats(bytes: &mut Vec<u8>, floats: &[u64]) {
    match decimal::to_wholes(floats) {
        Some((decimals, wholes)) => {
            bytes.push(decimals);
            put_numbers(bytes, &wholes);
        }
        None => {
            bytes.push(NOT_DECIMAL);
            floats.iter().for_each(|bits| bytes.extend(bits.to_le_bytes()));
        }
    }
}

fn take_floats<'a>(reader: &mut Reader<'_>, count: usize) -> Option<Vec<Content<'a>>> {
    let decimals = reader.byte()?;
    if decimals == NOT_DECIMAL {
        let mut float = || Some(Content::Float(u64::from_le_bytes(reader.array()?)));
        return (0..count).map(|_| float()).collect();
    }
    let wholes = take_numbers(reader, count)?.into_iter();
    wholes.map(|whole| decimal::to_float(whole, decimals).map(Content::Float)).collect()
}

//! The values of a change, taken out of their two columns and put back.
//!
//! One column is run-length-encoded numbers, the length of a value and its type in the lowest four
//! bits; the other holds the bytes of all values. A text is written as one value for each
//! character; here these are one value again.

use fieldmesh_model::limits::CHANGE_OPERATIONS_MAX;

use super::reader::{Reader, put_number, put_signed};

const TYPE_BITS: u32 = 4;
const TYPE_MASK: u64 = 15;
/// Null, false and true.
const TYPE_PLAIN_MAX: u8 = 2;
const TYPE_UNSIGNED: u8 = 3;
const TYPE_SIGNED: u8 = 4;
const TYPE_FLOAT: u8 = 5;
const TYPE_TEXT: u8 = 6;
const TYPE_COUNTER: u8 = 8;
const TYPE_TIME: u8 = 9;

/// What a value is made of; with its type a value's *kind*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Matter {
    /// Nothing beside its type.
    Empty = 0,
    /// A whole number.
    Number = 1,
    /// The eight bytes of a float.
    Float = 2,
    /// Characters, each of which is a value of its own.
    Characters = 3,
    /// Anything else.
    Bytes = 4,
    /// Bytes that are put together from other values of the same change.
    Made = 5,
}

impl Matter {
    /// Whatever is written beside the shape of a change, in the order of its columns.
    pub(super) const IN_COLUMNS: [Self; 4] =
        [Self::Number, Self::Float, Self::Characters, Self::Bytes];
}

/// The type of a value in the lowest four bits, above it what it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind(pub(super) u8);

impl Kind {
    pub(super) const fn new(matter: Matter, type_code: u8) -> Self {
        Self((matter as u8) << TYPE_BITS | type_code)
    }

    pub(super) const fn type_code(self) -> u8 {
        self.0 & TYPE_MASK as u8
    }

    pub(super) const fn matter(self) -> Option<Matter> {
        match self.0 >> TYPE_BITS {
            0 => Some(Matter::Empty),
            1 => Some(Matter::Number),
            2 => Some(Matter::Float),
            3 => Some(Matter::Characters),
            4 => Some(Matter::Bytes),
            5 => Some(Matter::Made),
            _ => None,
        }
    }
}

/// One value, or all characters of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value<'a> {
    pub(super) kind: Kind,
    pub(super) content: Content<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content<'a> {
    Number(i64),
    /// The bits of the float.
    Float(u64),
    Bytes(&'a [u8]),
}

impl<'a> Content<'a> {
    pub(super) const EMPTY: Self = Self::Bytes(&[]);

    pub(super) const fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Number(_) | Self::Float(_) => None,
        }
    }

    pub(super) const fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Bytes(_) | Self::Float(_) => None,
        }
    }

    pub(super) const fn float(&self) -> Option<u64> {
        match self {
            Self::Float(bits) => Some(*bits),
            Self::Bytes(_) | Self::Number(_) => None,
        }
    }
}

/// Takes the values out of both columns; None if [`Columns`] would not give these very columns.
pub(super) fn parse<'a>(meta: &[u8], raw: &'a [u8]) -> Option<Vec<Value<'a>>> {
    let (mut values, mut raw) = (Vec::with_capacity(meta.len()), Reader::new(raw));
    let metas = expand(meta)?;
    let mut metas = &metas[..];
    while let [next, behind @ ..] = metas {
        let (count, length) = characters(metas, raw.rest);
        if count > 0 {
            let (kind, text) = (Kind::new(Matter::Characters, TYPE_TEXT), raw.take(length)?);
            values.push(Value { kind, content: Content::Bytes(text) });
            metas = &metas[count..];
        } else {
            values.push(value(*next, raw.take(usize::try_from(next >> TYPE_BITS).ok()?)?));
            metas = behind;
        }
    }
    raw.rest.is_empty().then_some(values)
}

/// The columns of values, filled for one change after the other.
#[derive(Debug, Default)]
pub(super) struct Columns {
    metas: Vec<u64>,
    /// The column with the kind and length of each value.
    pub(super) meta: Vec<u8>,
    /// The column with the bytes of the values.
    pub(super) raw: Vec<u8>,
}

impl Columns {
    /// Puts values back into their columns.
    pub(super) fn make(&mut self, values: &[Value<'_>]) -> Option<()> {
        let Self { metas, meta, raw } = self;
        metas.clear();
        raw.clear();
        for Value { kind, content } in values {
            let (type_code, start) = (kind.type_code(), raw.len());
            match (kind.matter()?, content) {
                (Matter::Empty, _) => {}
                (Matter::Number, Content::Number(number)) if type_code == TYPE_UNSIGNED => {
                    put_number(raw, *number as u64);
                }
                (Matter::Number, Content::Number(number)) => put_signed(raw, *number),
                (Matter::Float, Content::Float(bits)) => raw.extend(bits.to_le_bytes()),
                (Matter::Bytes | Matter::Made, Content::Bytes(bytes)) => {
                    raw.extend_from_slice(bytes);
                }
                (Matter::Characters, Content::Bytes(bytes)) => {
                    put_characters(metas, bytes, type_code)?;
                    raw.extend_from_slice(bytes);
                    continue;
                }
                _ => return None,
            }
            metas.push(meta_of(raw.len() - start, type_code));
        }
        contract(metas, meta);
        Some(())
    }
}

fn put_characters(metas: &mut Vec<u64>, mut bytes: &[u8], type_code: u8) -> Option<()> {
    while let Some(first) = bytes.first() {
        let length = character_length(*first)?;
        bytes = bytes.get(length..)?;
        metas.push(meta_of(length, type_code));
    }
    Some(())
}

fn value(meta: u64, bytes: &[u8]) -> Value<'_> {
    let type_code = (meta & TYPE_MASK) as u8;
    let known = match type_code {
        ..=TYPE_PLAIN_MAX if bytes.is_empty() => Some((Matter::Empty, Content::EMPTY)),
        TYPE_UNSIGNED => {
            exact(bytes, Reader::number).map(|it| (Matter::Number, Content::Number(it as i64)))
        }
        TYPE_SIGNED | TYPE_COUNTER | TYPE_TIME => {
            exact(bytes, Reader::signed).map(|it| (Matter::Number, Content::Number(it)))
        }
        TYPE_FLOAT => {
            bytes.try_into().ok().map(|it| (Matter::Float, Content::Float(u64::from_le_bytes(it))))
        }
        _ => None,
    };
    let (matter, content) = known.unwrap_or((Matter::Bytes, Content::Bytes(bytes)));
    Value { kind: Kind::new(matter, type_code), content }
}

/// What `read` reads if that is all of `bytes`.
fn exact<'a, T>(bytes: &'a [u8], read: impl Fn(&mut Reader<'a>) -> Option<T>) -> Option<T> {
    let mut reader = Reader::new(bytes);
    let value = read(&mut reader)?;
    reader.rest.is_empty().then_some(value)
}

/// How many characters stand in front, and the bytes that they have together.
fn characters(metas: &[u64], raw: &[u8]) -> (usize, usize) {
    let mut length = 0;
    for (count, meta) in metas.iter().enumerate() {
        let next = raw.get(length).and_then(|first| character_length(*first));
        let Some(end) = next.map(|next| length + next).filter(|end| *end <= raw.len()) else {
            return (count, length);
        };
        if *meta != meta_of(end - length, TYPE_TEXT) {
            return (count, length);
        }
        length = end;
    }
    (metas.len(), length)
}

/// A value's length and type as its column has them.
const fn meta_of(length: usize, type_code: u8) -> u64 {
    (length as u64) << TYPE_BITS | type_code as u64
}

/// The length of a character in UTF-8 by its first byte.
const fn character_length(first: u8) -> Option<usize> {
    match first {
        ..0x80 => Some(1),
        0xc0..0xe0 => Some(2),
        0xe0..0xf0 => Some(3),
        0xf0..0xf8 => Some(4),
        _ => None,
    }
}

/// Reads a run-length-encoded column without nulls; None if [`contract`] writes it otherwise: a run
/// has at least two numbers, neighbours that are alike are in one run, and what stands between two
/// runs stands together.
fn expand(column: &[u8]) -> Option<Vec<u64>> {
    let (mut reader, mut numbers) = (Reader::new(column), Vec::with_capacity(column.len() * 2));
    let mut are_singles = false;
    while !reader.rest.is_empty() {
        let run = reader.signed()?;
        let count = usize::try_from(run.unsigned_abs()).ok()?;
        let is_repeated = are_singles && run < 0;
        if matches!(run, 0 | 1) || is_repeated || count > CHANGE_OPERATIONS_MAX - numbers.len() {
            return None;
        }
        are_singles = run < 0;
        for _ in 0..if are_singles { count } else { 1 } {
            let number = reader.number()?;
            if numbers.last() == Some(&number) {
                return None;
            }
            numbers.push(number);
        }
        if let (false, Some(last)) = (are_singles, numbers.last()) {
            numbers.resize(numbers.len() + count - 1, *last);
        }
    }
    Some(numbers)
}

/// Run-length-encodes a column as Automerge does: equal neighbours as their number and the value,
/// what stands between them as its negative number and the values.
fn contract(numbers: &[u64], column: &mut Vec<u8>) {
    column.clear();
    let mut singles = 0..0;
    let mut start = 0;
    for run in numbers.chunk_by(|a, b| a == b) {
        let end = start + run.len();
        if let [_] = run {
            singles.end = end;
        } else {
            put_singles(column, &numbers[singles]);
            put_signed(column, run.len() as i64);
            put_number(column, run[0]);
            singles = end..end;
        }
        start = end;
    }
    put_singles(column, &numbers[singles]);
}

fn put_singles(column: &mut Vec<u8>, singles: &[u64]) {
    if !singles.is_empty() {
        put_signed(column, -(singles.len() as i64));
        singles.iter().for_each(|single| put_number(column, *single));
    }
}

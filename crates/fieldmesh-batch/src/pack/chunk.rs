//! The outside of an Automerge change, taken apart and made again.
//!
//! The layout is that of a change chunk in the binary format of Automerge
//! (<https://automerge.org/automerge-binary-format-spec/>):
//!
//! ```text
//! magic 4, checksum 4, kind 1, length
//! number of dependencies, 32 each
//! actor, sequence, first operation, time, message, number of other actors, each
//! number of columns, for each its specification and length
//! the bytes of each column
//! ```
//!
//! The checksum is the front of the SHA-256 of everything from the kind on. Two columns hold the
//! values of the operations and are given apart; what is left without them, the *form*, is the same
//! for many changes.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::reader::{Reader, put_number, put_signed, put_size};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const KIND_CHANGE: u8 = 1;
/// The most bytes of magic, checksum, kind and length.
const HEAD_LENGTH_MAX: usize = 19;
const DEPENDENCY_LENGTH: usize = 32;
/// As many columns as Automerge knows; for more of them there is more to allocate.
const COLUMNS_LIKELY: usize = 16;

/// The specification of the column with the kind and length of each value.
const META_COLUMN: u64 = (5 << 4) | 6;
/// The specification of the column with the bytes of the values.
const RAW_COLUMN: u64 = (5 << 4) | 7;

/// A change without magic, checksum and lengths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    /// What is the same in many changes: numbers, columns without values.
    pub(super) form: Cow<'a, [u8]>,
    /// The dependencies, one behind the other.
    pub(super) dependencies: &'a [u8],
    /// The actor and all others, one behind the other.
    pub(super) actors: Cow<'a, [u8]>,
    pub(super) time: i64,
    /// The column with the kind and length of each value.
    pub(super) meta: &'a [u8],
    /// The column with the bytes of the values.
    pub(super) raw: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// Takes a change apart; None if [`make`] would not give these very bytes.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut outer = Reader::new(bytes);
        if outer.array()? != MAGIC {
            return None;
        }
        let checksum: [u8; 4] = outer.array()?;
        let hashed = outer.rest;
        if outer.byte()? != KIND_CHANGE || outer.size()? != outer.rest.len() {
            return None;
        }
        if checksum_of(hashed) != checksum {
            return None;
        }
        Self::parse_body(Reader::new(outer.rest))
    }

    fn parse_body(mut body: Reader<'a>) -> Option<Self> {
        let mut form = Vec::with_capacity(body.rest.len());
        let count = body.size()?;
        put_size(&mut form, count);
        let dependencies = body.take(count.checked_mul(DEPENDENCY_LENGTH)?)?;
        let mut actors = Cow::Borrowed(parse_actor(&mut body, &mut form)?);
        put_number(&mut form, body.number()?);
        put_number(&mut form, body.number()?);
        let time = body.signed()?;
        let message = body.sized()?;
        put_size(&mut form, message.len());
        form.extend_from_slice(message);
        let others = body.size()?;
        put_size(&mut form, others);
        for _ in 0..others {
            actors.to_mut().extend_from_slice(parse_actor(&mut body, &mut form)?);
        }
        let [meta, raw] = parse_columns(body, &mut form)?;
        let form = Cow::Owned(form);
        Some(Self { form, dependencies, actors, time, meta, raw })
    }
}

fn parse_actor<'a>(body: &mut Reader<'a>, form: &mut Vec<u8>) -> Option<&'a [u8]> {
    let actor = body.sized()?;
    put_size(form, actor.len());
    Some(actor)
}

/// Reads all columns into the form, except those with values, which it gives.
fn parse_columns<'a>(mut body: Reader<'a>, form: &mut Vec<u8>) -> Option<[&'a [u8]; 2]> {
    let count = body.size()?;
    put_size(form, count);
    let mut columns = Vec::with_capacity(COLUMNS_LIKELY);
    for _ in 0..count {
        let specification = body.number()?;
        let length = body.size()?;
        put_number(form, specification);
        if value_column(specification).is_none() {
            put_size(form, length);
        }
        columns.push((specification, length));
    }
    let (mut values, mut seen): ([&[u8]; 2], _) = ([&[], &[]], [false; 2]);
    for (specification, length) in columns {
        let column = body.take(length)?;
        match value_column(specification) {
            None => form.extend_from_slice(column),
            Some(place) if !std::mem::replace(&mut seen[place], true) => values[place] = column,
            Some(_) => return None,
        }
    }
    body.rest.is_empty().then_some(values)
}

const fn value_column(specification: u64) -> Option<usize> {
    match specification {
        META_COLUMN => Some(0),
        RAW_COLUMN => Some(1),
        _ => None,
    }
}

/// How long dependencies and actors of changes of a form are.
pub(super) fn lengths(form: &[u8]) -> Option<(usize, usize)> {
    let mut form = Reader::new(form);
    let dependencies = form.size()?.checked_mul(DEPENDENCY_LENGTH)?;
    let mut actors = form.size()?;
    form.number()?;
    form.number()?;
    form.sized()?;
    for _ in 0..form.size()? {
        actors = actors.checked_add(form.size()?)?;
    }
    Some((dependencies, actors))
}

/// Makes the bytes of a change again; `body` is only there to be filled again and again.
pub(super) fn make(chunk: &Chunk<'_>, body: &mut Vec<u8>) -> Option<Vec<u8>> {
    body.clear();
    make_body(chunk, body)?;
    let mut bytes = Vec::with_capacity(body.len() + HEAD_LENGTH_MAX);
    bytes.extend(MAGIC);
    bytes.extend([0; 4]);
    bytes.push(KIND_CHANGE);
    put_size(&mut bytes, body.len());
    bytes.extend_from_slice(body);
    let checksum = checksum_of(&bytes[8..]);
    bytes[4..8].copy_from_slice(&checksum);
    Some(bytes)
}

fn make_body(chunk: &Chunk<'_>, body: &mut Vec<u8>) -> Option<()> {
    let (mut form, mut actors) = (Reader::new(&chunk.form), Reader::new(&chunk.actors));
    let values = [chunk.meta, chunk.raw];
    put_number(body, form.number()?);
    body.extend_from_slice(chunk.dependencies);
    make_actor(body, &mut form, &mut actors)?;
    put_number(body, form.number()?);
    put_number(body, form.number()?);
    put_signed(body, chunk.time);
    let message = form.sized()?;
    put_size(body, message.len());
    body.extend_from_slice(message);
    let others = form.size()?;
    put_size(body, others);
    for _ in 0..others {
        make_actor(body, &mut form, &mut actors)?;
    }
    let count = form.size()?;
    put_size(body, count);
    let mut columns = Vec::with_capacity(COLUMNS_LIKELY);
    for _ in 0..count {
        let specification = form.number()?;
        let place = value_column(specification);
        let length = place.map_or_else(|| form.size(), |place| Some(values[place].len()))?;
        put_number(body, specification);
        put_size(body, length);
        columns.push((place, length));
    }
    for (place, length) in columns {
        let column = place.map_or_else(|| form.take(length), |place| Some(values[place]))?;
        body.extend_from_slice(column);
    }
    (form.rest.is_empty() && actors.rest.is_empty()).then_some(())
}

fn make_actor(body: &mut Vec<u8>, form: &mut Reader<'_>, actors: &mut Reader<'_>) -> Option<()> {
    let length = form.size()?;
    put_size(body, length);
    body.extend_from_slice(actors.take(length)?);
    Some(())
}

fn checksum_of(hashed: &[u8]) -> [u8; 4] {
    let hash = Sha256::digest(hashed);
    [hash[0], hash[1], hash[2], hash[3]]
}

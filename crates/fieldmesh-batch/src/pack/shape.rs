//! What the values of a change are and how they hang together: the same for many changes.
//!
//! Two things in a change follow from its other values. A key is put together from fields, and the
//! id of a document commits to its creator, a time and such a key. A shape says so once.
//!
//! ```text
//! number of values, the kind of each
//! 0, or 1 and the places of creator and key, and that of the time plus 1; 0 is the change's own
//! for each value that is made: number of pieces, none of which is made itself, for each
//!     0, length, bytes: these bytes
//!     1, place: the bytes of that value
//!     2, place: that number, big-endian, eight bytes
//! ```

use std::borrow::Cow;
use std::collections::BTreeSet;

use fieldmesh_model::{DocumentId, Moment, UserId};

use super::reader::{Reader, put_size, put_sized};
use super::values::{Content, Kind, Matter, Value};

const PIECE_LITERAL: u8 = 0;
const PIECE_BYTES: u8 = 1;
const PIECE_NUMBER: u8 = 2;

/// The shortest value that is looked for in others.
const PART_LENGTH_MIN: usize = 8;
/// The longest value that is looked through.
const MADE_LENGTH_MAX: usize = 512;
/// The most values that are looked for.
const PARTS_MAX: usize = 64;
/// In a change with more values nothing is looked for: it would take too long.
const SEARCHED_VALUES_MAX: usize = 256;
/// The most pairs of creator and key that are tried.
const TRIES_MAX: usize = 8;

/// What the values of a change are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) kinds: Vec<Kind>,
    id: Option<IdRule>,
    /// Those of the values that are made, in order.
    recipes: Vec<(usize, Vec<Piece>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct IdRule {
    creator: usize,
    key: usize,
    /// None for the time of the change.
    time: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    Bytes(usize),
    Number(usize),
}

impl Shape {
    /// Finds out what follows from what in a change.
    pub(super) fn find(values: &[Value<'_>], time: i64, id: DocumentId) -> Self {
        let mut kinds: Vec<Kind> = values.iter().map(|value| value.kind).collect();
        let recipes = find_recipes(values);
        for (place, _) in &recipes {
            kinds[*place] = Kind::new(Matter::Made, kinds[*place].type_code());
        }
        Self { kinds, id: find_rule(values, time, id), recipes }
    }

    /// Whether a change has this shape: what the shape makes is what is there.
    pub(super) fn fits(&self, values: &[Value<'_>], time: i64, id: DocumentId) -> bool {
        let is_same = |(kind, value): (&Kind, &Value<'_>)| {
            *kind == value.kind || is_made_of(*kind, value.kind)
        };
        self.kinds.len() == values.len()
            && self.kinds.iter().zip(values).all(is_same)
            && self.recipes.iter().all(|(place, recipe)| is_made_by(recipe, values, *place))
            && self.id.is_none_or(|rule| rule.derive(values, time) == Some(id))
    }

    pub(super) const fn derives_id(&self) -> bool {
        self.id.is_some()
    }

    /// The id of the document whose first change has these values.
    pub(super) fn derive(&self, values: &[Value<'_>], time: i64) -> Option<DocumentId> {
        self.id?.derive(values, time)
    }

    /// The places of values that are made, with what they are; None if it is beyond `limit` bytes.
    pub(super) fn make(&self, values: &[Value<'_>], limit: usize) -> Option<Vec<(usize, Vec<u8>)>> {
        let mut made = Vec::with_capacity(self.recipes.len());
        let mut length = 0;
        for (place, recipe) in &self.recipes {
            let before = length;
            for piece in recipe {
                length += piece.length(values)?;
                if length > limit {
                    return None;
                }
            }
            let mut bytes = Vec::with_capacity(length - before);
            recipe.iter().try_for_each(|piece| piece.put(values, &mut bytes))?;
            made.push((*place, bytes));
        }
        Some(made)
    }

    pub(super) fn put(&self, bytes: &mut Vec<u8>) {
        put_size(bytes, self.kinds.len());
        bytes.extend(self.kinds.iter().map(|kind| kind.0));
        match self.id {
            None => bytes.push(0),
            Some(IdRule { creator, key, time }) => {
                bytes.push(1);
                let time = time.map_or(0, |place| place + 1);
                [creator, key, time].iter().for_each(|place| put_size(bytes, *place));
            }
        }
        for (_, recipe) in &self.recipes {
            put_size(bytes, recipe.len());
            recipe.iter().for_each(|piece| piece.encode(bytes));
        }
    }

    pub(super) fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let count = reader.size()?;
        let kinds: Vec<Kind> = reader.take(count)?.iter().map(|kind| Kind(*kind)).collect();
        let id = match reader.byte()? {
            0 => None,
            1 => {
                let (creator, key) = (reader.size()?, reader.size()?);
                Some(IdRule { creator, key, time: reader.size()?.checked_sub(1) })
            }
            _ => return None,
        };
        let mut recipes = Vec::new();
        for (place, kind) in kinds.iter().enumerate() {
            if kind.matter()? == Matter::Made {
                let mut recipe = Vec::new();
                for _ in 0..reader.size()? {
                    recipe.push(Piece::decode(reader, &kinds)?);
                }
                recipes.push((place, recipe));
            }
        }
        Some(Self { kinds, id, recipes })
    }
}

impl IdRule {
    fn derive(self, values: &[Value<'_>], time: i64) -> Option<DocumentId> {
        let creator = bytes_of(values, self.creator)?.try_into().ok()?;
        let time = self.time.map_or(Some(time), |place| number_of(values, place))?;
        let key = bytes_of(values, self.key)?;
        Some(DocumentId::derive(UserId::from_bytes(creator), Moment::from_millis(time), key))
    }
}

impl Piece {
    fn length(&self, values: &[Value<'_>]) -> Option<usize> {
        match self {
            Self::Literal(bytes) => Some(bytes.len()),
            Self::Bytes(place) => bytes_of(values, *place).map(<[u8]>::len),
            Self::Number(_) => Some(8),
        }
    }

    fn put(&self, values: &[Value<'_>], bytes: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Literal(literal) => bytes.extend_from_slice(literal),
            Self::Bytes(place) => bytes.extend_from_slice(bytes_of(values, *place)?),
            Self::Number(place) => bytes.extend(number_of(values, *place)?.to_be_bytes()),
        }
        Some(())
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        let (kind, place) = match self {
            Self::Literal(literal) => {
                bytes.push(PIECE_LITERAL);
                return put_sized(bytes, literal);
            }
            Self::Bytes(place) => (PIECE_BYTES, place),
            Self::Number(place) => (PIECE_NUMBER, place),
        };
        bytes.push(kind);
        put_size(bytes, *place);
    }

    /// Reads a piece; None if it refers to a value that is no such thing, or is made itself.
    fn decode(reader: &mut Reader<'_>, kinds: &[Kind]) -> Option<Self> {
        let matter_of = |place: usize| kinds.get(place).and_then(|kind| kind.matter());
        match reader.byte()? {
            PIECE_LITERAL => reader.sized().map(|literal| Self::Literal(literal.to_vec())),
            PIECE_BYTES => reader
                .size()
                .filter(|place| matter_of(*place) == Some(Matter::Bytes))
                .map(Self::Bytes),
            PIECE_NUMBER => reader
                .size()
                .filter(|place| matter_of(*place) == Some(Matter::Number))
                .map(Self::Number),
            _ => None,
        }
    }

    const fn place(&self) -> Option<usize> {
        match self {
            Self::Literal(_) => None,
            Self::Bytes(place) | Self::Number(place) => Some(*place),
        }
    }
}

/// What may be found in other values.
struct Part<'a> {
    bytes: Cow<'a, [u8]>,
    piece: Piece,
}

fn bytes_of<'a>(values: &[Value<'a>], place: usize) -> Option<&'a [u8]> {
    values.get(place)?.content.bytes()
}

fn number_of(values: &[Value<'_>], place: usize) -> Option<i64> {
    values.get(place)?.content.number()
}

fn is_made_of(kind: Kind, plain: Kind) -> bool {
    kind.matter() == Some(Matter::Made)
        && plain.matter() == Some(Matter::Bytes)
        && kind.type_code() == plain.type_code()
}

fn is_made_by(recipe: &[Piece], values: &[Value<'_>], place: usize) -> bool {
    let Some(mut rest) = bytes_of(values, place) else { return false };
    let is_next = |piece: &Piece| {
        let behind = match piece {
            Piece::Literal(literal) => rest.strip_prefix(&literal[..]),
            Piece::Bytes(place) => bytes_of(values, *place).and_then(|it| rest.strip_prefix(it)),
            Piece::Number(place) => number_of(values, *place)
                .and_then(|number| rest.strip_prefix(&number.to_be_bytes())),
        };
        rest = behind.unwrap_or_default();
        behind.is_some()
    };
    recipe.iter().all(is_next) && rest.is_empty()
}

/// How values are put together from others. Those others are never made themselves: whoever puts
/// them together again has none but these.
fn find_recipes(values: &[Value<'_>]) -> Vec<(usize, Vec<Piece>)> {
    let mut recipes = Vec::new();
    if values.len() > SEARCHED_VALUES_MAX {
        return recipes;
    }
    let mut parts: Vec<Part<'_>> = values
        .iter()
        .enumerate()
        .filter_map(|(place, value)| part(value, place))
        .take(PARTS_MAX)
        .collect();
    let mut are_referred_to = BTreeSet::new();
    for (place, value) in values.iter().enumerate() {
        if value.kind.matter() != Some(Matter::Bytes) || are_referred_to.contains(&place) {
            continue;
        }
        if let Some(recipe) = find_recipe(values, &parts, place) {
            parts.retain(|part| part.piece.place() != Some(place));
            are_referred_to.extend(recipe.iter().filter_map(Piece::place));
            recipes.push((place, recipe));
        }
    }
    recipes
}

/// How the value at `place` is put together from parts; None if none of them is in it.
fn find_recipe(values: &[Value<'_>], parts: &[Part<'_>], place: usize) -> Option<Vec<Piece>> {
    let bytes = bytes_of(values, place).filter(|bytes| bytes.len() <= MADE_LENGTH_MAX)?;
    let is_in = |part: &Part<'_>, rest: &[u8]| {
        part.bytes.len() < bytes.len() && rest.starts_with(&part.bytes)
    };
    let (mut recipe, mut literal, mut rest) = (Vec::new(), Vec::new(), bytes);
    while let Some((first, behind)) = rest.split_first() {
        let Some(part) = parts.iter().find(|part| is_in(part, rest)) else {
            literal.push(*first);
            rest = behind;
            continue;
        };
        if !literal.is_empty() {
            recipe.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        recipe.push(part.piece.clone());
        rest = &rest[part.bytes.len()..];
    }
    if recipe.is_empty() {
        return None;
    }
    if !literal.is_empty() {
        recipe.push(Piece::Literal(literal));
    }
    Some(recipe)
}

/// What may be in another value: bytes of some length, or a number that takes more than four.
fn part<'a>(value: &Value<'a>, place: usize) -> Option<Part<'a>> {
    let (bytes, piece) = match (value.kind.matter()?, value.content) {
        (Matter::Bytes, Content::Bytes(bytes))
            if (PART_LENGTH_MIN..MADE_LENGTH_MAX).contains(&bytes.len()) =>
        {
            (Cow::Borrowed(bytes), Piece::Bytes(place))
        }
        (Matter::Number, Content::Number(number)) if u32::try_from(number).is_err() => {
            (Cow::Owned(number.to_be_bytes().to_vec()), Piece::Number(place))
        }
        _ => return None,
    };
    Some(Part { bytes, piece })
}

fn find_rule(values: &[Value<'_>], time: i64, id: DocumentId) -> Option<IdRule> {
    let is_time = |time: i64| Moment::from_millis(time).to_u48() == id.moment().to_u48();
    let is_stated = |place: &usize| number_of(values, *place).is_some_and(is_time);
    let stated = (0..values.len()).find(is_stated);
    if stated.is_none() && !is_time(time) {
        return None;
    }
    let bytes = |place: &usize| values[*place].kind.matter() == Some(Matter::Bytes);
    let creators = (0..values.len())
        .filter(bytes)
        .filter(|place| bytes_of(values, *place).is_some_and(|bytes| bytes.len() == 16));
    let pairs = creators.flat_map(|creator| {
        let keys = (0..values.len()).filter(bytes).filter(move |key| *key != creator);
        keys.map(move |key| IdRule { creator, key, time: stated })
    });
    pairs.take(TRIES_MAX).find(|rule| rule.derive(values, time) == Some(id))
}

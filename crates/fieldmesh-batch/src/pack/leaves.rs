//! The leaves of a batch, side by side: what is the same in many stands once, and each field of all
//! of them stands together.
//!
//! ```text
//! the form of each leaf: its number from 1, or 0 for a change that travels as it is
//! each new form, behind its length
//! each change that travels as it is, behind its length
//! the shape of each of the others: its number from 0
//! each new shape
//! the ids of documents that follow from nothing
//! dependencies, actors and times
//! the values, by their place in the change and what they are made of
//! ```

use std::borrow::Cow;

use fieldmesh_model::DocumentId;
use fieldmesh_model::limits::CHANGE_OPERATIONS_MAX;

use super::chunk::{self, Chunk};
use super::column;
use super::numbers::{put_numbers, take_numbers};
use super::reader::{Reader, put_sized};
use super::shape::Shape;
use super::values::{self, Content, Matter, Value};

/// Values from this place on share their columns.
const PLACE_MAX: usize = 63;

/// A document and its change.
pub(super) type PlainLeaf<'a> = (DocumentId, &'a [u8]);

/// The columns of values, by place and matter: for each the leaf and the place of its values.
type Columns = Vec<(Matter, Vec<(usize, usize)>)>;

/// One leaf that is taken apart.
struct Parsed<'a> {
    id: DocumentId,
    chunk: Chunk<'a>,
    values: Vec<Value<'a>>,
}

/// Appends the leaves of a batch.
pub(super) fn put_leaves(bytes: &mut Vec<u8>, leaves: &[PlainLeaf<'_>], length: usize) {
    let parsed = parse_all(leaves, length);
    put_forms(bytes, &parsed);
    for ((_, change), _) in leaves.iter().zip(&parsed).filter(|(_, parsed)| parsed.is_none()) {
        put_sized(bytes, change);
    }
    let (shapes, numbers) = put_shapes(bytes, &parsed);
    let shapes: Vec<&Shape> = numbers.iter().map(|number| &shapes[*number]).collect();
    let mut shape = shapes.iter();
    for ((id, _), parsed) in leaves.iter().zip(&parsed) {
        let derives = parsed.is_some() && shape.next().is_some_and(|shape| shape.derives_id());
        if !derives {
            bytes.extend(id.as_bytes());
        }
    }
    let parsed: Vec<Parsed<'_>> = parsed.into_iter().flatten().collect();
    parsed.iter().for_each(|leaf| bytes.extend_from_slice(leaf.chunk.dependencies));
    let actors: Vec<&[u8]> = parsed.iter().map(|leaf| &leaf.chunk.actors[..]).collect();
    column::put_known(bytes, &actors);
    put_numbers(bytes, &parsed.iter().map(|leaf| leaf.chunk.time).collect::<Vec<_>>());
    for (matter, places) in columns(&shapes) {
        let values: Vec<Content<'_>> =
            places.iter().map(|(leaf, place)| parsed[*leaf].values[*place].content).collect();
        column::put(bytes, matter, &values);
    }
}

/// The leaves that can be made again from their parts, within as many values as there are bytes.
fn parse_all<'a>(leaves: &[PlainLeaf<'a>], length: usize) -> Vec<Option<Parsed<'a>>> {
    let mut left = length;
    let mut parse = |(id, change): &PlainLeaf<'a>| {
        let chunk = Chunk::parse(change)?;
        let values = values::parse(chunk.meta, chunk.raw)?;
        left = left.checked_sub(values.len())?;
        Some(Parsed { id: *id, chunk, values })
    };
    leaves.iter().map(&mut parse).collect()
}

fn put_forms(bytes: &mut Vec<u8>, parsed: &[Option<Parsed<'_>>]) {
    let mut forms: Vec<&[u8]> = Vec::new();
    let mut numbers = Vec::new();
    for leaf in parsed {
        let Some(leaf) = leaf else {
            numbers.push(0);
            continue;
        };
        let known = forms.iter().position(|form| *form == &leaf.chunk.form[..]);
        numbers.push(known.unwrap_or(forms.len()) as i64 + 1);
        if known.is_none() {
            forms.push(&leaf.chunk.form);
        }
    }
    put_numbers(bytes, &numbers);
    forms.iter().for_each(|form| put_sized(bytes, form));
}

/// Appends the shape of each leaf; gives the shapes and which of them each leaf has.
fn put_shapes(bytes: &mut Vec<u8>, parsed: &[Option<Parsed<'_>>]) -> (Vec<Shape>, Vec<usize>) {
    let (mut shapes, mut numbers) = (Vec::<Shape>::new(), Vec::new());
    for leaf in parsed.iter().flatten() {
        let (values, time) = (&leaf.values[..], leaf.chunk.time);
        let known = shapes.iter().position(|shape| shape.fits(values, time, leaf.id));
        numbers.push(known.unwrap_or(shapes.len()));
        if known.is_none() {
            shapes.push(Shape::find(values, time, leaf.id));
        }
    }
    put_numbers(bytes, &numbers.iter().map(|number| *number as i64).collect::<Vec<_>>());
    shapes.iter().for_each(|shape| shape.put(bytes));
    (shapes, numbers)
}

fn columns(shapes: &[&Shape]) -> Columns {
    let all = (0..=PLACE_MAX).flat_map(|_| Matter::IN_COLUMNS);
    let mut columns: Columns = all.map(|matter| (matter, Vec::new())).collect();
    for (leaf, shape) in shapes.iter().enumerate() {
        for (place, kind) in shape.kinds.iter().enumerate() {
            let is_alike = |matter: &Matter| kind.matter() == Some(*matter);
            let Some(matter) = Matter::IN_COLUMNS.iter().position(is_alike) else { continue };
            let number = place.min(PLACE_MAX) * Matter::IN_COLUMNS.len() + matter;
            let (_, column) = &mut columns[number];
            if column.is_empty() {
                column.reserve(shapes.len() - leaf);
            }
            column.push((leaf, place));
        }
    }
    columns.retain(|(_, column)| !column.is_empty());
    columns
}

/// Reads the leaves of a batch with `count` changes of `length` bytes in all.
pub(super) fn take_leaves(
    reader: &mut Reader<'_>,
    count: usize,
    length: usize,
) -> Option<Vec<(DocumentId, Vec<u8>)>> {
    let forms = take_forms(reader, count)?;
    let plain: Vec<Option<&[u8]>> = forms
        .iter()
        .map(|form| if form.is_none() { reader.sized().map(Some) } else { Some(None) })
        .collect::<Option<_>>()?;
    let forms: Vec<&[u8]> = forms.into_iter().flatten().collect();
    let (shapes, numbers) = take_shapes(reader, forms.len())?;
    let shapes: Vec<&Shape> = numbers.iter().map(|number| &shapes[*number]).collect();
    let values: usize = shapes.iter().map(|shape| shape.kinds.len()).sum();
    let is_within = shapes.iter().all(|shape| shape.kinds.len() <= CHANGE_OPERATIONS_MAX);
    if values > length || !is_within || forms.iter().map(|form| form.len()).sum::<usize>() > length
    {
        return None;
    }
    let mut derives = shapes.iter().map(|shape| shape.derives_id());
    let ids: Vec<Option<DocumentId>> = plain
        .iter()
        .map(|plain| {
            let derives = plain.is_none() && derives.next()?;
            if derives { Some(None) } else { Some(Some(DocumentId::from_bytes(reader.array()?))) }
        })
        .collect::<Option<_>>()?;
    let chunks = take_chunks(reader, &forms, &shapes, length)?;
    let mut chunks = chunks.into_iter();
    plain
        .iter()
        .zip(ids)
        .map(|(plain, id)| match plain {
            Some(plain) => Some((id?, plain.to_vec())),
            None => {
                let (derived, change) = chunks.next()?;
                Some((id.or(derived)?, change))
            }
        })
        .collect()
}

fn take_forms<'a>(reader: &mut Reader<'a>, count: usize) -> Option<Vec<Option<&'a [u8]>>> {
    let numbers = take_numbers(reader, count)?;
    let mut forms: Vec<&[u8]> = Vec::new();
    let mut take = |number: i64| {
        let Some(place) = usize::try_from(number).ok()?.checked_sub(1) else { return Some(None) };
        if place == forms.len() {
            forms.push(reader.sized()?);
        }
        forms.get(place).map(|form| Some(*form))
    };
    numbers.into_iter().map(&mut take).collect()
}

fn take_shapes(reader: &mut Reader<'_>, count: usize) -> Option<(Vec<Shape>, Vec<usize>)> {
    let numbers = take_numbers(reader, count)?;
    let mut shapes: Vec<Shape> = Vec::new();
    let mut take = |number: i64| {
        let place = usize::try_from(number).ok()?;
        if place == shapes.len() {
            shapes.push(Shape::take(reader)?);
        }
        (place < shapes.len()).then_some(place)
    };
    let numbers = numbers.into_iter().map(&mut take).collect::<Option<_>>()?;
    Some((shapes, numbers))
}

type Remade = (Option<DocumentId>, Vec<u8>);

fn take_chunks(
    reader: &mut Reader<'_>,
    forms: &[&[u8]],
    shapes: &[&Shape],
    length: usize,
) -> Option<Vec<Remade>> {
    let lengths: Vec<(usize, usize)> =
        forms.iter().map(|form| chunk::lengths(form)).collect::<Option<_>>()?;
    let dependencies: Vec<&[u8]> =
        lengths.iter().map(|(length, _)| reader.take(*length)).collect::<Option<_>>()?;
    let actors: Vec<usize> = lengths.iter().map(|(_, length)| *length).collect();
    let actors = column::take_known(reader, &actors)?;
    let times = take_numbers(reader, forms.len())?;
    let mut all: Vec<Vec<Value<'_>>> = shapes
        .iter()
        .map(|shape| {
            let kinds = shape.kinds.iter();
            kinds.map(|kind| Value { kind: *kind, content: Content::EMPTY }).collect()
        })
        .collect();
    for (matter, places) in columns(shapes) {
        let contents = column::take(reader, matter, places.len())?;
        for ((leaf, place), content) in places.into_iter().zip(contents) {
            all[leaf][place].content = content;
        }
    }
    let mut left = length;
    let mut remade = Vec::with_capacity(forms.len());
    let (mut columns, mut body) = (values::Columns::default(), Vec::new());
    for (index, values) in all.into_iter().enumerate() {
        let (shape, time) = (&shapes[index], times[index]);
        let made = shape.make(&values, left)?;
        let mut values = values;
        for (place, bytes) in &made {
            values[*place].content = Content::Bytes(bytes);
        }
        let content: usize =
            values.iter().filter_map(|value| value.content.bytes()).map(<[u8]>::len).sum();
        if content > left {
            return None;
        }
        columns.make(&values)?;
        let chunk = Chunk {
            form: Cow::Borrowed(forms[index]),
            dependencies: dependencies[index],
            actors: Cow::Borrowed(actors[index]),
            time,
            meta: &columns.meta,
            raw: &columns.raw,
        };
        let change = chunk::make(&chunk, &mut body)?;
        left = left.checked_sub(change.len())?;
        remade.push((shape.derive(&values, time), change));
    }
    Some(remade)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::Batch;
    use crate::pack::values::Kind;

    const TYPE_TEXT: u8 = 6;

    /// A change with these texts as its values.
    fn change_of(texts: &[impl AsRef<[u8]>]) -> Vec<u8> {
        let morning = Batch::decode(include_bytes!("../../tests/morning.batch")).unwrap();
        let chunk = Chunk::parse(&morning.leaves()[0].change).unwrap();
        let value = |text| Value {
            kind: Kind::new(Matter::Bytes, TYPE_TEXT),
            content: Content::Bytes(text),
        };
        let mut columns = values::Columns::default();
        columns.make(&texts.iter().map(|text| value(text.as_ref())).collect::<Vec<_>>()).unwrap();
        let chunk = Chunk { meta: &columns.meta, raw: &columns.raw, ..chunk };
        chunk::make(&chunk, &mut Vec::new()).unwrap()
    }

    fn assert_comes_back(changes: &[Vec<u8>]) {
        let id = DocumentId::from_bytes([3; 16]);
        let leaves: Vec<PlainLeaf<'_>> = changes.iter().map(|change| (id, &change[..])).collect();
        let length = changes.iter().map(Vec::len).sum();
        let mut packed = Vec::new();
        put_leaves(&mut packed, &leaves, length);
        let taken = take_leaves(&mut Reader::new(&packed), leaves.len(), length).unwrap();
        assert!(taken.iter().map(|(id, change)| (*id, &change[..])).eq(leaves));
    }

    #[test]
    fn a_text_within_a_text_within_a_text_comes_back() {
        let texts = ["seen by Rosenthal", "by Rosenthal", "Rosenthal"];
        assert_comes_back(&[change_of(&texts)]);
        assert_comes_back(&[change_of(&["Rotliegend", "Rotliegend 12", "at Rotliegend 12"])]);
        assert_comes_back(&[change_of(&["at Rotliegend 12", "Rotliegend 12", "Rotliegend"])]);
        assert_comes_back(&[change_of(&["Rotliegend", "Rotliegend"])]);
    }

    #[test]
    fn thousands_of_values_that_are_as_long_as_each_other_are_not_compared() {
        let texts: Vec<[u8; 24]> = (0..16_000_u32)
            .map(|number| std::array::from_fn(|at| number.to_be_bytes()[at % 4]))
            .collect();
        assert_comes_back(&[change_of(&texts)]);
    }

    proptest! {
        #[test]
        fn texts_made_of_each_other_come_back(
            changes in vec(vec(vec(0..3_usize, 1..4), 1..8), 1..6),
        ) {
            let words = ["Rotliegend", "Rosenthal ", "12 gauge "];
            let text = |parts: &Vec<usize>| parts.iter().map(|part| words[*part]).collect();
            let changes: Vec<Vec<u8>> = changes
                .iter()
                .map(|texts| change_of(&texts.iter().map(text).collect::<Vec<String>>()))
                .collect();
            assert_comes_back(&changes);
        }
    }
}

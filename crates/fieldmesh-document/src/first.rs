//! A document of one change, read without Automerge.
//!
//! Most records are written once and only read from then on. What their one change says can be
//! taken from it directly, in a quarter of the time that loading a document takes. Tests hold it
//! to what Automerge reads.

use std::collections::BTreeMap;

use automerge::legacy::{ElementId, Key, ObjectId, OpId, OpType};
use automerge::{Change, ExpandedChange, ObjType, ScalarValue};
use fieldmesh_model::{DocumentId, Moment, Value};

use crate::chunk::peek;
use crate::gate::form::Operations;
use crate::guard::guard;
use crate::view::{RecordView, set, set_system};
use crate::{keys, scalar};

/// The only change of a document, in the form that the gate demands.
#[derive(Debug, Clone)]
pub(crate) struct First {
    bytes: Vec<u8>,
    hash: [u8; 32],
    change: ExpandedChange,
}

/// A text or a list in the making.
struct Sequence<'a> {
    counter: u64,
    kind: ObjType,
    last: Option<u64>,
    items: Vec<&'a ScalarValue>,
}

enum Entry<'a> {
    Scalar(&'a ScalarValue),
    Sequence(usize),
}

impl First {
    /// A change whose form was checked.
    pub(crate) fn new(bytes: Vec<u8>, hash: [u8; 32], change: ExpandedChange) -> Self {
        Self { bytes, hash, change }
    }

    /// Reads a change; `None` if it is no first change or not of the form that the gate demands.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let peeked = peek(bytes).ok()?;
        if !peeked.deps.is_empty() || peeked.seq != 1 || peeked.start_op != 1 {
            return None;
        }
        let change = Self::decode(bytes)?;
        Operations::default().add(&change).ok()?;
        Some(Self { bytes: bytes.to_vec(), hash: peeked.hash, change })
    }

    /// The operations of a change that [`peek`] let pass.
    pub(crate) fn decode(bytes: &[u8]) -> Option<ExpandedChange> {
        guard(|| Change::try_from(bytes).ok().map(|change| change.decode())).ok()?
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The record; `None` where reading it takes Automerge.
    pub(crate) fn view(&self, id: DocumentId) -> Option<RecordView> {
        let (entries, sequences) = self.entries()?;
        let mut view = RecordView::empty(id, Moment::from_millis(self.change.time));
        for (key, entry) in entries {
            match entry {
                // Nobody deletes what he creates.
                _ if keys::is_system(key) && !keys::is_fixed(key) => return None,
                Entry::Scalar(value) if keys::is_system(key) => set_system(&mut view, key, value),
                Entry::Sequence(_) if keys::is_system(key) => {}
                Entry::Scalar(value) => set(&mut view.fields, key, scalar::from_scalar(value)),
                Entry::Sequence(index) => {
                    let value = sequences.get(index).map_or(Value::Null, Sequence::value);
                    set(&mut view.fields, key, value);
                }
            }
        }
        Some(view)
    }

    // `None` if a sequence was not written from its first item to its last.
    fn entries(&self) -> Option<(BTreeMap<&str, Entry<'_>>, Vec<Sequence<'_>>)> {
        let mut entries = Vec::new();
        let mut sequences: Vec<Sequence<'_>> = Vec::new();
        let counters = self.change.start_op.get()..;
        for (operation, counter) in self.change.operations.iter().zip(counters) {
            match (&operation.obj, &operation.key, &operation.action) {
                (ObjectId::Root, Key::Map(key), OpType::Put(value)) => {
                    entries.push((key.as_str(), Entry::Scalar(value)));
                }
                (ObjectId::Root, Key::Map(key), OpType::Make(kind)) => {
                    entries.push((key.as_str(), Entry::Sequence(sequences.len())));
                    let items = Vec::new();
                    sequences.push(Sequence { counter, kind: *kind, last: None, items });
                }
                (ObjectId::Id(OpId(object, _)), Key::Seq(place), OpType::Put(value)) => {
                    let sequence =
                        sequences.iter_mut().rev().find(|known| known.counter == *object)?;
                    let follows = match place {
                        ElementId::Head => None,
                        ElementId::Id(OpId(element, _)) => Some(*element),
                    };
                    if !operation.insert || follows != sequence.last {
                        return None;
                    }
                    sequence.last = Some(counter);
                    sequence.items.push(value);
                }
                _ => return None,
            }
        }
        // Of several with one key the last counts.
        Some((entries.into_iter().collect(), sequences))
    }
}

impl<'a> Sequence<'a> {
    // An empty text or list is a cleared one.
    fn value(&self) -> Value {
        if self.items.is_empty() {
            return Value::Null;
        }
        match self.kind {
            ObjType::Text => {
                let character = |item: &&'a ScalarValue| match item {
                    ScalarValue::Str(text) => Some(text.as_str()),
                    _ => None,
                };
                let text: String = self.items.iter().filter_map(character).collect();
                if text.is_empty() { Value::Null } else { Value::Text(text) }
            }
            ObjType::List => {
                Value::List(self.items.iter().copied().map(scalar::from_scalar).collect())
            }
            ObjType::Map | ObjType::Table => Value::Null,
        }
    }
}

//! Reads the operations of a change without Automerge, which walks them twice for it.
//!
//! What is read here is no verdict: the gate has it written again and compares the bytes, so that it
//! holds exactly what they say. Whatever is not of the kinds that the gate lets pass is
//! left to Automerge altogether.

use std::num::NonZeroU64;

use automerge::legacy::{ElementId, Key, ObjectId, Op, OpId, OpType, SortedVec};
use automerge::{ActorId, ChangeHash, ExpandedChange, ObjType, ScalarValue};

use super::columns::{Booleans, Differences, Runs};
use super::reader::Reader;
use super::{
    ACTION_COLUMN, ACTOR_SIZE_MAX, COLUMNS_MAX, MESSAGE_SIZE_MAX, OTHER_ACTORS_MAX, Peeked,
};

pub(super) const OBJECT_ACTOR: u32 = 1;
pub(super) const OBJECT_COUNTER: u32 = 2;
pub(super) const KEY_ACTOR: u32 = (1 << 4) | 1;
pub(super) const KEY_COUNTER: u32 = (1 << 4) | 3;
pub(super) const KEY_TEXT: u32 = (1 << 4) | 5;
pub(super) const INSERT: u32 = (3 << 4) | 4;
pub(super) const VALUE_META: u32 = (5 << 4) | 6;
pub(super) const VALUE_BYTES: u32 = (5 << 4) | 7;
pub(super) const PREDECESSOR_COUNT: u32 = 7 << 4;
pub(super) const PREDECESSOR_ACTOR: u32 = (7 << 4) | 1;
pub(super) const PREDECESSOR_COUNTER: u32 = (7 << 4) | 3;

/// The operations of a change that [`super::peek`] let pass, with everything else that it says;
/// `None` if Automerge has to read it.
pub(crate) fn read(bytes: &[u8], peeked: &Peeked) -> Option<ExpandedChange> {
    let mut body = Reader::new(bytes);
    // Magic, checksum, kind and length.
    body.take(9).ok()?;
    body.size().ok()?;
    for _ in 0..body.size().ok()? {
        body.array::<32>().ok()?;
    }
    body.sized(ACTOR_SIZE_MAX).ok()?;
    body.number().ok()?;
    body.number().ok()?;
    body.signed().ok()?;
    if !body.sized(MESSAGE_SIZE_MAX).ok()?.is_empty() {
        return None;
    }
    let mut actors = vec![ActorId::from(peeked.actor.as_slice())];
    let others = body.size().ok().filter(|others| *others <= OTHER_ACTORS_MAX)?;
    for _ in 0..others {
        actors.push(ActorId::from(body.sized(ACTOR_SIZE_MAX).ok()?));
    }
    let mut columns = Columns::read(&mut body)?;
    let mut operations = Vec::with_capacity(peeked.operations);
    for _ in 0..peeked.operations {
        operations.push(columns.operation(&actors)?);
    }
    Some(ExpandedChange {
        operations,
        actor_id: actors.swap_remove(0),
        hash: None,
        seq: peeked.seq,
        start_op: NonZeroU64::new(peeked.start_op)?,
        time: peeked.at.as_millis(),
        message: None,
        deps: peeked.deps.iter().copied().map(ChangeHash).collect(),
        extra_bytes: Vec::new(),
        author: None,
    })
}

/// The columns of a change, each at its next operation.
struct Columns<'a> {
    object_actor: Runs<'a, u64>,
    object_counter: Runs<'a, u64>,
    key_actor: Runs<'a, u64>,
    key_counter: Differences<'a>,
    key_text: Runs<'a, Key>,
    insert: Booleans<'a>,
    action: Runs<'a, u64>,
    value_meta: Runs<'a, u64>,
    value_bytes: Reader<'a>,
    predecessor_count: Runs<'a, u64>,
    predecessor_actor: Runs<'a, u64>,
    predecessor_counter: Differences<'a>,
}

impl<'a> Columns<'a> {
    fn read(body: &mut Reader<'a>) -> Option<Self> {
        let count = body.size().ok().filter(|count| *count <= COLUMNS_MAX)?;
        let mut heads = Vec::with_capacity(count);
        for _ in 0..count {
            heads.push((u32::try_from(body.number().ok()?).ok()?, body.size().ok()?));
        }
        let mut columns = Self {
            object_actor: Runs::new(&[]),
            object_counter: Runs::new(&[]),
            key_actor: Runs::new(&[]),
            key_counter: Differences::new(&[]),
            key_text: Runs::new(&[]),
            insert: Booleans::new(&[]),
            action: Runs::new(&[]),
            value_meta: Runs::new(&[]),
            value_bytes: Reader::new(&[]),
            predecessor_count: Runs::new(&[]),
            predecessor_actor: Runs::new(&[]),
            predecessor_counter: Differences::new(&[]),
        };
        for (specification, length) in heads {
            let bytes = body.take(length).ok()?;
            match specification {
                OBJECT_ACTOR => columns.object_actor = Runs::new(bytes),
                OBJECT_COUNTER => columns.object_counter = Runs::new(bytes),
                KEY_ACTOR => columns.key_actor = Runs::new(bytes),
                KEY_COUNTER => columns.key_counter = Differences::new(bytes),
                KEY_TEXT => columns.key_text = Runs::new(bytes),
                INSERT => columns.insert = Booleans::new(bytes),
                ACTION_COLUMN => columns.action = Runs::new(bytes),
                VALUE_META => columns.value_meta = Runs::new(bytes),
                VALUE_BYTES => columns.value_bytes = Reader::new(bytes),
                PREDECESSOR_COUNT => columns.predecessor_count = Runs::new(bytes),
                PREDECESSOR_ACTOR => columns.predecessor_actor = Runs::new(bytes),
                PREDECESSOR_COUNTER => columns.predecessor_counter = Differences::new(bytes),
                // Marks, and what is not known here.
                _ => return None,
            }
        }
        Some(columns)
    }

    fn operation(&mut self, actors: &[ActorId]) -> Option<Op> {
        let object = (self.object_actor.next_number()?, self.object_counter.next_number()?);
        let obj = match object {
            (None, None) => ObjectId::Root,
            (Some(actor), Some(counter)) => ObjectId::Id(id(counter, actor, actors)?),
            _ => return None,
        };
        let key = self.key(actors)?;
        let insert = self.insert.next()?;
        let action = self.action.next_number()??;
        let value = self.value()?;
        let action = match (action, value) {
            (1, value) => OpType::Put(value),
            (2, ScalarValue::Null) => OpType::Make(ObjType::List),
            (3, ScalarValue::Null) => OpType::Delete,
            (4, ScalarValue::Null) => OpType::Make(ObjType::Text),
            _ => return None,
        };
        let pred = match self.predecessor_count.next_number()?? {
            0 => SortedVec::new(),
            count => self.predecessors(count, actors)?,
        };
        Some(Op { action, obj, key, pred, insert })
    }

    fn predecessors(&mut self, count: u64, actors: &[ActorId]) -> Option<SortedVec<OpId>> {
        let mut predecessors = Vec::new();
        for _ in 0..count {
            let actor = self.predecessor_actor.next_number()??;
            predecessors.push(id(self.predecessor_counter.next()??, actor, actors)?);
        }
        Some(predecessors.into())
    }

    fn key(&mut self, actors: &[ActorId]) -> Option<Key> {
        let actor = self.key_actor.next_number()?;
        let counter = self.key_counter.next()?;
        let text = self.key_text.next(|rest| {
            let length = rest.size().ok()?;
            Some(Key::Map(std::str::from_utf8(rest.take(length).ok()?).ok()?.into()))
        })?;
        match (actor, counter, text) {
            (None, None, Some(key)) => Some(key),
            (None, Some(0), None) => Some(Key::Seq(ElementId::Head)),
            (Some(actor), Some(counter), None) => {
                Some(Key::Seq(ElementId::Id(id(counter, actor, actors)?)))
            }
            _ => None,
        }
    }

    fn value(&mut self) -> Option<ScalarValue> {
        let meta = self.value_meta.next_number()??;
        let bytes = self.value_bytes.take(usize::try_from(meta >> 4).ok()?).ok()?;
        let mut number = Reader::new(bytes);
        let value = match meta & 0xf {
            0 => ScalarValue::Null,
            1 => ScalarValue::Boolean(false),
            2 => ScalarValue::Boolean(true),
            3 => ScalarValue::Uint(number.number().ok()?),
            4 => ScalarValue::Int(number.signed().ok()?),
            5 => ScalarValue::F64(f64::from_le_bytes(bytes.try_into().ok()?)),
            6 => ScalarValue::Str(std::str::from_utf8(bytes).ok()?.into()),
            7 => ScalarValue::Bytes(bytes.to_vec()),
            9 => ScalarValue::Timestamp(number.signed().ok()?),
            // Counters, and what nobody knows.
            _ => return None,
        };
        Some(value)
    }
}

/// The operation that a change calls by the index of its actor.
fn id(counter: u64, actor: u64, actors: &[ActorId]) -> Option<OpId> {
    Some(OpId(counter, actors.get(usize::try_from(actor).ok()?)?.clone()))
}

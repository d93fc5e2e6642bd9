//! Writes a change chunk without Automerge, which walks the operations once for each column.
//!
//! What is written here is byte by byte what Automerge writes; tests and every debug build hold it
//! to that. A change of any other kind than this device makes by itself is left to Automerge: one
//! that names other actors, and whatever the gate does not let pass.

use automerge::legacy::{ElementId, Key, ObjectId, Op, OpId, OpType};
use automerge::{ActorId, Change, ExpandedChange, ObjType, ScalarValue};
use sha2::{Digest, Sha256};

use super::operations::{
    INSERT, KEY_ACTOR, KEY_COUNTER, KEY_TEXT, OBJECT_ACTOR, OBJECT_COUNTER, PREDECESSOR_ACTOR,
    PREDECESSOR_COUNT, PREDECESSOR_COUNTER, VALUE_BYTES, VALUE_META,
};
use super::{ACTION_COLUMN, KIND_CHANGE, MAGIC};

/// Beyond so many operations Automerge goes another way about it.
const OPERATIONS_MAX: usize = 10_000;

/// The bytes and the hash of a change.
pub(crate) fn write(change: &ExpandedChange) -> (Vec<u8>, [u8; 32]) {
    let Some(body) = Body::of(change) else { return by_automerge(change) };
    let hash = body.hash();
    let written = (body.with_hash(&hash), hash);
    debug_assert_eq!(written, by_automerge(change), "invariant: both write the same");
    written
}

fn by_automerge(change: &ExpandedChange) -> (Vec<u8>, [u8; 32]) {
    let change = Change::from(change.clone());
    (change.raw_bytes().to_vec(), change.hash().0)
}

/// A change as its bytes, but for the head, which says how many they are and what they hash to.
pub(crate) struct Body(Vec<u8>);

impl Body {
    /// `None` if Automerge has to write it.
    pub(crate) fn of(change: &ExpandedChange) -> Option<Self> {
        let is_plain = change.message.is_none()
            && change.author.is_none()
            && change.extra_bytes.is_empty()
            && change.operations.len() <= OPERATIONS_MAX
            && change.deps.is_sorted_by(|one, next| one < next);
        if !is_plain {
            return None;
        }
        let columns = Columns::of(&change.operations, &change.actor_id)?.into_bytes();
        let mut body = Vec::with_capacity(128 + columns.iter().map(|it| it.1.len()).sum::<usize>());
        number(&mut body, change.deps.len() as u64);
        for dependency in &change.deps {
            body.extend_from_slice(&dependency.0);
        }
        sized(&mut body, change.actor_id.to_bytes());
        number(&mut body, change.seq);
        number(&mut body, change.start_op.get());
        signed(&mut body, change.time);
        // Neither a message nor other actors.
        body.extend_from_slice(&[0, 0]);
        let present = || columns.iter().filter(|(_, bytes)| !bytes.is_empty());
        number(&mut body, present().count() as u64);
        for (specification, bytes) in present() {
            number(&mut body, (*specification).into());
            number(&mut body, bytes.len() as u64);
        }
        for (_, bytes) in present() {
            body.extend_from_slice(bytes);
        }
        Some(Self(body))
    }

    /// The bytes of the change that has this hash.
    pub(crate) fn with_hash(&self, hash: &[u8; 32]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() + 16);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&hash[..4]);
        bytes.push(KIND_CHANGE);
        sized(&mut bytes, &self.0);
        bytes
    }

    /// The hash of the change.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut head = vec![KIND_CHANGE];
        number(&mut head, self.0.len() as u64);
        Sha256::new().chain_update(head).chain_update(&self.0).finalize().into()
    }
}

/// The columns of a change, value by value.
struct Columns<'a> {
    object: Vec<Option<u64>>,
    element: Vec<Option<u64>>,
    text: Vec<Option<&'a str>>,
    insert: Vec<bool>,
    action: Vec<Option<u64>>,
    meta: Vec<Option<u64>>,
    values: Vec<u8>,
    predecessor_count: Vec<Option<u64>>,
    predecessor: Vec<Option<u64>>,
}

impl<'a> Columns<'a> {
    fn of(operations: &'a [Op], actor: &ActorId) -> Option<Self> {
        let room = operations.len();
        let mut columns = Self {
            object: Vec::with_capacity(room),
            element: Vec::with_capacity(room),
            text: Vec::with_capacity(room),
            insert: Vec::with_capacity(room),
            action: Vec::with_capacity(room),
            meta: Vec::with_capacity(room),
            values: Vec::with_capacity(8 * room),
            predecessor_count: Vec::with_capacity(room),
            predecessor: Vec::new(),
        };
        let is_usual = |counter: &u64| *counter > 0 && u32::try_from(*counter).is_ok();
        let own = |OpId(counter, author): &OpId| {
            Some(*counter).filter(|counter| author == actor && is_usual(counter))
        };
        for operation in operations {
            columns.object.push(match &operation.obj {
                ObjectId::Root => None,
                ObjectId::Id(id) => Some(own(id)?),
            });
            let (text, element) = match &operation.key {
                Key::Map(key) => (Some(key.as_str()), None),
                Key::Seq(ElementId::Head) => (None, Some(0)),
                Key::Seq(ElementId::Id(id)) => (None, Some(own(id)?)),
            };
            columns.text.push(text);
            columns.element.push(element);
            columns.insert.push(operation.insert);
            columns.push_action(&operation.action)?;
            columns.predecessor_count.push(Some(operation.pred.len() as u64));
            let mut last = None;
            for predecessor in operation.pred.iter() {
                let counter = own(predecessor)?;
                if Some(counter) <= last {
                    return None;
                }
                last = Some(counter);
                columns.predecessor.push(last);
            }
        }
        Some(columns)
    }

    fn push_action(&mut self, action: &OpType) -> Option<()> {
        let (number, meta) = match action {
            OpType::Put(value) => (1, self.push_value(value)?),
            OpType::Make(ObjType::List) => (2, 0),
            OpType::Delete => (3, 0),
            OpType::Make(ObjType::Text) => (4, 0),
            _ => return None,
        };
        self.action.push(Some(number));
        self.meta.push(Some(meta));
        Some(())
    }

    /// Adds the bytes of a value; gives its length and kind.
    fn push_value(&mut self, value: &ScalarValue) -> Option<u64> {
        let start = self.values.len();
        let kind = match value {
            ScalarValue::Null => 0,
            ScalarValue::Boolean(false) => 1,
            ScalarValue::Boolean(true) => 2,
            ScalarValue::Uint(value) => {
                number(&mut self.values, *value);
                3
            }
            ScalarValue::Int(value) => {
                signed(&mut self.values, *value);
                4
            }
            ScalarValue::F64(value) => {
                self.values.extend_from_slice(&value.to_le_bytes());
                5
            }
            ScalarValue::Str(value) => {
                self.values.extend_from_slice(value.as_bytes());
                6
            }
            ScalarValue::Bytes(value) => {
                self.values.extend_from_slice(value);
                7
            }
            ScalarValue::Timestamp(value) => {
                signed(&mut self.values, *value);
                9
            }
            ScalarValue::Counter(_) | ScalarValue::Unknown { .. } => return None,
        };
        Some(((self.values.len() - start) as u64) << 4 | kind)
    }

    /// Each column with its specification, in their order.
    fn into_bytes(self) -> [(u32, Vec<u8>); 12] {
        // The only actor is the first one; neither the head of a sequence nor a field has one.
        let actor = |counter: &Option<u64>| counter.filter(|counter| *counter > 0).map(|_| 0);
        let actors = |counters: &[Option<u64>]| counters.iter().map(actor).collect::<Vec<_>>();
        [
            (OBJECT_ACTOR, runs(&actors(&self.object), number_of)),
            (OBJECT_COUNTER, runs(&self.object, number_of)),
            (KEY_ACTOR, runs(&actors(&self.element), number_of)),
            (KEY_COUNTER, differences(&self.element)),
            (KEY_TEXT, runs(&self.text, |out, text| sized(out, text.as_bytes()))),
            (INSERT, booleans(&self.insert)),
            (ACTION_COLUMN, runs(&self.action, number_of)),
            (VALUE_META, runs(&self.meta, number_of)),
            (VALUE_BYTES, self.values),
            (PREDECESSOR_COUNT, runs(&self.predecessor_count, number_of)),
            (PREDECESSOR_ACTOR, runs(&actors(&self.predecessor), number_of)),
            (PREDECESSOR_COUNTER, differences(&self.predecessor)),
        ]
    }
}

/// A run-length-encoded column: equal values once, others one by one, and nothing for nulls alone.
fn runs<T: PartialEq>(values: &[Option<T>], write: impl Fn(&mut Vec<u8>, &T)) -> Vec<u8> {
    let mut out = Vec::new();
    if values.iter().all(Option::is_none) {
        return out;
    }
    let mut rest = values;
    while let Some(first) = rest.first() {
        let equal = rest.iter().take_while(|value| *value == first).count();
        let length = match first {
            None => {
                signed(&mut out, 0);
                number(&mut out, equal as u64);
                equal
            }
            Some(value) if equal > 1 => {
                signed(&mut out, (equal as u64).cast_signed());
                write(&mut out, value);
                equal
            }
            Some(_) => {
                let is_single =
                    |at: &usize| rest[*at].is_some() && rest.get(at + 1) != rest.get(*at);
                let length = (0..rest.len()).take_while(is_single).count();
                signed(&mut out, -(length as u64).cast_signed());
                rest[..length].iter().flatten().for_each(|value| write(&mut out, value));
                length
            }
        };
        rest = &rest[length..];
    }
    out
}

fn differences(values: &[Option<u64>]) -> Vec<u8> {
    let mut last = 0;
    let mut difference = |value: u64| {
        let before = std::mem::replace(&mut last, value.cast_signed());
        last - before
    };
    let differences: Vec<_> = values.iter().map(|value| value.map(&mut difference)).collect();
    runs(&differences, |out, value| signed(out, *value))
}

/// The lengths of runs that alternate, from false on.
fn booleans(values: &[bool]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut run, mut length) = (false, 0);
    for value in values {
        if *value != run {
            number(&mut out, std::mem::take(&mut length));
            run = *value;
        }
        length += 1;
    }
    if length > 0 {
        number(&mut out, length);
    }
    out
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn number_of(out: &mut Vec<u8>, value: &u64) {
    number(out, *value);
}

/// An unsigned LEB128 number.
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A signed LEB128 number.
fn signed(out: &mut Vec<u8>, mut value: i64) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        let is_last = value == if byte & 0x40 == 0 { 0 } else { -1 };
        out.push(if is_last { byte } else { byte | 0x80 });
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use automerge::ChangeHash;

    use super::*;

    /// Numbers from a seed.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed ^ (mixed >> 27)) % bound
        }

        /// A number of any length in bits.
        fn number(&mut self) -> u64 {
            let bits = self.below(64);
            self.below(u64::MAX) >> bits
        }

        fn value(&mut self) -> ScalarValue {
            let text = "x".repeat(usize::try_from(self.below(200)).unwrap());
            match self.below(9) {
                0 => ScalarValue::Null,
                1 => ScalarValue::Boolean(self.below(2) == 0),
                2 => ScalarValue::Uint(self.number()),
                3 => ScalarValue::Int(self.number().cast_signed()),
                4 => ScalarValue::Int(!self.number().cast_signed()),
                5 => ScalarValue::F64(f64::from_bits(self.number())),
                6 => ScalarValue::Str(text.as_str().into()),
                7 => ScalarValue::Bytes(text.into_bytes()),
                _ => ScalarValue::Timestamp(self.number().cast_signed()),
            }
        }

        fn id(&mut self, actor: &ActorId) -> OpId {
            OpId(1 + self.below(6), actor.clone())
        }

        fn operation(&mut self, actor: &ActorId) -> Op {
            let action = match self.below(6) {
                0 => OpType::Make(ObjType::List),
                1 => OpType::Make(ObjType::Text),
                2 => OpType::Delete,
                _ => OpType::Put(self.value()),
            };
            let (obj, key) = match self.below(5) {
                0 | 1 => (ObjectId::Root, Key::Map(format!("key{}", self.below(3)).into())),
                2 => (ObjectId::Id(self.id(actor)), Key::head()),
                _ => (ObjectId::Id(self.id(actor)), Key::from(self.id(actor))),
            };
            let count = self.below(3);
            let pred = (0..count).map(|_| self.id(actor)).collect();
            Op { action, obj, key, pred, insert: self.below(2) == 0 }
        }
    }

    #[test]
    fn a_change_is_written_byte_by_byte_as_automerge_writes_it() {
        let mut dice = Dice(1);
        let mut written = 0;
        for _ in 0..3_000 {
            let actor_id = ActorId::from([7; 16]);
            let count = 1 + dice.below(40);
            let operations = (0..count).map(|_| dice.operation(&actor_id)).collect();
            let deps = dice.below(3) as u8;
            let change = ExpandedChange {
                operations,
                actor_id,
                hash: None,
                seq: 1 + dice.below(300),
                start_op: NonZeroU64::new(1 + dice.below(300)).unwrap(),
                time: dice.number().cast_signed(),
                message: None,
                deps: (0..deps).map(|number| ChangeHash([number; 32])).collect(),
                extra_bytes: Vec::new(),
                author: None,
            };
            let Some(body) = Body::of(&change) else { continue };
            let (bytes, hash) = by_automerge(&change);
            assert_eq!((body.with_hash(&hash), body.hash()), (bytes, hash), "{change:?}");
            written += 1;
        }
        assert!(written > 1_000, "{written} were written here");
    }

    #[test]
    fn what_this_device_does_not_write_by_itself_is_left_to_automerge() {
        let mut dice = Dice(2);
        let (own, other) = (ActorId::from([7; 16]), ActorId::from([8; 16]));
        let plain = |operations| ExpandedChange {
            operations,
            actor_id: own.clone(),
            hash: None,
            seq: 1,
            start_op: NonZeroU64::MIN,
            time: 0,
            message: None,
            deps: Vec::new(),
            extra_bytes: Vec::new(),
            author: None,
        };
        let put = Op {
            action: OpType::Put(ScalarValue::Null),
            obj: ObjectId::Root,
            key: Key::Map("key".into()),
            pred: Vec::new().into(),
            insert: false,
        };
        assert!(Body::of(&plain(vec![put.clone()])).is_some());
        let foreign = Op { obj: ObjectId::Id(dice.id(&other)), ..put.clone() };
        let nowhere = Op { obj: ObjectId::Id(OpId(0, own.clone())), ..put.clone() };
        let twice = Op { pred: vec![OpId(1, own.clone()); 2].into(), ..put.clone() };
        let counted = Op { action: OpType::Increment(1), ..put.clone() };
        for operation in [foreign, nowhere, twice, counted] {
            assert!(Body::of(&plain(vec![operation.clone()])).is_none(), "{operation:?}");
        }
        let said = ExpandedChange { message: Some("said".into()), ..plain(vec![put.clone()]) };
        assert!(Body::of(&said).is_none());
        let unsorted = vec![ChangeHash([1; 32]), ChangeHash([0; 32])];
        assert!(Body::of(&ExpandedChange { deps: unsorted, ..plain(vec![put]) }).is_none());
    }
}

//! Writes the root change of a document.
//!
//! The change is written without a document, which takes a few microseconds instead of 70; a test
//! holds it to what an ordinary transaction writes.

use std::num::NonZeroU64;

use automerge::legacy::{Key, ObjectId, Op, OpId, OpType, SortedVec};
use automerge::{ActorId, ExpandedChange, ObjType, ScalarValue};
use fieldmesh_model::limits::{CHANGE_OPERATIONS_MAX, CHANGE_SIZE_MAX};
use fieldmesh_model::schema::{Collection, MergePolicy};
use fieldmesh_model::{DeviceId, DocumentId, Fields, Moment, Scope, UserId, Value, natural_key};

use crate::chunk::write::write;
use crate::first::First;
use crate::part::{item_key, share_key};
use crate::{keys, scalar};

/// A record to be created.
#[derive(Debug, Clone, Copy)]
pub struct CreateRecord<'a> {
    /// Its id, from [`identify`].
    pub id: DocumentId,
    /// What its id commits to, from [`identify`].
    pub key: &'a [u8],
    /// Its collection.
    pub collection: &'a Collection,
    /// Its scope, for life.
    pub scope: Scope,
    /// Who creates it.
    pub user: UserId,
    /// The device on which it is created.
    pub device: DeviceId,
    /// The actor of the device, from [`crate::actor`].
    pub actor: [u8; 16],
    /// The change time.
    pub at: Moment,
    /// When the record came to be, if that was not at `at`.
    pub created_at: Option<Moment>,
    /// The zone of recording.
    pub zone: Option<&'a str>,
    /// The record that it replaces.
    pub replaces: Option<DocumentId>,
    /// What the client of a gateway calls it: a whole number or a text.
    pub name: Option<&'a Value>,
    /// The user in whose name a gateway creates it.
    pub made_for: Option<&'a str>,
    /// Its fields in normal form.
    pub fields: &'a Fields,
}

/// A record that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A field's key begins with `_`.
    #[error("field {key:?} is reserved")]
    ReservedKey {
        /// The key.
        key: String,
    },
    /// The change would be refused everywhere.
    #[error("change has {operations} operations and {size} bytes, more than any replica takes")]
    TooLarge {
        /// Its operations.
        operations: usize,
        /// Its bytes.
        size: usize,
    },
}

/// The id of a new record and what it commits to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The id.
    pub id: DocumentId,
    /// The natural key with its extension, or the nonce.
    pub key: Vec<u8>,
}

/// The identity of the record that `user` creates at `at` with `fields`.
///
/// A record with a natural key gets the same identity each time: the same record recorded again is
/// the same document. Others take `nonce`, which has to be random.
pub fn identify(
    collection: &Collection,
    user: UserId,
    at: Moment,
    fields: &Fields,
    extension: &[u8],
    nonce: [u8; 16],
) -> Identity {
    let time = collection.time_field.as_ref().and_then(|field| fields.get(field));
    let time = time.and_then(Value::as_moment);
    let (at, key) = match natural_key(collection, fields, extension) {
        // The id carries the month in which the record is looked for.
        None => (time.unwrap_or(at), nonce.to_vec()),
        Some(key) => (time.unwrap_or(Moment::ZERO), key),
    };
    Identity { id: DocumentId::derive(user, at, &key), key }
}

/// The bytes and the hash of a root change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootChange {
    /// The raw bytes of the change.
    pub bytes: Vec<u8>,
    /// Its hash.
    pub hash: [u8; 32],
}

/// Encodes the root change of a record.
///
/// # Errors
///
/// The fields hold a reserved key, or more than one change can carry.
pub fn root_change(record: &CreateRecord<'_>) -> Result<RootChange, CreateError> {
    let (bytes, hash) = encode(&draft(record)?)?;
    Ok(RootChange { bytes, hash })
}

/// The root change of a record with what it says, which nobody has to read from it again.
pub(crate) fn first(record: &CreateRecord<'_>) -> Result<First, CreateError> {
    let drafted = draft(record)?;
    let (bytes, hash) = encode(&drafted)?;
    Ok(First::new(bytes, hash, drafted))
}

fn encode(drafted: &ExpandedChange) -> Result<(Vec<u8>, [u8; 32]), CreateError> {
    let operations = drafted.operations.len();
    let (bytes, hash) = write(drafted);
    let size = bytes.len();
    if operations > CHANGE_OPERATIONS_MAX || size > CHANGE_SIZE_MAX {
        return Err(CreateError::TooLarge { operations, size });
    }
    Ok((bytes, hash))
}

fn draft(record: &CreateRecord<'_>) -> Result<ExpandedChange, CreateError> {
    let mut draft = Draft::new(record.actor);
    for (key, value) in system_values(record) {
        draft.put(key, value);
    }
    for (key, value) in record.fields {
        if keys::is_system(key) {
            return Err(CreateError::ReservedKey { key: key.clone() });
        }
        match value {
            Value::Text(text) if record.collection.policy(key) == MergePolicy::Text => {
                let characters = text
                    .chars()
                    .map(|character| ScalarValue::Str(character.encode_utf8(&mut [0; 4]).into()));
                draft.put_sequence(key, ObjType::Text, characters);
            }
            Value::List(items) if record.collection.policy(key) == MergePolicy::Union => {
                for item in items {
                    draft.put(&item_key(key, item), scalar::to_scalar(item));
                }
            }
            Value::List(items) => {
                draft.put_sequence(key, ObjType::List, items.iter().map(scalar::to_scalar));
            }
            value if record.collection.policy(key) == MergePolicy::Sum => {
                draft.put(&share_key(key, &record.actor), scalar::to_scalar(value));
            }
            value => draft.put(key, scalar::to_scalar(value)),
        }
    }
    Ok(draft.finish(record.at))
}

pub(crate) fn system_values(record: &CreateRecord<'_>) -> Vec<(&'static str, ScalarValue)> {
    let bytes = |bytes: &[u8]| ScalarValue::Bytes(bytes.to_vec());
    let mut values = vec![
        (keys::COLLECTION, ScalarValue::Uint(record.collection.number.into())),
        (keys::SCOPE, bytes(&record.scope.to_bytes())),
        (keys::SCHEMA, ScalarValue::Uint(record.collection.version.into())),
        (keys::CREATED_BY, bytes(record.user.as_bytes())),
        (keys::DEVICE, bytes(record.device.as_bytes())),
        (keys::KEY, bytes(record.key)),
    ];
    if let Some(at) = record.created_at.filter(|at| *at != record.at) {
        values.push((keys::CREATED_AT, ScalarValue::Timestamp(at.as_millis())));
    }
    if let Some(zone) = record.zone {
        values.push((keys::ZONE, ScalarValue::Str(zone.into())));
    }
    if let Some(name) = record.name {
        values.push((keys::NAME, scalar::to_scalar(name)));
    }
    if let Some(user) = record.made_for {
        values.push((keys::MADE_FOR, ScalarValue::Str(user.into())));
    }
    if let Some(replaced) = record.replaces {
        values.push((keys::REPLACES, bytes(replaced.as_bytes())));
    }
    values
}

struct Draft {
    actor: ActorId,
    operations: Vec<Op>,
}

impl Draft {
    fn new(actor: [u8; 16]) -> Self {
        Self { actor: ActorId::from(actor), operations: Vec::with_capacity(32) }
    }

    fn push(&mut self, obj: ObjectId, key: Key, insert: bool, action: OpType) -> OpId {
        self.operations.push(Op { action, obj, key, pred: SortedVec::new(), insert });
        // Operations count from 1.
        OpId(self.operations.len() as u64, self.actor.clone())
    }

    fn put(&mut self, key: &str, value: ScalarValue) {
        self.push(ObjectId::Root, Key::Map(key.into()), false, OpType::Put(value));
    }

    fn put_sequence(&mut self, key: &str, kind: ObjType, items: impl Iterator<Item = ScalarValue>) {
        let make = OpType::Make(kind);
        let object = ObjectId::Id(self.push(ObjectId::Root, Key::Map(key.into()), false, make));
        let mut place = Key::head();
        for item in items {
            let id = self.push(object.clone(), place, true, OpType::Put(item));
            place = Key::from(id);
        }
    }

    fn finish(self, at: Moment) -> ExpandedChange {
        ExpandedChange {
            operations: self.operations,
            actor_id: self.actor,
            hash: None,
            seq: 1,
            start_op: NonZeroU64::MIN,
            time: at.as_millis(),
            message: None,
            deps: Vec::new(),
            extra_bytes: Vec::new(),
            author: None,
        }
    }
}

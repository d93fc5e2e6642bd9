//! A document as people see it: one value per field, by the merge policies.

use automerge::{AutomergeError, ObjId, ROOT, ReadDoc, ScalarValue, ValueRef};
use fieldmesh_model::input::part_of;
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{DeviceId, DocumentId, Fields, Moment, Scope, UserId, Value};

use crate::document::{Document, Meta, by_hash, hashes, root};
use crate::guard::{Panicked, guard};
use crate::merge::{Contest, merge};
use crate::{keys, part, scalar};

/// A record.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordView {
    /// Its id.
    pub id: DocumentId,
    /// The number of its collection.
    pub collection: u16,
    /// Its scope.
    pub scope: Scope,
    /// The version of the schema under which it was written.
    pub schema: u32,
    /// Who created it.
    pub created_by: UserId,
    /// When it was created.
    pub created_at: Moment,
    /// The device on which it was created.
    pub device: DeviceId,
    /// The natural key with its extension, or a nonce.
    pub key: Vec<u8>,
    /// The zone of recording.
    pub zone: Option<String>,
    /// The record that it replaces.
    pub replaces: Option<DocumentId>,
    /// What the client of the gateway that created it calls it; null where none does.
    pub name: Value,
    /// The user in whose name a gateway created it.
    pub made_for: Option<String>,
    /// The time of its latest change.
    pub updated_at: Moment,
    /// The tombstone, if it is deleted.
    pub deleted: Option<Deletion>,
    /// Its fields; cleared ones are absent.
    pub fields: Fields,
    /// The fields whose concurrent values wait for a person.
    pub contested: Vec<String>,
    /// The keys of fixed fields that a later change tried to change; what it wrote is not shown.
    pub ignored: Vec<String>,
}

impl RecordView {
    /// A record of which nothing is known but its id and the time of its root change.
    pub(crate) fn empty(id: DocumentId, at: Moment) -> Self {
        Self {
            id,
            collection: 0,
            scope: Scope::default(),
            schema: 0,
            created_by: UserId::default(),
            created_at: at,
            device: DeviceId::default(),
            key: Vec::new(),
            zone: None,
            replaces: None,
            name: Value::Null,
            made_for: None,
            updated_at: at,
            deleted: None,
            fields: Fields::new(),
            contested: Vec::new(),
            ignored: Vec::new(),
        }
    }
}

/// A tombstone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion {
    /// When the record was deleted.
    pub at: Moment,
    /// Who deleted it.
    pub by: UserId,
    /// The record that takes its place.
    pub superseded_by: Option<DocumentId>,
}

/// A document that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Automerge refuses to read it.
    #[error("document cannot be read")]
    Automerge(#[source] AutomergeError),
    /// Automerge panicked on it.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// No change is without dependencies.
    #[error("document has no root change")]
    NoRoot,
}

impl From<AutomergeError> for ReadError {
    fn from(error: AutomergeError) -> Self {
        Self::Automerge(error)
    }
}

impl Document {
    /// The record as `collection` shows it.
    ///
    /// # Errors
    ///
    /// The document cannot be read; that of gated changes always can.
    pub fn view(&self, collection: &Collection) -> Result<RecordView, ReadError> {
        let mut view = match self.first.as_ref().and_then(|first| first.view(self.id)) {
            Some(view) => view,
            None => guard(|| self.read_view(collection))??,
        };
        part::finish(collection, &mut view.fields);
        Ok(view)
    }

    /// The number of the record's collection, before its schema is known.
    ///
    /// # Errors
    ///
    /// The document cannot be read; that of gated changes always can.
    pub fn collection(&self) -> Result<u16, ReadError> {
        if let Some(view) = self.first.as_ref().and_then(|first| first.view(self.id)) {
            return Ok(view.collection);
        }
        guard(|| {
            let metas = self.metas();
            let root = root(&metas).ok_or(ReadError::NoRoot)?;
            Ok(number(&self.fixed_scalar(keys::COLLECTION, root)?))
        })?
    }

    fn read_view(&self, collection: &Collection) -> Result<RecordView, ReadError> {
        let metas = self.metas();
        let hashed = by_hash(&metas);
        let root = root(&metas).ok_or(ReadError::NoRoot)?;
        let mut view = RecordView::empty(self.id, root.at);
        // Nobody has changed the record who only says something.
        let remarks = self.remarks();
        let edits = metas.iter().filter(|meta| !remarks.contains(&meta.hash));
        view.updated_at = edits.map(|meta| meta.at).max().unwrap_or(root.at);
        for item in self.inner().map_range(ROOT, ..) {
            let key = item.key.as_ref();
            let is_system = keys::is_system(key);
            let is_fixed = keys::is_fixed(key) || collection.is_immutable(key);
            if is_fixed && (item.conflict || !is_of(&item.id(), root)) {
                self.read_tampered(key, root, &mut view)?;
                continue;
            }
            match item.value {
                ValueRef::Scalar(value) if is_system => {
                    set_system(&mut view, key, &value.into());
                }
                _ if is_system => {}
                _ if item.conflict && part_of(key).is_some() => {
                    set(&mut view.fields, key, self.part(key, None)?);
                }
                _ if item.conflict => {
                    let candidates = self.candidates(key, &hashed)?;
                    let (value, contest) = merge(collection.policy(key), &candidates);
                    if contest == Contest::Open {
                        view.contested.push(key.to_owned());
                    }
                    set(&mut view.fields, key, value);
                }
                ValueRef::Scalar(value) => {
                    set(&mut view.fields, key, scalar::from_scalar_ref(&value));
                }
                ValueRef::Object(kind) => {
                    let value = self.object(kind, &item.id(), None)?;
                    set(&mut view.fields, key, value);
                }
            }
        }
        view.deleted = self.deletion()?;
        Ok(view)
    }

    // What the root change wrote counts; the key is listed if that is not what stands there.
    fn read_tampered(
        &self,
        key: &str,
        root: &Meta,
        view: &mut RecordView,
    ) -> Result<(), AutomergeError> {
        let heads = hashes(&[root.hash]);
        let shown = self.inner().get_all(ROOT, key)?;
        match self.inner().get_at(ROOT, key, &heads)? {
            Some((automerge::Value::Scalar(value), _)) => {
                let is_same = |(other, _): &(automerge::Value<'_>, ObjId)| match other {
                    automerge::Value::Scalar(other) => {
                        scalar::from_scalar(other).is_same(&scalar::from_scalar(&value))
                    }
                    automerge::Value::Object(_) => false,
                };
                if !shown.iter().all(is_same) {
                    view.ignored.push(key.to_owned());
                }
                if keys::is_system(key) {
                    set_system(view, key, &value);
                } else {
                    set(&mut view.fields, key, scalar::from_scalar(&value));
                }
            }
            Some((automerge::Value::Object(kind), id)) => {
                view.ignored.push(key.to_owned());
                if !keys::is_system(key) {
                    let value = self.object(kind, &id, Some(&heads))?;
                    set(&mut view.fields, key, value);
                }
            }
            None => view.ignored.push(key.to_owned()),
        }
        Ok(())
    }

    fn fixed_scalar(&self, key: &str, root: &Meta) -> Result<ScalarValue, AutomergeError> {
        Ok(match self.inner().get_at(ROOT, key, &hashes(&[root.hash]))? {
            Some((automerge::Value::Scalar(value), _)) => value.into_owned(),
            _ => ScalarValue::Null,
        })
    }

    // Any concurrent tombstone deletes: a device that was long away cannot resurrect a record.
    fn deletion(&self) -> Result<Option<Deletion>, AutomergeError> {
        let at = self.moments(keys::DELETED_AT)?.into_iter().max();
        let Some(at) = at else { return Ok(None) };
        let id = |key: &str| {
            let values = self.inner().get_all(ROOT, key)?;
            let ids = values.into_iter().filter_map(|(value, _)| match value {
                automerge::Value::Scalar(value) => bytes::<16>(&value),
                automerge::Value::Object(_) => None,
            });
            Ok::<_, AutomergeError>(ids.max())
        };
        Ok(Some(Deletion {
            at,
            by: id(keys::DELETED_BY)?.map_or_else(UserId::default, UserId::from_bytes),
            superseded_by: id(keys::SUPERSEDED_BY)?.map(DocumentId::from_bytes),
        }))
    }

    fn moments(&self, key: &str) -> Result<Vec<Moment>, AutomergeError> {
        let values = self.inner().get_all(ROOT, key)?;
        let moments = values.into_iter().filter_map(|(value, _)| match value {
            automerge::Value::Scalar(value) => scalar::from_scalar(&value).as_moment(),
            automerge::Value::Object(_) => None,
        });
        Ok(moments.collect())
    }
}

/// Whether the root change wrote this operation.
fn is_of(id: &ObjId, root: &Meta) -> bool {
    match id {
        ObjId::Root => false,
        ObjId::Id(counter, actor, _) => {
            (root.start_op..=root.max_op).contains(counter) && actor.to_bytes() == root.actor
        }
    }
}

pub(crate) fn set(fields: &mut Fields, key: &str, value: Value) {
    if value != Value::Null {
        fields.insert(key.to_owned(), value);
    }
}

pub(crate) fn set_system(view: &mut RecordView, key: &str, value: &ScalarValue) {
    match key {
        keys::COLLECTION => view.collection = number(value),
        keys::SCHEMA => view.schema = number(value).into(),
        keys::SCOPE => view.scope = Scope::from_bytes(bytes(value).unwrap_or_default()),
        keys::CREATED_BY => {
            view.created_by = UserId::from_bytes(bytes(value).unwrap_or_default());
        }
        keys::DEVICE => view.device = DeviceId::from_bytes(bytes(value).unwrap_or_default()),
        keys::REPLACES => view.replaces = bytes(value).map(DocumentId::from_bytes),
        keys::CREATED_AT => {
            view.created_at = scalar::from_scalar(value).as_moment().unwrap_or(view.created_at);
        }
        keys::KEY => {
            if let ScalarValue::Bytes(bytes) = value {
                view.key.clone_from(bytes);
            }
        }
        keys::NAME => view.name = scalar::from_scalar(value),
        keys::MADE_FOR => {
            if let ScalarValue::Str(text) = value {
                view.made_for = Some(text.to_string());
            }
        }
        keys::ZONE => {
            if let ScalarValue::Str(text) = value {
                view.zone = Some(text.to_string());
            }
        }
        _ => {}
    }
}

pub(crate) fn number(value: &ScalarValue) -> u16 {
    match value {
        ScalarValue::Uint(number) => u16::try_from(*number).unwrap_or(0),
        ScalarValue::Int(number) => u16::try_from(*number).unwrap_or(0),
        _ => 0,
    }
}

pub(crate) fn bytes<const N: usize>(value: &ScalarValue) -> Option<[u8; N]> {
    match value {
        ScalarValue::Bytes(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    }
}

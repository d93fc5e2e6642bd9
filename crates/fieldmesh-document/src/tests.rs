//! The semantics of documents: what edits leave behind, how they merge, what the gate lets pass.
//!
//! Replicas are lists of change bytes; whatever one of them does is judged by the gate as a
//! foreign change, so that every test also shows that honest work passes.

use std::collections::BTreeMap;

use fieldmesh_model::catalogue::{self, wells};
use fieldmesh_model::{
    Collection, DeviceId, DocumentId, Edit, Epoch, Fields, Moment, Scope, UserId, Value,
};

use crate::gate::{Origin, judge};
use crate::{ConflictKind, CreateRecord, Document, Identity, actor, identify, root_change};

mod approval;
mod breaches;
mod closings;
mod comments;
mod conflicts;
mod convergence;
mod corpus;
mod decisions;
mod gate;
mod hostile;
mod parallel;
mod policies;
mod traces;
mod writing;

const HOUR: i64 = 3_600_000;
const OIL: &str = "data.oilVolume";
const START: i64 = 1_770_000_000_000;

fn entries() -> &'static Collection {
    catalogue::numbered(wells::FIELD_ENTRY).unwrap()
}

fn user(number: u8) -> UserId {
    UserId::from_bytes([number; 16])
}

fn device(number: u8) -> DeviceId {
    DeviceId::from_bytes([number; 32])
}

fn at(hours: i64) -> Moment {
    Moment::from_millis(START + hours * HOUR)
}

fn production() -> Fields {
    Fields::from([
        ("wellId".to_owned(), "67e55044-10b1-426f-9247-bb680e5fe0c8".into()),
        ("entryType".to_owned(), "PRODUCTION".into()),
        ("recordedAt".to_owned(), at(0).into()),
        ("deviceId".to_owned(), device(1).to_string().into()),
        ("data.oilVolume".to_owned(), Value::Float(82.5)),
        ("data.runtime".to_owned(), Value::Int(24)),
        ("priority".to_owned(), "NORMAL".into()),
        ("notes".to_owned(), "pump ran smoothly".into()),
        ("photos".to_owned(), vec!["/upload/1", "/upload/2"].into()),
    ])
}

fn identity(fields: &Fields) -> Identity {
    identify(entries(), user(1), at(0), fields, b"", [0; 16])
}

fn record<'a>(identity: &'a Identity, fields: &'a Fields) -> CreateRecord<'a> {
    CreateRecord {
        id: identity.id,
        key: &identity.key,
        collection: entries(),
        scope: Scope::of(wells::FIELD_ENTRY, 0, at(0)),
        user: user(1),
        device: device(1),
        actor: actor(device(1), Epoch(1)),
        at: at(0),
        created_at: None,
        zone: Some("+01:00"),
        replaces: None,
        name: None,
        made_for: None,
        fields,
    }
}

/// One replica of one document, on the device of the same number.
#[derive(Clone)]
struct Replica {
    number: u8,
    id: DocumentId,
    changes: BTreeMap<[u8; 32], Vec<u8>>,
}

/// Replicas of one entry on devices 1, 2 and so on, all in step.
fn crew<const N: usize>() -> [Replica; N] {
    crew_with(&production())
}

fn crew_with<const N: usize>(fields: &Fields) -> [Replica; N] {
    let identity = identity(fields);
    let root = root_change(&record(&identity, fields)).unwrap();
    std::array::from_fn(|index| Replica {
        number: u8::try_from(index + 1).unwrap(),
        id: identity.id,
        changes: BTreeMap::from([(root.hash, root.bytes.clone())]),
    })
}

impl Replica {
    fn document(&self) -> Document {
        Document::load(self.id, self.changes.values().map(Vec::as_slice)).unwrap()
    }

    fn actor(&self) -> [u8; 16] {
        actor(device(self.number), Epoch(1))
    }

    fn origin(&self) -> Origin {
        Origin {
            document: self.id,
            author: device(self.number),
            epoch: Epoch(1),
            scope: Scope::of(wells::FIELD_ENTRY, 0, at(0)),
            user: user(self.number),
            is_gateway: false,
        }
    }

    fn set(&mut self, hours: i64, key: &str, value: impl Into<Value>) {
        assert!(self.edit(hours, &[Edit::set(key, value)]), "an edit of {key} changes nothing");
    }

    fn edit(&mut self, hours: i64, edits: &[Edit]) -> bool {
        let mut document = self.document();
        let change = document.edit(entries(), self.actor(), at(hours), edits).unwrap();
        self.keep(change)
    }

    fn delete(&mut self, hours: i64) -> bool {
        let mut document = self.document();
        let change = document.delete(self.actor(), at(hours), user(self.number), None).unwrap();
        self.keep(change)
    }

    fn restore(&mut self, hours: i64) -> bool {
        let mut document = self.document();
        let change = document.restore(self.actor(), at(hours)).unwrap();
        self.keep(change)
    }

    fn keep(&mut self, change: Option<Vec<u8>>) -> bool {
        let Some(bytes) = change else { return false };
        let closure: Vec<_> = self.changes.values().map(Vec::as_slice).collect();
        let accepted = judge(&bytes, &closure, &self.origin()).unwrap();
        self.changes.insert(accepted.change.hash, bytes);
        true
    }

    /// Takes over all changes of `other`.
    fn pull(&mut self, other: &Self) {
        self.changes.extend(other.changes.clone());
    }

    fn field(&self, key: &str) -> Option<Value> {
        self.document().view(entries()).unwrap().fields.remove(key)
    }

    /// What competes, also where the policy chose.
    fn open_conflicts(&self) -> Vec<(ConflictKind, String)> {
        let conflicts = self.document().conflicts(entries()).unwrap().into_iter();
        let competing = conflicts.filter(|one| one.kind != ConflictKind::MergedAutomatically);
        competing.map(|one| (one.kind, one.key)).collect()
    }

    fn resolve(&mut self, hours: i64, label: &str) {
        let conflict = self.document().conflicts(entries()).unwrap().remove(0);
        let mut document = self.document();
        let (actor, at) = (self.actor(), at(hours));
        let change = match conflict.take(label).unwrap() {
            crate::Resolution::Write(edit) => document.resolve(entries(), actor, at, &[edit]),
            crate::Resolution::Restore => document.restore(actor, at),
            crate::Resolution::Delete => document.delete(actor, at, user(self.number), None),
        };
        assert!(self.keep(change.unwrap()), "resolving writes a change");
    }
}

/// Every replica takes over what all others have.
fn meet(replicas: &mut [Replica]) {
    let all: BTreeMap<_, _> = replicas.iter().flat_map(|replica| replica.changes.clone()).collect();
    for replica in replicas {
        replica.changes.clone_from(&all);
    }
}

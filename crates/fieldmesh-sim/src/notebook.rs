//! The records of one device: what it made of the changes that arrived, in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::{Batch, Leaf};
use fieldmesh_document::gate::Origin;
use fieldmesh_document::{
    CreateRecord, Document, Refusal, actor, identify, judge, peek, root_change,
};
use fieldmesh_model::catalogue::{self, wells};
use fieldmesh_model::{
    Collection, DeviceId, DocumentId, Edit, Epoch, Fields, Moment, Scope, UserId, Value,
};

use crate::random::Random;

/// The fields that devices edit; nothing merges in them but whole values.
pub(crate) const FIELDS: [&str; 3] = ["data.oilVolume", "data.runtime", "latitude"];

/// The hash of a change.
pub(crate) type Hash = [u8; 32];

/// Who writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Desk {
    pub(crate) device: DeviceId,
    pub(crate) epoch: Epoch,
    pub(crate) user: UserId,
}

/// One change that was made.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) document: DocumentId,
    pub(crate) change: Vec<u8>,
    pub(crate) hash: Hash,
    /// What it wrote.
    pub(crate) writes: Vec<(&'static str, Value)>,
    /// Every change that it builds on.
    pub(crate) seen: BTreeSet<Hash>,
}

/// The records that a device knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Notebook {
    records: BTreeMap<DocumentId, Record>,
}

/// The changes of one record.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Record {
    pub(crate) scope: Scope,
    accepted: BTreeMap<Hash, Vec<u8>>,
    waiting: BTreeMap<Hash, Arrived>,
    pub(crate) refused: BTreeMap<Hash, String>,
}

#[derive(Debug, Clone, PartialEq)]
struct Arrived {
    change: Vec<u8>,
    author: DeviceId,
    epoch: Epoch,
    user: UserId,
    scope: Scope,
}

impl Notebook {
    /// The records of these batches.
    pub(crate) fn of<'a>(
        batches: impl Iterator<Item = &'a Batch>,
        user_of: impl Fn(&DeviceId) -> Option<UserId>,
    ) -> Self {
        let mut notebook = Self::default();
        batches.for_each(|batch| notebook.take(batch, &user_of));
        notebook
    }

    /// Takes in the changes of a batch; what lacks its parents waits.
    pub(crate) fn take(&mut self, batch: &Batch, user_of: impl Fn(&DeviceId) -> Option<UserId>) {
        let header = batch.header();
        let Some(user) = user_of(&header.author) else { return };
        for Leaf { document, change } in batch.leaves() {
            let record = self.records.entry(*document).or_default();
            record.scope = header.scope;
            let (author, epoch, scope) = (header.author, header.epoch, header.scope);
            record.add(*document, Arrived { change: change.clone(), author, epoch, user, scope });
        }
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = (&DocumentId, &Record)> {
        self.records.iter()
    }

    /// What counts, waits and is refused in each record.
    pub(crate) fn settled(&self) -> BTreeMap<DocumentId, [BTreeSet<Hash>; 3]> {
        let sets = |record: &Record| {
            [record.accepted(), record.waiting(), record.refused.keys().copied().collect()]
        };
        self.records.iter().map(|(id, record)| (*id, sets(record))).collect()
    }

    pub(crate) fn record(&self, id: &DocumentId) -> Option<&Record> {
        self.records.get(id)
    }

    /// Edits a record, or begins one; the changes are not taken in yet.
    pub(crate) fn work(
        &self,
        desk: Desk,
        at: Moment,
        random: &mut Random,
    ) -> Option<(Scope, Vec<Work>)> {
        let known: Vec<&DocumentId> =
            self.records.iter().filter(|(_, record)| record.is_open()).map(|(id, _)| id).collect();
        if known.is_empty() || random.once_in(3) {
            return create(desk, at, random);
        }
        let id = *known[random.index(known.len())];
        let record = self.records.get(&id)?;
        let mut seen: BTreeSet<Hash> = record.accepted.keys().copied().collect();
        let mut document = record.document(id)?;
        let loses_first = random.once_in(15);
        let mut works = Vec::new();
        for _ in 0..1 + random.index(3) + usize::from(loses_first) {
            let field = FIELDS[random.index(FIELDS.len())];
            let value = number(field, random);
            // What is done follows from what was there, so that seeds keep their numbers.
            let deed = Deed::of(seen.last());
            let change = deed.write(&mut document, desk, at, &Edit::set(field, value.clone()))?;
            let Some(change) = change else { continue };
            let hash = peek(&change).ok()?.hash;
            let writes = if deed.is_edit() { vec![(field, value)] } else { Vec::new() };
            works.push(Work { document: id, change, hash, writes, seen: seen.clone() });
            seen.insert(hash);
        }
        // A parent that is lost before anybody else has it: its children wait for ever.
        if loses_first && works.len() > 1 {
            works.remove(0);
        }
        Some((record.scope, works))
    }
}

/// What a device does to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Edit,
    /// An edit that says that it settles what competes.
    Settle,
    Delete,
    Restore,
}

impl Deed {
    fn of(last: Option<&Hash>) -> Self {
        match last.map_or(0, |hash| hash[31] % 16) {
            0 => Self::Delete,
            1 | 2 => Self::Restore,
            3..=7 => Self::Settle,
            _ => Self::Edit,
        }
    }

    fn is_edit(self) -> bool {
        matches!(self, Self::Edit | Self::Settle)
    }

    /// The change, if it changes anything; nothing at all if it cannot be written.
    fn write(
        self,
        document: &mut Document,
        desk: Desk,
        at: Moment,
        edit: &Edit,
    ) -> Option<Option<Vec<u8>>> {
        let actor = actor(desk.device, desk.epoch);
        let edits = std::slice::from_ref(edit);
        match self {
            Self::Edit => document.edit(collection(), actor, at, edits).ok(),
            Self::Settle => document.resolve(collection(), actor, at, edits).ok(),
            Self::Delete => document.delete(actor, at, desk.user, None).ok(),
            Self::Restore => {
                document.settling_deletion(collection());
                document.restore(actor, at).ok()
            }
        }
    }
}

impl Record {
    /// Whether there is a document to edit.
    pub(crate) fn is_open(&self) -> bool {
        !self.accepted.is_empty()
    }

    pub(crate) fn document(&self, id: DocumentId) -> Option<Document> {
        Document::load(id, self.accepted.values().map(Vec::as_slice)).ok()
    }

    /// The changes that count.
    pub(crate) fn accepted(&self) -> BTreeSet<Hash> {
        self.accepted.keys().copied().collect()
    }

    /// The changes that wait for others.
    pub(crate) fn waiting(&self) -> BTreeSet<Hash> {
        self.waiting.keys().copied().collect()
    }

    fn add(&mut self, document: DocumentId, arrived: Arrived) {
        let mut next = vec![arrived];
        while let Some(arrived) = next.pop() {
            let Arrived { author, epoch, user, scope, .. } = arrived;
            let Ok(peeked) = peek(&arrived.change) else { continue };
            if self.accepted.contains_key(&peeked.hash) {
                continue;
            }
            let origin = Origin { document, author, epoch, user, scope, is_gateway: false };
            let closure: Vec<&[u8]> = self.accepted.values().map(Vec::as_slice).collect();
            match judge(&arrived.change, &closure, &origin) {
                Ok(_) => {
                    self.accepted.insert(peeked.hash, arrived.change);
                    next.extend(std::mem::take(&mut self.waiting).into_values());
                }
                Err(Refusal::Missing { .. }) => {
                    self.waiting.insert(peeked.hash, arrived);
                }
                Err(refusal) => {
                    self.refused.insert(peeked.hash, refusal.to_string());
                }
            }
        }
    }
}

fn create(desk: Desk, at: Moment, random: &mut Random) -> Option<(Scope, Vec<Work>)> {
    let value = number(FIELDS[0], random);
    let fields = Fields::from([
        ("wellId".to_owned(), "67e55044-10b1-426f-9247-bb680e5fe0c8".into()),
        ("entryType".to_owned(), "PRODUCTION".into()),
        ("recordedAt".to_owned(), at.into()),
        ("deviceId".to_owned(), desk.device.to_string().into()),
        (FIELDS[0].to_owned(), value.clone()),
    ]);
    let extension: [u8; 8] = random.array();
    let identity = identify(collection(), desk.user, at, &fields, &extension, random.array());
    let scope = Scope::of(wells::FIELD_ENTRY, 0, at);
    let record = CreateRecord {
        id: identity.id,
        key: &identity.key,
        collection: collection(),
        scope,
        user: desk.user,
        device: desk.device,
        actor: actor(desk.device, desk.epoch),
        at,
        created_at: None,
        zone: Some("+01:00"),
        replaces: None,
        name: None,
        made_for: None,
        fields: &fields,
    };
    let root = root_change(&record).ok()?;
    let work = Work {
        document: identity.id,
        change: root.bytes,
        hash: root.hash,
        writes: vec![(FIELDS[0], value)],
        seen: BTreeSet::new(),
    };
    Some((scope, vec![work]))
}

/// The collection of all simulated records.
pub(crate) fn collection() -> &'static Collection {
    catalogue::numbered(wells::FIELD_ENTRY)
        .expect("invariant: the catalogue has the collection by its own number")
}

fn number(field: &str, random: &mut Random) -> Value {
    let number = random.between(0, 40);
    if field == "data.runtime" {
        Value::Int(number)
    } else {
        Value::Float(number as f64 / 2.0 + 0.25)
    }
}

//! Goal: what a batch holds is shown exactly as long as the batch counts, whatever the order in
//! which batches and verdicts about them came.
//! Method: a small crew edits three wells at random; the log of one replica, with verdicts, local
//! changes and copies strewn in, is projected in pieces, in one piece, and against a log that never
//! held what does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};

use fieldmesh_batch::{Batch, Draft, Leaf, Priority};
use fieldmesh_document::{CreateRecord, Document, actor, identify};
use fieldmesh_identity::{Authority, Certificate, DeviceKeys, Policy, Seed, found};
use fieldmesh_model::catalogue;
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{
    BatchId, DocumentId, Edit, Epoch, Fields, Moment, Role, Scope, TenantId, UserId, Value,
};
use fieldmesh_store::memory::MemoryFiles;
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::{DataKey, Direction, KeyRange, Options, Place, Store, Tree};

use crate::entry::{Entry, Fact, LocalChange};
use crate::places::Places;
use crate::projector::{Projector, ProjectorThread, STEP_CHANGES_MAX, Work};
use crate::rows::{self, DocumentRow, QuarantineRow};

mod alike;
mod feed;
mod gone;
mod indexes;
mod making;
mod order;
mod receipts;
mod rewritten;
mod schemas;

const EPOCH: Epoch = Epoch(1);
const WELLS: usize = 3;
const ROUNDS: usize = 24;

/// A repeatable source of arbitrary numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

fn at(step: usize) -> Moment {
    Moment::from_millis(1_770_000_000_000 + i64::try_from(step).unwrap() * 1_000)
}

fn wells() -> &'static Collection {
    catalogue::named("well").unwrap()
}

/// The tenant, and two devices that write: the first is the replica's own.
struct Crew {
    policy: Policy,
    items: Vec<fieldmesh_identity::Item>,
    keys: [DeviceKeys; 2],
    tenant: TenantId,
    scope: Scope,
    /// The last batch of each device.
    heads: [(u64, BatchId); 2],
    /// Every change of every well.
    wells: BTreeMap<DocumentId, Vec<Vec<u8>>>,
}

impl Crew {
    fn new() -> Self {
        let authority = Authority::from_seed(&Seed::from_bytes([1; 32]));
        let keys = [8, 9].map(|byte| DeviceKeys::from_seed(&Seed::from_bytes([byte; 32])));
        let user = UserId::from_bytes([4; 16]);
        let founder = Certificate::new(keys[0].public_key(), "office", user, Role::Admin);
        let founded = found(&authority, [0; 32], "Gulf Crew", &founder).unwrap();
        let mut items = founded.items;
        let other = Certificate::new(keys[1].public_key(), "truck", user, Role::Admin);
        let policy = Policy::evaluate(founded.tenant, &items);
        let place = policy.next_place(&authority.public_key());
        let statement = fieldmesh_identity::Statement::Certificate(Box::new(other));
        let item =
            fieldmesh_identity::Item::sign(&authority, founded.tenant, place, &statement).unwrap();
        items.push(item);
        Self {
            policy: Policy::evaluate(founded.tenant, &items),
            items,
            keys,
            tenant: founded.tenant,
            scope: Scope::of(wells().number, 0, at(0)),
            heads: [(0, BatchId::default()); 2],
            wells: BTreeMap::new(),
        }
    }

    fn create(&mut self, number: usize) -> Leaf {
        let user = UserId::from_bytes([4; 16]);
        let fields = Fields::from([
            ("name".to_owned(), Value::Text(format!("Alder {number}"))),
            ("apiNumber".to_owned(), Value::Text(format!("42-227-{number:05}"))),
        ]);
        let chance = [u8::try_from(number).unwrap(); 16];
        let identity = identify(wells(), user, at(0), &fields, b"", chance);
        let device = self.keys[0].device();
        let record = CreateRecord {
            id: identity.id,
            key: &identity.key,
            collection: wells(),
            scope: self.scope,
            user,
            device,
            actor: actor(device, EPOCH),
            at: at(0),
            created_at: None,
            zone: None,
            replaces: None,
            name: None,
            made_for: None,
            fields: &fields,
        };
        let (_, change) = Document::create(&record).unwrap();
        self.wells.insert(identity.id, vec![change.clone()]);
        Leaf { document: identity.id, change }
    }

    /// An edit by `device`, which knows all that came before.
    fn edit(&mut self, device: usize, step: usize, dice: &mut Dice) -> Option<Leaf> {
        let number = dice.below(self.wells.len());
        let (id, changes) = self.wells.iter_mut().nth(number)?;
        let mut document = Document::load(*id, changes.iter().map(Vec::as_slice)).ok()?;
        let edit = Edit::Set {
            key: ["lease", "field", "operator"][dice.below(3)].into(),
            value: Value::Text(format!("{device}-{step}")),
        };
        let actor = actor(self.keys[device].device(), EPOCH);
        let change = document.edit(wells(), actor, at(step), &[edit]).unwrap()?;
        changes.push(change.clone());
        Some(Leaf { document: *id, change })
    }

    fn seal(&mut self, device: usize, leaves: Vec<Leaf>, step: usize) -> Batch {
        let (sequence, previous) = self.heads[device];
        let batch = self.seal_at(device, (sequence + 1, previous), leaves, step);
        self.heads[device] = (sequence + 1, batch.id());
        batch
    }

    fn seal_at(
        &self,
        device: usize,
        (sequence, previous): (u64, BatchId),
        leaves: Vec<Leaf>,
        step: usize,
    ) -> Batch {
        let draft = Draft {
            tenant: self.tenant,
            scope: self.scope,
            author: self.keys[device].device(),
            epoch: EPOCH,
            sequence,
            previous,
            priority: Priority::default(),
            first: at(step),
            last: at(step),
            leaves,
        };
        Batch::seal(draft, self.keys[device].signing_key(), [7; 16]).unwrap()
    }
}

/// A log with everything strewn in, and the same without what does not count in the end.
fn logs(crew: &mut Crew, dice: &mut Dice) -> (Vec<Entry>, Vec<Entry>) {
    let mut log = Vec::new();
    let (mut batches, mut locals): (Vec<Batch>, BTreeMap<BatchId, Vec<Entry>>) = Default::default();
    let mut aside: BTreeSet<BatchId> = BTreeSet::new();
    for step in 0..ROUNDS {
        let device = dice.below(2);
        let leaves: Vec<Leaf> = if step == 0 {
            (0..WELLS).map(|number| crew.create(number)).collect()
        } else {
            (0..=dice.below(2)).filter_map(|_| crew.edit(device, step, dice)).collect()
        };
        let device = if step == 0 { 0 } else { device };
        if leaves.is_empty() {
            continue;
        }
        let copy = leaves.first().cloned();
        let place = (crew.heads[device].0 + 1, crew.heads[device].1);
        let batch = crew.seal(device, leaves, step);
        if device == 0 && dice.one_in(2) {
            let changes = batch.leaves().iter().map(|leaf| local(crew, leaf, step));
            locals.insert(batch.id(), changes.collect());
        }
        batches.push(batch);
        // A copy of the device seals the same change at the same place, in another batch.
        if let (1, Some(leaf), true) = (device, copy, dice.one_in(3)) {
            batches.push(crew.seal_at(device, place, vec![leaf], step + 1));
        }
    }
    for batch in &batches {
        log.extend(locals.get(&batch.id()).into_iter().flatten().cloned());
        if dice.one_in(5) {
            aside.insert(batch.id());
            log.push(Entry::Fact(Fact::Aside(vec![batch.id()])));
        }
        log.push(Entry::Batch(batch.encode()));
        if dice.one_in(6) {
            log.push(Entry::Batch(batch.encode()));
        }
        if dice.one_in(2) {
            let one = batches[dice.below(batches.len())].id();
            if aside.remove(&one) {
                log.push(Entry::Fact(Fact::Admitted(vec![one])));
            } else {
                aside.insert(one);
                log.push(Entry::Fact(Fact::Aside(vec![one])));
            }
        }
    }
    let counting = batches.iter().filter(|batch| !aside.contains(&batch.id()));
    let reference = counting.flat_map(|batch| {
        let locals = locals.get(&batch.id()).into_iter().flatten().cloned();
        locals.chain([Entry::Batch(batch.encode())]).collect::<Vec<_>>()
    });
    (log, reference.collect())
}

fn local(crew: &Crew, leaf: &Leaf, step: usize) -> Entry {
    Entry::Change(LocalChange {
        document: leaf.document,
        scope: crew.scope,
        epoch: EPOCH,
        at: at(step),
        change: leaf.change.clone(),
    })
}

/// What people and programs see of a view, apart from where in the log it lies.
#[derive(Debug, Default, PartialEq)]
struct Shown {
    documents: BTreeMap<Vec<u8>, ShownDocument>,
    index: Vec<Vec<u8>>,
    inbox: Vec<Vec<u8>>,
    refused: Vec<Vec<u8>>,
}

#[derive(Debug, PartialEq)]
struct ShownDocument {
    record: Option<rows::RecordRow>,
    changes: BTreeSet<[u8; 8]>,
    waiting: BTreeSet<[u8; 8]>,
}

fn shown(store: &Store) -> Shown {
    let view = store.view();
    let all = |tree| rows::scan(view, tree, KeyRange::all(), Direction::Ascending);
    let keys = |tree| all(tree).map(|row| row.unwrap().0).collect::<Vec<_>>();
    let mut shown =
        Shown { index: keys(Tree::Index), inbox: keys(Tree::Inbox), ..Shown::default() };
    for row in all(Tree::Document) {
        let (key, value) = row.unwrap();
        let row: DocumentRow = rows::decode(&value).unwrap();
        let changes = row.changes.iter().map(|it| it.hash).collect();
        let id = DocumentId::from_bytes(key.as_slice().try_into().unwrap());
        let range = KeyRange::prefix(&rows::waiting_prefix(id, &[]));
        let waiting = rows::scan(view, Tree::Meta, range, Direction::Ascending)
            .map(|row| rows::decode::<rows::ChangeRef>(&row.unwrap().1).unwrap().hash)
            .collect();
        let document = ShownDocument { record: row.record, changes, waiting };
        shown.documents.insert(key, document);
    }
    for row in all(Tree::Quarantine) {
        let row: QuarantineRow = rows::decode(&row.unwrap().1).unwrap();
        shown.refused.push(rows::encode(&row));
    }
    shown.refused.sort();
    shown
}

/// Where logs are projected.
struct Stage {
    store: Arc<Store>,
    places: Arc<Places>,
}

impl Stage {
    fn new() -> Self {
        let options = Options { reserve_bytes: 0, ..Options::default() };
        let (files, sheets) = (Arc::new(MemoryFiles::new()), Arc::new(MemoryRows::new()));
        let key = DataKey::from_bytes([42; 32]);
        let store = Store::open_on(files, sheets, &key, &options).unwrap();
        Self { store: Arc::new(store), places: Arc::default() }
    }

    /// Appends entries and brings the view up to them.
    fn project(&self, crew: &Crew, piece: &[Entry]) {
        let end = self.append(piece);
        self.catch_up(crew, end);
    }

    /// Appends entries; gives the place of the last.
    fn append(&self, piece: &[Entry]) -> Option<Place> {
        let written = self.store.append(piece.iter().map(Entry::encode).collect()).unwrap();
        for (entry, place) in piece.iter().zip(&written) {
            if let Entry::Batch(bytes) = entry {
                self.places.insert_all([(Batch::decode(bytes).unwrap().id(), *place)]);
            }
        }
        written.last().copied()
    }

    /// What a projector works with that makes everything in one pass.
    fn work(&self, crew: &Crew) -> Work {
        Work {
            store: Arc::clone(&self.store),
            places: Arc::clone(&self.places),
            policy: Arc::new(RwLock::new(Arc::new(crew.policy.clone()))),
            me: crew.keys[0].device(),
            forward_only: false,
            lag_max: u64::MAX,
            step_changes: STEP_CHANGES_MAX,
        }
    }

    /// Brings the view up to a place.
    fn catch_up(&self, crew: &Crew, end: Option<Place>) {
        let Some(end) = end else { return };
        let (projector, thread) = self.start(crew);
        projector.wait(end).unwrap();
        projector.stop();
        thread.join();
    }

    fn start(&self, crew: &Crew) -> (Projector, ProjectorThread) {
        Projector::start(self.work(crew)).unwrap()
    }
}

/// Projects a log, in pieces of the length that `pieces` gives.
fn project(crew: &Crew, log: &[Entry], mut pieces: impl FnMut() -> usize) -> Shown {
    let stage = Stage::new();
    let mut rest = log;
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(pieces().clamp(1, rest.len()));
        rest = more;
        stage.project(crew, piece);
    }
    shown(&stage.store)
}

#[test]
fn a_record_never_shows_what_a_revoked_device_did_and_loses_nothing_else() {
    for seed in 0..60 {
        let (mut crew, mut dice) = (Crew::new(), Dice(seed));
        let (log, reference) = logs(&mut crew, &mut dice);
        let expected = project(&crew, &reference, || usize::MAX);
        let in_pieces = project(&crew, &log, || 1 + dice.below(6));
        assert_eq!(in_pieces, expected, "seed {seed}, in pieces");
        let at_once = project(&crew, &log, || usize::MAX);
        assert_eq!(at_once, expected, "seed {seed}, made anew");
    }
}

#[test]
fn a_record_that_grows_too_large_to_show_is_shown_alike_however_its_view_was_made() {
    let mut crew = Crew::new();
    let mut batches = vec![crew.create(0)];
    let (id, changes) = crew.wells.pop_first().unwrap();
    let mut document = Document::load(id, changes.iter().map(Vec::as_slice)).unwrap();
    let sizes = [300_000, 450_000, 10, 440_000, 400_000, 5];
    for (step, size) in (1..).zip(sizes) {
        let key = format!("x-{}", step % 4);
        let edit = Edit::Set { key, value: Value::Text("x".repeat(size)) };
        let actor = actor(crew.keys[1].device(), EPOCH);
        let change = document.edit(wells(), actor, at(step), &[edit]).unwrap().unwrap();
        batches.push(Leaf { document: id, change });
    }
    let log: Vec<Entry> = (0..)
        .zip(batches)
        .map(|(step, leaf)| {
            let device = usize::from(step > 0);
            Entry::Batch(crew.seal(device, vec![leaf], step).encode())
        })
        .collect();
    for length in 1..=log.len() {
        let at_once = project(&crew, &log[..length], || usize::MAX);
        let in_pieces = project(&crew, &log[..length], || 1);
        assert_eq!(in_pieces, at_once, "after {length} batches");
        let record = at_once.documents.values().next().and_then(|it| it.record.as_ref());
        assert!(record.is_some_and(|record| record.fields.contains_key("name")));
    }
}

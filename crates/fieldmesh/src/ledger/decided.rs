//! Items of the inbox about records that are alike which somebody has settled.
//!
//! Each of the records tells by its own changes what was decided about it, so nothing else is kept
//! of such an item, and it reads the same wherever the same changes are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fieldmesh_document::{Comment, Decision, Document, Outcome};
use fieldmesh_identity::Policy;
use fieldmesh_model::natural_key::{shared_groups, unique_keys};
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{DeviceId, DocumentId};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::api::{CommentReport, ConflictReport, EndReport};
use crate::error::Error;
use crate::projection::alike::{LOOKED_AT_MAX, beside};
use crate::rows::{self, RecordRow};

use super::Ledger;
use super::query::Names;
use super::record::{hex, person};

/// Records that are opened to tell what was decided about one, the newest decisions first.
const OPENED_MAX: usize = 256;

/// Records, and items, that are kept at hand while somebody asks for many.
const KEPT_MAX: usize = 4_096;

/// What records tell of the items they are in, read once for all that is asked at once.
#[derive(Default)]
pub(in crate::ledger) struct Telling {
    told: BTreeMap<DocumentId, Option<Arc<Told>>>,
    /// The items as all records tell them, each as a change names it and as it does not.
    items: BTreeMap<(Uuid, bool), Option<Arc<Item>>>,
}

/// A record, and what it tells.
struct Told {
    id: DocumentId,
    is_deleted: bool,
    /// The groups of unique fields by number, as this record has them.
    keys: Vec<(usize, Vec<u8>)>,
    authors: BTreeMap<[u8; 32], DeviceId>,
    decisions: Vec<Decision>,
    comments: Vec<Comment>,
}

/// An item that is settled, without comments, and those with the records they stand in.
struct Item {
    report: ConflictReport,
    comments: Vec<(DocumentId, CommentReport)>,
}

/// How one person has settled an item.
struct Ending {
    end: EndReport,
    kept: Option<DocumentId>,
    gone: BTreeSet<DocumentId>,
}

impl Ledger {
    /// The items about this record and others of which its changes say that they are settled, but
    /// for those that are `open` once more.
    pub(super) fn decided(
        &self,
        id: DocumentId,
        (document, schema): (&Document, &Collection),
        record: &RecordRow,
        open: &[ConflictReport],
        names: &mut Names,
    ) -> Result<Vec<ConflictReport>, Error> {
        let (mut found, mut order) = (BTreeMap::<Uuid, Decision>::new(), Vec::new());
        for decision in rows::decisions_of(document, schema, &record.fields).into_iter().rev() {
            if open.iter().any(|item| item.id == decision.item.to_string()) {
                continue;
            }
            let known = found.get(&decision.item);
            if known.is_none() {
                order.push(decision.item);
            }
            if known.is_none_or(|known| !known.is_named) {
                found.insert(decision.item, decision);
            }
        }
        let (mut opened, mut items) = (BTreeSet::new(), Vec::new());
        for decision in order.iter().filter_map(|item| found.get(item)) {
            opened.extend(decision.members.iter().copied());
            if opened.len() > OPENED_MAX {
                break;
            }
            items.extend(self.decided_item(id, decision, names)?);
        }
        Ok(items)
    }

    /// The item that a decision told by `id` is about.
    fn decided_item(
        &self,
        id: DocumentId,
        decision: &Decision,
        names: &mut Names,
    ) -> Result<Option<ConflictReport>, Error> {
        let key = (decision.item, decision.is_named);
        let item = match names.telling().items.get(&key) {
            Some(item) => item.clone(),
            None => {
                let item = self.settled_item(decision, names)?.map(Arc::new);
                keep(&mut names.telling().items, key, item.clone());
                item
            }
        };
        let Some(item) = item else { return Ok(None) };
        let others = item.comments.iter().filter(|(record, _)| *record != id);
        let comments = others.map(|(_, comment)| comment.clone()).collect();
        Ok(Some(ConflictReport { comments, ..item.report.clone() }))
    }

    fn settled_item(&self, decision: &Decision, names: &mut Names) -> Result<Option<Item>, Error> {
        let policy = self.policy();
        let read = self.read_alike(&policy, decision.members.iter().copied())?;
        let mut told = Vec::with_capacity(read.len());
        for member in &read {
            told.extend(self.told(member.id, names)?);
        }
        // A change that names no item may be about other fields that the records share.
        let key = told.first().and_then(|first| first.key(decision.unique));
        let is_other = |one: &Arc<Told>| one.key(decision.unique) != key;
        if !decision.is_named && (key.is_none() || told.iter().any(is_other)) {
            return Ok(None);
        }
        let item = decision.item;
        let Some(report) = self.alike_report(&policy, item.to_string(), (read, 0), names) else {
            return Ok(None);
        };
        let comments = told.iter().flat_map(|one| {
            let said = one.comments.iter().filter(|comment| comment.item == item);
            said.map(|comment| (one.id, one.comment(&policy, comment)))
        });
        let comments = comments.collect();
        let ended = ends(&policy, &told, item, &decision.members);
        Ok(Some(Item { report: ConflictReport { open: false, ended, ..report }, comments }))
    }

    /// What a record tells; none where it is not here.
    fn told(&self, id: DocumentId, names: &mut Names) -> Result<Option<Arc<Told>>, Error> {
        if let Some(told) = names.telling().told.get(&id) {
            return Ok(told.clone());
        }
        let told = self.read_told(id)?.map(Arc::new);
        keep(&mut names.telling().told, id, told.clone());
        Ok(told)
    }

    fn read_told(&self, id: DocumentId) -> Result<Option<Told>, Error> {
        let Some((document, row)) = self.document(id)?.zip(self.row_by(&self.policy(), id)?) else {
            return Ok(None);
        };
        let Some(record) = &row.record else { return Ok(None) };
        let schema = self.schema(row.scope.collection);
        let decisions = rows::decisions_of(&document, &schema, &record.fields);
        let comments = document.comments().map_err(|error| Error::store(&error))?;
        let said: BTreeSet<[u8; 32]> = decisions.iter().map(|decision| decision.hash).collect();
        let said: BTreeSet<_> = comments.iter().map(|comment| comment.hash).chain(said).collect();
        let mut authors = match said.is_empty() {
            true => BTreeMap::new(),
            false => self.authors(&row)?,
        };
        authors.retain(|hash, _| said.contains(hash));
        let (keys, is_deleted) = (unique_keys(&schema, &record.fields, &[]), record.deleted);
        Ok(Some(Told { id, is_deleted, keys, authors, decisions, comments }))
    }
}

/// Keeps what was found, and forgets what was found before where that is much.
fn keep<K: Ord, V>(known: &mut BTreeMap<K, V>, key: K, value: V) {
    if known.len() >= KEPT_MAX {
        known.clear();
    }
    known.insert(key, value);
}

/// What a change of a record has decided about it and others that are alike.
#[derive(Default)]
pub(super) struct Decided {
    /// The items that it names.
    pub(super) settled: Vec<String>,
    pub(super) superseded_by: Option<DocumentId>,
    pub(super) replaces: BTreeSet<DocumentId>,
    pub(super) apart_from: Vec<DocumentId>,
}

impl Ledger {
    /// What was decided about a record, by the changes that say so.
    pub(super) fn decided_in(
        &self,
        document: &Document,
        schema: &Collection,
        record: &RecordRow,
    ) -> Result<BTreeMap<[u8; 32], Decided>, Error> {
        let mut found: BTreeMap<[u8; 32], Decided> = BTreeMap::new();
        let (id, mut names, mut opened) = (document.id(), Names::default(), BTreeSet::new());
        for decision in rows::decisions_of(document, schema, &record.fields).into_iter().rev() {
            let decided = found.entry(decision.hash).or_default();
            decided.settled.extend(decision.is_named.then(|| decision.item.to_string()));
            let others = decision.members.iter().filter(|other| **other != id);
            match decision.outcome {
                Outcome::GaveWay(kept) => decided.superseded_by = Some(kept),
                Outcome::Apart => decided.apart_from = others.copied().collect(),
                Outcome::Kept => {
                    for other in others {
                        if opened.len() >= OPENED_MAX && !opened.contains(other) {
                            continue;
                        }
                        opened.insert(*other);
                        let told = self.told(*other, &mut names)?;
                        if told.is_some_and(|told| told.gave_way(id, decision.item)) {
                            decided.replaces.insert(*other);
                        }
                    }
                }
            }
        }
        Ok(found)
    }

    /// The record that was kept where this one was deleted for it, and those that were deleted for
    /// this one.
    pub(super) fn succession(
        &self,
        id: DocumentId,
        schema: &Collection,
        record: &RecordRow,
    ) -> Result<(Option<DocumentId>, Vec<DocumentId>), Error> {
        let kept = match record.deleted {
            true => self.kinship(id)?.and_then(|kinship| kinship.superseded_by.last().copied()),
            false => None,
        };
        let mut replaced = Vec::new();
        let held = (&*self.store, self.view());
        let mut others = beside(held, schema, &record.fields, |_| true, LOOKED_AT_MAX)?;
        for number in 0..schema.unique.len() {
            for (theirs, _, fields) in shared_groups(schema, number, &record.fields) {
                others.extend(beside(held, theirs, &fields, |_| true, LOOKED_AT_MAX)?);
            }
        }
        for other in others {
            let row = self.row(other)?.filter(|row| other != id && row.changes.len() > 1);
            if row.and_then(|row| row.record).is_some_and(|record| record.deleted) {
                let said = self.kinship(other)?;
                let is_for_it = said.is_some_and(|said| said.superseded_by.contains(&id));
                replaced.extend(is_for_it.then_some(other));
            }
        }
        Ok((kept, replaced))
    }
}

impl Told {
    fn key(&self, unique: usize) -> Option<&[u8]> {
        let mut keys = self.keys.iter();
        keys.find(|(number, _)| *number == unique).map(|(_, key)| &key[..])
    }

    /// Whether it says that it was given up for `kept` when this item was settled.
    fn gave_way(&self, kept: DocumentId, item: Uuid) -> bool {
        let mut said = self.decisions.iter().filter(|decision| decision.item == item);
        said.any(|decision| decision.outcome == Outcome::GaveWay(kept))
    }

    fn comment(&self, policy: &Policy, comment: &Comment) -> CommentReport {
        let device = self.authors.get(&comment.hash).copied();
        let user = device.and_then(|device| policy.known(&device)).map(person);
        CommentReport { text: comment.text.clone(), user, device, at: comment.at }
    }
}

/// How an item ended, the ending that the records show last, else by time: once for each device
/// that has settled it in one way, whatever number of records it has said so in.
fn ends(
    policy: &Arc<Policy>,
    told: &[Arc<Told>],
    item: Uuid,
    members: &BTreeSet<DocumentId>,
) -> Vec<EndReport> {
    let deleted = told.iter().filter(|one| one.is_deleted).map(|one| one.id).collect();
    let mut endings = endings(policy, told, item);
    // The clock of whoever decided otherwise before may be fast.
    endings.sort_by_cached_key(|Ending { end, gone, .. }| {
        (*gone == deleted, end.at, end.change.clone())
    });
    let last = endings.len().saturating_sub(1);
    let left = |(number, Ending { end, kept, gone }): (usize, Ending)| {
        let stays = |id: &&DocumentId| match told.iter().find(|one| one.id == **id) {
            // Somebody may have brought back what was given up.
            Some(one) if number == last && !one.is_deleted => true,
            Some(one) => !gone.contains(&one.id),
            // One that is not here says nothing of itself.
            None => kept.is_none_or(|kept| kept == **id),
        };
        let left = members.iter().filter(stays).map(|id| Json::String(id.to_string()));
        EndReport { left: Json::Array(left.collect()), ..end }
    };
    endings.into_iter().enumerate().map(left).collect()
}

/// What each device has decided about an item.
fn endings(policy: &Policy, told: &[Arc<Told>], item: Uuid) -> Vec<Ending> {
    let mut endings: BTreeMap<(Option<DeviceId>, Option<DocumentId>), Ending> = BTreeMap::new();
    let said = told.iter().flat_map(|one| one.decisions.iter().map(move |it| (one, it)));
    for (one, decision) in said.filter(|(_, decision)| decision.item == item) {
        let device = one.authors.get(&decision.hash).copied();
        let kept = match decision.outcome {
            Outcome::Kept => Some(one.id),
            Outcome::GaveWay(kept) => Some(kept),
            Outcome::Apart => None,
        };
        let said = EndReport {
            settled: true,
            change: hex(&decision.hash),
            user: device.and_then(|device| policy.known(&device)).map(person),
            device,
            at: decision.at,
            left: Json::Null,
            deleted: false,
            merged: Vec::new(),
        };
        let known = endings.entry((device, kept));
        let ending =
            known.or_insert_with(|| Ending { end: said.clone(), kept, gone: BTreeSet::new() });
        let merged = std::mem::take(&mut ending.end.merged);
        if (said.at, &said.change) > (ending.end.at, &ending.end.change) {
            ending.end = said;
        }
        ending.end.merged = match decision.outcome {
            Outcome::Kept => decision.written.iter().cloned().collect(),
            _ => merged,
        };
        if matches!(decision.outcome, Outcome::GaveWay(_)) {
            ending.gone.insert(one.id);
        }
    }
    endings.into_values().collect()
}

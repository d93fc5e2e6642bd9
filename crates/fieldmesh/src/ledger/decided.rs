//! Items of the inbox about records that are alike which somebody has settled.
//!
//! Each of the records tells by its own changes what was decided about it, so nothing else is kept
//! of such an item, and it reads the same wherever the same changes are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fieldmesh_document::{Comment, Decision, Document, Outcome};
use fieldmesh_identity::Policy;
use fieldmesh_model::natural_key::unique_keys;
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

/// One of the records of an item, and what it tells.
struct Told {
    id: DocumentId,
    /// The group of unique fields that the item is about, as this record has them.
    key: Option<Vec<u8>>,
    authors: BTreeMap<[u8; 32], DeviceId>,
    decisions: Vec<Decision>,
    comments: Vec<Comment>,
}

/// How one person has settled an item.
struct Ending {
    end: EndReport,
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
        let mut found: BTreeMap<Uuid, Decision> = BTreeMap::new();
        for decision in rows::decisions_of(document, schema, &record.fields) {
            let is_open = open.iter().any(|item| item.id == decision.item.to_string());
            let known = found.get(&decision.item);
            if !is_open && known.is_none_or(|known| !known.is_named) {
                found.insert(decision.item, decision);
            }
        }
        let items = found.into_values().map(|decision| self.decided_item(id, &decision, names));
        items.filter_map(Result::transpose).collect()
    }

    /// The item that a decision told by `id` is about.
    fn decided_item(
        &self,
        id: DocumentId,
        decision: &Decision,
        names: &mut Names,
    ) -> Result<Option<ConflictReport>, Error> {
        let policy = self.policy();
        let read = self.read_alike(&policy, decision.members.iter().copied())?;
        let mut told = Vec::with_capacity(read.len());
        for member in &read {
            told.extend(self.told(member.id, &member.schema, &member.record, decision)?);
        }
        // A change that names no item may be about other fields that the records share.
        let key = told.first().and_then(|first| first.key.clone());
        if !decision.is_named && (key.is_none() || told.iter().any(|one| one.key != key)) {
            return Ok(None);
        }
        let item = decision.item.to_string();
        let Some(report) = self.alike_report(&policy, item, (read, 0), names) else {
            return Ok(None);
        };
        let others = told.iter().filter(|one| one.id != id);
        let comments =
            others.flat_map(|one| one.comments.iter().map(|comment| one.comment(&policy, comment)));
        let comments = comments.collect();
        let ended = ends(&policy, &told, &decision.members);
        Ok(Some(ConflictReport { open: false, ended, comments, ..report }))
    }

    /// What a record tells of the item of a decision.
    fn told(
        &self,
        id: DocumentId,
        schema: &Collection,
        record: &RecordRow,
        about: &Decision,
    ) -> Result<Option<Told>, Error> {
        let Some((document, row)) = self.document(id)?.zip(self.row(id)?) else { return Ok(None) };
        let mut keys = unique_keys(schema, &record.fields, &[]).into_iter();
        let key = keys.find(|(number, _)| *number == about.unique).map(|(_, key)| key);
        let mut decisions = rows::decisions_of(&document, schema, &record.fields);
        decisions.retain(|decision| decision.item == about.item);
        let mut comments = document.comments().map_err(|error| Error::store(&error))?;
        comments.retain(|comment| comment.item == about.item);
        Ok(Some(Told { id, key, authors: self.authors(&row)?, decisions, comments }))
    }
}

/// What a change of a record has decided about it and others that are alike.
#[derive(Default)]
pub(super) struct Decided {
    /// The items that it names.
    pub(super) settled: Vec<String>,
    pub(super) superseded_by: Option<DocumentId>,
    pub(super) replaces: Vec<DocumentId>,
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
        let id = document.id();
        for decision in rows::decisions_of(document, schema, &record.fields) {
            let decided = found.entry(decision.hash).or_default();
            decided.settled.extend(decision.is_named.then(|| decision.item.to_string()));
            let others = decision.members.iter().filter(|other| **other != id);
            match decision.outcome {
                Outcome::GaveWay(kept) => decided.superseded_by = Some(kept),
                Outcome::Apart => decided.apart_from = others.copied().collect(),
                Outcome::Kept => {
                    for other in others {
                        if self.gave_way(*other, id, decision.item)? {
                            decided.replaces.push(*other);
                        }
                    }
                }
            }
        }
        Ok(found)
    }

    /// Whether a record says that it was given up for `kept` when this item was settled.
    fn gave_way(&self, id: DocumentId, kept: DocumentId, item: Uuid) -> Result<bool, Error> {
        let Some((document, row)) = self.document(id)?.zip(self.row(id)?) else { return Ok(false) };
        let Some(record) = row.record.as_ref() else { return Ok(false) };
        let schema = self.schema(row.scope.collection);
        let said = rows::decisions_of(&document, &schema, &record.fields);
        Ok(said
            .iter()
            .any(|decision| decision.outcome == Outcome::GaveWay(kept) && decision.item == item))
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
        for other in beside(held, schema, &record.fields, |_| true, LOOKED_AT_MAX)? {
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
    fn comment(&self, policy: &Policy, comment: &Comment) -> CommentReport {
        let device = self.authors.get(&comment.hash).copied();
        let user = device.and_then(|device| policy.known(&device)).map(person);
        CommentReport { text: comment.text.clone(), user, device, at: comment.at }
    }
}

/// How an item ended, by time: once for each device that has settled it in one way, whatever number
/// of records it has said so in.
fn ends(policy: &Arc<Policy>, told: &[Told], members: &BTreeSet<DocumentId>) -> Vec<EndReport> {
    let mut endings: BTreeMap<(Option<DeviceId>, Option<DocumentId>), Ending> = BTreeMap::new();
    for (one, decision) in told.iter().flat_map(|one| one.decisions.iter().map(move |it| (one, it)))
    {
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
            merged: Vec::new(),
        };
        let known = endings.entry((device, kept));
        let ending = known.or_insert_with(|| Ending { end: said.clone(), gone: BTreeSet::new() });
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
    let left = |Ending { end, gone }| {
        let left = members.difference(&gone).map(|id| Json::String(id.to_string()));
        EndReport { left: Json::Array(left.collect()), ..end }
    };
    let mut ends: Vec<EndReport> = endings.into_values().map(left).collect();
    ends.sort_by(|a, b| (a.at, &a.change).cmp(&(b.at, &b.change)));
    ends
}

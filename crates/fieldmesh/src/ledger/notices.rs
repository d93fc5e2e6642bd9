//! What became of this person's work by the hand of others, derived from what is stored.
//!
//! Nothing is kept of a notice but whether it was seen, on this device: what is quarantined and
//! how conflicts ended tell the rest, alike wherever the same things have arrived and in whatever
//! order. Nobody is told of what he did himself, on whichever of his devices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use fieldmesh_document::Answer;
use fieldmesh_identity::Policy;
use fieldmesh_model::{DeviceId, DocumentId};
use fieldmesh_store::{Direction, KeyRange, Tree};
use serde_json::Value as Json;

use crate::api::{ConflictReport, ConflictValue, EndReport, Notice, NoticeKind, Record};
use crate::changes::version;
use crate::error::Error;
use crate::rows::{self, ConflictRow, QuarantineRow};

use super::Ledger;
use super::inbox::{KIND_DELETED, KIND_RULE};
use super::query::Names;
use super::record::{hex, person};

/// The prefix of the notes about notices that were seen, by their ids.
const PREFIX: &[u8] = b"seen/";

/// Records of which is kept at hand what there is to tell of them.
const KEPT_MAX: usize = 20_000;

/// Notices that are named where an ending means several.
const CANDIDATES_MAX: usize = 5;

/// What there is to tell of records, as they read when that was looked at last: reading a record's
/// past costs, and most do not change between two looks.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// By which policy and of which view it was looked at.
    by: Option<(Arc<Policy>, u64)>,
    records: Known,
    /// Whether this person has written in a record.
    wrote: BTreeMap<DocumentId, (String, bool)>,
}

/// What there is to tell of each record, and what it and those that are alike read as.
type Known = BTreeMap<DocumentId, (Vec<(DocumentId, String)>, Vec<Notice>)>;

impl Ledger {
    /// What this person has to hear of, the newest first; with `all` also what was seen.
    pub(crate) fn notices(&self, all: bool) -> Result<Vec<Notice>, Error> {
        self.settle()?;
        let seen = self.seen_notices()?;
        let mut found = self.everything_told()?;
        for notice in &mut found {
            notice.seen = seen.contains(&notice.id);
        }
        found.retain(|notice| all || !notice.seen);
        found.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
        Ok(found)
    }

    /// How many there are that were not seen, as the view has them.
    pub(crate) fn notice_count(&self) -> Result<u64, Error> {
        let seen = self.seen_notices()?;
        let found = self.everything_told()?;
        Ok(found.iter().filter(|notice| !seen.contains(&notice.id)).count() as u64)
    }

    /// Marks notices as seen, durably, on this device; gives them.
    pub(crate) fn see_notices(&self, ids: Option<&[String]>) -> Result<Vec<Notice>, Error> {
        let mut found = self.notices(true)?;
        if let Some(ids) = ids {
            let mut wanted = BTreeSet::new();
            for id in ids {
                wanted.insert(meant(&found, id)?);
            }
            found.retain(|notice| wanted.contains(&notice.id));
        } else {
            found.retain(|notice| !notice.seen);
        }
        let row = |notice: &Notice| ([PREFIX, notice.id.as_bytes()].concat(), Some(Vec::new()));
        let rows: Vec<_> = found.iter().filter(|notice| !notice.seen).map(row).collect();
        if !rows.is_empty() {
            self.note_here(rows)?;
        }
        for notice in &mut found {
            notice.seen = true;
        }
        Ok(found)
    }

    fn seen_notices(&self) -> Result<BTreeSet<String>, Error> {
        let prefix = rows::note_key(PREFIX);
        let range = KeyRange::prefix(&prefix);
        let id = |key: Vec<u8>| {
            String::from_utf8_lossy(key.get(prefix.len()..).unwrap_or_default()).into_owned()
        };
        let keys = rows::keys(self.view(), Tree::Meta, range, Direction::Ascending);
        keys.map(|key| key.map(id)).collect()
    }

    fn everything_told(&self) -> Result<Vec<Notice>, Error> {
        let policy = self.policy();
        let mut names = Names::default();
        let mut found = self.overwritten(&policy, &mut names)?;
        found.extend(self.not_counted(&policy, &mut names)?);
        found.extend(self.declined(&policy, &mut names)?);
        // Two batches may hold one change.
        let by_id: BTreeMap<String, Notice> =
            found.into_iter().map(|notice| (notice.id.clone(), notice)).collect();
        Ok(by_id.into_values().collect())
    }

    /// Whether a device is one of this person's.
    fn is_own(&self, policy: &Policy, device: &DeviceId) -> bool {
        let user = self.user();
        policy.known(device).map_or(*device == self.device(), |known| known.user == user)
    }

    /// Values of this person that others decided against.
    fn overwritten(&self, policy: &Arc<Policy>, names: &mut Names) -> Result<Vec<Notice>, Error> {
        let mut records = BTreeSet::new();
        let range = rows::inbox_items(false, "");
        for row in rows::scan(self.view(), Tree::Inbox, range, Direction::Ascending) {
            records.insert(rows::decode::<ConflictRow>(&row?.1)?.document);
        }
        // Reading takes long: nobody waits for it.
        let view = self.projector.view_number();
        let mut known = self.told_by(policy, view);
        known.retain(|id, _| records.contains(id));
        let mut found = Vec::new();
        for id in records {
            if let Some((then, notices)) = known.get(&id)
                && self.reads_as(then)?
            {
                found.extend(notices.iter().cloned());
                continue;
            }
            let items = self.items_of(id, names)?;
            let alike = items.iter().filter_map(|item| item.duplicate.as_ref());
            let alike = alike.flat_map(|found| found.records.iter().map(|record| record.id));
            let read: BTreeSet<DocumentId> = alike.chain([id]).collect();
            let mut read_as = Vec::with_capacity(read.len());
            for id in read {
                read_as.extend(self.row(id)?.map(|row| (id, version(&row.changes))));
            }
            let lost = items.iter().filter_map(|item| self.lost(policy, item, &items));
            let mut notices: Vec<Notice> = lost.collect();
            notices.extend(items.iter().flat_map(|item| self.given_up(policy, item)));
            found.extend(notices.iter().cloned());
            if known.len() < KEPT_MAX {
                known.insert(id, (read_as, notices));
            }
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        (told.by, told.records) = (Some((Arc::clone(policy), view)), known);
        Ok(found)
    }

    /// Whether these records read as they did.
    fn reads_as(&self, then: &[(DocumentId, String)]) -> Result<bool, Error> {
        for (id, read_as) in then {
            if self.row(*id)?.is_none_or(|row| version(&row.changes) != *read_as) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is known to tell, if that was found by this policy and in the view as it is.
    fn told_by(&self, policy: &Arc<Policy>, view: u64) -> Known {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match &told.by {
            Some((by, seen)) if Arc::ptr_eq(by, policy) && *seen == view => told.records.clone(),
            _ => BTreeMap::new(),
        }
    }

    /// Records of this person that somebody else gave up for others that are alike.
    fn given_up(&self, policy: &Policy, item: &ConflictReport) -> Vec<Notice> {
        let (Some(found), Some(end)) = (&item.duplicate, item.ended.last()) else {
            return Vec::new();
        };
        if end.device.as_ref().is_some_and(|device| self.is_own(policy, device)) {
            return Vec::new();
        }
        let sides = || found.records.iter().zip(&item.values);
        let stays = |record: &Record| {
            let left = end.left.as_array().into_iter().flatten();
            left.filter_map(Json::as_str).any(|id| id == record.id.to_string())
        };
        let left = sides().find(|(record, _)| stays(record)).map(|(_, side)| side.value.clone());
        let is_lost = |record: &Record| {
            let is_mine =
                record.created_by == self.user() || self.is_own(policy, &record.device_id);
            is_mine && record.deleted && !stays(record)
        };
        let lost = sides().filter(|(record, _)| is_lost(record));
        let told = lost.map(|(record, side)| Notice {
            id: notice_id(NoticeKind::Overwritten, &format!("{} {}", item.id, record.id)),
            record: record.id,
            by: end.user.clone(),
            at: Some(end.at),
            wrote: side.value.clone(),
            left: left.clone().unwrap_or_default(),
            ..notice(NoticeKind::Overwritten, item)
        });
        told.collect()
    }

    /// What this person lost where an item ended, if somebody else ended it; `items` are those of
    /// the record.
    fn lost(
        &self,
        policy: &Policy,
        item: &ConflictReport,
        items: &[ConflictReport],
    ) -> Option<Notice> {
        if item.duplicate.is_some() {
            return None;
        }
        let is_own = |device: &Option<DeviceId>| {
            device.as_ref().is_some_and(|device| self.is_own(policy, device))
        };
        let (later, end) = held_end(item, items)?;
        // Whoever had a part in what came of it is told of that alone.
        let has_part = |item: &&ConflictReport| item.values.iter().any(|side| is_own(&side.device));
        if is_own(&end.device) || later.iter().any(has_part) {
            return None;
        }
        // Beside what broke a rule stands what else the rule looked at.
        let is_value = |side: &ConflictValue| {
            item.kind != KIND_RULE
                || side.fields.is_empty()
                || side.fields.contains_key(&item.field)
        };
        let sides = item.values.iter().filter(|side| is_value(side));
        let own: Vec<_> = sides.filter(|side| is_own(&side.device)).collect();
        // When it was deleted is no matter, and the edits of one who changed it are all kept.
        let is_left = |value: &Json| match item.kind.as_str() {
            KIND_DELETED => value.is_null() == end.left.is_null(),
            _ => *value == end.left,
        };
        if own.iter().any(|side| is_left(&side.value)) {
            return None;
        }
        // Who gave it up for one that is alike is told already.
        let is_same = |it: &EndReport| (it.device, it.at) == (end.device, end.at);
        let mut alike = items.iter().filter(|item| item.duplicate.is_some());
        if end.deleted && alike.any(|item| item.ended.iter().any(is_same)) {
            return None;
        }
        let side = own.first()?;
        Some(Notice {
            id: notice_id(NoticeKind::Overwritten, &item.id),
            by: end.user.clone(),
            at: Some(end.at),
            wrote: side.value.clone(),
            left: end.left.clone(),
            reason: end.deleted.then(|| "the record was deleted".into()),
            ..notice(NoticeKind::Overwritten, item)
        })
    }

    /// Changes of this person that could not be applied, and batches that do not count.
    fn not_counted(&self, policy: &Policy, names: &mut Names) -> Result<Vec<Notice>, Error> {
        let mut found = Vec::new();
        for (id, key) in self.refused()? {
            let row: Option<QuarantineRow> = rows::find(self.view(), Tree::Quarantine, &key)?;
            if row.is_none_or(|row| !self.is_own(policy, &row.author)) {
                continue;
            }
            let item = self.report_refused(&id, &key, names)?;
            found.extend(item.map(|item| notice(NoticeKind::Refused, &item)));
        }
        for batch in self.aside()? {
            let Some(item) = self.batch_aside(&batch, names)? else { continue };
            let Some(aside) = &item.batch else { continue };
            if self.is_own(policy, &aside.device) {
                let at = Some(aside.at);
                found.push(Notice { at, ..notice(NoticeKind::Excluded, &item) });
            }
        }
        Ok(found)
    }
}

impl Ledger {
    /// Records with work of this person that somebody else has refused to approve.
    fn declined(&self, policy: &Policy, names: &mut Names) -> Result<Vec<Notice>, Error> {
        let mut found = Vec::new();
        self.each_waiting(policy, |id, schema, record| {
            let Some(ruling) = record.approval.as_ref().and_then(|it| it.last.as_ref()) else {
                return;
            };
            let Answer::Refused(reason) = &ruling.answer else { return };
            let is_mine = || record.created_by == self.user() || self.is_work_of_mine(policy, id);
            if self.is_own(policy, &ruling.author) || !is_mine() {
                return;
            }
            let name = names.of_unshown(self, schema, record).unwrap_or_else(|| id.short());
            found.push(Notice {
                id: notice_id(NoticeKind::Declined, &hex(&ruling.hash)),
                kind: NoticeKind::Declined,
                record: id,
                collection: schema.name.clone(),
                name,
                field: String::new(),
                item: String::new(),
                by: policy.known(&ruling.author).map(person),
                at: Some(ruling.at),
                wrote: Json::Null,
                left: Json::Null,
                reason: Some(reason.clone()),
                seen: false,
            });
        })?;
        Ok(found)
    }

    /// Whether this person has written in a record; what cannot be read says nothing, and neither
    /// does whoever only commented on it or said whether it counts.
    fn is_work_of_mine(&self, policy: &Policy, id: DocumentId) -> bool {
        let told = || self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(row) = self.row(id).ok().flatten() else { return false };
        let read_as = version(&row.changes);
        if let Some((_, wrote)) = told().wrote.get(&id).filter(|(then, _)| *then == read_as) {
            return *wrote;
        }
        let work = self.document(id).ok().flatten().and_then(|document| document.work().ok());
        let is_work = |hash: &[u8; 32]| work.as_ref().is_some_and(|work| work.contains(hash));
        let wrote = self.authors(&row).is_ok_and(|authors| {
            authors.iter().any(|(hash, device)| is_work(hash) && self.is_own(policy, device))
        });
        let known = &mut told().wrote;
        if known.len() >= KEPT_MAX {
            known.clear();
        }
        known.insert(id, (read_as, wrote));
        wrote
    }
}

/// The end of an item that holds, and the items that came of it in between: people may have ended
/// it apart, or somebody wrote beside them. None while one of these is open.
fn held_end<'a>(
    item: &'a ConflictReport,
    items: &'a [ConflictReport],
) -> Option<(Vec<&'a ConflictReport>, &'a EndReport)> {
    let (mut last, mut later) = (item, Vec::new());
    // No item comes of itself, so there are no more steps than items.
    while later.len() <= items.len() {
        if last.open {
            return None;
        }
        let competes = |side: &ConflictValue| {
            let mut ends = last.ended.iter();
            ends.any(|end| end.device.is_some() && (end.device, end.at) == (side.device, side.at))
        };
        let came_of_it = |other: &&ConflictReport| {
            other.id != last.id
                && (&other.kind, &other.field) == (&last.kind, &last.field)
                && other.values.iter().any(competes)
        };
        let Some(next) = items.iter().find(came_of_it) else {
            let ends = last.ended.iter();
            let end = ends.max_by(|a, b| (a.at, &a.change).cmp(&(b.at, &b.change)))?;
            return Some((later, end));
        };
        later.push(next);
        last = next;
    }
    None
}

/// A notice about an item of the inbox.
fn notice(kind: NoticeKind, item: &ConflictReport) -> Notice {
    Notice {
        id: notice_id(kind, &item.id),
        kind,
        record: item.record,
        collection: item.collection.clone(),
        name: item.name.clone(),
        field: item.field.clone(),
        item: item.id.clone(),
        by: None,
        at: None,
        wrote: serde_json::Value::Null,
        left: serde_json::Value::Null,
        reason: item.reason.clone(),
        seen: false,
    }
}

/// The id of a notice: one for each item, so that nobody is told twice of the same.
fn notice_id(kind: NoticeKind, item: &str) -> String {
    let kind = match kind {
        NoticeKind::Overwritten => 1,
        NoticeKind::Refused => 2,
        NoticeKind::Excluded => 3,
        NoticeKind::Declined => 4,
    };
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/notice-id/1");
    hasher.update(&[kind]);
    hasher.update(item.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// The notice that an id or the ending of one means.
fn meant(notices: &[Notice], text: &str) -> Result<String, Error> {
    let ending = text.trim().to_lowercase();
    let is_meant = |notice: &&Notice| !ending.is_empty() && notice.id.ends_with(&ending);
    let found: Vec<&Notice> = notices.iter().filter(is_meant).collect();
    match found.as_slice() {
        [] => Err(Error::NotFound { kind: "notice", name: text.to_owned() }),
        [notice] => Ok(notice.id.clone()),
        several => Err(Error::Ambiguous {
            name: text.to_owned(),
            candidates: several.iter().take(CANDIDATES_MAX).map(|it| it.id.clone()).collect(),
        }),
    }
}

#[cfg(test)]
mod tests;

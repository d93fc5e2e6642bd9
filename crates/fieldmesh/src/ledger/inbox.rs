//! The conflict inbox: which items there are, what competes in them, who wrote it and what each
//! author had seen.
//!
//! Items are listed by id, a page at a time; only the records of a page are read.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use fieldmesh_document::{Closing, Comment, ConflictKind, Document, FieldConflict};
use fieldmesh_identity::Policy;
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{BatchId, DeviceId, DocumentId, Fields};
use fieldmesh_store::{Direction, KeyRange, Tree};

use crate::api::{
    CONFLICTS_MAX, CommentReport, ConflictQuery, ConflictReport, ConflictValue, EndReport,
    SightReport,
};
use crate::error::Error;
use crate::rows::{self, ConflictRow, QuarantineRow};

use super::Ledger;
use super::breaches::is_breach;
use super::duplicates::KIND_DUPLICATE;
use super::query::Names;
use super::record::{hex, person, person_with};

pub(super) const KIND_FIELD: &str = "field";
pub(crate) const KIND_DELETED: &str = "deleted-and-edited";
pub(super) const KIND_RULE: &str = "rule";
pub(super) const KIND_PARALLEL: &str = "parallel";
pub(super) const KIND_QUARANTINE: &str = "quarantine";

const KINDS: [&str; 6] =
    [KIND_FIELD, KIND_DUPLICATE, KIND_DELETED, KIND_RULE, KIND_PARALLEL, KIND_QUARANTINE];

/// Items that are named where an ending means several.
const CANDIDATES_MAX: usize = 5;

/// Records whose items are kept at hand while a page is made.
const RECORDS_MAX: usize = 256;

/// The fewest characters of a whole id; what people type of one is shorter.
const ID_LENGTH_MIN: usize = 18;

/// Where an item is found.
pub(super) enum Found {
    /// About a record.
    Record(DocumentId),
    /// A change that was refused, by its key.
    Refused(Vec<u8>),
    /// A batch that does not count.
    Aside(BatchId),
    /// A batch that counts since somebody adopted it, and who.
    Adopted(BatchId, String),
}

/// What the items of one record are told with.
pub(super) struct Telling<'a> {
    pub(super) document: &'a Document,
    pub(super) schema: &'a Collection,
    pub(super) record: DocumentId,
    pub(super) name: String,
    authors: BTreeMap<[u8; 32], DeviceId>,
    policy: &'a Policy,
}

impl Ledger {
    /// A page of the items of the inbox, in the order of their ids.
    pub(crate) fn conflicts(&self, query: &ConflictQuery) -> Result<Vec<ConflictReport>, Error> {
        if let Some(kind) = query.kind.as_deref().filter(|kind| !KINDS.contains(kind)) {
            return Err(Error::Usage {
                reason: format!("there is no conflict kind {kind:?}; choose {}", KINDS.join(", ")),
            });
        }
        if let Some(after) = query.after.as_deref().filter(|after| !is_whole_id(after)) {
            return Err(Error::Usage {
                reason: format!(
                    "{after:?} is no id of a conflict; give the whole id of the last one of the \
                     page before"
                ),
            });
        }
        self.settle()?;
        let count = query.limit.unwrap_or(CONFLICTS_MAX).clamp(1, CONFLICTS_MAX);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut names = Names::default();
        let mut reports = Vec::new();
        let kind = query.kind.as_deref();
        if kind != Some(KIND_QUARANTINE) {
            let mut of_records = BTreeMap::new();
            if kind != Some(KIND_PARALLEL) {
                self.inbox_page(true, query, count, &mut of_records, &mut names, &mut reports)?;
            }
            if query.closed || kind == Some(KIND_PARALLEL) {
                self.inbox_page(false, query, count, &mut of_records, &mut names, &mut reports)?;
            }
        }
        if kind.is_none_or(|kind| kind == KIND_QUARANTINE) {
            let after = query.after.as_deref().unwrap_or_default();
            let (mut others, discarded) = (self.others_behind(after)?, self.discarded()?);
            if query.closed {
                others.extend(self.adopted_behind(after)?);
            }
            let mut left = count;
            for (id, found) in others {
                let item = self.found_item(&id, &found, &mut names)?;
                let item = item.map(|item| self.with_discard(item, &discarded));
                let item = item.filter(|item| query.closed || item.discarded.is_none());
                left -= usize::from(item.is_some());
                reports.extend(item);
                if left == 0 {
                    break;
                }
            }
        }
        reports.sort_by(|a, b| a.id.cmp(&b.id));
        reports.truncate(count);
        Ok(reports)
    }

    /// Adds items that are open, or that are not, until there are `count`.
    fn inbox_page(
        &self,
        open: bool,
        query: &ConflictQuery,
        count: usize,
        known: &mut BTreeMap<DocumentId, Vec<ConflictReport>>,
        names: &mut Names,
        reports: &mut Vec<ConflictReport>,
    ) -> Result<(), Error> {
        let after = query.after.as_deref().unwrap_or_default();
        let kind = query.kind.as_deref();
        let mut left = count;
        let range = rows::inbox_items(open, after);
        for row in rows::scan(self.view(), Tree::Inbox, range, Direction::Ascending) {
            let (key, value) = row?;
            let (id, row): (String, ConflictRow) = (rows::inbox_id(&key), rows::decode(&value)?);
            // Each of several records tells what was decided about them.
            if reports.last().is_some_and(|last| last.id == id) {
                continue;
            }
            if kind.is_some_and(|kind| is_breach(&id) != (kind == KIND_RULE)) {
                continue;
            }
            if known.len() >= RECORDS_MAX {
                known.clear();
            }
            let items = match known.entry(row.document) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.items_of(row.document, names)?),
            };
            let wanted = items.iter().filter(|it| it.id == id && it.open == open);
            let wanted = wanted.filter(|it| kind.is_none_or(|kind| it.kind == kind));
            let before = reports.len();
            reports.extend(wanted.take(1).cloned());
            left -= reports.len() - before;
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// How many items are open.
    pub(crate) fn open_conflicts(&self) -> Result<u64, Error> {
        let range = rows::inbox_items(true, "");
        let keys = rows::keys(self.view(), Tree::Inbox, range, Direction::Ascending);
        keys.map(|key| key.map(|_| 1)).sum()
    }

    /// The ids of all open items about records.
    pub(crate) fn open_ids(&self) -> Result<Vec<String>, Error> {
        self.settle()?;
        let range = rows::inbox_items(true, "");
        let keys = rows::keys(self.view(), Tree::Inbox, range, Direction::Ascending);
        keys.map(|key| key.map(|key| rows::inbox_id(&key))).collect()
    }

    /// The item that `id`, or the end of it, means.
    pub(crate) fn conflict(&self, id: &str) -> Result<ConflictReport, Error> {
        let wanted = id.trim().to_lowercase();
        self.settle()?;
        let not_found = || Error::NotFound { kind: "conflict", name: id.into() };
        let (id, found) = self.find_item(&wanted)?.ok_or_else(not_found)?;
        let item = self.found_item(&id, &found, &mut Names::default())?.ok_or_else(not_found)?;
        Ok(self.with_discard(item, &self.discarded()?))
    }

    fn find_item(&self, wanted: &str) -> Result<Option<(String, Found)>, Error> {
        let open = rows::find(self.view(), Tree::Inbox, &rows::inbox_key(wanted))?;
        if let Some(ConflictRow { document, .. }) = open {
            return Ok(Some((wanted.to_owned(), Found::Record(document))));
        }
        let range = KeyRange::prefix(&rows::ended_prefix(wanted));
        if let Some((key, row)) =
            rows::edge(self.view(), Tree::Inbox, &range, Direction::Ascending)?
            && rows::inbox_id(&key) == wanted
        {
            let ConflictRow { document, .. } = rows::decode(&row)?;
            return Ok(Some((wanted.to_owned(), Found::Record(document))));
        }
        let mut fitting: BTreeMap<String, Option<Found>> = BTreeMap::new();
        let all = KeyRange::all();
        for key in rows::keys(self.view(), Tree::Inbox, all, Direction::Ascending) {
            let id = rows::inbox_id(&key?);
            if id.ends_with(wanted) && fitting.len() <= CANDIDATES_MAX {
                fitting.insert(id, None);
            }
        }
        let others = self.others_behind("")?.into_iter().chain(self.adopted_behind("")?);
        fitting.extend(
            others.filter(|(id, _)| id.ends_with(wanted)).map(|(id, found)| (id, Some(found))),
        );
        if fitting.len() > 1 {
            let candidates = fitting.into_keys().take(CANDIDATES_MAX).collect();
            return Err(Error::Ambiguous { name: wanted.into(), candidates });
        }
        match fitting.pop_first() {
            None => Ok(None),
            Some((id, Some(found))) => Ok(Some((id, found))),
            Some((id, None)) => self.find_item(&id),
        }
    }

    /// What is quarantined, by id.
    pub(super) fn others_behind(&self, after: &str) -> Result<BTreeMap<String, Found>, Error> {
        let refused = self.refused()?.into_iter();
        let mut found: BTreeMap<String, Found> =
            refused.map(|(id, key)| (id, Found::Refused(key))).collect();
        found.extend(self.aside()?.into_iter().map(|id| (id.to_string(), Found::Aside(id))));
        found.retain(|id, _| id.as_str() > after);
        Ok(found)
    }

    /// What was quarantined until somebody adopted it, by id.
    fn adopted_behind(&self, after: &str) -> Result<BTreeMap<String, Found>, Error> {
        let adopted = self.adopted()?.into_iter();
        let found = adopted.map(|(id, by)| (id.to_string(), Found::Adopted(id, by)));
        Ok(found.filter(|(id, _)| id.as_str() > after).collect())
    }

    pub(super) fn found_item(
        &self,
        id: &str,
        found: &Found,
        names: &mut Names,
    ) -> Result<Option<ConflictReport>, Error> {
        match found {
            Found::Record(record) => {
                Ok(self.items_of(*record, names)?.into_iter().find(|item| item.id == id))
            }
            Found::Refused(key) => self.report_refused(id, key, names),
            Found::Aside(batch) => self.batch_aside(batch, names),
            Found::Adopted(batch, by) => self.report_adopted(batch, by, names),
        }
    }

    /// Every item about a record, as far as the view is; who asks for many waits once.
    pub(crate) fn items_of(
        &self,
        id: DocumentId,
        names: &mut Names,
    ) -> Result<Vec<ConflictReport>, Error> {
        let closure = self.closure(&self.desk(), id)?;
        let Some(row) = self.row(id)?.filter(|_| !closure.is_empty()) else {
            return Ok(Vec::new());
        };
        let (schema, policy) = (self.schema(row.scope.collection), self.policy());
        let document = closure.document(id, &policy)?;
        let telling = Telling {
            document: &document,
            schema: &schema,
            record: id,
            name: names.of(self, id).unwrap_or_else(|| id.short()),
            authors: closure.authors(),
            policy: &policy,
        };
        let failed = |error: &fieldmesh_document::ReadError| Error::store(error);
        let found = document.conflicts(&schema).map_err(|error| failed(&error))?;
        let mut items = Vec::with_capacity(found.len());
        for conflict in found {
            items.push(telling.conflict(conflict)?);
        }
        let view = document.view(&schema).map_err(|error| failed(&error))?;
        let breaches = document.breaches(&schema, &view).map_err(|error| failed(&error))?;
        items.extend(breaches.into_iter().map(|breach| telling.breach(breach)));
        telling.ended(rows::ended_of(&document, &schema), &mut items);
        if let Some(record) = &row.record {
            let open = self.duplicates_of(id, &schema, record, names)?;
            let settled = self.decided(id, (&document, &schema), record, &open, names)?;
            items.extend(open.into_iter().chain(settled));
        }
        let said = document.comments().map_err(|error| Error::store(&error))?;
        for comment in said {
            let id = comment.item.to_string();
            if let Some(item) = items.iter_mut().find(|item| item.id == id) {
                item.comments.push(telling.comment(comment));
            }
        }
        // What was said of several records stands in any of them.
        items.iter_mut().for_each(|item| item.comments.sort_by_key(|comment| comment.at));
        Ok(items)
    }

    /// The fields that somebody edited who did not know that the record was deleted, as they were
    /// then; null where one was not there.
    pub(crate) fn as_deleted(&self, id: DocumentId) -> Result<Fields, Error> {
        let closure = self.closure(&self.desk(), id)?;
        let Some(row) = self.row(id)?.filter(|_| !closure.is_empty()) else {
            return Ok(Fields::new());
        };
        let document = closure.document(id, &self.policy())?;
        let schema = self.schema(row.scope.collection);
        document.as_deleted(&schema).map_err(|error| Error::store(&error))
    }

    pub(super) fn report_refused(
        &self,
        id: &str,
        key: &[u8],
        names: &mut Names,
    ) -> Result<Option<ConflictReport>, Error> {
        let row: Option<QuarantineRow> = rows::find(self.view(), Tree::Quarantine, key)?;
        let Some(row) = row else { return Ok(None) };
        let name = names.of(self, row.document).unwrap_or_else(|| row.document.short());
        let collection = self.schema(row.collection).name.clone();
        let reason = format!("{} (by device {})", row.reason, row.author.short());
        Ok(Some(ConflictReport {
            reason: Some(reason),
            ..item(id.to_owned(), KIND_QUARANTINE, row.document, collection, name)
        }))
    }
}

/// Whether this may be the whole id of an item: a UUID, a batch, or where what cannot be read lies.
fn is_whole_id(text: &str) -> bool {
    let is_of_id = |byte: u8| byte == b'-' || matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() >= ID_LENGTH_MIN && text.bytes().all(is_of_id)
}

/// An open item of which nothing more is told.
pub(super) fn item(
    id: String,
    kind: &str,
    record: DocumentId,
    collection: String,
    name: String,
) -> ConflictReport {
    ConflictReport {
        id,
        kind: kind.into(),
        record,
        collection,
        name,
        field: String::new(),
        open: true,
        values: Vec::new(),
        faults: Vec::new(),
        ended: Vec::new(),
        comments: Vec::new(),
        reason: None,
        batch: None,
        discarded: None,
        adopted_by: None,
        duplicate: None,
    }
}

impl Telling<'_> {
    pub(super) fn item(&self, id: &uuid::Uuid, kind: &str) -> ConflictReport {
        let collection = self.schema.name.clone();
        item(id.to_string(), kind, self.record, collection, self.name.clone())
    }

    fn conflict(&self, found: FieldConflict) -> Result<ConflictReport, Error> {
        let kind = match found.kind {
            ConflictKind::DeletedAndEdited => KIND_DELETED,
            ConflictKind::SettledAutomatically | ConflictKind::MergedAutomatically => KIND_PARALLEL,
            _ => KIND_FIELD,
        };
        let sides: Vec<_> = found.values.iter().map(|side| side.hash).collect();
        let sights = self.document.sights(&sides).map_err(|error| Error::store(&error))?;
        let labels: Vec<_> = found.values.iter().map(|side| side.label.clone()).collect();
        let mut report = ConflictReport { open: found.is_open(), ..self.item(&found.id, kind) };
        report.values = self.sides(found.values);
        for (value, sight) in report.values.iter_mut().zip(sights) {
            let seen = sight.sides.into_iter().filter_map(|side| labels.get(side).cloned());
            value.saw = Some(SightReport {
                sides: seen.collect(),
                unseen: sight.unseen,
                unseen_last: sight.unseen_last,
            });
        }
        report.field = found.key;
        Ok(report)
    }

    /// Adds what has ended, unless it is there again: each item once, however many ended it.
    fn ended(&self, closings: Vec<Closing>, items: &mut Vec<ConflictReport>) {
        let open = items.len();
        for closing in closings {
            let id = closing.item.to_string();
            if items[..open].iter().any(|item| item.id == id) {
                continue;
            }
            let (user, device) = self.author(&closing.hash);
            let end = EndReport {
                settled: closing.is_settled,
                change: hex(&closing.hash),
                user,
                device,
                at: closing.at,
                left: closing.left.to_json(),
                deleted: closing.is_deletion,
                merged: Vec::new(),
            };
            if let Some(known) = items.iter_mut().find(|item| item.id == id) {
                known.ended.push(end);
                continue;
            }
            let kind = match closing.kind {
                ConflictKind::DeletedAndEdited => KIND_DELETED,
                ConflictKind::RuleBroken => KIND_RULE,
                _ => KIND_FIELD,
            };
            items.push(ConflictReport {
                open: false,
                field: closing.key,
                values: self.sides(closing.values),
                faults: closing.faults,
                ended: vec![end],
                ..self.item(&closing.item, kind)
            });
        }
    }

    fn comment(&self, comment: Comment) -> CommentReport {
        let (user, device) = self.author(&comment.hash);
        CommentReport { text: comment.text, user, device, at: comment.at }
    }

    fn author(&self, change: &[u8; 32]) -> (Option<String>, Option<DeviceId>) {
        let device = self.authors.get(change).copied();
        (device.and_then(|device| self.policy.known(&device)).map(person), device)
    }

    /// For whom a gateway made a change; nobody else's word counts for that.
    fn made_for(&self, change: &[u8; 32]) -> Option<String> {
        let member = self.policy.known(self.authors.get(change)?)?;
        let said = self.document.change_for(change)?;
        (member.was_gateway && member.user.to_string() != said).then_some(said)
    }

    /// Values with who wrote them.
    pub(super) fn sides(
        &self,
        sides: Vec<fieldmesh_document::ConflictValue>,
    ) -> Vec<ConflictValue> {
        let side = |side: fieldmesh_document::ConflictValue| {
            let (user, device) = self.author(&side.hash);
            let made_for = self.made_for(&side.hash);
            ConflictValue {
                label: side.label,
                value: side.value.to_json(),
                user: match &made_for {
                    Some(user) => person_with(self.policy, user),
                    None => user,
                },
                made_for,
                device,
                at: side.at,
                fields: side.edits.iter().map(|(key, it)| (key.clone(), it.to_json())).collect(),
                saw: None,
            }
        };
        sides.into_iter().map(side).collect()
    }
}

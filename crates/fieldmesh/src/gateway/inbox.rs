//! Conflicts that every replica finds in the records by itself.

use std::collections::BTreeSet;

use fieldmesh_model::input::value_from_json;
use fieldmesh_model::schema::Unique;
use fieldmesh_model::{DocumentId, Fields, Moment, Value};
use fieldmesh_store::{Direction, Tree};

use crate::api::ConflictReport;
use crate::error::Error;
use crate::ledger::{KIND_DELETED, Names, is_breach};
use crate::rows::{self, ConflictRow};

use super::{Access, Held};

/// Values of which one has to be chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Competing {
    /// The same on every replica.
    pub id: String,
    /// The record.
    pub document: DocumentId,
    /// The field; of a record that was deleted here and edited there it means nothing.
    pub field: String,
    /// Whether it is about the deletion of the record.
    pub is_deletion: bool,
    /// The values, by time.
    pub values: Vec<CompetingValue>,
    /// Of a deletion: the fields that were edited as they were to whoever deleted; null where one
    /// was not there.
    pub before: Fields,
    /// Of records that are alike: all of which somebody has to say which stays, deleted ones too,
    /// where people have deleted them for each other. Nothing competes in a field of theirs.
    pub alike: Vec<DocumentId>,
}

/// Some items of the inbox that follow each other.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InboxPart {
    /// Those of them of which somebody has to choose something.
    pub found: Vec<Competing>,
    /// How many items these were.
    pub looked_at: usize,
    /// The id of the last of them.
    pub last: Option<String>,
}

/// One of several values.
#[derive(Debug, Clone, PartialEq)]
pub struct CompetingValue {
    /// The value; null is a cleared field.
    pub value: Value,
    /// When it was written, by the clock of the device.
    pub at: Moment,
    /// The id of who wrote it: of the person for whom a gateway did, where it did so.
    pub user: Option<String>,
}

impl Access {
    /// Open conflicts that stand in records, or between records that are alike, by id, from behind
    /// `after` on: those among the next `count` items of the inbox.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn inbox(&self, after: &str, count: usize) -> Result<InboxPart, Error> {
        let range = rows::inbox_items(true, after);
        let items = rows::scan(self.ledger.view(), Tree::Inbox, range, Direction::Ascending);
        let mut part = InboxPart::default();
        for row in items.take(count) {
            let (key, value) = row?;
            let row: ConflictRow = rows::decode(&value)?;
            let id = rows::inbox_id(&key);
            // Of a broken rule there is nothing to choose.
            if !is_breach(&id) {
                part.found.extend(self.competing(&id, row.document)?);
            }
            part.looked_at += 1;
            part.last = Some(id);
        }
        Ok(part)
    }

    /// The open conflict `id`, if it stands in a record.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn inbox_item(&self, id: &str) -> Result<Option<Competing>, Error> {
        let row: Option<ConflictRow> =
            rows::find(self.ledger.view(), Tree::Inbox, &rows::inbox_key(id))?;
        match row {
            Some(row) => self.competing(id, row.document),
            None => Ok(None),
        }
    }

    /// Records that are alike and of which nobody has decided, `id` among them; where `edited` is
    /// given, only those that are so by one of these fields.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn undecided(&self, id: DocumentId, edited: Option<&Fields>) -> Result<Vec<Held>, Error> {
        let Some(row) = self.ledger.row(id)? else { return Ok(Vec::new()) };
        let (schema, record) = (self.schema(row.scope.collection), row.record);
        let Some(record) = record.filter(|_| !schema.unique.is_empty()) else {
            return Ok(Vec::new());
        };
        let is_meant = |unique: &Unique| {
            edited.is_none_or(|edited| unique.fields.iter().any(|key| edited.contains_key(key)))
        };
        let mut found = Vec::new();
        for group in self.ledger.groups_in(id, &schema, &record, is_meant)? {
            for member in group.members {
                found.extend(self.held(member)?);
            }
        }
        Ok(found)
    }

    /// The records beside which a record says that it is meant.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn apart_from(&self, id: DocumentId) -> Result<BTreeSet<DocumentId>, Error> {
        Ok(self.ledger.kinship(id)?.map(|said| said.apart_from).unwrap_or_default())
    }

    /// The records in favour of which a record is deleted; none where it is not.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn deleted_for(&self, id: DocumentId) -> Result<BTreeSet<DocumentId>, Error> {
        let said = self.ledger.kinship(id)?.filter(|said| said.is_deleted);
        Ok(said.map(|said| said.superseded_by).unwrap_or_default())
    }

    fn competing(&self, id: &str, document: DocumentId) -> Result<Option<Competing>, Error> {
        let mut items = self.ledger.items_of(document, &mut Names::default())?.into_iter();
        let is_it = |item: &ConflictReport| item.id == id && item.open;
        let Some(report) = items.find(is_it) else {
            return Ok(None);
        };
        let policy = self.ledger.policy();
        let author = |device| policy.known(&device).map(|member| member.user.to_string());
        let value = |value: crate::api::ConflictValue| CompetingValue {
            value: value_from_json(&report.field, &value.value).unwrap_or(Value::Null),
            at: value.at,
            user: value.made_for.or_else(|| value.device.and_then(author)),
        };
        let is_deletion = report.kind == KIND_DELETED;
        let alike = report.duplicate.map(|found| found.records).unwrap_or_default();
        Ok(Some(Competing {
            id: report.id,
            document,
            is_deletion,
            before: match is_deletion {
                true => self.ledger.as_deleted(document)?,
                false => Fields::new(),
            },
            values: match alike.is_empty() {
                true => report.values.into_iter().map(value).collect(),
                false => Vec::new(),
            },
            field: report.field,
            alike: alike.into_iter().map(|it| it.id).collect(),
        }))
    }
}

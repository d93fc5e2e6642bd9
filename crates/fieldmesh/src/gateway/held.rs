//! A record as a gateway reads it.

use fieldmesh_model::{DocumentId, Fields, Moment, UserId, Value};

use crate::changes::{Source, read_change};
use crate::error::Error;
use crate::ledger::{Ledger, is_breach};
use crate::rows::{ConflictMark, DocumentRow, RecordRow};

use super::Access;

/// A record as a gateway reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Its id.
    pub id: DocumentId,
    /// The number of its collection.
    pub collection: u16,
    /// What the client that created it calls it.
    pub name: Option<Value>,
    /// The user of a gateway who created it.
    pub made_for: Option<String>,
    /// The user whose device created it.
    pub created_by: UserId,
    /// When it was created, by the clock of the device.
    pub created_at: Moment,
    /// When it was changed last, by the clock of the device.
    pub changed_at: Moment,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Its fields.
    pub fields: Fields,
    /// Where in the feed its changes arrived, in their order; those on their way are missing.
    pub arrived: Vec<u64>,
    /// Where in the feed it stands.
    pub position: u64,
    /// How many changes it has.
    pub version: u64,
    /// The open conflicts of it that every replica knows.
    pub conflicts: Vec<String>,
}

impl Access {
    /// Who changed a record last: the user in whose name a gateway did, else whose device did.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn changed_by(&self, held: &Held) -> Result<Option<String>, Error> {
        let created_by = || held.made_for.clone().unwrap_or_else(|| held.created_by.to_string());
        if held.version <= 1 {
            return Ok(Some(created_by()));
        }
        let (ledger, policy) = (&self.ledger, self.ledger.policy());
        let Some(row) = ledger.row(held.id)? else { return Ok(None) };
        // The change of that moment is the one that arrived last, as a rule.
        for reference in row.changes.iter().rev() {
            let Source { author, change, .. } =
                read_change(&ledger.store, *reference, ledger.device())?;
            let peeked = fieldmesh_document::peek(&change).map_err(|error| Error::store(&error))?;
            if peeked.at != held.changed_at {
                continue;
            }
            let Some(member) = policy.known(&author) else { return Ok(None) };
            let said = fieldmesh_document::written_for(&change);
            let said = said.filter(|_| ledger.may_write_for_others(member.user));
            return Ok(Some(said.unwrap_or_else(|| member.user.to_string())));
        }
        Ok(None)
    }
}

impl Held {
    pub(crate) fn of_row(id: DocumentId, row: DocumentRow, ledger: &Ledger) -> Option<Self> {
        let DocumentRow { scope, changes, record, arrived, feed, .. } = row;
        let version = changes.len() as u64;
        let held = Self::of((id, scope.collection), record?, version, ledger);
        Some(Self { arrived, position: feed, ..held })
    }

    pub(crate) fn of(
        (id, collection): (DocumentId, u16),
        record: RecordRow,
        version: u64,
        ledger: &Ledger,
    ) -> Self {
        let by = record.created_by;
        let made_for = record.made_for.filter(|user| {
            // Who writes for himself says nothing new.
            user.parse() == Ok(by) || ledger.may_write_for_others(by)
        });
        // A broken rule competes with nothing.
        let is_wanted = |mark: &ConflictMark| mark.open && !is_breach(&mark.id);
        let open = record.conflicts.into_iter().filter(is_wanted);
        Self {
            id,
            collection,
            name: Some(record.name).filter(|name| *name != Value::Null),
            made_for,
            created_by: record.created_by,
            created_at: record.created_at,
            changed_at: record.updated_at,
            deleted: record.deleted,
            fields: record.fields,
            arrived: Vec::new(),
            position: 0,
            version,
            conflicts: open.map(|conflict| conflict.id).collect(),
        }
    }

    /// How many of its changes had arrived up to a position of the feed.
    pub fn version_at(&self, position: u64) -> u64 {
        self.arrived.iter().filter(|arrived| **arrived <= position).count() as u64
    }
}

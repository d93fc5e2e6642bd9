//! Conflicts that somebody has decided by writing: which these are, and what of them stands on.

use fieldmesh::gateway::{CompetingValue, Held};
use fieldmesh_model::Value;

use crate::push::Writing;
use crate::stored::{ConflictRow, Kind};
use crate::{Failure, Task};

/// Conflicts that nobody has to settle any more and that a listing goes past.
const SUPERSEDED_MAX: usize = 64;

impl Writing<'_> {
    /// Whether somebody has decided, also by what is being written.
    pub(crate) fn is_superseded(&self, row: &ConflictRow) -> Result<bool, Failure> {
        let client = self.write.held(row.client.document)?;
        let server = self.write.held(row.server.document)?;
        Ok(row.is_superseded(client.as_ref(), server.as_ref()))
    }

    /// Whether what a conflict is about competes no more: a note that is superseded says so only
    /// where what it told of stands beside nothing else.
    pub(crate) fn is_over(&self, row: &ConflictRow) -> Result<bool, Failure> {
        if !self.is_superseded(row)? {
            return Ok(false);
        }
        let held = self.write.held(row.client.document)?;
        for id in held.iter().flat_map(|held| &held.conflicts) {
            let Some(competing) = self.task.access.inbox_item(id)? else { continue };
            let is_told = |value: &CompetingValue| row.brings(&competing.field, &value.value);
            if row.kind == Kind::Field && competing.values.iter().any(is_told) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Task<'_> {
    /// Whether somebody has decided by writing what the record now says, here or on a device.
    pub(crate) fn is_superseded(&self, row: &ConflictRow) -> Result<bool, Failure> {
        let client = self.access.held(row.client.document)?;
        let server = self.access.held(row.server.document)?;
        Ok(row.is_superseded(client.as_ref(), server.as_ref()))
    }

    /// Whether what stands in a record came over the gateway, so that its note lists it. A note that
    /// is superseded is on no list: what it told of stands beside something else by then.
    pub(crate) fn is_noted(&self, row: &ConflictRow) -> Result<bool, Failure> {
        for note in self.open_of(row.client.document)? {
            if note.tells_of(row) && !self.is_superseded(&note)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Conflicts that a listing went past because somebody has decided by writing. Once they are many
/// they leave the lists, so that who lists next goes past them no more.
pub(crate) struct Superseded<'a> {
    pub(crate) task: Task<'a>,
    pub(crate) rows: Vec<ConflictRow>,
}

impl Superseded<'_> {
    pub(crate) fn leave(&self) {
        // They are left out of every answer, on the lists or not.
        if self.rows.len() >= SUPERSEDED_MAX && self.take_off_lists().is_err() {
            tracing::warn!("conflicts that are decided stay on the lists: nothing can be written");
        }
    }

    fn take_off_lists(&self) -> Result<(), Failure> {
        let mut writing = self.task.writing(None, None)?;
        for row in &self.rows {
            if self.task.is_superseded(row)? {
                writing.take_off_lists(row);
            }
        }
        writing.write.finish()?;
        Ok(())
    }
}

impl ConflictRow {
    /// Whether its records, as they are, say that somebody has decided by writing.
    fn is_superseded(&self, client: Option<&Held>, server: Option<&Held>) -> bool {
        let (Some(client), Some(server)) = (client, server) else { return false };
        let null = Value::Null;
        match self.kind {
            Kind::Field => self.keys.iter().any(|key| {
                let (now, then) = (server.fields.get(key), self.server.fields.get(key));
                !now.unwrap_or(&null).is_same(then.unwrap_or(&null))
            }),
            Kind::Duplicate => client.deleted || server.deleted,
            Kind::DeletedAndEdited => server.deleted == self.client.deleted,
        }
    }

    /// Whether whoever reads it knows of `other`, which stands in a record of it.
    fn tells_of(&self, other: &Self) -> bool {
        self.kind == other.kind
            && (self.kind != Kind::Field
                || other.client.fields.iter().all(|(key, value)| self.brings(key, value)))
    }

    /// Whether its client brought this value of a field that is contested.
    fn brings(&self, key: &String, value: &Value) -> bool {
        let null = Value::Null;
        let brought = self.client.fields.get(key).unwrap_or(&null);
        self.keys.contains(key) && brought.is_same(value)
    }
}

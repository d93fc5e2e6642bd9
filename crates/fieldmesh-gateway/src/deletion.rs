//! Where a deletion meets an edit: which of them stands until somebody decides, and afterwards.

use fieldmesh::gateway::Held;
use fieldmesh_dialect::command::Resolution;
use fieldmesh_dialect::outcome::{Fate, Reason};
use fieldmesh_model::catalogue::free::FREE_RECORD;
use fieldmesh_model::{Fields, Value};

use crate::Failure;
use crate::free::replacing;
use crate::push::Writing;
use crate::ready::Ready;
use crate::stored::{ConflictRow, Kind};

impl Writing<'_> {
    /// What becomes of an edit of a record that is deleted: it stands beside the deletion until
    /// somebody decides, whether its author knew of that or not, for nobody would see it behind one.
    /// `on` is up to where he knew the record. What says nothing new is about no record.
    pub(crate) fn update_deleted(
        &mut self,
        held: &Held,
        on: u64,
        changed: &Fields,
        ready: &Ready<'_>,
    ) -> Result<Fate, Failure> {
        if changed.is_empty() {
            return Ok(Fate::Rejected(Reason::NoRecord));
        }
        if let Some(why) = self.task.decides_alike(held, Some(changed))? {
            return Ok(Fate::Rejected(Reason::Forbidden { why }));
        }
        let mut on = self.write.version_before_deletion(held.id)?.min(on);
        let disputed: Vec<String> = self.disputed(held, changed)?.into_keys().collect();
        if !disputed.is_empty() {
            // It stands beside what competes there as well, of which others have to decide.
            on = on.min(self.write.version_before(held.id, &disputed)?);
        }
        self.contest(held, on, changed, &[], ready)
    }

    pub(crate) fn settle_deleted(
        &mut self,
        row: &ConflictRow,
        resolution: Resolution,
        given: &Fields,
    ) -> Result<(), Failure> {
        let id = row.client.document;
        let is_of_client = row.is_for_client(resolution);
        if is_of_client == row.client.deleted {
            // A tombstone that knows of the edit.
            self.write.delete(id, None, self.task.at, &self.task.caller.user)?;
            self.note_written(id);
            return Ok(());
        }
        if self.write.held(id)?.is_some_and(|held| held.deleted) {
            self.write.restore(id, self.task.at, &self.task.caller.user)?;
            self.note_written(id);
        }
        let words = match resolution {
            Resolution::ClientWins | Resolution::LastWriteWins if is_of_client => {
                self.words_of_client(row)?
            }
            _ => given.clone(),
        };
        if !words.is_empty() {
            self.write.settling([id]);
            self.edit(id, None, &words, self.task.at)?;
        }
        Ok(())
    }

    /// What the client wrote that is not shown once the record is back: others wrote the same fields
    /// between what he knew and the deletion. Of what is disputed there others have to decide.
    fn words_of_client(&mut self, row: &ConflictRow) -> Result<Fields, Failure> {
        let Some(held) = self.write.held(row.client.document)? else { return Ok(Fields::new()) };
        let mut words = match row.collection {
            FREE_RECORD => replacing(&row.client.fields, &held.fields),
            _ => row.client.fields.clone(),
        };
        let disputed = self.disputed(&held, &words)?;
        let shown = |key: &String| held.fields.get(key).unwrap_or(&Value::Null);
        words.retain(|key, field| !disputed.contains_key(key) && !shown(key).is_same(field));
        Ok(words)
    }
}

impl ConflictRow {
    /// Whether a record that one side deleted is there or gone as the client wanted it.
    pub(crate) fn is_for_client(&self, resolution: Resolution) -> bool {
        match resolution {
            Resolution::ClientWins => true,
            Resolution::ServerWins => false,
            Resolution::LastWriteWins => self.client.at > self.server.at,
            // Whoever puts a record together wants it to be there.
            Resolution::Merge | Resolution::Manual => !self.client.deleted,
        }
    }

    /// A record as it is told to whoever was in this conflict: where the deletion stands, without
    /// what was written by somebody who did not know of it.
    pub(crate) fn decided(&self, held: Held) -> Held {
        let is_discarded =
            self.kind == Kind::DeletedAndEdited && self.server.deleted && held.deleted;
        match is_discarded {
            true => Held { fields: self.server.fields.clone(), ..held },
            false => held,
        }
    }
}

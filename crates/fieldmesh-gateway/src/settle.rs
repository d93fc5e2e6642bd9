//! Settles conflicts: writes what was decided and notes who did so.

use fieldmesh_dialect::Outcome;
use fieldmesh_dialect::command::{Resolution, Resolve};
use fieldmesh_dialect::outcome::{Asked, Resolved, Review};
use fieldmesh_model::catalogue::free::FREE_RECORD;
use fieldmesh_model::{DocumentId, Fields, Role, Value};

use crate::entity::Entity;
use crate::free::{below_payload, replacing};
use crate::names::Showing;
use crate::push::Writing;
use crate::stored::{self, AskedRow, ConflictRow, EntryRow, Kind, Settled, StateRow};
use crate::{Failure, Task, keys};

impl Task<'_> {
    pub(crate) fn resolve(&self, resolve: &Resolve) -> Result<Outcome, Failure> {
        let entry = self.entry_row(&resolve.conflict)?;
        let id = self.conflict_in(resolve, entry.as_ref())?;
        let row = self.conflict_named(&id)?;
        self.check_may_settle(&row)?;
        if row.settled.is_some() {
            return self.resolved_before(resolve, &row);
        }
        let mut writing = self.writing(None, None)?;
        // Somebody may have settled it while this waited for its turn.
        let row = match writing.conflict_row(&id)? {
            Some(row) => row,
            None => self.conflict_named(&id)?,
        };
        if row.settled.is_some() {
            return self.resolved_before(resolve, &row);
        }
        if let Some(review) = self.review(resolve, &row) {
            return self.ask(writing, resolve, &row, review);
        }
        if self.is_superseded(&row)? && !self.is_so(resolve.resolution, &row)? {
            let why = "Somebody has decided it by an edit meanwhile; read the record again";
            return Err(Failure::contradiction(why));
        }
        let emergency = resolve.emergency.clone();
        let keep = match &resolve.keep {
            Some(name) => {
                let entity = Entity::of(self.access.schema(row.collection));
                self.find(&entity, name, self.owner())?
            }
            None => None,
        };
        let mut fields = match row.collection {
            FREE_RECORD => below_payload(&resolve.fields),
            _ => resolve.fields.clone(),
        };
        writing.refer(&self.access.schema(row.collection), &mut fields)?;
        writing.settle(&row, resolve.resolution, &fields, keep, emergency.clone())?;
        if let Some(entry) = entry {
            writing.move_entry(entry, StateRow::Synced(row.client.document))?;
        }
        let write = writing.write;
        write.finish()?;
        let resolution = resolve.resolution.into();
        let settled = Settled { by: self.caller.user.clone(), resolution, at: self.at, emergency };
        self.resolved(resolve, &row, &settled)
    }

    /// What somebody asked others to do about a conflict.
    pub(crate) fn asked(&self, conflict: &str) -> Result<Option<Asked>, Failure> {
        let note = self.access.note(&keys::asked(self.access, conflict))?;
        let row = note.map(|note| stored::decode::<AskedRow>(&note)).transpose()?;
        Ok(row.map(Asked::from))
    }

    /// Notes what the caller asks others to do about a conflict, which stays open.
    fn ask(
        &self,
        mut writing: Writing<'_>,
        resolve: &Resolve,
        row: &ConflictRow,
        review: Review,
    ) -> Result<Outcome, Failure> {
        let asked = Asked { review, by: self.caller.user.clone(), at: self.at };
        let known = self.asked(&row.id)?;
        // The answer got lost, and it was asked for once.
        if known.is_none_or(|known| (known.review, known.by) != (review, asked.by.clone())) {
            let note = stored::encode(&AskedRow::from(&asked));
            writing.write.note(keys::asked(self.access, &row.id), Some(note));
            writing.write.finish()?;
        }
        Ok(Outcome::Resolved(Resolved {
            id: resolve.conflict.clone(),
            resolution: resolve.resolution,
            review: Some(review),
            by: None,
            at: None,
            emergency: None,
            record: None,
        }))
    }

    /// Whether the caller's role, or that it is his own, lets him settle it.
    fn check_may_settle(&self, row: &ConflictRow) -> Result<(), Failure> {
        let schema = self.access.schema(row.collection);
        let user = &self.caller.user;
        let authors = || [&row.client.user, &row.server.user].into_iter().flatten();
        let is_who = self.is_among(&schema.resolve_by, || authors().any(|author| author == user));
        for document in row.documents() {
            let Some(held) = self.access.held(document)? else { continue };
            if let Some(why) = self.may_not_answer(&self.entity_of(&held), &held) {
                return Err(Failure::forbidden(&why));
            }
            if !self.is_of_contract(&held) {
                let why = "this conflict is about a record of another contract's apps";
                return Err(Failure::forbidden(why));
            }
            self.access.check_settles(&held)?;
        }
        match is_who {
            true => Ok(()),
            false => Err(Failure::forbidden("Your role is not allowed to settle this conflict")),
        }
    }

    /// For what a resolution has to wait, if it does.
    fn review(&self, resolve: &Resolve, row: &ConflictRow) -> Option<Review> {
        let resolution = resolve.resolution;
        if resolution == Resolution::Manual && resolve.fields.is_empty() && resolve.keep.is_none() {
            return Some(Review::Manual);
        }
        // Whatever word brings a patient back or deletes it, the client has won by it.
        let is_for_client = match row.kind {
            Kind::Field | Kind::Duplicate => resolution == Resolution::ClientWins,
            Kind::DeletedAndEdited => row.is_for_client(resolution),
        };
        let is_bound = self.dialect == Some(fieldmesh_dialect::Dialect::Health)
            && !self.caller.is_admin()
            && resolve.emergency.is_none();
        (is_for_client && is_bound).then_some(Review::Approval)
    }

    fn resolved(
        &self,
        resolve: &Resolve,
        row: &ConflictRow,
        settled: &Settled,
    ) -> Result<Outcome, Failure> {
        let kept = self.access.held(row.client.document)?.filter(|held| !held.deleted);
        let held = match kept {
            Some(held) => Some(held),
            None => self.access.held(row.server.document)?,
        };
        let mut showing = Showing::new(*self, None)?;
        let record = match held {
            Some(held) => {
                let held = row.decided(held);
                let at = self.access.moments().of(held.position)?;
                Some(showing.record(&held, at, None)?)
            }
            None => None,
        };
        Ok(Outcome::Resolved(Resolved {
            id: resolve.conflict.clone(),
            resolution: settled.resolution.into(),
            review: None,
            by: Some(settled.by.clone()),
            at: Some(settled.at),
            emergency: settled.emergency.clone(),
            record,
        }))
    }

    /// The conflict that a request names by its own id, or by that of an entry of the journal.
    fn conflict_in(&self, resolve: &Resolve, entry: Option<&EntryRow>) -> Result<String, Failure> {
        let Some(entry) = entry else { return Ok(resolve.conflict.clone()) };
        match &entry.state {
            StateRow::Conflict(id) => Ok(id.clone()),
            StateRow::Pending | StateRow::Failed(_) => Ok(resolve.conflict.clone()),
            StateRow::Synced(_) => {
                let is_leader = matches!(self.caller.role, Role::Manager | Role::Admin);
                if !is_leader && !self.caller.is(&entry.user) {
                    return Err(Failure::missing("Conflict"));
                }
                let note = self.access.note(&keys::decided(self.access, &entry.id))?;
                let note = note.ok_or_else(|| {
                    Failure::contradiction("The operation is in no conflict that is open")
                })?;
                Ok(stored::decode(&note)?)
            }
        }
    }

    /// The answer once more, where the same was decided.
    fn resolved_before(&self, resolve: &Resolve, row: &ConflictRow) -> Result<Outcome, Failure> {
        let Some(settled) = &row.settled else { return Err(Failure::missing("Conflict")) };
        let resolution = Resolution::from(settled.resolution);
        if resolution != resolve.resolution {
            let word = resolution.as_str();
            let why = format!("The conflict was resolved with {word} already");
            return Err(Failure::contradiction(why));
        }
        self.resolved(resolve, row, settled)
    }

    /// Whether a conflict that somebody has decided by writing ended as `resolution` would have it.
    fn is_so(&self, resolution: Resolution, row: &ConflictRow) -> Result<bool, Failure> {
        let is_deleted = |id| Ok::<_, Failure>(self.access.held(id)?.is_none_or(|it| it.deleted));
        Ok(match (row.kind, resolution) {
            (Kind::Field, Resolution::ServerWins)
            | (Kind::DeletedAndEdited, Resolution::ClientWins) => true,
            (Kind::Duplicate, Resolution::ServerWins) => is_deleted(row.client.document)?,
            (Kind::Duplicate, Resolution::ClientWins) => is_deleted(row.server.document)?,
            _ => false,
        })
    }
}

impl Writing<'_> {
    /// Writes what was decided over what competes, and takes the conflict off the list.
    pub(crate) fn settle(
        &mut self,
        row: &ConflictRow,
        resolution: Resolution,
        fields: &Fields,
        keep: Option<DocumentId>,
        emergency: Option<String>,
    ) -> Result<(), Failure> {
        self.write.settling(row.documents());
        let written = match row.kind {
            Kind::Field => self.settle_fields(row, resolution, fields),
            Kind::Duplicate => self.settle_duplicate(row, resolution, keep),
            Kind::DeletedAndEdited => self.settle_deleted(row, resolution, fields),
        };
        self.write.settling([]);
        written?;
        let settled = Settled {
            by: self.task.caller.user.clone(),
            resolution: resolution.into(),
            at: self.task.at,
            emergency,
        };
        let after = ConflictRow { settled: Some(settled), ..row.clone() };
        let key = keys::conflict(self.task.access, &row.id);
        self.write.note(key, Some(stored::encode(&after)));
        self.take_off_lists(row);
        Ok(())
    }

    /// Lists a conflict no longer; its note stays.
    pub(crate) fn take_off_lists(&mut self, row: &ConflictRow) {
        if row.sequence == 0 {
            return;
        }
        self.write.note(keys::open(row.sequence), None);
        for document in row.documents() {
            self.write.note(keys::conflict_of(document, row.sequence), None);
        }
    }

    fn settle_fields(
        &mut self,
        row: &ConflictRow,
        resolution: Resolution,
        given: &Fields,
    ) -> Result<(), Failure> {
        let id = row.client.document;
        let Some(held) = self.write.held(id)? else { return Ok(()) };
        let of = |fields: &Fields| -> Fields {
            let value = |key: &String| fields.get(key).cloned().unwrap_or(Value::Null);
            row.keys.iter().map(|key| (key.clone(), value(key))).collect()
        };
        let is_later = row.client.at > row.server.at;
        let mut chosen = match resolution {
            Resolution::ClientWins => of(&row.client.fields),
            Resolution::LastWriteWins if is_later => of(&row.client.fields),
            Resolution::ServerWins
            | Resolution::LastWriteWins
            | Resolution::Merge
            | Resolution::Manual => of(&held.fields),
        };
        if resolution == Resolution::Merge {
            // What one side alone has is in nobody's way.
            for (key, field) in chosen.iter_mut().filter(|(_, field)| **field == Value::Null) {
                field.clone_from(row.client.fields.get(key).unwrap_or(&Value::Null));
            }
        }
        if matches!(resolution, Resolution::Merge | Resolution::Manual) {
            chosen.extend(given.clone());
        }
        if row.collection == FREE_RECORD {
            chosen = replacing(&chosen, &held.fields);
        }
        self.edit(id, None, &chosen, self.task.at)?;
        Ok(())
    }

    fn settle_duplicate(
        &mut self,
        row: &ConflictRow,
        resolution: Resolution,
        keep: Option<DocumentId>,
    ) -> Result<(), Failure> {
        let (client, server) = (row.client.document, row.server.document);
        let gone = match (keep, resolution) {
            (Some(kept), _) if kept == client => server,
            (Some(_), _) => client,
            (None, Resolution::ClientWins) => server,
            (None, Resolution::LastWriteWins) if row.client.at > row.server.at => server,
            (None, Resolution::ServerWins | Resolution::LastWriteWins) => client,
            // Both are kept.
            (None, Resolution::Merge | Resolution::Manual) => return Ok(()),
        };
        self.write.delete(gone, None, self.task.at, &self.task.caller.user)?;
        self.note_written(gone);
        Ok(())
    }
}

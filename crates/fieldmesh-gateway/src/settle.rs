//! Settles conflicts: writes what was decided and notes who did so.

use fieldmesh_dialect::command::{Resolution, Resolve};
use fieldmesh_dialect::outcome::{Asked, Resolved, Review};
use fieldmesh_dialect::{Dialect, Outcome, Refusal};
use fieldmesh_model::catalogue::free::FREE_RECORD;
use fieldmesh_model::{DocumentId, Fault, Fields, Role, Value};

use crate::alike::item_of;
use crate::entity::built_in;
use crate::free::{below_payload, replacing};
use crate::names::{Showing, value};
use crate::push::Writing;
use crate::stored::{self, AskedRow, ConflictRow, EntryRow, Kind, Settled, StateRow};
use crate::{Failure, Task, keys};

impl Task<'_> {
    pub(crate) fn resolve(&self, resolve: &Resolve) -> Result<Outcome, Failure> {
        let entry = self.entry_row(&resolve.conflict)?;
        let ids = self.conflicts_in(resolve, entry.as_ref())?;
        let rows = ids.iter().map(|id| self.conflict_named(id)).collect::<Result<Vec<_>, _>>()?;
        rows.iter().try_for_each(|row| self.check_may_settle(row))?;
        if let Some(settled) = all_settled(&rows) {
            return self.resolved_before(resolve, settled);
        }
        let mut writing = self.writing(None, None)?;
        // Somebody may have settled it while this waited for its turn.
        let rows =
            ids.iter().map(|id| writing.conflict_named(id)).collect::<Result<Vec<_>, _>>()?;
        if let Some(settled) = all_settled(&rows) {
            return self.resolved_before(resolve, settled);
        }
        let rows: Vec<_> = rows.into_iter().filter(|row| row.settled.is_none()).collect();
        let keep = self.kept(resolve, &rows)?;
        for row in &rows {
            if let Some(review) = self.review(resolve, row, entry.as_ref(), keep)? {
                return self.ask(writing, resolve, &rows, review);
            }
        }
        let rows = self.as_asked(&writing, resolve, rows)?;
        let Some(first) = rows.first() else {
            let why = "Somebody has edited the record meanwhile; read it again";
            return Err(Failure::contradiction(why));
        };
        let emergency = resolve.emergency.clone();
        let mut fields = match first.collection {
            FREE_RECORD => below_payload(&resolve.fields),
            _ => resolve.fields.clone(),
        };
        writing.refer(&self.access.schema(first.collection), &mut fields)?;
        for row in &rows {
            writing.settle(row, resolve.resolution, &fields, keep, emergency.clone())?;
        }
        if let Some(entry) = entry {
            let entry = EntryRow { state: StateRow::Conflict(first.id.clone()), ..entry };
            writing.move_entry(entry, StateRow::Synced(first.client.document))?;
        }
        let write = writing.write;
        write.finish()?;
        let resolution = resolve.resolution.into();
        let settled = Settled { by: self.caller.user.clone(), resolution, at: self.at, emergency };
        self.resolved(resolve, first, &settled)
    }

    /// Which of the records of these conflicts a request wants kept.
    fn kept(&self, resolve: &Resolve, rows: &[ConflictRow]) -> Result<Option<DocumentId>, Failure> {
        let Some(name) = &resolve.keep else { return Ok(None) };
        for document in rows.iter().flat_map(ConflictRow::documents) {
            let Some(held) = self.access.held(document)? else { continue };
            let is_it = held.name.as_ref() == Some(&value(name))
                || self.find(&self.entity_of(&held), name, self.owner())? == Some(document);
            if is_it {
                return Ok(Some(document));
            }
        }
        let why = "keepEventId must name one of the two records of the conflict";
        let faults = vec![Fault::new("keepEventId", why)];
        Err(Failure::Refused(Refusal::Invalid { faults }))
    }

    /// Those of the conflicts of one operation that stand as whoever resolves them was shown; none
    /// where any of them stands otherwise, or all are decided.
    fn as_asked(
        &self,
        writing: &Writing<'_>,
        resolve: &Resolve,
        rows: Vec<ConflictRow>,
    ) -> Result<Vec<ConflictRow>, Failure> {
        let mut standing = Vec::with_capacity(rows.len());
        for row in rows {
            if row.sequence == 0 && !writing.is_as_shown(&row)? {
                return Ok(Vec::new());
            }
            if !writing.is_superseded(&row)? || self.is_so(resolve.resolution, &row)? {
                standing.push(row);
            } else if !writing.still_competing(&row)?.is_empty() {
                return Ok(Vec::new());
            }
        }
        Ok(standing)
    }

    /// What somebody asked others to do about a conflict.
    pub(crate) fn asked(&self, conflict: &str) -> Result<Option<Asked>, Failure> {
        let note = self.access.note(&keys::asked(self.access, item_of(conflict)))?;
        let row = note.map(|note| stored::decode::<AskedRow>(&note)).transpose()?;
        Ok(row.map(Asked::from))
    }

    /// Notes what the caller asks others to do about conflicts, which stay open.
    fn ask(
        &self,
        mut writing: Writing<'_>,
        resolve: &Resolve,
        rows: &[ConflictRow],
        review: Review,
    ) -> Result<Outcome, Failure> {
        let asked = Asked { review, by: self.caller.user.clone(), at: self.at };
        for row in rows {
            let known = self.asked(&row.id)?;
            // The answer got lost, and it was asked for once.
            if known.is_none_or(|known| (known.review, known.by) != (review, asked.by.clone())) {
                let note = stored::encode(&AskedRow::from(&asked));
                writing.write.note(keys::asked(self.access, item_of(&row.id)), Some(note));
            }
        }
        writing.write.finish()?;
        Ok(Outcome::Resolved(Resolved {
            id: resolve.conflict.clone(),
            resolution: resolve.resolution,
            review: Some(review),
            by: None,
            at: None,
            since: None,
            emergency: None,
            record: None,
        }))
    }

    /// Whether the caller's role, or that it is his own, lets him settle it.
    fn check_may_settle(&self, row: &ConflictRow) -> Result<(), Failure> {
        let schema = self.access.schema(row.collection);
        let user = &self.caller.user;
        let authors = || [&row.client.user, &row.server.user].into_iter().flatten();
        let is_author = || authors().any(|author| author == user);
        let mut is_who = self.is_among(&schema.resolve_by, is_author);
        for document in row.documents() {
            let Some(held) = self.access.held(document)? else { continue };
            is_who &= self.is_among(&self.access.schema(held.collection).resolve_by, is_author);
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
    fn review(
        &self,
        resolve: &Resolve,
        row: &ConflictRow,
        entry: Option<&EntryRow>,
        keep: Option<DocumentId>,
    ) -> Result<Option<Review>, Failure> {
        let resolution = resolve.resolution;
        if resolution == Resolution::Manual && resolve.fields.is_empty() && resolve.keep.is_none() {
            return Ok(Some(Review::Manual));
        }
        if self.caller.is_admin() || !self.is_clinical(row, entry) {
            return Ok(None);
        }
        // Whatever word brings a patient back or deletes it, the client has won by it.
        let is_later = row.client.at > row.server.at;
        let is_for_client = match (row.kind, resolution) {
            (Kind::DeletedAndEdited, _) => row.is_for_client(resolution),
            (Kind::Duplicate, _) if row.tells_of_deletion() => true,
            (Kind::Duplicate, _) if keep.is_some() => keep == Some(row.client.document),
            (Kind::Field | Kind::Duplicate, Resolution::LastWriteWins) => is_later,
            (Kind::Field | Kind::Duplicate, _) => resolution == Resolution::ClientWins,
        };
        // Who puts a record together may put the client's words there.
        let is_put_together = matches!(resolution, Resolution::Merge | Resolution::Manual)
            && (row.kind == Kind::Field || !resolve.fields.is_empty());
        if !is_for_client && !is_put_together {
            return Ok(None);
        }
        match (self.dialect, resolution, &resolve.emergency) {
            (Some(Dialect::Health), Resolution::Manual, _) => Ok(Some(Review::Manual)),
            (Some(Dialect::Health), _, Some(_)) => Ok(None),
            (Some(Dialect::Health), _, None) => Ok(Some(Review::Approval)),
            // No other contract has words for what waits.
            _ => Err(Failure::forbidden(
                "Only an admin lets the client win in a clinic's conflict, or puts together what \
                 competes there; ask for it in its app",
            )),
        }
    }

    /// Whether the rules of a clinic hold for a conflict, over whichever contract it is settled.
    fn is_clinical(&self, row: &ConflictRow, entry: Option<&EntryRow>) -> bool {
        let health = Dialect::Health;
        self.dialect == Some(health)
            || self.caller.role == Role::HealthWorker
            || built_in(health).contains(&row.collection)
            || row.contracts().any(|over| over == health)
            || entry.is_some_and(|entry| entry.contract.as_deref() == Some(health.as_str()))
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
            since: row.settled.is_none().then_some(row.since),
            emergency: settled.emergency.clone(),
            record,
        }))
    }

    /// The conflict that a request names by its own id, or all of those in which an entry of the
    /// journal is that it names.
    fn conflicts_in(
        &self,
        resolve: &Resolve,
        entry: Option<&EntryRow>,
    ) -> Result<Vec<String>, Failure> {
        let Some(entry) = entry else { return Ok(vec![resolve.conflict.clone()]) };
        match &entry.state {
            StateRow::Conflict(_) => {
                entry.conflicts(self.access.note(&keys::beside(self.access, &entry.id))?)
            }
            StateRow::Pending | StateRow::Failed(_) => Ok(vec![resolve.conflict.clone()]),
            StateRow::Synced(_) => {
                let is_leader = matches!(self.caller.role, Role::Manager | Role::Admin);
                if !is_leader && !self.caller.is(&entry.user) {
                    return Err(Failure::missing("Conflict"));
                }
                let note = self.access.note(&keys::decided(self.access, &entry.id))?;
                let note = note.ok_or_else(|| {
                    Failure::contradiction("The operation is in no conflict that is open")
                })?;
                Ok(vec![stored::decode(&note)?])
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
            (Kind::Duplicate, Resolution::Merge | Resolution::Manual) => {
                self.are_apart(row.client.document, row.server.document)?
            }
            _ => false,
        })
    }
}

/// The first of several conflicts, where all are settled.
fn all_settled(rows: &[ConflictRow]) -> Option<&ConflictRow> {
    rows.first().filter(|_| rows.iter().all(|row| row.settled.is_some()))
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
            Kind::Duplicate => self.settle_duplicate(row, resolution, fields, keep),
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
        // Whoever sent the same is told so as well.
        for row in self.same_as(row)?.iter().chain([row]) {
            let after = ConflictRow { settled: Some(settled.clone()), ..row.clone() };
            let key = keys::conflict(self.task.access, &row.id);
            self.write.note(key, Some(stored::encode(&after)));
            self.take_off_lists(row);
        }
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
        fields: &Fields,
        keep: Option<DocumentId>,
    ) -> Result<(), Failure> {
        let (client, server) = (row.client.document, row.server.document);
        let gone = match (keep, resolution) {
            (Some(kept), _) if kept == client => server,
            (Some(_), _) => client,
            (None, Resolution::ClientWins) => server,
            (None, Resolution::LastWriteWins) if row.client.at > row.server.at => server,
            (None, Resolution::ServerWins | Resolution::LastWriteWins) => client,
            (None, Resolution::Merge | Resolution::Manual) => {
                return self.keep_both(row, fields);
            }
        };
        if row.tells_of_deletion() {
            let kept = if gone == client { server } else { client };
            let others = self.task.kept_over(row, &[kept])?;
            self.write.keep_one(kept, gone, self.task.at, &self.task.caller.user)?;
            self.note_written(kept);
            self.note_written(gone);
            return self.ask_of(&others);
        }
        // It may be like others in several ways.
        if self.write.held(gone)?.is_some_and(|held| !held.deleted) {
            self.write.delete(gone, None, self.task.at, &self.task.caller.user)?;
            self.note_written(gone);
        }
        Ok(())
    }

    /// Keeps two records that are alike, the client's with what somebody wrote of it. Where they are
    /// alike all the same devices ask no more.
    fn keep_both(&mut self, row: &ConflictRow, fields: &Fields) -> Result<(), Failure> {
        let (client, server) = (row.client.document, row.server.document);
        let share = |writing: &Self| -> Result<bool, Failure> {
            let two = (writing.write.held(client)?, writing.write.held(server)?);
            let (Some(client), Some(server)) = two else { return Ok(false) };
            Ok(writing.task.share_values(&client, &server))
        };
        // What is deleted comes back by what says that it is meant.
        let is_back = row.tells_of_deletion();
        if is_back {
            let others = self.task.kept_over(row, &[client, server])?;
            self.tell_apart(client, server)?;
            self.ask_of(&others)?;
        }
        let was_alike = share(self)?;
        if !fields.is_empty() {
            self.edit(client, None, fields, self.task.at)?;
        }
        // What else devices look at is not in these values.
        if is_back || (was_alike && !share(self)?) {
            return Ok(());
        }
        self.tell_apart(client, server)
    }

    /// Brings records back of which it is to be asked next whether they stay.
    fn ask_of(&mut self, ids: &[DocumentId]) -> Result<(), Failure> {
        for id in ids {
            self.write.restore(*id, self.task.at, &self.task.caller.user)?;
            self.note_written(*id);
        }
        Ok(())
    }

    fn tell_apart(&mut self, client: DocumentId, server: DocumentId) -> Result<(), Failure> {
        self.write.keep_both([client, server], self.task.at, &self.task.caller.user)?;
        self.note_written(client);
        self.note_written(server);
        Ok(())
    }

    /// Whether the records of what devices ask about are as they were when that was read.
    fn is_as_shown(&self, row: &ConflictRow) -> Result<bool, Failure> {
        if row.kind != Kind::Duplicate {
            return Ok(true);
        }
        for side in [&row.client, &row.server] {
            if self.write.held(side.document)?.is_none_or(|held| held.version != side.version) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

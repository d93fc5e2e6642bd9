//! Conflicts that somebody has decided by writing: which these are, and what of them stands on.

use fieldmesh::gateway::{CompetingValue, Held};
use fieldmesh_dialect::outcome::Asked;
use fieldmesh_model::Value;
use fieldmesh_model::schema::MergePolicy;

use crate::conflict::side_of;
use crate::push::Writing;
use crate::stored::{self, ConflictRow, Kind};
use crate::{Failure, Task, keys};

/// Conflicts that nobody has to settle any more and that a listing goes past.
const SUPERSEDED_MAX: usize = 64;

impl Task<'_> {
    /// Whether somebody has chosen the store's value, so that what competed in its record does no
    /// more. Only of fields about which devices always ask a person does a record say that.
    fn is_chosen(&self, row: &ConflictRow, server: Option<&Held>) -> Result<bool, Failure> {
        let schema = self.access.schema(row.collection);
        let is_asked =
            |key: &String| schema.policy(key) == MergePolicy::Review && !schema.is_immutable(key);
        let is_quiet = |held: &Held| !held.deleted && held.conflicts.is_empty();
        if row.kind != Kind::Field
            || !server.is_some_and(is_quiet)
            || !row.keys.iter().all(is_asked)
        {
            return Ok(false);
        }
        Ok(self.access.note(&keys::stood(self.access, &row.id))?.is_some())
    }
}

impl Writing<'_> {
    /// Whether somebody has decided, also by what is being written.
    pub(crate) fn is_superseded(&self, row: &ConflictRow) -> Result<bool, Failure> {
        let client = self.write.held(row.client.document)?;
        let server = self.write.held(row.server.document)?;
        Ok(self.task.seen(row, client.as_ref(), server.as_ref())?.is_none())
    }

    /// A conflict as it stands now; none where somebody has decided. Where somebody replaced the
    /// store's value who did not know of the client's, it goes on as another one under an id of its
    /// own, so that nobody settles what he was not shown.
    pub(crate) fn standing(&mut self, row: &ConflictRow) -> Result<Option<ConflictRow>, Failure> {
        if row.settled.is_some() {
            return Ok(None);
        }
        let client = self.write.held(row.client.document)?;
        let server = self.write.held(row.server.document)?;
        if let Some(seen) = self.task.seen(row, client.as_ref(), server.as_ref())? {
            return Ok(Some(seen));
        }
        let keys = self.still_competing(row)?;
        let Some(held) = self.write.held(row.client.document)?.filter(|_| !keys.is_empty()) else {
            return Ok(None);
        };
        let id = id_of_next(row, &keys, &held);
        if let Some(known) = self.conflict_row(&id)? {
            return Ok(Some(known).filter(|known| known.settled.is_none()));
        }
        let next = ConflictRow {
            id,
            sequence: self.next_sequence()?,
            server: side_of(&held),
            keys,
            since: self.task.at,
            ..row.clone()
        };
        self.take_off_lists(row);
        self.list(&next);
        // What somebody asked others for waits on.
        let access = self.task.access;
        if let Some(asked) = self.write.noted(access, &keys::asked(access, &row.id))? {
            self.write.note(keys::asked(access, &next.id), Some(asked));
        }
        self.note_stood(&next);
        Ok(Some(next))
    }

    /// Notes that both sides of a conflict stand in the record, so that it is over once they do not.
    pub(crate) fn note_stood(&mut self, row: &ConflictRow) {
        let key = keys::stood(self.task.access, &row.id);
        self.write.note(key, Some(stored::encode(&row.client.user)));
    }

    /// The fields in which what a client brought competes, though its note is superseded.
    pub(crate) fn still_competing(&self, row: &ConflictRow) -> Result<Vec<String>, Failure> {
        let (mut keys, held) = (Vec::new(), self.write.held(row.client.document)?);
        for id in held.iter().flat_map(|held| &held.conflicts) {
            let Some(competing) = self.task.access.inbox_item(id)? else { continue };
            let is_told = |value: &CompetingValue| row.brings(&competing.field, &value.value);
            if row.kind == Kind::Field && competing.values.iter().any(is_told) {
                keys.push(competing.field);
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }

    /// The other open conflicts in which the same values compete.
    pub(crate) fn same_as(&self, row: &ConflictRow) -> Result<Vec<ConflictRow>, Failure> {
        let mut same = self.task.open_of(row.client.document)?;
        let is_within = |note: &ConflictRow| note.keys.iter().all(|key| row.keys.contains(key));
        let is_meant = row.kind != Kind::DeletedAndEdited;
        same.retain(|note| is_meant && note.id != row.id && note.tells_of(row) && is_within(note));
        Ok(same)
    }
}

/// The id of the conflict as which one goes on: the same for the same values of the store.
fn id_of_next(row: &ConflictRow, keys: &[String], held: &Held) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/gateway-conflict-next/1");
    hasher.update(row.id.as_bytes());
    let values = keys.iter().map(|key| (key, held.fields.get(key)));
    hasher.update(&stored::encode(&values.collect::<Vec<_>>()));
    data_encoding::HEXLOWER.encode(&hasher.finalize().as_bytes()[..16])
}

impl Task<'_> {
    /// Whether somebody has decided by writing what the record now says, here or on a device.
    pub(crate) fn is_superseded(&self, row: &ConflictRow) -> Result<bool, Failure> {
        Ok(self.as_seen(row)?.is_none())
    }

    /// A conflict as it is shown; none where somebody has decided by writing.
    pub(crate) fn as_seen(&self, row: &ConflictRow) -> Result<Option<ConflictRow>, Failure> {
        let client = self.access.held(row.client.document)?;
        let server = self.access.held(row.server.document)?;
        self.seen(row, client.as_ref(), server.as_ref())
    }

    /// The same of records as they are. Whoever wrote on did not know of a client's value that stands
    /// in no record, so he has decided nothing about it.
    fn seen(
        &self,
        row: &ConflictRow,
        client: Option<&Held>,
        server: Option<&Held>,
    ) -> Result<Option<ConflictRow>, Failure> {
        let is_apart = match (client, server) {
            (Some(client), Some(server)) => self.is_apart(row, client, server)?,
            _ => false,
        };
        if !is_apart && !row.is_superseded(client, server) && !self.is_chosen(row, server)? {
            return Ok(Some(row.clone()));
        }
        let Some(server) = server.filter(|held| row.kind == Kind::Field && !held.deleted) else {
            return Ok(None);
        };
        let null = Value::Null;
        let stands = |key: &String| row.brings(key, server.fields.get(key).unwrap_or(&null));
        if row.keys.iter().all(stands)
            || self.access.note(&keys::unwritten(self.access, &row.id))?.is_none()
        {
            return Ok(None);
        }
        Ok(Some(ConflictRow { server: side_of(server), ..row.clone() }))
    }

    /// What somebody asked others to do about a conflict: of what stands in a record, also where he
    /// was shown it beside something else.
    pub(crate) fn asked_about(&self, row: &ConflictRow) -> Result<Option<Asked>, Failure> {
        let asked = self.asked(&row.id)?;
        if asked.is_some() || row.sequence != 0 || row.kind != Kind::Field {
            return Ok(asked);
        }
        for note in self.open_of(row.client.document)? {
            let is_of =
                row.keys.iter().all(|key| note.keys.contains(key)) && row.tells_of_some(&note);
            if is_of && let Some(asked) = self.asked(&note.id)? {
                return Ok(Some(asked));
            }
        }
        Ok(None)
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
            Kind::Duplicate => {
                (client.deleted, server.deleted) != (self.client.deleted, self.server.deleted)
            }
            Kind::DeletedAndEdited => server.deleted == self.client.deleted,
        }
    }

    /// Whether whoever reads it knows of `other`, which stands in a record of it.
    fn tells_of(&self, other: &Self) -> bool {
        let is_same = || match self.kind {
            Kind::Field => other.client.fields.iter().all(|(key, value)| self.brings(key, value)),
            Kind::Duplicate => {
                other.documents().iter().all(|document| self.documents().contains(document))
            }
            Kind::DeletedAndEdited => true,
        };
        self.kind == other.kind && is_same()
    }

    /// Whether the values of its client are among those that the client of `note` brought.
    fn tells_of_some(&self, note: &Self) -> bool {
        let mut brought = self.client.fields.iter();
        note.kind == Kind::Field && brought.all(|(key, value)| note.brings(key, value))
    }

    /// Whether its client brought this value of a field that is contested.
    pub(crate) fn brings(&self, key: &String, value: &Value) -> bool {
        let null = Value::Null;
        let brought = self.client.fields.get(key).unwrap_or(&null);
        self.keys.contains(key) && brought.is_same(value)
    }
}

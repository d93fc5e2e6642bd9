//! Conflicts: how they come to be, which are open, and how they are shown.
//!
//! What a client brought stands in the record as a change on the version that he knew, dated
//! before what he did not know, so that everybody goes on seeing what the store had until somebody
//! decides. The note of a conflict says what both sides were.

use fieldmesh::gateway::{Held, Write};
use fieldmesh_dialect::command::{Base, Resolution};
use fieldmesh_dialect::outcome::{Conflict, ConflictKind, Fate, Side};
use fieldmesh_dialect::{Dialect, Refusal};
use fieldmesh_model::{DocumentId, Fields, Moment, Value};

use crate::alike::item_of;
use crate::dispute::together;
use crate::free::shown_keys;
use crate::names::Showing;
use crate::push::Writing;
use crate::ready::Ready;
use crate::stored::{self, ConflictRow, Kind, Settled, SideRow};
use crate::{Failure, Task, keys};

/// Conflicts of one record that are looked at.
const OF_RECORD_MAX: usize = 256;

/// What a client brought that contradicts the store.
struct Contest<'b> {
    kind: Kind,
    client: SideRow,
    server: SideRow,
    keys: Vec<String>,
    at: Moment,
    schema: &'b fieldmesh_model::Collection,
}

/// A conflict that was noted.
enum Noted {
    /// By the same operation, or by another one for the same values.
    Before(ConflictRow),
    Now(ConflictRow),
}

impl Writing<'_> {
    /// Stores fields beside others: as a change on `version`, with a note of what competes.
    pub(crate) fn contest(
        &mut self,
        held: &Held,
        version: u64,
        fields: &Fields,
        contested: &[String],
        ready: &Ready<'_>,
    ) -> Result<Fate, Failure> {
        let is_reserved = self.is_reserved(held, fields)?;
        let row = match self.stand_beside(held, version, fields, contested, ready)? {
            Noted::Now(row) if is_reserved => return self.fate(&row),
            Noted::Now(row) => row,
            Noted::Before(row) => match self.settled_now(held, fields, &row, ready)? {
                Some(row) => row,
                None => return self.fate(&row),
            },
        };
        self.settle_at_once(&row)
    }

    /// A conflict that was noted before as it stands, where the request settles it: it came without
    /// the word by which its author wants that.
    fn settled_now(
        &mut self,
        held: &Held,
        fields: &Fields,
        row: &ConflictRow,
        ready: &Ready<'_>,
    ) -> Result<Option<ConflictRow>, Failure> {
        let has_word = self.resolution().is_some_and(|word| word != Resolution::Manual);
        if !has_word || row.client.user.as_ref() != Some(&self.task.caller.user) {
            return Ok(None);
        }
        let Some(row) = self.standing(row)? else { return Ok(None) };
        if self.is_reserved_beside(held, fields, &row)? {
            return Ok(None);
        }
        self.note_contested(&row, ready);
        Ok(Some(row))
    }

    /// The same of what others than the caller have to decide, whatever his request wants to win.
    pub(crate) fn beside(
        &mut self,
        held: &Held,
        version: u64,
        fields: &Fields,
        contested: &[String],
        ready: &Ready<'_>,
    ) -> Result<Fate, Failure> {
        let (Noted::Before(row) | Noted::Now(row)) =
            self.stand_beside(held, version, fields, contested, ready)?;
        self.fate(&row)
    }

    fn stand_beside(
        &mut self,
        held: &Held,
        version: u64,
        fields: &Fields,
        contested: &[String],
        ready: &Ready<'_>,
    ) -> Result<Noted, Failure> {
        let kind = if held.deleted { Kind::DeletedAndEdited } else { Kind::Field };
        let client = SideRow {
            document: held.id,
            version,
            fields: fields.clone(),
            at: Some(ready.operation.at),
            user: Some(self.task.caller.user.clone()),
            deleted: false,
        };
        let server = side_of(held);
        let at = ready.operation.at;
        let has_room = self.write.has_room_beside(held.id, version)?;
        let mut keys = contested.to_vec();
        if !has_room && kind == Kind::Field {
            keys.extend(self.changed_since(held, version, fields)?);
            keys.sort_unstable();
            keys.dedup();
        }
        let contest = Contest { kind, client, server, keys, at, schema: &ready.schema };
        if let Some(known) = self.known(&contest, ready)? {
            return Ok(Noted::Before(known));
        }
        if !has_room {
            return self.note_unwritten(held, contest, ready).map(Noted::Now);
        }
        let quiet = self.write.before_unknown(held.id, version)?;
        let written_at = self.written_at(at).min(quiet);
        let after = self.edit(held.id, Some(version), fields, written_at)?;
        // Beside what nobody else changed there is nothing to stand, so it is written once more.
        let value = |fields: &Fields, key: &String| fields.get(key).cloned().unwrap_or(Value::Null);
        let is_replaced =
            |key: &&String| !value(&after.fields, key).is_same(&value(&held.fields, key));
        let replaced = contested.iter().filter(is_replaced);
        let before: Fields = replaced.map(|key| (key.clone(), value(&held.fields, key))).collect();
        if kind == Kind::Field && !before.is_empty() {
            self.edit(held.id, None, &before, self.task.at)?;
        }
        let row = self.open(contest, ready)?;
        let is_open = |held: Held| !held.conflicts.is_empty();
        if version < held.version && self.write.held(held.id)?.is_some_and(is_open) {
            self.note_stood(&row);
        }
        Ok(Noted::Now(row))
    }

    /// Notes what a client brought where no more changes can stand beside each other in the record:
    /// what nobody else changed is written, and the rest waits in the note.
    fn note_unwritten(
        &mut self,
        held: &Held,
        contest: Contest<'_>,
        ready: &Ready<'_>,
    ) -> Result<ConflictRow, Failure> {
        let mut plain = contest.client.fields.clone();
        plain.retain(|key, _| contest.kind == Kind::Field && !contest.keys.contains(key));
        if !plain.is_empty() {
            self.edit(held.id, None, &plain, self.written_at(contest.at))?;
        }
        let row = self.open(contest, ready)?;
        let key = keys::unwritten(self.task.access, &row.id);
        self.write.note(key, Some(stored::encode(&row.client.user)));
        Ok(row)
    }

    /// Notes that somebody wants a record deleted who does not know what others wrote of it. Nothing
    /// is written: everybody goes on seeing that, and a tombstone would hide it.
    pub(crate) fn contest_deletion(
        &mut self,
        held: &Held,
        version: u64,
        ready: &Ready<'_>,
    ) -> Result<Fate, Failure> {
        let at = ready.operation.at;
        let client = SideRow {
            document: held.id,
            version,
            fields: Fields::new(),
            at: Some(at),
            user: Some(self.task.caller.user.clone()),
            deleted: true,
        };
        let (kind, server, keys) = (Kind::DeletedAndEdited, side_of(held), Vec::new());
        let contest = Contest { kind, client, server, keys, at, schema: &ready.schema };
        if let Some(row) = self.known(&contest, ready)? {
            return self.fate(&row);
        }
        let row = self.open(contest, ready)?;
        self.settle_at_once(&row)
    }

    /// Notes that a record says the same as others, once for each group of values that it shares.
    pub(crate) fn duplicates(
        &mut self,
        held: &Held,
        others: Vec<Held>,
        ready: &Ready<'_>,
    ) -> Result<Option<Fate>, Failure> {
        let (access, mut fate) = (self.task.access, None);
        let mut wanted = access.groups(&ready.schema, &held.fields);
        for other in others {
            let shared = access.groups(&ready.schema, &other.fields);
            let count = wanted.len();
            wanted.retain(|group| !shared.contains(group));
            if wanted.len() < count {
                fate = Some(together(fate, self.duplicate(held, &other, ready)?));
            }
        }
        Ok(fate)
    }

    /// Notes that two records say the same.
    fn duplicate(&mut self, held: &Held, other: &Held, ready: &Ready<'_>) -> Result<Fate, Failure> {
        let contest = Contest::of_two(held, other, ready);
        let row = self.open(contest, ready)?;
        self.settle_at_once(&row)
    }

    /// Notes that a record says the same as one that was there before it, where nobody has looked
    /// so far: the process ended before that was on disk.
    pub(crate) fn duplicate_again(
        &mut self,
        held: &Held,
        ready: &Ready<'_>,
    ) -> Result<Option<Fate>, Failure> {
        let Some(first) = held.arrived.first() else { return Ok(None) };
        let mut alike = Vec::new();
        for other in self.task.access.alike(&ready.schema, &ready.fields)? {
            let theirs = self.write.held(other)?.filter(|it| it.arrived.first() < Some(first));
            let Some(theirs) = theirs.filter(|it| !it.arrived.is_empty()) else { continue };
            if self.conflict_row(&Contest::of_two(held, &theirs, ready).id())?.is_some() {
                return Ok(None);
            }
            alike.extend(Some(theirs).filter(|it| !it.deleted));
        }
        self.duplicates(held, alike, ready)
    }

    /// The conflict, if it is known: by the same operation, or open by the same values.
    fn known(
        &self,
        contest: &Contest<'_>,
        ready: &Ready<'_>,
    ) -> Result<Option<ConflictRow>, Failure> {
        if let Some(row) = self.conflict_row(&contest.id())? {
            return Ok(Some(row));
        }
        // Whoever put the record together may have left less of it that contradicts, or more.
        if let Some((row, _)) = self.settled_before(contest.client.document, ready)?
            && row.kind == contest.kind
        {
            return Ok(Some(row));
        }
        let open = self.task.open_of(contest.client.document)?;
        let is_same = |row: &ConflictRow| {
            row.kind == contest.kind
                && row.keys == contest.keys
                && row.client.fields == contest.client.fields
                && row.client.user == contest.client.user
        };
        Ok(open.into_iter().find(is_same))
    }

    pub(crate) fn conflict_row(&self, id: &str) -> Result<Option<ConflictRow>, Failure> {
        let key = keys::conflict(self.task.access, id);
        let note = self.write.noted(self.task.access, &key)?;
        Ok(note.map(|note| ConflictRow::decode(&note)).transpose()?)
    }

    /// Notes a conflict as open, and which operation came to it.
    fn open(&mut self, contest: Contest<'_>, ready: &Ready<'_>) -> Result<ConflictRow, Failure> {
        let row = ConflictRow {
            id: contest.id(),
            sequence: self.next_sequence()?,
            kind: contest.kind,
            collection: contest.schema.number,
            client: contest.client,
            server: contest.server,
            keys: contest.keys,
            since: self.task.at,
            settled: None,
            contract: self.contract(),
        };
        self.list(&row);
        self.note_contested(&row, ready);
        Ok(row)
    }

    /// Notes which conflict an operation came to.
    fn note_contested(&mut self, row: &ConflictRow, ready: &Ready<'_>) {
        let key = self.contested_key(row.client.document, ready);
        self.write.note(key, Some(stored::encode(&row.id)));
    }

    /// Where that is noted.
    fn contested_key(&self, id: DocumentId, ready: &Ready<'_>) -> Vec<u8> {
        let Task { access, caller, .. } = self.task;
        let at = ready.operation.at.as_millis().to_be_bytes();
        // What an app has put on top of another version is another operation.
        let version = match ready.operation.base {
            Base::Version(version) | Base::Exactly(version) => version.to_be_bytes().to_vec(),
            Base::New | Base::Seen { .. } | Base::Current => Vec::new(),
        };
        let edit: [&[u8]; 3] = [&at, &version, &stored::encode(&ready.fields)];
        keys::contested(access, &caller.user, id, &edit)
    }

    /// The conflict that this operation came to when it came before, where it is settled.
    fn settled_before(
        &self,
        id: DocumentId,
        ready: &Ready<'_>,
    ) -> Result<Option<(ConflictRow, Settled)>, Failure> {
        let note = self.write.noted(self.task.access, &self.contested_key(id, ready))?;
        let Some(note) = note else { return Ok(None) };
        let row = self.conflict_row(&stored::decode::<String>(&note)?)?;
        Ok(row.and_then(|row| row.settled.clone().map(|settled| (row, settled))))
    }

    /// What an operation was answered whose conflict its request settled at once, where it comes
    /// again: the answer was lost, or it comes with another word.
    pub(crate) fn settled_again(
        &mut self,
        id: DocumentId,
        ready: &Ready<'_>,
    ) -> Result<Option<Fate>, Failure> {
        let Some(wanted) = self.resolution() else { return Ok(None) };
        let Some((row, settled)) = self.settled_before(id, ready)? else { return Ok(None) };
        let by = Resolution::from(settled.resolution);
        // Who wanted it otherwise then is told how it was settled, and not that his word was taken.
        let is_so = wanted != Resolution::Manual && by != Resolution::Manual;
        if !is_so || settled.by != self.task.caller.user {
            return Ok(None);
        }
        let conflict = self.task.show_conflict(&row, &mut self.showing, Some(&self.write))?;
        Ok(Some(Fate::Settled { by, conflict: Box::new(conflict) }))
    }

    /// Puts a conflict on the lists of those that are open.
    pub(crate) fn list(&mut self, row: &ConflictRow) {
        let access = self.task.access;
        self.write.note(keys::conflict(access, &row.id), Some(stored::encode(row)));
        self.write.note(keys::open(row.sequence), Some(stored::encode(&row.id)));
        for document in row.documents() {
            let key = keys::conflict_of(document, row.sequence);
            self.write.note(key, Some(stored::encode(&row.id)));
        }
    }

    /// The next number of the gateway.
    pub(crate) fn next_sequence(&mut self) -> Result<u64, Failure> {
        let note = self.write.noted(self.task.access, keys::SEQUENCE)?;
        let last: u64 = note.map(|note| stored::decode(&note)).transpose()?.unwrap_or(0);
        self.write.note(keys::SEQUENCE.to_vec(), Some(stored::encode(&(last + 1))));
        Ok(last + 1)
    }

    fn settle_at_once(&mut self, row: &ConflictRow) -> Result<Fate, Failure> {
        let by = match self.resolution() {
            None | Some(Resolution::Manual) => return self.fate(row),
            Some(Resolution::LastWriteWins) if row.client.at > row.server.at => {
                Resolution::ClientWins
            }
            Some(Resolution::LastWriteWins) => Resolution::ServerWins,
            Some(by) => by,
        };
        for document in row.documents() {
            let held = self.write.held(document)?;
            if held.is_some_and(|held| self.task.access.check_settles(&held).is_err()) {
                return self.fate(row);
            }
        }
        let conflict = self.task.show_conflict(row, &mut self.showing, Some(&self.write))?;
        self.settle(row, by, &Fields::new(), None, None)?;
        Ok(Fate::Settled { by, conflict: Box::new(conflict) })
    }

    /// What to say of an operation that is in this conflict.
    pub(crate) fn fate(&mut self, row: &ConflictRow) -> Result<Fate, Failure> {
        if let Some(row) = self.standing(row)? {
            self.note_contract(&row)?;
            let conflict = self.task.show_conflict(&row, &mut self.showing, Some(&self.write))?;
            return Ok(Fate::Conflict(Box::new(conflict)));
        }
        match self.write.held(row.client.document)? {
            Some(held) => self.stored(&row.decided(held), true),
            None => Err(Failure::missing("Record")),
        }
    }

    /// The open conflicts about the very existence of a record.
    pub(crate) fn open_conflict(&mut self, id: DocumentId) -> Result<Option<Fate>, Failure> {
        let is_it = |row: &ConflictRow| row.kind == Kind::Duplicate && row.client.document == id;
        let mut fate = None;
        for row in self.task.open_of(id)?.iter().filter(|row| is_it(row)) {
            if !self.is_superseded(row)? {
                fate = Some(together(fate, self.fate(row)?));
            }
        }
        Ok(fate)
    }

    /// The conflict `id` as [`Task::conflict_named`] gives it, also one that came up just now.
    pub(crate) fn conflict_named(&self, id: &str) -> Result<ConflictRow, Failure> {
        match self.conflict_row(id)? {
            Some(row) => Ok(row),
            None => self.task.conflict_named(id),
        }
    }

    /// The newest version that a conflict has told the caller of, not later than `at`.
    pub(crate) fn told(&self, id: DocumentId, at: Moment) -> Result<u64, Failure> {
        let user = Some(&self.task.caller.user);
        let open = self.task.open_of(id)?.into_iter();
        let told = open.filter(|row| row.since <= at && row.client.user.as_ref() == user);
        Ok(told.map(|row| row.server.version).max().unwrap_or(0))
    }
}

impl Task<'_> {
    /// The open conflicts of a record.
    pub(crate) fn open_of(&self, id: DocumentId) -> Result<Vec<ConflictRow>, Failure> {
        let mut rows = Vec::new();
        for (_, note) in self.access.notes(&keys::of_record(id), None, OF_RECORD_MAX)? {
            let conflict: String = stored::decode(&note)?;
            if let Some(note) = self.access.note(&keys::conflict(self.access, &conflict))? {
                rows.push(ConflictRow::decode(&note)?);
            }
        }
        Ok(rows)
    }

    /// The conflict `id` as it was noted, or as it stands in a record.
    pub(crate) fn conflict_named(&self, id: &str) -> Result<ConflictRow, Failure> {
        if let Some(note) = self.access.note(&keys::conflict(self.access, id))? {
            return Ok(ConflictRow::decode(&note)?);
        }
        let missing = || Failure::Refused(Refusal::Missing { what: "Conflict".into() });
        let competing = self.access.inbox_item(item_of(id))?.ok_or_else(missing)?;
        let row = self.row_of(&competing)?.ok_or_else(missing)?;
        if row.id != id {
            let why = "Somebody has edited or settled these records meanwhile; read the list again";
            return Err(Failure::contradiction(why));
        }
        Ok(row)
    }

    /// Whether a record belongs to another practice, so that nothing of it may be told but that it
    /// is there.
    fn is_closed(&self, id: DocumentId, write: Option<&Write<'_>>) -> Result<bool, Failure> {
        let held = match write {
            Some(write) => write.held(id)?,
            None => self.access.held(id)?,
        };
        Ok(held.is_some_and(|held| self.may_not_answer(&self.entity_of(&held), &held).is_some()))
    }

    /// When the version of one side arrived, for the only contract that tells by it; nothing of what
    /// is being written.
    fn arrival(
        &self,
        side: &SideRow,
        write: Option<&Write<'_>>,
    ) -> Result<Option<Moment>, Failure> {
        if self.dialect != Some(Dialect::Vet) {
            return Ok(None);
        }
        let held = match write {
            Some(write) => write.held(side.document)?,
            None => self.access.held(side.document)?,
        };
        let place = usize::try_from(side.version.saturating_sub(1)).ok();
        let arrived = held.zip(place).and_then(|(held, place)| held.arrived.get(place).copied());
        Ok(arrived.map(|position| self.access.moments().of(position)).transpose()?)
    }

    pub(crate) fn show_conflict(
        &self,
        row: &ConflictRow,
        showing: &mut Showing<'_>,
        write: Option<&Write<'_>>,
    ) -> Result<Conflict, Failure> {
        let mut side = |side: &SideRow| {
            let mut collection = row.collection;
            if row.kind == Kind::Duplicate {
                if self.is_closed(side.document, write)? {
                    let (version, deleted) = (side.version, side.deleted);
                    let (name, fields, at, user) = (None, Fields::new(), None, None);
                    let arrived_at = None;
                    return Ok(Side { name, version, fields, at, arrived_at, user, deleted });
                }
                // What an event tells of an entry may tell, too.
                let other = self.access.held(side.document)?;
                collection = other.map_or(collection, |held| held.collection);
            }
            Ok::<_, Failure>(Side {
                name: showing.name_of(side.document, write)?,
                version: side.version,
                fields: showing.fields(collection, &side.fields, write)?,
                at: side.at,
                arrived_at: self.arrival(side, write)?,
                user: side.user.clone(),
                deleted: side.deleted,
            })
        };
        let (client, server) = (side(&row.client)?, side(&row.server)?);
        let nameless = || fieldmesh_dialect::Name::Text(row.client.document.to_string());
        Ok(Conflict {
            id: row.id.clone(),
            kind: match row.kind {
                Kind::Field => ConflictKind::Field,
                Kind::Duplicate => ConflictKind::Duplicate,
                Kind::DeletedAndEdited => ConflictKind::DeletedAndEdited,
            },
            collection: showing.type_name(row.collection, row.told_fields()),
            name: client.name.clone().unwrap_or_else(nameless),
            client,
            server,
            keys: match row.kind {
                Kind::Duplicate => self.keys_shared(row),
                Kind::Field | Kind::DeletedAndEdited => shown_keys(row.collection, &row.keys),
            },
            since: row.since,
            asked: self.asked_about(row)?,
            beside: Vec::new(),
        })
    }
}

impl<'b> Contest<'b> {
    /// A record that says the same as another, which was there before it.
    fn of_two(held: &Held, other: &Held, ready: &'b Ready<'_>) -> Self {
        let (client, server) = (side_of(held), side_of(other));
        let (kind, keys) = (Kind::Duplicate, Vec::new());
        Self { kind, client, server, keys, at: held.created_at, schema: &ready.schema }
    }

    /// The same for the same operation on the same record, whenever it comes.
    fn id(&self) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/gateway-conflict/1");
        hasher.update(self.client.document.as_bytes());
        hasher.update(self.server.document.as_bytes());
        hasher.update(&self.at.as_millis().to_be_bytes());
        hasher.update(&stored::encode(&(&self.client.fields, &self.keys)));
        data_encoding::HEXLOWER.encode(&hasher.finalize().as_bytes()[..16])
    }
}

impl ConflictRow {
    /// The records that it is about.
    pub(crate) fn documents(&self) -> Vec<DocumentId> {
        let mut documents = vec![self.client.document, self.server.document];
        documents.dedup();
        documents
    }
}

pub(crate) fn side_of(held: &Held) -> SideRow {
    SideRow {
        document: held.id,
        version: held.version,
        fields: held.fields.clone(),
        at: Some(held.changed_at),
        user: held.made_for.clone(),
        deleted: held.deleted,
    }
}

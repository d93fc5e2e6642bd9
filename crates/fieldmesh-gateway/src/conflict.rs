//! Conflicts: how they come to be, which are open, and how they are shown.
//!
//! What a client brought stands in the record as a change on the version that he knew, dated
//! before what he did not know, so that everybody goes on seeing what the store had until somebody
//! decides. The note of a conflict says what both sides were.

use fieldmesh::gateway::{Competing, CompetingValue, Held, Write};
use fieldmesh_dialect::command::{ConflictQuery, Resolution};
use fieldmesh_dialect::outcome::{Conflict, ConflictKind, ConflictPage, Fate, Side};
use fieldmesh_dialect::{Outcome, Refusal};
use fieldmesh_model::{DocumentId, Fields, Moment};

use crate::free::shown_keys;
use crate::names::Showing;
use crate::push::Writing;
use crate::ready::Ready;
use crate::stored::{self, ConflictRow, Kind, SideRow};
use crate::superseded::Superseded;
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
        match self.stand_beside(held, version, fields, contested, ready)? {
            Noted::Before(row) => self.fate(&row),
            Noted::Now(row) if is_reserved => self.fate(&row),
            Noted::Now(row) => self.settle_at_once(&row),
        }
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
        let contest =
            Contest { kind, client, server, keys: contested.to_vec(), at, schema: &ready.schema };
        if let Some(known) = self.known(&contest)? {
            return Ok(Noted::Before(known));
        }
        let quiet = self.write.before_unknown(held.id, version)?;
        let written_at = self.written_at(at).min(quiet);
        self.edit(held.id, Some(version), fields, written_at)?;
        if version >= held.version && kind == Kind::Field {
            // There is nothing to stand beside, so what was there is written once more.
            let null = || fieldmesh_model::Value::Null;
            let value = |key: &String| held.fields.get(key).cloned().unwrap_or_else(null);
            let before: Fields = contested.iter().map(|key| (key.clone(), value(key))).collect();
            self.edit(held.id, None, &before, self.task.at)?;
        }
        self.open(contest).map(Noted::Now)
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
        if let Some(row) = self.known(&contest)? {
            return self.fate(&row);
        }
        let row = self.open(contest)?;
        self.settle_at_once(&row)
    }

    /// Notes that two records say the same.
    pub(crate) fn duplicate(
        &mut self,
        held: &Held,
        other: &Held,
        ready: &Ready<'_>,
    ) -> Result<Fate, Failure> {
        let contest = Contest::of_two(held, other, ready);
        let row = self.open(contest)?;
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
        let mut alike = None;
        for other in self.task.access.alike(&ready.schema, &ready.fields)? {
            let theirs = self.write.held(other)?.filter(|it| it.arrived.first() < Some(first));
            let Some(theirs) = theirs.filter(|it| !it.arrived.is_empty()) else { continue };
            if self.conflict_row(&Contest::of_two(held, &theirs, ready).id())?.is_some() {
                return Ok(None);
            }
            alike = alike.or(Some(theirs).filter(|it| !it.deleted));
        }
        alike.map(|theirs| self.duplicate(held, &theirs, ready)).transpose()
    }

    /// The conflict, if it is known: by the same operation, or open by the same values.
    fn known(&self, contest: &Contest<'_>) -> Result<Option<ConflictRow>, Failure> {
        if let Some(row) = self.conflict_row(&contest.id())? {
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
        Ok(note.map(|note| stored::decode(&note)).transpose()?)
    }

    /// Notes a conflict as open.
    fn open(&mut self, contest: Contest<'_>) -> Result<ConflictRow, Failure> {
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
        };
        let access = self.task.access;
        self.write.note(keys::conflict(access, &row.id), Some(stored::encode(&row)));
        self.write.note(keys::open(row.sequence), Some(stored::encode(&row.id)));
        for document in row.documents() {
            let key = keys::conflict_of(document, row.sequence);
            self.write.note(key, Some(stored::encode(&row.id)));
        }
        Ok(row)
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
    fn fate(&mut self, row: &ConflictRow) -> Result<Fate, Failure> {
        if row.settled.is_none() && !self.is_superseded(row)? {
            let conflict = self.task.show_conflict(row, &mut self.showing, Some(&self.write))?;
            return Ok(Fate::Conflict(Box::new(conflict)));
        }
        match self.write.held(row.client.document)? {
            Some(held) => self.stored(&row.decided(held), true),
            None => Err(Failure::missing("Record")),
        }
    }

    /// The open conflict about the very existence of a record.
    pub(crate) fn open_conflict(&mut self, id: DocumentId) -> Result<Option<Fate>, Failure> {
        let is_it = |row: &ConflictRow| row.kind == Kind::Duplicate && row.client.document == id;
        match self.task.open_of(id)?.into_iter().find(is_it) {
            Some(row) if self.is_superseded(&row)? => Ok(None),
            Some(row) => self.fate(&row).map(Some),
            None => Ok(None),
        }
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
                rows.push(stored::decode(&note)?);
            }
        }
        Ok(rows)
    }

    /// Lists open conflicts, oldest first.
    pub(crate) fn conflicts(&self, query: &ConflictQuery) -> Result<Outcome, Failure> {
        self.access.settle()?;
        let mut showing = Showing::new(*self, None)?;
        let mut after = query.after.map(keys::open);
        let (mut conflicts, mut next) = (Vec::new(), None);
        let mut superseded = Superseded { task: *self, rows: Vec::new() };
        loop {
            let page = self.access.notes(keys::OPEN, after.as_deref(), OF_RECORD_MAX)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (_, note) in &page {
                let id: String = stored::decode(note)?;
                let Some(note) = self.access.note(&keys::conflict(self.access, &id))? else {
                    continue;
                };
                let row: ConflictRow = stored::decode(&note)?;
                // Of a purged record nothing is shown.
                let is_seen = self.is_shown(row.client.document, &mut showing)?;
                if self.is_superseded(&row)? {
                    superseded.rows.push(row);
                    continue;
                }
                if !is_seen || !self.is_asked(&row, query, &showing) {
                    continue;
                }
                if conflicts.len() >= query.conflicts_max {
                    superseded.leave();
                    return Ok(Outcome::Conflicts(ConflictPage { conflicts, next }));
                }
                next = Some(row.sequence);
                conflicts.push(self.show_conflict(&row, &mut showing, None)?);
            }
        }
        superseded.leave();
        let mut after = query.after.and_then(inbox_place).unwrap_or_default();
        loop {
            let page = self.access.inbox(&after, OF_RECORD_MAX)?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.id);
            for competing in page {
                let Some(row) = self.row_of(&competing)? else { continue };
                let is_noted = self.is_noted(&row)?;
                let is_seen = self.is_shown(competing.document, &mut showing)?;
                if is_noted || !is_seen || !self.is_asked(&row, query, &showing) {
                    continue;
                }
                if conflicts.len() >= query.conflicts_max {
                    return Ok(Outcome::Conflicts(ConflictPage { conflicts, next }));
                }
                next = Some(place_in_inbox(&competing.id));
                conflicts.push(self.show_conflict(&row, &mut showing, None)?);
            }
        }
        Ok(Outcome::Conflicts(ConflictPage { conflicts, next: None }))
    }

    fn is_shown(&self, id: DocumentId, showing: &mut Showing<'_>) -> Result<bool, Failure> {
        let held = self.access.held(id)?.filter(|held| self.is_of_contract(held));
        held.map_or(Ok(false), |held| self.may_see(&held, showing))
    }

    /// Whether a conflict is about records of a type that is asked for, if any is.
    fn is_asked(&self, row: &ConflictRow, query: &ConflictQuery, showing: &Showing<'_>) -> bool {
        query.collection.as_ref().is_none_or(|wanted| {
            let named = self.access.collection_named(wanted);
            named.is_some_and(|schema| schema.number == row.collection)
                || showing.type_name(row.collection, &row.server.fields) == *wanted
        })
    }

    /// The conflict `id` as it was noted, or as it stands in a record.
    pub(crate) fn conflict_named(&self, id: &str) -> Result<ConflictRow, Failure> {
        if let Some(note) = self.access.note(&keys::conflict(self.access, id))? {
            return Ok(stored::decode(&note)?);
        }
        let missing = || Failure::Refused(Refusal::Missing { what: "Conflict".into() });
        let competing = self.access.inbox_item(id)?.ok_or_else(missing)?;
        self.row_of(&competing)?.ok_or_else(missing)
    }

    /// What competes in a record, told as a conflict: what is shown is the store's.
    fn row_of(&self, competing: &Competing) -> Result<Option<ConflictRow>, Failure> {
        let Some(held) = self.access.held(competing.document)? else { return Ok(None) };
        let null = fieldmesh_model::Value::Null;
        let shown = held.fields.get(&competing.field).unwrap_or(&null);
        let is_other = |it: &&CompetingValue| {
            if competing.is_deletion { it.value == null } else { !it.value.is_same(shown) }
        };
        let Some(other) = competing.values.iter().rev().find(is_other) else { return Ok(None) };
        let of_store = competing.values.iter().find(|it| !is_other(it));
        let (kind, keys) = match competing.is_deletion {
            true => (Kind::DeletedAndEdited, Vec::new()),
            false => (Kind::Field, vec![competing.field.clone()]),
        };
        let fields = match competing.is_deletion {
            true => held.fields.clone(),
            false => Fields::from([(competing.field.clone(), other.value.clone())]),
        };
        let client = SideRow {
            document: held.id,
            version: held.version,
            fields,
            at: Some(other.at),
            user: other.user.clone(),
            deleted: false,
        };
        let mut server = SideRow {
            at: of_store.map(|it| it.at),
            user: of_store.and_then(|it| it.user.clone()),
            ..side_of(&held)
        };
        server.fields.extend(competing.before.clone());
        server.fields.retain(|_, field| *field != null);
        Ok(Some(ConflictRow {
            id: competing.id.clone(),
            sequence: 0,
            kind,
            collection: held.collection,
            client,
            server,
            keys,
            since: competing.values.iter().map(|it| it.at).max().unwrap_or(self.at),
            settled: None,
        }))
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

    pub(crate) fn show_conflict(
        &self,
        row: &ConflictRow,
        showing: &mut Showing<'_>,
        write: Option<&Write<'_>>,
    ) -> Result<Conflict, Failure> {
        let mut side = |side: &SideRow| {
            if row.kind == Kind::Duplicate && self.is_closed(side.document, write)? {
                let (version, deleted) = (side.version, side.deleted);
                let (name, fields, at, user) = (None, Fields::new(), None, None);
                return Ok(Side { name, version, fields, at, user, deleted });
            }
            Ok::<_, Failure>(Side {
                name: showing.name_of(side.document, write)?,
                version: side.version,
                fields: showing.fields(row.collection, &side.fields, write)?,
                at: side.at,
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
            collection: showing.type_name(row.collection, &row.server.fields),
            name: client.name.clone().unwrap_or_else(nameless),
            client,
            server,
            keys: shown_keys(row.collection, &row.keys),
            since: row.since,
            asked: self.asked(&row.id)?,
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

/// Places in the list behind all that have a number: those of the inbox, by the start of their ids.
const INBOX: u64 = 1 << 63;

fn place_in_inbox(id: &str) -> u64 {
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    INBOX | (u64::from_str_radix(&digits, 16).unwrap_or(0) >> 1)
}

/// The id behind which such a place goes on.
fn inbox_place(place: u64) -> Option<String> {
    let start = (place & !INBOX) << 1;
    let digits = format!("{:016x}", start | 1);
    let text = format!("{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16]);
    (place & INBOX != 0).then(|| format!("{text}-ffff"))
}

fn side_of(held: &Held) -> SideRow {
    SideRow {
        document: held.id,
        version: held.version,
        fields: held.fields.clone(),
        at: Some(held.changed_at),
        user: held.made_for.clone(),
        deleted: held.deleted,
    }
}

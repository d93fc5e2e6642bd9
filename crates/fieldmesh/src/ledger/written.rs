//! Records that are written for apps: many at once, in the names of users, on versions of before.
//!
//! Nothing is looked up in the view for a record that was written a moment ago by the same writer,
//! and the disk is waited for once. One gateway writes at a time, so what it has read still holds.

mod apart;
mod beside;
mod notes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};

use fieldmesh_document::{CreateRecord, Document, EditError};
use fieldmesh_identity::{Member, Policy};
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{
    DeviceId, DocumentId, Edit, Epoch, Fields, Moment, Scope, UserId, Value, natural_key,
};
use fieldmesh_store::Place;

use crate::author::{Unsealed, priority_of};
use crate::changes::{Closure, Source, read_change};
use crate::clock;
use crate::error::Error;
use crate::gateway::{Access, Held, Mark, mark_at};
use crate::rows::{DocumentRow, RecordRow};
use crate::schema;

pub use self::notes::NOTE_SIZE_MAX;
pub(super) use self::notes::in_parts;

use super::alike::Left;
use super::breaches::breaks_rules;
use super::write::Pending;
use super::{Desk, Ledger};

/// Changes that know nothing of each other and of this device's others, in one record. Each takes
/// an actor of its own; a gateway keeps what more of them brought in notes.
pub(super) const ASIDE_MAX: u8 = 64;

/// A record that a gateway creates.
#[derive(Debug, Clone)]
pub struct NewDocument<'a> {
    /// Its collection.
    pub collection: &'a Collection,
    /// What its client calls it: a whole number or a text.
    pub name: Option<&'a Value>,
    /// What makes it the same record when it comes again, where the collection has no natural key.
    pub key: &'a [u8],
    /// Its fields; what rules they break is not looked at.
    pub fields: &'a Fields,
    /// When it was made, by the clock of the device.
    pub at: Moment,
    /// In whose name.
    pub user: &'a str,
}

/// Records that are being written; nothing of it is promised before [`Write::finish`].
pub struct Write<'a> {
    ledger: &'a Ledger,
    /// The number of the view that is read: in one that is begun anew changes of this device may be
    /// missing, and whoever writes after fewer of them takes a number that is taken.
    view: u64,
    _alone: MutexGuard<'a, ()>,
    pending: Vec<Pending>,
    open: BTreeMap<DocumentId, Opened>,
    notes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Whether something of them is what people write, rather than how things stand.
    is_news: bool,
    is_marked: bool,
    /// Whether a change was taken, within what the store is granted: then all of this is.
    is_granted: bool,
    /// Records of which the next change settles what competes in it.
    settling: BTreeSet<DocumentId>,
}

/// A change of a record, and who signed it.
#[derive(Clone)]
struct Known {
    author: DeviceId,
    change: Vec<u8>,
}

/// A record with all of its changes in the order of their arrival.
struct Opened {
    scope: Scope,
    document: Document,
    changes: Vec<Known>,
    record: RecordRow,
    /// Where in the feed those arrived that are in the view, and where the record stands there.
    arrived: Vec<u64>,
    feed: u64,
}

impl Access {
    /// Begins to write; waits for others who do.
    ///
    /// # Errors
    ///
    /// The view cannot follow.
    pub fn write(&self) -> Result<Write<'_>, Error> {
        self.ledger.await_records("apps write once all of it is there")?;
        // It guards no data, so one that panicked leaves nothing half done behind it.
        let alone = self.ledger.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        let view = self.ledger.projector.view_number();
        self.ledger.settle()?;
        let (pending, open, notes) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let (is_news, is_marked, is_granted, settling) = (false, false, false, BTreeSet::new());
        let (ledger, _alone) = (&self.ledger, alone);
        Ok(Write {
            ledger,
            view,
            _alone,
            pending,
            open,
            notes,
            is_news,
            is_marked,
            is_granted,
            settling,
        })
    }
}

impl Ledger {
    /// The record that the changes of `row` make.
    pub(crate) fn record_of(&self, id: DocumentId, row: &DocumentRow) -> Result<RecordRow, Error> {
        let closure = Closure::read(&self.store, &row.changes, self.device())?;
        let document = closure.document(id, &self.policy())?;
        RecordRow::of(&document, &self.schema(row.scope.collection))
    }

    /// Whether what a record of this person says of for whom it was made counts: it is this device's
    /// own, or a gateway's. Anybody can write the words.
    pub(crate) fn may_write_for_others(&self, user: UserId) -> bool {
        let is_gateway = |member: &Member| member.was_gateway && member.user == user;
        user == self.user() || self.policy().everybody().any(is_gateway)
    }

    /// The person whose records are those that `user` of a gateway creates: himself, where this
    /// device may say so and he has an id.
    fn creator(&self, user: &str) -> UserId {
        let policy = self.policy();
        let member = policy.member(&self.device());
        let named = member.filter(|member| member.was_gateway).and_then(|_| user.parse().ok());
        named.unwrap_or_else(|| self.user())
    }

    fn opened(&self, id: DocumentId) -> Result<Option<Opened>, Error> {
        if self.policy().is_purged(&id) {
            return Ok(None);
        }
        let Some(row) = self.row(id)?.filter(|row| row.record.is_some()) else { return Ok(None) };
        let mut changes = Vec::with_capacity(row.changes.len() + 1);
        for reference in &row.changes {
            let Source { author, change, .. } =
                read_change(&self.store, *reference, self.device())?;
            changes.push(Known { author, change });
        }
        // Somebody on this device may have edited it a moment ago.
        for recent in self.desk().recent.get(&id).into_iter().flatten() {
            if changes.iter().all(|known| known.change != recent.change) {
                changes.push(Known { author: self.device(), change: recent.change.clone() });
            }
        }
        let opened = self.open_changes(id, row.scope, changes)?;
        Ok(Some(Opened { arrived: row.arrived, feed: row.feed, ..opened }))
    }

    fn open_changes(
        &self,
        id: DocumentId,
        scope: Scope,
        changes: Vec<Known>,
    ) -> Result<Opened, Error> {
        let mut closure = Closure::default();
        for Known { author, change } in &changes {
            let peeked = fieldmesh_document::peek(change).map_err(|error| Error::store(&error))?;
            closure.insert(peeked, *author, change.clone());
        }
        let document = closure.document(id, &self.policy())?;
        let record = RecordRow::of(&document, &self.schema(scope.collection))?;
        Ok(Opened { scope, document, changes, record, arrived: Vec::new(), feed: 0 })
    }
}

impl Opened {
    fn held(&self, id: DocumentId, ledger: &Ledger) -> Held {
        let version = self.changes.len() as u64;
        let held = Held::of((id, self.scope.collection), self.record.clone(), version, ledger);
        Held { arrived: self.arrived.clone(), position: self.feed, ..held }
    }
}

impl Write<'_> {
    /// The id that a record gets: the same one each time it comes.
    pub fn id_of(&self, new: &NewDocument<'_>) -> DocumentId {
        self.identity(new).0
    }

    fn identity(&self, new: &NewDocument<'_>) -> (DocumentId, Vec<u8>) {
        let user = self.ledger.creator(new.user);
        let time = new.collection.time_field.as_ref().and_then(|field| new.fields.get(field));
        let at = time.and_then(Value::as_moment).unwrap_or(Moment::ZERO);
        let key = natural_key(new.collection, new.fields, &[]).unwrap_or_else(|| new.key.to_vec());
        (DocumentId::derive(user, at, &key), key)
    }

    /// The record, with what this writer has written.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn held(&self, id: DocumentId) -> Result<Option<Held>, Error> {
        match self.open.get(&id) {
            Some(opened) => Ok(Some(opened.held(id, self.ledger))),
            None => Ok(self.ledger.row(id)?.and_then(|row| Held::of_row(id, row, self.ledger))),
        }
    }

    /// The record as it was after the first `version` changes that arrived.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn held_at(&mut self, id: DocumentId, version: u64) -> Result<Option<Held>, Error> {
        let ledger = self.ledger;
        let Some(opened) = self.opened(id)? else { return Ok(None) };
        let kept = usize::try_from(version).unwrap_or(usize::MAX).max(1);
        if kept >= opened.changes.len() {
            return Ok(Some(opened.held(id, ledger)));
        }
        let changes = opened.changes[..kept].to_vec();
        ledger.open_changes(id, opened.scope, changes).map(|past| Some(past.held(id, ledger)))
    }

    /// Creates a record whose id nobody has so far; see [`Self::id_of`].
    ///
    /// # Errors
    ///
    /// The fields are too large, or of a month that this device let go, or its member may not.
    pub fn create(&mut self, new: &NewDocument<'_>) -> Result<Held, Error> {
        self.ledger.check_create(new.collection)?;
        let (id, key) = self.identity(new);
        self.ledger.check_key_not_purged(id)?;
        let now = clock::now();
        let time = new.collection.time_field.as_ref().and_then(|field| new.fields.get(field));
        let time = time.and_then(Value::as_moment).unwrap_or(now);
        let own = Scope::of(new.collection.number, 0, time);
        let scope = self.ledger.scope_held(own);
        // It may be here already, in a month that this device let go.
        if scope != own {
            self.ledger.check_not_let_go(id)?;
        }
        self.ledger.check_held(scope)?;
        let mut desk = self.ledger.desk();
        self.ledger.check_view(self.view)?;
        if desk.recent.contains_key(&id) {
            let reason = "somebody else has just made this record; try again".to_owned();
            return Err(Error::Store { reason });
        }
        let create = CreateRecord {
            id,
            key: &key,
            collection: new.collection,
            scope,
            user: self.ledger.creator(new.user),
            device: self.ledger.device(),
            actor: desk.author.actor(),
            at: new.at.min(now),
            created_at: None,
            zone: None,
            replaces: None,
            name: new.name,
            made_for: Some(new.user),
            fields: new.fields,
        };
        let (document, change) =
            Document::create(&create).map_err(|error| Error::fault("", error.to_string()))?;
        let at = desk.author.change_time(scope);
        let priority = priority_of(new.collection, new.fields);
        let unsealed = Unsealed { document: id, at, priority, change: change.clone() };
        let record = RecordRow::of(&document, new.collection)?;
        if !self.is_granted {
            self.ledger.check_quota()?;
        }
        self.ledger.note_made(&desk, scope, &document, &record);
        self.pending.push(self.ledger.submit(&mut desk, scope, unsealed)?);
        self.is_granted = true;
        drop(desk);
        let changes = vec![Known { author: self.ledger.device(), change }];
        let opened = Opened { scope, document, changes, record, arrived: Vec::new(), feed: 0 };
        let held = opened.held(id, self.ledger);
        self.open.insert(id, opened);
        Ok(held)
    }

    /// Edits a record as somebody did who knew its first `version` changes; all of them where there
    /// is none. `at` is when he did.
    ///
    /// # Errors
    ///
    /// There is no such record, or the edits are too large.
    pub fn edit(
        &mut self,
        id: DocumentId,
        version: Option<u64>,
        edits: &[Edit],
        at: Moment,
        user: &str,
    ) -> Result<Held, Error> {
        let policy = self.ledger.policy();
        let settles = self.settling.remove(&id);
        let breaks = self.opened(id)?.is_some_and(|opened| breaks_rules(&opened.record));
        self.change(&policy, (id, settles), version, |document, schema, actor| {
            schema::known(&policy, schema.number)?;
            if breaks && !settles {
                document.mending(schema, edits);
            }
            let written = match settles {
                true => document.resolve_for(schema, actor, at, edits, Some(user)),
                false => document.edit_for(schema, actor, at, edits, Some(user)),
            };
            written.map_err(|error| refused(&error))
        })
    }

    /// Deletes a record as somebody did who knew its first `version` changes.
    ///
    /// # Errors
    ///
    /// There is no such record, or it is deleted already and counts only until somebody decides.
    pub fn delete(
        &mut self,
        id: DocumentId,
        version: Option<u64>,
        at: Moment,
        user: &str,
    ) -> Result<Held, Error> {
        // To the app nothing would be wrong, and the record would stay in every list.
        let ledger = self.ledger;
        if let Some(opened) = self.opened(id)?.filter(|opened| opened.record.deleted)
            && let Some(reason) = ledger.counts_meanwhile(opened.scope.collection, id)?
        {
            return Err(Error::NotAllowed { reason });
        }
        let by = self.ledger.creator(user);
        let settles = self.settling.remove(&id);
        let left = self.left_instead(id)?;
        self.change(&self.ledger.policy(), (id, settles), version, |document, schema, actor| {
            if settles {
                document.settling_deletion(schema);
            }
            let written = match &left {
                Some(left) => left.delete(document, actor, at, by),
                None => document.delete(actor, at, by, None),
            };
            written.map_err(|error| refused(&error))
        })
    }

    /// The record in whose favour this one is deleted, by what was written here too.
    fn left_instead(&mut self, id: DocumentId) -> Result<Option<Left>, Error> {
        let ledger = self.ledger;
        let Some(opened) = self.opened(id)? else { return Ok(None) };
        let (schema, record) = (ledger.schema(opened.scope.collection), opened.record.clone());
        ledger.left_instead(id, &schema, &record, |other| {
            let said = self.opened(other)?.map(|opened| opened.document.kinship()).transpose();
            said.map_err(|error| Error::store(&error))
        })
    }

    /// Takes a deletion back, as `user` did.
    ///
    /// # Errors
    ///
    /// There is no such record.
    pub fn restore(&mut self, id: DocumentId, at: Moment, user: &str) -> Result<Held, Error> {
        let settles = self.settling.remove(&id);
        self.change(&self.ledger.policy(), (id, settles), None, |document, schema, actor| {
            if settles {
                document.settling_deletion(schema);
            }
            document.restore_for(actor, at, Some(user)).map_err(|error| refused(&error))
        })
    }

    /// Has the next change of each of these records, and of no other, say that it settles what
    /// competes in what it writes.
    pub fn settling(&mut self, ids: impl IntoIterator<Item = DocumentId>) {
        self.settling = ids.into_iter().collect();
    }

    /// Waits until everything is on disk and can be read; notes are written once the records are
    /// there that they are about. Gives the moment at which it arrived, where there is one.
    ///
    /// # Errors
    ///
    /// The disk failed: what was written may be there or not, and may be written again. Or a note is
    /// too large; then none is written, but the records are.
    pub fn finish(mut self) -> Result<Option<Mark>, Error> {
        // What is written needs a moment of arrival, and so does who asks for it next.
        let is_marked = self.is_marked || !self.pending.is_empty();
        let mut last = self.settle()?;
        let noted = self.write_notes(is_marked)?;
        last = last.max(noted);
        if let Some(place) = last {
            self.ledger.projector.wait(place)?;
        }
        noted.filter(|_| is_marked).map(|place| mark_at(self.ledger.view(), place)).transpose()
    }

    /// Waits for every change; of several that could not be written the first says why.
    fn settle(&mut self) -> Result<Option<Place>, Error> {
        let (mut last, mut failed) = (None, None);
        for pending in std::mem::take(&mut self.pending) {
            match self.ledger.finish(pending) {
                Ok(place) => last = last.max(Some(place)),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(last), Err)
    }

    fn opened(&mut self, id: DocumentId) -> Result<Option<&Opened>, Error> {
        if !self.open.contains_key(&id) {
            let Some(opened) = self.ledger.opened(id)? else { return Ok(None) };
            self.open.insert(id, opened);
        }
        Ok(self.open.get(&id))
    }

    /// The record with every change of this device, and the desk, at which no other can be made
    /// before the next one: two changes for one place in an actor's line would cost one of them.
    fn opened_at_desk(&mut self, id: DocumentId) -> Result<(&Opened, MutexGuard<'_, Desk>), Error> {
        let ledger = self.ledger;
        loop {
            if self.opened(id)?.is_none() {
                return Err(ledger.no_record(id));
            }
            let desk = ledger.desk();
            let changes = self.open.get(&id).map_or(&[][..], |opened| &opened.changes);
            let mut recent = desk.recent.get(&id).into_iter().flatten();
            if recent.all(|recent| changes.iter().any(|known| known.change == recent.change)) {
                let opened = self.open.get(&id).ok_or_else(|| ledger.no_record(id))?;
                return Ok((opened, desk));
            }
            self.open.remove(&id);
        }
    }

    fn change(
        &mut self,
        policy: &Policy,
        (id, settles): (DocumentId, bool),
        version: Option<u64>,
        write: impl FnOnce(&mut Document, &Collection, [u8; 16]) -> Result<Option<Vec<u8>>, Error>,
    ) -> Result<Held, Error> {
        let ledger = self.ledger;
        let (view, is_granted) = (self.view, self.is_granted);
        let (opened, mut desk) = self.opened_at_desk(id)?;
        ledger.check_view(view)?;
        let (scope, total) = (opened.scope, opened.changes.len());
        ledger.check_held(scope)?;
        let version = version.and_then(|version| usize::try_from(version).ok());
        let known = version.map_or(total, |version| version.clamp(1, total));
        let (before, behind) = opened.changes.split_at(known);
        let schema = schema::numbered(policy, scope.collection);
        let (allowed, what) = match settles {
            true => (&schema.resolve_by, "settle what competes in"),
            false => (&schema.edit_by, "change"),
        };
        ledger.check(allowed, opened.record.created_by, what, &schema)?;
        let mut past = match behind.is_empty() {
            true => opened.document.clone(),
            false => ledger.open_changes(id, scope, before.to_vec())?.document,
        };
        let (epoch, actor) = free_actor(&desk, ledger, behind)?;
        let written = write(&mut past, &schema, actor)?;
        let Some(change) = written else { return Ok(opened.held(id, ledger)) };
        if !is_granted {
            ledger.check_quota()?;
        }
        let at = desk.author.change_time(scope);
        let priority = priority_of(&schema, &opened.record.fields);
        let unsealed = Unsealed { document: id, at, priority, change: change.clone() };
        // Of one that others know nothing of the record is read from all of them.
        let record = match behind.is_empty() {
            true => Some(RecordRow::of(&past, &schema)?),
            false => None,
        };
        if let Some(record) = &record {
            ledger.note_made(&desk, scope, &past, record);
        }
        let pending = ledger.submit_in(&mut desk, epoch, scope, unsealed)?;
        drop(desk);
        let mut changes = opened.changes.clone();
        changes.push(Known { author: ledger.device(), change });
        let (arrived, feed) = (opened.arrived.clone(), opened.feed);
        let opened = match record {
            Some(record) => Opened { scope, document: past, changes, record, arrived, feed },
            None => Opened { arrived, feed, ..ledger.open_changes(id, scope, changes)? },
        };
        self.pending.push(pending);
        self.is_granted = true;
        let held = opened.held(id, ledger);
        self.open.insert(id, opened);
        Ok(held)
    }
}

impl Drop for Write<'_> {
    /// What was handed to the disk becomes durable, so it has to travel as well, also where the
    /// request that wrote it ended halfway.
    fn drop(&mut self) {
        // Nothing can be lined up any more behind a thread that panicked at the desk.
        if !self.ledger.desk.is_poisoned()
            && let Err(error) = self.settle()
        {
            tracing::error!(%error, "a part of a request could not be written");
        }
    }
}

/// Why a document did not take what should be written.
fn refused(error: &EditError) -> Error {
    Error::fault("", error.to_string())
}

/// An actor of this device who wrote none of the changes `behind`, of which the next knows nothing.
fn free_actor(desk: &Desk, ledger: &Ledger, behind: &[Known]) -> Result<(Epoch, [u8; 16]), Error> {
    let mut taken = Vec::with_capacity(behind.len());
    for Known { change, .. } in behind {
        let peeked = fieldmesh_document::peek(change).map_err(|error| Error::store(&error))?;
        taken.push(peeked.actor);
    }
    let aside = (0..ASIDE_MAX).map(|number| desk.author.aside_epoch(number));
    std::iter::once(desk.author.epoch())
        .chain(aside)
        .map(|epoch| (epoch, fieldmesh_document::actor(ledger.device(), epoch)))
        .find(|(_, actor)| !taken.iter().any(|other| other == actor))
        .ok_or_else(|| Error::Usage {
            reason: format!(
                "more than {ASIDE_MAX} people edited one version of a record apart; read it again"
            ),
        })
}

//! Operations on records that are there: the same once more, edits and deletions.

use fieldmesh::gateway::Held;
use fieldmesh_dialect::Dialect;
use fieldmesh_dialect::command::{Action, Base, Operation};
use fieldmesh_dialect::outcome::{Fate, Reason};
use fieldmesh_model::schema::{Collection, MergePolicy};
use fieldmesh_model::{DocumentId, Edit, Fields, Moment, Value};

use crate::free::{is_nothing, replacing};
use crate::push::Writing;
use crate::ready::Ready;
use crate::stored::{self, OwnEdit, WrittenRow};
use crate::{Failure, keys};

/// How many edits of its own are remembered of a device, in one record. One that lies further back
/// and comes again is written once more, and so is what followed it.
const REMEMBERED_MAX: usize = 64;

impl Writing<'_> {
    /// A create of what is there: the same once more, or other values for it.
    pub(crate) fn again(&mut self, held: &Held, ready: &Ready<'_>) -> Result<Fate, Failure> {
        // The process may have ended before the notes of this record were on disk.
        self.remember(held, ready)?;
        if let Some(settled) = self.settled_again(held.id, ready)? {
            return Ok(settled);
        }
        if let Some(conflict) = self.open_conflict(held.id)? {
            return Ok(conflict);
        }
        if held.version == 1 {
            self.note_violations(held, ready)?;
            if let Some(conflict) = self.duplicate_again(held, ready)? {
                return Ok(conflict);
            }
        }
        let first = match held.version {
            0..=1 => held.fields.clone(),
            _ => self.write.held_at(held.id, 1)?.map(|first| first.fields).unwrap_or_default(),
        };
        let is_there = |key: &String, field: &Value| {
            is_same(first.get(key), Some(field))
                || is_same(held.fields.get(key), Some(field))
                || ready.follows(key, first.get(key))
                || (ready.entity.is_free() && is_nothing(key, field, &first))
        };
        let other: Fields = ready
            .fields
            .iter()
            .filter(|(key, field)| !is_there(key, field))
            .map(|(key, field)| (key.clone(), field.clone()))
            .collect();
        if other.is_empty() {
            return self.stored_as(held, 1);
        }
        // Other values for what is there are an edit of it. What a source's server accepted is taken
        // all the same; of what the tenant has defined no source knows.
        if ready.entity.is_own()
            && let Some(why) = self.task.may_not_touch(ready.entity, held)
        {
            return Ok(Fate::Rejected(Reason::Forbidden { why }));
        }
        let contested: Vec<String> = other.keys().cloned().collect();
        self.contest(held, 1, &other, &contested, ready)
    }

    pub(crate) fn update(&mut self, held: &Held, ready: &Ready<'_>) -> Result<Fate, Failure> {
        let knowledge = self.knowledge(held, ready.operation)?;
        let on = knowledge.reach();
        let Knowledge { version, sure, ref own, ref wrote, .. } = knowledge;
        let base_fields = self.fields_at(held, version)?;
        let null = Value::Null;
        // What the device wrote itself it knows as it wrote it, whatever others made of it since.
        let known = |key: &str| own.fields.get(key).or(base_fields.get(key)).unwrap_or(&null);
        let mut changed = match ready.entity.is_free() {
            true => replacing(&ready.fields, &held.fields),
            false => ready.fields.clone(),
        };
        changed.retain(|key, field| !known(key).is_same(field));
        let taken = self.taken(held, &knowledge, ready);
        if !changed.is_empty()
            && let Some(taken) = taken
        {
            self.show(held.id, taken, &knowledge, ready);
            return self.stored_as(held, taken);
        }
        if held.deleted {
            return self.update_deleted(held, knowledge.reach(), &changed, ready);
        }
        if let Some(fate) = self.update_reserved(held, &changed, ready)? {
            return Ok(fate);
        }
        let is_contested = |(key, field): &(&String, &Value)| {
            let theirs = held.fields.get(*key).unwrap_or(&null);
            merges_by_choice(&ready.schema, key)
                && !theirs.is_same(known(key))
                && !theirs.is_same(field)
        };
        let contested: Vec<String> =
            changed.iter().filter(is_contested).map(|(key, _)| key.clone()).collect();
        if !contested.is_empty() {
            return self.contest(held, version, &changed, &contested, ready);
        }
        let news: Fields = changed
            .into_iter()
            .filter(|(key, field)| !is_same(held.fields.get(key), Some(field)))
            .collect();
        if news.is_empty() {
            return match (self.open_conflict(held.id)?, taken) {
                (Some(conflict), _) => Ok(conflict),
                (None, Some(taken)) => self.stored_as(held, taken),
                (None, None) => self.stored(held, false),
            };
        }
        // Nobody is asked because of a page that may have been lost; but what came with it, and is
        // replaced here, stands beside what replaces it.
        let sure_fields = self.fields_at(held, sure)?;
        let is_unsure = |key: &String| {
            merges_by_choice(&ready.schema, key)
                && !is_same(sure_fields.get(key), base_fields.get(key))
                && !is_same(wrote.fields.get(key), base_fields.get(key))
        };
        let on = match news.keys().any(is_unsure) {
            true => sure,
            false if held.conflicts.is_empty() => {
                // What the device knows of these fields is all that stands there.
                let last = own.last().max(version);
                let there = self.fields_at(held, last)?;
                let is_known = |key: &String| is_same(there.get(key), Some(known(key)));
                if news.keys().all(is_known) { last } else { on }
            }
            false => on,
        };
        self.write_news(held, on, news, knowledge, ready)
    }

    /// Writes fields that contradict nothing, as an edit on a version.
    fn write_news(
        &mut self,
        held: &Held,
        on: u64,
        news: Fields,
        knowledge: Knowledge,
        ready: &Ready<'_>,
    ) -> Result<Fate, Failure> {
        let on = match self.write.has_room_beside(held.id, on)? {
            true => on,
            // What nobody else changed stands beside nothing; of the rest somebody decides.
            false => match self.changed_since(held, on, &news)? {
                apart if apart.is_empty() => held.version,
                apart => return self.contest(held, on, &news, &apart, ready),
            },
        };
        let at = self.written_at(ready.operation.at);
        let total = self.write.held(held.id)?.map_or(held.version, |held| held.version);
        let after = self.edit(held.id, Some(on), &news, at)?;
        self.note_violations(&after, ready)?;
        if after.version == total + 1 {
            self.remember_own(&after, knowledge, news, ready);
        }
        self.stored(&after, false)
    }

    /// Notes what was written, as the next edits of its author will know it.
    fn remember_own(&mut self, after: &Held, known: Knowledge, news: Fields, ready: &Ready<'_>) {
        let memory = self.memory(after.id, ready.operation);
        let edit = self.own_edit(after.version, ready);
        let Knowledge { own, wrote, sent, .. } = known;
        let mut fields = own.fields;
        fields.extend(news);
        let with = |mut edits: Vec<OwnEdit>| {
            edits.push(edit.clone());
            edits.drain(..edits.len().saturating_sub(REMEMBERED_MAX));
            edits
        };
        let row = match memory {
            Memory::Device(_) => WrittenRow { fields, edits: with(sent.edits) },
            Memory::Person(_) | Memory::Request => {
                self.made = Some(after.version);
                let row = WrittenRow { fields, edits: with(wrote.edits) };
                self.shown.insert((self.hand.clone(), after.id), row);
                WrittenRow { fields: Fields::new(), edits: with(sent.edits) }
            }
            Memory::None => return,
        };
        if let Memory::Device(key) | Memory::Person(key) = memory {
            self.write.note(key, Some(stored::encode(&row)));
        }
    }

    /// Notes that a request which repeats the edit that made `version` knows of it.
    fn show(&mut self, id: DocumentId, version: u64, known: &Knowledge, ready: &Ready<'_>) {
        let mut row = known.wrote.clone();
        row.fields.extend(ready.fields.clone());
        row.edits = known.sent.edits.iter().filter(|it| it.version <= version).cloned().collect();
        if let Memory::Person(_) = self.memory(id, ready.operation) {
            self.shown.insert((self.hand.clone(), id), row);
        }
    }

    pub(crate) fn own_edit(&self, version: u64, ready: &Ready<'_>) -> OwnEdit {
        let content = self.task.access.hidden(&[b"own-edit", &stored::encode(&ready.fields)]);
        OwnEdit { version, at: ready.operation.at, content: content.to_vec() }
    }

    pub(crate) fn delete(&mut self, held: &Held, ready: &Ready<'_>) -> Result<Fate, Failure> {
        if held.deleted {
            let made = self.write.version_before_deletion(held.id)? + 1;
            return self.stored_as(held, made);
        }
        if let Some(why) = self.task.decides_alike(held, None)? {
            return Ok(Fate::Rejected(Reason::Forbidden { why }));
        }
        let knowledge = self.knowledge(held, ready.operation)?;
        let Knowledge { version, sure, ref own, ref wrote, .. } = knowledge;
        let (base_fields, sure_fields) =
            (self.fields_at(held, version)?, self.fields_at(held, sure)?);
        let known = |key: &String| own.fields.get(key).or(base_fields.get(key));
        let mut keys = held.fields.keys().chain(base_fields.keys()).chain(own.fields.keys());
        if keys.any(|key| !is_same(held.fields.get(key), known(key))) {
            return self.contest_deletion(held, version, ready);
        }
        let is_known = |(key, field): (&String, &Value)| {
            is_same(sure_fields.get(key), Some(field))
                || is_same(wrote.fields.get(key), Some(field))
        };
        // An edit that came with a page that may have been lost is asked about, not deleted.
        let on = match base_fields.iter().all(is_known) {
            true => knowledge.reach(),
            false => sure,
        };
        let at = self.written_at(ready.operation.at);
        let after = self.write.delete(held.id, Some(on), at, &self.task.caller.user)?;
        self.note_written(held.id);
        self.stored(&after, false)
    }

    /// Those of these fields that were changed after the first `version` changes, to something else.
    pub(crate) fn changed_since(
        &mut self,
        held: &Held,
        version: u64,
        fields: &Fields,
    ) -> Result<Vec<String>, Failure> {
        let before = self.fields_at(held, version)?;
        let is_so = |(key, field): &(&String, &Value)| {
            let theirs = held.fields.get(*key);
            !is_same(theirs, before.get(*key)) && !is_same(theirs, Some(field))
        };
        Ok(fields.iter().filter(is_so).map(|(key, _)| key.clone()).collect())
    }

    /// The fields of the record as it was after its first `version` changes.
    fn fields_at(&mut self, held: &Held, version: u64) -> Result<Fields, Failure> {
        let past = match version < held.version {
            true => self.write.held_at(held.id, version)?,
            false => None,
        };
        Ok(past.map_or_else(|| held.fields.clone(), |past| past.fields))
    }

    fn knowledge(&mut self, held: &Held, operation: &Operation) -> Result<Knowledge, Failure> {
        let at = match operation.base {
            Base::New => return Ok(Knowledge::of(1)),
            Base::Version(version) => {
                let known = Knowledge::of(version.clamp(1, held.version));
                return self.with_own(known, held, operation);
            }
            Base::Exactly(version) => return Ok(Knowledge::of(version.clamp(1, held.version))),
            Base::Current => return Ok(Knowledge::of(held.version)),
            Base::Seen { at } => at,
        };
        let access = self.task.access;
        let (position, sure) = match self.task.read(&self.owner)? {
            Some(read) => (read.place, read.sure),
            None => (access.position_at(at)?, u64::MAX),
        };
        // A deletion that comes again because its answer was lost means no more than it did.
        let told = match operation.action {
            Action::Delete => 0,
            Action::Create | Action::Update => self.told(held.id, at)?,
        };
        let version = |position| held.version_at(position).max(told).clamp(1, held.version);
        let (sure, version) = (version(sure.min(position)), version(position));
        self.with_own(Knowledge { sure, ..Knowledge::of(version) }, held, operation)
    }

    /// The same with what its author wrote himself, without having read it again.
    fn with_own(
        &self,
        known: Knowledge,
        held: &Held,
        operation: &Operation,
    ) -> Result<Knowledge, Failure> {
        let noted = |key: &[u8]| -> Result<WrittenRow, Failure> {
            let note = self.write.noted(self.task.access, key)?;
            Ok(note.map(|note| stored::decode(&note)).transpose()?.unwrap_or_default())
        };
        let shown = || self.shown.get(&(self.hand.clone(), held.id)).cloned().unwrap_or_default();
        let (wrote, sent) = match self.memory(held.id, operation) {
            Memory::Device(key) => {
                let row = noted(&key)?;
                (row.clone(), row)
            }
            Memory::Person(key) => (shown(), noted(&key)?),
            Memory::Request => (shown(), shown()),
            Memory::None => return Ok(known),
        };
        Ok(known.with(wrote, sent))
    }

    /// How an author's edits of a record are remembered. A queue of edits names the version that was
    /// read before the first of them, so each knows of those before it. Of a person without a device
    /// nobody knows how many he holds, and the contract of `health` makes each edit a question that
    /// comes by itself: there only those of one request know of each other. Two people may call
    /// their devices the same.
    fn memory(&self, id: DocumentId, operation: &Operation) -> Memory {
        let (access, user) = (self.task.access, &self.task.caller.user);
        match operation.base {
            Base::New | Base::Exactly(_) | Base::Current => Memory::None,
            Base::Version(_) if self.task.dialect == Some(Dialect::Health) => Memory::Request,
            Base::Seen { .. } | Base::Version(_) => match self.device.as_deref() {
                Some(device) => Memory::Device(keys::written(access, user, device, id)),
                None => Memory::Person(keys::sent(access, user, id)),
            },
        }
    }

    /// The version that this very edit made, if it is among those that its author sent: its answer
    /// was lost, and what was written after it stays. Where several were made at its time, nobody
    /// can tell. One that the device has read since is meant once more, unless all that follows it
    /// is its own as well.
    fn taken(&self, held: &Held, known: &Knowledge, ready: &Ready<'_>) -> Option<u64> {
        // What the journal has comes no further than there, so another of this request is meant.
        if let Memory::Request = self.memory(held.id, ready.operation) {
            return None;
        }
        let edit = self.own_edit(held.version, ready);
        let is_open = |version: u64| match ready.operation.base {
            Base::Seen { .. } => {
                version > known.version || known.sent.is_own(version, held.version)
            }
            _ => version > known.version,
        };
        let mut alike =
            known.sent.edits.iter().filter(|own| own.at == edit.at && is_open(own.version));
        let first = alike.next()?;
        let is_one = first.content == edit.content && alike.all(|own| own.content == edit.content);
        is_one.then_some(first.version)
    }

    /// Writes fields as an edit on the version that its author knew.
    pub(crate) fn edit(
        &mut self,
        id: DocumentId,
        version: Option<u64>,
        fields: &Fields,
        at: Moment,
    ) -> Result<Held, Failure> {
        let edit = |(key, field): (&String, &Value)| match field {
            Value::Null => Edit::clear(key.clone()),
            field => Edit::set(key.clone(), field.clone()),
        };
        let edits: Vec<Edit> = fields.iter().map(edit).collect();
        let held = self.write.edit(id, version, &edits, at, &self.task.caller.user)?;
        self.note_written(id);
        Ok(held)
    }

    /// When something was written, by a clock that may be ahead.
    pub(crate) fn written_at(&self, at: Moment) -> Moment {
        at.min(self.task.at)
    }

    pub(crate) fn note_written(&mut self, id: DocumentId) {
        *self.wrote.entry(id).or_default() += 1;
        self.unsorted.push(id);
    }
}

/// What a device knew of a record when it wrote.
struct Knowledge {
    /// With everything that it was sent.
    version: u64,
    /// Without the last page: its answer may have been lost.
    sure: u64,
    /// What it wrote itself since it read that version.
    own: WrittenRow,
    /// What it wrote itself last, whether it has read that or not.
    wrote: WrittenRow,
    /// The edits that came from it, also those of which this one says nothing.
    sent: WrittenRow,
}

/// Where an author's own edits are remembered.
enum Memory {
    /// Under this key, each known to those that follow it.
    Device(Vec<u8>),
    /// Under this key, so that one that comes again is recognised; a request knows of its own.
    Person(Vec<u8>),
    /// Only while the request is worked on.
    Request,
    /// Nowhere: the operation says itself on what it is based.
    None,
}

impl Knowledge {
    /// Of a device that named the version.
    fn of(version: u64) -> Self {
        let none = WrittenRow::default;
        Self { version, sure: version, own: none(), wrote: none(), sent: none() }
    }

    /// The same with what it wrote itself; what it has read since stands for itself.
    fn with(self, wrote: WrittenRow, sent: WrittenRow) -> Self {
        let own = match wrote.last() > self.version {
            true => wrote.clone(),
            false => WrittenRow::default(),
        };
        Self { own, wrote, sent, ..self }
    }

    /// Up to which version the device knows all that was written: where somebody else wrote before
    /// its last edit, no further than it has read.
    fn reach(&self) -> u64 {
        let last = self.own.last();
        if self.own.is_own(self.version, last) { last.max(self.version) } else { self.version }
    }
}

/// Whether concurrent values of a field exclude each other, so that one has to be chosen.
fn merges_by_choice(schema: &Collection, key: &str) -> bool {
    matches!(schema.policy(key), MergePolicy::Latest | MergePolicy::Review)
}

fn is_same(known: Option<&Value>, other: Option<&Value>) -> bool {
    let null = Value::Null;
    known.unwrap_or(&null).is_same(other.unwrap_or(&null))
}

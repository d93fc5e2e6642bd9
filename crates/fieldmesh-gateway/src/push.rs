//! Writes what a device did and says what became of each operation.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh::Error;
use fieldmesh::gateway::{Held, Write};
use fieldmesh_dialect::Dialect;
use fieldmesh_dialect::command::{
    Action, Base, Identity, NameForm, Operation, Push, Refused, Resolution,
};
use fieldmesh_dialect::outcome::{Fate, Pushed, Reason, Stored};
use fieldmesh_model::schema::Who;
use fieldmesh_model::validate::{AnyReference, violations};
use fieldmesh_model::{DocumentId, Fault, Fields, Role, Value};

use crate::entity::Entity;
use crate::names::{ARRIVING, Showing, value};
use crate::ready::Ready;
use crate::stored::{self, FormRow, StateRow, WrittenRow};
use crate::{Failure, Task, keys};

/// Why an operation is not taken: it could neither be a record nor be kept to be tried again.
pub(crate) fn too_large_fault() -> Fault {
    Fault::new("", "this operation is larger than a record may be (256 KiB)")
}

/// Who did something, and with which device, where that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hand {
    pub(crate) user: String,
    pub(crate) device: String,
}

/// What is being written for one command.
pub(crate) struct Writing<'a> {
    pub(crate) task: Task<'a>,
    pub(crate) write: Write<'a>,
    pub(crate) showing: Showing<'a>,
    /// How many changes of each record were written.
    pub(crate) wrote: BTreeMap<DocumentId, u64>,
    /// Those of them that are in no group yet, each as often as it was written.
    pub(crate) unsorted: Vec<DocumentId>,
    /// The others by the values of which one of a kind is wanted, as they were when they came here.
    groups: BTreeMap<[u8; 16], BTreeSet<DocumentId>>,
    /// Names that were given just now.
    pub(crate) names: BTreeMap<(String, String), DocumentId>,
    /// To whom names for the time being belong.
    pub(crate) owner: String,
    /// The device that wrote, where it is known.
    pub(crate) device: Option<String>,
    /// Whose operation is being applied.
    pub(crate) hand: Hand,
    /// What this request has shown that it knows: the edits that came before in it.
    pub(crate) shown: BTreeMap<(Hand, DocumentId), WrittenRow>,
    /// The version that the last edit made, where it is remembered.
    pub(crate) made: Option<u64>,
    resolution: Option<Resolution>,
}

impl Task<'_> {
    /// Writes, and says which records and how many changes of each.
    pub(crate) fn push(&self, push: &Push) -> Result<(Pushed, BTreeMap<DocumentId, u64>), Failure> {
        let device = push.device.as_ref().map(|device| device.id.as_str());
        self.check_device(device)?;
        let mut writing = self.writing(device, push.resolution)?;
        let mut fates = Vec::with_capacity(push.operations.len());
        let mut too_large = Vec::new();
        let mut stored = 0;
        let mut stores_left = push.stores_max.unwrap_or(usize::MAX);
        for operation in &push.operations {
            if stores_left == 0 && writing.is_new(operation)? {
                fates.push(Fate::Deferred);
                continue;
            }
            let before: u64 = writing.wrote.values().sum();
            let fate = writing.apply(operation)?;
            let has_written = writing.wrote.values().sum::<u64>() > before;
            stores_left -= usize::from(has_written);
            stored += u64::from(has_written && !matches!(fate, Fate::Conflict(_)));
            if let Fate::Rejected(reason) = &fate {
                match stored::is_too_large(operation) {
                    true => too_large.push(Refused::of(operation, vec![too_large_fault()])),
                    false => writing.keep_rejected(operation, reason, device)?,
                }
            }
            fates.push(fate);
        }
        for refused in [&push.refused, &too_large] {
            writing.keep_refused(refused, device.or(self.caller.device.as_deref()))?;
        }
        // The only contract that shows how many were taken at once.
        if self.dialect == Some(Dialect::Asset) {
            writing.count_at_once(StateRow::SYNCED, stored)?;
        }
        if let Some(device) = &push.device {
            writing.note_device(device)?;
        }
        let Writing { write, wrote, .. } = writing;
        let at = match write.finish()? {
            Some(mark) => mark.at,
            None => self.access.last_mark()?.at,
        };
        for fate in &mut fates {
            if let Fate::Stored(stored) = fate
                && stored.record.arrived_at == ARRIVING
            {
                stored.record.arrived_at = at;
            }
        }
        Ok((Pushed { fates, at }, wrote))
    }

    pub(crate) fn writing(
        &self,
        device: Option<&str>,
        resolution: Option<Resolution>,
    ) -> Result<Writing<'_>, Failure> {
        let device = device.or(self.caller.device.as_deref());
        let hand =
            Hand { user: self.caller.user.clone(), device: device.unwrap_or_default().to_owned() };
        Ok(Writing {
            task: *self,
            write: self.access.write()?,
            showing: Showing::new(*self, device)?,
            wrote: BTreeMap::new(),
            unsorted: Vec::new(),
            groups: BTreeMap::new(),
            names: BTreeMap::new(),
            owner: device.unwrap_or_else(|| self.owner()).to_owned(),
            device: device.map(str::to_owned),
            hand,
            shown: BTreeMap::new(),
            made: None,
            resolution,
        })
    }
}

impl Writing<'_> {
    /// Applies an operation. What a client did wrong is a fate; what broke here is an error.
    pub(crate) fn apply(&mut self, operation: &Operation) -> Result<Fate, Failure> {
        match self.apply_one(operation) {
            Ok(Ok(fate)) => Ok(fate),
            Ok(Err(reason)) => Ok(Fate::Rejected(reason)),
            // Too large, or for no month that is kept: the others are written all the same.
            Err(Failure::Broken(Error::Invalid { faults })) => {
                Ok(Fate::Rejected(Reason::Invalid { faults }))
            }
            Err(Failure::Broken(
                error @ (Error::LetGo { .. } | Error::Purged { .. } | Error::NotAllowed { .. }),
            )) => Ok(Fate::Rejected(Reason::Forbidden { why: error.to_string() })),
            Err(Failure::Broken(Error::Usage { reason })) => {
                Ok(Fate::Rejected(Reason::Forbidden { why: reason }))
            }
            Err(failure) => Err(failure),
        }
    }

    fn apply_one(&mut self, operation: &Operation) -> Result<Result<Fate, Reason>, Failure> {
        if stored::is_too_large(operation) {
            return Ok(Err(Reason::Invalid { faults: vec![too_large_fault()] }));
        }
        let entity = match self.entity(operation)? {
            Ok(entity) => entity,
            Err(why) => return Ok(Err(Reason::Invalid { faults: vec![Fault::new("", why)] })),
        };
        if let Some(why) = self.may_not(&entity, operation) {
            return Ok(Err(Reason::Forbidden { why }));
        }
        self.note_form(operation)?;
        self.note_spelling(&entity, operation)?;
        let ready = match self.prepare(operation, &entity)? {
            Ok(ready) => ready,
            Err(reason) => return Ok(Err(reason)),
        };
        let found = match self.find_operation(&ready)? {
            Some(id) => self.write.held(id)?,
            None => None,
        };
        if let Some(held) = &found
            && let Some(why) = self.may_not_take(held, &ready)
        {
            return Ok(Err(Reason::Forbidden { why }));
        }
        let fate = match (found, operation.action) {
            (None, Action::Create) => self.create(&ready)?,
            (None, Action::Update | Action::Delete) => {
                // What was let go is not gone, and nobody is to think so.
                if let Identity::Named(name) = &operation.identity
                    && let Ok(id) = name.to_string().parse()
                {
                    self.task.access.check_not_let_go(id)?;
                }
                return Ok(Err(Reason::NoRecord));
            }
            (Some(held), Action::Create) => self.again(&held, &ready)?,
            // Whoever edits what he reads now finds nothing there.
            (Some(held), Action::Update)
                if held.deleted && matches!(operation.base, Base::Current | Base::Exactly(_)) =>
            {
                return Ok(Err(Reason::NoRecord));
            }
            (Some(held), Action::Update | Action::Delete) => {
                if let Base::Exactly(version) = operation.base
                    && version != held.version
                {
                    // The answer to the same edit may have been lost.
                    if is_there(&held, &ready) {
                        return self.stored(&held, true).map(Ok);
                    }
                    return Ok(Err(Reason::Stale { version: held.version }));
                }
                match operation.action {
                    Action::Delete => self.delete(&held, &ready)?,
                    Action::Create | Action::Update => self.update(&held, &ready)?,
                }
            }
        };
        Ok(Ok(fate))
    }

    /// Why the caller may not write records of a type, if so. Only what lets him write at all
    /// counts: what the server of a source accepted is accepted. Who may create what the tenant has
    /// defined no source knows, so the tenant's word counts.
    fn may_not(&self, entity: &Entity, operation: &Operation) -> Option<String> {
        let role = self.task.caller.role;
        let create_by = &entity.schema.create_by;
        let is_closed = match entity.is_own() && operation.action == Action::Create {
            true => !self.task.is_among(create_by, || true),
            false => *create_by == [Who::Admin] && !entity.is_own() && role != Role::Admin,
        };
        (is_closed || matches!(role, Role::Client | Role::Relay | Role::Gateway))
            .then(|| format!("your role is not allowed to write {} records", entity.noun()))
    }

    /// Remembers what an app calls a collection of the tenant's own: it is answered so, and so are
    /// the other devices of its user that have shown nothing.
    fn note_spelling(&mut self, entity: &Entity, operation: &Operation) -> Result<(), Failure> {
        let (number, name) = (entity.schema.number, operation.collection.as_str());
        if !entity.is_own() || self.showing.type_name(number, &Fields::new()) == name {
            return Ok(());
        }
        let Task { access, dialect, caller, .. } = self.task;
        let of = |device| keys::spelled(access, dialect, &caller.user, device, number);
        let note = stored::encode(&name);
        if self.device.is_none() || self.write.noted(access, &of(None))?.is_none() {
            self.write.note(of(None), Some(note.clone()));
        }
        if let Some(device) = self.device.as_deref() {
            self.write.note(of(Some(device)), Some(note));
        }
        self.showing.set_spelling(number, name);
        Ok(())
    }

    /// Why the operation may not be about the record that it found, if so.
    fn may_not_take(&self, held: &Held, ready: &Ready<'_>) -> Option<String> {
        match ready.operation.action {
            Action::Create => self.task.may_not_answer(ready.entity, held),
            Action::Update | Action::Delete => self.task.may_not_touch(ready.entity, held),
        }
    }

    /// Remembers in which form the client calls records. Who has shown that he uses numbers keeps
    /// them: a local database in two forms has everything twice.
    fn note_form(&mut self, operation: &Operation) -> Result<(), Failure> {
        let (Identity::Temporary { wants, .. } | Identity::Unnamed { wants }) = operation.identity
        else {
            return Ok(());
        };
        if self.task.dialect != Some(Dialect::Vet) || wants == NameForm::Unsaid {
            return Ok(());
        }
        let form = FormRow::from(wants);
        let Task { access, dialect, caller, .. } = self.task;
        let key = keys::form(access, dialect, &caller.user, caller.device.as_deref());
        let noted = self.write.noted(access, &key)?;
        let noted: Option<FormRow> = noted.map(|note| stored::decode(&note)).transpose()?;
        if noted != Some(FormRow::Number) && noted != Some(form) {
            self.showing.set_form(form);
            self.write.note(key, Some(stored::encode(&form)));
        }
        Ok(())
    }

    fn create(&mut self, ready: &Ready<'_>) -> Result<Fate, Failure> {
        let name = match &ready.operation.identity {
            Identity::Named(name) => Some(value(name)),
            Identity::Temporary { .. } | Identity::Key | Identity::Unnamed { .. } => None,
        };
        let key = self.identity_key(ready);
        let new = self.new_document(ready, name.as_ref(), &key);
        let others = self.task.access.alike(&ready.schema, &ready.fields)?;
        let held = self.write.create(&new)?;
        self.note_written(held.id);
        self.remember(&held, ready)?;
        self.note_violations(&held, ready)?;
        let mut theirs = Vec::new();
        for other in others.into_iter().chain(self.alike_here(ready)?) {
            theirs.extend(self.write.held(other)?.filter(|it| it.id != held.id && !it.deleted));
        }
        match self.duplicates(&held, theirs, ready)? {
            Some(fate) => Ok(fate),
            None => self.stored(&held, false),
        }
    }

    /// Lets later operations, of this request or another, find the record that this one made.
    pub(crate) fn remember(&mut self, held: &Held, ready: &Ready<'_>) -> Result<(), Failure> {
        let kind = ready.entity.key().into_owned();
        for text in [
            self.showing.name(held).to_string(),
            held.id.to_string(),
            self.task.access.number_of(held.id).to_string(),
        ] {
            self.names.insert((kind.clone(), text), held.id);
        }
        if let Identity::Temporary { name, .. } = &ready.operation.identity {
            self.names.insert((kind, name.clone()), held.id);
            self.note_news(self.temporary_key(ready, name), Some(stored::encode(&held.id)))?;
        }
        Ok(())
    }

    /// Notes what is not noted so already.
    fn note_news(&mut self, key: Vec<u8>, note: Option<Vec<u8>>) -> Result<(), Failure> {
        if self.write.noted(self.task.access, &key)? != note {
            self.write.note(key, note);
        }
        Ok(())
    }

    /// Lists a record that breaks rules which no source states: it is stored all the same.
    pub(crate) fn note_violations(
        &mut self,
        held: &Held,
        ready: &Ready<'_>,
    ) -> Result<(), Failure> {
        let key = keys::violation(held.id);
        let mut faults = violations(&ready.schema, &held.fields, &AnyReference);
        faults.extend(ready.dangling.iter().cloned());
        let rows: Vec<(String, String)> =
            faults.into_iter().map(|it| (it.field, it.message)).collect();
        self.note_news(key, (!rows.is_empty()).then(|| stored::encode(&rows)))
    }

    /// What this request wrote before that says the same where one of a kind is wanted.
    fn alike_here(&mut self, ready: &Ready<'_>) -> Result<Vec<DocumentId>, Failure> {
        let access = self.task.access;
        let wanted = access.groups(&ready.schema, &ready.fields);
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        for id in std::mem::take(&mut self.unsorted) {
            let Some(held) = self.write.held(id)? else { continue };
            for group in access.groups(&access.schema(held.collection), &held.fields) {
                self.groups.entry(group).or_default().insert(id);
            }
        }
        let found = wanted.iter().filter_map(|group| self.groups.get(group)).flatten();
        let mut alike = Vec::new();
        for id in found.copied().collect::<BTreeSet<_>>() {
            // It may have been edited since.
            let Some(held) = self.write.held(id)? else { continue };
            let groups = access.groups(&access.schema(held.collection), &held.fields);
            if groups.iter().any(|group| wanted.contains(group)) {
                alike.push(id);
            }
        }
        Ok(alike)
    }

    pub(crate) fn stored(&mut self, held: &Held, again: bool) -> Result<Fate, Failure> {
        let arrived_at = match self.wrote.contains_key(&held.id) {
            true => ARRIVING,
            false => self.task.access.moments().of(held.position)?,
        };
        let record = self.showing.record(held, arrived_at, Some(&self.write))?;
        Ok(Fate::Stored(Box::new(Stored { record, again })))
    }

    /// The same answer once more to the operation that made `version`: whoever goes on from there
    /// has not read what others wrote since.
    pub(crate) fn stored_as(&mut self, held: &Held, version: u64) -> Result<Fate, Failure> {
        let mut fate = self.stored(held, true)?;
        if let Fate::Stored(stored) = &mut fate {
            stored.record.version = version.min(held.version);
        }
        Ok(fate)
    }

    pub(crate) fn resolution(&self) -> Option<Resolution> {
        self.resolution
    }
}

/// Whether the record says already what the operation makes of it.
fn is_there(held: &Held, ready: &Ready<'_>) -> bool {
    let null = Value::Null;
    let is_same =
        |(key, field): (&String, &Value)| held.fields.get(key).unwrap_or(&null).is_same(field);
    match ready.operation.action {
        Action::Delete => held.deleted,
        Action::Create | Action::Update => !held.deleted && ready.fields.iter().all(is_same),
    }
}

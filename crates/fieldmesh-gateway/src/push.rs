//! Writes what a device did and says what became of each operation.

use std::collections::BTreeMap;

use fieldmesh::Error;
use fieldmesh::gateway::{Held, NewDocument, Write};
use fieldmesh_dialect::Name;
use fieldmesh_dialect::command::{Action, Base, Identity, NameForm, Operation, Push, Resolution};
use fieldmesh_dialect::outcome::{Fate, Pushed, Reason, Stored};
use fieldmesh_model::schema::{Collection, Who};
use fieldmesh_model::validate::{AnyReference, validate_stated};
use fieldmesh_model::{DocumentId, Edit, Fault, Fields, Moment, Role, Value, catalogue};

use crate::names::{ARRIVING, Showing, named_by, target, value};
use crate::stored::{self, FormRow, WrittenRow};
use crate::{Failure, Task, keys};

/// What is being written for one command.
pub(crate) struct Writing<'a> {
    pub(crate) task: Task<'a>,
    pub(crate) write: Write<'a>,
    pub(crate) showing: Showing<'a>,
    /// How many changes of each record were written.
    pub(crate) wrote: BTreeMap<DocumentId, u64>,
    /// Names that were given just now.
    names: BTreeMap<(u16, String), DocumentId>,
    /// To whom names for the time being belong, the owner of new ones first.
    owners: Vec<String>,
    resolution: Option<Resolution>,
}

/// An operation whose records are found.
pub(crate) struct Ready<'a> {
    pub(crate) operation: &'a Operation,
    pub(crate) schema: &'static Collection,
    /// With ids in the fields that refer to others.
    pub(crate) fields: Fields,
    violations: Vec<Fault>,
}

impl Task<'_> {
    /// Writes, and says which records and how many changes of each.
    pub(crate) fn push(&self, push: &Push) -> Result<(Pushed, BTreeMap<DocumentId, u64>), Failure> {
        if let Some(device) = &push.device {
            self.check_device(&device.id)?;
        }
        let device = push.device.as_ref().map(|device| device.id.as_str());
        let mut writing = self.writing(device, push.resolution)?;
        let mut fates = Vec::with_capacity(push.operations.len());
        let mut stores_left = push.stores_max.unwrap_or(usize::MAX);
        for operation in &push.operations {
            if stores_left == 0 && writing.is_new(operation)? {
                fates.push(Fate::Deferred);
                continue;
            }
            let before: u64 = writing.wrote.values().sum();
            let fate = writing.apply(operation)?;
            stores_left -= usize::from(writing.wrote.values().sum::<u64>() > before);
            if let Fate::Rejected(reason) = &fate {
                writing.keep_rejected(operation, reason, device)?;
            }
            fates.push(fate);
        }
        for refused in &push.refused {
            let key = keys::refused(self.access, &refused.content);
            let faults: Vec<(String, String)> =
                refused.faults.iter().cloned().map(|it| (it.field, it.message)).collect();
            writing.write.note(key, Some(stored::encode(&(&refused.content, faults))));
        }
        if push.device.is_some() && writing.wrote.is_empty() {
            self.access.mark()?;
        }
        let Writing { write, wrote, .. } = writing;
        write.finish()?;
        let at = self.access.last_mark()?.at;
        for fate in &mut fates {
            if let Fate::Stored(stored) = fate
                && stored.record.arrived_at == ARRIVING
            {
                stored.record.arrived_at = at;
            }
        }
        if let Some(device) = &push.device {
            self.note_device(device, at)?;
        }
        Ok((Pushed { fates, at }, wrote))
    }

    pub(crate) fn writing(
        &self,
        device: Option<&str>,
        resolution: Option<Resolution>,
    ) -> Result<Writing<'_>, Failure> {
        let device = device.or(self.caller.device.as_deref());
        let owners = device.into_iter().chain([self.caller.user.as_str()]).map(str::to_owned);
        Ok(Writing {
            task: *self,
            write: self.access.write()?,
            showing: Showing::new(*self, self.form()?),
            wrote: BTreeMap::new(),
            names: BTreeMap::new(),
            owners: owners.collect(),
            resolution,
        })
    }
}

impl<'a> Writing<'a> {
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
        let Some(schema) = catalogue::named(&operation.collection) else {
            let fault = Fault::new("", format!("there is no type {}", operation.collection));
            return Ok(Err(Reason::Invalid { faults: vec![fault] }));
        };
        if let Some(why) = self.may_not(schema) {
            return Ok(Err(Reason::Forbidden { why }));
        }
        self.note_form(operation);
        let ready = match self.prepare(operation, schema)? {
            Ok(ready) => ready,
            Err(reason) => return Ok(Err(reason)),
        };
        let found = match self.find_operation(&ready)? {
            Some(id) => self.write.held(id)?,
            None => None,
        };
        let fate = match (found, operation.action) {
            (None, Action::Create) => self.create(&ready)?,
            (None, Action::Update | Action::Delete) => return Ok(Err(Reason::NoRecord)),
            (Some(held), Action::Create) => self.again(held, &ready)?,
            (Some(held), Action::Update | Action::Delete) => {
                if let Base::Exactly(version) = operation.base
                    && version != held.version
                {
                    return Ok(Err(Reason::Stale { version: held.version }));
                }
                match operation.action {
                    Action::Delete => self.delete(&held, &ready)?,
                    Action::Create | Action::Update => self.update(held, &ready)?,
                }
            }
        };
        Ok(Ok(fate))
    }

    /// Why the caller may not write records of `schema`, if so. Only what lets him write at all
    /// counts: what the server of a source accepted is accepted.
    fn may_not(&self, schema: &Collection) -> Option<String> {
        let role = self.task.caller.role;
        let is_closed = schema.create_by == [Who::Admin] && role != Role::Admin;
        (is_closed || matches!(role, Role::Client | Role::Relay))
            .then(|| format!("your role is not allowed to write {} records", schema.name))
    }

    /// Remembers in which form the client calls records.
    fn note_form(&mut self, operation: &Operation) {
        let (Identity::Temporary { wants, .. } | Identity::Unnamed { wants }) = operation.identity
        else {
            return;
        };
        if self.task.dialect != Some(fieldmesh_dialect::Dialect::Vet) || wants == NameForm::Unsaid {
            return;
        }
        let form = FormRow::from(wants);
        self.showing.set_form(form);
        let key = keys::form(self.task.access, self.task.dialect, &self.task.caller.user);
        self.write.note(key, Some(stored::encode(&form)));
    }

    /// Finds the records that the operation refers to, and brings its fields into their form.
    fn prepare<'b>(
        &mut self,
        operation: &'b Operation,
        schema: &'static Collection,
    ) -> Result<Result<Ready<'b>, Reason>, Failure> {
        let mut fields = operation.fields.clone();
        for reference in &operation.references {
            let Some(name) = fields.get(&reference.key).and_then(named_by) else { continue };
            let Some(other) = catalogue::named(&reference.collection) else { continue };
            let held = match self.find(other, &name)? {
                Some(id) => self.write.held(id)?.filter(|held| !held.deleted),
                None => None,
            };
            let Some(held) = held else {
                if reference.must_exist {
                    return Ok(Err(Reason::NoReference { key: reference.key.clone() }));
                }
                continue;
            };
            if let Some(copied) = &reference.copied {
                let Some(value) = held.fields.get(&copied.from) else {
                    let (key, lacks) = (reference.key.clone(), copied.from.clone());
                    return Ok(Err(Reason::IncompleteReference { key, lacks }));
                };
                fields.insert(copied.to.clone(), value.clone());
            }
        }
        for (key, field) in &mut fields {
            let Some(other) = target(schema, key) else { continue };
            let Some(name) = named_by(field) else { continue };
            if let Some(id) = self.find(other, &name)? {
                *field = Value::Text(id.to_string());
            }
        }
        let mut violations = Vec::new();
        if operation.action == Action::Create {
            match validate_stated(schema, &fields, &AnyReference) {
                Ok(taken) => {
                    // Copied and derived fields stay as they are: nobody else knows them better.
                    let given = std::mem::replace(&mut fields, taken.content);
                    for (key, field) in given {
                        fields.entry(key).or_insert(field);
                    }
                    violations = taken.violations;
                }
                Err(faults) => violations = faults,
            }
            fields.retain(|_, field| *field != Value::Null);
        }
        Ok(Ok(Ready { operation, schema, fields, violations }))
    }

    fn find(&self, collection: &Collection, name: &Name) -> Result<Option<DocumentId>, Failure> {
        if let Some(id) = self.names.get(&(collection.number, name.to_string())) {
            return Ok(Some(*id));
        }
        let owners: Vec<&str> = self.owners.iter().map(String::as_str).collect();
        self.task.find(collection, name, &owners)
    }

    /// Whether the operation would write a record that is not there so far.
    fn is_new(&mut self, operation: &Operation) -> Result<bool, Failure> {
        let Some(schema) = catalogue::named(&operation.collection) else { return Ok(false) };
        match self.prepare(operation, schema)? {
            Ok(ready) => Ok(self.find_operation(&ready)?.is_none()),
            Err(_) => Ok(false),
        }
    }

    fn find_operation(&self, ready: &Ready<'_>) -> Result<Option<DocumentId>, Failure> {
        let named = match &ready.operation.identity {
            Identity::Named(name) => self.find(ready.schema, name)?,
            Identity::Temporary { name, .. } => {
                self.find(ready.schema, &Name::Text(name.clone()))?
            }
            Identity::Key | Identity::Unnamed { .. } => None,
        };
        if named.is_some() || ready.operation.action != Action::Create {
            return Ok(named);
        }
        let key = self.identity_key(ready);
        let id = self.write.id_of(&self.new_document(ready, None, &key));
        Ok(self.write.held(id)?.map(|held| held.id))
    }

    /// What makes a record the same one when it comes again.
    fn identity_key(&self, ready: &Ready<'_>) -> Vec<u8> {
        let Operation { identity, key, at, .. } = ready.operation;
        let owner = self.owners.first().map_or("", String::as_str);
        let at = at.as_millis().to_string();
        let parts: Vec<&str> = match (identity, key) {
            (Identity::Named(Name::Text(text)), _) => vec!["name", text],
            (Identity::Named(Name::Number(number)), _) => {
                return hashed(&["name", &ready.schema.name, &number.to_string()]);
            }
            (Identity::Temporary { name, .. }, _) => vec!["temporary", owner, name],
            (Identity::Unnamed { .. } | Identity::Key, Some(key)) => vec!["key", owner, key],
            // Without a name or a key only its content tells whether it is the same.
            (Identity::Unnamed { .. } | Identity::Key, None) => {
                let content = stored::encode(&ready.fields);
                let content = data_encoding::HEXLOWER.encode(blake3::hash(&content).as_bytes());
                return hashed(&["content", &ready.schema.name, owner, &at, &content]);
            }
        };
        hashed(&[&[parts[0], ready.schema.name.as_str()], &parts[1..]].concat())
    }

    fn new_document<'b>(
        &self,
        ready: &'b Ready<'_>,
        name: Option<&'b Value>,
        key: &'b [u8],
    ) -> NewDocument<'b>
    where
        'a: 'b,
    {
        NewDocument {
            collection: ready.schema,
            name,
            key,
            fields: &ready.fields,
            at: ready.operation.at,
            user: &self.task.caller.user,
        }
    }

    fn create(&mut self, ready: &Ready<'_>) -> Result<Fate, Failure> {
        let name = match &ready.operation.identity {
            Identity::Named(name) => Some(value(name)),
            Identity::Temporary { .. } | Identity::Key | Identity::Unnamed { .. } => None,
        };
        let key = self.identity_key(ready);
        let new = self.new_document(ready, name.as_ref(), &key);
        let others = self.task.access.alike(ready.schema, &ready.fields)?;
        let held = self.write.create(&new)?;
        self.note_written(held.id);
        let number = ready.schema.number;
        for text in [
            self.showing.name(&held).to_string(),
            held.id.to_string(),
            self.task.access.number_of(held.id).to_string(),
        ] {
            self.names.insert((number, text), held.id);
        }
        if let Identity::Temporary { name, .. } = &ready.operation.identity {
            self.names.insert((number, name.clone()), held.id);
            for owner in &self.owners {
                let (access, dialect) = (self.task.access, self.task.dialect);
                let key = keys::temporary(access, dialect, owner, &ready.schema.name, name);
                self.write.note(key, Some(stored::encode(&held.id)));
            }
        }
        if !ready.violations.is_empty() {
            let faults: Vec<(String, String)> =
                ready.violations.iter().cloned().map(|it| (it.field, it.message)).collect();
            self.write.note(keys::violation(held.id), Some(stored::encode(&faults)));
        }
        let written = self.wrote.keys().copied();
        let groups_alike = written.filter(|id| *id != held.id).collect::<Vec<_>>();
        for other in others.into_iter().chain(self.alike_here(ready, &groups_alike)?) {
            let Some(theirs) = self.write.held(other)? else { continue };
            if other != held.id && !theirs.deleted {
                return self.duplicate(&held, &theirs, ready);
            }
        }
        self.stored(&held, false)
    }

    /// Those of `ids`, written a moment ago, that say the same where one of a kind is wanted.
    fn alike_here(
        &self,
        ready: &Ready<'_>,
        ids: &[DocumentId],
    ) -> Result<Vec<DocumentId>, Failure> {
        let wanted: Vec<_> = ready
            .schema
            .unique
            .iter()
            .filter(|unique| ready.schema.natural_key.is_empty() && unique.fields.len() > 1)
            .filter(|unique| unique.applies_to(&ready.fields))
            .collect();
        let mut alike = Vec::new();
        if wanted.is_empty() {
            return Ok(alike);
        }
        for id in ids {
            let Some(held) = self.write.held(*id)? else { continue };
            let same = |key: &String| {
                let ours = ready.fields.get(key);
                ours.is_some() && ours == held.fields.get(key)
            };
            if held.collection == ready.schema.number
                && wanted
                    .iter()
                    .any(|unique| unique.applies_to(&held.fields) && unique.fields.iter().all(same))
            {
                alike.push(*id);
            }
        }
        Ok(alike)
    }

    /// A create of what is there: the same once more, or other values for it.
    fn again(&mut self, held: Held, ready: &Ready<'_>) -> Result<Fate, Failure> {
        if let Some(conflict) = self.open_conflict(held.id)? {
            return Ok(conflict);
        }
        let is_temporary = matches!(ready.operation.identity, Identity::Temporary { .. });
        let first = match held.version {
            0..=1 => held.fields.clone(),
            _ => self.write.held_at(held.id, 1)?.map(|first| first.fields).unwrap_or_default(),
        };
        let differs = |(key, field): &(&String, &Value)| {
            !is_same(first.get(*key), Some(field)) && !is_same(held.fields.get(*key), Some(field))
        };
        let other: Fields = ready
            .fields
            .iter()
            .filter(differs)
            .map(|(key, field)| (key.clone(), field.clone()))
            .collect();
        if is_temporary || other.is_empty() {
            return self.stored(&held, true);
        }
        let contested: Vec<String> = other.keys().cloned().collect();
        self.contest(&held, 1, other, contested, ready)
    }

    fn update(&mut self, held: Held, ready: &Ready<'_>) -> Result<Fate, Failure> {
        let (version, own) = self.base(&held, ready.operation)?;
        let base = match version < held.version {
            true => self.write.held_at(held.id, version)?,
            false => None,
        };
        let base_fields = base.as_ref().map_or(&held.fields, |base| &base.fields);
        let null = Value::Null;
        let shown =
            |fields: &'_ Fields, key: &str| fields.get(key).cloned().unwrap_or(null.clone());
        let changed: Fields = ready
            .fields
            .iter()
            .filter(|(key, field)| !is_same(base_fields.get(*key), Some(field)))
            .map(|(key, field)| (key.clone(), field.clone()))
            .collect();
        let is_contested = |(key, field): &(&String, &Value)| {
            let theirs = shown(&held.fields, key);
            !own.keys.contains(*key)
                && merges_by_choice(ready.schema, key)
                && !theirs.is_same(&shown(base_fields, key))
                && !theirs.is_same(field)
        };
        let contested: Vec<String> =
            changed.iter().filter(is_contested).map(|(key, _)| key.clone()).collect();
        let on = version.max(own.version);
        let known = self.write.held_at(held.id, on)?;
        if held.deleted && !known.is_some_and(|known| known.deleted) && !changed.is_empty() {
            return self.contest(&held, on, changed, Vec::new(), ready);
        }
        if !contested.is_empty() {
            return self.contest(&held, version, changed, contested, ready);
        }
        // What is there already, by whomever, is written no second time.
        let news: Fields = changed
            .into_iter()
            .filter(|(key, field)| !is_same(held.fields.get(key), Some(field)))
            .collect();
        if news.is_empty() {
            return match self.open_conflict(held.id)? {
                Some(conflict) => Ok(conflict),
                None => self.stored(&held, false),
            };
        }
        let at = self.written_at(ready.operation.at);
        let after = self.edit(held.id, Some(on), &news, at)?;
        let seen = matches!(ready.operation.base, Base::Seen { .. });
        if seen {
            let mut own = own;
            own.version = after.version;
            own.keys.extend(news.into_keys());
            let key = keys::written(self.task.access, &self.owners[0], held.id);
            self.write.note(key, Some(stored::encode(&own)));
        }
        self.stored(&after, false)
    }

    fn delete(&mut self, held: &Held, ready: &Ready<'_>) -> Result<Fate, Failure> {
        if held.deleted {
            return self.stored(held, true);
        }
        let (version, own) = self.base(held, ready.operation)?;
        let at = self.written_at(ready.operation.at);
        let on = Some(version.max(own.version));
        let after = self.write.delete(held.id, on, at, &self.task.caller.user)?;
        self.note_written(held.id);
        self.stored(&after, false)
    }

    /// The version that the device knew, and what it wrote itself since it read that.
    fn base(&mut self, held: &Held, operation: &Operation) -> Result<(u64, WrittenRow), Failure> {
        let at = match operation.base {
            Base::New => return Ok((1, WrittenRow::default())),
            Base::Version(version) | Base::Exactly(version) => {
                return Ok((version.clamp(1, held.version), WrittenRow::default()));
            }
            Base::Current => return Ok((held.version, WrittenRow::default())),
            Base::Seen { at } => at,
        };
        let access = self.task.access;
        let read = self.task.read_place(&self.owners[0])?;
        let position = match read {
            Some(place) => place,
            None => access.position_at(at)?,
        };
        let told = self.told(held.id, at)?;
        let version = held.version_at(position).max(told).clamp(1, held.version);
        let key = keys::written(access, &self.owners[0], held.id);
        let own = self.write.noted(access, &key)?;
        let own: WrittenRow =
            own.map(|note| stored::decode(&note)).transpose()?.unwrap_or_default();
        // What it has read since stands for itself.
        let own = if own.version > version { own } else { WrittenRow::default() };
        Ok((version, own))
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
    }

    pub(crate) fn stored(&mut self, held: &Held, again: bool) -> Result<Fate, Failure> {
        let arrived_at = match self.wrote.contains_key(&held.id) {
            true => ARRIVING,
            false => self.task.access.moments().of(held.position)?,
        };
        let record = self.showing.record(held, arrived_at, Some(&self.write))?;
        Ok(Fate::Stored(Box::new(Stored { record, again })))
    }

    /// The record that an operation was about, which has been applied.
    pub(crate) fn written_of(
        &mut self,
        operation: &Operation,
    ) -> Result<Option<DocumentId>, Failure> {
        let Some(schema) = catalogue::named(&operation.collection) else { return Ok(None) };
        match self.prepare(operation, schema)? {
            Ok(ready) => self.find_operation(&ready),
            Err(_) => Ok(None),
        }
    }

    pub(crate) fn resolution(&self) -> Option<Resolution> {
        self.resolution
    }
}

/// Whether concurrent values of a field exclude each other, so that one has to be chosen.
fn merges_by_choice(schema: &Collection, key: &str) -> bool {
    use fieldmesh_model::schema::MergePolicy;
    matches!(schema.policy(key), MergePolicy::Latest | MergePolicy::Review)
}

fn is_same(known: Option<&Value>, other: Option<&Value>) -> bool {
    let null = Value::Null;
    known.unwrap_or(&null).is_same(other.unwrap_or(&null))
}

fn hashed(parts: &[&str]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/gateway-key/1");
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().as_bytes()[..16].to_vec()
}

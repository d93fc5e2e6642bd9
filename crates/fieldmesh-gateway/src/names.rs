//! What clients call records, both ways.
//!
//! A name that holds in the tenant stands in the record itself. A record without one is called by
//! its id or, by a client that wants numbers, by a number that follows from its id. Names for the
//! time being are notes, and belong to a device or to a user.

use std::collections::BTreeMap;
use std::sync::Arc;

use fieldmesh::gateway::{Held, Write};
use fieldmesh_dialect::outcome::Record;
use fieldmesh_dialect::{Dialect, Name};
use fieldmesh_model::catalogue::free::{FREE_RECORD, KIND};
use fieldmesh_model::schema::{Collection, Kind};
use fieldmesh_model::{DocumentId, Fields, Moment, Value};

use crate::entity::Entity;
use crate::free::shown_fields;
use crate::stored::{self, FormRow};
use crate::{Failure, Task, keys};

/// Stands for the moment of arrival of what is being written.
pub(crate) const ARRIVING: Moment = Moment::from_millis(i64::MIN);

/// A name as it stands in a record.
pub(crate) fn value(name: &Name) -> Value {
    match name {
        Name::Number(number) => Value::Int(*number),
        Name::Text(text) => Value::Text(text.clone()),
    }
}

/// The name in the field of a record that refers to another.
pub(crate) fn named_by(value: &Value) -> Option<Name> {
    match value {
        Value::Int(number) => Some(Name::Number(*number)),
        Value::Text(text) if !text.is_empty() => Some(Name::Text(text.clone())),
        _ => None,
    }
}

impl Task<'_> {
    /// The collection of which a field of `schema` names records.
    pub(crate) fn target(&self, schema: &Collection, key: &str) -> Option<Arc<Collection>> {
        match &schema.field(key)?.kind {
            Kind::Reference { collection } => self.access.referred(schema.number, collection),
            _ => None,
        }
    }

    /// The record of a type that everybody, or `owner` for the time being, calls `name`.
    pub(crate) fn find(
        &self,
        entity: &Entity,
        name: &Name,
        owner: &str,
    ) -> Result<Option<DocumentId>, Failure> {
        // A text may be the owner's own word, whatever others call so; a number never is.
        let is_text = matches!(name, Name::Text(_));
        let text = name.to_string();
        let number = entity.schema.number;
        let key = keys::temporary(self.access, self.dialect, owner, &entity.key(), &text);
        let own = self.access.note(&key)?.map(|note| stored::decode(&note)).transpose()?;
        if let Some(id) = own.filter(|_| is_text) {
            return Ok(Some(id));
        }
        if let Some(id) = self.access.named(number, &value(name), |held| entity.holds(held))? {
            return Ok(Some(id));
        }
        let is_of =
            |id| Ok::<_, Failure>(self.access.held(id)?.is_some_and(|it| entity.holds(&it)));
        if let Ok(id) = text.parse::<DocumentId>()
            && is_of(id)?
        {
            return Ok(Some(id));
        }
        if let Ok(wanted) = text.parse::<i64>()
            && let Some(id) = self.access.numbered(number, wanted)?
            && is_of(id)?
        {
            return Ok(Some(id));
        }
        Ok(own)
    }

    /// To whom names for the time being belong: the caller's device or, where none is known, he.
    pub(crate) fn owner(&self) -> &str {
        self.caller.device.as_deref().unwrap_or(&self.caller.user)
    }

    /// The form of names that the caller's app understands, as far as it has shown it.
    pub(crate) fn form(&self) -> Result<FormRow, Failure> {
        if self.dialect != Some(Dialect::Vet) {
            return Ok(FormRow::Text);
        }
        let noted = |device: Option<&str>| -> Result<Option<FormRow>, Failure> {
            let key = keys::form(self.access, self.dialect, &self.caller.user, device);
            let note = self.access.note(&key)?;
            Ok(note.map(|note| stored::decode(&note)).transpose()?)
        };
        // What he has shown elsewhere holds until this device shows something.
        let own = match self.caller.device.as_deref() {
            Some(device) => noted(Some(device))?,
            None => None,
        };
        Ok(own.or(noted(None)?).unwrap_or(FormRow::Unsaid))
    }
}

/// Shows records in the names that one client knows.
pub(crate) struct Showing<'a> {
    task: Task<'a>,
    form: FormRow,
    /// What the client's app calls the tenant's own collections, where that is not their name.
    spellings: BTreeMap<u16, String>,
    names: BTreeMap<DocumentId, Option<Name>>,
}

impl<'a> Showing<'a> {
    /// In the words of the caller's app, on a device where one is known.
    pub(crate) fn new(task: Task<'a>, device: Option<&str>) -> Result<Self, Failure> {
        let (form, names) = (task.form()?, BTreeMap::new());
        let spellings = task.spellings(device.or(task.caller.device.as_deref()))?;
        Ok(Self { task, form, spellings, names })
    }

    /// What two clients have in common who are shown the same.
    pub(crate) fn words(&self) -> (FormRow, &BTreeMap<u16, String>) {
        (self.form, &self.spellings)
    }

    /// What the client's app calls the type of records of `collection` that hold `fields`.
    pub(crate) fn type_name(&self, collection: u16, fields: &Fields) -> String {
        let kind = fields.get(KIND).and_then(Value::as_text).filter(|_| collection == FREE_RECORD);
        match kind.or(self.spellings.get(&collection).map(String::as_str)) {
            Some(name) => name.to_owned(),
            None => self.task.access.schema(collection).name.clone(),
        }
    }

    /// Remembers what the client's app calls a collection.
    pub(crate) fn set_spelling(&mut self, collection: u16, name: &str) {
        self.spellings.insert(collection, name.to_owned());
    }

    pub(crate) fn set_form(&mut self, form: FormRow) {
        if self.form != form {
            self.form = form;
            self.names.clear();
        }
    }

    /// What the client calls a record.
    pub(crate) fn name(&self, held: &Held) -> Name {
        match (&held.name, self.form) {
            (Some(Value::Int(number)), _) => Name::Number(*number),
            (Some(name), FormRow::Text | FormRow::Unsaid) => Name::Text(name.to_cell()),
            // Whoever wants numbers cannot use the text that another client gave.
            (None | Some(_), FormRow::Number) => Name::Number(self.task.access.number_of(held.id)),
            (None, FormRow::Text | FormRow::Unsaid) => Name::Text(held.id.to_string()),
        }
    }

    /// The fields with the names that the client knows in those that refer to others.
    pub(crate) fn fields(
        &mut self,
        collection: u16,
        fields: &Fields,
        write: Option<&Write<'_>>,
    ) -> Result<Fields, Failure> {
        let schema = self.task.access.schema(collection);
        let mut shown = shown_fields(collection, fields).into_owned();
        for (key, field) in &mut shown {
            if self.task.target(&schema, key).is_none() {
                continue;
            }
            let Some(id) = field.as_text().and_then(|text| text.parse().ok()) else { continue };
            if let Some(name) = self.name_of(id, write)? {
                *field = value(&name);
            }
        }
        Ok(shown)
    }

    pub(crate) fn name_of(
        &mut self,
        id: DocumentId,
        write: Option<&Write<'_>>,
    ) -> Result<Option<Name>, Failure> {
        if let Some(name) = self.names.get(&id) {
            return Ok(name.clone());
        }
        let held = match write {
            Some(write) => write.held(id)?,
            None => self.task.access.held(id)?,
        };
        let name = held.map(|held| self.name(&held));
        self.names.insert(id, name.clone());
        Ok(name)
    }

    pub(crate) fn record(
        &mut self,
        held: &Held,
        arrived_at: Moment,
        write: Option<&Write<'_>>,
    ) -> Result<Record, Failure> {
        // One contract alone tells it, and of what is being written only what was decided.
        let changed_by = match (self.task.dialect, write) {
            (Some(Dialect::Asset), None) => self.task.access.changed_by(held)?,
            _ => None,
        };
        Ok(Record {
            name: self.name(held),
            collection: self.type_name(held.collection, &held.fields),
            fields: self.fields(held.collection, &held.fields, write)?,
            version: held.version,
            deleted: held.deleted,
            arrived_at,
            changed_at: Some(held.changed_at),
            changed_by,
            created_at: Some(held.created_at),
            created_by: Some(held.made_for.clone().unwrap_or_else(|| held.created_by.to_string())),
        })
    }
}

//! One record: show, edit, delete, restore, history.

use std::sync::Arc;

use fieldmesh_document::{Document, EditError};
use fieldmesh_model::schema::{Collection, Who};
use fieldmesh_model::validate::validate_edit;
use fieldmesh_model::{DocumentId, Edit, Moment, UserId, Value, input};
use serde_json::Value as Json;

use crate::api::{Edits, FieldChange, Record, Revision, Safety};
use crate::author::{Unsealed, priority_of};
use crate::clock;
use crate::error::Error;
use crate::rows::RecordRow;
use crate::schema;

use super::create::is_who;
use super::names::ViewReferences;
use super::query::Names;
use super::{Desk, Ledger};

impl Ledger {
    /// The record as people see it.
    pub(crate) fn show(&self, id: DocumentId) -> Result<Record, Error> {
        self.settle()?;
        let not_found = || self.no_record(id);
        let mut row = self.row(id)?.ok_or_else(not_found)?;
        let record = row.record.take().ok_or_else(not_found)?;
        let schema = self.schema(row.scope.collection);
        let safe = Some(self.safety(&row));
        Ok(Record { safe, ..self.to_record(id, &schema, record, &mut Names::default()) })
    }

    /// The record of a collection that `name` means.
    pub(crate) fn show_in(&self, collection: &str, name: &str) -> Result<Record, Error> {
        let schema = self.schema_named(collection)?;
        self.settle()?;
        let not_found = || Error::NotFound { kind: "record", name: name.to_owned() };
        let id = self.resolve_in(&schema, name)?.ok_or_else(not_found)?;
        let record = self.show(id)?;
        if record.collection == schema.name { Ok(record) } else { Err(not_found()) }
    }

    /// Changes fields of a record.
    pub(crate) fn edit(&self, id: DocumentId, edits: &Edits) -> Result<Record, Error> {
        let (schema, record) = self.editable(id)?;
        schema::known(&self.policy(), schema.number)?;
        if record.deleted {
            let name = format!("{id} (it is deleted; `restore-record` brings it back)");
            return Err(Error::NotFound { kind: "record", name });
        }
        let edits = self.read_edits(&schema, edits)?;
        let references = ViewReferences::new(self, &schema, Some(id));
        let edits =
            references.judge(validate_edit(&schema, &record.fields, &edits, &references))?;
        self.change(id, &schema, |document, actor, at| document.edit(&schema, actor, at, &edits))
    }

    /// Deletes a record; it stays in the history and can be restored.
    pub(crate) fn delete(&self, id: DocumentId) -> Result<Record, Error> {
        let (schema, _) = self.editable(id)?;
        let user = self.user();
        self.change(id, &schema, |document, actor, at| document.delete(actor, at, user, None))
    }

    /// Takes a deletion back.
    pub(crate) fn restore(&self, id: DocumentId) -> Result<Record, Error> {
        let (schema, _) = self.editable(id)?;
        self.change(id, &schema, |document, actor, at| document.restore(actor, at))
    }

    /// Every change of a record, oldest first.
    pub(crate) fn history(&self, id: DocumentId) -> Result<Vec<Revision>, Error> {
        let not_found = || self.no_record(id);
        let document = self.document(id)?.ok_or_else(not_found)?;
        let row = self.row(id)?.ok_or_else(not_found)?;
        let authors = self.authors(&row)?;
        let policy = self.policy();
        let schema = self.schema(row.scope.collection);
        let history = document.history(&schema).map_err(|error| Error::store(&error))?;
        let revision = |revision: fieldmesh_document::Revision| {
            let device = authors.get(&revision.hash).copied();
            let member = device.and_then(|device| policy.known(&device));
            Revision {
                id,
                change: hex(&revision.hash),
                at: revision.at,
                device,
                device_name: member.map(|member| member.name.clone()),
                user: member.map(person),
                fields: revision
                    .fields
                    .into_iter()
                    .map(|field| FieldChange {
                        field: field.key,
                        before: field.before.to_json(),
                        after: field.after.to_json(),
                    })
                    .collect(),
            }
        };
        Ok(history.into_iter().map(revision).collect())
    }

    /// The record behind `id`, if this device's user may change it.
    pub(super) fn editable(&self, id: DocumentId) -> Result<(Arc<Collection>, RecordRow), Error> {
        self.settle()?;
        let row = self.row(id)?;
        let scope = row.as_ref().map(|row| row.scope);
        let found = scope.zip(row.and_then(|row| row.record));
        let (scope, record) = found.ok_or_else(|| self.no_record(id))?;
        let schema = self.schema(scope.collection);
        self.check(&schema.edit_by, record.created_by, "change", &schema)?;
        Ok((schema, record))
    }

    /// Whether this device's user belongs to one of `allowed`, as author of the record too.
    pub(super) fn check(
        &self,
        allowed: &[Who],
        created_by: UserId,
        what: &str,
        schema: &Collection,
    ) -> Result<(), Error> {
        let me = self.me()?;
        let is_author =
            allowed.contains(&Who::Author) && me.user == created_by && is_who(Who::Crew, me.role);
        if is_author || allowed.iter().any(|who| is_who(*who, me.role)) {
            return Ok(());
        }
        let who: Vec<String> =
            allowed.iter().map(|who| format!("{who:?}").to_lowercase()).collect();
        Err(Error::NotAllowed {
            reason: format!(
                "a device with the role {} may not {what} this {}; {} may",
                me.role,
                schema.name,
                who.join(" or ")
            ),
        })
    }

    /// The edits that the input means, not yet checked.
    pub(super) fn read_edits(
        &self,
        schema: &Collection,
        edits: &Edits,
    ) -> Result<Vec<Edit>, Error> {
        let mut faults = Vec::new();
        let fields = input::flatten(&Json::Object(edits.fields.clone()))
            .map_err(|error| Error::fault("", error.to_string()))?;
        let mut read: Vec<Edit> = fields
            .into_iter()
            .map(|(key, value)| match value {
                Value::Null => Edit::clear(key),
                value => Edit::Set { key, value },
            })
            .collect();
        let assignment = input::Assignment { collection: schema, clock: clock::local() };
        for text in &edits.assignments {
            match assignment.parse(text) {
                Ok(edit) => read.push(edit),
                Err(error) => faults.push(error.fault()),
            }
        }
        if !faults.is_empty() {
            return Err(Error::Invalid { faults });
        }
        if read.is_empty() {
            return Err(Error::Usage { reason: "nothing to change; give FIELD=VALUE".into() });
        }
        Ok(read)
    }

    /// Writes one change of an existing record, if there is anything to write; gives the record as
    /// it then is, without waiting for the view.
    pub(super) fn change(
        &self,
        id: DocumentId,
        schema: &Collection,
        write: impl FnOnce(&mut Document, [u8; 16], Moment) -> Result<Option<Vec<u8>>, EditError>,
    ) -> Result<Record, Error> {
        let (record, pending) = {
            let desk: &mut Desk = &mut self.desk();
            let row = self.row(id)?;
            let Some((mut document, row)) = self.load(desk, id)?.zip(row) else {
                return Err(self.no_record(id));
            };
            self.check_held(row.scope)?;
            let (actor, at) = (desk.author.actor(), desk.author.change_time(row.scope));
            let written = write(&mut document, actor, at)
                .map_err(|error| Error::fault("", error.to_string()))?;
            let record = RecordRow::of(&document, schema)?;
            let priority = priority_of(schema, &record.fields);
            let pending = written.map(|change| {
                self.note_made(desk, row.scope, &document, &record);
                let unsealed = Unsealed { document: id, at, priority, change };
                self.submit(desk, row.scope, unsealed)
            });
            (record, pending)
        };
        let safe = match pending {
            Some(pending) => {
                self.finish(pending)?;
                Safety::Here
            }
            None => self.safety_of(id)?,
        };
        let record = self.to_record(id, schema, record, &mut Names::default());
        Ok(Record { safe: Some(safe), ..record })
    }
}

/// What to call the person behind a member.
pub(super) fn person(member: &fieldmesh_identity::Member) -> String {
    if !member.user_name.is_empty() {
        member.user_name.clone()
    } else if !member.email.is_empty() {
        member.email.clone()
    } else {
        member.name.clone()
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

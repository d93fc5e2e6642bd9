//! One record: show, edit, delete, restore, history.

use std::sync::Arc;

use fieldmesh_document::{Document, EditError};
use fieldmesh_identity::Policy;
use fieldmesh_model::schema::{Collection, Who};
use fieldmesh_model::validate::validate_edit;
use fieldmesh_model::{DocumentId, Edit, Epoch, Moment, Scope, UserId, Value, input};
use serde_json::Value as Json;

use crate::alike::row::is_instead;
use crate::api::{Edits, FieldChange, Record, Revision, Ruled, Safety};
use crate::approval::may_approve;
use crate::author::{Unsealed, priority_of};
use crate::changes::{Closure, version, version_with};
use crate::clock;
use crate::error::Error;
use crate::rows::{self, RecordRow};
use crate::schema;

use super::breaches::{Editing, breaks_rules};
use super::create::is_who;
use super::names::ViewReferences;
use super::query::Names;
use super::remaking::remaking_error;
use super::write::Written;
use super::{Desk, Ledger};

/// A record that is to be changed, as it was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) id: DocumentId,
    /// The number of the view that was looked at: in one that is made anew other things stand.
    pub(super) view: u64,
    /// The version that was read, where only that may be changed.
    pub(super) version: Option<&'a str>,
}

/// A record that is to be changed, as it stood while the desk was held.
pub(super) struct TakenUp {
    id: DocumentId,
    scope: Scope,
    closure: Closure,
    version: String,
    epoch: Epoch,
    actor: [u8; 16],
    at: Moment,
}

/// What a change of a record comes to.
pub(super) enum Changed {
    /// It is to be written.
    Written(Box<Written>),
    /// There is nothing to write; the record stays as it is.
    Same(Box<RecordRow>),
}

impl Ledger {
    /// The record as people see it.
    pub(crate) fn show(&self, id: DocumentId) -> Result<Record, Error> {
        self.settle()?;
        self.shown(id)
    }

    /// The record that `name` means. One that is named by its whole id is shown as far as it is
    /// there, and it says so where more may come.
    pub(crate) fn show_named(&self, name: &str) -> Result<Record, Error> {
        let Ok(id) = name.parse::<DocumentId>() else { return self.show(self.resolve(name)?) };
        let before = self.settle_partly()?;
        self.check_remaking()?;
        let shown = self.shown(id);
        let remaking = before.or_else(|| self.remaking());
        match (shown, remaking) {
            (Err(Error::NotFound { .. }), Some(remaking)) => {
                Err(remaking_error(remaking, &format!("{name:?} is not there so far")))
            }
            (shown, remaking) => Ok(Record { remaking, ..shown? }),
        }
    }

    fn shown(&self, id: DocumentId) -> Result<Record, Error> {
        let (policy, not_found) = (self.policy(), || self.no_record(id));
        if policy.is_purged(&id) {
            return Err(not_found());
        }
        let mut row = self.row_by(&policy, id)?.ok_or_else(not_found)?;
        let record = row.record.take().ok_or_else(not_found)?;
        let schema = schema::numbered(&policy, row.scope.collection);
        let (safe, version) = (Some(self.safety(id, &row)), Some(version(&row.changes)));
        let (superseded_by, replaces) = self.succession(id, &schema, &record)?;
        let record = self.to_record(id, &schema, record, &mut Names::default());
        Ok(Record { safe, version, superseded_by, replaces, ..record })
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
        self.edit_if(id, edits, None)
    }

    /// As [`Self::edit`], if the record is read as `version`.
    pub(crate) fn edit_if(
        &self,
        id: DocumentId,
        edits: &Edits,
        version: Option<&str>,
    ) -> Result<Record, Error> {
        self.edit_by(&self.policy(), self.target(id, version), edits)
    }

    /// The same by one policy: what is written by any other than was looked at may be read
    /// otherwise by everybody.
    pub(super) fn edit_by(
        &self,
        policy: &Policy,
        target: Target<'_>,
        edits: &Edits,
    ) -> Result<Record, Error> {
        let id = target.id;
        let (schema, record) = self.editable(policy, id)?;
        // Whoever has read something else learns that first, whatever else is wrong.
        self.check_target(target)?;
        schema::known(policy, schema.number)?;
        if record.deleted {
            let name = format!("{id} (it is deleted; `restore-record` brings it back)");
            return Err(Error::NotFound { kind: "record", name });
        }
        let edits = self.read_edits(&schema, edits)?;
        let references = ViewReferences::new(self, &schema, Some(id));
        let edits =
            references.judge(validate_edit(&schema, &record.fields, &edits, &references))?;
        self.check_disputes(id, &schema, &record, &edits)?;
        let breaks = breaks_rules(&record);
        let editing = Editing { schema: &schema, breaks, edits: &edits };
        self.change(target, &schema, |document, actor, at| editing.write(document, actor, at))
    }

    /// Deletes a record; it stays in the history and can be restored.
    pub(crate) fn delete(&self, id: DocumentId) -> Result<Record, Error> {
        self.delete_if(id, None)
    }

    /// As [`Self::delete`], if the record is read as `version`.
    pub(crate) fn delete_if(&self, id: DocumentId, version: Option<&str>) -> Result<Record, Error> {
        let target = self.target(id, version);
        let (schema, record) = self.editable(&self.policy(), id)?;
        if let Some(reason) = self.counts_meanwhile(schema.number, id)? {
            return Err(Error::Usage { reason });
        }
        if !record.deleted {
            self.check_alike("deleting it", id, &schema, &record)?;
        }
        self.check_deletion("deleting it", id, &schema, &record)?;
        let user = self.user();
        let left = self.left_instead(id, &schema, &record, |id| self.kinship(id))?;
        self.change(target, &schema, |document, actor, at| match &left {
            Some(left) => left.delete(document, actor, at, user),
            None => document.delete(actor, at, user, None),
        })
    }

    /// Takes a deletion back.
    pub(crate) fn restore(&self, id: DocumentId) -> Result<Record, Error> {
        self.restore_if(id, None)
    }

    /// As [`Self::restore`], if the record is read as `version`.
    pub(crate) fn restore_if(
        &self,
        id: DocumentId,
        version: Option<&str>,
    ) -> Result<Record, Error> {
        let target = self.target(id, version);
        let policy = self.policy();
        let (schema, record) = self.found(&policy, id)?;
        // Whoever is asked whether a deletion counts may answer that it does not.
        let is_asked = || record.waits() && self.check_approve(&policy, &schema, &record).is_ok();
        match self.check(&schema.edit_by, record.created_by, "change", &schema) {
            Err(error) if !is_asked() => return Err(error),
            _ => {}
        }
        if record.deleted || is_instead(self.view(), schema.number, id)? {
            self.check_alike("bringing it back", id, &schema, &record)?;
        }
        self.check_deletion("bringing it back", id, &schema, &record)?;
        self.change(target, &schema, |document, actor, at| document.restore(actor, at))
    }

    /// Every change of a record, oldest first.
    pub(crate) fn history(&self, id: DocumentId) -> Result<Vec<Revision>, Error> {
        let not_found = || self.no_record(id);
        self.settle()?;
        let closure = self.closure(&self.desk(), id)?;
        let row = self.row(id)?.filter(|_| !closure.is_empty()).ok_or_else(not_found)?;
        let (policy, authors) = (self.policy(), closure.authors());
        let document = closure.document(id, &policy)?;
        let schema = self.schema(row.scope.collection);
        let history = document.history(&schema).map_err(|error| Error::store(&error))?;
        let ended = rows::ended_of(&document, &schema);
        let rulings = document.rulings().map_err(|error| Error::store(&error))?;
        let record = row.record.as_ref();
        let created_by = record.map(|record| record.created_by).unwrap_or_default();
        let decided = record.map(|record| self.decided_in(&document, &schema, record));
        let mut decided = decided.transpose()?.unwrap_or_default();
        let adopters = self.adopters(&row.changes, authors.values().copied())?;
        let ruled = |hash: [u8; 32]| {
            let device = authors.get(&hash)?;
            // Where nobody is asked any more, nothing is wrong with what was said then.
            let counts =
                !schema.asks_for_approval() || may_approve(&policy, &schema, device, created_by);
            rulings.get(&hash).map(|answer| Ruled::new(answer, counts))
        };
        let ended_by = |hash: [u8; 32], is_settled: bool| -> Vec<String> {
            let ended = ended.iter().filter(|it| it.hash == hash && it.is_settled == is_settled);
            ended.map(|it| it.item.to_string()).collect()
        };
        let revision = |revision: fieldmesh_document::Revision| {
            let decided = decided.remove(&revision.hash).unwrap_or_default();
            let device = authors.get(&revision.hash).copied();
            let member = device.and_then(|device| policy.known(&device));
            let made_for = revision.made_for.filter(|user| {
                // Nobody else's word counts for that.
                member.is_some_and(|it| it.was_gateway && it.user.to_string() != *user)
            });
            Revision {
                id,
                change: hex(&revision.hash),
                at: revision.at,
                device,
                device_name: member.map(|member| member.name.clone()),
                user: match &made_for {
                    Some(user) => person_with(&policy, user),
                    None => member.map(person),
                },
                made_for,
                settled: [ended_by(revision.hash, true), decided.settled].concat(),
                overwritten: ended_by(revision.hash, false),
                superseded_by: decided.superseded_by,
                replaces: decided.replaces.into_iter().collect(),
                apart_from: decided.apart_from,
                adopted_by: revision.hash.first_chunk().and_then(|it| adopters.get(it)).cloned(),
                ruling: ruled(revision.hash),
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
    pub(super) fn editable(
        &self,
        policy: &Policy,
        id: DocumentId,
    ) -> Result<(Arc<Collection>, RecordRow), Error> {
        let (schema, record) = self.found(policy, id)?;
        self.check(&schema.edit_by, record.created_by, "change", &schema)?;
        Ok((schema, record))
    }

    /// The record behind `id`, whoever may change it.
    fn found(
        &self,
        policy: &Policy,
        id: DocumentId,
    ) -> Result<(Arc<Collection>, RecordRow), Error> {
        self.settle_soon("what others have changed of it may not be there so far")?;
        let row = self.row_by(policy, id)?;
        let scope = row.as_ref().map(|row| row.scope);
        let found = scope.zip(row.and_then(|row| row.record));
        let (scope, record) = found.ok_or_else(|| self.no_record(id))?;
        Ok((schema::numbered(policy, scope.collection), record))
    }

    /// Whether this device's user belongs to one of `allowed`, as author of the record too.
    pub(crate) fn check(
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
        for edit in &mut read {
            if let Edit::Set { key, value } = edit {
                self.resolve_reference(schema, key, value)?;
            }
        }
        Ok(read)
    }

    /// The record that is to be changed, taken before anything of it is read.
    pub(super) fn target<'a>(&self, id: DocumentId, version: Option<&'a str>) -> Target<'a> {
        Target { id, view: self.projector.view_number(), version }
    }

    /// Fails if the record is not read as the version of `target`; looked at again where it is
    /// changed.
    pub(super) fn check_target(&self, target: Target<'_>) -> Result<(), Error> {
        let Some(read) = target.version else { return Ok(()) };
        let version = self.closure(&self.desk(), target.id)?.version(None);
        match read == version {
            true => Ok(()),
            false => Err(Error::Stale { id: target.id, version }),
        }
    }

    /// Writes one change of an existing record, if there is anything to write and it is as in
    /// `target`; gives the record as it then is, without waiting for the view.
    pub(super) fn change(
        &self,
        target: Target<'_>,
        schema: &Collection,
        write: impl FnOnce(&mut Document, [u8; 16], Moment) -> Result<Option<Vec<u8>>, EditError>,
    ) -> Result<Record, Error> {
        let id = target.id;
        let (record, version, pending) = {
            let desk: &mut Desk = &mut self.desk();
            let (version, changed) = self.changed(desk, target, schema, write)?;
            match changed {
                Changed::Written(written) => {
                    self.check_quota()?;
                    let (record, pending) = self.submit_written(desk, *written);
                    (record, version, Some(pending))
                }
                Changed::Same(record) => (*record, version, None),
            }
        };
        let safe = match pending {
            Some(pending) => {
                self.finish(pending)?;
                Safety::Here
            }
            None => self.safety_of(id)?,
        };
        let deleted = record.deleted && !is_instead(self.view(), schema.number, id)?;
        let record = RecordRow { deleted, ..record };
        let record = self.to_record(id, schema, record, &mut Names::default());
        Ok(Record { safe: Some(safe), version: Some(version), ..record })
    }

    /// Makes one change of an existing record that is as in `target`, and hands it to nobody so far;
    /// gives the version that it makes.
    pub(super) fn changed(
        &self,
        desk: &Desk,
        target: Target<'_>,
        schema: &Collection,
        write: impl FnOnce(&mut Document, [u8; 16], Moment) -> Result<Option<Vec<u8>>, EditError>,
    ) -> Result<(String, Changed), Error> {
        // Nobody else writes while the desk is held, so what is compared is what is changed.
        self.made_of(self.taken_up(desk, target)?, schema, write)
    }

    /// A record as in `target`, with all that a change of it is made of.
    pub(super) fn taken_up(&self, desk: &Desk, target: Target<'_>) -> Result<TakenUp, Error> {
        let id = target.id;
        let row = self.row(id)?;
        let closure = self.closure(desk, id)?;
        let Some(row) = row.filter(|_| !closure.is_empty()) else {
            return Err(self.no_record(id));
        };
        self.check_view(target.view)?;
        let version = closure.version(None);
        if target.version.is_some_and(|read| read != version) {
            return Err(Error::Stale { id, version });
        }
        self.check_held(row.scope)?;
        let Desk { author, .. } = desk;
        let (epoch, actor, at) = (author.epoch(), author.actor(), author.change_time(row.scope));
        Ok(TakenUp { id, scope: row.scope, closure, version, epoch, actor, at })
    }

    /// Makes a change of a record, which needs no desk: whoever writes it looks whether the record
    /// is as it was taken up.
    pub(super) fn made_of(
        &self,
        taken: TakenUp,
        schema: &Collection,
        write: impl FnOnce(&mut Document, [u8; 16], Moment) -> Result<Option<Vec<u8>>, EditError>,
    ) -> Result<(String, Changed), Error> {
        let TakenUp { id, scope, mut closure, mut version, epoch, actor, at } = taken;
        let policy = self.policy();
        let mut document = closure.document(id, &policy)?;
        let written =
            write(&mut document, actor, at).map_err(|error| Error::fault("", error.to_string()))?;
        if let Some(change) = &written {
            version = closure.version(Some(change));
            if schema.asks_for_approval() {
                closure.add(change, self.device());
            }
        }
        let record = RecordRow::judged(&document, &closure, (&policy, schema))?;
        let Some(change) = written else { return Ok((version, Changed::Same(Box::new(record)))) };
        let priority = priority_of(schema, &record.fields);
        let unsealed = Unsealed { document: id, at, priority, change };
        let written = self.write_out(epoch, scope, (&document, record), unsealed)?;
        Ok((version, Changed::Written(Box::new(written))))
    }

    /// What stands for a record as it reads with everything that was written here, without reading
    /// its changes.
    pub(super) fn version_at(&self, desk: &Desk, id: DocumentId) -> Result<Option<String>, Error> {
        let Some(row) = self.row(id)? else { return Ok(None) };
        let recent = desk.recent.get(&id).into_iter().flatten();
        let recent = recent.filter_map(|recent| fieldmesh_document::peek(&recent.change).ok());
        let hashes = recent.filter_map(|peeked| peeked.hash.first_chunk().copied());
        Ok(Some(version_with(&row.changes, hashes)))
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

/// What to call the person with an id, if one of its devices was ever here.
pub(super) fn person_with(policy: &Policy, id: &str) -> Option<String> {
    let id: UserId = id.parse().ok()?;
    policy.everybody().find(|member| member.user == id).map(person)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

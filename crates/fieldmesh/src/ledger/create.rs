//! Creating records: understand the input, check it, derive the id, write the first change.

use std::sync::Arc;

use fieldmesh_document::{Approval, CreateRecord, Document, identify};
use fieldmesh_model::schema::{Collection, Who};
use fieldmesh_model::validate::{Fault, validate};
use fieldmesh_model::{DocumentId, Fields, Moment, Role, Scope, Value, input};
use serde_json::Value as Json;

use crate::api::{NewRecord, Record, Safety};
use crate::approval::may_approve;
use crate::author::{Unsealed, priority_of};
use crate::changes::Closure;
use crate::clock;
use crate::error::Error;
use crate::rows::RecordRow;

use super::Ledger;
use super::names::ViewReferences;
use super::query::Names;
use super::remaking::depends_on_others;
use super::write::Pending;

/// A record that has been checked and has its id.
pub(super) struct Ready {
    pub(super) schema: Arc<Collection>,
    pub(super) id: DocumentId,
    pub(super) key: Vec<u8>,
    pub(super) scope: Scope,
    pub(super) fields: Fields,
    pub(super) at: Moment,
    /// Whether it is of a month that this device let go.
    pub(super) is_late: bool,
}

impl Ready {
    /// The first change of the record, in line for a batch.
    pub(super) fn unsealed(&self, change: Vec<u8>) -> Unsealed {
        let priority = priority_of(&self.schema, &self.fields);
        Unsealed { document: self.id, at: self.at, priority, change }
    }
}

/// What the id of a record without a natural key is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seed {
    /// When it was created.
    pub(super) at: Moment,
    /// Random.
    pub(super) nonce: [u8; 16],
}

impl Seed {
    fn new() -> Self {
        Self { at: clock::now(), nonce: clock::random() }
    }
}

impl Ledger {
    /// Creates a record; it is on disk when this returns.
    pub(crate) fn create(&self, new: &NewRecord) -> Result<Record, Error> {
        self.check_not_derived(new)?;
        self.create_from(new, &Seed::new(), None)
    }

    /// The same, the same record each time where that has no natural key; in the view of this number,
    /// where somebody has looked at that before.
    pub(super) fn create_from(
        &self,
        new: &NewRecord,
        seed: &Seed,
        view: Option<u64>,
    ) -> Result<Record, Error> {
        let schema = self.schema_named(&new.collection)?;
        self.check_create(&schema)?;
        // A disk that failed for a moment must not keep a crew from recording.
        self.mend_view();
        let view = view.unwrap_or_else(|| self.projector.view_number());
        let fields = self.read_fields(&schema, new)?;
        if depends_on_others(&schema, &fields) {
            self.await_records(
                "what is recorded already, and what this refers to, is not all there",
            )?;
        }
        if schema.unique.iter().any(|unique| !unique.extended) {
            // What must be unique is compared with everything, the last moment included.
            self.settle()?;
        }
        let ready = match self.prepare(&schema, fields.clone(), seed) {
            // What it refers to may have been recorded a moment ago and not be in the view.
            Err(Error::Invalid { .. }) => {
                self.settle()?;
                self.prepare(&schema, fields, seed)?
            }
            prepared => prepared?,
        };
        self.check_key_not_purged(ready.id)?;
        if let Some(deleted) = self.taken(ready.id)? {
            let collection = schema.name.clone();
            return Err(Error::Taken { id: ready.id, collection, deleted });
        }
        if ready.is_late {
            self.check_not_let_go(ready.id)?;
        }
        self.check_view(view)?;
        let (mut record, pending) = self.start(&ready)?;
        // While the disk works.
        record.approval = schema.asks_for_approval().then(|| {
            let created_by = record.created_by;
            Approval::begun(may_approve(&self.policy(), &schema, &self.device(), created_by))
        });
        let record = self.to_record(ready.id, &schema, record, &mut Names::default());
        let version = Some(Closure::default().version(Some(pending.change())));
        self.finish(pending)?;
        Ok(Record { safe: Some(Safety::Here), version, ..record })
    }

    /// Fails where somebody gives what is looked up in another record: it would not be kept.
    fn check_not_derived(&self, new: &NewRecord) -> Result<(), Error> {
        let schema = self.schema_named(&new.collection)?;
        if !schema.fields.iter().any(|field| schema.is_derived(&field.key)) {
            return Ok(());
        }
        let stated = self.stated_fields(&schema, new)?;
        let given = schema.fields.iter().filter(|field| {
            let value = stated.get(&field.key);
            schema.is_derived(&field.key) && value.is_some_and(|value| !value.is_cleared())
        });
        let faults: Vec<Fault> = given
            .map(|field| {
                let text = "follows from another field and cannot be set; leave it out";
                Fault::new(&field.key, format!("{} {text}", field.label))
            })
            .collect();
        if faults.is_empty() { Ok(()) } else { Err(Error::Invalid { faults }) }
    }

    /// The fields that the input means, not yet checked.
    fn read_fields(&self, schema: &Collection, new: &NewRecord) -> Result<Fields, Error> {
        let mut fields = self.stated_fields(schema, new)?;
        self.complete_fields(schema, &mut fields, None);
        Ok(fields)
    }

    /// What the input says, and no more.
    pub(super) fn stated_fields(
        &self,
        schema: &Collection,
        new: &NewRecord,
    ) -> Result<Fields, Error> {
        let mut faults = Vec::new();
        let mut fields = input::flatten(&Json::Object(new.fields.clone()))
            .map_err(|error| Error::fault("", error.to_string()))?;
        let assignment = input::Assignment { collection: schema, clock: clock::local() };
        for text in &new.assignments {
            match assignment.parse(text) {
                Ok(edit) => edit.apply(&mut fields),
                Err(error) => faults.push(error.fault()),
            }
        }
        if !faults.is_empty() {
            return Err(Error::Invalid { faults });
        }
        if let Some(time) = &schema.time_field {
            if let Some(at) = new.at {
                fields.insert(time.clone(), Value::Moment(at));
            }
        } else if new.at.is_some() {
            let message = format!("{} has no time of its own; leave --at out", schema.name);
            return Err(Error::fault("at", message));
        }
        Ok(fields)
    }

    /// Adds what follows from when and by whom it is said; the time is a moment of now that no record
    /// has where none is given.
    pub(super) fn complete_fields(
        &self,
        schema: &Collection,
        fields: &mut Fields,
        at: Option<Moment>,
    ) {
        if let Some(time) = schema.time_field.as_ref().filter(|key| !fields.contains_key(*key)) {
            let at = at.unwrap_or_else(|| self.desk().unused_now());
            fields.insert(time.clone(), Value::Moment(at));
        }
        if let Some(device) = &schema.device_field {
            let own = || Value::Text(self.device().to_string());
            fields.entry(device.clone()).or_insert_with(own);
        }
        if let Some(user) = &schema.user_field {
            let own = || Value::Text(self.user().to_string());
            fields.entry(user.clone()).or_insert_with(own);
        }
    }

    /// Checks fields against what the view has, and derives the id.
    fn prepare(
        &self,
        schema: &Arc<Collection>,
        mut fields: Fields,
        seed: &Seed,
    ) -> Result<Ready, Error> {
        self.resolve_references(schema, &mut fields)?;
        let references = ViewReferences::new(self, schema, None);
        let fields = references.judge(validate(schema, &fields, &references))?;
        Ok(self.identify_from(schema, fields, &[], seed))
    }

    /// Gives checked fields their id and scope.
    pub(super) fn identify(
        &self,
        schema: &Arc<Collection>,
        fields: Fields,
        extension: &[u8],
    ) -> Ready {
        self.identify_from(schema, fields, extension, &Seed::new())
    }

    pub(super) fn identify_from(
        &self,
        schema: &Arc<Collection>,
        fields: Fields,
        extension: &[u8],
        seed: &Seed,
    ) -> Ready {
        let now = seed.at;
        // A record belongs to the month that its id carries, wherever and whenever it is written.
        let time = schema.time_field.as_ref().and_then(|field| fields.get(field));
        let own = Scope::of(schema.number, 0, time.and_then(Value::as_moment).unwrap_or(now));
        let scope = self.scope_held(own);
        let at = self.desk().author.change_time(scope);
        let identity = identify(schema, self.user(), now, &fields, extension, seed.nonce);
        let is_late = scope != own;
        let schema = Arc::clone(schema);
        Ready { schema, id: identity.id, key: identity.key, scope, fields, at, is_late }
    }

    /// Whether this device's user may create records of a collection.
    pub(super) fn check_create(&self, schema: &Collection) -> Result<(), Error> {
        let role = self.me()?.role;
        if schema.create_by.iter().any(|who| is_who(*who, role)) {
            return Ok(());
        }
        let allowed: Vec<String> =
            schema.create_by.iter().map(|who| format!("{who:?}").to_lowercase()).collect();
        Err(Error::NotAllowed {
            reason: format!(
                "a device with the role {role} may not create {} records; {} may",
                schema.name,
                allowed.join(", ")
            ),
        })
    }

    /// Whether the id is taken: by a record that is deleted or is not.
    pub(super) fn taken(&self, id: DocumentId) -> Result<Option<bool>, Error> {
        // A document of which only orphans are here is nobody's record so far.
        if let Some(record) = self.row(id)?.and_then(|row| row.record) {
            return Ok(Some(record.deleted));
        }
        Ok(self.desk().recent.contains_key(&id).then_some(false))
    }

    /// Writes the first change of a record; [`Ledger::finish`] waits for the disk.
    fn start(&self, ready: &Ready) -> Result<(RecordRow, Pending), Error> {
        loop {
            // All others wait for the desk, so what takes time is done before.
            let (epoch, actor) = {
                let desk = self.desk();
                (desk.author.epoch(), desk.author.actor())
            };
            let (document, change) = Document::create(&self.first_change(ready, actor))
                .map_err(|error| Error::fault("", error.to_string()))?;
            let record = RecordRow::of(&document, &ready.schema)?;
            let change = ready.unsealed(change);
            let written = self.write_out(epoch, ready.scope, (&document, record), change)?;
            let mut desk = self.desk();
            if desk.author.epoch() != epoch {
                continue;
            }
            if desk.recent.contains_key(&ready.id) {
                let collection = ready.schema.name.clone();
                return Err(Error::Taken { id: ready.id, collection, deleted: false });
            }
            self.check_held(ready.scope)?;
            self.check_quota()?;
            return Ok(self.submit_written(&mut desk, written));
        }
    }

    pub(super) fn first_change<'a>(&self, ready: &'a Ready, actor: [u8; 16]) -> CreateRecord<'a> {
        CreateRecord {
            id: ready.id,
            key: &ready.key,
            collection: &ready.schema,
            scope: ready.scope,
            user: self.user(),
            device: self.device(),
            actor,
            at: ready.at,
            created_at: None,
            zone: None,
            replaces: None,
            name: None,
            made_for: None,
            fields: &ready.fields,
        }
    }
}

/// Whether a member of `role` belongs to `who`, apart from being an author.
pub(super) fn is_who(who: Who, role: Role) -> bool {
    match who {
        // It has looked who may before it writes for somebody.
        _ if role == Role::Gateway => true,
        Who::Crew => !matches!(role, Role::Client | Role::Relay),
        Who::Manager => matches!(role, Role::Manager | Role::Admin),
        Who::Admin => role == Role::Admin,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::catalogue::wells;
    use fieldmesh_store::{Direction, KeyRange, Tree};

    use super::*;
    use crate::rows::{self, LeafRow};
    use crate::{Node, TenantOptions};

    fn fields(pairs: &[(&str, Value)]) -> Fields {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_leak_that_waited_when_the_program_stopped_still_travels_before_all_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("home");
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(&path).passphrase("one");
        let (node, _) = builder.create_tenant(options).await.unwrap();
        let ledger = node.ledger();
        let assignments = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
        let assignments = assignments.map(String::from).to_vec();
        let well = NewRecord { collection: "well".into(), assignments, ..NewRecord::default() };
        let well = ledger.create(&well).unwrap().id;
        ledger.settle().unwrap();
        let leak = [
            ("wellId", well.to_string().into()),
            ("entryType", "INSPECTION".into()),
            ("recordedAt", Value::Moment(clock::now())),
            ("deviceId", "tablet".into()),
            ("data.leaksDetected", true.into()),
        ];
        let schema = ledger.schema(wells::FIELD_ENTRY);
        let ready = ledger.prepare(&schema, fields(&leak), &Seed::new()).unwrap();
        // Nobody waits for the disk, so no batch is sealed.
        let _ = ledger.start(&ready).unwrap();
        node.shutdown().await.unwrap();

        let node = Node::builder(&path).passphrase("one").open().await.unwrap();
        node.ledger().seal_all().unwrap();
        node.ledger().catch_up().unwrap();
        let view = node.ledger().view();
        let rows = rows::scan(view, Tree::Leaf, KeyRange::all(), Direction::Ascending);
        let priorities = rows.map(|row| rows::decode::<LeafRow>(&row.unwrap().1).unwrap().priority);
        assert_eq!(priorities.collect::<Vec<_>>(), [0, 1], "the well, then the leak, by scope");
        node.shutdown().await.unwrap();
    }
}

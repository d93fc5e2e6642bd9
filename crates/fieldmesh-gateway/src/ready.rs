//! An operation whose records are found: what it refers to, and which record it is about.

use std::sync::Arc;

use fieldmesh::gateway::NewDocument;
use fieldmesh_dialect::Name;
use fieldmesh_dialect::command::{Action, Identity, Operation};
use fieldmesh_dialect::outcome::Reason;
use fieldmesh_model::schema::{Collection, Kind};
use fieldmesh_model::validate::{AnyReference, validate_stated};
use fieldmesh_model::{DocumentId, Fault, Fields, Value};

use crate::entity::Entity;
use crate::names::named_by;
use crate::push::Writing;
use crate::{Failure, Task, keys, stored};

/// An operation whose records are found.
#[derive(Clone)]
pub(crate) struct Ready<'a> {
    pub(crate) operation: &'a Operation,
    pub(crate) schema: Arc<Collection>,
    pub(crate) entity: &'a Entity,
    /// With ids in the fields that refer to others.
    pub(crate) fields: Fields,
    /// The references that name no record.
    pub(crate) dangling: Vec<Fault>,
}

impl Ready<'_> {
    /// Whether a field follows from other records, so that the same operation may bring another
    /// value for it when it comes again than `known`, which it brought first.
    pub(crate) fn follows(&self, key: &str, known: Option<&Value>) -> bool {
        let mut copied = self.operation.references.iter().filter_map(|it| it.copied.as_ref());
        let is_id = |text: &str| text.parse::<DocumentId>().is_ok();
        let was_dangling = || !known.and_then(Value::as_text).is_some_and(is_id);
        copied.any(|copied| copied.to == key)
            || (known.is_some() && is_reference(&self.schema, key) && was_dangling())
    }
}

fn is_reference(schema: &Collection, key: &str) -> bool {
    schema.field(key).is_some_and(|field| matches!(field.kind, Kind::Reference { .. }))
}

impl<'a> Writing<'a> {
    /// The type of the records that an operation is about, or why there can be none. What came as a
    /// free record stays one, though the tenant has defined a collection of that name since; and
    /// what lies in a collection that is built in for other contracts lies there for this one, too.
    pub(crate) fn entity(
        &mut self,
        operation: &Operation,
    ) -> Result<Result<Entity, String>, Failure> {
        let entity = match self.task.entity(&operation.collection) {
            Ok(entity) if entity.is_own() || self.task.is_foreign(&entity) => entity,
            found => return Ok(found),
        };
        let Ok(free) = self.task.free_kind(&operation.collection) else { return Ok(Ok(entity)) };
        if self.is_there(operation, &free)? {
            return Ok(Ok(free));
        }
        let is_meant = entity.is_own() || self.is_there(operation, &entity)?;
        Ok(Ok(if is_meant { entity } else { free }))
    }

    /// Whether an operation finds a record of a type.
    fn is_there(&mut self, operation: &Operation, entity: &Entity) -> Result<bool, Failure> {
        match self.prepare(operation, entity)? {
            Ok(ready) => Ok(self.find_operation(&ready)?.is_some()),
            Err(_) => Ok(false),
        }
    }

    /// Finds the records that the operation refers to, and brings its fields into their form.
    pub(crate) fn prepare<'b>(
        &mut self,
        operation: &'b Operation,
        entity: &'b Entity,
    ) -> Result<Result<Ready<'b>, Reason>, Failure> {
        let schema = Arc::clone(&entity.schema);
        let mut fields = entity.fields_of(operation);
        let mut dangling = Vec::new();
        // Nobody knows what the fields of a free record mean.
        let known = operation.references.iter().filter(|_| !entity.is_free());
        for reference in known {
            let Some(name) = fields.get(&reference.key).and_then(named_by) else { continue };
            let found = self.task.access.collection_named(&reference.collection);
            let Some(other) = found.map(Entity::of) else { continue };
            let held = match self.find(&other, &name)? {
                Some(id) => self.write.held(id)?.filter(|held| !held.deleted),
                None => None,
            };
            let Some(held) = held else {
                if reference.must_exist {
                    return Ok(Err(Reason::NoReference { key: reference.key.clone() }));
                }
                let message = format!("there is no {} {name}", other.noun());
                dangling.push(Fault::new(reference.key.clone(), message));
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
        self.refer(&schema, &mut fields)?;
        if operation.action == Action::Create {
            // What an app of a free record sent stays as it is.
            if !entity.is_free()
                && let Ok(taken) = validate_stated(&schema, &fields, &AnyReference)
            {
                // Copied and derived fields stay as they are: nobody else knows them better.
                let given = std::mem::replace(&mut fields, taken.content);
                for (key, field) in given {
                    fields.entry(key).or_insert(field);
                }
            }
            fields.retain(|_, field| *field != Value::Null);
        }
        Ok(Ok(Ready { operation, schema, entity, fields, dangling }))
    }

    /// Puts ids into the fields that call other records by name.
    pub(crate) fn refer(&self, schema: &Collection, fields: &mut Fields) -> Result<(), Failure> {
        for (key, field) in fields {
            let Some(other) = self.task.target(schema, key) else { continue };
            let Some(name) = named_by(field) else { continue };
            if let Some(id) = self.find(&Entity::of(other), &name)? {
                *field = Value::Text(id.to_string());
            }
        }
        Ok(())
    }

    pub(crate) fn find(&self, entity: &Entity, name: &Name) -> Result<Option<DocumentId>, Failure> {
        if let Some(id) = self.names.get(&(entity.key().into_owned(), name.to_string())) {
            return Ok(Some(*id));
        }
        self.task.find(entity, name, &self.owner)
    }

    /// The record that the owner of names for the time being calls `name`.
    fn temporary(&self, ready: &Ready<'_>, name: &str) -> Result<Option<DocumentId>, Failure> {
        let note = self.write.noted(self.task.access, &self.temporary_key(ready, name))?;
        Ok(note.map(|note| stored::decode(&note)).transpose()?)
    }

    pub(crate) fn temporary_key(&self, ready: &Ready<'_>, name: &str) -> Vec<u8> {
        let Task { access, dialect, .. } = self.task;
        keys::temporary(access, dialect, &self.owner, &ready.entity.key(), name)
    }

    /// Whether the operation would write a record that is not there so far.
    pub(crate) fn is_new(&mut self, operation: &Operation) -> Result<bool, Failure> {
        let Ok(entity) = self.entity(operation)? else { return Ok(false) };
        match self.prepare(operation, &entity)? {
            Ok(ready) => Ok(self.find_operation(&ready)?.is_none()),
            Err(_) => Ok(false),
        }
    }

    pub(crate) fn find_operation(&self, ready: &Ready<'_>) -> Result<Option<DocumentId>, Failure> {
        let named = match &ready.operation.identity {
            Identity::Named(name) => self.find(ready.entity, name)?,
            Identity::Temporary { name, .. } => {
                match (self.temporary(ready, name)?, ready.operation.action) {
                    (None, Action::Update | Action::Delete) => {
                        self.find(ready.entity, &Name::Text(name.clone()))?
                    }
                    // Whatever others call so, this one is new.
                    (own, _) => own,
                }
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
    pub(crate) fn identity_key(&self, ready: &Ready<'_>) -> Vec<u8> {
        let Operation { identity, key, at, .. } = ready.operation;
        let owner = self.owner.as_str();
        let at = at.as_millis().to_string();
        let kind = ready.entity.key();
        let parts: Vec<&str> = match (identity, key) {
            (Identity::Named(Name::Text(text)), _) => vec!["name", text],
            (Identity::Named(Name::Number(number)), _) => {
                return hashed(&["name", &kind, &number.to_string()]);
            }
            (Identity::Temporary { name, .. }, _) => vec!["temporary", owner, name],
            (Identity::Unnamed { .. } | Identity::Key, Some(key)) => vec!["key", owner, key],
            // Without a name or a key only its content tells whether it is the same.
            (Identity::Unnamed { .. } | Identity::Key, None) => {
                let content = stored::encode(&ready.fields);
                let content = data_encoding::HEXLOWER.encode(blake3::hash(&content).as_bytes());
                return hashed(&["content", &kind, owner, &at, &content]);
            }
        };
        hashed(&[&[parts[0], &kind], &parts[1..]].concat())
    }

    pub(crate) fn new_document<'b>(
        &self,
        ready: &'b Ready<'_>,
        name: Option<&'b Value>,
        key: &'b [u8],
    ) -> NewDocument<'b>
    where
        'a: 'b,
    {
        NewDocument {
            collection: &ready.schema,
            name,
            key,
            fields: &ready.fields,
            at: ready.operation.at,
            user: &self.task.caller.user,
        }
    }

    /// The record that an operation was about, which has been applied.
    pub(crate) fn written_of(
        &mut self,
        operation: &Operation,
    ) -> Result<Option<DocumentId>, Failure> {
        let Ok(entity) = self.entity(operation)? else { return Ok(None) };
        match self.prepare(operation, &entity)? {
            Ok(ready) => self.find_operation(&ready),
            Err(_) => Ok(None),
        }
    }
}

fn hashed(parts: &[&str]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/gateway-key/1");
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().as_bytes()[..16].to_vec()
}

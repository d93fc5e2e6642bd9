//! What an app calls the type of a record, and the collection that holds such records.
//!
//! A type is a collection that is built in for the contract, else one of the tenant's own, else a
//! kind of free records: the contracts of `asset`, `vet` and `health` leave their types open, and
//! what the server of a source accepted is accepted. What is built in for another contract is a type
//! like any other, so that an app is given what it wrote.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use fieldmesh::gateway::Held;
use fieldmesh_dialect::Dialect;
use fieldmesh_dialect::command::{Action, Identity, Operation};
use fieldmesh_model::catalogue::BUILT_IN_END;
use fieldmesh_model::catalogue::free::{EXTERNAL_ID, FREE_RECORD, KIND, KIND_MAX, SOURCE};
use fieldmesh_model::catalogue::{assets, health, practice, wells};
use fieldmesh_model::schema::{Collection, Who};
use fieldmesh_model::validate::{AnyReference, normal_form};
use fieldmesh_model::{Fields, Value, catalogue};

use crate::free::below_payload;
use crate::{Failure, Task, keys, stored};

/// A type of records.
#[derive(Debug, Clone)]
pub(crate) struct Entity {
    pub(crate) schema: Arc<Collection>,
    kind: Option<FreeKind>,
}

/// A type that no collection is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FreeKind {
    /// The contract over which such records come.
    source: Dialect,
    name: String,
}

impl Entity {
    pub(crate) fn of(schema: Arc<Collection>) -> Self {
        Self { schema, kind: None }
    }

    /// What tells names in it from those in others.
    pub(crate) fn key(&self) -> Cow<'_, str> {
        match &self.kind {
            None => Cow::Borrowed(&self.schema.name),
            // No name of a collection has a colon.
            Some(FreeKind { source, name }) => {
                Cow::Owned(format!("{}:{}:{name}", self.schema.name, source.as_str()))
            }
        }
    }

    /// What people call a record of it.
    pub(crate) fn noun(&self) -> &str {
        self.kind.as_ref().map_or(&self.schema.name, |kind| &kind.name)
    }

    /// Whether it is one that the tenant has defined.
    pub(crate) fn is_own(&self) -> bool {
        catalogue::numbered(self.schema.number).is_none()
    }

    pub(crate) fn is_free(&self) -> bool {
        self.kind.is_some()
    }

    /// Whether a record is of this type.
    pub(crate) fn holds(&self, held: &Held) -> bool {
        let is_kind = |kind: &FreeKind| {
            is_from(held, kind.source) && text_of(held, KIND) == Some(kind.name.as_str())
        };
        held.collection == self.schema.number && self.kind.as_ref().is_none_or(is_kind)
    }

    /// The fields of an operation as the collection has them.
    pub(crate) fn fields_of(&self, operation: &Operation) -> Fields {
        let Some(kind) = &self.kind else {
            let mut fields = operation.fields.clone();
            if self.is_own() && operation.action == Action::Update {
                normalise(&self.schema, &mut fields);
            }
            return fields;
        };
        let mut fields = below_payload(&operation.fields);
        if operation.action == Action::Create {
            fields.insert(SOURCE.to_owned(), kind.source.as_str().into());
            fields.insert(KIND.to_owned(), kind.name.as_str().into());
            if let Identity::Named(name) = &operation.identity {
                fields.insert(EXTERNAL_ID.to_owned(), name.to_string().into());
            }
        }
        fields
    }
}

/// Brings each field by itself into the form in which a new record would have it.
fn normalise(schema: &Collection, fields: &mut Fields) {
    let mut normal = normal_form(schema, fields, &AnyReference);
    for (key, field) in fields.iter_mut().filter(|(_, field)| **field != Value::Null) {
        if let Some(value) = normal.remove(key) {
            *field = value;
        }
    }
}

/// Whether a free record came over a contract.
fn is_from(held: &Held, source: Dialect) -> bool {
    text_of(held, SOURCE) == Some(source.as_str())
}

fn text_of<'a>(held: &'a Held, key: &str) -> Option<&'a str> {
    held.fields.get(key).and_then(Value::as_text)
}

/// Whether a contract leaves the types of its records open.
pub(crate) const fn has_open_types(dialect: Dialect) -> bool {
    match dialect {
        Dialect::Asset | Dialect::Vet | Dialect::Health => true,
        Dialect::Wellpulse | Dialect::Batch => false,
    }
}

/// The collections that are built in for the apps of a contract.
pub(crate) fn built_in(dialect: Dialect) -> Vec<u16> {
    match dialect {
        Dialect::Wellpulse => vec![wells::WELL, wells::USER, wells::FIELD_ENTRY],
        Dialect::Batch => vec![wells::FIELD_EVENT],
        Dialect::Asset => vec![assets::ASSET, assets::TASK, assets::SCHEDULE],
        Dialect::Vet => vec![practice::APPOINTMENT, practice::PET],
        Dialect::Health => health::collections().iter().map(|it| it.number).collect(),
    }
}

/// Whether an app may call a type so.
fn is_name(name: &str) -> bool {
    let is_inner = |it: char| it.is_alphanumeric() || matches!(it, ' ' | '_' | '-' | '.' | ':');
    name.starts_with(char::is_alphabetic)
        && name.ends_with(|it: char| it != ' ')
        && name.chars().count() <= KIND_MAX
        && name.chars().all(is_inner)
}

impl Task<'_> {
    /// The type that an app calls `name`, or why there can be none.
    pub(crate) fn entity(&self, name: &str) -> Result<Entity, String> {
        match self.access.collection_named(name) {
            // It is for kinds, and is none itself.
            Some(schema) if schema.number != FREE_RECORD => Ok(Entity::of(schema)),
            Some(_) | None => self.free_kind(name),
        }
    }

    /// The kind of free records that an app calls `name`, or why there can be none.
    pub(crate) fn free_kind(&self, name: &str) -> Result<Entity, String> {
        let Some(source) = self.dialect.filter(|dialect| has_open_types(*dialect)) else {
            return Err(format!("there is no type {name}"));
        };
        if !is_name(name) {
            return Err(format!(
                "{name:?} cannot be the name of a type; begin with a letter and use up to \
                 {KIND_MAX} letters, digits, spaces and _ - . :"
            ));
        }
        let kind = Some(FreeKind { source, name: name.to_owned() });
        Ok(Entity { schema: self.access.schema(FREE_RECORD), kind })
    }

    /// Whether a type is built in for the apps of other contracts alone. What admins look after is
    /// the same thing for everybody.
    pub(crate) fn is_foreign(&self, entity: &Entity) -> bool {
        let is_built_in = |dialect| built_in(dialect).contains(&entity.schema.number);
        !entity.is_own()
            && !entity.is_free()
            && entity.schema.create_by != [Who::Admin]
            && self.dialect.is_some_and(|dialect| has_open_types(dialect) && !is_built_in(dialect))
    }

    /// The type of a record that is there.
    pub(crate) fn entity_of(&self, held: &Held) -> Entity {
        let schema = self.access.schema(held.collection);
        let source = text_of(held, SOURCE).and_then(Dialect::named);
        let kind = match (held.collection, source, text_of(held, KIND)) {
            (FREE_RECORD, Some(source), Some(name)) => {
                Some(FreeKind { source, name: name.to_owned() })
            }
            _ => None,
        };
        Entity { schema, kind }
    }

    /// What the caller's app calls the tenant's own collections, where that is not their name; on a
    /// device, or as he has shown anywhere.
    pub(crate) fn spellings(&self, device: Option<&str>) -> Result<BTreeMap<u16, String>, Failure> {
        let Task { access, dialect, caller, .. } = *self;
        let mut spellings = BTreeMap::new();
        if !dialect.is_some_and(has_open_types) {
            return Ok(spellings);
        }
        for schema in access.collections().iter().filter(|it| it.number >= BUILT_IN_END) {
            let spelled =
                |device| keys::spelled(access, dialect, &caller.user, device, schema.number);
            let places = [
                device.map(|device| spelled(Some(device))),
                Some(spelled(None)),
                Some(keys::spelling(dialect, schema.number)),
            ];
            for key in places.into_iter().flatten() {
                if let Some(note) = access.note(&key)? {
                    spellings.insert(schema.number, stored::decode(&note)?);
                    break;
                }
            }
        }
        Ok(spellings)
    }

    /// Whether apps of this contract see free records that came over the same one as `held`.
    pub(crate) fn is_of_contract(&self, held: &Held) -> bool {
        held.collection != FREE_RECORD || self.dialect.is_none_or(|dialect| is_from(held, dialect))
    }
}

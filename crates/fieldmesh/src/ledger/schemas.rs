//! The collections that the tenant defines: checked, applied and shown.

use std::sync::Arc;

use fieldmesh_identity::{Item, Policy, SchemaPart, SignedSchema, Statement};
use fieldmesh_model::schema::{self as model, Collection};
use fieldmesh_model::validate::Fault;

use crate::api::{SchemaOptions, SchemaReport, SchemaShown, SchemaState, SchemaStep};
use crate::clock;
use crate::error::Error;
use crate::schema;

use super::Ledger;
use super::membership::named;

mod apart;
mod steady;

/// The most collections that a tenant defines.
pub(crate) const COLLECTIONS_MAX: usize = 64;

/// A schema that may be applied.
struct Checked {
    collection: Collection,
    before: Option<Arc<Collection>>,
    changes: Vec<String>,
}

impl Ledger {
    /// Checks a schema file and, if that is wanted, signs it.
    ///
    /// Gives the items that were made, durable and in force here.
    pub(crate) fn take_schema(
        &self,
        options: &SchemaOptions,
    ) -> Result<(SchemaReport, Vec<Item>), Error> {
        // Two at once would be checked against the same definition and signed at the same place.
        let _alone = self.enrolment();
        let policy = self.policy();
        let Checked { collection, before, changes } = check(&policy, &options.text)?;
        let mut report = SchemaReport {
            collection: collection.name.clone(),
            version: collection.version,
            fields: collection.fields.len() as u64,
            before: before.as_ref().map(|before| before.version),
            changes,
            applied: false,
        };
        let is_known = before.is_some_and(|before| *before == collection);
        if options.step == SchemaStep::Check || is_known {
            report.applied = is_known && options.step == SchemaStep::Apply;
            return Ok((report, Vec::new()));
        }
        let before = policy.schema(collection.number).map(SignedSchema::hash);
        let items = self.schema_items(&collection, &options.text, before)?;
        let after = self.policy_with(&items)?;
        if !items.iter().all(|item| after.counts(&item.id())) {
            return Err(self.may_not_define(&policy));
        }
        let is_in_force = |policy: &Policy| {
            policy.schema(collection.number).is_some_and(|it| it.text() == options.text)
        };
        if !is_in_force(&after) {
            return Err(goes_before(&after, &collection));
        }
        if options.step == SchemaStep::Preview {
            return Ok((report, Vec::new()));
        }
        self.add_items(&items)?;
        // Another one may have come from others meanwhile.
        report.applied = is_in_force(&self.policy());
        Ok((report, items))
    }

    /// The collections that there are, or those called `name` in full.
    pub(crate) fn schemas(&self, name: Option<&str>) -> Result<Vec<SchemaShown>, Error> {
        self.settle()?;
        let policy = self.policy();
        let mut shown = Vec::new();
        for signed in policy.schemas() {
            let state = match signed.collection() {
                Some(_) => SchemaState::InForce,
                None => SchemaState::NotUnderstood,
            };
            shown.push(self.signed(&policy, signed, state)?);
        }
        for signed in policy.other_schemas() {
            let state = match policy.readable_schema(signed.number()) == Some(signed) {
                true => SchemaState::ReadBy,
                false => SchemaState::Replaced,
            };
            shown.push(self.signed(&policy, signed, state)?);
        }
        for signed in policy.schemas_ahead() {
            shown.push(self.signed(&policy, signed, SchemaState::Ahead)?);
        }
        for collection in fieldmesh_model::catalogue::collections() {
            let records = self.record_count(collection.number)?;
            shown.push(SchemaShown {
                name: collection.name.clone(),
                number: collection.number,
                version: collection.version,
                state: SchemaState::BuiltIn,
                fields: Some(collection.fields.len() as u64),
                records,
                by: None,
                at: None,
                text: None,
                definition: Some(Box::new(collection.clone())),
            });
        }
        let Some(name) = name else {
            for one in &mut shown {
                (one.text, one.definition) = (None, None);
            }
            return Ok(shown);
        };
        let wanted = schema::find(&policy, name).map(|known| known.name.clone());
        let wanted = wanted.as_deref().unwrap_or(name);
        shown.retain(|one| one.name == wanted);
        if shown.is_empty() {
            return Err(Error::UnknownCollection {
                name: name.to_owned(),
                known: schema::names(&policy),
            });
        }
        Ok(shown)
    }

    fn schema_items(
        &self,
        collection: &Collection,
        text: &str,
        before: Option<[u8; 32]>,
    ) -> Result<Vec<Item>, Error> {
        let (name, version) = (&collection.name, collection.version);
        let mut items = Vec::new();
        for part in SchemaPart::of(name, version, clock::now(), text, before) {
            let policy = self.policy_with(&items)?;
            items.push(self.sign(&policy, &Statement::Schema(Box::new(part)))?);
        }
        Ok(items)
    }

    fn signed(
        &self,
        policy: &Policy,
        signed: &SignedSchema,
        state: SchemaState,
    ) -> Result<SchemaShown, Error> {
        let collection = signed.collection();
        let records = match state {
            SchemaState::Replaced | SchemaState::ReadBy | SchemaState::Ahead => 0,
            SchemaState::InForce | SchemaState::NotUnderstood | SchemaState::BuiltIn => {
                self.record_count(signed.number())?
            }
        };
        Ok(SchemaShown {
            name: schema::name(signed),
            number: signed.number(),
            version: signed.version(),
            state,
            fields: collection.map(|collection| collection.fields.len() as u64),
            records,
            by: Some(named(policy, &signed.by)),
            at: Some(signed.at),
            text: Some(signed.text().to_owned()),
            definition: collection.map(|collection| Box::new(Collection::clone(collection))),
        })
    }

    fn may_not_define(&self, policy: &Policy) -> Error {
        let role = policy.member(&self.device()).map(|me| me.role.to_string());
        Error::NotAllowed {
            reason: format!(
                "a device with the role {} may not define a collection; an admin may",
                role.unwrap_or_else(|| "of nobody".into())
            ),
        }
    }
}

/// Checks a schema file against itself, the other collections, and what is in force of its own.
fn check(policy: &Policy, text: &str) -> Result<Checked, Error> {
    // By the names that stand in their files.
    let own = policy.schemas().filter_map(|it| policy.readable_schema(it.number())?.collection());
    let mut all = fieldmesh_model::catalogue::collections().to_vec();
    all.extend(own.map(|own| Collection::clone(own)));
    let collection = model::parse(text, &all).map_err(|error| {
        let faults = error.faults.into_iter();
        let place = |line, place: String| match place.as_str() {
            "" => format!("line {line}"),
            place => format!("line {line}, {place}"),
        };
        Error::Schema {
            faults: faults.map(|it| Fault::new(place(it.line, it.place), it.message)).collect(),
        }
    })?;
    let signed = policy.schema(collection.number);
    let Some(signed) = signed else {
        let count = policy.schemas().count();
        if count >= COLLECTIONS_MAX {
            let text = format!(
                "the tenant has {count} collections of its own, limit is {COLLECTIONS_MAX}; \
                 use one of them"
            );
            return Err(Error::Schema { faults: vec![Fault::new("name", text)] });
        }
        if collection.version > 1 {
            let fault = Fault::new("version", "a new collection begins with version = 1");
            return Err(Error::Schema { faults: vec![with_line(text, fault)] });
        }
        return Ok(Checked { collection, before: None, changes: Vec::new() });
    };
    let Some(before) = signed.collection().cloned() else {
        let (name, version) = (signed.name(), signed.version());
        let text = format!(
            "{name} has a schema of version {version} that this program cannot read, so it cannot \
             say what would be lost; update the program first"
        );
        return Err(Error::Schema { faults: vec![Fault::new("name", text)] });
    };
    let next = before.version.saturating_add(1);
    if !(before.version..=next).contains(&collection.version) {
        let text_of = format!("version {} is in force; write version = {next}", before.version);
        let fault = with_line(text, Fault::new("version", text_of));
        return Err(Error::Schema { faults: vec![fault] });
    }
    let evolved = model::evolve(&before, &collection);
    let lost = apart::lost(policy, signed, (&before, &collection));
    let faults = evolved.as_ref().err().into_iter().flatten().cloned().chain(lost);
    let faults: Vec<Fault> = faults.map(|fault| with_line(text, fault)).collect();
    match evolved {
        Ok(changes) if faults.is_empty() => {
            Ok(Checked { collection, before: Some(before), changes })
        }
        _ => Err(Error::Schema { faults }),
    }
}

/// Why a definition that counts is not in force.
fn goes_before(policy: &Policy, collection: &Collection) -> Error {
    let other = policy.schema(collection.number);
    let (name, version) = other.map_or(("another one", 0), |it| (it.name(), it.version()));
    let text = format!(
        "version {version} of {name} goes before it; look at it with `fieldmesh schema show \
         {name}`, and make the next version of that one"
    );
    Error::Schema { faults: vec![Fault::new("version", text)] }
}

fn with_line(text: &str, fault: Fault) -> Fault {
    match model::line_of(text, &fault.field) {
        Some(line) => Fault::new(format!("line {line}, {}", fault.field), fault.message),
        None => fault,
    }
}

#[cfg(test)]
mod tests;

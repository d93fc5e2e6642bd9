//! The collections that the tenant defines: checked, applied and shown.

use std::sync::Arc;

use fieldmesh_identity::{
    COLLECTIONS_PER_SIGNER_MAX, DEFINITIONS_PER_SIGNER_MAX, Item, Policy,
    SCHEMA_BYTES_PER_SIGNER_MAX, SchemaPart, SignedSchema, Statement,
};
use fieldmesh_model::schema::{self as model, Collection};
use fieldmesh_model::validate::Fault;

use crate::api::{SchemaOptions, SchemaReport, SchemaShown, SchemaState, SchemaStep, Unreadable};
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
    /// The version in force, whether it can be read or not.
    version_before: Option<u32>,
    changes: Vec<String>,
}

impl Ledger {
    /// Checks a schema file and, if that is wanted, signs it.
    ///
    /// What it says is durable then, in force here and on its way to others.
    pub(crate) fn take_schema(&self, options: &SchemaOptions) -> Result<SchemaReport, Error> {
        // Two at once would be checked against the same definition and signed at the same place.
        let _alone = self.enrolment();
        let policy = self.policy();
        let Checked { collection, before, version_before, changes } = check(&policy, options)?;
        let mut report = SchemaReport {
            collection: collection.name.clone(),
            version: collection.version,
            fields: collection.fields.len() as u64,
            before: version_before,
            changes,
            applied: false,
        };
        let is_known = before.is_some_and(|before| *before == collection);
        if options.step == SchemaStep::Check || is_known {
            report.applied = is_known && options.step == SchemaStep::Apply;
            return Ok(report);
        }
        let in_force = policy.schema(collection.number);
        let before = in_force.filter(|it| it.name() == collection.name).map(SignedSchema::hash);
        let items = self.schema_items(&collection, &options.text, before)?;
        let after = self.policy_with(&items)?;
        if !items.iter().all(|item| after.counts(&item.id())) {
            return Err(self.may_not_define(&after, &items));
        }
        if after.schemas_left_out() > policy.schemas_left_out() {
            return Err(has_no_room());
        }
        let is_in_force = |policy: &Policy| {
            policy.schema(collection.number).is_some_and(|it| it.text() == options.text)
        };
        // What somebody made to follow on this very file counts with it, and the way goes on from
        // there; but what would change nothing is not signed.
        if after.schema(collection.number) == in_force {
            return Err(goes_before(&after, &collection));
        }
        if options.step == SchemaStep::Preview {
            return Ok(report);
        }
        self.add_items(&items)?;
        // Another one may have come from others meanwhile.
        report.applied = is_in_force(&self.policy());
        Ok(report)
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
        let apart: Vec<&SignedSchema> =
            policy.schemas().flat_map(|signed| policy.schemas_apart(signed)).collect();
        for signed in policy.other_schemas() {
            let state = if policy.readable_schema(signed.number()) == Some(signed) {
                SchemaState::ReadBy
            } else if apart.iter().any(|other| std::ptr::eq(*other, signed)) {
                SchemaState::Apart
            } else {
                SchemaState::Replaced
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
            SchemaState::Replaced
            | SchemaState::Apart
            | SchemaState::ReadBy
            | SchemaState::Ahead => 0,
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

    fn may_not_define(&self, policy: &Policy, items: &[Item]) -> Error {
        if let Some(item) = items.iter().find(|item| !policy.holds(&item.id())) {
            let error = policy.admits(item).err().map(|error| error.to_string());
            let reason = error.unwrap_or_else(|| "there is no room for it".into());
            let next = "another admin's device may have room";
            return Error::NotAllowed {
                reason: format!("it cannot be signed here: {reason}; {next}"),
            };
        }
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
fn check(policy: &Policy, options: &SchemaOptions) -> Result<Checked, Error> {
    let text = options.text.as_str();
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
        return Ok(Checked { collection, before: None, version_before: None, changes: Vec::new() });
    };
    if signed.name() != collection.name {
        let text = format!("{} has the number of this name; choose another name", signed.name());
        return Err(Error::Schema { faults: vec![Fault::new("name", text)] });
    }
    let version = signed.version();
    let is_readable = signed.collection().is_some();
    if !is_readable && options.unreadable == Unreadable::Keep {
        return Err(cannot_read(signed));
    }
    let (least, next) = (version + u32::from(!is_readable), version.saturating_add(1));
    if !(least..=next).contains(&collection.version) {
        let text_of = format!("version {version} is in force; write version = {next}");
        let fault = with_line(text, Fault::new("version", text_of));
        return Err(Error::Schema { faults: vec![fault] });
    }
    let readable = policy.readable_schema(collection.number);
    let readable = readable.filter(|it| it.name() == collection.name);
    let Some(before) = readable.and_then(SignedSchema::collection).cloned() else {
        let (version_before, changes) = (Some(version), Vec::new());
        return Ok(Checked { collection, before: None, version_before, changes });
    };
    let evolved = match is_readable {
        true => model::evolve(&before, &collection),
        // It goes on from the version before.
        false => {
            let number = before.version.saturating_add(1);
            model::evolve(&before, &Collection { version: number, ..collection.clone() })
        }
    };
    let lost = apart::lost(policy, signed, (&before, &collection));
    let faults = evolved.as_ref().err().into_iter().flatten().cloned().chain(lost);
    let faults: Vec<Fault> = faults.map(|fault| with_line(text, fault)).collect();
    match evolved {
        Ok(changes) if faults.is_empty() => {
            Ok(Checked { collection, before: Some(before), version_before: Some(version), changes })
        }
        _ => Err(Error::Schema { faults }),
    }
}

fn cannot_read(signed: &SignedSchema) -> Error {
    let text = format!(
        "{} has a schema of version {} that this program cannot read, so it cannot say what would \
         be lost; update the program first, or give up that version with --replace-unreadable if \
         no program reads it",
        signed.name(),
        signed.version()
    );
    Error::Schema { faults: vec![Fault::new("name", text)] }
}

fn has_no_room() -> Error {
    let reason = format!(
        "this key has defined as much as it may: {DEFINITIONS_PER_SIGNER_MAX} definitions of \
         {COLLECTIONS_PER_SIGNER_MAX} collections, {} MiB in all; let another admin apply it",
        SCHEMA_BYTES_PER_SIGNER_MAX >> 20
    );
    Error::NotAllowed { reason }
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

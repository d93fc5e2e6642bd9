//! Definitions of one collection that do not fit together: made by people who did not know of each
//! other, not to be read here, or not counting yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use fieldmesh_identity::{Policy, SignedSchema};
use fieldmesh_model::schema::{self as model, Collection};
use fieldmesh_model::validate::Fault;

use crate::api::Finding;
use crate::ledger::Ledger;
use crate::ledger::membership::named;

/// The kind of what is found about collections of the tenant's own.
const KIND: &str = "collection";
/// Parts of a definition that one finding names.
const PARTS_MAX: usize = 5;

/// What `new` loses of definitions that nobody knew of who made the one in force, which `before`
/// says; what that one has lost already is not told again, or there would be no way on.
pub(super) fn lost(
    policy: &Policy,
    signed: &SignedSchema,
    (before, new): (&Collection, &Collection),
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for other in policy.schemas_apart(signed) {
        let Some(known) = other.collection() else { continue };
        let (there, whose) = (faults_of(known, before), whose(policy, other));
        let more = faults_of(known, new).into_iter().filter(|fault| !there.contains(fault));
        faults.extend(more.map(|fault| {
            let message = format!("{}; {whose} has it", fault.message);
            Fault::new(fault.field, message)
        }));
    }
    faults
}

/// Everything but the number of the version that keeps `new` from following on `old`.
fn faults_of(old: &Collection, new: &Collection) -> Vec<Fault> {
    let mut faults = model::evolve(old, new).err().unwrap_or_default();
    faults.retain(|fault| fault.field != "version");
    faults
}

fn whose(policy: &Policy, signed: &SignedSchema) -> String {
    format!("version {} by {}", signed.version(), named(policy, &signed.by))
}

impl Ledger {
    /// What somebody should know or do about the tenant's own collections.
    pub(in crate::ledger) fn schema_findings(&self) -> Vec<Finding> {
        let policy = self.policy();
        let mut findings = Vec::new();
        for signed in policy.schemas() {
            match signed.collection() {
                Some(collection) => findings.extend(unmerged(&policy, signed, collection)),
                None => findings.push(unreadable(&policy, signed)),
            }
        }
        findings.extend(displaced(&policy));
        findings.extend(policy.schemas_ahead().map(|signed| ahead(&policy, signed)));
        findings
    }
}

fn unmerged<'a>(
    policy: &'a Policy,
    signed: &'a SignedSchema,
    in_force: &'a Arc<Collection>,
) -> impl Iterator<Item = Finding> + 'a {
    policy.schemas_apart(signed).filter_map(move |other| {
        let (name, whose) = (signed.name(), whose(policy, other));
        let lacking = match other.collection() {
            Some(known) => faults_of(known, in_force),
            None => return None,
        };
        if lacking.is_empty() {
            return None;
        }
        let mut parts: Vec<&str> = lacking.iter().map(|fault| fault.field.as_str()).collect();
        parts.dedup();
        let more = parts.len().saturating_sub(PARTS_MAX);
        parts.truncate(PARTS_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let parts = parts.join("; ");
        Some(Finding {
            kind: KIND.into(),
            open: true,
            what: format!("{name} was defined twice apart: {whose} does not count"),
            means: format!(
                "Records that were made by it are kept, but not read by it: {parts}{more}."
            ),
            done: format!("Every device reads by version {}.", signed.version()),
            next: format!(
                "An admin brings both together: `fieldmesh schema show {name}`, then `schema \
                 apply` a next version with what both have."
            ),
            record: None,
        })
    })
}

/// Names that meet with another one in a number, which has it.
fn displaced(policy: &Policy) -> Vec<Finding> {
    let in_force = |other: &SignedSchema| policy.schema(other.number()).map(SignedSchema::name);
    let others = policy.other_schemas().filter(|other| in_force(other) != Some(other.name()));
    let names: BTreeMap<&str, u16> = others.map(|it| (it.name(), it.number())).collect();
    let finding = |(name, number): (&str, u16)| {
        let other = policy.schema(number).map_or("another one", SignedSchema::name);
        Finding {
            kind: KIND.into(),
            open: true,
            what: format!("{name} and {other} share the number {number}: {name} does not count"),
            means: format!("Records that were made as {name} are shown as {other}."),
            done: "Every device keeps the same one of both; records stay as they are.".into(),
            next: format!(
                "An admin defines {name} under another name (`fieldmesh schema show {name}` says \
                 what it was); new records go there."
            ),
            record: None,
        }
    };
    names.into_iter().map(finding).collect()
}

fn unreadable(policy: &Policy, signed: &SignedSchema) -> Finding {
    let (name, version) = (signed.name(), signed.version());
    let readable = policy.readable_schema(signed.number()).map(SignedSchema::version);
    let (means, done) = match readable {
        Some(earlier) => (
            format!("What version {version} adds is shown as it came."),
            format!("Records are made and read by version {earlier} until then."),
        ),
        None => (
            "Its records are shown as they came and cannot be edited here.".to_owned(),
            "They are kept, and handed on to other devices.".to_owned(),
        ),
    };
    Finding {
        kind: KIND.into(),
        open: true,
        what: format!("this program cannot read version {version} of {name}"),
        means,
        done,
        next: "Update this program.".into(),
        record: None,
    }
}

fn ahead(policy: &Policy, signed: &SignedSchema) -> Finding {
    let (name, whose) = (signed.name(), whose(policy, signed));
    Finding {
        kind: KIND.into(),
        what: format!("{name}: {whose} does not count, since versions before it are lacking"),
        means: "Nothing is read by it.".into(),
        next: "Run `fieldmesh sync`; if that does not help, an admin looks who signed it.".into(),
        ..Finding::default()
    }
}

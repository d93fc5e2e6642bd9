//! Definitions of one collection that do not fit together: made by people who did not know of each
//! other, not to be read here, or not counting yet.

use std::collections::BTreeMap;

use fieldmesh_identity::{Policy, SignedSchema};
use fieldmesh_model::schema::{self as model, Collection};
use fieldmesh_model::validate::Fault;

use crate::api::Finding;
use crate::error::Error;
use crate::ledger::Ledger;
use crate::ledger::membership::named;
use crate::projection::schemas::Stand;
use crate::schema;

/// The kind of what is found about collections of the tenant's own.
const KIND: &str = "collection";
/// Parts of a definition that one finding names.
const PARTS_MAX: usize = 5;
/// Definitions of one collection that are compared with the one in force.
const APART_MAX: usize = 64;
/// Findings of one kind; more are counted.
const FINDINGS_MAX: usize = 5;

/// What `new` loses of definitions that nobody knew of who made the one in force, which `before`
/// says; what that one has lost already is not told again, or there would be no way on.
pub(super) fn lost(
    policy: &Policy,
    signed: &SignedSchema,
    (before, new): (&Collection, &Collection),
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for other in policy.schemas_apart(signed).take(APART_MAX) {
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
    pub(in crate::ledger) fn schema_findings(&self) -> Result<Vec<Finding>, Error> {
        let policy = self.policy();
        let mut findings = Vec::new();
        for signed in policy.schemas().filter(|signed| signed.collection().is_some()) {
            findings.extend(unmerged(&policy, signed));
        }
        keep_first(&mut findings);
        let unread = policy.schemas().filter(|signed| signed.collection().is_none());
        let more = [
            unread.map(|signed| unreadable(&policy, signed)).collect(),
            displaced(&policy),
            policy.schemas_ahead().map(|signed| ahead(&policy, signed)).collect(),
            self.waiting(&policy)?,
        ];
        for mut more in more {
            keep_first(&mut more);
            findings.extend(more);
        }
        let left_out = policy.schemas_left_out();
        findings.extend((left_out > 0).then(|| without_room(left_out)));
        Ok(findings)
    }

    /// Collections whose records are read anew.
    fn waiting(&self, policy: &Policy) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        if self.projector.forwards_only() || self.store.end().is_none() {
            return Ok(findings);
        }
        for signed in policy.schemas() {
            let number = signed.number();
            let stand = Stand::read(self.view(), number)?;
            if stand.is_whole(policy, number)? || self.record_count(number)? == 0 {
                continue;
            }
            let name = &schema::numbered(policy, number).name;
            findings.push(Finding {
                kind: KIND.into(),
                what: format!(
                    "the records of {name} are being read by its definition of now, {} % so far",
                    stand.percent()?
                ),
                means: "Lists of them wait until then.".into(),
                next: "Nothing: it goes on by itself.".into(),
                ..Finding::default()
            });
        }
        Ok(findings)
    }
}

/// Leaves the first, and says how many more there are.
fn keep_first(findings: &mut Vec<Finding>) {
    let more = findings.len().saturating_sub(FINDINGS_MAX);
    findings.truncate(FINDINGS_MAX);
    if let Some(last) = findings.last_mut().filter(|_| more > 0) {
        last.what.push_str(&format!(" (and {more} more like this)"));
    }
}

fn without_room(count: usize) -> Finding {
    Finding {
        kind: KIND.into(),
        open: true,
        what: format!("{count} definitions of collections are not looked at"),
        means: "Who signed them has defined more than one key may.".into(),
        done: "Nothing is read by them; what others define counts as ever.".into(),
        next: "If nobody meant that, an admin revokes the device that signed them.".into(),
        record: None,
    }
}

fn unmerged<'a>(
    policy: &'a Policy,
    signed: &'a SignedSchema,
) -> impl Iterator<Item = Finding> + 'a {
    policy.schemas_apart(signed).take(APART_MAX).filter_map(move |other| {
        let (name, whose) = (signed.name(), whose(policy, other));
        let lacking = faults_of(other.collection()?, signed.collection()?);
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
        next: format!(
            "Update this program. If no program reads it, an admin goes on with `fieldmesh schema \
             apply --replace-unreadable` and version = {}.",
            version.saturating_add(1)
        ),
        record: None,
    }
}

fn ahead(policy: &Policy, signed: &SignedSchema) -> Finding {
    let (name, whose) = (signed.name(), whose(policy, signed));
    let lacking = signed.version().saturating_sub(1);
    Finding {
        kind: KIND.into(),
        what: format!(
            "{name}: {whose} does not count, since the version {lacking} that it follows on is not \
             here"
        ),
        means: "Nothing is read by it.".into(),
        next: format!(
            "Run `fieldmesh sync` if somebody has that version. If nobody has, leave it: the next \
             version that an admin applies goes on without it (`fieldmesh schema show {name}`)."
        ),
        ..Finding::default()
    }
}

//! P1, P11, P15, P17: records are the same everywhere and what plain sets say, in whatever order
//! their changes came; a change that lacks its parent waits and blocks no other record. So is what
//! the conflict inbox lists of them: items, sides, what each author had seen, and how they ended.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_document::Sight;
use fieldmesh_model::{DocumentId, Value};

use crate::node::{Node, Part};
use crate::notebook::{FIELDS, Hash, Notebook, Record, collection};
use crate::plan::Content;
use crate::violation::Violation;
use crate::world::World;

/// Every record of every device.
pub(crate) fn all(world: &World<'_>) -> Result<(), Violation> {
    if world.plan.content != Content::Records {
        return Ok(());
    }
    let mut inboxes = BTreeMap::new();
    for (node, state) in world.honest().filter(|(_, state)| state.part == Part::Device) {
        order(world, node, state)?;
        let documents = world.tenants[state.tenant].reference.documents();
        let known: BTreeSet<DocumentId> = state.notebook.records().map(|(id, _)| *id).collect();
        if known != documents {
            return Err(differ(node, "there are other records"));
        }
        for document in documents {
            let record = state.notebook.record(&document);
            let Some(record) = record else { continue };
            verdicts(world, (node, state), document, record)?;
            values(world, (node, state), document, record)?;
            let listed = inbox(document, record);
            let known = inboxes.entry((state.tenant, document)).or_insert_with(|| listed.clone());
            if *known != listed {
                return Err(differ(node, &format!("the inbox of {document} is another one")));
            }
        }
    }
    Ok(())
}

/// An item: its id, what it is about, whether it is open, and its sides or the change that ended it
/// with what each author had seen.
type Item = (String, String, bool, Vec<(Hash, Option<Sight>)>);

/// What the inbox lists of a record; nothing where it cannot be read, which others find.
fn inbox(id: DocumentId, record: &Record) -> Option<Vec<Item>> {
    let document = record.is_open().then(|| record.document(id))??;
    let mut items = Vec::new();
    for found in document.conflicts(collection()).ok()? {
        let hashes: Vec<Hash> = found.values.iter().map(|side| side.hash).collect();
        let sights = document.sights(&hashes).ok()?.into_iter().map(Some);
        let sides = hashes.into_iter().zip(sights).collect();
        let what = format!("{:?} {}", found.kind, found.key);
        items.push((found.id.to_string(), what, found.is_open(), sides));
    }
    let view = document.view(collection()).ok()?;
    for breach in document.breaches(collection(), &view).ok()? {
        items.push((breach.id.to_string(), format!("{:?}", breach.faults), true, Vec::new()));
    }
    for end in document.closings(collection()).ok()?.ended {
        let what = format!("{} {} {}", end.key, end.is_settled, end.left.to_cell());
        items.push((end.item.to_string(), what, false, vec![(end.hash, None)]));
    }
    Some(items)
}

/// What came one by one is what comes out of the log, from either end.
fn order(world: &World<'_>, node: usize, state: &Node) -> Result<(), Violation> {
    let forwards = Notebook::of(state.disk.batches(), world.users(node));
    let backwards = Notebook::of(state.disk.batches().rev(), world.users(node));
    if forwards.settled() != state.notebook.settled() {
        return Err(differ(node, "rebuilding makes other ones"));
    }
    if backwards.settled() != forwards.settled() {
        return Err(differ(node, "another order makes other ones"));
    }
    Ok(())
}

/// Accepted is what has all its parents; the rest waits; nothing honest is refused.
fn verdicts(
    world: &World<'_>,
    (node, state): (usize, &Node),
    document: DocumentId,
    record: &Record,
) -> Result<(), Violation> {
    let reference = &world.tenants[state.tenant].reference;
    let differs = |what| Err(differ(node, what));
    if !record.refused.is_empty() {
        return differs("an honest change is refused");
    }
    if record.accepted() != reference.counting(&document) {
        return differs("other changes count than should");
    }
    if record.waiting() != reference.orphans(&document) {
        return differs("other changes wait than should");
    }
    Ok(())
}

/// What is shown is what nobody has overwritten.
fn values(
    world: &World<'_>,
    (node, state): (usize, &Node),
    id: DocumentId,
    record: &Record,
) -> Result<(), Violation> {
    let differs = |what: &str| Err(differ(node, what));
    if !record.is_open() {
        return Ok(());
    }
    let Some(document) = record.document(id) else { return differs("a record cannot be loaded") };
    let (Ok(view), Ok(conflicts)) = (document.view(collection()), document.conflicts(collection()))
    else {
        return differs("a record cannot be read");
    };
    for field in FIELDS {
        let expected = world.tenants[state.tenant].reference.values(&id, field);
        let shown = view.fields.get(field);
        if shown.map_or(!expected.is_empty(), |shown| !expected.contains(shown)) {
            return differs(&format!("{field} of {id} shows {shown:?}, not {expected:?}"));
        }
        let conflict = conflicts.iter().find(|conflict| conflict.key == field);
        let sides: Vec<&Value> =
            conflict.into_iter().flat_map(|one| &one.values).map(|side| &side.value).collect();
        let is_same = expected.iter().all(|value| sides.contains(&value));
        if (expected.len() > 1 && !is_same) || (expected.len() < 2 && conflict.is_some()) {
            return differs(&format!("{field} of {id} has {sides:?}, not {expected:?}"));
        }
    }
    Ok(())
}

fn differ(node: usize, what: &str) -> Violation {
    Violation::RecordsDiffer { node, what: what.to_owned() }
}

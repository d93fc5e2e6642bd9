//! What is damaged in the log and that others may bring again, in words.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::{DeviceId, DocumentId};
use fieldmesh_store::{Direction, KeyRange, Place, Tree};

use crate::api::Finding;
use crate::error::Error;
use crate::harm::{Harm, Harmed};
use crate::rows::{self, DocumentRow};

use super::Ledger;
use super::diagnosis::{counted, of_record};
use super::names::record_name;
use super::query::Names;

/// Records that one finding names.
const NAMED_MAX: usize = 10;
/// When it is known what an entry was that cannot be read.
pub(super) const LATER: &str = "what was in them is told once all records are there";

impl Ledger {
    /// Batches that are lacking, by who may have them.
    pub(super) fn lacking_batches(&self, harms: &[Harm]) -> Result<Vec<Finding>, Error> {
        let mut open = BTreeMap::new();
        for harm in harms.iter().filter(|harm| harm.is_open()) {
            if let Harmed::Batch { id, author, .. } = &harm.what {
                open.insert(harm.place, (*id, *author));
            }
        }
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let ids = open.values().map(|(id, _)| *id).collect();
        let holders = self.mesh.get().map_or_else(Vec::new, |mesh| mesh.holders(ids));
        let mut parts: BTreeMap<Vec<DeviceId>, BTreeSet<Place>> = BTreeMap::new();
        for (index, (place, (_, author))) in open.iter().enumerate() {
            let mut who: BTreeSet<DeviceId> =
                holders.get(index).into_iter().flatten().copied().collect();
            who.extend(author.filter(|author| *author != self.device()));
            parts.entry(who.into_iter().collect()).or_default().insert(*place);
        }
        let records = self.records_at(&open.keys().copied().collect())?;
        Ok(parts.iter().map(|(who, places)| self.lacking(who, places, &records)).collect())
    }

    fn lacking(
        &self,
        who: &[DeviceId],
        places: &BTreeSet<Place>,
        records: &BTreeMap<DocumentId, (BTreeSet<Place>, String)>,
    ) -> Finding {
        let touched = records.values().filter(|(at, _)| !at.is_disjoint(places));
        let titles: Vec<&str> = touched.map(|(_, title)| title.as_str()).collect();
        let policy = self.policy();
        let name = |device: &DeviceId| match policy.known(device) {
            Some(member) => member.name.clone(),
            None => format!("…{}", device.short()),
        };
        let who = match who {
            [] => "whoever was in step with this device".to_owned(),
            devices => devices.iter().map(name).collect::<Vec<_>>().join(" or "),
        };
        Finding {
            kind: "lacking-batches".into(),
            open: true,
            what: format!(
                "{} of the log cannot be read any more; {}",
                counted(places.len(), "batch", "batches"),
                named(&titles),
            ),
            means:
                "Those records are shown as they were read last; changes of them wait until the \
                    damaged part is back."
                    .into(),
            done: "This device asks everybody it meets for them.".into(),
            next: format!("Meet {who}: `fieldmesh sync` brings them back."),
            record: None,
        }
    }

    /// Which records have changes at these places, and what they are called.
    fn records_at(
        &self,
        places: &BTreeSet<Place>,
    ) -> Result<BTreeMap<DocumentId, (BTreeSet<Place>, String)>, Error> {
        let mut records = BTreeMap::new();
        let (view, mut names) = (self.view(), Names::default());
        for row in rows::scan(view, Tree::Document, KeyRange::all(), Direction::Ascending) {
            let (key, value) = row?;
            let Some(id) = rows::indexed_id(&key) else { continue };
            let row: DocumentRow = rows::decode(&value)?;
            let at = row.changes.iter().map(|it| it.place).filter(|it| places.contains(it));
            let at: BTreeSet<Place> = at.collect();
            if at.is_empty() {
                continue;
            }
            let schema = self.schema(row.scope.collection);
            let own = row.record.as_ref().and_then(|record| record_name(&schema, record));
            let record = row.record.map(|it| self.to_record(id, &schema, it, &mut names));
            let title = match (own, record) {
                (Some(name), _) => format!("{} {name}", schema.name),
                // Several of them may be of the same.
                (None, Some(record)) => format!("{} ({})", of_record(&record), id.short()),
                (None, None) => format!("{} {}", schema.name, id.short()),
            };
            records.insert(id, (at, title));
        }
        Ok(records)
    }
}

/// Policy items that are lacking.
pub(super) fn lacking_items(harms: &[Harm]) -> Option<Finding> {
    let is_lacking = |harm: &&Harm| harm.is_open() && matches!(harm.what, Harmed::Item(_));
    let count = harms.iter().filter(is_lacking).count();
    (count > 0).then(|| Finding {
        kind: "lacking-items".into(),
        open: true,
        what: format!("{} of the crew's policy cannot be read", counted(count, "item", "items")),
        means: "This device may not know every member or right of the crew.".into(),
        done: "It asks everybody it meets for them.".into(),
        next: "Meet any other device or the relay: `fieldmesh sync` brings them back.".into(),
        record: None,
    })
}

/// Entries of which nobody can say what they were before all records are there.
pub(super) fn put_off(count: usize) -> Option<Finding> {
    (count > 0).then(|| Finding {
        kind: "unknown-entries".into(),
        open: true,
        what: unread(count),
        means: "Something that was recorded may be missing.".into(),
        done: format!("The records are being made again; {LATER}."),
        next: "Ask again once they are made.".into(),
        record: None,
    })
}

/// Entries that were damaged before anything was known of them.
pub(super) fn unknown(harms: &[Harm]) -> Option<Finding> {
    let is_unknown = |harm: &&Harm| harm.is_open() && harm.what == Harmed::Unknown;
    let count = harms.iter().filter(is_unknown).count();
    (count > 0).then(|| Finding {
        kind: "unknown-entries".into(),
        open: true,
        what: format!(
            "damage in {} of the log, found before anything was read of it",
            counted(count, "entry", "entries")
        ),
        means: "What others hold of them comes back by itself; what was only here is lost.".into(),
        done: "This device asks everybody it meets for what it lacks.".into(),
        next: "Run `fieldmesh sync`, look whether your last records are there, then say \
               `fieldmesh doctor --accept`."
            .into(),
        record: None,
    })
}

/// That so many entries cannot be read.
pub(super) fn unread(count: usize) -> String {
    format!("{} of the log cannot be read", counted(count, "entry", "entries"))
}

/// Records by name, at most [`NAMED_MAX`] of them.
fn named(titles: &[&str]) -> String {
    match titles.len() {
        0 => "no record shows anything of it".into(),
        count if count <= NAMED_MAX => format!("it holds changes of {}", titles.join(", ")),
        count => format!(
            "it holds changes of {} and {} more records",
            titles[..NAMED_MAX].join(", "),
            count - NAMED_MAX
        ),
    }
}

//! Changes that wait for others which are not here, and what is known of where those are.
//!
//! A device that held the same as this one does not have them either: what it has lost of its own
//! it will not bring.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::{DeviceId, DocumentId, Moment};
use fieldmesh_store::Place;

use super::Wait;
use crate::api::Finding;
use crate::changes::read_change;
use crate::clock::minute;
use crate::entry::Fact;
use crate::error::Error;
use crate::ledger::Ledger;
use crate::ledger::diagnosis::counted;
use crate::ledger::query::Names;
use crate::mesh::Mesh;

/// Waiting changes that are looked at for a note.
const NOTED_MAX: usize = 1_000;
/// Records that a note names.
const NAMED_MAX: usize = 10;

/// When devices held the same as this one, and up to where the log was read for that.
type Agreed = BTreeMap<DeviceId, (Moment, Place)>;

/// Changes of several records that wait.
#[derive(Default)]
struct Waiting {
    records: usize,
    changes: usize,
    titles: Vec<String>,
    writers: BTreeSet<DeviceId>,
    /// When the writers last held the same as this device.
    since: Option<Moment>,
}

impl Waiting {
    fn titles(&self) -> String {
        let mut titles = self.titles.clone();
        if self.records > NAMED_MAX {
            titles.push(format!("{} more records", self.records - NAMED_MAX));
        }
        titles.join(", ")
    }
}

impl Ledger {
    /// Keeps when devices of which changes wait here held the same as this one. Blocks.
    pub(crate) fn note_agreed(&self) -> Result<(), Error> {
        if self.remaking().is_some() {
            return Ok(());
        }
        self.settle()?;
        let waiting_documents = self.waiting_documents(NOTED_MAX)?;
        // Hardly ever does anything wait.
        if waiting_documents.is_empty() {
            return Ok(());
        }
        let (known, agreed) = (self.kept_agreed()?, self.agreed()?);
        let mut waiting: BTreeMap<DeviceId, Place> = BTreeMap::new();
        for id in waiting_documents.into_keys() {
            for wait in self.waits_in(id)?.values() {
                let Some((writer, place)) = self.written(wait) else { continue };
                let last = waiting.entry(writer).or_insert(place);
                *last = place.max(*last);
            }
        }
        let has = |agreed: &Agreed, writer: &DeviceId| {
            let end = agreed.get(writer).map(|(_, end)| *end);
            waiting.get(writer).is_some_and(|last| end >= Some(*last))
        };
        if !waiting.keys().any(|writer| has(&agreed, writer) && !has(&known, writer)) {
            return Ok(());
        }
        let kept = agreed.into_iter().filter(|(device, _)| waiting.contains_key(device));
        let kept = kept.map(|(device, (at, end))| (device, at, end)).collect();
        self.remember(Fact::Agreed(kept))
    }

    fn kept_agreed(&self) -> Result<Agreed, Error> {
        let kept = match self.recall(&Fact::Agreed(Vec::new()))? {
            Some(Fact::Agreed(kept)) => kept,
            _ => Vec::new(),
        };
        Ok(kept.into_iter().map(|(device, at, end)| (device, (at, end))).collect())
    }

    /// When each device held the same as this one; nothing where this one exchanges only a part.
    fn agreed(&self) -> Result<Agreed, Error> {
        if self.exchanges_a_part() {
            return Ok(Agreed::new());
        }
        let mut agreed = self.kept_agreed()?;
        let snapshot = self.mesh.get().and_then(Mesh::snapshot_now);
        agreed.extend(snapshot.into_iter().flat_map(|snapshot| snapshot.watch.agreed));
        Ok(agreed)
    }

    /// Who wrote a waiting change, and where the first copy of it lies.
    fn written(&self, wait: &Wait) -> Option<(DeviceId, Place)> {
        let first = wait.copies.iter().min_by_key(|copy| copy.place)?;
        let read = read_change(&self.store, *first, self.device()).ok()?;
        Some((read.author, first.place))
    }

    /// When the writers of all these changes held the same as this device after it had them: they
    /// do not have what is waited for either.
    fn lacked_since(&self, waits: &BTreeMap<[u8; 8], Wait>, agreed: &Agreed) -> Option<Moment> {
        let moments = waits.values().map(|wait| {
            let (writer, place) = self.written(wait)?;
            let (at, end) = agreed.get(&writer)?;
            (*end >= place).then_some(*at)
        });
        moments.collect::<Option<Vec<Moment>>>()?.into_iter().min()
    }

    /// What waits for changes that are not here and that are not known to be lost here.
    pub(super) fn waiting_notes(
        &self,
        told: &BTreeSet<DocumentId>,
        names: &mut Names,
    ) -> Result<Vec<Finding>, Error> {
        let waiting_documents = self.waiting_documents(NOTED_MAX)?;
        if waiting_documents.is_empty() {
            return Ok(Vec::new());
        }
        let agreed = self.agreed()?;
        let (mut coming, mut lacked) = (Waiting::default(), Waiting::default());
        for (id, first) in waiting_documents {
            if told.contains(&id) || self.is_told_as_lacking(id)? {
                continue;
            }
            let waits = self.waits_in(id)?;
            let since = self.lacked_since(&waits, &agreed).filter(|_| !waits.is_empty());
            let waiting = if since.is_some() { &mut lacked } else { &mut coming };
            waiting.records += 1;
            waiting.changes += waits.len();
            waiting.since = waiting.since.max(since);
            if waiting.records <= NAMED_MAX {
                waiting.titles.push(self.title_of(id, names)?);
                let read = read_change(&self.store, first, self.device());
                waiting.writers.extend(read.map(|source| source.author));
            }
        }
        let found = [self.note_of_coming(&coming), self.note_of_lacked(&lacked)];
        Ok(found.into_iter().flatten().collect())
    }

    /// What waits for changes that may be on their way.
    fn note_of_coming(&self, coming: &Waiting) -> Option<Finding> {
        let from = self.named_devices(&coming.writers, " and ");
        // No device meets itself.
        let mut others = coming.writers.clone();
        others.remove(&self.device());
        let next = match others.is_empty() {
            true => "Meet whoever was in step with this device: `fieldmesh sync`. What stays may \
                     be lost here: `fieldmesh verify` reads everything."
                .to_owned(),
            false => format!(
                "Meet {}: `fieldmesh sync`. What stays may be lost there: `fieldmesh doctor` \
                 says so on the device that wrote it.",
                self.named_devices(&others, " and ")
            ),
        };
        (coming.changes > 0).then(|| Finding {
            kind: "waiting-changes".into(),
            what: format!(
                "{} by {from} wait for others that have not come, of {}",
                counted(coming.changes, "change", "changes"),
                coming.titles(),
            ),
            means: "They are whole and kept, and shown once what they build on is here.".into(),
            done: "This device asks everybody it meets for what it lacks.".into(),
            next,
            ..Finding::default()
        })
    }

    /// What waits for changes that their own writer does not have either.
    fn note_of_lacked(&self, lacked: &Waiting) -> Option<Finding> {
        let since = lacked.since?;
        let writers = self.named_devices(&lacked.writers, " and ");
        let one = self.named_devices(&lacked.writers, " or ");
        let wait = if lacked.changes == 1 { "waits" } else { "wait" };
        Some(Finding {
            kind: "lost-elsewhere".into(),
            what: format!(
                "{} by {writers} {wait} for others that {one} did not bring, of {}",
                counted(lacked.changes, "change", "changes"),
                lacked.titles(),
            ),
            means: format!(
                "On {} both were in step in all that {one} gives to this device, without what they \
                 build on: it may be lost there, and no device can show them unless one has it.",
                minute(since)
            ),
            done: "They are whole and kept. This device goes on asking everybody it meets for \
                   what it lacks."
                .into(),
            next: format!(
                "`fieldmesh doctor` on {one} says what they wrote and how to record it again; \
                 where that was done, nothing is to be done here."
            ),
            ..Finding::default()
        })
    }

    fn named_devices(&self, devices: &BTreeSet<DeviceId>, between: &str) -> String {
        let policy = self.policy();
        let name = |device: &DeviceId| match policy.known(device) {
            Some(member) => member.name.clone(),
            None => format!("…{}", device.short()),
        };
        devices.iter().map(name).collect::<Vec<_>>().join(between)
    }
}

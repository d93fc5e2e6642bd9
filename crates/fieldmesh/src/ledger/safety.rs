//! Where records are: the least of what receipts prove of their changes.
//!
//! Counting reads every record once. From then on it costs what has changed: documents that the
//! projector has written are looked at again, a receipt has only those looked at that it may have
//! made safer, and only where receipts became void does everything begin anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use fieldmesh_model::{BatchId, DocumentId};
use fieldmesh_replica::Proof;
use fieldmesh_store::{Direction, KeyRange, Tree};

use crate::api::{Safety, SafetyCounts};
use crate::error::Error;
use crate::mesh::{Mesh, ProofMarks};
use crate::rows::{self, ChangeRef, DocumentRow};

use super::Ledger;

/// Records whose proofs are asked for together.
const PAGE: usize = 4_096;

/// How many records are where, and what the filter holds back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    pub(crate) counts: SafetyCounts,
    /// Records made here that lie outside of what is exchanged.
    pub(crate) not_sent: u64,
}

/// What is known of receipts at one moment: how often they changed, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Basis {
    version: u64,
    marks: ProofMarks,
    /// How many damaged entries lack something: what waits for them is not safe.
    lost: usize,
}

/// Which records are where, as they were looked at last.
#[derive(Debug, Default)]
struct Kept {
    basis: Basis,
    here: BTreeSet<DocumentId>,
    on_devices: BTreeSet<DocumentId>,
    safe: BTreeSet<DocumentId>,
    not_sent: BTreeSet<DocumentId>,
    /// How many records were looked at, to see what a look costs.
    looked_at: u64,
}

/// The records as they were counted last; nothing until somebody asks.
#[derive(Debug, Default)]
pub(super) struct Counted(Mutex<Option<Kept>>);

impl Kept {
    fn forget(&mut self, id: &DocumentId) {
        for records in [&mut self.here, &mut self.on_devices, &mut self.safe, &mut self.not_sent] {
            records.remove(id);
        }
    }

    fn place(&mut self, id: DocumentId, safety: Safety) {
        let records = match safety {
            Safety::Here => &mut self.here,
            Safety::Devices(_) => &mut self.on_devices,
            Safety::Relay => &mut self.safe,
        };
        records.insert(id);
    }

    fn whereabouts(&self) -> Whereabouts {
        Whereabouts {
            counts: SafetyCounts {
                here: self.here.len() as u64,
                on_devices: self.on_devices.len() as u64,
                safe: self.safe.len() as u64,
            },
            not_sent: self.not_sent.len() as u64,
        }
    }
}

impl Ledger {
    /// Where the changes of one record are.
    pub(super) fn safety(&self, id: DocumentId, row: &DocumentRow) -> Safety {
        self.safeties(&[(id, row.changes.clone())]).pop().unwrap_or_default()
    }

    /// Where the changes of each record are; one of which changes wait for a lost one is nowhere
    /// as it was written.
    pub(super) fn safeties(&self, records: &[(DocumentId, Vec<ChangeRef>)]) -> Vec<Safety> {
        let batches: Vec<Vec<Option<BatchId>>> = records
            .iter()
            .map(|(_, changes)| changes.iter().map(|it| self.places.batch_at(it.place)).collect())
            .collect();
        let proofs = self.proofs(batches.iter().flatten().flatten().copied());
        let of = |batch: &Option<BatchId>| {
            let proof = batch.and_then(|id| proofs.get(&id).copied());
            proof.map_or(Safety::Here, safety)
        };
        let proven = batches.iter().map(|batches| batches.iter().map(of).min().unwrap_or_default());
        let losses = self.losses();
        let is_shown = |id| losses.as_ref().is_ok_and(|losses| !self.is_stranded(id, losses));
        let shown = records.iter().zip(proven);
        shown.map(|((id, _), safety)| if is_shown(*id) { safety } else { Safety::Here }).collect()
    }

    /// How many records are where.
    pub(crate) fn whereabouts(&self) -> Result<Whereabouts, Error> {
        let mut slot = self.counted.0.lock().expect("no holder of this lock panics");
        // Both are read before the records: what changes from here on is looked at next time.
        let basis = self.basis()?;
        let written = self.projector.take_written();
        // An error leaves nothing, so that the next look counts anew.
        let kept = match (slot.take(), written) {
            (Some(kept), Some(written))
                if kept.basis.marks.voided == basis.marks.voided
                    && kept.basis.lost == basis.lost =>
            {
                self.look_again(kept, basis, written)?
            }
            _ => self.count_all(basis)?,
        };
        let whereabouts = kept.whereabouts();
        *slot = Some(kept);
        Ok(whereabouts)
    }

    fn basis(&self) -> Result<Basis, Error> {
        let lost = self.harms()?.iter().filter(|harm| harm.is_open()).count();
        let Some(mesh) = self.mesh.get() else { return Ok(Basis { lost, ..Basis::default() }) };
        // The version first: a receipt that comes in between is then looked at once more.
        let version = mesh.proofs_version();
        Ok(Basis { version, marks: Mesh::proof_marks(mesh), lost })
    }

    fn count_all(&self, basis: Basis) -> Result<Kept, Error> {
        let mut kept = Kept { basis, ..Kept::default() };
        let mut page = Vec::new();
        for row in rows::scan(self.view(), Tree::Document, KeyRange::all(), Direction::Ascending) {
            let (key, value) = row?;
            let Some(id) = rows::indexed_id(&key) else { continue };
            page.push((id, rows::decode(&value)?));
            if page.len() >= PAGE {
                self.look_at(&mut kept, std::mem::take(&mut page));
            }
        }
        self.look_at(&mut kept, page);
        Ok(kept)
    }

    /// Looks at what was written since the last time, and at what receipts may have made safer.
    fn look_again(
        &self,
        mut kept: Kept,
        basis: Basis,
        written: BTreeSet<DocumentId>,
    ) -> Result<Kept, Error> {
        let mut due = written;
        if kept.basis.version != basis.version {
            due.extend(&kept.here);
        }
        if kept.basis.marks.gained != basis.marks.gained {
            due.extend(&kept.on_devices);
        }
        kept.basis = basis;
        let mut page = Vec::new();
        for id in due {
            kept.forget(&id);
            page.extend(self.row(id)?.map(|row| (id, row)));
            if page.len() >= PAGE {
                self.look_at(&mut kept, std::mem::take(&mut page));
            }
        }
        self.look_at(&mut kept, page);
        Ok(kept)
    }

    fn look_at(&self, kept: &mut Kept, page: Vec<(DocumentId, DocumentRow)>) {
        kept.looked_at += page.len() as u64;
        let mut changes = Vec::new();
        for (id, row) in page {
            let Some(record) = row.record else { continue };
            if record.device == self.device() && !self.only.admits(&row.scope) {
                kept.not_sent.insert(id);
            }
            changes.push((id, row.changes));
        }
        let safeties = self.safeties(&changes);
        for ((id, _), safety) in changes.into_iter().zip(safeties) {
            kept.place(id, safety);
        }
    }

    /// How many records all looks together have read.
    #[cfg(test)]
    pub(crate) fn records_looked_at(&self) -> u64 {
        let slot = self.counted.0.lock().expect("no holder of this lock panics");
        slot.as_ref().map_or(0, |kept| kept.looked_at)
    }

    /// What receipts prove of each batch.
    pub(super) fn proofs(
        &self,
        batches: impl Iterator<Item = BatchId>,
    ) -> BTreeMap<BatchId, Proof> {
        let Some(mesh) = self.mesh.get() else { return BTreeMap::new() };
        let batches: Vec<BatchId> = {
            let mut batches: Vec<BatchId> = batches.collect();
            batches.sort_unstable();
            batches.dedup();
            batches
        };
        if batches.is_empty() {
            return BTreeMap::new();
        }
        let proofs = mesh.proofs(batches.clone());
        batches.into_iter().zip(proofs).collect()
    }

    /// Where the record `id` is.
    pub(super) fn safety_of(&self, id: DocumentId) -> Result<Safety, Error> {
        Ok(self.row(id)?.map_or(Safety::Here, |row| self.safety(id, &row)))
    }
}

const fn safety(proof: Proof) -> Safety {
    match proof {
        Proof { is_safe: true, .. } => Safety::Relay,
        Proof { devices: 0, .. } => Safety::Here,
        Proof { devices, .. } => Safety::Devices(devices),
    }
}

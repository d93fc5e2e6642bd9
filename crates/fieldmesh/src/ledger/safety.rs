//! Where records are: the least of what receipts prove of their changes.

use std::collections::BTreeMap;

use fieldmesh_model::{BatchId, DocumentId};
use fieldmesh_replica::Proof;
use fieldmesh_store::{Direction, KeyRange, Tree};

use crate::api::{Safety, SafetyCounts};
use crate::error::Error;
use crate::rows::{self, ChangeRef, DocumentRow};

use super::Ledger;

/// How many records are where, and what the filter holds back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    pub(crate) counts: SafetyCounts,
    /// Records made here that lie outside of what is exchanged.
    pub(crate) not_sent: u64,
}

/// What the whereabouts were counted from: the view and the receipts.
type Basis = (Option<fieldmesh_store::Place>, u64);

/// The last count, until something changes.
#[derive(Debug, Default)]
pub(super) struct Counted(std::sync::Mutex<Option<(Basis, Whereabouts)>>);

impl Ledger {
    /// Where the changes of one record are.
    pub(super) fn safety(&self, row: &DocumentRow) -> Safety {
        self.safeties(std::slice::from_ref(&row.changes)).pop().unwrap_or_default()
    }

    /// Where the changes of each record are.
    pub(super) fn safeties(&self, records: &[Vec<ChangeRef>]) -> Vec<Safety> {
        let batches: Vec<Vec<Option<BatchId>>> = records
            .iter()
            .map(|changes| changes.iter().map(|it| self.places.batch_at(it.place)).collect())
            .collect();
        let proofs = self.proofs(batches.iter().flatten().flatten().copied());
        let of = |batch: &Option<BatchId>| {
            let proof = batch.and_then(|id| proofs.get(&id).copied());
            proof.map_or(Safety::Here, safety)
        };
        batches.iter().map(|batches| batches.iter().map(of).min().unwrap_or_default()).collect()
    }

    /// How many records are where.
    pub(crate) fn whereabouts(&self) -> Result<Whereabouts, Error> {
        let version = self.mesh.get().map_or(0, |mesh| mesh.proofs_version());
        let basis = (self.projector.applied(), version);
        let mut counted = self.counted.0.lock().expect("no holder of this lock panics");
        if let Some((known, whereabouts)) = *counted
            && known == basis
        {
            return Ok(whereabouts);
        }
        let whereabouts = self.count_whereabouts()?;
        *counted = Some((basis, whereabouts));
        Ok(whereabouts)
    }

    fn count_whereabouts(&self) -> Result<Whereabouts, Error> {
        /// Records whose proofs are asked for together.
        const PAGE: usize = 4_096;
        let mut whereabouts = Whereabouts::default();
        let mut page = Vec::new();
        let range = KeyRange::all();
        for row in rows::scan(self.view(), Tree::Document, range, Direction::Ascending) {
            let row: DocumentRow = rows::decode(&row?.1)?;
            let Some(record) = row.record else { continue };
            if record.device == self.device() && !self.only.admits(&row.scope) {
                whereabouts.not_sent += 1;
            }
            page.push(row.changes);
            if page.len() >= PAGE {
                self.count(&mut whereabouts.counts, &std::mem::take(&mut page));
            }
        }
        self.count(&mut whereabouts.counts, &page);
        Ok(whereabouts)
    }

    fn count(&self, counts: &mut SafetyCounts, page: &[Vec<ChangeRef>]) {
        self.safeties(page).into_iter().for_each(|safety| counts.count(safety));
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
        Ok(self.row(id)?.map_or(Safety::Here, |row| self.safety(&row)))
    }
}

const fn safety(proof: Proof) -> Safety {
    match proof {
        Proof { is_safe: true, .. } => Safety::Relay,
        Proof { devices: 0, .. } => Safety::Here,
        Proof { devices, .. } => Safety::Devices(devices),
    }
}

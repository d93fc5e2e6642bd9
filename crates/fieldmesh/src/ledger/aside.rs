//! Batches that are kept and do not count: whose, why, and what can be done about it.

use std::collections::BTreeMap;

use fieldmesh_batch::Batch;
use fieldmesh_identity::{Policy, Standing};
use fieldmesh_model::{BatchId, DeviceId};
use fieldmesh_store::{Direction, KeyRange, Tree};

use crate::api::{AsideBatch, ConflictReport};
use crate::changes::Closure;
use crate::error::Error;
use crate::places::read_batch;
use crate::rows::{self, RecordRow};

use super::Ledger;
use super::inbox::{KIND_QUARANTINE, item};
use super::query::Names;

impl Ledger {
    /// The batches that do not count, as the view knows them.
    pub(crate) fn aside(&self) -> Result<Vec<BatchId>, Error> {
        let range = KeyRange::prefix(rows::ASIDE_PREFIX);
        let keys = rows::keys(self.view(), Tree::Meta, range, Direction::Ascending);
        keys.filter_map(|key| key.map(|key| rows::aside_id(&key)).transpose()).collect()
    }

    /// How many batches of each device do not count.
    pub(crate) fn aside_by_device(&self) -> Result<BTreeMap<DeviceId, u64>, Error> {
        let mut counts = BTreeMap::new();
        for batch in self.read_aside()? {
            *counts.entry(batch.header().author).or_default() += 1;
        }
        Ok(counts)
    }

    /// The batches that do not count and lie here whole.
    pub(super) fn read_aside(&self) -> Result<Vec<Batch>, Error> {
        let places = self.aside()?.into_iter().filter_map(|id| self.places.find(&id));
        let mut batches = Vec::new();
        for place in places {
            match read_batch(&self.store, place) {
                Ok(batch) => batches.push(batch),
                // `verify` lists it.
                Err(error) => tracing::error!(%error, "a batch is passed over"),
            }
        }
        Ok(batches)
    }

    /// A batch that does not count, as an item of the inbox; none where it lies here no more.
    pub(super) fn batch_aside(
        &self,
        id: &BatchId,
        names: &mut Names,
    ) -> Result<Option<ConflictReport>, Error> {
        let Some(place) = self.places.find(id) else { return Ok(None) };
        match read_batch(&self.store, place) {
            Ok(batch) => Ok(Some(self.report_aside(&batch, &self.policy(), names))),
            // `verify` lists it.
            Err(error) => {
                tracing::error!(%error, "a batch is passed over");
                Ok(None)
            }
        }
    }

    /// What people call the first record of a batch that does not count. The view may not have the
    /// record, so it is read with the changes of the batch.
    fn name_aside(&self, batch: &Batch, names: &mut Names) -> Option<String> {
        let id = batch.leaves().iter().find(|leaf| !leaf.is_erased())?.document;
        if let Some(name) = names.of(self, id) {
            return Some(name);
        }
        let mut closure = match self.row(id).ok()? {
            Some(row) => Closure::read_readable(&self.store, &row.changes, self.device()).0,
            None => Closure::default(),
        };
        for leaf in batch.leaves().iter().filter(|leaf| leaf.document == id) {
            let peeked = fieldmesh_document::peek(&leaf.change).ok()?;
            closure.insert(peeked, batch.header().author, leaf.change.clone());
        }
        let schema = self.schema(batch.header().scope.collection);
        let document = closure.document(id, &self.policy()).ok()?;
        let record = RecordRow::of(&document, &schema).ok()?;
        names.of_unshown(self, &schema, &record)
    }

    fn report_aside(&self, batch: &Batch, policy: &Policy, names: &mut Names) -> ConflictReport {
        let header = batch.header();
        let mut left = batch.leaves().iter().filter(|leaf| !leaf.is_erased());
        let record = left.next().map(|leaf| leaf.document).unwrap_or_default();
        let device_name = policy.known(&header.author).map(|known| known.name.clone());
        let device = device_name.clone().unwrap_or_else(|| header.author.short());
        let id = batch.id();
        let advice = format!(
            "an admin can let it count again: fieldmesh devices adopt {device:?} {}",
            id.short()
        );
        let collection = self.schema(header.scope.collection).name.clone();
        let name = self.name_aside(batch, names).unwrap_or_else(|| record.short());
        ConflictReport {
            reason: Some(why(policy, batch)),
            batch: Some(AsideBatch {
                batch: id,
                device: header.author,
                device_name,
                at: header.last,
                changes: batch.leaves().len() as u64,
                advice,
            }),
            ..item(id.to_string(), KIND_QUARANTINE, record, collection, name)
        }
    }
}

/// Why a batch does not count, in words.
fn why(policy: &Policy, batch: &Batch) -> String {
    let header = batch.header();
    match policy.standing(&header.author, &header.scope) {
        Standing::Refused(refusal) => refusal.to_string(),
        Standing::Within => {
            let reason = policy.revocation(&header.author).map(|it| it.reason.trim().to_owned());
            match reason.filter(|reason| !reason.is_empty()) {
                Some(reason) => format!("its device was revoked ({reason}) before this was known"),
                None => "its device was revoked before this was known".into(),
            }
        }
        Standing::Counts => "the signature that vouches for it has not arrived so far".into(),
    }
}

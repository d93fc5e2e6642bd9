//! The receipts that are kept, as the log has them up to the entry at hand.

use std::collections::BTreeMap;

use fieldmesh_batch::Receipt;
use fieldmesh_model::{DeviceId, StoreId};
use fieldmesh_store::{Direction, KeyRange, Tree, View, WriteSet};

use crate::error::Error;
use crate::rows;

/// Receipts of one signer that are kept. What older ones prove is asked for again at the next
/// meeting.
const RECEIPTS_MAX: usize = 128;

/// The receipts that are kept: those of the view, and what this step has changed of them.
pub(super) struct Receipts<'a> {
    view: &'a View,
    changed: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'a> Receipts<'a> {
    pub(super) const fn new(view: &'a View) -> Self {
        Self { view, changed: BTreeMap::new() }
    }

    /// Keeps a receipt, and lets the oldest of its signer go where they are too many.
    pub(super) fn keep(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        let Ok(receipt) = Receipt::decode(&bytes) else { return Ok(()) };
        let key = rows::receipt_key(receipt.signer, receipt.at, &bytes);
        self.changed.insert(key, Some(bytes));
        let known = self.of(receipt.signer)?;
        let surplus = known.len().saturating_sub(RECEIPTS_MAX);
        for key in known.into_keys().take(surplus) {
            self.changed.insert(key, None);
        }
        Ok(())
    }

    /// Drops what a store acknowledged before it was restored for the `epoch`th time.
    pub(super) fn void(
        &mut self,
        device: DeviceId,
        store: StoreId,
        epoch: u64,
    ) -> Result<(), Error> {
        for (key, bytes) in self.of(device)? {
            let is_void = Receipt::decode(&bytes)
                .is_ok_and(|receipt| receipt.store == store && receipt.store_epoch < epoch);
            if is_void {
                self.changed.insert(key, None);
            }
        }
        Ok(())
    }

    /// The receipts of one signer, oldest first.
    fn of(&self, signer: DeviceId) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Error> {
        let prefix = rows::receipt_prefix(signer);
        let range = KeyRange::prefix(&prefix);
        let mut known: BTreeMap<Vec<u8>, Vec<u8>> =
            rows::scan(self.view, Tree::Meta, range, Direction::Ascending)
                .collect::<Result<_, _>>()?;
        let changed = self.changed.range(prefix.clone()..);
        for (key, bytes) in changed.take_while(|(key, _)| key.starts_with(&prefix)) {
            match bytes {
                Some(bytes) => known.insert(key.clone(), bytes.clone()),
                None => known.remove(key),
            };
        }
        Ok(known)
    }

    pub(super) fn write(&self, writes: &mut WriteSet) {
        for (key, bytes) in &self.changed {
            match bytes {
                Some(bytes) => writes.put(Tree::Meta, key.clone(), bytes.clone()),
                None => writes.delete(Tree::Meta, key.clone()),
            }
        }
    }
}

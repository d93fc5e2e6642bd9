//! Counts and states of the ledger, for status and devices.

use std::collections::BTreeMap;

use fieldmesh_model::{DeviceId, Moment};
use fieldmesh_store::{Direction, KeyRange, Tree};

use crate::error::Error;
use crate::projection::count_key;
use crate::rows::{self, ChainRow};
use crate::schema;

use super::Ledger;

/// What the chains say of one device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) batches: u64,
    pub(crate) last_change: Option<Moment>,
}

impl Ledger {
    /// Records that are not deleted and stand behind no other one, by collection.
    pub(crate) fn record_counts(&self) -> Result<BTreeMap<String, u64>, Error> {
        let mut counts = BTreeMap::new();
        let policy = self.policy();
        for collection in schema::all(&policy) {
            counts.insert(collection.name.clone(), self.shown_count(collection.number)?);
        }
        // Those of a collection whose definition cannot be read are here all the same.
        for signed in policy.schemas() {
            counts.insert(schema::name(signed), self.shown_count(signed.number())?);
        }
        Ok(counts)
    }

    /// Records of one collection that are not deleted.
    pub(crate) fn record_count(&self, collection: u16) -> Result<u64, Error> {
        let count = rows::find(self.view(), Tree::Meta, &count_key(collection))?;
        Ok(count.unwrap_or(0))
    }

    /// What each device has written, as far as it is here.
    pub(crate) fn outputs(&self) -> Result<BTreeMap<DeviceId, Output>, Error> {
        let mut outputs: BTreeMap<DeviceId, Output> = BTreeMap::new();
        let range = KeyRange::all();
        for row in rows::scan(self.view(), Tree::Chain, range, Direction::Ascending) {
            let (key, value) = row?;
            let Some((device, _, _)) = rows::parse_chain_key(&key) else { continue };
            let row: ChainRow = rows::decode(&value)?;
            let output = outputs.entry(device).or_default();
            output.batches = output.batches.saturating_add(row.sequence);
            output.last_change = output.last_change.max(Some(row.last));
        }
        Ok(outputs)
    }
}

//! Where in the log each batch lies.

use std::collections::BTreeMap;
use std::sync::RwLock;

use fieldmesh_batch::Batch;
use fieldmesh_model::BatchId;
use fieldmesh_store::{Place, Store};

use crate::entry::Entry;
use crate::error::Error;

/// Where in the log each batch lies; shared by those that write and those that read batches.
#[derive(Debug, Default)]
pub(crate) struct Places(RwLock<BTreeMap<BatchId, Place>>);

impl Places {
    pub(crate) fn insert_all(&self, places: impl IntoIterator<Item = (BatchId, Place)>) {
        self.0.write().expect("no holder of this lock panics").extend(places);
    }

    pub(crate) fn find(&self, id: &BatchId) -> Option<Place> {
        self.0.read().expect("no holder of this lock panics").get(id).copied()
    }
}

/// Reads the batch at `place`.
pub(crate) fn read_batch(store: &Store, place: Place) -> Result<Batch, Error> {
    let entry = store.read(place).map_err(|error| Error::store(&error))?;
    match Entry::decode(&entry).map_err(|error| Error::store(&error))? {
        Entry::Batch(bytes) => decode_batch(&bytes),
        Entry::Item(_) | Entry::Change(_) | Entry::Fact(_) => {
            Err(Error::Store { reason: format!("no batch lies at {place:?}") })
        }
    }
}

/// Decodes a batch that this node wrote.
pub(crate) fn decode_batch(bytes: &[u8]) -> Result<Batch, Error> {
    Batch::decode(bytes).map_err(|error| Error::store(&error))
}

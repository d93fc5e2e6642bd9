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
pub(crate) struct Places(RwLock<Both>);

/// Both ways; a batch that was written again lies at several places, the newest one counts.
#[derive(Debug, Default)]
struct Both {
    places: BTreeMap<BatchId, Place>,
    batches: BTreeMap<Place, BatchId>,
}

impl Places {
    pub(crate) fn insert_all(&self, places: impl IntoIterator<Item = (BatchId, Place)>) {
        let mut both = self.0.write().expect("no holder of this lock panics");
        for (id, place) in places {
            let newest = both.places.entry(id).or_insert(place);
            *newest = place.max(*newest);
            both.batches.insert(place, id);
        }
    }

    pub(crate) fn find(&self, id: &BatchId) -> Option<Place> {
        self.0.read().expect("no holder of this lock panics").places.get(id).copied()
    }

    /// The batch at `place`, if one lies there.
    pub(crate) fn batch_at(&self, place: Place) -> Option<BatchId> {
        self.0.read().expect("no holder of this lock panics").batches.get(&place).copied()
    }
}

/// Reads the batch at `place`.
pub(crate) fn read_batch(store: &Store, place: Place) -> Result<Batch, Error> {
    let entry = store.read(place).map_err(|error| Error::store(&error))?;
    match Entry::as_batch(&entry) {
        Some(bytes) => Batch::decode(bytes).map_err(|error| Error::store(&error)),
        None => Err(Error::Store { reason: format!("no batch lies at {place:?}") }),
    }
}

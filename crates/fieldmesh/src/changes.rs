//! Changes as the log has them, and the ones that a change builds on.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_document::Peeked;
use fieldmesh_model::{DeviceId, Epoch};
use fieldmesh_store::Store;

use crate::entry::Entry;
use crate::error::Error;
use crate::places::decode_batch;
use crate::rows::ChangeRef;

/// A change and who wrote it.
pub(crate) struct Source {
    pub(crate) author: DeviceId,
    pub(crate) epoch: Epoch,
    pub(crate) change: Vec<u8>,
}

/// Reads one change from the log; `me` is the author of what no batch holds.
pub(crate) fn read_change(
    store: &Store,
    reference: ChangeRef,
    me: DeviceId,
) -> Result<Source, Error> {
    let entry = store.read(reference.place).map_err(|error| Error::store(&error))?;
    match Entry::decode(&entry).map_err(|error| Error::store(&error))? {
        Entry::Change(local) => Ok(Source { author: me, epoch: local.epoch, change: local.change }),
        Entry::Batch(bytes) => {
            let batch = decode_batch(&bytes)?;
            let (author, epoch) = (batch.header().author, batch.header().epoch);
            let leaf = batch.leaves().get(usize::from(reference.leaf)).ok_or_else(|| {
                Error::Store { reason: format!("a batch in the log lacks leaf {}", reference.leaf) }
            })?;
            Ok(Source { author, epoch, change: leaf.change.clone() })
        }
        Entry::Item(_) | Entry::Fact(_) => {
            Err(Error::Store { reason: format!("no change lies at {:?}", reference.place) })
        }
    }
}

/// Changes of one document by hash, in an order that a document can be loaded from.
#[derive(Debug, Default)]
pub(crate) struct Closure {
    order: Vec<[u8; 32]>,
    changes: BTreeMap<[u8; 32], Known>,
}

/// The bytes of a change, and what it builds on.
#[derive(Debug)]
struct Known {
    bytes: Vec<u8>,
    deps: Vec<[u8; 32]>,
}

impl Closure {
    /// Reads the changes from the log.
    pub(crate) fn read(
        store: &Store,
        references: &[ChangeRef],
        me: DeviceId,
    ) -> Result<Self, Error> {
        let mut closure = Self::default();
        for reference in references {
            let change = read_change(store, *reference, me)?.change;
            let peeked = fieldmesh_document::peek(&change).map_err(|error| Error::store(&error))?;
            closure.insert(peeked, change);
        }
        Ok(closure)
    }

    pub(crate) fn insert(&mut self, peeked: Peeked, change: Vec<u8>) {
        let known = Known { bytes: change, deps: peeked.deps };
        if self.changes.insert(peeked.hash, known).is_none() {
            self.order.push(peeked.hash);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Every change, in order.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &[u8]> {
        self.order.iter().map(|hash| self.changes[hash].bytes.as_slice())
    }

    /// Every change that `deps` reach, in order; `None` if one of them is not here.
    pub(crate) fn reach(&self, deps: &[[u8; 32]]) -> Option<Vec<&[u8]>> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<[u8; 32]> = deps.to_vec();
        while let Some(hash) = next.pop() {
            if reached.insert(hash) {
                next.extend(&self.changes.get(&hash)?.deps);
            }
        }
        let order = self.order.iter().filter(|hash| reached.contains(*hash));
        Some(order.map(|hash| self.changes[hash].bytes.as_slice()).collect())
    }
}

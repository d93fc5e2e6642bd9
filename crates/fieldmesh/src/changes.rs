//! Changes as the log has them, and the ones that a change builds on.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_document::gate::{Excluded, Rival, select};
use fieldmesh_document::{Document, Peeked};
use fieldmesh_model::{DeviceId, DocumentId, Epoch, Scope};
use fieldmesh_store::Store;

use crate::entry::Entry;
use crate::error::Error;
use crate::places::decode_batch;
use crate::rows::ChangeRef;

/// A change and who wrote it.
pub(crate) struct Source {
    pub(crate) author: DeviceId,
    pub(crate) epoch: Epoch,
    /// The scope under which it travels.
    pub(crate) scope: Scope,
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
        Entry::Change(local) => {
            Ok(Source { author: me, epoch: local.epoch, scope: local.scope, change: local.change })
        }
        Entry::Batch(bytes) => {
            let batch = decode_batch(&bytes)?;
            let fieldmesh_batch::Header { author, epoch, scope, .. } = *batch.header();
            let leaf = batch.leaves().get(usize::from(reference.leaf)).ok_or_else(|| {
                Error::Store { reason: format!("a batch in the log lacks leaf {}", reference.leaf) }
            })?;
            Ok(Source { author, epoch, scope, change: leaf.change.clone() })
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

#[derive(Debug)]
struct Known {
    author: DeviceId,
    bytes: Vec<u8>,
    peeked: Peeked,
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
            let Source { author, change, .. } = read_change(store, *reference, me)?;
            let peeked = fieldmesh_document::peek(&change).map_err(|error| Error::store(&error))?;
            closure.insert(peeked, author, change);
        }
        Ok(closure)
    }

    pub(crate) fn insert(&mut self, peeked: Peeked, author: DeviceId, change: Vec<u8>) {
        let hash = peeked.hash;
        if self.changes.insert(hash, Known { author, bytes: change, peeked }).is_none() {
            self.order.push(hash);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The root change that counts: the earliest, then the smallest by hash.
    pub(crate) fn root(&self) -> Option<[u8; 32]> {
        let roots = self.changes.iter().filter(|(_, known)| known.peeked.deps.is_empty());
        roots.min_by_key(|(hash, known)| (known.peeked.at, **hash)).map(|(hash, _)| *hash)
    }

    /// Every change that `deps` reach, in order; `None` if one of them is not here.
    pub(crate) fn reach(&self, deps: &[[u8; 32]]) -> Option<Vec<&[u8]>> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<[u8; 32]> = deps.to_vec();
        while let Some(hash) = next.pop() {
            if reached.insert(hash) {
                next.extend(&self.changes.get(&hash)?.peeked.deps);
            }
        }
        let order = self.order.iter().filter(|hash| reached.contains(*hash));
        Some(order.map(|hash| self.changes[hash].bytes.as_slice()).collect())
    }

    /// The changes that do not count although each of them is right: an author signed two for one
    /// place, and these lost, or build on one that did.
    pub(crate) fn excluded(&self) -> BTreeMap<[u8; 32], Excluded> {
        let mut places = BTreeSet::new();
        let mut known = self.changes.values().map(|known| &known.peeked);
        if known.all(|peeked| places.insert((&peeked.actor, peeked.seq))) {
            return BTreeMap::new();
        }
        let rivals: Vec<Rival<'_>> = self
            .changes
            .values()
            .map(|known| Rival { change: &known.peeked, author: known.author, is_pinned: false })
            .collect();
        select(&rivals)
    }

    /// The document of all changes that count.
    pub(crate) fn document(&self, id: DocumentId) -> Result<Document, Error> {
        let excluded = self.excluded();
        let counting = self.order.iter().filter(|hash| !excluded.contains_key(*hash));
        Document::load(id, counting.map(|hash| self.changes[hash].bytes.as_slice()))
            .map_err(|error| Error::store(&error))
    }
}

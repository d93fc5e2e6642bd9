//! Changes as the log has them, and the ones that a change builds on.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::{Batch, Header, Leaf};
use fieldmesh_document::gate::{Excluded, Rival, select};
use fieldmesh_document::{Document, Peeked};
use fieldmesh_identity::Policy;
use fieldmesh_model::{BatchId, DeviceId, DocumentId, Epoch, Moment, Scope};
use fieldmesh_store::{ReadError, Store};

use crate::entry::{Entry, LocalChange};
use crate::error::{Error, with_causes};
use crate::rows::ChangeRef;

/// A change and who wrote it.
pub(crate) struct Source {
    pub(crate) author: DeviceId,
    pub(crate) epoch: Epoch,
    /// The scope under which it travels.
    pub(crate) scope: Scope,
    /// The batch that holds it; none while it waits to be sealed.
    pub(crate) batch: Option<BatchId>,
    pub(crate) change: Vec<u8>,
}

impl Source {
    /// A leaf of `batch`.
    pub(crate) fn of_leaf(batch: &Batch, leaf: &Leaf) -> Self {
        let Header { author, epoch, scope, .. } = *batch.header();
        Self { author, epoch, scope, batch: Some(batch.id()), change: leaf.change.clone() }
    }

    /// A change that no batch holds; `me` wrote it.
    pub(crate) fn of_local(local: LocalChange, me: DeviceId) -> Self {
        let LocalChange { scope, epoch, change, .. } = local;
        Self { author: me, epoch, scope, batch: None, change }
    }
}

/// Reads one change from the log; `me` is the author of what no batch holds.
pub(crate) fn read_change(
    store: &Store,
    reference: ChangeRef,
    me: DeviceId,
) -> Result<Source, Error> {
    let entry = store.read(reference.place).map_err(|error| unreadable(&error))?;
    // The frame has kept the batch as it was decoded when it came; a copy of all its leaves, and
    // their hashes again, would cost more than whatever one of them is read for.
    if let Some(bytes) = Entry::as_batch(&entry) {
        let leaf = Batch::decode_leaf(bytes, usize::from(reference.leaf));
        let (header, id, leaf) = leaf.map_err(|error| Error::store(&error))?;
        let Header { author, epoch, scope, .. } = header;
        return Ok(Source { author, epoch, scope, batch: Some(id), change: leaf.change });
    }
    match Entry::decode(&entry).map_err(|error| Error::store(&error))? {
        Entry::Change(local) => Ok(Source::of_local(local, me)),
        Entry::Batch(_) | Entry::Item(_) | Entry::Fact(_) | Entry::Note(_) => {
            Err(Error::Store { reason: format!("no change lies at {:?}", reference.place) })
        }
    }
}

/// Why a change cannot be read, and where it says what can be done.
fn unreadable(error: &ReadError) -> Error {
    let reason = with_causes(error);
    Error::Store { reason: format!("{reason}; `fieldmesh doctor` says what can be done") }
}

/// What stands for a record as it reads with these changes, in whatever order they came.
pub(crate) fn version(changes: &[ChangeRef]) -> String {
    version_of(changes.iter().map(|change| change.hash).collect())
}

/// The same with further changes, of which some may be among them.
pub(crate) fn version_with(changes: &[ChangeRef], more: impl Iterator<Item = [u8; 8]>) -> String {
    version_of(changes.iter().map(|change| change.hash).chain(more).collect())
}

fn version_of(hashes: BTreeSet<[u8; 8]>) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/record-version/1");
    for hash in hashes {
        hasher.update(&hash);
    }
    hasher.finalize().to_hex().chars().take(VERSION_LENGTH).collect()
}

/// The letters of a version.
const VERSION_LENGTH: usize = 32;

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
        match Self::read_readable(store, references, me) {
            (closure, None) => Ok(closure),
            (_, Some(error)) => Err(error),
        }
    }

    /// Reads from the log what of the changes can be read, and says what the first other lacks.
    pub(crate) fn read_readable(
        store: &Store,
        references: &[ChangeRef],
        me: DeviceId,
    ) -> (Self, Option<Error>) {
        let (mut closure, mut damage) = (Self::default(), None);
        for reference in references {
            let read = read_change(store, *reference, me).and_then(|source| {
                let peeked = fieldmesh_document::peek(&source.change);
                Ok((peeked.map_err(|error| Error::store(&error))?, source))
            });
            match read {
                Ok((peeked, source)) => closure.insert(peeked, source.author, source.change),
                Err(error) => damage = damage.or(Some(error)),
            }
        }
        (closure, damage)
    }

    pub(crate) fn insert(&mut self, peeked: Peeked, author: DeviceId, change: Vec<u8>) {
        let hash = peeked.hash;
        if self.changes.insert(hash, Known { author, bytes: change, peeked }).is_none() {
            self.order.push(hash);
        }
    }

    /// Adds a change that was made a moment ago.
    pub(crate) fn add(&mut self, change: &[u8], author: DeviceId) {
        if let Ok(peeked) = fieldmesh_document::peek(change) {
            self.insert(peeked, author, change.to_vec());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// What stands for these changes, and `next` if there is one, as [`version`] does for a row's.
    pub(crate) fn version(&self, next: Option<&[u8]>) -> String {
        let next = next.and_then(|change| fieldmesh_document::peek(change).ok());
        let hashes = self.order.iter().copied().chain(next.map(|peeked| peeked.hash));
        version_of(hashes.filter_map(|hash| hash.first_chunk().copied()).collect())
    }

    /// Who wrote each of the changes.
    pub(crate) fn authors(&self) -> BTreeMap<[u8; 32], DeviceId> {
        self.changes.iter().map(|(hash, known)| (*hash, known.author)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The root change that counts: the earliest, then the smallest by hash.
    pub(crate) fn root(&self) -> Option<[u8; 32]> {
        let roots = self.changes.iter().filter(|(_, known)| known.peeked.deps.is_empty());
        roots.min_by_key(|(hash, known)| (known.peeked.at, **hash)).map(|(hash, _)| *hash)
    }

    /// The change with the latest time, then the largest hash, and who wrote it.
    pub(crate) fn newest(&self) -> Option<([u8; 32], DeviceId)> {
        let newest = self.changes.iter().max_by_key(|(hash, known)| (known.peeked.at, **hash));
        newest.map(|(hash, known)| (*hash, known.author))
    }

    /// Every change that `deps` reach, in order.
    ///
    /// # Errors
    ///
    /// The hash of one of them that is not here.
    pub(crate) fn reach(&self, deps: &[[u8; 32]]) -> Result<Vec<&[u8]>, [u8; 32]> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<[u8; 32]> = deps.to_vec();
        while let Some(hash) = next.pop() {
            if reached.insert(hash) {
                next.extend(&self.changes.get(&hash).ok_or(hash)?.peeked.deps);
            }
        }
        let order = self.order.iter().filter(|hash| reached.contains(*hash));
        Ok(order.map(|hash| self.changes[hash].bytes.as_slice()).collect())
    }

    /// The changes that do not count although each of them is right: an author signed two for one
    /// place, and these lost, or build on one that did.
    pub(crate) fn excluded(&self, id: DocumentId, policy: &Policy) -> BTreeMap<[u8; 32], Excluded> {
        let mut places = BTreeSet::new();
        let mut known = self.changes.values().map(|known| &known.peeked);
        if known.all(|peeked| places.insert((&peeked.actor, peeked.seq))) {
            return BTreeMap::new();
        }
        let is_pinned = |change: &Peeked| {
            let actor = <[u8; 16]>::try_from(change.actor.as_slice());
            actor.is_ok_and(|actor| policy.is_pinned(&id, &actor, change.seq, &change.hash))
        };
        let rivals: Vec<Rival<'_>> = self
            .changes
            .values()
            .map(|Known { author, peeked, .. }| Rival {
                change: peeked,
                author: *author,
                is_pinned: is_pinned(peeked),
            })
            .collect();
        select(&rivals)
    }

    /// The document of those changes that count and were made until `at`, without what builds on
    /// later ones; none if the record was not there by then.
    pub(crate) fn document_at(
        &self,
        id: DocumentId,
        policy: &Policy,
        at: Moment,
    ) -> Result<Option<Document>, Error> {
        let excluded = self.excluded(id, policy);
        let mut known = BTreeSet::new();
        for hash in &self.order {
            let peeked = &self.changes[hash].peeked;
            let is_whole = peeked.deps.iter().all(|dep| known.contains(dep));
            if peeked.at <= at && is_whole && !excluded.contains_key(hash) {
                known.insert(*hash);
            }
        }
        if known.is_empty() {
            return Ok(None);
        }
        let counting = self.order.iter().filter(|hash| known.contains(*hash));
        Document::load(id, counting.map(|hash| self.changes[hash].bytes.as_slice()))
            .map(Some)
            .map_err(|error| Error::store(&error))
    }

    /// The document of all changes that count.
    pub(crate) fn document(&self, id: DocumentId, policy: &Policy) -> Result<Document, Error> {
        let excluded = self.excluded(id, policy);
        let counting = self.order.iter().filter(|hash| !excluded.contains_key(*hash));
        Document::load(id, counting.map(|hash| self.changes[hash].bytes.as_slice()))
            .map_err(|error| Error::store(&error))
    }
}

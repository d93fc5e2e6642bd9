//! One step from the log to the view: entries in, rows out.
//!
//! The rows are a deterministic function of the entries and the policy. Applying an entry twice
//! changes nothing, because the position is written behind the rows and a crash may come between.

mod index;
mod touched;

use std::collections::BTreeMap;
use std::sync::Arc;

use fieldmesh_batch::{Batch, Header};
use fieldmesh_identity::Policy;
use fieldmesh_model::{DeviceId, DocumentId, Scope};
use fieldmesh_store::{Place, Store, Tree, View, WriteSet};

use crate::changes::Source;
use crate::entry::{Entry, Fact, LocalChange};
use crate::error::Error;
use crate::rows::{self, ChainRow, ChangeRef, QuarantineRow, RecordRow};
use crate::schema;

pub(crate) use self::index::{field_hash, is_indexed};
use self::touched::{Arrival, Done, Refused};

/// Threads that work on documents at the same time.
const CORES_MAX: usize = 4;
/// Fewer documents than this are not worth a thread.
const SHARE_MIN: usize = 16;

/// What a projection reads.
pub(crate) struct Sources<'a> {
    pub(crate) store: &'a Store,
    pub(crate) policy: Arc<Policy>,
    /// This device, the author of unsealed changes.
    pub(crate) me: DeviceId,
    /// A relay that only forwards opens no documents.
    pub(crate) forward_only: bool,
}

/// A document and what has arrived for it.
struct Work {
    id: DocumentId,
    scope: Scope,
    arrivals: Vec<Arrival>,
}

/// Rows that are being made.
pub(crate) struct Projection<'a> {
    sources: &'a Sources<'a>,
    view: &'a View,
    documents: BTreeMap<DocumentId, (Scope, Vec<Arrival>)>,
    counts: BTreeMap<u16, i64>,
    chains: BTreeMap<Vec<u8>, ChainRow>,
    writes: WriteSet,
    changes: usize,
}

impl<'a> Projection<'a> {
    pub(crate) fn new(sources: &'a Sources<'a>) -> Self {
        Self {
            sources,
            view: sources.store.view(),
            documents: BTreeMap::new(),
            counts: BTreeMap::new(),
            chains: BTreeMap::new(),
            writes: WriteSet::default(),
            changes: 0,
        }
    }

    /// How many changes were applied; a caller ends the step before it grows large.
    pub(crate) fn changes(&self) -> usize {
        self.changes
    }

    /// Applies one entry of the log.
    pub(crate) fn apply(&mut self, place: Place, entry: Entry) -> Result<(), Error> {
        self.changes += 1;
        match entry {
            Entry::Item(bytes) => {
                let key = blake3::hash(&bytes);
                self.writes.put(Tree::Item, key.as_bytes().to_vec(), rows::encode(&place));
                Ok(())
            }
            Entry::Batch(bytes) => match Batch::decode(&bytes) {
                Ok(batch) => self.apply_batch(place, &batch),
                Err(error) => {
                    tracing::error!(?place, %error, "a batch in the log cannot be decoded");
                    Ok(())
                }
            },
            Entry::Change(local) => {
                self.apply_local(place, &local);
                Ok(())
            }
            Entry::Fact(fact) => {
                self.writes.put(Tree::Meta, fact_key(&fact).to_vec(), rows::encode(&fact));
                Ok(())
            }
        }
    }

    /// Writes every row and then the position behind the last entry.
    pub(crate) fn finish(mut self, applied: Place) -> Result<(), Error> {
        for done in self.merge()? {
            self.write(done);
        }
        for (collection, change) in std::mem::take(&mut self.counts) {
            let key = count_key(collection);
            let before: u64 = rows::find(self.view, Tree::Meta, &key)?.unwrap_or(0);
            let after = before.saturating_add_signed(change);
            self.writes.put(Tree::Meta, key, rows::encode(&after));
        }
        self.writes.set_applied(applied);
        self.view.apply(self.writes).map_err(|error| Error::store(&error))
    }

    fn apply_batch(&mut self, place: Place, batch: &Batch) -> Result<(), Error> {
        let header = batch.header();
        self.writes.put(Tree::Leaf, batch.key_bytes().to_vec(), rows::encode(&place));
        self.apply_chain(batch, header)?;
        if self.sources.forward_only {
            return Ok(());
        }
        let own = header.author == self.sources.me;
        for (index, leaf) in batch.leaves().iter().enumerate() {
            self.changes += 1;
            let leaf_number = u16::try_from(index).expect("a batch holds at most 64 leaves");
            let source = Source {
                author: header.author,
                epoch: header.epoch,
                scope: header.scope,
                change: leaf.change.clone(),
            };
            let origin = (place, leaf_number);
            let hash = self.arrive(leaf.document, header.scope, origin, source);
            if let (true, Some(hash)) = (own, hash) {
                self.writes.delete(Tree::Meta, rows::unsealed_key(leaf.document, hash));
            }
        }
        Ok(())
    }

    fn apply_chain(&mut self, batch: &Batch, header: &Header) -> Result<(), Error> {
        let key = rows::chain_key(header.author, header.epoch, header.scope);
        let known = match self.chains.get(&key) {
            Some(row) => Some(*row),
            None => rows::find(self.view, Tree::Chain, &key)?,
        };
        if known.is_none_or(|row| row.sequence <= header.sequence) {
            let row = ChainRow { sequence: header.sequence, head: batch.id(), last: header.last };
            self.writes.put(Tree::Chain, key.clone(), rows::encode(&row));
            self.chains.insert(key, row);
        }
        Ok(())
    }

    fn apply_local(&mut self, place: Place, local: &LocalChange) {
        let source = Source {
            author: self.sources.me,
            epoch: local.epoch,
            scope: local.scope,
            change: local.change.clone(),
        };
        let hash = self.arrive(local.document, local.scope, (place, 0), source);
        if let Some(hash) = hash {
            let key = rows::unsealed_key(local.document, hash);
            self.writes.put(Tree::Meta, key, rows::encode(&place));
        }
    }

    /// Lines one change up for its document; gives the start of its hash if it can be read.
    fn arrive(
        &mut self,
        id: DocumentId,
        scope: Scope,
        (place, leaf): (Place, u16),
        source: Source,
    ) -> Option<[u8; 8]> {
        let Ok(peeked) = fieldmesh_document::peek(&source.change) else {
            let reason = "the change cannot be read".into();
            let reference = ChangeRef { place, leaf, hash: [0; 8] };
            self.quarantine(id, scope, Refused { reference, author: source.author, reason });
            return None;
        };
        let hash = *peeked.hash.first_chunk().expect("32 bytes have a first eight");
        let reference = ChangeRef { place, leaf, hash };
        let (_, arrivals) = self.documents.entry(id).or_insert_with(|| (scope, Vec::new()));
        arrivals.push(Arrival { reference, source });
        Some(hash)
    }

    /// Works on every document that changes have arrived for, on all cores.
    fn merge(&mut self) -> Result<Vec<Done>, Error> {
        let work: Vec<Work> = std::mem::take(&mut self.documents)
            .into_iter()
            .map(|(id, (scope, arrivals))| Work { id, scope, arrivals })
            .collect();
        let sources = self.sources;
        let one = |work: Work| touched::apply(work.id, work.scope, work.arrivals, sources);
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(CORES_MAX);
        let share = work.len().div_ceil(cores).max(SHARE_MIN);
        if work.len() <= share {
            return work.into_iter().map(one).collect();
        }
        let mut shares = Vec::new();
        let mut rest = work.into_iter();
        while rest.len() > 0 {
            shares.push(rest.by_ref().take(share).collect::<Vec<_>>());
        }
        std::thread::scope(|scope| {
            let workers: Vec<_> = shares
                .into_iter()
                .map(|share| scope.spawn(|| share.into_iter().map(one).collect::<Vec<_>>()))
                .collect();
            workers
                .into_iter()
                .flat_map(|worker| match worker.join() {
                    Ok(done) => done,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect()
        })
    }

    /// Writes a document's row and the index entries that changed.
    fn write(&mut self, done: Done) {
        let Done { id, row, before, refused } = done;
        let collection = row.scope.collection;
        for refused in refused {
            self.quarantine(id, row.scope, refused);
        }
        self.writes.put(Tree::Document, id.as_bytes().to_vec(), rows::encode(&row));
        let live = |record: Option<&RecordRow>| i64::from(record.is_some_and(|row| !row.deleted));
        let (before, after) = (before.as_ref(), row.record.as_ref());
        *self.counts.entry(collection).or_default() += live(after) - live(before);
        let schema = schema::numbered(collection);
        index::update(&schema, id, self.sources.store, before, after, &mut self.writes);
    }

    fn quarantine(&mut self, id: DocumentId, scope: Scope, refused: Refused) {
        let Refused { reference, author, reason } = refused;
        tracing::warn!(document = %id.short(), author = %author.short(), reason, "quarantined");
        let key = rows::encode(&(reference.place, reference.leaf));
        let row = QuarantineRow { document: id, collection: scope.collection, author, reason };
        self.writes.put(Tree::Quarantine, key, rows::encode(&row));
    }
}

/// The key of a fact in [`Tree::Meta`].
pub(crate) const fn fact_key(fact: &Fact) -> &'static [u8] {
    match fact {
        Fact::Epoch(_) => b"fact/epoch",
        Fact::Invitations(_) => b"fact/invitations",
        Fact::Addresses(_) => b"fact/addresses",
        Fact::LastSync(_) => b"fact/last-sync",
        Fact::Damage(_) => b"fact/damage",
        Fact::Found(_) => b"fact/found",
    }
}

/// The key of the number of records of a collection in [`Tree::Meta`].
pub(crate) fn count_key(collection: u16) -> Vec<u8> {
    let mut key = b"count/".to_vec();
    key.extend_from_slice(&collection.to_be_bytes());
    key
}

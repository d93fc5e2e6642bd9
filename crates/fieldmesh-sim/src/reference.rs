//! What records should look like, from plain sets and maps: no document, no merge.
//!
//! A write is over when another one that counts has seen it; the writes that are not over are the
//! values of a field.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::Batch;
use fieldmesh_document::peek;
use fieldmesh_model::{DocumentId, Value};

use crate::notebook::{Hash, Work};

/// Every write of every device of a tenant.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    writes: BTreeMap<Hash, Work>,
    /// The changes whose batches became durable at their author.
    durable: BTreeSet<Hash>,
}

impl Reference {
    /// A device has written something.
    pub(crate) fn wrote(&mut self, work: Work) {
        self.writes.insert(work.hash, work);
    }

    /// The batch became durable at its author.
    pub(crate) fn kept(&mut self, batch: &Batch) {
        let hashes = batch.leaves().iter().filter_map(|leaf| peek(&leaf.change).ok());
        self.durable.extend(hashes.map(|peeked| peeked.hash));
    }

    /// Every record that anything is known of.
    pub(crate) fn documents(&self) -> BTreeSet<DocumentId> {
        self.durable
            .iter()
            .filter_map(|hash| self.writes.get(hash))
            .map(|work| work.document)
            .collect()
    }

    /// The changes of a record that count everywhere.
    pub(crate) fn counting(&self, document: &DocumentId) -> BTreeSet<Hash> {
        self.of(document).filter(|work| self.counts(work)).map(|work| work.hash).collect()
    }

    /// The changes of a record that lack something for ever.
    pub(crate) fn orphans(&self, document: &DocumentId) -> BTreeSet<Hash> {
        self.of(document).filter(|work| !self.counts(work)).map(|work| work.hash).collect()
    }

    /// How many changes lack something for ever, over all records.
    pub(crate) fn orphans_count(&self) -> usize {
        self.documents().iter().map(|document| self.orphans(document).len()).sum()
    }

    /// The different values of a field that nobody has overwritten knowingly.
    pub(crate) fn values(&self, document: &DocumentId, field: &str) -> Vec<Value> {
        let writes = |work: &&Work| work.writes.iter().any(|(key, _)| *key == field);
        let counting: Vec<&Work> =
            self.of(document).filter(|work| self.counts(work)).filter(writes).collect();
        let is_over = |one: &Work| counting.iter().any(|other| other.seen.contains(&one.hash));
        let mut values: Vec<Value> = Vec::new();
        for work in counting.iter().filter(|work| !is_over(work)) {
            for (key, value) in &work.writes {
                if *key == field && !values.contains(value) {
                    values.push(value.clone());
                }
            }
        }
        values
    }

    fn of<'a>(&'a self, document: &'a DocumentId) -> impl Iterator<Item = &'a Work> {
        let durable = self.durable.iter().filter_map(|hash| self.writes.get(hash));
        durable.filter(move |work| work.document == *document)
    }

    fn counts(&self, work: &Work) -> bool {
        work.seen.is_subset(&self.durable)
    }
}

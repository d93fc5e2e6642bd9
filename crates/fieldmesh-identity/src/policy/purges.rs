//! What was purged, and who said so.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::{DocumentId, ItemId, Moment};

use super::Rank;
use crate::Item;
use crate::statement::Purge;

/// Who purged a document, when and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// The public key that signed the purge.
    pub by: [u8; 32],
    /// When, by the clock of whoever signed it.
    pub at: Moment,
    /// Why; may be empty.
    pub reason: String,
    rank: Rank,
    item: ItemId,
}

/// What the purges that count add up to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Purges {
    documents: BTreeMap<DocumentId, Purged>,
    leaves: BTreeSet<[u8; 32]>,
}

impl Purges {
    /// Takes in what an `item` that counts says.
    pub(super) fn add(&mut self, rank: Rank, item: &Item, purge: &Purge) {
        self.leaves.extend(&purge.leaves);
        let said = Purged {
            by: *item.signer(),
            at: purge.at,
            reason: purge.reason.clone(),
            rank,
            item: item.id(),
        };
        match self.documents.get(&purge.document) {
            Some(known) if !said.goes_before(known) => {}
            _ => {
                self.documents.insert(purge.document, said);
            }
        }
    }

    pub(super) fn of(&self, document: &DocumentId) -> Option<&Purged> {
        self.documents.get(document)
    }

    pub(super) fn names(&self, leaf: &[u8; 32]) -> bool {
        self.leaves.contains(leaf)
    }

    pub(super) fn leaves(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.leaves.iter()
    }

    pub(super) fn documents(&self) -> impl Iterator<Item = DocumentId> + '_ {
        self.documents.keys().copied()
    }
}

impl Purged {
    /// Whether this is what is shown rather than `other`.
    fn goes_before(&self, other: &Self) -> bool {
        (self.rank, other.at, other.item) > (other.rank, self.at, self.item)
    }
}

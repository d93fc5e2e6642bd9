//! What a node holds in memory for its peers, counted where the replica meets its shell.

use std::collections::BTreeMap;

use fieldmesh_replica::LinkId;

/// Bytes that a node holds because of its peers.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Received and not yet durable.
    pub(crate) unstored: usize,
    /// Bytes read from the disk for each link that have not left.
    unsent: BTreeMap<LinkId, usize>,
    /// The most of all at one time.
    pub(crate) most: usize,
}

impl Meter {
    pub(crate) fn storing(&mut self, bytes: usize) {
        self.unstored += bytes;
        self.note();
    }

    pub(crate) fn stored(&mut self, bytes: usize) {
        self.unstored = self.unstored.saturating_sub(bytes);
    }

    pub(crate) fn sending(&mut self, link: LinkId, bytes: usize) {
        *self.unsent.entry(link).or_default() += bytes;
        self.note();
    }

    pub(crate) fn left(&mut self, link: LinkId, bytes: usize) {
        if let Some(unsent) = self.unsent.get_mut(&link) {
            *unsent = unsent.saturating_sub(bytes);
        }
    }

    /// The link is gone, with what waited for it.
    pub(crate) fn forget(&mut self, link: LinkId) {
        self.unsent.remove(&link);
    }

    /// What waits to leave over one link.
    pub(crate) fn unsent(&self, link: LinkId) -> usize {
        self.unsent.get(&link).copied().unwrap_or(0)
    }

    fn note(&mut self) {
        self.most = self.most.max(self.unstored + self.unsent.values().sum::<usize>());
    }
}

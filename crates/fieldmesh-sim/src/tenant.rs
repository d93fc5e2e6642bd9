//! One tenant: its authority, and the plain sets with which its replicas are compared.

use std::collections::BTreeSet;

use fieldmesh_identity::ItemError;
use fieldmesh_trie::Key;

use crate::office::Office;
use crate::random::Random;
use crate::reference::Reference;

/// A tenant and what its nodes should hold.
pub(crate) struct Tenant {
    pub(crate) office: Office,
    /// Every batch that became durable where it was made.
    pub(crate) made: BTreeSet<Key>,
    /// How many of these everybody held in the morning.
    pub(crate) common: usize,
    /// What the records should look like.
    pub(crate) reference: Reference,
}

impl Tenant {
    pub(crate) fn open(random: &mut Random) -> Result<Self, ItemError> {
        Ok(Self {
            office: Office::open(random)?,
            made: BTreeSet::new(),
            common: 0,
            reference: Reference::default(),
        })
    }
}

//! Where the relays of a tenant are found, and who said so.

use std::collections::BTreeMap;

use fieldmesh_model::{DeviceId, ItemId, Moment};

use super::Rank;
use crate::Item;
use crate::statement::RelayAddress;

/// What was said last of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedAddress {
    /// Whose address it is; nobody's once it was taken back.
    pub relay: Option<DeviceId>,
    /// The version of the statement; the next one carries one more.
    pub version: u32,
    /// The public key that signed it.
    pub by: [u8; 32],
    /// When, by the clock of whoever signed it.
    pub at: Moment,
    rank: Rank,
    item: ItemId,
}

/// What the statements that count say of each address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Relays(BTreeMap<String, SignedAddress>);

impl Relays {
    /// Takes in what an `item` that counts says.
    pub(super) fn add(&mut self, rank: Rank, item: &Item, said: &RelayAddress) {
        let signed = SignedAddress {
            relay: said.relay,
            version: said.version,
            by: *item.signer(),
            at: said.at,
            rank,
            item: item.id(),
        };
        match self.0.get(&said.address) {
            Some(known) if !signed.goes_before(known) => {}
            _ => {
                self.0.insert(said.address.clone(), signed);
            }
        }
    }

    pub(super) fn at(&self, address: &str) -> Option<&SignedAddress> {
        self.0.get(address)
    }

    pub(super) fn in_force(&self) -> impl Iterator<Item = (&str, DeviceId, &SignedAddress)> {
        self.0.iter().filter_map(|(address, said)| Some((address.as_str(), said.relay?, said)))
    }
}

impl SignedAddress {
    /// Whether this is what counts rather than `other`.
    fn goes_before(&self, other: &Self) -> bool {
        (self.rank, self.version, other.item) > (other.rank, other.version, self.item)
    }
}

//! What is written again because its first copy is damaged.

use std::sync::Arc;

use fieldmesh_identity::Item;
use fieldmesh_model::DeviceId;
use fieldmesh_replica::LinkId;
use fieldmesh_store::Place;

use crate::clock;
use crate::entry::{Entry, Fact};

use super::MeshTask;

impl MeshTask {
    /// The places of those of `ids` that were lacking, and the word that they are healed.
    pub(super) fn healing(
        &self,
        ids: impl Iterator<Item = [u8; 32]>,
        link: Option<LinkId>,
    ) -> (Vec<Place>, Option<Fact>) {
        let places = self.harms.lacking(ids);
        let from: Option<DeviceId> =
            link.and_then(|link| self.links.get(&link)).map(|link| link.device);
        let healed = Fact::Healed { places: places.clone(), from, at: clock::now() };
        let fact = (!places.is_empty()).then_some(healed);
        (places, fact)
    }

    /// Writes policy items once more: the replica has them all.
    pub(super) fn write_items_again(&self, hashes: &[[u8; 32]]) {
        let items: Vec<&Item> =
            self.replica.items().filter(|item| hashes.contains(&hash_of(item))).collect();
        let (places, fact) = self.healing(items.iter().map(|item| hash_of(item)), None);
        let entries = items.iter().map(|item| Entry::Item(item.encode().to_vec()).encode());
        let facts = fact.into_iter().map(|fact| Entry::Fact(fact).encode());
        let (harms, projector) = (Arc::clone(&self.harms), self.projector.clone());
        self.store.append_with(entries.chain(facts).collect(), move |result| match result {
            Ok(_) => {
                harms.healed(&places);
                projector.wake();
            }
            Err(error) => tracing::error!(%error, "policy items could not be written again"),
        });
    }
}

/// What tells a policy item in the view.
pub(super) fn hash_of(item: &Item) -> [u8; 32] {
    *blake3::hash(item.encode()).as_bytes()
}

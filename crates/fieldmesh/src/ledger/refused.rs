//! Changes that were refused: what each is called, the same on every device that holds it.

use std::collections::BTreeMap;

use fieldmesh_batch::Batch;
use fieldmesh_model::{DeviceId, DocumentId};
use fieldmesh_store::{Direction, KeyRange, Place, Tree};

use crate::changes::read_change;
use crate::error::Error;
use crate::places::read_batch;
use crate::rows::{self, ChangeRef, LOCAL_LEAF, QuarantineRow};

use super::Ledger;
use super::record::hex;

impl Ledger {
    /// The keys of what was refused, by id.
    pub(super) fn refused(&self) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let mut found = BTreeMap::new();
        // The changes of a batch follow each other: it is read once.
        let mut read: Option<(Place, Batch)> = None;
        let all = KeyRange::all();
        for row in rows::scan(self.view(), Tree::Quarantine, all, Direction::Ascending) {
            let (key, value) = row?;
            let QuarantineRow { document, author, .. } = rows::decode(&value)?;
            let (place, leaf): (Place, u16) = rows::decode(&key)?;
            let change = self.refused_change(place, leaf, &mut read);
            // What cannot be read any more is called by where it lies, which is another place on
            // every device.
            let local = || format!("{}-{leaf}", hex(&place.to_bytes()));
            found.insert(
                change.map_or_else(local, |change| refused_id(document, author, &change)),
                key,
            );
        }
        Ok(found)
    }

    fn refused_change(
        &self,
        place: Place,
        leaf: u16,
        read: &mut Option<(Place, Batch)>,
    ) -> Option<Vec<u8>> {
        if leaf == LOCAL_LEAF {
            let reference = ChangeRef { place, leaf, hash: [0; 8] };
            return Some(read_change(&self.store, reference, self.device()).ok()?.change);
        }
        if read.as_ref().is_none_or(|(at, _)| *at != place) {
            *read = Some((place, read_batch(&self.store, place).ok()?));
        }
        let (_, batch) = read.as_ref()?;
        let leaf = batch.leaves().get(usize::from(leaf))?;
        (!leaf.is_erased()).then(|| leaf.change.clone())
    }
}

fn refused_id(document: DocumentId, author: DeviceId, change: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/refused-change/1");
    hasher.update(document.as_bytes());
    hasher.update(author.as_bytes());
    hasher.update(change);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

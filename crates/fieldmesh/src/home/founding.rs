//! The second copy of the policy: what the tenant began with, and who its members are.
//!
//! Without these items nothing else in the store says anything, and in a small home one block of the
//! log may have all of them. Sealed with the key of the home, in `founding.copy`, which is checked as
//! the other copies are, see [`second`]:
//!
//! ```text
//! postcard of a list: the bytes of each item
//! ```
//!
//! The log counts; every open writes here what it has more, and so does the upkeep before it makes
//! one block of what lay apart.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;

use fieldmesh_identity::{Item, Policy, Statement};
use fieldmesh_model::{DeviceId, ItemId};

use crate::error::{Error, with_causes};

use super::second::{self, Mended};
use super::{Home, locked};

/// What the name of the copy begins with.
pub(super) const FOUNDING: &str = "founding";
const PURPOSE: &str = "fieldmesh/founding/1";
/// The largest copy in bytes. A tenant of thousands has more items than that; what begins it and who
/// this device is come first, then what takes rights away, and peers bring the rest.
const BYTES_MAX: usize = 1024 * 1024;

impl Home {
    /// The items that an earlier open has kept; none where they cannot be read.
    pub(crate) fn founding(&self) -> Vec<Item> {
        let kept: Vec<Vec<u8>> = self
            .founding_bytes()
            .and_then(|bytes| postcard::from_bytes(&bytes).ok())
            .unwrap_or_default();
        kept.iter().filter_map(|bytes| Item::decode(bytes).ok()).collect()
    }

    /// Keeps those of `items` that count for something, where others are kept so far, and what is
    /// kept so far that counts: a damaged log may not give all of them. That the copy was damaged
    /// is told once it is whole again, or with why it is not.
    ///
    /// # Errors
    ///
    /// What was there is there still, or is as damaged as it was.
    pub(crate) fn keep_founding<'a>(
        &self,
        policy: &Policy,
        me: DeviceId,
        items: impl Iterator<Item = &'a Item>,
    ) -> Result<(), Error> {
        let damaged = self.damaged_founding();
        let before = self.founding();
        let known: Vec<&Item> = items.collect();
        let kept = kept(policy, me, known.into_iter().chain(&before));
        let bytes = postcard::to_allocvec(&kept).expect("invariant: bytes are serialisable");
        let is_kept = self.founding_bytes().as_ref() == Some(&bytes);
        let written = if is_kept { Ok(()) } else { self.write_founding(&bytes) };
        if let Some(what) = damaged {
            let failed = written.as_ref().err().map(|error| with_causes(error));
            self.tell_mended(Mended { what, failed });
        }
        written
    }

    /// Seals the copy with the current key.
    pub(super) fn rekey_founding(&self) -> Result<(), Error> {
        self.founding_bytes().map_or(Ok(()), |bytes| self.write_founding(&bytes))
    }

    /// What a copy is called that is not as it was written.
    fn damaged_founding(&self) -> Option<String> {
        let path = second::path(&self.folder, FOUNDING);
        let is_damaged = match fs::read(&path) {
            Ok(_) => second::read(&self.folder, FOUNDING).is_none(),
            Err(error) => error.kind() != ErrorKind::NotFound && second::is_lost(&path, &error),
        };
        is_damaged.then(|| format!("{} was damaged", path.display()))
    }

    pub(super) fn founding_bytes(&self) -> Option<Vec<u8>> {
        self.unseal_bytes(PURPOSE, &second::read(&self.folder, FOUNDING)?)
    }

    pub(super) fn write_founding(&self, bytes: &[u8]) -> Result<(), Error> {
        let sealed = self.keys().current().seal(PURPOSE, bytes).map_err(|error| locked(&error))?;
        second::write_copy(&self.folder, FOUNDING, &sealed)
    }
}

/// The items to keep, those first that an open needs most. A copy that lacks some may lack members,
/// and none who is a member no more.
fn kept<'a>(policy: &Policy, me: DeviceId, items: impl Iterator<Item = &'a Item>) -> Vec<&'a [u8]> {
    let held = items.filter(|item| policy.holds(&item.id())).map(|item| (item.id(), item));
    let held: BTreeMap<ItemId, &Item> = held.collect();
    let mut held: Vec<&Item> = held.into_values().collect();
    let rank = |item: &Item| match item.statement() {
        Statement::Genesis(_) => 0,
        Statement::Certificate(of) if DeviceId::of_key(&of.public_key) == me => 1,
        Statement::Revocation(_) => 2,
        Statement::Purge(_) => 3,
        Statement::Role(_) => 4,
        Statement::Certificate(_) => 5,
        Statement::Adoption(_)
        | Statement::Pin(_)
        | Statement::Relay(_)
        | Statement::Schema(_)
        | Statement::Unknown { .. } => 6,
    };
    held.sort_by_key(|item| rank(item));
    let mut length = 0;
    let fits = |item: &&Item| {
        length += item.encode().len();
        length <= BYTES_MAX
    };
    held.into_iter().take_while(fits).map(Item::encode).collect()
}

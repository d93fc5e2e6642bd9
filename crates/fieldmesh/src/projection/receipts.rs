//! The receipts that are kept, as the log has them up to the entry at hand.

use std::collections::BTreeMap;

use fieldmesh_batch::Receipt;
use fieldmesh_model::{DeviceId, Moment};
use fieldmesh_replica::Doubt;
use fieldmesh_store::{Direction, KeyRange, Tree, View, WriteSet};

use crate::error::Error;
use crate::rows::{self, DoubtRow};

/// Receipts of one signer that are kept. What others prove is asked for again at the next meeting.
const RECEIPTS_MAX: usize = 256;

/// The receipts that are kept: those of the view, and what this step has changed of them.
pub(super) struct Receipts<'a> {
    view: &'a View,
    changed: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'a> Receipts<'a> {
    pub(super) const fn new(view: &'a View) -> Self {
        Self { view, changed: BTreeMap::new() }
    }

    /// Keeps a receipt; where those of its signer are too many, the one goes that was signed at
    /// nearly the same time as its neighbours.
    pub(super) fn keep(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        let Ok(receipt) = Receipt::decode(&bytes) else { return Ok(()) };
        let key = rows::receipt_key(receipt.signer, receipt.at, &bytes);
        self.changed.insert(key, Some(bytes));
        let known = self.of(receipt.signer)?;
        if known.len() > RECEIPTS_MAX {
            let crowded = most_crowded(known);
            self.changed.extend(crowded.map(|key| (key, None)));
        }
        Ok(())
    }

    /// Keeps in mind what is not believed any more, and drops what says nothing at all: receipts of
    /// earlier epochs. Doubted ones stay, because they may convict their signer elsewhere.
    pub(super) fn void(&mut self, doubt: &Doubt) -> Result<(), Error> {
        for (key, bytes) in self.of(doubt.device)? {
            let is_void = Receipt::decode(&bytes).is_ok_and(|receipt| {
                receipt.store == doubt.store && receipt.store_epoch < doubt.epoch
            });
            if is_void {
                self.changed.insert(key, None);
            }
        }
        let key = rows::doubt_key(doubt.device, doubt.store);
        let known = match self.changed.get(&key) {
            Some(bytes) => bytes.clone(),
            None => self.view.get(Tree::Meta, &key).map_err(|error| Error::store(&error))?,
        };
        let known =
            known.map(|bytes| rows::decode::<DoubtRow>(&bytes).map(Doubt::from)).transpose()?;
        if known.is_none_or(|known| (known.epoch, known.until) < (doubt.epoch, doubt.until)) {
            self.changed.insert(key, Some(rows::encode(&DoubtRow::from(*doubt))));
        }
        Ok(())
    }

    /// The receipts of one signer, oldest first.
    fn of(&self, signer: DeviceId) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Error> {
        let prefix = rows::receipt_prefix(signer);
        let range = KeyRange::prefix(&prefix);
        let mut known: BTreeMap<Vec<u8>, Vec<u8>> =
            rows::scan(self.view, Tree::Meta, range, Direction::Ascending)
                .collect::<Result<_, _>>()?;
        let changed = self.changed.range(prefix.clone()..);
        for (key, bytes) in changed.take_while(|(key, _)| key.starts_with(&prefix)) {
            match bytes {
                Some(bytes) => known.insert(key.clone(), bytes.clone()),
                None => known.remove(key),
            };
        }
        Ok(known)
    }

    pub(super) fn write(&self, writes: &mut WriteSet) {
        for (key, bytes) in &self.changed {
            match bytes {
                Some(bytes) => writes.put(Tree::Meta, key.clone(), bytes.clone()),
                None => writes.delete(Tree::Meta, key.clone()),
            }
        }
    }
}

/// The key of the receipt between whose neighbours there is the least time; old ones may show that
/// a relay hides something, and the newest ones cover the most.
fn most_crowded(receipts: BTreeMap<Vec<u8>, Vec<u8>>) -> Option<Vec<u8>> {
    let timed = receipts
        .into_iter()
        .filter_map(|(key, bytes)| Some((Receipt::decode(&bytes).ok()?.at, key)));
    let timed: Vec<(Moment, Vec<u8>)> = timed.collect();
    let gap = |three: &&[(Moment, Vec<u8>)]| three[2].0.millis_since(three[0].0);
    timed.windows(3).min_by_key(gap).map(|three| three[1].1.clone())
}

//! What a home holds when it is opened: the policy items, the batches, and the receipts for them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use fieldmesh_batch::{Batch, Chain, Receipt};
use fieldmesh_identity::Item;
use fieldmesh_model::{BatchId, DeviceId, Moment};
use fieldmesh_replica::{Doubt, Held, Replica};
use fieldmesh_store::{
    BadFrame, Direction, KeyRange, Place, ReadError, Store, Tree, View, WriteSet,
};
use fieldmesh_trie::Key;

use crate::entry::{Entry, FACT_BATCHES_MAX, Fact};
use crate::error::Error;
use crate::harm::{self, Harmed, Harms, Outcome};
use crate::keep::{self, Kept};
use crate::ledger::read_item;
use crate::making::Position;
use crate::places::{Places, read_batch};
use crate::projection::fact_key;
use crate::rows::{self, DoubtRow, LeafRow};

/// What a home holds when it is opened.
pub(super) struct Contents {
    /// By where they lie in the log: in the order in which they came.
    pub(super) items: BTreeMap<Place, Item>,
    pub(super) held: BTreeMap<BatchId, Held>,
    /// Those of the batches that are damaged: peers are asked for them.
    pub(super) lost: BTreeSet<BatchId>,
    pub(super) places: Places,
    /// What of the log could not be read on the way.
    pub(super) unreadable: Vec<BadFrame>,
    /// Damaged entries that can be read again.
    pub(super) recovered: Vec<Place>,
    /// Places that are known to be damaged and lack something.
    damaged: BTreeSet<Place>,
}

impl Contents {
    /// Reads what the view knows, and what lies in the log behind its position.
    ///
    /// What is damaged is told to `harms`. A policy item that cannot be read is left out; it is
    /// added to `damage` unless it is known.
    pub(super) fn read(
        store: &Store,
        harms: &Harms,
        damage: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let mut contents = Self {
            items: BTreeMap::new(),
            held: BTreeMap::new(),
            lost: BTreeSet::new(),
            places: Places::default(),
            unreadable: Vec::new(),
            recovered: Vec::new(),
            damaged: BTreeSet::new(),
        };
        contents.read_harms(store, harms)?;
        contents.read_items(store, harms, damage)?;
        contents.read_leaves(store, harms)?;
        contents.read_unsealed(store, harms)?;
        // There is room for so many only, and what records need goes first.
        tell_all_lost(store, harms)?;
        contents.read_log(store)?;
        Ok(contents)
    }

    /// What is known to be damaged, unless it can be read by now.
    fn read_harms(&mut self, store: &Store, harms: &Harms) -> Result<(), Error> {
        for harm in harm::all(store.view())? {
            harms.learn(&harm);
            let is_batch = matches!(harm.what, Harmed::Batch { .. });
            match harm.outcome {
                Outcome::Open => {}
                // It is not here, whoever has given it up.
                Outcome::Settled(_) if is_batch && store.read(harm.place).is_err() => {
                    self.damaged.insert(harm.place);
                    continue;
                }
                Outcome::Settled(_) | Outcome::Healed { .. } => continue,
            }
            match store.read(harm.place) {
                Ok(entry) if !is_gapped(&entry) => self.recovered.push(harm.place),
                _ if harm.is_open() => {
                    self.damaged.insert(harm.place);
                }
                _ => {}
            }
        }
        harms.healed(&self.recovered);
        harms.forget(self.recovered.iter().copied());
        Ok(())
    }

    /// Changes that no batch holds may lie in a segment that is gone.
    fn read_unsealed(&self, store: &Store, harms: &Harms) -> Result<(), Error> {
        let range = KeyRange::prefix(rows::UNSEALED_PREFIX);
        for row in rows::scan(store.view(), Tree::Meta, range, Direction::Ascending) {
            self.tell_lost(store, harms, rows::decode(&row?.1)?);
        }
        Ok(())
    }

    /// Tells `harms` of a place that no segment has; whether it is damaged.
    fn tell_lost(&self, store: &Store, harms: &Harms, place: Place) -> bool {
        // What an open found to be lost is told again until it is noted, and by then entries may lie
        // behind it.
        let is_uncertain = store.report().past_is_uncertain();
        let is_lost = store.report().is_lost(place)
            || (is_uncertain
                && matches!(
                    store.read(place),
                    Err(ReadError::Damaged { .. } | ReadError::NotFound { .. })
                ));
        if is_lost {
            harms.note(place.0..place.0.saturating_add(1));
        }
        is_lost || self.damaged.contains(&place)
    }

    fn read_items(
        &mut self,
        store: &Store,
        harms: &Harms,
        damage: &mut Vec<String>,
    ) -> Result<(), Error> {
        let (view, all, up) = (store.view(), KeyRange::all(), Direction::Ascending);
        let copies = KeyRange::prefix(rows::ITEM_COPY_PREFIX);
        let copies: Result<BTreeSet<Vec<u8>>, Error> =
            rows::keys(view, Tree::Meta, copies, up).collect();
        let copies = copies?;
        let mut renewed = WriteSet::new();
        for row in rows::scan(view, Tree::Item, all, up) {
            let (key, value) = row?;
            let place: Place = rows::decode(&value)?;
            let is_lost = self.tell_lost(store, harms, place);
            match read_item(store, &key, place) {
                Ok(item) => {
                    let copy = rows::item_copy_key(&key);
                    // An earlier version wrote the row.
                    if !copies.contains(&copy) {
                        renewed.put(Tree::Meta, copy, item.encode());
                    }
                    self.items.insert(place, item);
                }
                Err(_) if is_lost => {}
                Err(error) => damage.push(format!("a policy item is lost: {error}")),
            }
        }
        view.apply(renewed).map_err(|error| Error::store(&error))
    }

    fn read_leaves(&mut self, store: &Store, harms: &Harms) -> Result<(), Error> {
        let mut renewed = WriteSet::new();
        for row in rows::scan(store.view(), Tree::Leaf, KeyRange::all(), Direction::Ascending) {
            let (key, value) = row?;
            let Ok(bytes) = <[u8; 46]>::try_from(key.as_slice()) else { continue };
            let place: Place = rows::decode(&value)?;
            let is_lost = self.tell_lost(store, harms, place);
            let held = match rows::decode::<LeafRow>(&value) {
                Ok(row) => row.held(&Key::from_bytes(bytes)),
                // An earlier version wrote the row; from here on it is like the others.
                Err(_) if is_lost => continue,
                Err(_) => {
                    let Ok(batch) = read_batch(store, place) else { continue };
                    let held = Held::of(&batch);
                    renewed.put(Tree::Leaf, key, rows::encode(&LeafRow::new(place, &held)));
                    held
                }
            };
            self.lost.extend(is_lost.then_some(held.id));
            self.insert(held, place);
        }
        store.view().apply(renewed).map_err(|error| Error::store(&error))
    }

    fn read_log(&mut self, store: &Store) -> Result<(), Error> {
        let noted = Position::read(store.view())?.noted;
        let replayed = store.replay(noted, |place, entry| {
            match Entry::decode(&entry) {
                Ok(Entry::Item(bytes)) => {
                    if let Ok(item) = Item::decode(&bytes) {
                        self.items.insert(place, item);
                    }
                }
                Ok(Entry::Batch(bytes)) => {
                    if let Ok(batch) = Batch::decode(&bytes) {
                        self.lost.remove(&batch.id());
                        self.insert(Held::of(&batch), place);
                    }
                }
                Ok(Entry::Fact(Fact::LetGo(piece))) if piece.is_last => {
                    self.held.retain(|_, held| held.scope != piece.scope);
                }
                Ok(Entry::Change(_) | Entry::Fact(_) | Entry::Note(_)) | Err(_) => {}
            }
            ControlFlow::Continue(())
        });
        self.unreadable = replayed.map_err(|error| Error::store(&error))?.bad_frames;
        Ok(())
    }

    fn insert(&mut self, held: Held, place: Place) {
        self.places.insert_all([(held.id, place)]);
        self.held.insert(held.id, held);
    }
}

/// Tells `harms` of all that the view has read and no segment has any more, whatever it was: what
/// is in no other list of the view is written once more from it, and the rest is told.
fn tell_all_lost(store: &Store, harms: &Harms) -> Result<(), Error> {
    let noted = Position::read(store.view())?.noted;
    let end = noted.map_or(0, |place| place.0.saturating_add(1));
    for lost in store.report().lost() {
        harms.note(lost.start..lost.end.min(end));
    }
    Ok(())
}

/// The receipts that the view keeps.
pub(super) fn receipts(view: &View) -> Result<Vec<Receipt>, Error> {
    let range = KeyRange::prefix(rows::RECEIPT_PREFIX);
    let mut receipts = Vec::new();
    for row in rows::scan(view, Tree::Meta, range, Direction::Ascending) {
        receipts.extend(Receipt::decode(&row?.1).ok());
    }
    Ok(receipts)
}

/// What the view knows not to believe.
pub(super) fn doubts(view: &View) -> Result<Vec<Doubt>, Error> {
    let range = KeyRange::prefix(rows::DOUBT_PREFIX);
    let rows = rows::scan(view, Tree::Meta, range, Direction::Ascending);
    rows.map(|row| rows::decode::<DoubtRow>(&row?.1).map(Doubt::from)).collect()
}

/// Where the chains of `device` ended that were let go.
pub(super) fn let_go(view: &View, device: DeviceId) -> Result<Vec<(Chain, u64)>, Error> {
    let heads = keep::heads(view, device)?;
    Ok(heads.into_iter().map(|(chain, head)| (chain, head.sequence)).collect())
}

/// From which month on this home wants what goes by time. What it holds it never keeps to itself:
/// where letting go was cut short, it begins with the oldest month that is left.
pub(super) fn since(view: &View, held: &BTreeMap<BatchId, Held>) -> Result<u32, Error> {
    let known = rows::find(view, Tree::Meta, fact_key(&Fact::Kept(Kept::default())))?;
    let Some(Fact::Kept(Kept { since, .. })) = known else { return Ok(0) };
    Ok(keep::oldest(held.values().map(|held| held.scope)).map_or(since, |month| month.min(since)))
}

/// Up to which moment receipts may have been signed.
pub(super) fn signed_until(view: &View) -> Result<Option<Moment>, Error> {
    let known: Option<Fact> =
        rows::find(view, Tree::Meta, fact_key(&Fact::Signed(Moment::from_millis(0))))?;
    Ok(match known {
        Some(Fact::Signed(until)) => Some(until),
        _ => None,
    })
}

/// Whether it is a batch with leaves erased: that its frame can be read does not tell whether its
/// gaps are lawful, so only a copy that a peer brings heals it.
fn is_gapped(entry: &fieldmesh_store::Entry) -> bool {
    let Ok(Entry::Batch(bytes)) = Entry::decode(entry) else { return false };
    Batch::decode(&bytes).is_ok_and(|batch| batch.erased_hashes().next().is_some())
}

/// What the log has to say of batches so that the view counts those that `replica` counts.
pub(super) fn differences(replica: &Replica, view: &View) -> Result<Vec<Fact>, Error> {
    let range = KeyRange::prefix(rows::ASIDE_PREFIX);
    let mut marked = BTreeSet::new();
    for key in rows::keys(view, Tree::Meta, range, Direction::Ascending) {
        marked.extend(rows::aside_id(&key?));
    }
    let mut aside: BTreeSet<BatchId> =
        replica.aside().map(|(id, _)| id).chain(replica.unheld()).collect();
    // What is lost stands where it stood.
    aside.extend(replica.lost().intersection(&marked));
    let fresh: Vec<BatchId> = aside.difference(&marked).copied().collect();
    let admitted: Vec<BatchId> = marked.difference(&aside).copied().collect();
    let mut facts: Vec<Fact> =
        fresh.chunks(FACT_BATCHES_MAX).map(|ids| Fact::Aside(ids.to_vec())).collect();
    facts.extend(admitted.chunks(FACT_BATCHES_MAX).map(|ids| Fact::Admitted(ids.to_vec())));
    Ok(facts)
}

//! What was found damaged: finding out what it was, noting it, and having it brought again.
//!
//! A batch or a policy item leaves the sets that are compared, so whoever holds it brings it. A
//! change that no batch holds is nowhere else: what the view shows of it is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::PoisonError;

use fieldmesh_batch::Batch;
use fieldmesh_model::{BatchId, DocumentId, Moment};
use fieldmesh_replica::Input;
use fieldmesh_store::{Direction, KeyRange, Place, ReadError, Store, Tree};
use fieldmesh_trie::Key;

use crate::clock;
use crate::entry::{Entry, Fact};
use crate::error::Error;
use crate::harm::{self, Harm, Harmed, LostChange, Outcome, WAITING_MAX};
use crate::making::Position;
use crate::mesh::Call;
use crate::rows::{self, DocumentRow, LeafRow};

use super::Ledger;

/// What a disk says that cannot read a sector; the same number on every Unix.
const EIO: i32 = 5;
/// Damaged entries that one fact names.
pub(super) const HARMS_PER_FACT: usize = 16;
/// Places that one fact names.
const PLACES_PER_FACT: usize = 1_024;

/// How much of the log the view had read when the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    applied: Option<Place>,
    end: Option<Place>,
}

impl Seen {
    pub(crate) fn of(store: &Store) -> Result<Self, Error> {
        Ok(Self { applied: Position::read(store.view())?.shown(), end: store.end() })
    }

    /// Whether each entry that the open has found to be lost is told by itself: the view had read
    /// it, or it was known to be damaged.
    pub(crate) fn knows_all_lost(&self, store: &Store) -> Result<bool, Error> {
        let report = store.report();
        if !report.names_each_loss() || report.lost_count() > WAITING_MAX as u64 {
            return Ok(false);
        }
        let known: BTreeSet<Place> =
            harm::all(store.view())?.into_iter().map(|harm| harm.place).collect();
        let is_known = |place: Place| Some(place) <= self.applied || known.contains(&place);
        Ok(report.lost().iter().cloned().flatten().map(Place).all(is_known))
    }

    /// Whether the entry at `place` had been read once, so that what the view does not list is
    /// nothing that a record needs.
    fn has_read(&self, place: Place) -> bool {
        Some(place) <= self.applied || Some(place) > self.end
    }
}

/// What the view lists by place.
#[derive(Default)]
struct Listed {
    batches: BTreeMap<Place, Harmed>,
    items: BTreeMap<Place, [u8; 32]>,
    unsealed: BTreeMap<Place, (DocumentId, [u8; 8])>,
    /// What it has passed over.
    passed_over: Vec<Range<u64>>,
}

impl Ledger {
    /// Looks at everything that was found damaged since this was asked last. Blocks.
    ///
    /// While records are made anew, what needs them is put off; what others may hold is not.
    pub(crate) fn mend(&self) -> Result<(), Error> {
        self.note_found()?;
        // It is damage all the same, and told as such.
        if let Err(error) = self.seal_lost() {
            tracing::warn!(%error, "what lay in lost batches could not be sealed once more");
        }
        Ok(())
    }

    fn note_found(&self) -> Result<(), Error> {
        let _alone = self.mending.lock().unwrap_or_else(PoisonError::into_inner);
        if self.remaking().is_none() {
            self.damaged.resume();
        }
        let places = self.damaged.take();
        let (gone, sound): (BTreeSet<Place>, BTreeSet<Place>) =
            places.into_iter().partition(|place| self.is_gone(*place));
        self.damaged.forget(sound);
        if gone.is_empty() {
            return Ok(());
        }
        match self.note_harms(&gone) {
            Ok(later) => {
                self.damaged.put_off(later);
                Ok(())
            }
            Err(error) => {
                // The next reading of them begins anew.
                self.damaged.forget(gone);
                Err(error)
            }
        }
    }

    /// Notes that damaged entries can be read again, as after a disk that failed for a while.
    pub(crate) fn note_recovered(&self, places: &[Place]) -> Result<(), Error> {
        let at = clock::now();
        let fact = |places: &[Place]| Fact::Healed { places: places.to_vec(), from: None, at };
        self.remember_all(places.chunks(PLACES_PER_FACT).map(fact))
    }

    /// Every damaged entry that is known, in the order of the log.
    pub(crate) fn harms(&self) -> Result<Vec<Harm>, Error> {
        harm::all(self.view())
    }

    /// Has the user's word that what is lost for good is given up, and what waits for it with that;
    /// gives how many entries it was.
    pub(crate) fn give_up_lost(&self) -> Result<u64, Error> {
        self.settle()?;
        let is_lost = |harm: &Harm| {
            harm.is_open() && matches!(harm.what, Harmed::Change(_) | Harmed::Unknown)
        };
        let harms = self.harms()?;
        let mut lost: Vec<Place> =
            harms.iter().filter(|it| is_lost(it)).map(|harm| harm.place).collect();
        lost.extend(self.stranded_places()?);
        let unconfirmed = self.lacking(&harms).unconfirmed;
        if !unconfirmed.is_empty() {
            // Nobody takes for whole what follows in their chains.
            self.start_epoch()?;
        }
        lost.extend(unconfirmed);
        lost.extend(self.wanted_back()?.into_iter().flat_map(|missed| missed.places));
        let count = lost.len() as u64;
        // These are told until somebody has read it.
        lost.extend(harms.iter().filter(|harm| harm.is_needless()).map(|harm| harm.place));
        let relay = self.doubted()?.map(|_| Fact::RelayLost(Moment::ZERO));
        let at = clock::now();
        let fact = |places: &[Place]| Fact::Settled { places: places.to_vec(), at };
        let at_open = (!self.damage_at_open()?.is_empty()).then(|| Fact::Found(Vec::new()));
        let by_check = (!self.damage_by_check()?.is_empty()).then(|| Fact::Checked(Vec::new()));
        let told = at_open.into_iter().chain(by_check).chain(relay);
        self.remember_all(lost.chunks(PLACES_PER_FACT).map(fact).chain(told))?;
        Ok(count)
    }

    /// Takes all that is lacking out of the sets that are compared, once there are any.
    pub(crate) fn ask_for_lacking(&self) -> Result<(), Error> {
        let mut harms = self.harms()?;
        harms.iter().for_each(|harm| self.damaged.learn(harm));
        harms.retain(Harm::is_open);
        self.ask_for(&harms);
        Ok(())
    }

    /// Writes facts durably.
    pub(crate) fn remember_all(&self, facts: impl Iterator<Item = Fact>) -> Result<(), Error> {
        let entries: Vec<_> = facts.map(|fact| Entry::Fact(fact).encode()).collect();
        if entries.is_empty() {
            return Ok(());
        }
        let places = self.store.append(entries).map_err(|error| Error::store(&error))?;
        places.last().map_or(Ok(()), |place| self.projector.wait_noted(*place))
    }

    /// Whether the disk does not give the entry, also at a second try.
    fn is_gone(&self, place: Place) -> bool {
        let is_unreadable = match self.store.read_from_disk(place) {
            Err(ReadError::Damaged { .. }) => true,
            // Without files or memory to be had the entry is as sound as ever.
            Err(ReadError::Io { source, .. }) => source.raw_os_error() == Some(EIO),
            Ok(_) | Err(_) => false,
        };
        self.store.report().is_lost(place) || is_unreadable
    }

    /// Notes what lay at these places; gives those of which that cannot be told before all records
    /// are there.
    fn note_harms(&self, places: &BTreeSet<Place>) -> Result<BTreeSet<Place>, Error> {
        let is_whole = self.remaking().is_none();
        let wait = if is_whole { Self::catch_up } else { Self::catch_up_noted };
        wait(self)?;
        // A view that was made anew has learned of some since.
        let mut fresh = places.clone();
        for harm in self.harms()? {
            self.damaged.learn(&harm);
            if !matches!(harm.outcome, Outcome::Healed { from: None, .. }) {
                fresh.remove(&harm.place);
            }
        }
        if fresh.is_empty() {
            return Ok(fresh);
        }
        let places = &fresh;
        let mut listed = self.listed(places)?;
        if is_whole && !listed.unsealed.is_empty() && self.mesh.get().is_some() {
            // What a running node has in memory is written once more, into a batch.
            self.seal(None)?;
            self.catch_up()?;
            listed = self.listed(places)?;
        }
        let found = clock::now();
        let mut harms = Vec::with_capacity(places.len());
        let mut later = BTreeSet::new();
        self.write_notes_again(places)?;
        for place in places {
            let what = self.what_lay_at(*place, &mut listed)?;
            if !is_whole && matches!(what, Harmed::Change(_) | Harmed::Unknown | Harmed::Nothing) {
                later.insert(*place);
                continue;
            }
            let is_kept = self.write_batch_again(*place, &what)?;
            let from = Some(self.device);
            let healed = Outcome::Healed { from, at: found };
            let outcome = if is_kept { healed } else { Outcome::Open };
            harms.push(Harm { place: *place, found, what, outcome });
        }
        // What the view does not list by its place may be what nobody else has.
        let is_listed = |harm: &Harm| !matches!(harm.what, Harmed::Nothing | Harmed::Unknown);
        if !harms.iter().all(is_listed) && !self.write_unsaid()? {
            let (listed, rest): (Vec<Harm>, Vec<Harm>) = harms.into_iter().partition(is_listed);
            later.extend(rest.into_iter().map(|harm| harm.place));
            harms = listed;
        }
        self.keep_harms(&harms)?;
        Ok(later)
    }

    /// Writes a batch once more, durably, that is still in memory: nobody else may have it. Says
    /// whether it was.
    fn write_batch_again(&self, place: Place, what: &Harmed) -> Result<bool, Error> {
        let Harmed::Batch { id, .. } = what else { return Ok(false) };
        let Ok(entry) = self.store.read(place) else { return Ok(false) };
        let batch = Entry::as_batch(&entry).and_then(|bytes| Batch::decode(bytes).ok());
        if batch.is_none_or(|batch| batch.id() != *id) {
            return Ok(false);
        }
        let written = self.store.append(vec![(*entry).clone()]);
        let written = written.map_err(|error| Error::store(&error))?;
        self.places.insert_all(written.iter().map(|place| (*id, *place)));
        let noted = |place: &Place| self.projector.wait_noted(*place);
        written.last().map_or(Ok(()), noted).map(|()| true)
    }

    /// Notes damage durably, and asks for what is lacking.
    pub(super) fn keep_harms(&self, harms: &[Harm]) -> Result<(), Error> {
        for harm in harms {
            let place = harm.place.0;
            match harm.is_open() {
                true => tracing::warn!(place, "damage in the log"),
                false => tracing::debug!(place, "damage in the log by which nothing is missing"),
            }
        }
        let is_held = |harm: &Harm| harm.is_open() && matches!(harm.what, Harmed::Batch { .. });
        let restores = if harms.iter().any(is_held) {
            // Receipts of before are void, also if nobody comes to say so: it goes first.
            Some(Fact::Restores(self.restores()?.saturating_add(1)))
        } else {
            None
        };
        let facts = harms.chunks(HARMS_PER_FACT).map(|some| Fact::Harmed(some.to_vec()));
        self.remember_all(restores.into_iter().chain(facts))?;
        harms.iter().for_each(|harm| self.damaged.learn(harm));
        self.ask_for(harms);
        Ok(())
    }

    /// Takes what is lacking out of the sets that are compared.
    fn ask_for(&self, harms: &[Harm]) {
        // Before there is a mesh the replica is told by whoever opens it.
        let Some(mesh) = self.mesh.get() else { return };
        let mut batches: Vec<BatchId> = Vec::new();
        let mut items: Vec<[u8; 32]> = Vec::new();
        for harm in harms.iter().filter(|harm| harm.is_open()) {
            match &harm.what {
                Harmed::Batch { id, .. } => batches.push(*id),
                Harmed::Item(hash) => items.push(*hash),
                Harmed::Nothing | Harmed::Unknown | Harmed::Change(_) => {}
            }
        }
        if !batches.is_empty() {
            mesh.urgent(Call::Input(Input::BatchesLost { ids: batches }));
        }
        if !items.is_empty() {
            mesh.urgent(Call::ItemsLost(items));
        }
    }

    /// What the view lists at these places.
    fn listed(&self, places: &BTreeSet<Place>) -> Result<Listed, Error> {
        let passed_over = harm::passed_over(self.view())?;
        let mut listed = Listed { passed_over, ..Listed::default() };
        let (view, up) = (self.view(), Direction::Ascending);
        for row in rows::scan(view, Tree::Leaf, KeyRange::all(), up) {
            let (key, value) = row?;
            let place: Place = rows::decode(&value)?;
            let Ok(key) = <[u8; 46]>::try_from(key.as_slice()) else { continue };
            if places.contains(&place) {
                let key = Key::from_bytes(key);
                let author = rows::decode::<LeafRow>(&value).ok().map(|row| row.author);
                let id = BatchId::from_bytes(key.id());
                let scope = fieldmesh_model::Scope::from_bytes(key.scope());
                listed.batches.insert(place, Harmed::Batch { id, scope, author });
            }
        }
        for row in rows::scan(view, Tree::Item, KeyRange::all(), up) {
            let (key, value) = row?;
            if let Ok(id) = <[u8; 32]>::try_from(key.as_slice()) {
                listed.items.insert(rows::decode(&value)?, id);
            }
        }
        for row in rows::scan(view, Tree::Meta, KeyRange::prefix(rows::UNSEALED_PREFIX), up) {
            let (key, value) = row?;
            let place: Place = rows::decode(&value)?;
            if let Some(change) = rows::unsealed_change(&key).filter(|_| places.contains(&place)) {
                listed.unsealed.insert(place, change);
            }
        }
        Ok(listed)
    }

    fn what_lay_at(&self, place: Place, listed: &mut Listed) -> Result<Harmed, Error> {
        if let Some(batch) = listed.batches.remove(&place) {
            return Ok(batch);
        }
        if let Some(id) = listed.items.remove(&place) {
            return Ok(Harmed::Item(id));
        }
        if let Some((document, hash)) = listed.unsealed.remove(&place) {
            let row = self.row(document)?;
            let collection = row.as_ref().map_or(0, |row| row.scope.collection);
            let is_whole = row.as_ref().is_none_or(|row: &DocumentRow| row.changes.len() <= 1);
            let is_purged = self.policy().is_purged(&document);
            let shown = row.and_then(|row| row.record).filter(|_| !is_purged);
            let lost = LostChange { document, hash, collection, is_whole, shown };
            return Ok(Harmed::Change(Box::new(lost)));
        }
        // A view that was made anew meanwhile may not have come to it.
        let is_batch = self.places.batch_at(place).is_some();
        let is_first = self.projector.view_number() == 0;
        let has_read = self.seen.has_read(place)
            && listed.passed_over.iter().all(|places| !places.contains(&place.0));
        let is_nothing = !is_batch && is_first && has_read;
        Ok(if is_nothing { Harmed::Nothing } else { Harmed::Unknown })
    }
}

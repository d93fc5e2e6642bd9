//! One step from the log to the view: entries in, rows out.
//!
//! The rows are a deterministic function of the entries and the policy. Applying an entry twice
//! changes nothing, because the position is written behind the rows and a crash may come between.

pub(crate) mod alike;
mod arrivals;
mod damage;
mod gone;
mod index;
pub(crate) mod indexing;
mod notes;
mod open;
mod purges;
mod receipts;
mod remakes;
pub(crate) mod schemas;
mod standing;
mod touched;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fieldmesh_batch::{Batch, Header, Leaf};
use fieldmesh_identity::Policy;
use fieldmesh_model::{BatchId, DeviceId, DocumentId, Scope};
use fieldmesh_replica::{Doubt, Held};
use fieldmesh_store::{Place, Store, Tree, View, WriteSet};

use crate::changes::Source;
use crate::entry::{Entry, Fact, LocalChange};
use crate::error::Error;
use crate::harm::{self, Harm, Harmed, Outcome};
use crate::keep::LetGo;
use crate::made::MadeChanges;
use crate::making::{self, Made};
use crate::places::Places;
use crate::readers::Readers;
use crate::rows::{self, ChainRow, ChangeRef, LOCAL_LEAF, LeafRow, QuarantineRow};

use self::damage::Damage;
pub(crate) use self::gone::{ARRIVALS_KEY, VANISHED_KEY};
pub(crate) use self::index::{
    alike_hashes, field_hash, is_covered, is_declared, is_indexed, name_hash, number_of,
    record_time, waiting_prefix,
};
use self::notes::Notes;
pub(crate) use self::notes::{NoteRow, is_superseded, last_mark, read_mark};
use self::open::Open;
use self::purges::Remains;
pub(crate) use self::purges::{UNNAMED_KEY, UNSWEPT_KEY};
use self::receipts::Receipts;
use self::schemas::Schemas;
use self::standing::Standing;
use self::touched::{Arrival, Done, Refused, Work};

/// Threads that work on documents at the same time.
const CORES_MAX: usize = 4;
/// Fewer documents than this are not worth a thread.
const SHARE_MIN: usize = 16;

/// What a projection reads.
pub(crate) struct Sources<'a> {
    pub(crate) store: &'a Store,
    /// Where every batch of the log lies, also of the part that is not applied so far.
    pub(crate) places: &'a Places,
    pub(crate) policy: Arc<Policy>,
    /// This device, the author of unsealed changes.
    pub(crate) me: DeviceId,
    /// A relay that only forwards opens no documents.
    pub(crate) forward_only: bool,
    /// Whether whoever asked for the work does not wait for it any more.
    pub(crate) is_stopped: &'a AtomicBool,
    /// What this process has made itself.
    pub(crate) made: &'a MadeChanges,
    /// Who is told of what is written.
    pub(crate) readers: &'a Readers,
    pub(crate) reach: Reach,
}

/// What of the entries is made into rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Everything.
    All,
    /// All but the records, which are made so far.
    Notes(Made),
    /// The records alone, of a view that knows of entries up to this place.
    Records(Option<Place>),
}

impl Reach {
    const fn has_notes(self) -> bool {
        !matches!(self, Self::Records(_))
    }

    const fn has_records(self) -> bool {
        !matches!(self, Self::Notes(_))
    }
}

/// Rows that are being made.
pub(crate) struct Projection<'a> {
    sources: &'a Sources<'a>,
    view: &'a View,
    documents: BTreeMap<DocumentId, Work>,
    standing: Standing<'a>,
    schemas: Schemas,
    receipts: Receipts<'a>,
    damage: Damage<'a>,
    /// What is let go, and where in the log that is said; such a step does nothing else.
    gone: Vec<(Place, LetGo)>,
    remains: Remains,
    /// Where the feed stands behind what leaves the view in this step; zero where nothing does.
    vanished: u64,
    notes: Notes<'a>,
    /// The batches of this step.
    batches: BTreeSet<BatchId>,
    counts: BTreeMap<u16, i64>,
    chains: BTreeMap<Vec<u8>, ChainRow>,
    open: Open<'a>,
    alike: alike::Touched,
    writes: WriteSet,
    changes: usize,
}

impl<'a> Projection<'a> {
    pub(crate) fn new(sources: &'a Sources<'a>) -> Result<Self, Error> {
        Ok(Self {
            sources,
            view: sources.store.view(),
            documents: BTreeMap::new(),
            standing: Standing::new(sources.store.view()),
            schemas: Schemas::read(sources.store.view(), &sources.policy)?,
            receipts: Receipts::new(sources.store.view()),
            damage: Damage::new(sources.store.view()),
            gone: Vec::new(),
            remains: Remains::default(),
            vanished: 0,
            notes: Notes::new(sources.store.view()),
            batches: BTreeSet::new(),
            counts: BTreeMap::new(),
            chains: BTreeMap::new(),
            open: Open::new(sources.store.view()),
            alike: alike::Touched::default(),
            writes: WriteSet::default(),
            changes: 0,
        })
    }

    /// How many changes were applied; a caller ends the step before it grows large.
    pub(crate) fn changes(&self) -> usize {
        self.changes
    }

    /// Whether the step must be written before this entry: what lets go looks at all rows before it,
    /// and what follows it adds to those that are left.
    pub(crate) fn ends_before(&self, entry: &Entry) -> bool {
        let lets_go = matches!(entry, Entry::Fact(Fact::LetGo(_)));
        self.changes > 0 && lets_go == self.gone.is_empty()
    }

    /// Says that what lies at these places could not be read. Whoever looks at them later, be it
    /// another process, must not take them for something that the view has read and does not need.
    pub(crate) fn pass_over(&mut self, places: &Range<u64>) {
        if !places.is_empty() {
            self.writes.put(Tree::Meta, harm::passed_over_key(places), Vec::new());
        }
    }

    /// Says that the next step follows at once.
    pub(crate) fn expect_more(&mut self) {
        self.writes.expect_more();
    }

    /// Applies one entry of the log.
    pub(crate) fn apply(&mut self, place: Place, entry: Entry) -> Result<(), Error> {
        self.changes += 1;
        match entry {
            Entry::Item(_) | Entry::Note(_) if !self.sources.reach.has_notes() => Ok(()),
            Entry::Item(bytes) => {
                let key = blake3::hash(&bytes);
                self.writes.put(Tree::Item, key.as_bytes().to_vec(), rows::encode(&place));
                self.writes.put(Tree::Meta, rows::item_copy_key(key.as_bytes()), bytes);
                Ok(())
            }
            Entry::Batch(bytes) => match Batch::decode(&bytes) {
                Ok(batch) => self.apply_batch(place, &batch),
                Err(error) => {
                    tracing::error!(?place, %error, "a batch in the log cannot be decoded");
                    Ok(())
                }
            },
            Entry::Change(local) => self.apply_local(place, local),
            Entry::Fact(fact) if !self.sources.reach.has_notes() => {
                self.apply_fact_to_records(place, fact)
            }
            Entry::Fact(fact) => self.apply_fact(place, fact),
            Entry::Note(note) => self.notes.apply(place, note, &mut self.writes),
        }
    }

    fn apply_fact(&mut self, place: Place, fact: Fact) -> Result<(), Error> {
        match fact {
            Fact::Aside(batches) => {
                for id in batches {
                    self.standing.set_aside(id);
                    self.rejudge(place, id)?;
                }
            }
            Fact::Admitted(batches) => {
                for id in batches {
                    self.standing.admit(id);
                    self.rejudge(place, id)?;
                }
            }
            Fact::Receipt(receipt) => self.receipts.keep(receipt)?,
            Fact::Restored { device, store, epoch } => {
                self.receipts.void(&Doubt { device, store, epoch, until: None })?;
            }
            Fact::Doubted { device, store, epoch, until } => {
                self.receipts.void(&Doubt { device, store, epoch, until: Some(until) })?;
            }
            Fact::Harmed(harms) => {
                for mut harm in harms {
                    if harm.forget_purged(|id| self.sources.policy.is_purged(id)) {
                        self.note_local_remains(place, true);
                    }
                    self.damage.keep(harm);
                }
            }
            Fact::Healed { places, from, at } => {
                // The copy lies before this in the log, and only its own frame vouches for it.
                let known = self.sources.places;
                let is_here = |harm: &Harm| match &harm.what {
                    Harmed::Batch { id, .. } if from.is_some() => {
                        known.find(id).is_some_and(|place| place != harm.place)
                    }
                    _ => true,
                };
                let outcome = Outcome::Healed { from, at };
                let healed = self.damage.end(&places, &outcome, is_here)?;
                self.rejudge_healed(place, healed, &outcome)?;
            }
            Fact::Settled { places, at } => self.give_up(&places, at)?,
            Fact::LetGo(let_go) => self.gone.push((place, let_go)),
            fact @ (Fact::Epoch(_)
            | Fact::Invitations(_)
            | Fact::Addresses(_)
            | Fact::LastSync(_)
            | Fact::Damage(_)
            | Fact::Found(_)
            | Fact::Restores(_)
            | Fact::Signed(_)
            | Fact::Revoked(_)
            | Fact::Met(_)
            | Fact::Twice(_)
            | Fact::Scrubbed(_)
            | Fact::Kept(_)
            | Fact::Swept(_)
            | Fact::Checked(_)
            | Fact::RelayLost(_)
            | Fact::Mended(_)
            | Fact::Agreed(_)) => {
                self.writes.put(Tree::Meta, fact_key(&fact).to_vec(), rows::encode(&fact));
            }
        }
        Ok(())
    }

    /// Writes every row and then the position behind the last entry; gives the documents that were
    /// written.
    pub(crate) fn finish(mut self, applied: Place) -> Result<Vec<DocumentId>, Error> {
        self.list_refused()?;
        let mut written = self.let_go()?;
        for (share, writes) in self.merge()? {
            self.writes.merge(writes);
            for done in share {
                written.push(done.id);
                self.write(done)?;
            }
        }
        self.write_alike()?;
        self.write_counts()?;
        self.write_vanished()?;
        self.name_arrivals()?;
        self.standing.write(&mut self.writes);
        self.schemas.write(&mut self.writes)?;
        self.receipts.write(&mut self.writes);
        self.damage.write(&mut self.writes);
        self.remains.write(&mut self.writes);
        match self.sources.reach {
            Reach::All => self.writes.set_applied(applied),
            Reach::Notes(made) => {
                self.writes.set_applied(applied);
                made.write(&mut self.writes);
            }
            Reach::Records(noted) if Some(applied) >= noted => making::end(&mut self.writes),
            Reach::Records(_) => Made(Some(applied)).write(&mut self.writes),
        }
        self.sources.readers.apply(self.view, self.writes)?;
        Ok(written)
    }

    fn write_counts(&mut self) -> Result<(), Error> {
        for (collection, change) in std::mem::take(&mut self.counts) {
            let key = count_key(collection);
            let before: u64 = rows::find(self.view, Tree::Meta, &key)?.unwrap_or(0);
            match before.saturating_add_signed(change) {
                0 => self.writes.delete(Tree::Meta, key),
                after => self.writes.put(Tree::Meta, key, rows::encode(&after)),
            }
        }
        Ok(())
    }

    fn apply_batch(&mut self, place: Place, batch: &Batch) -> Result<(), Error> {
        let header = batch.header();
        if self.sources.reach.has_notes() {
            let row = LeafRow::new(place, &Held::of(batch));
            self.writes.put(Tree::Leaf, batch.key_bytes().to_vec(), rows::encode(&row));
            self.apply_chain(batch, header)?;
            self.note_remains(place, batch);
        }
        if self.sources.forward_only || self.is_passed_over(place, header.scope)? {
            return Ok(());
        }
        let own = header.author == self.sources.me;
        if !self.sources.reach.has_records() {
            let is_counting = own && !self.standing.is_aside(&batch.id())?;
            return if is_counting { self.close_sealed(batch) } else { Ok(()) };
        }
        let is_known = !self.batches.insert(batch.id());
        if self.standing.is_aside(&batch.id())? {
            // A copy of it, or what this device recorded for it, may have been applied before.
            if own || is_known || self.is_applied(batch)? {
                self.remake(place, batch);
            }
            return Ok(());
        }
        for (index, leaf) in leaves(batch) {
            self.changes += 1;
            let source = Source::of_leaf(batch, leaf);
            let hash = self.arrive(leaf.document, header.scope, (place, index), source);
            if let (true, true, Some(hash)) = (own, self.sources.reach.has_notes(), hash) {
                self.writes.delete(Tree::Meta, rows::unsealed_key(leaf.document, hash));
            }
        }
        Ok(())
    }

    /// The changes of a batch of this device wait for a batch no more.
    fn close_sealed(&mut self, batch: &Batch) -> Result<(), Error> {
        for (_, leaf) in leaves(batch) {
            if self.open.has_any_of(&leaf.document)?
                && let Some(hash) = touched::short_hash(&leaf.change)
            {
                self.writes.delete(Tree::Meta, rows::unsealed_key(leaf.document, hash));
            }
        }
        Ok(())
    }

    fn is_applied(&self, batch: &Batch) -> Result<bool, Error> {
        let row = self.view.get(Tree::Leaf, &batch.key_bytes());
        row.map(|row| row.is_some()).map_err(|error| Error::store(&error))
    }

    fn apply_chain(&mut self, batch: &Batch, header: &Header) -> Result<(), Error> {
        let key = rows::chain_key(header.author, header.epoch, header.scope);
        let known = match self.chains.get(&key) {
            Some(row) => Some(*row),
            None => rows::find(self.view, Tree::Chain, &key)?,
        };
        if known.is_none_or(|row| row.sequence <= header.sequence) {
            let row = ChainRow { sequence: header.sequence, head: batch.id(), last: header.last };
            self.writes.put(Tree::Chain, key.clone(), rows::encode(&row));
            self.chains.insert(key, row);
        }
        Ok(())
    }

    /// Whether a pass over the records alone passes over what lies at `place`: its scope was let go
    /// behind that, and the frame that says so may not be readable a second time.
    fn is_passed_over(&self, place: Place, scope: Scope) -> Result<bool, Error> {
        Ok(!self.sources.reach.has_notes() && self.is_let_go(place, scope)?)
    }

    fn apply_local(&mut self, place: Place, local: LocalChange) -> Result<(), Error> {
        let (document, scope) = (local.document, local.scope);
        if self.is_passed_over(place, scope)? {
            return Ok(());
        }
        let reach = self.sources.reach;
        let hash = if reach.has_records() {
            let source = Source::of_local(local, self.sources.me);
            self.arrive(document, scope, (place, LOCAL_LEAF), source)
        } else {
            touched::short_hash(&local.change)
        };
        if !reach.has_notes() {
            return Ok(());
        }
        self.note_local_remains(place, self.sources.policy.is_purged(&document));
        if let Some(hash) = hash {
            self.open.add(document);
            let key = rows::unsealed_key(document, hash);
            self.writes.put(Tree::Meta, key, rows::encode(&place));
        }
        Ok(())
    }

    /// Lines one change up for its document; gives the start of its hash if it can be read.
    fn arrive(
        &mut self,
        id: DocumentId,
        scope: Scope,
        place: (Place, u16),
        source: Source,
    ) -> Option<[u8; 8]> {
        let arrival = Arrival::new(place, source);
        let hash = arrival.short_hash();
        if !self.sources.policy.is_purged(&id) {
            let work = self.documents.entry(id).or_insert_with(|| Work::new(id, scope));
            work.arrivals.push(arrival);
        }
        hash
    }

    /// Works on every document that changes have arrived for, on all cores; gives what each core has
    /// done, and the rows of it.
    fn merge(&mut self) -> Result<Vec<(Vec<Done>, WriteSet)>, Error> {
        let work: Vec<Work> = std::mem::take(&mut self.documents).into_values().collect();
        let (sources, standing, schemas) = (self.sources, &self.standing, &self.schemas);
        let any_waits = waiting::is_any(self.view)?;
        let one = |work: Work| match sources.is_stopped.load(Ordering::Relaxed) {
            true => Err(Error::ShuttingDown),
            false => touched::apply(work, sources, standing, schemas, any_waits),
        };
        let all = |share: Vec<Work>| {
            let mut done = share.into_iter().map(one).collect::<Result<Vec<Done>, Error>>()?;
            let writes = WriteSet::gather(done.iter_mut().map(|it| std::mem::take(&mut it.writes)));
            Ok((done, writes))
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(CORES_MAX);
        let share = work.len().div_ceil(cores).max(SHARE_MIN);
        if work.len() <= share {
            return Ok(vec![all(work)?]);
        }
        let mut shares = Vec::new();
        let mut rest = work.into_iter();
        while rest.len() > 0 {
            shares.push(rest.by_ref().take(share).collect::<Vec<_>>());
        }
        std::thread::scope(|scope| {
            let spawn = |share| scope.spawn(|| all(share));
            let workers: Vec<_> = shares.into_iter().map(spawn).collect();
            let join = |worker: std::thread::ScopedJoinHandle<'_, _>| match worker.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            workers.into_iter().map(join).collect()
        })
    }

    /// Writes what has changed of a document.
    fn write(&mut self, done: Done) -> Result<(), Error> {
        let Done { id, scope, growth, has_vanished, refused, twins, moved, .. } = done;
        self.note_alike(id, done.alike);
        if has_vanished {
            self.note_vanished();
        }
        for (older, newer) in moved {
            let key = refused_key(older);
            let row =
                self.view.get(Tree::Quarantine, &key).map_err(|error| Error::store(&error))?;
            if let Some(row) = row {
                self.writes.delete(Tree::Quarantine, key);
                self.writes.put(Tree::Quarantine, refused_key(newer), row);
            }
        }
        for reference in done.counting {
            self.writes.delete(Tree::Quarantine, refused_key(reference));
        }
        for refused in refused {
            self.quarantine(id, scope, refused);
        }
        for ChangeRef { place, leaf, .. } in twins {
            self.writes.put(Tree::Meta, rows::twin_key(id, place, leaf), Vec::new());
        }
        *self.counts.entry(scope.collection).or_default() += growth;
        Ok(())
    }

    fn quarantine(&mut self, id: DocumentId, scope: Scope, refused: Refused) {
        let Refused { reference, author, reason } = refused;
        tracing::warn!(document = %id.short(), author = %author.short(), reason, "quarantined");
        let key = refused_key(reference);
        let row = QuarantineRow { document: id, collection: scope.collection, author, reason };
        self.writes.put(Tree::Quarantine, key, rows::encode(&row));
    }
}

/// The key of a refused change in [`Tree::Quarantine`].
pub(crate) fn refused_key(reference: ChangeRef) -> Vec<u8> {
    rows::encode(&(reference.place, reference.leaf))
}

/// The leaves of a batch that are not erased, with their numbers.
fn leaves(batch: &Batch) -> impl Iterator<Item = (u16, &Leaf)> {
    batch
        .leaves()
        .iter()
        .enumerate()
        .filter(|(_, leaf)| !leaf.is_erased())
        .map(|(index, leaf)| (u16::try_from(index).expect("a batch holds at most 64 leaves"), leaf))
}

/// The key of the facts that add to each other; no row has it.
pub(crate) const FACTS_ADDED: &[u8] = b"fact/added";

/// The key of a fact in [`Tree::Meta`]; the kinds that add to each other share one, unused.
pub(crate) const fn fact_key(fact: &Fact) -> &'static [u8] {
    match fact {
        Fact::Epoch(_) => b"fact/epoch",
        Fact::Invitations(_) => b"fact/invitations",
        Fact::Addresses(_) => b"fact/addresses",
        Fact::LastSync(_) => b"fact/last-sync",
        Fact::Damage(_) => b"fact/damage",
        Fact::Found(_) => b"fact/found",
        Fact::Restores(_) => b"fact/restores",
        Fact::Signed(_) => b"fact/signed",
        Fact::Revoked(_) => b"fact/revoked",
        Fact::Met(_) => b"fact/met",
        Fact::Twice(_) => b"fact/twice",
        Fact::Scrubbed(_) => b"fact/scrubbed",
        Fact::Kept(_) => b"fact/kept",
        Fact::Swept(_) => b"fact/swept",
        Fact::Checked(_) => b"fact/checked",
        Fact::RelayLost(_) => b"fact/relay-lost",
        Fact::Mended(_) => b"fact/mended",
        Fact::Agreed(_) => b"fact/agreed",
        Fact::Aside(_)
        | Fact::Admitted(_)
        | Fact::Receipt(_)
        | Fact::Restored { .. }
        | Fact::Doubted { .. }
        | Fact::Harmed(_)
        | Fact::Healed { .. }
        | Fact::Settled { .. }
        | Fact::LetGo(_) => FACTS_ADDED,
    }
}

/// The key of the number of records of a collection in [`Tree::Meta`].
pub(crate) fn count_key(collection: u16) -> Vec<u8> {
    let mut key = b"count/".to_vec();
    key.extend_from_slice(&collection.to_be_bytes());
    key
}

#[cfg(test)]
mod tests;

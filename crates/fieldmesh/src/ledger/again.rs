//! What the view knows and the log has lost is written once more.
//!
//! Nobody else has what is noted on this device alone: drafts, what apps have to know again, and
//! facts. A view that is made anew from the log would lack it without a word, or have again what
//! somebody has taken back.
//!
//! Left out is what the view does not hold, and what would say more at a later place than it said at
//! its own: by when entries had arrived, what was let go of a scope, that damage was healed or given
//! up (it is told once more), which batches are aside (each open finds that out), and how far the
//! log had been searched or compared.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::sync::PoisonError;

use fieldmesh_batch::Receipt;
use fieldmesh_replica::Doubt;
use fieldmesh_store::{Direction, Entry as LogEntry, KeyRange, Place, Tree};

use crate::entry::{Entry, Fact};
use crate::error::Error;
use crate::harm::{self, Outcome};
use crate::projection::{FACTS_ADDED, NoteRow, fact_key};
use crate::rows::{self, DoubtRow};

use super::Ledger;
use super::mend::HARMS_PER_FACT;
use super::written::in_parts;

/// How often the end of a log is looked for to which others append.
const TRIES_MAX: usize = 64;
/// The prefix of the keys of facts of which the last one holds, see [`fact_key`].
const FACT_PREFIX: &[u8] = b"fact/";

/// What a view has that is made of what can be read of the log, as far as another one may differ.
#[derive(Default)]
struct Said {
    /// The notes that the view lacks.
    notes: BTreeSet<Vec<u8>>,
    /// The facts of which the last one holds, by their keys.
    last: BTreeMap<&'static [u8], Fact>,
    /// The keys of the rows of receipts.
    receipts: BTreeSet<Vec<u8>>,
    /// By the keys of their rows.
    doubts: BTreeMap<Vec<u8>, Doubt>,
    harms: BTreeSet<Place>,
    /// Kinds of which the view has not read one that can be read, which may be the last.
    unseen: BTreeSet<&'static [u8]>,
}

impl Said {
    fn hear(&mut self, fact: Fact, is_seen: bool) {
        let doubt = |device, store, epoch, until| Doubt { device, store, epoch, until };
        match &fact {
            Fact::Receipt(bytes) => {
                let receipt = Receipt::decode(bytes).ok();
                let key = receipt.map(|it| rows::receipt_key(it.signer, it.at, bytes));
                self.receipts.extend(key);
            }
            Fact::Restored { device, store, epoch } => {
                self.hear_doubt(doubt(*device, *store, *epoch, None));
            }
            Fact::Doubted { device, store, epoch, until } => {
                self.hear_doubt(doubt(*device, *store, *epoch, Some(*until)));
            }
            Fact::Harmed(harms) => self.harms.extend(harms.iter().map(|harm| harm.place)),
            _ if fact_key(&fact) == FACTS_ADDED => {}
            _ if is_seen => {
                self.last.insert(fact_key(&fact), fact);
            }
            _ => {
                self.unseen.insert(fact_key(&fact));
            }
        }
    }

    fn hear_doubt(&mut self, doubt: Doubt) {
        let key = rows::doubt_key(doubt.device, doubt.store);
        let known = self.doubts.entry(key).or_insert(doubt);
        if is_weaker(known, &doubt) {
            *known = doubt;
        }
    }
}

impl Ledger {
    /// Writes those notes once more, durably, that lie at these places.
    ///
    /// What lay there besides, [`Self::write_unsaid`] writes.
    pub(super) fn write_notes_again(&self, places: &BTreeSet<Place>) -> Result<(), Error> {
        let keys = self.notes_at(places)?;
        if keys.is_empty() {
            return Ok(());
        }
        // What somebody notes meanwhile must not be taken back by what stood there before.
        let _gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        let _drafts = self.drafts.lock().unwrap_or_else(PoisonError::into_inner);
        self.catch_up_noted()?;
        let (prefix, mut left) = (rows::note_key(&[]), Vec::new());
        for key in keys {
            let row: Option<NoteRow> = rows::find(self.view(), Tree::Meta, &key)?;
            let row = row.filter(|row| places.contains(&row.place));
            if let (Some(NoteRow { value, .. }), Some(key)) = (row, key.strip_prefix(&prefix[..])) {
                left.push((key.to_vec(), Some(value)));
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        let notes = in_parts(left, None).into_iter();
        let entries = notes.map(|note| Entry::Note(note).encode()).collect();
        let written = self.store.append(entries).map_err(|error| Error::store(&error))?;
        written.last().map_or(Ok(()), |place| self.projector.wait_noted(*place))
    }

    /// Writes once more, durably, what a view that is made anew would lack of this one or have
    /// beside it; false where others appended all the time, and nothing was written.
    ///
    /// All of the log is read for that.
    pub(super) fn write_unsaid(&self) -> Result<bool, Error> {
        self.catch_up_noted()?;
        let said = self.said()?;
        for _ in 0..TRIES_MAX {
            // The end that is waited for, and not a later one: what lies in between the view would
            // lack, and what stood there before would be written behind it.
            let end = self.store.end();
            end.map_or(Ok(()), |place| self.projector.wait_noted(place))?;
            let entries = self.unsaid(&said)?;
            if entries.is_empty() {
                return Ok(true);
            }
            // What somebody says meanwhile must not be taken back by what stood there before.
            let written = self.store.append_behind(end, entries);
            if let Some(place) = written.map_err(|error| Error::store(&error))?.last() {
                self.projector.wait_noted(*place)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What can be read of the log.
    fn said(&self) -> Result<Said, Error> {
        let passed_over = harm::passed_over(self.view())?;
        let is_seen =
            |place: Place| !passed_over.iter().any(|it: &Range<u64>| it.contains(&place.0));
        let (mut said, mut failed) = (Said::default(), None);
        let replayed = self.store.replay(None, |place, entry| {
            match Entry::decode(&entry) {
                Ok(Entry::Fact(fact)) => said.hear(fact, is_seen(place)),
                Ok(Entry::Note(note)) => {
                    for (key, value) in note.rows {
                        let key = rows::note_key(&key);
                        // Whether it was taken back, only a view knows that has read it.
                        let is_there = match value.filter(|_| is_seen(place)) {
                            Some(_) => self.view().get(Tree::Meta, &key).map(|row| row.is_some()),
                            None => Ok(true),
                        };
                        match is_there {
                            Ok(true) => said.notes.remove(&key),
                            Ok(false) => said.notes.insert(key),
                            Err(error) => failed.replace(error).is_some(),
                        };
                    }
                }
                Ok(Entry::Item(_) | Entry::Batch(_) | Entry::Change(_)) | Err(_) => {}
            }
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        replayed.map_err(|error| Error::store(&error))?;
        failed.map_or(Ok(said), |error| Err(Error::store(&error)))
    }

    /// What the view says otherwise than what was `said`.
    fn unsaid(&self, said: &Said) -> Result<Vec<LogEntry>, Error> {
        let (view, up) = (self.view(), Direction::Ascending);
        let mut facts = Vec::new();
        for row in rows::scan(view, Tree::Meta, KeyRange::prefix(FACT_PREFIX), up) {
            // What another version of the program says is not lost by it alone.
            let Ok(fact) = rows::decode::<Fact>(&row?.1) else { continue };
            let key = fact_key(&fact);
            let is_said = said.last.get(key) == Some(&fact) || said.unseen.contains(key);
            if !is_said && holds_anywhere(&fact) {
                facts.push(fact);
            }
        }
        for row in rows::scan(view, Tree::Meta, KeyRange::prefix(rows::RECEIPT_PREFIX), up) {
            let (key, bytes) = row?;
            if !said.receipts.contains(&key) {
                facts.push(Fact::Receipt(bytes));
            }
        }
        for row in rows::scan(view, Tree::Meta, KeyRange::prefix(rows::DOUBT_PREFIX), up) {
            let (key, value) = row?;
            let doubt = Doubt::from(rows::decode::<DoubtRow>(&value)?);
            if said.doubts.get(&key).is_none_or(|said| is_weaker(said, &doubt)) {
                facts.push(of_doubt(doubt));
            }
        }
        let mut harms = harm::all(view)?;
        harms.retain(|it| it.outcome == Outcome::Open && !said.harms.contains(&it.place));
        facts.extend(harms.chunks(HARMS_PER_FACT).map(|some| Fact::Harmed(some.to_vec())));
        let prefix = rows::note_key(&[]);
        let mut gone = Vec::new();
        for key in &said.notes {
            let row = view.get(Tree::Meta, key).map_err(|error| Error::store(&error))?;
            let key = key.strip_prefix(&prefix[..]).filter(|_| row.is_none());
            gone.extend(key.map(|key| (key.to_vec(), None)));
        }
        let facts = facts.into_iter().map(|fact| Entry::Fact(fact).encode());
        let mut entries: Vec<LogEntry> = facts.collect();
        if !gone.is_empty() {
            entries.extend(in_parts(gone, None).into_iter().map(|it| Entry::Note(it).encode()));
        }
        Ok(entries)
    }

    /// The keys of the rows of notes that lie at these places.
    fn notes_at(&self, places: &BTreeSet<Place>) -> Result<Vec<Vec<u8>>, Error> {
        let mut keys = Vec::new();
        let range = KeyRange::prefix(&rows::note_key(&[]));
        for row in rows::scan(self.view(), Tree::Meta, range, Direction::Ascending) {
            let (key, value) = row?;
            if places.contains(&rows::decode::<NoteRow>(&value)?.place) {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

/// Whether a fact of which the last one holds says at a later place what it said at its own, and is
/// not found out anew anyway.
fn holds_anywhere(fact: &Fact) -> bool {
    match fact {
        Fact::Epoch(_)
        | Fact::Invitations(_)
        | Fact::Addresses(_)
        | Fact::LastSync(_)
        | Fact::Found(_)
        | Fact::Restores(_)
        | Fact::Signed(_)
        | Fact::Revoked(_)
        | Fact::Met(_)
        | Fact::Twice(_)
        | Fact::Kept(_)
        | Fact::Checked(_)
        | Fact::RelayLost(_)
        | Fact::Mended(_) => true,
        Fact::Damage(_)
        | Fact::Scrubbed(_)
        | Fact::Swept(_)
        | Fact::Agreed(_)
        | Fact::Aside(_)
        | Fact::Admitted(_)
        | Fact::Receipt(_)
        | Fact::Restored { .. }
        | Fact::Doubted { .. }
        | Fact::Harmed(_)
        | Fact::Healed { .. }
        | Fact::Settled { .. }
        | Fact::LetGo(_) => false,
    }
}

fn of_doubt(Doubt { device, store, epoch, until }: Doubt) -> Fact {
    match until {
        Some(until) => Fact::Doubted { device, store, epoch, until },
        None => Fact::Restored { device, store, epoch },
    }
}

/// Whether a doubt says less than another one of the same store.
fn is_weaker(doubt: &Doubt, other: &Doubt) -> bool {
    (doubt.epoch, doubt.until) < (other.epoch, other.until)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use fieldmesh_model::{Moment, StoreId};

    use super::*;
    use crate::harm::{Harm, Harmed};
    use crate::{Node, TenantOptions};

    fn last_segment(home: &Path) -> PathBuf {
        let log = fs::read_dir(home.join("store").join("log")).unwrap();
        log.map(|entry| entry.unwrap().path()).max().unwrap()
    }

    fn length(path: &Path) -> usize {
        fs::read(path).unwrap().len()
    }

    fn at() -> Moment {
        Moment::from_millis(1_700_000_000_000)
    }

    /// A home with these facts in a part of its log that goes bad once the view has read it, and
    /// whose view is lost afterwards.
    async fn without_view(home: &Path, facts: impl Fn(&Ledger) -> Vec<Fact>) -> Node {
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(home).passphrase("one");
        let (node, _) = builder.create_tenant(options).await.unwrap();
        let ledger = node.ledger();
        // What a home says of itself at its first start would lie among these.
        while ledger.scrub_state().unwrap().finished.is_none() {
            tokio::task::yield_now().await;
        }
        ledger.catch_up().unwrap();
        let segment = last_segment(home);
        let before = length(&segment);
        ledger.remember_all(facts(ledger).into_iter()).unwrap();
        ledger.catch_up().unwrap();
        let behind = length(&segment);
        // Behind the last entry nobody would know that it is damage and not an end.
        ledger.remember_all([Fact::LastSync(at())].into_iter()).unwrap();
        let mut bytes = fs::read(&segment).unwrap();
        (before + 30..behind).step_by(30).for_each(|at| bytes[at] ^= 1);
        fs::write(&segment, bytes).unwrap();
        node.verify().await.unwrap();
        node.doctor().await.unwrap();
        node.shutdown().await.unwrap();
        fs::remove_dir_all(home.join("store").join("view")).unwrap();
        Node::builder(home).passphrase("one").open().await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_device_knew_of_others_is_not_lost_with_a_damaged_part_of_the_log_and_the_view()
    {
        let folder = tempfile::tempdir().unwrap();
        let store = StoreId::from_bytes([7; 16]);
        let device = |ledger: &Ledger| ledger.device();
        let receipt = |ledger: &Ledger| {
            let tenant = ledger.identity.tenant;
            Receipt::new(tenant, device(ledger), (store, 4), at(), [[3; 46]]).encode()
        };
        let open = Harm {
            place: Place(1 << 40),
            found: at(),
            what: Harmed::Unknown,
            outcome: Outcome::Open,
        };
        let facts = |ledger: &Ledger| {
            let device = device(ledger);
            vec![
                Fact::RelayLost(at()),
                Fact::Met(vec![(device, at())]),
                Fact::Receipt(receipt(ledger)),
                Fact::Doubted { device, store, epoch: 3, until: at() },
                Fact::Harmed(vec![open.clone()]),
            ]
        };
        let node = without_view(&folder.path().join("home"), facts).await;
        let ledger = node.ledger();
        ledger.catch_up().unwrap();
        let known = ledger.recall(&Fact::RelayLost(Moment::ZERO)).unwrap();
        assert_eq!(known, Some(Fact::RelayLost(at())));
        let known = ledger.recall(&Fact::Met(Vec::new())).unwrap();
        assert_eq!(known, Some(Fact::Met(vec![(device(ledger), at())])));
        let key = rows::receipt_key(device(ledger), at(), &receipt(ledger));
        assert_eq!(ledger.view().get(Tree::Meta, &key).unwrap(), Some(receipt(ledger)));
        let doubt = Doubt { device: device(ledger), store, epoch: 3, until: Some(at()) };
        let key = rows::doubt_key(doubt.device, store);
        let known: Option<DoubtRow> = rows::find(ledger.view(), Tree::Meta, &key).unwrap();
        assert_eq!(known.map(Doubt::from), Some(doubt));
        assert!(harm::all(ledger.view()).unwrap().contains(&open));
        node.shutdown().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_view_has_not_read_takes_nothing_back_that_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let node = without_view(&home, |_| vec![Fact::RelayLost(at())]).await;
        let ledger = node.ledger();
        ledger.catch_up().unwrap();
        // As if the disk had not given the last of them when the view was made.
        ledger.remember_all([Fact::Restores(1 << 50), Fact::Twice(at())].into_iter()).unwrap();
        ledger.catch_up().unwrap();
        let end = ledger.store.end().unwrap().0;
        let mut writes = fieldmesh_store::WriteSet::new();
        writes.put(Tree::Meta, harm::passed_over_key(&(end - 1..end + 1)), Vec::new());
        let older = Fact::Restores(5);
        writes.put(Tree::Meta, fact_key(&older).to_vec(), rows::encode(&older));
        ledger.view().apply(writes).unwrap();
        ledger.write_unsaid().unwrap();
        let mut last = None;
        let replayed = ledger.store.replay(None, |_, entry| {
            if let Ok(Entry::Fact(Fact::Restores(count))) = Entry::decode(&entry) {
                last = Some(count);
            }
            ControlFlow::Continue(())
        });
        replayed.unwrap();
        assert_eq!(last, Some(1 << 50));
        node.shutdown().await.unwrap();
    }
}

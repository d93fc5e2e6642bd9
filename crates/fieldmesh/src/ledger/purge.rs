//! The right to erasure: a record is purged everywhere, and the log of this home is swept.
//!
//! The item is durable first, and the log is written anew behind it: what a crash leaves undone is
//! found again, because the fact that says it is done is written last.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use fieldmesh_batch::Batch;
use fieldmesh_identity::{Item, LEAVES_PER_ITEM_MAX, Policy, Purge, Statement};
use fieldmesh_model::{DocumentId, Role};
use fieldmesh_replica::without_purged;
use fieldmesh_store::{Fate, Past, Place, RewriteError, Tree};

use crate::api::PurgeReport;
use crate::clock;
use crate::entry::{Entry, Fact, LocalChange, Sweep};
use crate::error::Error;
use crate::projection::{UNNAMED_KEY, UNSWEPT_KEY};
use crate::purge::{self, Holds};
use crate::rows;

use super::Ledger;
use super::membership::named;
use super::revoke::check_reason;

/// How often a device names leaves of purged documents that have come late; each time costs room
/// among the policy items.
const NAMING_PAUSE: Duration = Duration::from_secs(3_600);

/// Leaves by document.
type Leaves = BTreeMap<DocumentId, BTreeSet<[u8; 32]>>;

impl Ledger {
    /// Has a record erased on every device of the tenant, for good.
    ///
    /// Gives the items that were made, durable and in force here; the log is not swept so far.
    pub(crate) fn purge(
        &self,
        id: DocumentId,
        reason: &str,
    ) -> Result<(PurgeReport, Vec<Item>), Error> {
        check_reason(reason)?;
        self.settle()?;
        let policy = self.policy();
        if self.row(id)?.is_none() {
            return Err(self.no_record(id));
        }
        // What is in no batch so far has no leaf that could be named.
        self.seal_all()?;
        self.catch_up()?;
        let mut found = self.unnamed(&policy, |document| *document == id)?;
        let leaves = found.remove(&id).unwrap_or_default();
        let count = leaves.len() as u64;
        let items = self.purges(id, &leaves, reason, &[])?;
        let after = self.policy_with(&items)?;
        if !items.iter().all(|item| after.counts(&item.id())) {
            return Err(self.may_not(&policy, "purge a record"));
        }
        self.add_items(&items)?;
        self.desk().recent.remove(&id);
        Ok((PurgeReport { id, changes: count, swept: false }, items))
    }

    /// Names what has come late of purged documents, so that everybody erases it, if this is an
    /// administrator's device; gives the items that were made, durable and in force here.
    ///
    /// Nobody but an administrator can say that a leaf may be missing, and whoever receives a batch
    /// with such a leaf keeps it whole until then.
    pub(crate) fn name_late(&self) -> Result<Vec<Item>, Error> {
        let policy = self.policy();
        let is_admin = policy.member(&self.device()).is_some_and(|me| me.role == Role::Admin);
        if !is_admin || !policy.has_purges() {
            return Ok(Vec::new());
        }
        let place: Option<Place> = rows::find(self.view(), Tree::Meta, UNNAMED_KEY)?;
        let mut naming = self.naming.lock().expect("no holder of this lock panics");
        let is_new = place.is_some() && naming.until < place;
        if !is_new || naming.since.is_some_and(|since| since.elapsed() < NAMING_PAUSE) {
            return Ok(Vec::new());
        }
        let mut items = Vec::new();
        for (id, leaves) in self.unnamed(&policy, |document| policy.is_purged(document))? {
            let reason = policy.purged(&id).map(|it| it.reason.clone()).unwrap_or_default();
            items.extend(self.purges(id, &leaves, &reason, &items)?);
        }
        self.add_items(&items)?;
        naming.until = place;
        naming.since = (!items.is_empty()).then(Instant::now);
        Ok(items)
    }

    /// Whether the log may hold leaves that purges name.
    pub(crate) fn is_unswept(&self) -> Result<bool, Error> {
        let policy = self.policy();
        if !policy.has_purges() {
            return Ok(false);
        }
        let Some(Fact::Swept(last)) = self.recall(&Fact::Swept(Sweep::default()))? else {
            return Ok(true);
        };
        let unswept: Option<Place> = rows::find(self.view(), Tree::Meta, UNSWEPT_KEY)?;
        Ok(last.purges != purge::digest(&policy) || unswept > Some(last.until))
    }

    /// That something is still to be erased, in words.
    pub(crate) fn sweep_note(&self) -> Result<Option<String>, Error> {
        let note = "a purge is under way: what was purged is not erased here so far";
        Ok(self.is_unswept()?.then(|| note.into()))
    }

    /// Erases from the log and the view what purges name, if there may be any of it. Blocks.
    ///
    /// # Errors
    ///
    /// Something is left, and the next try goes on with it.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        if !self.is_unswept()? {
            return Ok(());
        }
        let policy = self.policy();
        // What is applied from here on is judged by this policy or a later one.
        self.projector.turn_over()?;
        let Some(until) = self.projector.applied() else { return Ok(()) };
        let places = self.remains(&policy, until)?;
        if !places.is_empty() {
            self.erase(&policy, &places)?;
            self.store.compact_view().map_err(|error| Error::store(&error))?;
        }
        tracing::info!(entries = places.len(), "what was purged is erased from this home");
        self.remember(Fact::Swept(Sweep { purges: purge::digest(&policy), until }))
    }

    /// What is said of a record that is not here.
    pub(super) fn no_record(&self, id: DocumentId) -> Error {
        let policy = self.policy();
        match policy.purged(&id) {
            None => Error::NotFound { kind: "record", name: id.to_string() },
            Some(purged) => Error::Purged {
                id,
                by: named(&policy, &purged.by),
                at: purged.at,
                reason: purged.reason.clone(),
            },
        }
    }

    /// Fails if the record was purged.
    pub(super) fn check_not_purged(&self, id: DocumentId) -> Result<(), Error> {
        if self.policy().is_purged(&id) { Err(self.no_record(id)) } else { Ok(()) }
    }

    /// Statements that name the leaves, as many as they need; they follow `before`.
    fn purges(
        &self,
        document: DocumentId,
        leaves: &BTreeSet<[u8; 32]>,
        reason: &str,
        before: &[Item],
    ) -> Result<Vec<Item>, Error> {
        let all: Vec<[u8; 32]> = leaves.iter().copied().collect();
        let mut parts: Vec<&[[u8; 32]]> = all.chunks(LEAVES_PER_ITEM_MAX).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        let mut items = before.to_vec();
        for part in parts {
            let policy = self.policy_with(&items)?;
            let leaves = part.iter().copied().collect();
            let purge = Purge { document, leaves, at: clock::now(), reason: reason.into() };
            items.push(self.sign(&policy, &Statement::Purge(Box::new(purge)))?);
        }
        Ok(items.split_off(before.len()))
    }

    /// The leaves in the log of those documents that no purge names.
    fn unnamed(
        &self,
        policy: &Policy,
        is_purged: impl Fn(&DocumentId) -> bool,
    ) -> Result<Leaves, Error> {
        let mut found = Leaves::new();
        let replayed = self.store.replay(None, |_, entry| {
            if let Ok(Entry::Batch(bytes)) = Entry::decode(&entry)
                && let Ok(batch) = Batch::decode(&bytes)
            {
                for (document, leaf) in purge::unnamed(policy, &batch, &is_purged) {
                    found.entry(document).or_default().insert(leaf);
                }
            }
            ControlFlow::Continue(())
        });
        replayed.map_err(|error| Error::store(&error))?;
        Ok(found)
    }

    /// The entries up to `until` that hold what purges name.
    fn remains(&self, policy: &Policy, until: Place) -> Result<BTreeSet<Place>, Error> {
        let mut places = BTreeSet::new();
        let mut failed = None;
        let replayed = self.store.replay(None, |place, entry| {
            if place > until {
                return ControlFlow::Break(());
            }
            let is_it = match Entry::decode(&entry) {
                Ok(Entry::Batch(bytes)) => Batch::decode(&bytes)
                    .is_ok_and(|batch| purge::holds(policy, &batch) == Holds::Named),
                Ok(Entry::Change(local)) => match self.is_droppable(policy, &local) {
                    Ok(is_droppable) => is_droppable,
                    Err(error) => {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                },
                Ok(Entry::Item(_) | Entry::Fact(_)) | Err(_) => false,
            };
            if is_it {
                places.insert(place);
            }
            ControlFlow::Continue(())
        });
        replayed.map_err(|error| Error::store(&error))?;
        failed.map_or(Ok(places), Err)
    }

    /// Whether a change of this device belongs to a purged document and lies in a batch, which
    /// decides what becomes of it.
    fn is_droppable(&self, policy: &Policy, local: &LocalChange) -> Result<bool, Error> {
        if !policy.is_purged(&local.document) {
            return Ok(false);
        }
        let Ok(peeked) = fieldmesh_document::peek(&local.change) else { return Ok(false) };
        let Some(hash) = peeked.hash.first_chunk().copied() else { return Ok(false) };
        let key = rows::unsealed_key(local.document, hash);
        let open: Option<Place> = rows::find(self.view(), Tree::Meta, &key)?;
        Ok(open.is_none())
    }

    /// Writes those parts of the log anew that hold entries at `places`.
    fn erase(&self, policy: &Policy, places: &BTreeSet<Place>) -> Result<(), Error> {
        self.store.rotate(0);
        for segment in self.store.closed_segments().map_err(|error| Error::store(&error))? {
            let own = Place(segment.places.start)..Place(segment.places.end);
            if places.range(own).next().is_none() {
                continue;
            }
            let rewritten = self.store.rewrite(segment.number, Past::Named, |place, entry| {
                if places.contains(&place) { erased(policy, entry) } else { Fate::Keep }
            });
            match rewritten {
                Ok(_) => {}
                Err(RewriteError::Closed) => return Err(Error::ShuttingDown),
                Err(error) => return Err(Error::store(&error)),
            }
            let discarded = self.store.discard_copies(segment.number);
            discarded.map_err(|error| Error::store(&error))?;
        }
        Ok(())
    }
}

/// What becomes of an entry that holds what purges name.
fn erased(policy: &Policy, entry: &fieldmesh_store::Entry) -> Fate {
    match Entry::decode(entry) {
        Ok(Entry::Batch(bytes)) => match Batch::decode(&bytes) {
            Ok(batch) => {
                Fate::Replace(Entry::Batch(without_purged(policy, batch).encode()).encode())
            }
            Err(_) => Fate::Keep,
        },
        Ok(Entry::Change(_)) => Fate::Drop,
        Ok(Entry::Item(_) | Entry::Fact(_)) | Err(_) => Fate::Keep,
    }
}

/// How far late leaves were named, and when last.
#[derive(Debug, Default)]
pub(super) struct Naming {
    until: Option<Place>,
    since: Option<Instant>,
}

#[cfg(test)]
mod tests;

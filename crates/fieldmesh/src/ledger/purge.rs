//! The right to erasure: saying that records are purged, and telling what was.
//!
//! The item is durable first; [`super::sweep`] then takes what it names out of this home.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use fieldmesh_batch::Batch;
use fieldmesh_identity::{Item, LEAVES_PER_ITEM_MAX, Policy, Purge, Statement};
use fieldmesh_model::{DocumentId, Role};
use fieldmesh_store::{Place, Tree};

use crate::api::{PurgeOptions, PurgeReport, PurgedRecord};
use crate::clock;
use crate::entry::{Entry, Fact};
use crate::error::Error;
use crate::harm::{Harm, Harmed};
use crate::projection::UNNAMED_KEY;
use crate::purge;
use crate::rows;

use super::Ledger;
use super::diagnosis::counted;
use super::membership::named;
use super::names::Ending;
use super::query::Names;
use super::revoke::check_reason;

/// Records that are purged by one command: each costs room among the policy items.
const RECORDS_MAX: usize = 1_000;
/// How often a device names leaves of purged documents that have come late; each time costs room
/// among the policy items.
const NAMING_PAUSE: Duration = Duration::from_secs(3_600);

/// Purged documents of which late leaves are named at once: who writes them for nothing must not
/// use up the room of the policy.
const NAMED_AT_ONCE_MAX: usize = 16;

/// Leaves by document.
type Leaves = BTreeMap<DocumentId, BTreeSet<[u8; 32]>>;

impl Ledger {
    /// Has records erased on every device of the tenant, for good: all of them or none, but
    /// for a crash in between.
    ///
    /// That is durable then, in force here and on its way to others; the log is not swept so far.
    pub(crate) fn purge(&self, options: &PurgeOptions) -> Result<Vec<PurgeReport>, Error> {
        check_reason(&options.reason)?;
        let ids = self.to_purge(&options.records)?;
        let policy = self.policy();
        let mut found = Leaves::new();
        if !options.dry_run {
            // What is in no batch so far has no leaf that could be named.
            self.seal_all()?;
            self.catch_up()?;
            found = self.unnamed(&policy, |document| ids.contains(document))?;
        }
        let (mut reports, mut items) = (Vec::new(), Vec::new());
        for id in ids {
            let leaves = found.remove(&id).unwrap_or_default();
            items.extend(self.purges(id, &leaves, &options.reason, &items)?);
            reports.push(self.purge_report(id)?);
        }
        let after = self.policy_with(&items)?;
        if !items.iter().all(|item| after.counts(&item.id())) {
            return Err(self.may_not(&policy, "purge a record"));
        }
        if options.dry_run {
            return Ok(reports);
        }
        self.add_items(&items)?;
        let mut desk = self.desk();
        for report in &mut reports {
            desk.recent.remove(&report.id);
            report.purged = true;
        }
        drop(desk);
        Ok(reports)
    }

    /// What was purged so far, the last one first.
    pub(crate) fn purges_said(&self) -> Result<Vec<PurgedRecord>, Error> {
        self.settle()?;
        let policy = self.policy();
        let (left, is_kept) = (self.left_of_purged(&policy)?, self.kept_beside().is_some());
        let mut purged: Vec<PurgedRecord> = Vec::new();
        for id in policy.purged_documents() {
            let Some(said) = policy.purged(&id) else { continue };
            purged.push(PurgedRecord {
                id,
                by: named(&policy, &said.by),
                at: said.at,
                reason: said.reason.clone(),
                erased: !is_kept && !left.contains(&id),
            });
        }
        purged.sort_by_key(|record| std::cmp::Reverse((record.at, record.id)));
        Ok(purged)
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
        let late = self.unnamed(&policy, |document| policy.is_purged(document))?;
        let is_all = late.len() <= NAMED_AT_ONCE_MAX;
        for (id, leaves) in late.into_iter().take(NAMED_AT_ONCE_MAX) {
            let reason = policy.purged(&id).map(|it| it.reason.clone()).unwrap_or_default();
            items.extend(self.purges(id, &leaves, &reason, &items)?);
        }
        let after = self.policy_with(&items)?;
        items.retain(|item| after.counts(&item.id()));
        self.add_items(&items)?;
        if is_all {
            naming.until = place;
        }
        // Looking reads the whole log, so what is left waits too, whether or not any of it counted.
        naming.since = (!is_all || !items.is_empty()).then(Instant::now);
        Ok(items)
    }

    /// What is said of a record that is not here.
    pub(super) fn no_record(&self, id: DocumentId) -> Error {
        let policy = self.policy();
        match policy.purged(&id) {
            None => self.not_here(id),
            Some(purged) => Error::Purged {
                id,
                by: named(&policy, &purged.by),
                at: purged.at,
                reason: purged.reason.clone(),
            },
        }
    }

    /// Fails if the key of a record that is to be made was that of one that was purged.
    pub(super) fn check_key_not_purged(&self, id: DocumentId) -> Result<(), Error> {
        if !self.policy().is_purged(&id) {
            return Ok(());
        }
        Err(Error::fault("", format!("its key is taken for good: {}", self.no_record(id))))
    }

    /// The records that are meant.
    fn to_purge(&self, records: &[String]) -> Result<BTreeSet<DocumentId>, Error> {
        if records.is_empty() || records.len() > RECORDS_MAX {
            let count = records.len();
            let reason =
                format!("{count} records are named; a purge takes 1 to {RECORDS_MAX} at a time");
            return Err(Error::Usage { reason });
        }
        let meant = |record: &String| match self.resolve(record) {
            Err(refused @ Error::NotFound { .. }) => self.resolve_lost(record)?.ok_or(refused),
            resolved => resolved,
        };
        records.iter().map(meant).collect()
    }

    /// The record that is meant among those of which only what was lost is shown.
    fn resolve_lost(&self, record: &str) -> Result<Option<DocumentId>, Error> {
        let Some(ending) = Ending::of(record) else { return Ok(None) };
        let mut meant: BTreeSet<DocumentId> =
            self.waiting_documents(usize::MAX)?.into_keys().collect();
        meant.extend(self.harms()?.iter().filter_map(Harm::shown).map(|lost| lost.document));
        meant.retain(|id| ending.fits(id));
        match (meant.pop_first(), meant.is_empty()) {
            (found, true) => Ok(found),
            (_, false) => Ok(None),
        }
    }

    /// A record of which only what was lost is shown.
    fn report_of_lost(&self, id: DocumentId) -> Result<PurgeReport, Error> {
        let harms = self.harms()?;
        let mut lost = harms.iter().filter_map(Harm::shown).filter(|lost| lost.document == id);
        let schema = lost.next().map(|lost| self.schema(lost.collection));
        let is_waiting = self.waiting_documents(usize::MAX)?.contains_key(&id);
        if schema.is_none() && !is_waiting {
            return Err(self.no_record(id));
        }
        let collection = schema.map_or_else(String::new, |schema| schema.name.clone());
        let (name, changes) = (String::new(), 0);
        Ok(PurgeReport { id, collection, name, changes, purged: false, erased: false })
    }

    fn purge_report(&self, id: DocumentId) -> Result<PurgeReport, Error> {
        let Some(row) = self.row(id)? else { return self.report_of_lost(id) };
        let changes = row.changes.len() as u64;
        let schema = self.schema(row.scope.collection);
        let shown = row.record.as_ref();
        let name = shown.and_then(|shown| Names::default().of_unshown(self, &schema, shown));
        let name = name.unwrap_or_default();
        let collection = schema.name.clone();
        Ok(PurgeReport { id, collection, name, changes, purged: false, erased: false })
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

    /// That the log has something again of what was purged, in words.
    pub(super) fn note_of_left(&self, policy: &Policy) -> Result<Option<String>, Error> {
        let count = self.left_of_purged(policy)?.len();
        let note = || format!("the log has something of {}", counted(count, "record", "records"));
        Ok((count > 0).then(note))
    }

    /// The purged documents of which the log still has something.
    fn left_of_purged(&self, policy: &Policy) -> Result<BTreeSet<DocumentId>, Error> {
        let mut left = BTreeSet::new();
        if !policy.has_purges() {
            return Ok(left);
        }
        let replayed = self.store.replay(None, |_, entry| {
            match Entry::decode(&entry) {
                Ok(Entry::Batch(bytes)) => {
                    let batch = Batch::decode(&bytes).ok();
                    let leaves = batch.iter().flat_map(Batch::leaves);
                    left.extend(leaves.filter(|it| !it.is_erased()).map(|leaf| leaf.document));
                }
                Ok(Entry::Change(local)) => {
                    left.insert(local.document);
                }
                Ok(Entry::Fact(Fact::Harmed(harms))) => {
                    left.extend(harms.iter().filter_map(|harm| match &harm.what {
                        Harmed::Change(lost) if lost.shown.is_some() => Some(lost.document),
                        _ => None,
                    }));
                }
                Ok(Entry::Item(_) | Entry::Fact(_) | Entry::Note(_)) | Err(_) => {}
            }
            ControlFlow::Continue(())
        });
        replayed.map_err(|error| Error::store(&error))?;
        left.retain(|id| policy.is_purged(id));
        Ok(left)
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

//! What was adopted: batches that did not count until an administrator said that they do.
//!
//! The signed statements tell it, so it reads alike on every device that holds them and the
//! batches. They carry no time, so who adopted something is known, and when is not.

use std::collections::BTreeMap;

use fieldmesh_batch::Header;
use fieldmesh_identity::{
    Adoption, ChainHead, HEADS_PER_ITEM_MAX, Item, Policy, Revocation, Statement,
};
use fieldmesh_model::{BatchId, DeviceId};

use crate::api::ConflictReport;
use crate::error::Error;
use crate::places::read_batch;
use crate::rows::ChangeRef;

use super::Ledger;
use super::membership::named;
use super::query::Names;

impl Ledger {
    /// The batches here that count because they were adopted, and by whom.
    pub(super) fn adopted(&self) -> Result<BTreeMap<BatchId, String>, Error> {
        let policy = self.policy();
        let mut adopted = BTreeMap::new();
        if policy.everybody().all(|member| policy.heads_of(&member.device).is_empty()) {
            return Ok(adopted);
        }
        let mut items = self.policy_items()?;
        items.retain(|item| policy.counts(&item.id()));
        for item in &items {
            let Statement::Adoption(adoption) = item.statement() else { continue };
            if is_of_revocation(&items, item, adoption) {
                continue;
            }
            for head in &adoption.heads {
                let before = counted_before(&policy, &items, adoption.device, head);
                let by = named(&policy, item.signer());
                self.walk_adopted(head, before, &by, &mut adopted);
            }
        }
        for aside in self.aside()? {
            adopted.remove(&aside);
        }
        Ok(adopted)
    }

    /// Adds what `head` reaches and what counted `before` does not.
    fn walk_adopted(
        &self,
        head: &ChainHead,
        before: Option<&ChainHead>,
        by: &str,
        adopted: &mut BTreeMap<BatchId, String>,
    ) {
        let mut next = head.batch;
        let mut before = before.map(|it| (it.batch, it.sequence));
        while let Some(header) = self.header(&next) {
            // A chain that was forked shares its beginning with what counted.
            while let Some((batch, sequence)) = before
                && sequence > header.sequence
            {
                before = self
                    .header(&batch)
                    .map(|it| (it.previous, it.sequence.saturating_sub(1)))
                    .filter(|(_, last)| *last < sequence);
            }
            if before.is_some_and(|(batch, _)| batch == next) || adopted.contains_key(&next) {
                return;
            }
            adopted.insert(next, by.to_owned());
            next = header.previous;
        }
    }

    fn header(&self, batch: &BatchId) -> Option<Header> {
        let place = self.places.find(batch)?;
        read_batch(&self.store, place).ok().map(|batch| batch.header().clone())
    }

    /// Who adopted which changes of a record, by what their references know of their hashes.
    pub(super) fn adopters(
        &self,
        changes: &[ChangeRef],
        authors: impl IntoIterator<Item = DeviceId>,
    ) -> Result<BTreeMap<[u8; 8], String>, Error> {
        let policy = self.policy();
        if authors.into_iter().all(|device| policy.heads_of(&device).is_empty()) {
            return Ok(BTreeMap::new());
        }
        let adopted = self.adopted()?;
        let by = |change: &ChangeRef| adopted.get(&self.places.batch_at(change.place)?).cloned();
        Ok(changes.iter().filter_map(|change| Some((change.hash, by(change)?))).collect())
    }

    /// A batch that was adopted, as an item of the inbox that has ended.
    pub(super) fn report_adopted(
        &self,
        batch: &BatchId,
        by: &str,
        names: &mut Names,
    ) -> Result<Option<ConflictReport>, Error> {
        Ok(self.batch_aside(batch, names)?.map(|report| ended(report, by.to_owned())))
    }

    /// An item that was adopted here a moment ago: the view may not have heard of it so far.
    pub(super) fn just_adopted(&self, report: ConflictReport) -> ConflictReport {
        let key = match self.identity.authority() {
            Some(authority) => authority.public_key(),
            None => self.identity.keys().public_key(),
        };
        ended(report, named(&self.policy(), &key))
    }
}

/// The item as it is told once it is adopted.
fn ended(mut report: ConflictReport, by: String) -> ConflictReport {
    report.batch.iter_mut().for_each(|batch| batch.advice.clear());
    ConflictReport { open: false, discarded: None, adopted_by: Some(by), ..report }
}

/// The last batch of the chain that counted before anything of it was adopted, where one did.
fn counted_before<'a>(
    policy: &Policy,
    items: &'a [Item],
    device: DeviceId,
    head: &ChainHead,
) -> Option<&'a ChainHead> {
    let revocations = items.iter().filter_map(|item| match item.statement() {
        Statement::Revocation(revocation) if revocation.device == device => Some(&**revocation),
        _ => None,
    });
    // One that corrects another one names what was adopted in between as well.
    let in_force = |it: &Revocation| policy.revocation(&device) == Some(it);
    let first = revocations.min_by_key(|it| (it.version, !in_force(it)))?;
    first.heads.iter().find(|it| (it.epoch, it.scope) == (head.epoch, head.scope))
}

/// Whether an adoption only goes on with the heads for which its revocation had no room.
fn is_of_revocation(items: &[Item], item: &Item, adoption: &Adoption) -> bool {
    let before = |item: &Item| {
        let previous = item.place().previous?;
        items.iter().find(|it| it.id() == previous)
    };
    let mut next = before(item);
    while let Some(item) = next {
        match item.statement() {
            Statement::Adoption(one) if one.device == adoption.device => {
                if one.heads.len() < HEADS_PER_ITEM_MAX {
                    return false;
                }
                next = before(item);
            }
            Statement::Revocation(one) => {
                return one.device == adoption.device && one.heads.len() == HEADS_PER_ITEM_MAX;
            }
            _ => return false,
        }
    }
    false
}

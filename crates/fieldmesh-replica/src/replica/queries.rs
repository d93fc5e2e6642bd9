//! What can be asked of a replica.

use std::collections::BTreeSet;

use fieldmesh_batch::{Chain, Gap, Head};
use fieldmesh_identity::{ChainHead, Item, Policy};
use fieldmesh_model::{BatchId, DeviceId, Filter, Moment};
use fieldmesh_session::{LinkId, LinkStats};
use fieldmesh_trie::{Digest, Key, Prefix};

use super::{Link, Replica};
use crate::index::Mark;
use crate::interface::{Config, Fork};
use crate::judge::RefuseReason;

impl Replica {
    /// When to say [`crate::Input::Tick`] if nothing else happens before.
    pub fn deadline(&self) -> Option<Moment> {
        let sessions = self.links.values().filter_map(|link| link.session.deadline());
        let questions = self.links.values().filter_map(|link| link.receipts.deadline());
        let others = [
            self.flights.deadline(),
            self.rivals.deadline(),
            self.runs.deadline(),
            self.floods.deadline(),
        ];
        sessions.chain(questions).chain(others.into_iter().flatten()).min()
    }

    /// Who this replica is.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What the durable policy items amount to.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The durable policy items, in the order of their ids.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.values()
    }

    /// What this side wants to hold of what others have.
    pub const fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The root of the durable batches that count; equal for equal sets.
    pub fn root(&self) -> Digest {
        self.holdings.data.digest(&Prefix::ALL)
    }

    /// The root of the durable batches that do not count.
    pub fn quarantine_root(&self) -> Digest {
        self.holdings.quarantine.digest(&Prefix::ALL)
    }

    /// The policy that its items and some more amount to.
    pub fn policy_with(&self, more: &[Item]) -> Policy {
        Policy::evaluate(self.config.tenant, self.items.values().chain(more))
    }

    /// The root of the durable policy items.
    pub fn policy_root(&self) -> Digest {
        self.policy_keys.digest(&Prefix::ALL)
    }

    /// The number of durable batches that count.
    pub fn len(&self) -> usize {
        self.holdings.data.len()
    }

    /// Whether no batch counts.
    pub fn is_empty(&self) -> bool {
        self.holdings.data.is_empty()
    }

    /// The number of durable batches that do not count.
    pub fn quarantine_len(&self) -> usize {
        self.holdings.quarantine.len()
    }

    /// Whether the batch with this key is durable here and counts.
    pub fn contains(&self, key: &Key) -> bool {
        self.holdings.data.contains(key)
    }

    /// Whether the batch is durable here, whether it counts or not.
    pub fn holds(&self, batch: &BatchId) -> bool {
        let spot = self.holdings.index.find(batch);
        spot.is_some_and(|spot| !self.holdings.index.has(spot, Mark::Lost))
    }

    /// The keys of the durable batches that count, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.holdings.data.iter()
    }

    /// Whether the batch is durable here and does not count.
    pub fn is_aside(&self, batch: &BatchId) -> bool {
        let spot = self.holdings.index.find(batch);
        spot.is_some_and(|spot| self.holdings.index.has(spot, Mark::Aside))
    }

    /// The durable batches that do not count, in the order of their keys, and why.
    pub fn aside(&self) -> impl Iterator<Item = (BatchId, RefuseReason)> + '_ {
        let ids = self.holdings.quarantine.iter().map(super::batch_id);
        ids.filter_map(|id| {
            let spot = self.holdings.index.find(&id)?;
            Some((id, self.holdings.reason(&self.policy, spot)?))
        })
    }

    /// Batches on the disk without signature that no authentic batch names; they are not held, and
    /// peers bring them again.
    pub fn unheld(&self) -> impl Iterator<Item = BatchId> + '_ {
        self.unheld.iter().copied()
    }

    /// The first gap of each chain that has one.
    pub fn gaps(&self) -> impl Iterator<Item = (Chain, Gap)> + '_ {
        self.holdings.index.gaps()
    }

    /// Every place of a chain for which an author signed more than one batch.
    pub fn forks(&self) -> impl Iterator<Item = Fork> + '_ {
        self.holdings.index.forks()
    }

    /// The last batch of the gapless beginning of `chain`; at a fork along the smallest id.
    pub fn head(&self, chain: &Chain) -> Option<Head> {
        self.holdings.index.head(chain)
    }

    /// The newest batches of `author` that count, which a revocation of it names so that they still
    /// do, as does everything before them.
    pub fn newest_heads(&self, author: &DeviceId) -> BTreeSet<ChainHead> {
        let index = &self.holdings.index;
        let tips = index.tips().filter(|spot| index.chain(*spot).author == *author);
        let heads = tips.filter_map(|tip| self.holdings.last_counting(tip));
        let head = |spot| ChainHead {
            epoch: index.chain(spot).epoch,
            scope: index.chain(spot).scope,
            sequence: index.sequence(spot),
            batch: index.id(spot),
        };
        heads.map(head).collect()
    }

    /// Speaks only the first version of the protocol, as an old program does.
    #[cfg(test)]
    pub(crate) const fn speak_first_version(&mut self) {
        self.versions = (1, 1);
    }

    /// Holds a batch that nobody would take, as a hostile peer may.
    #[cfg(test)]
    pub(crate) fn smuggle(&mut self, held: &crate::Held) {
        self.holdings.smuggle(held);
    }

    /// The links that are up, with their peers.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, DeviceId)> {
        self.links.iter().map(|(id, link)| (*id, link.peer))
    }

    /// What the conversation over `link` cost and moved so far.
    pub fn stats(&self, link: LinkId) -> Option<LinkStats> {
        self.links.get(&link).map(|link| link.session.stats())
    }

    /// Whether a link that was in step still has something to do: the peer was asked to sign for
    /// what it holds, or what the policy sets aside is being compared.
    pub fn is_finishing(&self, link: LinkId) -> bool {
        let is_finishing = |link: &Link| link.receipts.is_waiting() || !link.session.is_resting();
        self.links.get(&link).is_some_and(is_finishing)
    }

    /// Whether the peer has for good whatever it is known to lack, or the link is gone.
    pub fn owes_nothing(&self, link: LinkId) -> bool {
        self.links.get(&link).is_none_or(|link| link.session.owes_nothing())
    }

    /// The number of batches that wait in memory for a policy under which they count.
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }
}

//! Administrators revoke devices, adopt work and purge documents, each by what it knows at that
//! moment.

use std::collections::BTreeSet;

use fieldmesh_batch::{Batch, Leaf};
use fieldmesh_identity::statement::HEADS_PER_ITEM_MAX;
use fieldmesh_identity::{Adoption, ChainHead, Item, Purge, Revocation, Statement};
use fieldmesh_model::{BatchId, DeviceId, Role};
use fieldmesh_replica::without_purged;

use super::{Happening, World};
use crate::check::policy::Named;
use crate::node::Part;

/// A tenant keeps so many devices that are no administrators and were not revoked.
const DEVICES_LEFT: usize = 2;
/// How long a node may take to erase what it has learned was purged, in milliseconds.
const SWEEP_MILLIS_MAX: i64 = 60_000;

impl World<'_> {
    /// An administrator revokes a device, or leaves it with a role that does not write.
    pub(super) fn revoke(&mut self) {
        let Some((admin, subject)) = self.draw_pair() else { return };
        let tenant = &self.tenants[self.nodes[admin].tenant];
        let policy = tenant.office.policy();
        let is_left = |node: &&super::Node| {
            let is_same = node.tenant == self.nodes[admin].tenant && node.part == Part::Device;
            is_same
                && policy.member(&node.device()).is_some()
                && policy.revocation(&node.device()).is_none()
        };
        if self.nodes.iter().filter(is_left).count() <= DEVICES_LEFT {
            return;
        }
        let device = self.nodes[subject].device();
        let state = &self.nodes[admin];
        let known = state.replica.policy();
        let heads = state.replica.newest_heads(&device);
        if heads.len() > HEADS_PER_ITEM_MAX {
            return;
        }
        let own = |batch: &&Batch| batch.header().author == device && state.counts(&batch.id());
        let named = state.disk.batches().filter(own).map(Batch::id).collect();
        let version = known.revocation(&device).map_or(0, |before| before.version) + 1;
        let items = known.head(&self.nodes[subject].author.keys().public_key());
        let remaining = self.random.once_in(4).then_some(Role::Client);
        let revocation = Revocation {
            device,
            version,
            heads,
            items,
            remaining,
            wipe: false,
            reason: "lost".into(),
        };
        self.issue(admin, device, named, &Statement::Revocation(Box::new(revocation)));
    }

    /// An administrator accepts all that it holds of a revoked device.
    pub(super) fn adopt(&mut self) {
        let Some((admin, subject)) = self.draw_pair() else { return };
        let (state, device) = (&self.nodes[admin], self.nodes[subject].device());
        if state.replica.policy().revocation(&device).is_none() {
            return;
        }
        let own = || state.disk.batches().filter(|batch| batch.header().author == device);
        let inner: BTreeSet<BatchId> = own().map(|batch| batch.header().previous).collect();
        let tips = own().filter(|batch| !inner.contains(&batch.id()));
        let heads: BTreeSet<ChainHead> = tips.map(head).take(HEADS_PER_ITEM_MAX).collect();
        let adoption = Adoption { device, heads };
        self.issue(admin, device, BTreeSet::new(), &Statement::Adoption(adoption));
    }

    /// An administrator purges a document of which it holds something.
    pub(super) fn purge(&mut self) {
        let Some((admin, _)) = self.draw_pair() else { return };
        let state = &self.nodes[admin];
        let batches: Vec<&Batch> = state.disk.batches().collect();
        let Some(batch) = batches.get(self.random.index(batches.len())) else { return };
        let hashes = batch.leaf_hashes();
        let left: Vec<(&Leaf, &[u8; 32])> =
            batch.leaves().iter().zip(&hashes).filter(|(leaf, _)| !leaf.is_erased()).collect();
        let Some((leaf, hash)) = left.get(self.random.index(left.len())) else { return };
        let purge = Purge {
            document: leaf.document,
            leaves: BTreeSet::from([**hash]),
            at: state.clock.wall(self.now),
            reason: "asked for".into(),
        };
        let device = state.device();
        self.issue(admin, device, BTreeSet::new(), &Statement::Purge(Box::new(purge)));
        self.plan_sweep(admin);
    }

    /// A node that has learned something of the policy looks for what was purged, by and by.
    pub(super) fn plan_sweep(&mut self, node: usize) {
        if self.plan.faults.purges > 0 {
            let at = self.now + self.random.between(0, SWEEP_MILLIS_MAX);
            self.schedule(at, Happening::Sweep { node });
        }
    }

    /// A node erases what was purged, as far as it knows.
    pub(super) fn sweep(&mut self, node: usize) {
        self.note("sweeps", node);
        let state = &mut self.nodes[node];
        let policy = state.replica.policy();
        state.disk.erase(|batch| without_purged(policy, batch));
    }

    /// Every node does.
    pub(super) fn sweep_all(&mut self) {
        if self.plan.faults.purges > 0 {
            (0..self.nodes.len()).for_each(|node| self.sweep(node));
        }
    }

    /// An administrator, by what it knows, and another device of its tenant.
    fn draw_pair(&mut self) -> Option<(usize, usize)> {
        let is_admin = |node: &usize| {
            let state = &self.nodes[*node];
            let member = state.replica.policy().member(&state.device());
            state.is_honest() && member.is_some_and(|member| member.role == Role::Admin)
        };
        let admins: Vec<usize> = (0..self.nodes.len()).filter(is_admin).collect();
        let admin = *admins.get(self.random.index(admins.len()))?;
        let is_subject = |node: &usize| {
            let state = &self.nodes[*node];
            *node != admin
                && state.tenant == self.nodes[admin].tenant
                && state.writes()
                && !self.newcomers.contains(node)
        };
        let subjects: Vec<usize> = (0..self.nodes.len()).filter(is_subject).collect();
        let subject = *subjects.get(self.random.index(subjects.len()))?;
        Some((admin, subject))
    }

    /// An administrator signs an item, which is durable at once where it is signed.
    fn issue(
        &mut self,
        admin: usize,
        device: DeviceId,
        named: BTreeSet<BatchId>,
        statement: &Statement,
    ) {
        let state = &self.nodes[admin];
        let (keys, number) = (state.author.keys(), state.tenant);
        let place = state.replica.policy().next_place(&keys.public_key());
        let Ok(item) = Item::sign(keys, state.author.tenant(), place, statement) else { return };
        self.say(admin, || format!("issues {}: {statement:?}", item.id()));
        self.note("issues", admin);
        let tenant = &mut self.tenants[number];
        tenant.office.file(item.clone());
        self.cut_at.push(Named { tenant: number, item: item.id(), device, batches: named });
        self.nodes[admin].disk.write_items(std::slice::from_ref(&item));
        self.tell_item(admin, item);
    }

    /// Devices that knew only a relay so far can reach each other.
    pub(super) fn together(&mut self) {
        let count = self.nodes.len();
        let all = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
        let is_device = |node: usize| self.nodes[node].part == Part::Device;
        let pairs: Vec<(usize, usize)> =
            all.filter(|(a, b)| is_device(*a) && is_device(*b)).collect();
        for pair in pairs {
            self.pairs.push(pair);
            self.schedule(self.now, Happening::Dial { pair: self.pairs.len() - 1 });
        }
    }
}

fn head(batch: &Batch) -> ChainHead {
    let header = batch.header();
    ChainHead {
        epoch: header.epoch,
        scope: header.scope,
        sequence: header.sequence,
        batch: batch.id(),
    }
}

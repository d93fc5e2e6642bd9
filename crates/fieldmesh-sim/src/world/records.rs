//! The work of devices: batches that say nothing, or changes of records.

use fieldmesh_batch::{Batch, Leaf};
use fieldmesh_model::{DeviceId, Scope, UserId};

use super::World;
use super::build::has_records;
use crate::author::Wish;
use crate::disk::Write;
use crate::node::Part;
use crate::notebook::{Desk, Notebook};
use crate::office::user_of;

impl World<'_> {
    pub(super) fn seal(&mut self, node: usize) {
        let batch =
            if has_records(&self.plan) { self.seal_changes(node) } else { self.seal_noise(node) };
        let Some(batch) = batch else { return };
        self.note("seals", node);
        self.write(node, Write::Own(Box::new(batch)));
    }

    fn seal_noise(&mut self, node: usize) -> Option<Batch> {
        let now = self.nodes[node].clock.wall(self.now);
        let state = &mut self.nodes[node];
        if state.part == Part::Forker && self.random.once_in(2) {
            let own = state.disk.batches().filter(|batch| batch.header().author == state.device());
            let own: Vec<Batch> = own.cloned().collect();
            if !own.is_empty() {
                state.author.fork(&own[self.random.index(own.len())]);
            }
        }
        let (filter, read) = (state.filter.clone(), state.read.clone());
        let fits = |scope: &Scope| filter.admits(scope) && read.allows(scope);
        let number = |number| u64::try_from(number).unwrap_or(0);
        let wish = Wish {
            large_once_in: number(self.plan.large_once_in),
            critical_once_in: number(self.plan.critical_once_in),
            since: state.since,
            fits: &fits,
        };
        state.author.seal_noise(now, wish, &mut self.random).ok()
    }

    fn seal_changes(&mut self, node: usize) -> Option<Batch> {
        let state = &mut self.nodes[node];
        let at = state.clock.wall(self.now);
        let device = state.device();
        let desk = Desk { device, epoch: state.author.epoch(), user: user_of(&state.author) };
        let (scope, works) = state.notebook.work(desk, at, &mut self.random)?;
        if works.is_empty() {
            return None;
        }
        let leaf = |work: &crate::notebook::Work| Leaf {
            document: work.document,
            change: work.change.clone(),
        };
        let leaves = works.iter().map(leaf).collect();
        let batch = state.author.seal(scope, at, leaves, &mut self.random).ok()?;
        let reference = &mut self.tenants[self.nodes[node].tenant].reference;
        works.into_iter().for_each(|work| reference.wrote(work));
        self.read_changes(node, &batch);
        Some(batch)
    }

    /// A device takes in the changes of a batch.
    pub(super) fn read_changes(&mut self, node: usize, batch: &Batch) {
        if !has_records(&self.plan) || self.nodes[node].part != Part::Device {
            return;
        }
        let users = self.users(node);
        self.nodes[node].notebook.take(batch, users);
    }

    /// A device has nothing left but what is on its disk.
    pub(super) fn reread(&mut self, node: usize) {
        if has_records(&self.plan) && self.nodes[node].part == Part::Device {
            let notebook = Notebook::of(self.nodes[node].disk.batches(), self.users(node));
            self.nodes[node].notebook = notebook;
        }
    }

    /// Whose device each author is, as a node knows it.
    pub(crate) fn users(&self, node: usize) -> impl Fn(&DeviceId) -> Option<UserId> + use<> {
        let policy = self.nodes[node].replica.policy().clone();
        move |device| policy.member(device).map(|member| member.user)
    }
}

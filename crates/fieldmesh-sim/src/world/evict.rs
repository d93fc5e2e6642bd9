//! Devices let old months go that are safe elsewhere, and want them back at times.
//!
//! As a device does it: first it wants less, so that nobody brings what is about to go and nobody
//! writes to it; once all that was on its way is durable it looks what is safe, and drops that.

use std::collections::BTreeSet;

use fieldmesh_batch::Batch;
use fieldmesh_model::{BatchId, Filter, Region};
use fieldmesh_replica::{Held, Input};

use super::{Happening, World};
use crate::check;
use crate::node::Part;

/// One of so many devices that have let something go wants it back when it is looked at.
const BACK_ONCE_IN: u64 = 3;

impl World<'_> {
    /// A device wants nothing older than some month that it holds, or all of it once more.
    pub(super) fn evict(&mut self, node: usize) {
        let state = &self.nodes[node];
        if state.part != Part::Device || self.newcomers.contains(&node) {
            return;
        }
        if state.since > 0 && self.random.once_in(BACK_ONCE_IN) {
            self.note("wants all back", node);
            self.want_since(node, 0);
            return;
        }
        let months: BTreeSet<u32> =
            state.disk.batches().map(|batch| batch.header().scope.month).collect();
        let months: Vec<u32> = months.into_iter().collect();
        if months.is_empty() {
            return;
        }
        let since = months[self.random.index(months.len())].max(state.since);
        self.note("wants less", node);
        self.want_since(node, since);
        let at = self.nodes[node].disk_due.max(self.now) + 1;
        self.schedule(at, Happening::LetGo { node });
    }

    /// A device drops what it does not want any more, up to the first month with something that is
    /// not safe.
    pub(super) fn let_go(&mut self, node: usize) {
        let state = &self.nodes[node];
        if state.disk_due >= self.now {
            self.schedule(state.disk_due + 1, Happening::LetGo { node });
            return;
        }
        let month = |batch: &&Batch| batch.header().scope.month;
        let stays = |batch: &&Batch| {
            let id = batch.id();
            !state.counts(&id) || !state.replica.proof(&id).is_safe
        };
        let old = || state.disk.batches().filter(|batch| month(batch) < state.since);
        let kept = old().filter(stays).map(|batch| month(&batch)).min();
        let since = kept.unwrap_or(state.since);
        let gone: Vec<Held> = old().filter(|batch| month(batch) < since).map(Held::of).collect();
        let ids: Vec<BatchId> = gone.iter().map(|held| held.id).collect();
        if since < state.since {
            self.want_since(node, since);
        }
        if ids.is_empty() {
            return;
        }
        self.say(node, || format!("lets {} batches go", ids.len()));
        self.check(|world| check::evictions::lets_go(world, node, &ids));
        let state = &mut self.nodes[node];
        let device = state.device();
        for held in gone.into_iter().filter(|held| held.chain().author == device) {
            let end = state.let_go.entry(held.chain()).or_default();
            *end = held.sequence.max(*end);
        }
        // What it has signed for is void, as where a disk has lost something.
        state.spoil(&ids);
        self.input(node, Input::BatchesLost { ids });
    }

    fn want_since(&mut self, node: usize, since: u32) {
        let region = Region { since, ..Region::default() };
        let filter = if since == 0 { Filter::default() } else { filter_of(region) };
        self.unplug(node);
        let state = &mut self.nodes[node];
        (state.since, state.filter) = (since, filter.clone());
        self.input(node, Input::Wanted { filter });
    }
}

fn filter_of(region: Region) -> Filter {
    Filter::new([region]).unwrap_or_default()
}

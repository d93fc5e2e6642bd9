//! What nodes write: their own batches and what peers send.

use fieldmesh_trie::Key;

use super::{Happening, World};
use crate::check;
use crate::disk::Write;

/// Building a root anew takes time: it is done after one of so many writes.
const ROOT_CHECKED_ONCE_IN: u64 = 10;

impl World<'_> {
    /// Makes something durable after a while, in the order in which it was asked for.
    pub(super) fn write(&mut self, node: usize, write: Write) {
        let slow = self.plan.slow_disk;
        let delay_max = match self.random.index(12) {
            0 => 6_000.max(slow),
            _ => 30.max(slow),
        };
        let at = self.now + self.random.between(0, delay_max);
        let is_full = self.nodes[node].is_full_until > self.now;
        let state = &mut self.nodes[node];
        let run = state.run;
        state.disk_due = at.max(state.disk_due);
        let at = state.disk_due;
        if !matches!(write, Write::Own(_)) {
            state.meter.storing(write.length());
            self.check(|world| check::pressure::storing(world, node));
            self.check(|world| check::tenants::stores(world, node, &write));
        }
        if is_full && !matches!(write, Write::Own(_)) {
            self.schedule(at, Happening::NotStored { node, run, write });
        } else {
            self.schedule(at, Happening::Stored { node, run, write });
        }
    }

    pub(super) fn stored(&mut self, node: usize, run: u64, write: &Write) {
        if self.nodes[node].run != run {
            return;
        }
        self.note("stored", node);
        self.say(node, || format!("stored {} batches", write.batches().len()));
        if !matches!(write, Write::Own(_)) {
            self.nodes[node].meter.stored(write.length());
        }
        self.persist(node, write);
        if let Write::Own(batch) = write {
            check::priority::sealed(self, node, batch);
        }
        self.tell_stored(node, write);
        if self.random.once_in(ROOT_CHECKED_ONCE_IN) {
            self.check(|world| check::canonical::root(world, node));
        }
    }

    pub(super) fn not_stored(&mut self, node: usize, run: u64, write: &Write) {
        if self.nodes[node].run != run {
            return;
        }
        self.note("not stored", node);
        self.nodes[node].meter.stored(write.length());
        self.tell_not_stored(node, write);
    }

    /// From here on a crash does not lose it.
    fn persist(&mut self, node: usize, write: &Write) {
        let now = self.now;
        let state = &mut self.nodes[node];
        state.disk.write(write);
        let tenant = &mut self.tenants[state.tenant];
        for batch in write.batches() {
            let key = Key::from_bytes(batch.key_bytes());
            state.held_since.entry(key).or_insert(now);
            match write {
                Write::Own(_) => {
                    tenant.made.insert(key);
                    tenant.reference.kept(batch);
                    self.made_bytes += batch.encode().len() as u64;
                }
                Write::Batches(_) | Write::Items(_) => self.stored_from_peers += 1,
            }
        }
        if let Write::Batches(batches) = write {
            batches.iter().for_each(|batch| self.read_changes(node, batch));
        }
    }

    /// What a crash leaves of the writes that were under way: nothing, or the first of them, the
    /// last one in part. Nobody was told of any of it.
    pub(super) fn tear_writes(&mut self, node: usize) {
        let run = self.nodes[node].run;
        let is_its = |happening: &Happening| matches!(happening, Happening::Stored { node: of, run: at, .. } if *of == node && *at == run);
        let times: Vec<(i64, u64)> =
            self.queue.iter().filter(|(_, it)| is_its(it)).map(|(at, _)| *at).collect();
        let kept = if self.random.once_in(2) { self.random.index(times.len() + 1) } else { 0 };
        for (index, time) in times.into_iter().enumerate() {
            let Some(Happening::Stored { write, .. }) = self.queue.remove(&time) else { continue };
            if index < kept {
                self.persist(node, &write);
            } else if index == kept && kept > 0 && !matches!(write, Write::Own(_)) {
                let part = self.random.index(write.batches().len().max(1));
                self.persist(node, &write.prefix(part));
            }
        }
    }
}

//! What nodes write: their own batches and what peers send.

use fieldmesh_batch::Batch;
use fieldmesh_identity::Item;
use fieldmesh_replica::Input;
use fieldmesh_trie::Key;

use super::{Happening, World};
use crate::disk::Write;

impl World {
    pub(super) fn seal(&mut self, node: usize) {
        let now = self.moment();
        let large_once_in = self.plan.large_once_in;
        let author = &mut self.nodes[node].author;
        let Ok(batch) = author.seal(now, large_once_in, &mut self.random) else { return };
        self.write(node, Write::Own(Box::new(batch)));
    }

    /// Makes something durable after a while, in the order in which it was asked for.
    pub(super) fn write(&mut self, node: usize, write: Write) {
        let delay_max = if self.random.once_in(12) { 6_000 } else { 30 };
        let at = self.now + self.random.between(0, delay_max);
        let run = self.nodes[node].run;
        let due = &mut self.nodes[node].disk_due;
        *due = at.max(*due);
        let at = *due;
        self.schedule(at, Happening::Stored { node, run, write });
    }

    pub(super) fn stored(&mut self, node: usize, run: u64, write: &Write) {
        if self.nodes[node].run != run {
            return;
        }
        self.trace.happened(self.now, "stored", node);
        let now = self.moment();
        self.nodes[node].disk.write(write);
        match write {
            Write::Own(batch) => {
                let key = Key::from_bytes(batch.key_bytes());
                self.nodes[node].held_since.insert(key, now);
                self.made.insert(key);
                self.made_bytes += batch.encode().len() as u64;
                self.input(node, Input::LocalBatch { key });
            }
            Write::Batches(batches) => {
                self.stored_from_peers += batches.len() as u64;
                for batch in batches {
                    let key = Key::from_bytes(batch.key_bytes());
                    self.nodes[node].held_since.entry(key).or_insert(now);
                }
                let ids = batches.iter().map(Batch::id).collect();
                self.input(node, Input::BatchesStored { ids });
            }
            Write::Items(items) => {
                let ids = items.iter().map(Item::id).collect();
                self.input(node, Input::ItemsStored { ids });
            }
        }
    }
}

//! This device as an author: its epoch, its chains, and its changes that no batch holds so far.
//!
//! A change is durable the moment it is recorded; sealing only decides in which batch it travels.
//! Sequence numbers are handed out here and nowhere else, and whenever the device cannot be sure
//! of its own past it starts a new epoch, so no two batches ever share a place in a chain.
//!
//! What is critical is sealed apart, so that it overtakes whatever else waits. All that waits of its
//! record goes with it: on its own it could not be read where it arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use fieldmesh_batch::{Batch, Draft, Leaf, Priority, SealError};
use fieldmesh_identity::DeviceKeys;
use fieldmesh_model::limits::{BATCH_CHANGES_MAX, BATCH_RAW_MAX};
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{BatchId, DeviceId, DocumentId, Epoch, Fields, Moment, Scope, TenantId};

use crate::clock;

/// This device as an author.
pub(crate) struct Author {
    keys: DeviceKeys,
    device: DeviceId,
    tenant: TenantId,
    epoch: Epoch,
    chains: BTreeMap<(Epoch, Scope), ChainHead>,
    unsealed: BTreeMap<(Epoch, Scope), Vec<Unsealed>>,
    oldest_unsealed: Option<Instant>,
}

#[derive(Clone, Copy)]
struct ChainHead {
    sequence: u64,
    id: BatchId,
    last: Moment,
}

/// A durable change that no batch holds so far.
pub(crate) struct Unsealed {
    pub(crate) document: DocumentId,
    pub(crate) at: Moment,
    pub(crate) priority: Priority,
    pub(crate) change: Vec<u8>,
}

impl Author {
    /// An author in `epoch` with no chain and nothing unsealed.
    pub(crate) fn new(keys: DeviceKeys, tenant: TenantId, epoch: Epoch) -> Self {
        Self {
            device: keys.device(),
            keys,
            tenant,
            epoch,
            chains: BTreeMap::new(),
            unsealed: BTreeMap::new(),
            oldest_unsealed: None,
        }
    }

    /// Continues a chain behind the batch `id`.
    pub(crate) fn resume(
        &mut self,
        chain: (Epoch, Scope),
        sequence: u64,
        id: BatchId,
        last: Moment,
    ) {
        self.chains.insert(chain, ChainHead { sequence, id, last });
    }

    /// Leaves the past behind: the next changes open new chains.
    pub(crate) fn start_epoch(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.device
    }

    /// Whether there is anything of this epoch.
    pub(crate) fn has_written(&self) -> bool {
        let mut chains = self.chains.keys().chain(self.unsealed.keys());
        chains.any(|(epoch, _)| *epoch == self.epoch)
    }

    /// The Automerge actor of this device in this epoch.
    pub(crate) fn actor(&self) -> [u8; 16] {
        fieldmesh_document::actor(self.device(), self.epoch)
    }

    /// An epoch for changes that know nothing of others that this device wrote: its own actor
    /// writes one change after the other. The same ones serve as long as the epoch lasts.
    pub(crate) fn aside_epoch(&self, number: u8) -> Epoch {
        let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/aside-epoch/1");
        hasher.update(&self.epoch.0.to_be_bytes());
        hasher.update(&[number]);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Epoch(u64::from_be_bytes(bytes))
    }

    /// The time of the next change in `scope`: the clock's, but never before an earlier one of the
    /// same chain. A clock that was wrong once spoils no other chain.
    pub(crate) fn change_time(&self, scope: Scope) -> Moment {
        let chain = (self.epoch, scope);
        let sealed = self.chains.get(&chain).map(|head| head.last);
        let waiting = self.unsealed.get(&chain).and_then(|waiting| waiting.last());
        let newest = sealed.max(waiting.map(|change| change.at));
        newest.unwrap_or_default().max(clock::now())
    }

    /// Notes a change that has become durable and waits for a batch.
    pub(crate) fn add(&mut self, chain: (Epoch, Scope), change: Unsealed) {
        self.oldest_unsealed.get_or_insert_with(Instant::now);
        self.unsealed.entry(chain).or_default().push(change);
    }

    /// How many changes wait for a batch.
    pub(crate) fn unsealed(&self) -> usize {
        self.unsealed.values().map(Vec::len).sum()
    }

    /// Since when the oldest of them waits.
    pub(crate) fn oldest_unsealed(&self) -> Option<Instant> {
        self.oldest_unsealed
    }

    /// Whether a full batch of this chain waits.
    pub(crate) fn is_full(&self, chain: &(Epoch, Scope)) -> bool {
        self.unsealed.get(chain).is_some_and(|waiting| {
            waiting.len() >= BATCH_CHANGES_MAX || raw_length(waiting) >= BATCH_RAW_MAX
        })
    }

    /// Seals everything that waits, or only one chain; of each chain what is critical comes first.
    ///
    /// The batches must be written to the log in this order and before anything else is sealed;
    /// if that fails, hand them to [`Self::unseal`].
    pub(crate) fn seal(&mut self, only: Option<(Epoch, Scope)>) -> Result<Vec<Batch>, SealError> {
        let chains: Vec<(Epoch, Scope)> = match only {
            Some(chain) => vec![chain],
            None => self.unsealed.keys().copied().collect(),
        };
        let mut batches = Vec::new();
        for chain in chains {
            let waiting = self.unsealed.remove(&chain).unwrap_or_default();
            let (critical, others) = part_critical(waiting);
            for (priority, changes) in [(Priority::CRITICAL, critical), (Priority::NORMAL, others)]
            {
                for group in groups(changes) {
                    batches.push(self.seal_group(chain, priority, group)?);
                }
            }
        }
        if self.unsealed.is_empty() {
            self.oldest_unsealed = None;
        }
        Ok(batches)
    }

    /// Takes back batches that could not be made durable, so that nothing in them is forgotten.
    ///
    /// Nobody was offered them, so their places in the chains are free again.
    pub(crate) fn unseal(&mut self, batches: Vec<Batch>) {
        for batch in batches.into_iter().rev() {
            let header = batch.header();
            let chain = (header.epoch, header.scope);
            match header.sequence - 1 {
                0 => {
                    self.chains.remove(&chain);
                }
                sequence => {
                    let head = ChainHead { sequence, id: header.previous, last: header.first };
                    self.chains.insert(chain, head);
                }
            }
            let (at, priority) = (header.last, header.priority);
            let leaves = batch.leaves().iter().map(|leaf| Unsealed {
                document: leaf.document,
                at,
                priority,
                change: leaf.change.clone(),
            });
            let waiting = self.unsealed.entry(chain).or_default();
            waiting.splice(0..0, leaves);
        }
        self.oldest_unsealed.get_or_insert_with(Instant::now);
    }

    fn seal_group(
        &mut self,
        chain: (Epoch, Scope),
        priority: Priority,
        group: Vec<Unsealed>,
    ) -> Result<Batch, SealError> {
        let (epoch, scope) = chain;
        let head = self.chains.get(&chain).copied();
        let first = group.iter().map(|change| change.at).min().unwrap_or_default();
        let last = group.iter().map(|change| change.at).max().unwrap_or_default();
        let last = head.map_or(last, |head| last.max(head.last));
        let sequence = head.map_or(1, |head| head.sequence + 1);
        let draft = Draft {
            tenant: self.tenant,
            scope,
            author: self.device(),
            epoch,
            sequence,
            previous: head.map_or_else(BatchId::default, |head| head.id),
            priority,
            first,
            last,
            leaves: group
                .into_iter()
                .map(|change| Leaf { document: change.document, change: change.change })
                .collect(),
        };
        let batch = Batch::seal(draft, self.keys.signing_key(), clock::random())?;
        self.chains.insert(chain, ChainHead { sequence, id: batch.id(), last });
        Ok(batch)
    }
}

/// How soon a change of a record travels that has these fields after it.
pub(crate) fn priority_of(schema: &Collection, fields: &Fields) -> Priority {
    if schema.is_critical(fields) { Priority::CRITICAL } else { Priority::NORMAL }
}

fn raw_length(changes: &[Unsealed]) -> usize {
    changes.iter().map(|change| change.change.len()).sum()
}

/// The changes of records of which a critical one waits, and all others, each in order.
fn part_critical(changes: Vec<Unsealed>) -> (Vec<Unsealed>, Vec<Unsealed>) {
    let critical = changes.iter().filter(|change| change.priority.is_critical());
    let records: BTreeSet<DocumentId> = critical.map(|change| change.document).collect();
    changes.into_iter().partition(|change| records.contains(&change.document))
}

/// Cuts changes into batches within the limits, in order.
fn groups(changes: Vec<Unsealed>) -> Vec<Vec<Unsealed>> {
    let mut groups: Vec<Vec<Unsealed>> = Vec::new();
    let mut length = 0;
    for change in changes {
        let fits = groups.last().is_some_and(|group| {
            group.len() < BATCH_CHANGES_MAX && length + change.change.len() <= BATCH_RAW_MAX
        });
        if !fits {
            groups.push(Vec::new());
            length = 0;
        }
        length += change.change.len();
        if let Some(group) = groups.last_mut() {
            group.push(change);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use fieldmesh_identity::Seed;

    use super::*;

    const EPOCH: Epoch = Epoch(5);
    const CHAIN: (Epoch, Scope) = (EPOCH, Scope { collection: 3, partition: 0, month: 24_000 });

    fn author() -> Author {
        let keys = DeviceKeys::from_seed(&Seed::from_bytes([1; 32]));
        Author::new(keys, TenantId::from_bytes([2; 32]), EPOCH)
    }

    /// Lines a change up whose bytes are `at`.
    fn add(author: &mut Author, document: u8, at: u8, priority: Priority) {
        let (document, change) = (DocumentId::from_bytes([document; 16]), vec![at]);
        let at = Moment::from_millis(at.into());
        author.add(CHAIN, Unsealed { document, at, priority, change });
    }

    /// Place in the chain, urgency and changes of each batch.
    fn shown(batches: &[Batch]) -> Vec<(u64, bool, Vec<u8>)> {
        let show = |batch: &Batch| {
            let changes = batch.leaves().iter().map(|leaf| leaf.change[0]).collect();
            (batch.header().sequence, batch.header().priority.is_critical(), changes)
        };
        batches.iter().map(show).collect()
    }

    #[test]
    fn an_alarm_overtakes_what_waits_and_takes_along_what_it_builds_on() {
        let mut author = author();
        add(&mut author, 1, 10, Priority::NORMAL);
        add(&mut author, 2, 11, Priority::NORMAL);
        add(&mut author, 1, 12, Priority::CRITICAL);
        add(&mut author, 1, 13, Priority::NORMAL);
        let batches = author.seal(Some(CHAIN)).unwrap();
        assert_eq!(shown(&batches), [(1, true, vec![10, 12, 13]), (2, false, vec![11])]);
        assert_eq!(batches[1].header().previous, batches[0].id());
        let last = Moment::from_millis(13);
        assert_eq!(batches[1].header().last, last, "times in a chain do not go back");
    }

    #[test]
    fn without_an_alarm_all_that_waits_is_one_batch() {
        let mut author = author();
        (1..=3).for_each(|number| add(&mut author, number, number, Priority::NORMAL));
        assert_eq!(shown(&author.seal(None).unwrap()), [(1, false, vec![1, 2, 3])]);
    }

    #[test]
    fn an_alarm_that_could_not_be_written_is_still_one_at_the_next_try() {
        let mut author = author();
        add(&mut author, 1, 10, Priority::NORMAL);
        add(&mut author, 2, 11, Priority::CRITICAL);
        let batches = author.seal(None).unwrap();
        let before = shown(&batches);
        author.unseal(batches);
        assert_eq!(author.unsealed(), 2);
        assert_eq!(shown(&author.seal(None).unwrap()), before);
    }
}

//! Runs of batches of one chain, of which only the last has its signature.
//!
//! A batch without signature is authentic if an authentic batch names it as the one before it. One
//! that comes first waits in memory; its frame counts against the ingest window of its link all
//! the while. It waits as long as its link brings anything, because the batch that names it may be
//! large, the link slow, and what is let go has to travel once more. Where nothing comes for long,
//! or beyond the ceiling, it is let go: it is found again by comparing, and the batch that names it
//! may be here by then.

use std::collections::BTreeMap;

use fieldmesh_batch::Batch;
use fieldmesh_model::{BatchId, DeviceId, Moment};
use fieldmesh_session::{Disk, FrameMark, Input as Step, Lane, LinkId, Loaded, Settled, Verdict};
use fieldmesh_trie::Key;

use super::Replica;
use crate::holdings::Holdings;
use crate::interface::Held;
use crate::judge::{has_known_gaps, without_purged};
use crate::limits::{
    PROVERS_MAX, RUN_BYTES_MAX, RUN_PATIENCE_MILLIS, SIGNED_EVERY, UNSIGNED_LENGTH_MAX,
};

/// Batches without signature that wait for the one that names them.
#[derive(Debug, Default)]
pub(super) struct Runs {
    waiting: BTreeMap<(BatchId, LinkId), Unnamed>,
    /// The links that brought them.
    links: BTreeMap<LinkId, Brought>,
}

/// What waits of one link.
#[derive(Debug)]
struct Brought {
    bytes: usize,
    /// Since when nothing has come over the link, nor anything of it become durable.
    since: Moment,
}

/// One batch that waits.
#[derive(Debug)]
pub(super) struct Unnamed {
    pub(super) link: LinkId,
    pub(super) peer: DeviceId,
    pub(super) frame: FrameMark,
    pub(super) batch: Batch,
    length: usize,
}

impl Unnamed {
    pub(super) fn new(
        (link, peer): (LinkId, DeviceId),
        frame: FrameMark,
        (batch, length): (Batch, usize),
    ) -> Self {
        Self { link, peer, frame, batch, length }
    }
}

impl Runs {
    /// Lets the batch wait; false if the link has too many that do, or this one already.
    pub(super) fn keep(&mut self, now: Moment, unnamed: Unnamed) -> bool {
        let key = (unnamed.batch.id(), unnamed.link);
        let bytes = self.links.get(&unnamed.link).map_or(0, |brought| brought.bytes);
        let bytes = bytes + unnamed.length;
        if bytes > RUN_BYTES_MAX || self.waiting.contains_key(&key) {
            return false;
        }
        self.links.insert(unnamed.link, Brought { bytes, since: now });
        self.waiting.insert(key, unnamed);
        true
    }

    /// The link has brought something, or something of it has become durable, so that its peer may
    /// send more.
    pub(super) fn moved(&mut self, now: Moment, link: LinkId) {
        if let Some(brought) = self.links.get_mut(&link) {
            brought.since = now;
        }
    }

    /// The batch that waits and that `held` names as the one before it.
    fn before(&self, held: &Held) -> Option<Held> {
        let all = (held.previous, LinkId(0))..=(held.previous, LinkId(u64::MAX));
        let copies = self.waiting.range(all).map(|(_, it)| Held::of(&it.batch));
        copies.into_iter().find(|before| is_before(before, held))
    }

    /// Takes out the copies of the batch that `held` names as the one before it.
    pub(super) fn named_by(&mut self, held: &Held) -> Vec<Unnamed> {
        let all = (held.previous, LinkId(0))..=(held.previous, LinkId(u64::MAX));
        let copies =
            self.waiting.range(all).filter(|(_, it)| is_before(&Held::of(&it.batch), held));
        let keys: Vec<(BatchId, LinkId)> = copies.map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| self.take(&key)).collect()
    }

    /// The links over which nothing has come for too long.
    fn stuck(&self, now: Moment) -> Vec<LinkId> {
        let is_stuck = |brought: &Brought| brought.deadline() <= now;
        self.links.iter().filter(|(_, it)| is_stuck(it)).map(|(link, _)| *link).collect()
    }

    /// Lets go of what waits of one link.
    fn let_go(&mut self, link: LinkId) -> Vec<Unnamed> {
        self.links.remove(&link);
        let of_link = self.waiting.extract_if(.., |(_, from), _| *from == link);
        of_link.map(|(_, unnamed)| unnamed).collect()
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.links.values().map(Brought::deadline).min()
    }

    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.let_go(link);
    }

    fn take(&mut self, key: &(BatchId, LinkId)) -> Option<Unnamed> {
        let unnamed = self.waiting.remove(key)?;
        if let Some(brought) = self.links.get_mut(&unnamed.link) {
            brought.bytes -= unnamed.length;
            if brought.bytes == 0 {
                self.links.remove(&unnamed.link);
            }
        }
        Some(unnamed)
    }
}

impl Brought {
    const fn deadline(&self) -> Moment {
        self.since.plus_millis(RUN_PATIENCE_MILLIS)
    }
}

impl Replica {
    /// Gives the conversation a page of batches, chain by chain, in runs if the peer takes them.
    pub(super) fn batches_loaded(&mut self, now: Moment, id: LinkId, mut batches: Vec<Batch>) {
        // The policy may have changed while they were read.
        let is_shown = |batch: &Batch| {
            let spot = self.holdings.index.find(&batch.id());
            spot.is_some_and(|spot| self.grants.shows(id, &self.holdings, spot))
        };
        // What the disk still has of purged leaves goes no further. A gap of which no purge tells
        // any more would be refused: somebody else may have the batch whole.
        batches = batches.into_iter().map(|it| without_purged(&self.policy, it)).collect();
        let outside: Vec<[u8; 32]> = batches
            .extract_if(.., |batch| !is_shown(batch) || !has_known_gaps(&self.policy, batch))
            .map(|batch| *batch.id().as_bytes())
            .collect();
        if !outside.is_empty() {
            self.step(now, id, Step::LoadFailed(outside));
        }
        let takes_runs = self.links.get(&id).is_some_and(super::Link::takes_runs);
        if takes_runs {
            // The newest chain goes last, whatever lay between its batches.
            batches.sort_by_key(|batch| {
                let held = Held::of(batch);
                (held.chain(), held.sequence, held.id)
            });
        }
        let loaded = (0..batches.len()).map(|index| {
            let batch = &batches[index];
            let bytes = batch.encode();
            let next = batches.get(index + 1).filter(|_| takes_runs);
            let is_short = bytes.len() <= UNSIGNED_LENGTH_MAX;
            let is_run = is_short && next.is_some_and(|next| is_run(&self.holdings, batch, next));
            let bytes = if is_run { batch.encode_unsigned() } else { bytes };
            Loaded { id: *batch.id().as_bytes(), bytes }
        });
        let loaded = loaded.collect();
        self.step(now, id, Step::Loaded(loaded));
    }

    /// The bytes that wait for their names.
    #[cfg(test)]
    pub(crate) fn unnamed_bytes(&self) -> usize {
        self.runs.links.values().map(|brought| brought.bytes).sum()
    }

    /// Has what proves the batches sent along with them, where the peer may have no other proof.
    pub(super) fn provers_of(&self, id: LinkId, batches: &[BatchId]) -> Vec<Step> {
        if !self.links.get(&id).is_some_and(super::Link::takes_runs) {
            return Vec::new();
        }
        let holdings = &self.holdings;
        let mut along: BTreeMap<Lane, Vec<Key>> = BTreeMap::new();
        for spot in batches.iter().filter_map(|batch| holdings.index.find(batch)) {
            let keys = holdings.provers(spot).into_iter().map(|it| holdings.index.key(it));
            along.entry(holdings.lane(&holdings.index.key(spot))).or_default().extend(keys);
        }
        along.retain(|_, keys| !keys.is_empty());
        along.into_iter().map(|(lane, keys)| Step::Along(lane, keys)).collect()
    }

    /// Whether a batch that counts waits for `held`, or for one that waits for it.
    ///
    /// Those that a head leads to are few, so what proves them may go beyond the ceiling.
    pub(super) fn is_waited_for(&self, held: &Held) -> bool {
        let way = std::iter::successors(self.runs.before(held), |held| self.runs.before(held));
        way.take(PROVERS_MAX).any(|held| self.holdings.excluded(&self.policy, &held).is_none())
    }

    /// Lets those batches go that nothing has named and whose links bring nothing more.
    pub(super) fn expire_runs(&mut self, now: Moment) {
        for id in self.runs.stuck(now) {
            let disk = self.links.get(&id).map(|link| self.ledger.disk(&link.peer));
            if disk == Some(Disk::Writing) {
                // The peer may be waiting until that is durable.
                self.runs.moved(now, id);
                continue;
            }
            let settled = self.runs.let_go(id).into_iter().map(|unnamed| {
                let verdict = Verdict::Known(Held::of(&unnamed.batch).key());
                Settled { frame: unnamed.frame, verdict }
            });
            let settled = settled.collect();
            self.step(now, id, Step::Settled(settled));
        }
    }
}

/// Whether `before` stands right before `held` in its chain.
fn is_before(before: &Held, held: &Held) -> bool {
    before.chain() == held.chain() && before.sequence.checked_add(1) == Some(held.sequence)
}

/// Whether `batch` needs no signature because `next`, which names it, travels right behind it.
fn is_run(holdings: &Holdings, batch: &Batch, next: &Batch) -> bool {
    let (held, after) = (Held::of(batch), Held::of(next));
    let lane = |held: &Held| -> Lane { holdings.lane(&held.key()) };
    !held.sequence.is_multiple_of(SIGNED_EVERY)
        && after.previous == held.id
        && after.chain() == held.chain()
        && held.sequence.checked_add(1) == Some(after.sequence)
        && lane(&held) == lane(&after)
}

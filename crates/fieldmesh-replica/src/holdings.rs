//! What is durable here, split by the policy into what counts and what stands aside.
//!
//! The split is a function of the stored batches and the policy alone, whatever came first: a batch
//! counts if the policy says so of its author and scope, or if a head that the policy names leads
//! to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fieldmesh_batch::Chain;
use fieldmesh_identity::{ChainHead, Policy, Standing};
use fieldmesh_model::{BatchId, DeviceId, Moment};
use fieldmesh_session::Lane;
use fieldmesh_trie::{Key, Trie};

use crate::index::{Index, Line, Mark, Spot};
use crate::interface::{Fork, Held};
use crate::judge::RefuseReason;
use crate::limits::{ARRIVALS_MAX, BACKFILL_AGE_MILLIS, PROVERS_MAX};

/// All durable batches of a replica.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    pub(crate) index: Index,
    pub(crate) data: Trie,
    pub(crate) quarantine: Trie,
    /// What the policy says of each line.
    rules: Vec<Rule>,
    /// How many batches of each author stand aside.
    aside_of: BTreeMap<DeviceId, usize>,
    /// How many batches are held without their signature.
    unsigned: usize,
    /// The newest arrivals among those that count, oldest first.
    arrivals: VecDeque<Spot>,
}

/// What the policy says of the batches of one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// All count.
    Counts,
    /// Those count to which a named head leads.
    Within,
    /// None counts.
    Refused,
}

/// What a batch that became durable led to.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) spot: Spot,
    pub(crate) is_aside: bool,
    /// Earlier batches that count because of it.
    pub(crate) readmitted: Vec<Spot>,
    pub(crate) fork: Option<Fork>,
}

/// Batches that another policy moved from one side to the other.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    pub(crate) set_aside: Vec<Spot>,
    pub(crate) readmitted: Vec<Spot>,
    /// Whether the policy says something else of any chain.
    pub(crate) are_rules_new: bool,
}

impl Holdings {
    /// Takes in what was durable at the beginning; gives back those batches without signature that
    /// no authentic batch names.
    pub(crate) fn open(
        policy: &Policy,
        batches: impl IntoIterator<Item = Held>,
    ) -> (Self, Vec<BatchId>) {
        let mut holdings = Self::default();
        let mut unsigned = Vec::new();
        for held in batches {
            if held.is_signed {
                holdings.insert(policy, &held);
            } else {
                unsigned.push(held);
            }
        }
        // The batch that proves another stands at the next place.
        unsigned.sort_by_key(|held| (std::cmp::Reverse(held.sequence), held.id));
        let mut unheld = Vec::new();
        for held in unsigned {
            if holdings.index.successors(&held).next().is_some() {
                holdings.insert(policy, &held);
            } else if holdings.index.find(&held.id).is_none() {
                unheld.push(held.id);
            }
        }
        holdings.rehash();
        (holdings, unheld)
    }

    /// Takes in a batch that nobody would count, as if it counted.
    #[cfg(test)]
    pub(crate) fn smuggle(&mut self, held: &Held) {
        let Some(insertion) = self.index.insert(held) else { return };
        if self.index.line(insertion.spot).index() == self.rules.len() {
            self.rules.push(Rule::Counts);
        }
        self.data.insert(held.key());
        self.rehash();
    }

    /// Takes in an authentic durable batch; None if it is here already.
    pub(crate) fn insert(&mut self, policy: &Policy, held: &Held) -> Option<Arrival> {
        let insertion = self.index.insert(held)?;
        let spot = insertion.spot;
        let line = self.index.line(spot);
        if line.index() == self.rules.len() {
            self.rules.push(Rule::of(policy, &held.chain()));
        }
        self.unsigned += usize::from(!held.is_signed);
        let mut readmitted = Vec::new();
        if self.rule(line) == Rule::Within {
            let is_led_to = self.index.children(spot).any(|it| self.index.has(it, Mark::Reached));
            if is_led_to || is_head(policy, held) {
                readmitted = self.reach(spot);
                readmitted.retain(|it| *it != spot && self.index.has(*it, Mark::Aside));
            }
        }
        for earlier in &readmitted {
            self.readmit(*earlier);
        }
        let is_aside = !self.is_counting(spot);
        if is_aside {
            self.index.mark(spot, Mark::Aside);
            self.quarantine.insert(held.key());
            self.count_aside(spot);
        } else {
            self.data.insert(held.key());
            self.arrive(spot);
        }
        Some(Arrival { spot, is_aside, readmitted, fork: insertion.fork })
    }

    /// Judges all batches by the policy `new`, after they were judged by `old`.
    pub(crate) fn restand(&mut self, old: &Policy, new: &Policy) -> Moves {
        let changed = self.changed_lines(old, new);
        for line in &changed {
            let spots: Vec<Spot> = self.index.entries_of(*line).collect();
            for spot in spots {
                self.index.unmark(spot, Mark::Reached);
            }
        }
        let authors: BTreeSet<DeviceId> =
            changed.iter().map(|line| self.index.chain_of(*line).author).collect();
        for author in &authors {
            self.reach_heads(new, author, &changed);
        }
        let are_rules_new = !changed.is_empty();
        let mut moves = Moves { are_rules_new, ..Moves::default() };
        for line in &changed {
            let spots: Vec<Spot> = self.index.entries_of(*line).collect();
            for spot in spots {
                match (self.is_counting(spot), self.index.has(spot, Mark::Aside)) {
                    (true, true) => {
                        self.readmit(spot);
                        moves.readmitted.push(spot);
                    }
                    (false, false) => {
                        self.set_aside(spot);
                        moves.set_aside.push(spot);
                    }
                    (true, false) | (false, true) => {}
                }
            }
        }
        self.rehash();
        moves
    }

    /// The durable copy has its signature from now on.
    pub(crate) fn sign(&mut self, spot: Spot) {
        if !self.index.has(spot, Mark::Signed) {
            self.index.mark(spot, Mark::Signed);
            self.unsigned -= 1;
        }
    }

    /// The batch cannot be read any more: it is in no set until it comes again. False if that is
    /// known.
    pub(crate) fn lose(&mut self, spot: Spot) -> bool {
        let is_new = self.index.lose(spot);
        if is_new {
            let key = self.index.key(spot);
            self.data.remove(&key);
            self.quarantine.remove(&key);
        }
        is_new
    }

    /// A batch that was lost is durable once more. False if it was not lost.
    pub(crate) fn recover(&mut self, spot: Spot) -> bool {
        let is_new = self.index.recover(spot);
        if is_new {
            let key = self.index.key(spot);
            match self.index.has(spot, Mark::Aside) {
                true => self.quarantine.insert(key),
                false => self.data.insert(key),
            };
        }
        is_new
    }

    /// Why the batch would not count if it arrived.
    pub(crate) fn excluded(&self, policy: &Policy, held: &Held) -> Option<RefuseReason> {
        match policy.standing(&held.author, &held.scope) {
            Standing::Counts => None,
            Standing::Refused(refusal) => Some(refusal.into()),
            Standing::Within => {
                let mut after = self.index.successors(held);
                let is_led_to = after.any(|it| self.index.has(it, Mark::Reached));
                let counts = is_led_to || is_head(policy, held);
                (!counts).then_some(RefuseReason::BeyondHeads)
            }
        }
    }

    /// Why the batch stands aside; None if it counts.
    pub(crate) fn reason(&self, policy: &Policy, spot: Spot) -> Option<RefuseReason> {
        if !self.index.has(spot, Mark::Aside) {
            return None;
        }
        let chain = self.index.chain(spot);
        Some(match policy.standing(&chain.author, &chain.scope) {
            Standing::Refused(refusal) => refusal.into(),
            Standing::Within | Standing::Counts => RefuseReason::BeyondHeads,
        })
    }

    /// The last batch that counts on the way back from `tip`.
    pub(crate) fn last_counting(&self, tip: Spot) -> Option<Spot> {
        let mut way = std::iter::successors(Some(tip), |spot| self.index.previous(*spot));
        way.find(|spot| !self.index.has(*spot, Mark::Aside))
    }

    /// Whether the policy counts all batches of the chain, whatever heads it names.
    pub(crate) fn counts_all(&self, line: Line) -> bool {
        self.rule(line) == Rule::Counts
    }

    /// What proves a batch that is held without its signature and that nothing which counts names:
    /// the way from it to the next signature, all of which stands aside.
    pub(crate) fn provers(&self, spot: Spot) -> Vec<Spot> {
        let index = &self.index;
        let is_proven = |spot: &Spot| index.has(*spot, Mark::Signed);
        let is_aside = |spot: Spot| index.has(spot, Mark::Aside);
        if is_proven(&spot) || is_aside(spot) || index.children(spot).any(|it| !is_aside(it)) {
            return Vec::new();
        }
        let next = |spot: Spot| {
            index.children(spot).max_by_key(|it| (is_proven(it), index.children(*it).count() > 0))
        };
        let way =
            std::iter::successors(next(spot), |spot| next(*spot).filter(|_| !is_proven(spot)));
        way.take(PROVERS_MAX).collect()
    }

    /// Whether an authentic durable batch names `held` as the one before it, or it was proven when
    /// it was here, before the disk lost it.
    pub(crate) fn is_named(&self, held: &Held) -> bool {
        self.index.successors(held).next().is_some() || self.index.find(&held.id).is_some()
    }

    /// How many batches of `author` stand aside.
    pub(crate) fn aside_count(&self, author: &DeviceId) -> usize {
        self.aside_of.get(author).copied().unwrap_or(0)
    }

    pub(crate) fn is_all_signed(&self) -> bool {
        self.unsigned == 0
    }

    /// How soon a batch is to be sent.
    pub(crate) fn lane(&self, key: &Key) -> Lane {
        lane(&self.index, &self.arrivals, key)
    }

    /// The tries, and how soon each batch of them is to be sent.
    pub(crate) fn split(&mut self) -> (&mut Trie, &mut Trie, impl Fn(&Key) -> Lane + '_) {
        let Self { index, arrivals, data, quarantine, .. } = self;
        (data, quarantine, |key: &Key| lane(index, arrivals, key))
    }

    /// Brings the hashes up to date, once for any number of changes.
    pub(crate) fn rehash(&mut self) {
        self.data.rehash();
        self.quarantine.rehash();
    }

    fn rule(&self, line: Line) -> Rule {
        self.rules[line.index()]
    }

    fn is_counting(&self, spot: Spot) -> bool {
        match self.rule(self.index.line(spot)) {
            Rule::Counts => true,
            Rule::Within => self.index.has(spot, Mark::Reached),
            Rule::Refused => false,
        }
    }

    /// The lines whose batches may stand otherwise under `new`; their rules are updated.
    fn changed_lines(&mut self, old: &Policy, new: &Policy) -> BTreeSet<Line> {
        let mut changed = BTreeSet::new();
        let mut same_heads: BTreeMap<DeviceId, bool> = BTreeMap::new();
        for line in self.index.lines() {
            let chain = self.index.chain_of(line);
            let rule = Rule::of(new, chain);
            let is_same = *same_heads
                .entry(chain.author)
                .or_insert_with(|| old.heads_of(&chain.author) == new.heads_of(&chain.author));
            if rule != self.rule(line) || (rule == Rule::Within && !is_same) {
                self.rules[line.index()] = rule;
                changed.insert(line);
            }
        }
        changed
    }

    /// Marks what the heads that the policy names for `author` lead to in the lines `among`.
    fn reach_heads(&mut self, policy: &Policy, author: &DeviceId, among: &BTreeSet<Line>) {
        for head in policy.heads_of(author) {
            let chain = Chain { author: *author, epoch: head.epoch, scope: head.scope };
            let Some(spot) = self.index.find_at(&chain, head.sequence, &head.batch) else {
                continue;
            };
            if among.contains(&self.index.line(spot)) {
                self.reach(spot);
            }
        }
    }

    /// Marks everything that `spot` leads to and gives back what had no mark.
    fn reach(&mut self, spot: Spot) -> Vec<Spot> {
        let mut reached = Vec::new();
        let mut next = Some(spot);
        while let Some(spot) = next.filter(|spot| !self.index.has(*spot, Mark::Reached)) {
            self.index.mark(spot, Mark::Reached);
            reached.push(spot);
            next = self.index.previous(spot);
        }
        reached
    }

    fn set_aside(&mut self, spot: Spot) {
        let key = self.index.key(spot);
        self.index.mark(spot, Mark::Aside);
        if !self.index.has(spot, Mark::Lost) {
            self.data.remove(&key);
            self.quarantine.insert(key);
        }
        self.count_aside(spot);
    }

    fn count_aside(&mut self, spot: Spot) {
        *self.aside_of.entry(self.index.chain(spot).author).or_default() += 1;
    }

    fn readmit(&mut self, spot: Spot) {
        let key = self.index.key(spot);
        self.index.unmark(spot, Mark::Aside);
        if let Some(count) = self.aside_of.get_mut(&self.index.chain(spot).author) {
            *count -= 1;
        }
        if !self.index.has(spot, Mark::Lost) {
            self.quarantine.remove(&key);
            self.data.insert(key);
            self.arrive(spot);
        }
    }

    fn arrive(&mut self, spot: Spot) {
        if self.arrivals.len() == ARRIVALS_MAX {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(spot);
    }
}

fn lane(index: &Index, arrivals: &VecDeque<Spot>, key: &Key) -> Lane {
    let Some(spot) = index.find(&BatchId::from_bytes(key.id())) else { return Lane::Recent };
    if index.has(spot, Mark::Critical) {
        return Lane::Urgent;
    }
    let newest = index.newest().map_or(0, Moment::to_u48);
    let is_old = newest.saturating_sub(key.millis()) > BACKFILL_AGE_MILLIS;
    if is_old && !arrivals.contains(&spot) { Lane::Backfill } else { Lane::Recent }
}

impl Rule {
    fn of(policy: &Policy, chain: &Chain) -> Self {
        match policy.standing(&chain.author, &chain.scope) {
            Standing::Counts => Self::Counts,
            Standing::Within => Self::Within,
            Standing::Refused(_) => Self::Refused,
        }
    }
}

fn is_head(policy: &Policy, held: &Held) -> bool {
    policy.heads_of(&held.author).contains(&ChainHead {
        epoch: held.epoch,
        scope: held.scope,
        sequence: held.sequence,
        batch: held.id,
    })
}

#[cfg(test)]
mod tests {
    use fieldmesh_batch::Priority;
    use fieldmesh_model::{DeviceId, Epoch, Scope, TenantId};

    use super::*;

    fn held(number: u64, last: i64, priority: Priority) -> Held {
        let mut id = [7; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        Held {
            id: BatchId::from_bytes(id),
            author: DeviceId::from_bytes([1; 32]),
            scope: Scope::default(),
            epoch: Epoch(number),
            sequence: 1,
            previous: BatchId::default(),
            last: Moment::from_millis(last),
            priority,
            is_signed: true,
        }
    }

    #[test]
    fn what_is_old_waits_behind_what_is_new_unless_it_has_just_arrived() {
        let mut holdings = Holdings::default();
        let policy = Policy::evaluate(TenantId::default(), []);
        let mut take = |held: &Held| {
            holdings.insert(&policy, held);
            let spot = holdings.index.find(&held.id).unwrap();
            holdings.arrive(spot);
        };
        let age = i64::try_from(BACKFILL_AGE_MILLIS).unwrap();
        let critical = held(1, 0, Priority::CRITICAL);
        let old = held(2, 0, Priority::NORMAL);
        let recent = held(3, 1, Priority::NORMAL);
        [critical, old, recent].iter().for_each(&mut take);
        let count = u64::try_from(ARRIVALS_MAX).unwrap();
        (0..count).for_each(|number| take(&held(10 + number, 1 + age, Priority::NORMAL)));
        let late = held(4, 0, Priority::NORMAL);
        take(&late);
        let lanes = [critical, old, recent, late].map(|held| holdings.lane(&held.key()));
        assert_eq!(lanes, [Lane::Urgent, Lane::Backfill, Lane::Recent, Lane::Recent]);
    }
}
